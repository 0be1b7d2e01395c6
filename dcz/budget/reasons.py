"""Why a budget is missed: the tensors that make it up or grew, and what limits each.

Reason("fc1.weight", 401_202, change=12_300, limited_by="8.1 bits a weight, none pruned, 256 shared values")
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ..reading.inspect import Report, TensorReport
from .baseline import TensorWeight, Weight
from .evidence import INLINE, REAL, Evidence
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


# -- what limits a tensor ----------------------------------------------------------------------------------------------


def limited_by(row: TensorReport, evidence: Evidence) -> str:
    """What keeps a tensor from being smaller, in words."""
    if not evidence.is_dcz:
        return f"{row.dtype}, not compressed yet" if row.encoding == "weight" else f"{row.dtype}, no weight of a layer"
    if row.encoding == "stored":
        return f"{row.dtype}, kept exact: {_why_exact(row, evidence)}"
    bits = f"{8 * row.huffman / row.elements:.2f} bits a weight" if row.elements else "empty"
    kept = "" if row.kept is None else _kept(row)
    values = "exact values" if row.encoding == "pruned" else f"{row.entries or 0:,} shared values"
    return ", ".join(part for part in (bits, kept, values) if part)


def _kept(row: TensorReport) -> str:
    return "none pruned" if row.kept == row.elements else f"{100 * (row.kept or 0) / max(row.elements, 1):.3g} % kept"


def _why_exact(row: TensorReport, evidence: Evidence) -> str:
    if row.dtype not in REAL:
        return "whole numbers and other types are"
    readers = evidence.readers().get(row.name, ())
    layers = [operator for operator, is_weight in readers if is_weight]
    if layers:
        return f"{_by_settings(evidence.report)} says so of a weight of {', '.join(layers)}"
    users = ", ".join(operator for operator, _ in readers) or "no operator"
    return f"read by {users}, not as a weight"


def _by_settings(report: Report) -> str:
    settings = report.metadata.get("settings", "")
    return "--lossless" if settings == "lossless=True" else "its plan, its size or its use"


# -- which tensors -----------------------------------------------------------------------------------------------------


def reasons(limit: Limit, evidence: Evidence) -> tuple[Reason, ...]:
    """The tensors that make a file miss a limit, those that weigh most first."""
    rows = evidence.report.rows
    if limit.name == "max-memory":
        decoded = [Reason(row.name, row.original, None, f"{row.dtype} {_shape(row.shape)}") for row in rows]
        small = [Reason(t.name, t.nbytes, None, f"{t.dtype} {_shape(t.shape)}") for t in evidence.decoded.in_graph]
        return _largest([*decoded, *small])
    if limit.name == "max-exact":
        found = [_reason(row, evidence, row.original) for row in rows if not evidence.is_touched(row)]
        return _largest(
            [*found, *(Reason(t.name, t.nbytes, None, f"{t.dtype}, {SMALL}") for t in evidence.decoded.in_graph)]
        )
    if limit.name == "max-tensor-size":
        above = [_reason(row, evidence) for row in rows if row.huffman > limit.value]
        in_graph = [Reason(name, size, None, SMALL) for size, name in evidence.in_graph() if size > INLINE]
        return _largest([*above, *(reason for reason in in_graph if reason.bytes > limit.value)])
    if limit.name in ("min-agreement", "min-top1"):  # errors are where few bits were spent on many weights
        lossy = [row for row in rows if evidence.is_touched(row) and row.elements]
        coarse = sorted(lossy, key=lambda row: row.huffman / row.elements)[: max(LARGEST, len(lossy) // 2)]
        return _largest([_reason(row, evidence) for row in coarse])
    if evidence.old is not None and (grown := _grown(evidence, evidence.old)):
        return grown
    return _largest([_reason(row, evidence) for row in sorted(rows, key=lambda row: -row.huffman)[:LARGEST]])


def _reason(row: TensorReport, evidence: Evidence, nbytes: int | None = None) -> Reason:
    return Reason(row.name, row.huffman if nbytes is None else nbytes, None, limited_by(row, evidence))


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
        grown.append(Reason(row.name, row.huffman, change, was + limited_by(row, evidence)))
    rest = evidence.report.file_bytes - sum(row.huffman for row in evidence.report.rows)
    rest_change = rest - (old.bytes - sum(tensor.bytes for tensor in old.tensors.values()))
    growth = rest_change + sum(change for change, _, _ in found)
    if rest_change > MENTIONED * growth and (len(grown) < LARGEST or rest_change > (grown[-1].change or 0)):
        kept = grown[: LARGEST - 1]
        grown = sorted([*kept, Reason(REST, rest, rest_change, "nodes, names and small tensors")], key=_by_change)
    return tuple(grown)


def _by_change(reason: Reason) -> int:
    return -(reason.change or 0)
