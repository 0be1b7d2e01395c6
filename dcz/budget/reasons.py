"""Why a budget is missed: the tensors that make it up or grew, what limits each, and the command that would mend it.

Reason("fc1.weight", 401_202, change=12_300, limited_by="8.1 bits a weight, none of them zero")
Remedy("the best quality within the limit", "dcz compress -f net.onnx -o net.dcz --max-size 400000")
"""

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..format.container import Archive
from ..reading.decompress import skeleton
from ..reading.inspect import Report, TensorReport
from ..reading.memory import Decoded
from .baseline import Weight
from .config import Budgeted
from .limits import SHARE, Limit

LARGEST = 5  # tensors that are named under a miss
MAX_RULES = 5  # of a plan that a remedy spells out
REST = "graph and directory"
INLINE = 512  # bytes up to which tensors have no record: they count as part of the graph
UNKNOWN_SOURCE = "MODEL.onnx"  # where no file is known that a .dcz was made from
CODES = 0.95  # of a tensor's bytes are codes, but for TABLES: a rate is that of codes alone
TABLES = 64  # bytes of a small codebook and its code table
REAL = ("float32", "float16", "bfloat16", "float64")  # types that dcz prunes and shares
SMALL = "in the graph, deflated with it"
MENTIONED = 0.01  # of all growth: where that of the graph is less, it is not told
Readers = Mapping[str, tuple[tuple[str, bool], ...]]  # see model.operators_by_tensor


@dataclass(frozen=True)
class Reason:
    """A tensor that makes a file miss its budget: its bytes, how many more these are than in the baseline (None
    without one), and what keeps it from being smaller."""

    name: str
    bytes: int
    change: int | None = None
    limited_by: str = ""


@dataclass(frozen=True)
class Remedy:
    """What would mend a miss, in words, and the command that does it, "" where dcz has none."""

    what: str
    command: str = ""


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
    for row in evidence.report.rows:
        before = old.tensors.get(row.name)
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


# -- what would mend it ------------------------------------------------------------------------------------------------


def remedies(limit: Limit, evidence: Evidence) -> tuple[Remedy, ...]:
    """What would mend a miss."""
    if limit.name == "max-size":
        return (Remedy("the best quality within the limit", evidence.compress(f"--max-size {int(limit.value)}")),)
    if limit.name == "min-ratio":
        return (Remedy("the best quality at that ratio", evidence.compress(f"--ratio {limit.value:g}")),)
    if limit.name == "max-growth":
        return _growth_remedies(limit, evidence)
    if limit.name == "max-memory":
        return (Remedy("dcz makes files smaller, not models: it takes fewer weights, or float16 ones, before it"),)
    if limit.name == "max-exact":
        return _exact_remedies(evidence)
    if limit.name == "max-tensor-size":
        return _tensor_remedies(limit, evidence)
    return _answer_remedies(limit, evidence)


def _growth_remedies(limit: Limit, evidence: Evidence) -> tuple[Remedy, ...]:
    baseline = evidence.entry.baseline or ""
    words = [] if evidence.entry.config else [shlex.quote(evidence.path), f"--baseline {shlex.quote(baseline)}"]
    update = " ".join(["dcz check", *words, "--update-baseline"])
    if evidence.old is None:
        return (Remedy("write the baseline, and commit it", update),)
    most = evidence.old.bytes * (1 + limit.value) if limit.unit == SHARE else evidence.old.bytes + limit.value
    smaller = Remedy("the best quality within the limit", evidence.compress(f"--max-size {int(most)}"))
    is_model = not baseline.endswith(".json")
    return (smaller,) if is_model else (smaller, Remedy("or accept it, and commit the baseline", update))


def _exact_remedies(evidence: Evidence) -> tuple[Remedy, ...]:
    if not evidence.is_dcz or evidence.report.metadata.get("settings") == "lossless=True":
        return (Remedy("compressed at the default quality", evidence.compress()),)
    exact = [row for row in evidence.report.rows if not row.compressed]
    real = sorted((row for row in exact if row.dtype in REAL), key=lambda row: -row.original)
    if not real:
        kinds = {row.dtype for row in exact} | {tensor.dtype for tensor in evidence.decoded.in_graph}
        return (Remedy(f"none: what is exact is {', '.join(sorted(kinds))}, too little or no weights"),)
    names = " ".join(f"--include {shlex.quote(row.name)}" for row in real[:LARGEST])
    return (Remedy("makes weights of the largest, where that does no harm", evidence.compress(names)),)


def _tensor_remedies(limit: Limit, evidence: Evidence) -> tuple[Remedy, ...]:
    large = sorted((row for row in evidence.report.rows if row.huffman > limit.value), key=lambda row: -row.huffman)
    real = [row for row in large if row.dtype in REAL and row.elements]
    if not real:
        kinds = {row.dtype for row in large} or {tensor.dtype for tensor in evidence.decoded.in_graph}
        return (Remedy(f"none: {', '.join(sorted(kinds))} stays exact"),)
    rules = []
    for row in real[:MAX_RULES]:
        rate = max(0.01, min(8.0, 8 * (CODES * limit.value - TABLES) / row.elements))
        rules.append(f"[[rule]]\nmatch = {json.dumps(row.name)}\nrate = {rate:.3g}")
    return (Remedy("with a plan.toml of\n" + "\n".join(rules), evidence.compress("--plan plan.toml")),)


def _answer_remedies(limit: Limit, evidence: Evidence) -> tuple[Remedy, ...]:
    data = shlex.quote(evidence.entry.data or "x.npz")
    if not evidence.is_dcz:
        return (Remedy("a model file is as good as it is: train it further, or change the limit"),)
    options = [f"--calibrate {data}"]
    if limit.name == "min-top1":
        options.append(f"--labels {shlex.quote(evidence.entry.labels or 'y')} --max-drop 0.5%")
    else:
        options.append(f"--max-drop {100 * (1 - limit.value) / 2:.3g}%")
    what = "the smallest file whose answers change half as much as they may, where such samples tell"
    what = "the smallest file that loses few right answers" if limit.name == "min-top1" else what
    return (Remedy(what, evidence.compress(*options)), Remedy("or finer weights", evidence.compress("--quality 42")))
