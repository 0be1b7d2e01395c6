"""Size budgets for CI: a model that outgrows its budget fails the job, with the figure, the budget and the culprits."""

import os
from dataclasses import asdict, dataclass
from typing import Any

from ..arguments import is_number, parse_size
from ..errors import InvalidArgument
from .inspect import Report, TensorReport, inspect

LARGEST = 5  # tensors that a verdict names


@dataclass(frozen=True)
class Budget:
    """One limit, the figure measured, and whether it holds."""

    name: str
    limit: float
    figure: float
    holds: bool


@dataclass(frozen=True)
class Verdict:
    """All budgets of a file; `largest` are its largest tensors, as they lie in the file."""

    path: str
    budgets: tuple[Budget, ...]
    largest: tuple[TensorReport, ...]

    @property
    def holds(self) -> bool:
        """Whether all budgets hold."""
        return all(budget.holds for budget in self.budgets)

    def __bool__(self) -> bool:
        return self.holds

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        largest = [{"name": row.name, "shape": row.shape, "bytes": row.huffman} for row in self.largest]
        budgets = [asdict(budget) for budget in self.budgets]
        return {"path": self.path, "holds": self.holds, "budgets": budgets, "largest": largest}


def check(
    path: str | os.PathLike[str], *, max_size: int | str | None = None, min_ratio: float | None = None
) -> Verdict:
    """Hold a `.dcz` or `.onnx` file (its external data included) against budgets; raises DczError.

    `max_size` is in bytes, or a string such as "7MB" or "1.5 MiB"; `min_ratio` is how many times smaller than its
    source a `.dcz` file must be.
    """
    if max_size is None and min_ratio is None:
        raise InvalidArgument("no budget given: use --max-size, --min-ratio or both")
    report = inspect(path)
    budgets = []
    if max_size is not None:
        limit = parse_size(max_size)
        budgets.append(Budget("max-size", limit, report.file_bytes, report.file_bytes <= limit))
    if min_ratio is not None:
        if not is_number(min_ratio, 0) or min_ratio == float("inf"):
            raise InvalidArgument(f"min-ratio is a number, 0 or more, not {min_ratio}")
        ratio = _ratio(report)
        budgets.append(Budget("min-ratio", min_ratio, ratio, ratio >= min_ratio))
    largest = sorted(report.rows, key=lambda row: -row.huffman)[:LARGEST]
    return Verdict(os.fspath(path), tuple(budgets), tuple(largest))


def _ratio(report: Report) -> float:
    if report.ratio is None:
        raise InvalidArgument(f"{report.path}: --min-ratio needs a .dcz file that says how large its source was")
    return report.ratio
