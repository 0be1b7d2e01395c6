"""Many models, one after another; one that fails does not stop the rest.

    compress_all(["a/net.onnx", "b/net.onnx", "c.onnx"], "out")     out/a/net.dcz  out/b/net.dcz  out/c.dcz

Each model is compressed on all threads, so that no more than one is in memory.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SEVERAL, FileAccess, InvalidArgument, exit_code, message
from ..format.container import Archive
from ..text import counted
from .compress import compress as compress_one

SUFFIX = ".onnx"  # of the models in a folder


@dataclass(frozen=True)
class Outcome:
    """What became of one model: bytes `before` and `after`, or the `error` that stopped it."""

    model: Path
    output: Path
    before: int | None = None
    after: int | None = None
    error: Exception | None = None

    @property
    def ratio(self) -> float | None:
        """How many times smaller the model is."""
        return self.before / self.after if self.before and self.after else None

    @property
    def exit_code(self) -> int:
        """What the command would exit with for this model alone."""
        return 0 if self.error is None else exit_code(self.error)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "model": str(self.model),
            "output": str(self.output),
            "before": self.before,
            "after": self.after,
            "ratio": self.ratio,
            "error": None if self.error is None else message(self.error),
            "exit_code": self.exit_code,
        }


def compress_all(
    models: Iterable[str | os.PathLike[str]],
    folder: str | os.PathLike[str] | None = None,
    compress: Callable[[Path, Path], object] = compress_one,
    *,
    recursive: bool = False,
    done: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Compress each of the ONNX files `models` into `folder`, which is created where it does not exist.

    Of `models`, a folder stands for the ONNX files in it, and with `recursive` in its subfolders.
    `compress(model, output)` does the work, such as a functools.partial of dcz.compress, dcz.compress_to_size or
    dcz.tune. An error that it raises becomes the model's outcome; `done` is called with it before the next model
    begins. See `outputs` for names. Raises InvalidArgument where two models would become one file or a folder holds
    none, FileAccess where the folder cannot be made; nothing has been written then.
    """
    targets = outputs(models, folder, recursive)
    try:
        for parent in {output.parent for output in targets.values()} if folder is not None else ():
            parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise FileAccess(f"{folder}: no such folder can be made: {why}") from error
    outcomes = []
    for model, output in targets.items():
        try:
            outcomes.append(_outcome(model, output, compress))
        except KeyboardInterrupt as error:
            error.add_note(f"{len(outcomes)} of {counted(len(targets), 'model')} were dealt with before it")
            raise
        if done is not None:
            done(outcomes[-1])
    return outcomes


def _outcome(model: Path, output: Path, compress: Callable[[Path, Path], object]) -> Outcome:
    try:
        compress(model, output)
        with Archive(output) as archive:
            before = int(archive.directory.metadata["source-bytes"])
            return Outcome(model, output, before, archive.directory.file_size)
    except BrokenPipeError:  # of a progress display whose reader is gone: nobody waits for the rest
        raise
    except Exception as error:  # noqa: BLE001 (a bug of dcz, too, stops one model only)
        return Outcome(model, output, error=error)


def outputs(
    models: Iterable[str | os.PathLike[str]], folder: str | os.PathLike[str] | None = None, recursive: bool = False
) -> dict[Path, Path]:
    """The .dcz file of each model, in their order: `folder`/NAME.dcz, or, without a folder, beside the model.

    Models of one name keep as much of their folders as tells them apart: a/net.onnx and b/net.onnx become a/net.dcz and
    b/net.dcz in `folder`. Those that a folder among `models` stands for keep their places below it. A model that is
    given twice counts once. Raises InvalidArgument where two would become one file, or a folder holds no model.
    """
    below: dict[Path, Path] = {}  # where a model that a folder stands for lies below it
    for model in models:
        found = _models_in(Path(model), recursive) if os.path.isdir(model) else [Path(model)]
        places = {os.path.abspath(known) for known in below}
        fresh = [each for each in found if os.path.abspath(each) not in places]
        below |= {each: each.relative_to(model) if each != Path(model) else Path() for each in fresh}
    if folder is None:
        targets = {model: model.parent / f"{model.stem}.dcz" for model in below}
    else:
        by_name = defaultdict(list)
        for model in below:
            if below[model] == Path():
                by_name[_caseless(model.stem)].append(model)
        names = {model: name for group in by_name.values() for model, name in _distinct_names(group).items()}
        names |= {model: place.parent / f"{place.stem}.dcz" for model, place in below.items() if place != Path()}
        targets = {model: Path(folder, names[model]) for model in below}
    first: dict[str, Path] = {}
    for model, output in targets.items():
        rival = first.setdefault(_caseless(os.path.abspath(output)), model)
        if rival != model:
            raise InvalidArgument(
                f"{rival} and {model} would both become {output}: compress one of them by itself, with -o"
            )
    return targets


def _models_in(folder: Path, recursive: bool) -> list[Path]:
    """The ONNX files in a folder, and with `recursive` in its subfolders, by name; raises InvalidArgument for none."""

    def fail(error: OSError) -> None:
        raise FileAccess(f"{error.filename}: this folder cannot be read: {error.strerror}") from error

    found, below = [], 0
    for place, folders, files in os.walk(folder, onerror=fail):
        folders.sort()
        models = [Path(place, name) for name in sorted(files) if name.lower().endswith(SUFFIX)]
        if recursive or Path(place) == folder:
            found += models
        else:
            below += len(models)
        if not recursive and below:
            break
    if not found:
        hint = "; -r looks into its subfolders, too" if below else ""
        raise InvalidArgument(f"{folder}: this folder holds no {SUFFIX} file{hint}")
    return found


def _caseless(name: str) -> str:
    """Equal for names that are one file on some system."""
    return name.casefold()


def _distinct_names(models: list[Path]) -> dict[Path, Path]:
    """Relative names, with the suffix .dcz, of models of one name: with as few parent folders as tell them apart."""
    parents = {model: Path(os.path.abspath(model)).parent.parts[1:] for model in models}
    depth, count = max(map(len, parents.values())), 0
    folders = len(set(parents.values()))
    while count < depth and len({_tail(parts, count) for parts in parents.values()}) < folders:
        count += 1
    return {model: Path(*_tail(parents[model], count), f"{model.stem}.dcz") for model in models}


def _tail(parts: tuple[str, ...], count: int) -> tuple[str, ...]:
    return parts[len(parts) - min(count, len(parts)) :]


def common_exit_code(outcomes: Iterable[Outcome]) -> int:
    """0 where all succeeded; the code of the failures where they have one in common, else SEVERAL."""
    codes = {outcome.exit_code for outcome in outcomes} - {0}
    return codes.pop() if len(codes) == 1 else SEVERAL if codes else 0
