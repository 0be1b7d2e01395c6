"""Folders that stand for the files in them, and where what is made of these goes.

models(["nets"], (".onnx",), recursive=True)      nets/a/net.onnx (a/net.onnx below it)  nets/b.onnx (b.onnx)
outputs(["nets"], "out", (".onnx",), ".dcz")      out/a/net.dcz  out/b.dcz
"""

import itertools
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import FileAccess, InvalidArgument

MOST_FOLDERS = 1000  # that are looked into for a hint alone
AnyPath = str | os.PathLike[str]


def files(paths: Iterable[AnyPath], suffixes: Sequence[str], recursive: bool = False) -> dict[Path, Path]:
    """The files that paths name, in their order, and of those that a folder stands for where they lie below it.

    A folder stands for the files in it with one of the suffixes, and with `recursive` in its subfolders; a file that is
    named twice counts once. Raises FileAccess for a folder that cannot be read, InvalidArgument for one that holds no
    such file.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        known = {os.path.abspath(each) for each in found}
        for each in in_folder(path, suffixes, recursive) if path.is_dir() else [path]:
            if os.path.abspath(each) not in known:
                found[each] = each.relative_to(path) if each != path else Path()
    return found


def in_folder(folder: Path, suffixes: Sequence[str], recursive: bool = False) -> list[Path]:
    """The files of these suffixes in a folder, and with `recursive` in its subfolders, by name; raises as `files`."""

    def fail(error: OSError) -> None:
        raise FileAccess(f"{error.filename}: this folder cannot be read: {error.strerror}") from error

    found = []
    for place, subfolders, names in os.walk(folder, onerror=fail):
        subfolders.sort()
        found += [Path(place, name) for name in sorted(names) if _has_suffix(name, suffixes)]
        if not recursive:
            break
    if not found:
        hint = "; -r looks into its subfolders, too" if not recursive and has_below(folder, suffixes) else ""
        raise InvalidArgument(f"{folder}: this folder holds no {' or '.join(suffixes)} file{hint}")
    return found


def has_below(folder: AnyPath, suffixes: Sequence[str]) -> bool:
    """Whether subfolders of a folder, the first thousand that can be read, hold files with one of the suffixes."""
    below = itertools.islice(os.walk(folder), 1, 1 + MOST_FOLDERS)  # the first is the folder itself
    return any(_has_suffix(name, suffixes) for _, _, names in below for name in names)


def _has_suffix(name: str, suffixes: Sequence[str]) -> bool:
    return name.lower().endswith(tuple(suffixes))


def outputs(
    paths: Iterable[AnyPath],
    folder: AnyPath | None,
    suffixes: Sequence[str],
    suffix: str,
    recursive: bool = False,
) -> dict[Path, Path]:
    """What is made of each file, with the `suffix`, in their order: in `folder`, or, without one, beside the file.

    Files of one name keep as much of their folders as tells them apart: a/net.onnx and b/net.onnx become a/net.dcz and
    b/net.dcz in `folder`. Those that a folder among `paths` stands for keep their places below it. Raises as `files`,
    and InvalidArgument where two would become one file.
    """
    below = files(paths, suffixes, recursive)
    if folder is None:
        targets = {file: file.parent / f"{file.stem}{suffix}" for file in below}
    else:
        by_name = defaultdict(list)
        for file in below:
            if below[file] == Path():
                by_name[_caseless(file.stem)].append(file)
        names = {file: name for group in by_name.values() for file, name in _distinct_names(group, suffix).items()}
        names |= {file: place.parent / f"{place.stem}{suffix}" for file, place in below.items() if place != Path()}
        targets = {file: Path(folder, names[file]) for file in below}
    first: dict[str, Path] = {}
    for file, output in targets.items():
        rival = first.setdefault(_caseless(os.path.abspath(output)), file)
        if rival != file:
            raise InvalidArgument(f"{rival} and {file} would both become {output}: deal with one by itself, with -o")
    return targets


def make_parents(outputs: Iterable[Path], folder: AnyPath | None) -> None:
    """Create the folders of outputs in `folder`; raises FileAccess. Without one, they lie beside what is there."""
    try:
        for parent in {output.parent for output in outputs} if folder is not None else ():
            parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise FileAccess(f"{folder}: no such folder can be made: {why}") from error


def _caseless(name: str) -> str:
    """Equal for names that are one file on some system."""
    return name.casefold()


def _distinct_names(files: list[Path], suffix: str) -> dict[Path, Path]:
    """Relative names, with the suffix, of files of one name: with as few parent folders as tell them apart."""
    parents = {file: Path(os.path.abspath(file)).parent.parts[1:] for file in files}
    depth, count = max(map(len, parents.values())), 0
    folders = len(set(parents.values()))
    while count < depth and len({_tail(parts, count) for parts in parents.values()}) < folders:
        count += 1
    return {file: Path(*_tail(parents[file], count), f"{file.stem}{suffix}") for file in files}


def _tail(parts: tuple[str, ...], count: int) -> tuple[str, ...]:
    return parts[len(parts) - min(count, len(parts)) :]
