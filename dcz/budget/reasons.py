"""Why a budget is missed: the tensors that make it up or grew, and what limits each.

Reason("fc1.weight", 401_202, change=12_300, limited_by="8.1 bits a weight, none pruned, 256 shared values")
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..reading.inspect import TensorReport
from ..reading.why import INLINE
from .baseline import TensorWeight, Weight
from .evidence import Evidence
from .limits import Limit

LARGEST = 5  # tensors that are named under a miss
REST = "graph and directory"
SMALL = "in the graph, deflated with it"
MENTIONED = 0.01  # of all growth: where that of the graph is less, it is not told


@dataclass(frozen=True)
class Reason:
    """A tensor that makes a file miss its budget: its bytes, how many more these are than in the baseline (None
    without one), and what keeps it from being smaller."""

    name: str
    bytes: int
    change: int | None = None
    limited_by: str = ""


def reasons(limit: Limit, evidence: Evidence) -> tuple[Reason, ...]:
    """The tensors that make a file miss a limit, those that weigh most first."""
    rows = evidence.report.rows
    if limit.name == "max-memory":
        decoded = [Reason(row.name, row.original, None, f"{row.dtype} {_shape(row.shape)}") for row in rows]
        small = [Reason(t.name, t.nbytes, None, f"{t.dtype} {_shape(t.shape)}") for t in evidence.decoded.in_graph]
        return _largest([*decoded, *small])
    if limit.name == "max-exact":
        exact = _first((row for row in rows if not evidence.is_touched(row)), lambda row: row.original)
        found = [_reason(row, evidence, row.original) for row in exact]
        return _largest(
            [*found, *(Reason(t.name, t.nbytes, None, f"{t.dtype}, {SMALL}") for t in evidence.decoded.in_graph)]
        )
    if limit.name == "max-tensor-size":
        large = _first((row for row in rows if row.huffman > limit.value), lambda row: row.huffman)
        above = [_reason(row, evidence) for row in large]
        in_graph = [Reason(name, size, None, SMALL) for size, name in evidence.in_graph() if size > INLINE]
        return _largest([*above, *(reason for reason in in_graph if reason.bytes > limit.value)])
    if limit.name in ("min-agreement", "min-top1"):  # errors are where few bits were spent on many weights
        lossy = [row for row in rows if evidence.is_touched(row) and row.elements]
        coarse = sorted(lossy, key=lambda row: row.huffman / row.elements)[: max(LARGEST, len(lossy) // 2)]
        return tuple(_reason(row, evidence) for row in _first(coarse, lambda row: row.huffman))
    if evidence.old is not None and (grown := _grown(evidence, evidence.old)):
        return grown
    return tuple(_reason(row, evidence) for row in _first(rows, lambda row: row.huffman))


def _first(rows: Iterable[TensorReport], nbytes: Callable[[TensorReport], int]) -> list[TensorReport]:
    """The largest of some rows: what limits the others need not be looked up."""
    return sorted(rows, key=lambda row: (-nbytes(row), row.name))[:LARGEST]


def _reason(row: TensorReport, evidence: Evidence, nbytes: int | None = None) -> Reason:
    return Reason(row.name, row.huffman if nbytes is None else nbytes, None, evidence.explained.limit(row).reason)


def _largest(found: Iterable[Reason]) -> tuple[Reason, ...]:
    return tuple(sorted(found, key=lambda reason: (-reason.bytes, reason.name))[:LARGEST])


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _grown(evidence: Evidence, old: Weight) -> tuple[Reason, ...]:
    """The tensors that have more bytes than in the baseline, and the rest of the file where that has."""
    found = []
    names = {row.name for row in evidence.report.rows}
    gone = Counter(tensor for name, tensor in old.tensors.items() if name not in names)
    for row in evidence.report.rows:
        before = old.tensors.get(row.name)
        now = TensorWeight(row.huffman, row.original, row.encoding)
        if before is None and gone[now]:  # as large as one that is gone: renamed
            gone[now] -= 1
            continue
        change = row.huffman - (before.bytes if before else 0)
        if change > 0:
            found.append((change, row, before))
    found.sort(key=lambda item: (-item[0], item[1].name))
    grown = []
    for change, row, before in found[:LARGEST]:
        was = "new: " if before is None else f"was {before.encoding}: " if before.encoding != row.encoding else ""
        grown.append(Reason(row.name, row.huffman, change, was + evidence.explained.limit(row).reason))
    rest = evidence.report.file_bytes - sum(row.huffman for row in evidence.report.rows)
    rest_change = rest - (old.bytes - sum(tensor.bytes for tensor in old.tensors.values()))
    growth = rest_change + sum(change for change, _, _ in found)
    if rest_change > MENTIONED * growth and (len(grown) < LARGEST or rest_change > (grown[-1].change or 0)):
        kept = grown[: LARGEST - 1]
        grown = sorted([*kept, Reason(REST, rest, rest_change, "nodes, names and small tensors")], key=_by_change)
    return tuple(grown)


def _by_change(reason: Reason) -> int:
    return -(reason.change or 0)
