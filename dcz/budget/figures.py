"""The figure that each limit is held against."""

from typing import TYPE_CHECKING

from ..errors import InvalidArgument
from ..reading.inspect import Report
from . import answers, limits
from .evidence import Evidence
from .limits import SHARE, Limit

if TYPE_CHECKING:
    from ..evaluation.evaluate import Evaluation


def figure(limit: Limit, evidence: Evidence, evaluation: "Evaluation | None") -> tuple[float | None, str]:
    """What is measured, None where there is nothing to measure it by, and what there is to say of it."""
    report = evidence.report
    if limit.name in limits.ANSWERS:
        assert evaluation is not None  # answers.evaluated gives one wherever such a limit is
        share = evaluation.top1 if limit.name == "min-top1" else evaluation.score
        return share, answers.describe(limit.name, evaluation)
    if limit.name == "max-growth":
        return _growth(limit, evidence)
    if limit.name == "min-ratio":
        return _ratio(report), ""
    if limit.name == "max-tensor-size":
        nbytes, name = evidence.largest()
        return nbytes, name or "no tensors"
    if limit.name == "max-exact":
        return evidence.exact_share(), ""
    return (evidence.memory if limit.name == "max-memory" else report.file_bytes), ""


def _growth(limit: Limit, evidence: Evidence) -> tuple[float | None, str]:
    old, place = evidence.old, evidence.entry.baseline
    if old is None:
        return None, f"not in the baseline {place}"
    change = evidence.report.file_bytes - old.bytes
    note = f"from {old.bytes:,} bytes in {place}"
    if limit.unit != SHARE:
        return change, note
    if old.bytes:
        return change / old.bytes, note
    return (float("inf") if change else 0.0), note


def _ratio(report: Report) -> float:
    if report.ratio is None:
        raise InvalidArgument(f"{report.path}: --min-ratio needs a .dcz file that says how large its source was")
    return report.ratio
