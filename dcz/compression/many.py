"""Many models, one after another; one that fails does not stop the rest.

    compress_all(["a/net.onnx", "b/net.onnx", "c.onnx"], "out")     out/a/net.dcz  out/b/net.dcz  out/c.dcz
    <3 of 3 models compressed: 9,903,348 bytes before, 1,958,926 after, 5.06 times smaller>

Each model is compressed on all threads, so that no more than one is in memory.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Unpack

from ..display import html, work
from ..display.progress import Progress, Report, shown
from ..errors import message
from ..files import folders, several
from ..files.several import Outcome
from ..format.container import Archive
from ..text import counted, times
from .compress import compress as compress_one
from .options import PlanOptions

SUFFIX = ".onnx"  # of the models in a folder


class Outcomes(list[Outcome]):
    """What became of each model, in their order."""

    @property
    def summary(self) -> str:
        """How many there are, and their bytes before and after."""
        made = [each for each in self if each.error is None]
        before, after = sum(each.before or 0 for each in made), sum(each.after or 0 for each in made)
        sizes = f": {before:,} bytes before, {after:,} after, {times(before, after)}" if made else ""
        return f"{len(made)} of {counted(len(self), 'model')} compressed{sizes}"

    def __repr__(self) -> str:
        return f"<{self.summary}>"

    def _repr_html_(self) -> str:
        return html.page(self.summary, [], ["model", "before", "after", "ratio", ""], map(_row, self))


def _row(outcome: Outcome) -> list[str]:
    """The cells of one model: its sizes and file, or why there is none."""
    if outcome.error is not None:
        return [str(outcome.model), "", "", "", message(outcome.error)]
    ratio = "" if outcome.ratio is None else f"{outcome.ratio:.2f}"
    return [str(outcome.model), f"{outcome.before:,}", f"{outcome.after:,}", ratio, str(outcome.output)]


def compress_all(
    models: Iterable[str | os.PathLike[str]],
    folder: str | os.PathLike[str] | None = None,
    compress: Callable[..., object] = compress_one,
    *,
    recursive: bool = False,
    done: Callable[[Outcome], None] | None = None,
    progress: Progress = None,
    force: bool = False,
    **options: Unpack[PlanOptions],
) -> Outcomes:
    """Compress each of the ONNX files `models` into `folder`, which is created where it does not exist.

    Of `models`, a folder stands for the ONNX files in it, and with `recursive` in its subfolders.
    `compress(model, output)` does the work, such as a functools.partial of dcz.compress, dcz.compress_to_size or
    dcz.tune; `force=True` and settings such as `quality=30` are passed on to it. An error that it raises becomes the
    model's outcome; `done` is called with it before the next model begins. `progress` gets a tensor's name, the bytes
    of its model that are done, and those in all, of one model after another; True shows a bar for all of them. Models
    of one name keep as much of their folders as tells them apart. Raises InvalidArgument where two models would become
    one file or a folder holds none, FileAccess where the folder cannot be made; nothing has been written then.
    """
    given = dict(options) | ({"force": True} if force else {})
    targets = outputs(models, folder, recursive)
    folders.make_parents(targets.values(), folder)
    with _reports(progress, list(targets)) as report_of:

        def make(model: Path, output: Path) -> tuple[int, int]:
            report = report_of(model)
            compress(model, output, **given, **({} if report is None else {"progress": report}))
            with Archive(output) as archive:
                return int(archive.directory.metadata["source-bytes"]), archive.directory.file_size

        return Outcomes(several.each(targets, make, done))


@contextlib.contextmanager
def _reports(progress: Progress, models: list[Path]) -> Iterator[Callable[[Path], Report | None]]:
    """What gives each model, when it begins, the function that its progress is told to. Raises InvalidArgument."""
    if progress is not True:
        with shown(progress, "compressing") as report:
            yield lambda model: report if progress else None
        return
    with work.shown(work.Work("compressing")) as line:
        line.set_parts([model.stat().st_size if model.is_file() else 0 for model in models])
        numbers = {model: number for number, model in enumerate(models)}

        def begin(model: Path) -> Report:
            line.begin_part(numbers[model], passes=1)
            return line.report

        yield begin


def outputs(
    models: Iterable[str | os.PathLike[str]], folder: str | os.PathLike[str] | None = None, recursive: bool = False
) -> dict[Path, Path]:
    """The .dcz file of each model, in their order: see files.folders.outputs."""
    return folders.outputs(models, folder, (SUFFIX,), ".dcz", recursive)
