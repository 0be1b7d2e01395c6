"""What came of a run, measured on the file that it wrote, and whether compressing without training does better.

found = judge(task, "net.dcz")               loss, error and answers counted, of the decoded file
plain_rival(task, model, path, found)        a better file of that size that compress makes, now in its place
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..compression.target_size import compress_to_size
from ..errors import InvalidArgument
from ..files import replacing, temporary_folder
from ..plan import Plan
from ..reading.decompress import load
from .network import Network
from .validation import measure

if TYPE_CHECKING:
    from onnx import ModelProto

    from .task import TrainingTask

Found = tuple[float, float | None, int]  # loss, error, and the answers that the error is of


def judge(task: "TrainingTask", path: str | os.PathLike[str]) -> Found | None:
    """Of a .dcz file, on the validation samples: None without any."""
    if task.validation is None:
        return None
    return measure(Network(load(path)).to(task.network.device), task.loss, task.validation)


def plain_rival(
    task: "TrainingTask", model: "str | os.PathLike[str] | ModelProto", output: Path, found: Found
) -> Found | None:
    """Put in the place of `output` the file of at most its size that compress makes of `model` without training, if it
    has a lower error than `found` (without labels: a lower loss), and return what it shows; None where it has not."""
    exact = tuple(rule for rule in task.plan.rules if rule.settings.lossless)
    plan = Plan(rules=exact, exclude=task.plan.exclude, fold=task.plan.fold)
    with temporary_folder("dcz-plain-") as folder:
        path = Path(folder, "plain.dcz")
        try:
            compress_to_size(model, path, output.stat().st_size, plan, threads=task.recipe.threads)
        except InvalidArgument:  # so few bytes are beyond it
            return None
        rival = judge(task, path)
        if rival is None or not _key(rival) < _key(found):
            return None
        with replacing(output) as file:
            file.write(path.read_bytes())
        return rival


def is_worse(found: Found, before: tuple[float, float | None] | None) -> bool:
    """Whether a file does worse than the model did: by its error, without labels by its loss."""
    return before is not None and _key(found) > (before[0] if before[1] is None else before[1])


def told(found: Found) -> str:
    """What a file shows, in words."""
    loss, error, _ = found
    return f"a loss of {loss:.4g}" if error is None else f"an error of {error:.2%}"


def _key(found: Found) -> float:
    loss, error, _ = found
    return loss if error is None else error
