"""What is known of a file that is held against limits: its tensors, what it takes decoded, what it was made from."""

from dataclasses import dataclass
from functools import cached_property

from ..reading import remake
from ..reading.inspect import Report, TensorReport
from ..reading.memory import Decoded
from ..reading.why import INLINE, Explained
from .baseline import Weight
from .config import Budgeted


@dataclass
class Evidence:
    """What is known of a file that misses a budget; what limits its tensors, and its source, are looked up when they
    are first asked for."""

    path: str
    entry: Budgeted
    report: Report
    decoded: Decoded
    old: Weight | None = None

    @property
    def is_dcz(self) -> bool:
        """Whether the file is a `.dcz`, which compressing again could make smaller."""
        return self.report.kind == "dcz"

    @property
    def is_lossless(self) -> bool:
        """Whether it is a `.dcz` that was asked to keep everything exact."""
        return self.is_dcz and self.explained.is_lossless

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

    @cached_property
    def explained(self) -> Explained:
        """What limits each tensor."""
        return Explained(self.report)

    def is_touched(self, row: TensorReport) -> bool:
        """Whether pruning or sharing made a tensor smaller."""
        return self.is_dcz and row.compressed

    @cached_property
    def source(self) -> str:
        """The model that the file is made from, as far as it is known: see reading.remake."""
        return remake.source(self.report, [self.entry.against])

    def compress(self, *options: str) -> str:
        """The command that makes the file anew with these options."""
        return remake.command(self.report, self.source, *options)
