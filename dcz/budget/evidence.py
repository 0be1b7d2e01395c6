"""What is known of a file that is held against limits: its tensors, what it takes decoded, what it was made from."""

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..format.container import Archive
from ..reading.decompress import skeleton
from ..reading.inspect import Report, TensorReport
from ..reading.memory import Decoded
from .baseline import Weight
from .config import Budgeted

INLINE = 512  # bytes up to which tensors have no record: they count as part of the graph
UNKNOWN_SOURCE = "MODEL.onnx"  # where no file is known that a .dcz was made from
REAL = ("float32", "float16", "bfloat16", "float64")  # types that dcz prunes and shares
Readers = Mapping[str, tuple[tuple[str, bool], ...]]  # see model.operators_by_tensor


@dataclass
class Evidence:
    """What is known of a file that misses a budget; readers and source are looked up when they are first asked for."""

    path: str
    entry: Budgeted
    report: Report
    decoded: Decoded
    old: Weight | None = None
    _readers: Readers | None = field(default=None, repr=False)

    @property
    def is_dcz(self) -> bool:
        """Whether the file is a `.dcz`, which compressing again could make smaller."""
        return self.report.kind == "dcz"

    @property
    def memory(self) -> int:
        """Bytes of the decoded model."""
        return self.decoded.nbytes

    def exact_share(self) -> float:
        """The share of all tensors' bytes that pruning and sharing have not touched, those in the graph among them."""
        in_graph = sum(tensor.nbytes for tensor in self.decoded.in_graph)
        exact = in_graph + sum(row.original for row in self.report.rows if not self.is_touched(row))
        total = in_graph + self.report.total.original
        return exact / total if total else 0.0

    def largest(self) -> tuple[int, str]:
        """Bytes in the file and name of the largest tensor; one in the graph has at most its own and the graph's."""
        rows = [(row.huffman, row.name) for row in self.report.rows]
        rows += [(size, name) for size, name in self.in_graph() if size > INLINE]
        return max(rows, default=(0, ""))

    def in_graph(self) -> list[tuple[int, str]]:
        """Bytes that tensors in the graph take at most, and their names."""
        return [(min(each.nbytes, self.report.graph_bytes), each.name) for each in self.decoded.in_graph]

    def readers(self) -> Readers:
        """The operators that read each tensor of a `.dcz` file."""
        if self._readers is None:
            from .. import model

            with Archive(self.path) as archive:
                self._readers = model.operators_by_tensor(skeleton(archive)[0])
        return self._readers

    def is_touched(self, row: TensorReport) -> bool:
        """Whether pruning or sharing made a tensor smaller."""
        return self.is_dcz and row.compressed

    def compress(self, *options: str) -> str:
        """The command that makes the file anew with these options."""
        output = self.path if self.is_dcz else str(Path(self.path).with_suffix(".dcz"))
        source = self._source() if self.is_dcz else self.path
        return " ".join(["dcz compress -f", shlex.quote(source), "-o", shlex.quote(output), *options])

    def _source(self) -> str:
        """The model that a `.dcz` was made from: the one beside it, or compared with, if it is that to the bit."""
        digest = self.report.metadata.get("source-sha256")
        for candidate in (str(Path(self.path).with_suffix(".onnx")), self.entry.against):
            if candidate and digest and _sha256(candidate) == digest:
                return candidate
        return UNKNOWN_SOURCE


def _sha256(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return ""
