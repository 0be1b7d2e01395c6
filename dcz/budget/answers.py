"""How good the answers of a file are: the figures of min-agreement and min-top1, by one run over the samples."""

from typing import TYPE_CHECKING

from ..display.progress import Progress
from ..errors import InvalidArgument
from ..text import counted
from .config import Budgeted

if TYPE_CHECKING:
    from ..evaluation.evaluate import Evaluation


def evaluated(path: str, entry: Budgeted, threads: int | None, progress: Progress) -> "Evaluation | None":
    """The answers of a file to the samples of an entry; None where no limit asks for them. Raises DczError."""
    names = {limit.name for limit in entry.limits}
    against = entry.against if "min-agreement" in names else None
    labels = entry.labels if "min-top1" in names else None
    if against is None and labels is None:
        return None
    if entry.data is None:
        raise InvalidArgument("min-agreement and min-top1 need data too")
    from ..evaluation.evaluate import evaluate

    return evaluate(path, entry.data, labels, against, threads=threads, progress=progress)


def describe(name: str, result: "Evaluation") -> str:
    """What a figure is of, in words: by which measure, of how many answers."""
    if name == "min-top1":
        return f"of {counted(result.samples, 'sample')}"
    return f"by {result.measure} of {result.answers or result.samples:,}"
