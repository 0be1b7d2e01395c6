"""What came of a run, measured on the file that it wrote, and whether compressing without training does better.

found = judge(task, "net.dcz")               loss, error and answers counted, of the decoded file
plain_rival(task, model, made, found)        a better file of that size that compress makes, beside it
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..compression.target_size import compress_to_size
from ..errors import InvalidArgument
from ..plan import Plan
from ..reading.decompress import load
from .validation import measure

if TYPE_CHECKING:
    from onnx import ModelProto

    from .task import TrainingTask

Found = tuple[float, float | None, int]  # loss, error, and the answers that the error is of


def judge(task: "TrainingTask", path: str | os.PathLike[str]) -> Found | None:
    """Of a .dcz file, on the validation samples: None without any."""
    if task.validation is None:
        return None
    return measure(task.another_network(load(path)), task.loss, task.validation)


def plain_rival(
    task: "TrainingTask", model: "str | os.PathLike[str] | ModelProto", made: Path, found: Found
) -> tuple[Path, Found] | None:
    """The file that compress makes of `model` without training, beside `made` and of at most its size, and what it
    shows, where that is a lower error than `found` (without labels: a lower loss)."""
    exact = tuple(rule for rule in task.plan.rules if rule.settings.lossless)
    plan = Plan(rules=exact, exclude=task.plan.exclude, fold=task.plan.fold)
    path = made.with_name("plain.dcz")
    try:
        compress_to_size(model, path, made.stat().st_size, plan, threads=task.recipe.threads)
    except InvalidArgument:  # so few bytes are beyond it
        return None
    rival = judge(task, path)
    return None if rival is None or not _key(rival) < _key(found) else (path, rival)


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
