"""What became of two models' tensors: the values that `diff` gives."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from ..evaluation.evaluate import Evaluation

REST = "graph and directory"
KINDS = ("changed", "added", "removed", "renamed", "same")


@dataclass(frozen=True)
class Side:
    """A tensor in one of the two models. `bits`: of the file, for each of its elements; `sparsity`: the share of zeros,
    None for types that dcz does not prune, and where nobody looked."""

    dtype: str
    shape: tuple[int, ...]
    encoding: str
    file_bytes: int
    memory_bytes: int
    bits: float | None
    sparsity: float | None


@dataclass(frozen=True)
class TensorChange:
    """What became of a tensor: `kind` is one of KINDS; `old` is None where it was added, `new` where it was removed.

    `decibels`: signal-to-noise ratio of the new values against the old ones; inf where they are equal, None where they
    cannot be compared (another shape, one side only). `old_name`: of a tensor that was renamed.
    """

    name: str
    kind: str
    old: Side | None
    new: Side | None
    decibels: float | None = None
    old_name: str | None = None

    @property
    def file_change(self) -> int:
        """Bytes more in the file."""
        return (self.new.file_bytes if self.new else 0) - (self.old.file_bytes if self.old else 0)

    @property
    def memory_change(self) -> int:
        """Bytes more once decoded."""
        return (self.new.memory_bytes if self.new else 0) - (self.old.memory_bytes if self.old else 0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; decibels are null where they are infinite, of `equal` values among others."""
        plain = asdict(self) | {"file_change": self.file_change, "memory_change": self.memory_change}
        plain["equal"] = self.decibels == math.inf
        if self.decibels is not None and not math.isfinite(self.decibels):
            plain["decibels"] = None
        return plain


@dataclass(frozen=True)
class File:
    """One of the two files: its size with external data, and that of the model once it is decoded."""

    path: str
    kind: str
    file_bytes: int
    memory_bytes: int


@dataclass(frozen=True, repr=False)
class Diff:
    """What changed: `tensors`, those whose bytes in the file changed most first, and the `rest` of the file (graph,
    directory).

    `folded` BatchNormalizations and `snapped` weights of an `.onnx` were treated like those of the `.dcz` that it is
    compared with, before values were. `answers`: on samples, those of the new model against those of the old one.
    """

    old: File
    new: File
    tensors: tuple[TensorChange, ...]
    rest: TensorChange
    folded: int = 0
    snapped: int = 0
    answers: Evaluation | None = None

    @property
    def rows(self) -> list[TensorChange]:
        """Tensors and the rest of the file, those that changed most first."""
        return sorted([*self.tensors, self.rest], key=by_change)

    @property
    def file_change(self) -> int:
        """Bytes more of the file."""
        return self.new.file_bytes - self.old.file_bytes

    @property
    def memory_change(self) -> int:
        """Bytes more of the decoded model."""
        return self.new.memory_bytes - self.old.memory_bytes

    @property
    def differs(self) -> bool:
        """Whether anything is other than it was: a tensor's values, encoding or name, or a size."""
        return any(row.kind != "same" for row in self.rows)

    def count(self, kind: str) -> int:
        """How many tensors are of a kind, one of KINDS."""
        return sum(row.kind == kind for row in self.tensors)

    def __repr__(self) -> str:
        from . import table

        return f"<{table.headline(self)}>"

    def _repr_html_(self) -> str:
        from . import table

        return table.html(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "old": asdict(self.old),
            "new": asdict(self.new),
            "file_change": self.file_change,
            "memory_change": self.memory_change,
            "differs": self.differs,
            "tensors": [row.to_dict() for row in self.tensors],
            "rest": self.rest.to_dict(),
            "folded": self.folded,
            "snapped": self.snapped,
            "answers": None if self.answers is None else self.answers.to_dict(),
        }


def by_change(row: TensorChange) -> tuple:
    """A key that sorts those that changed most first."""
    decibels = math.inf if row.decibels is None else row.decibels
    return -abs(row.file_change), -abs(row.memory_change), decibels, row.name
