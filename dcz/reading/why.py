"""What keeps the tensors of a file as large as they are, and the options that would make each smaller.

    limits("net.dcz")[0]   ->   Limit("fc1.weight", 9_120, "5.3 bits a weight, 32 shared values, none zero",
                                      "--quality 30")

Who reads a tensor is in the graph, how it is coded in its record. Decoded is only what stays exact and might not:
numbers that are not finite cannot be rounded, whatever the options, and those of signal processing are told by what
they are.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .. import shell
from ..format.container import Archive
from ..plan import NEGLIGIBLE, Plan, Settings
from ..plan import load as load_plan
from ..tensor import Tensor, values
from ..text import counted
from .decompress import decode_tensor, skeleton
from .inspect import Report, TensorReport, inspect

if TYPE_CHECKING:
    from ..model import ModelTensor

LESS = 3.0  # decibels of a quality that is proposed: half a bit a weight
MUCH_INDEX = 0.4  # of a sparse tensor's bytes, from which the places of its weights are what it costs
DENSE = 0.5  # of a tensor's weights: where more are kept, pruning would help
REAL = ("float32", "float16", "bfloat16", "float64")  # types that dcz prunes and shares
NOT_FINITE = "not all of them are finite, or of a size to compute with"
BY_MODEL = "exactly the values that the model itself rounds it to (QuantizeLinear)"
ROUNDERS = {"QuantizeLinear"}
SAFE = "--preset safe"
INLINE = 512  # bytes: smaller tensors lie in the graph, as a record would cost about as much (model.INLINE_BYTES)

Readers = Mapping[str, tuple[tuple[str, bool], ...]]  # see model.operators_by_tensor


@dataclass(frozen=True)
class Limit:
    """What a tensor's bytes come from. `options`: those of `dcz compress` that would make it smaller, or ""."""

    name: str
    nbytes: int
    reason: str
    options: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def limits(path: str | os.PathLike[str], plan: Plan | str | os.PathLike[str] | None = None) -> list[Limit]:
    """The limits of all tensors of a `.dcz` or `.onnx` file, the largest first.

    `plan`, or its path, is the one that the file was (or is to be) made by: then the rules that name a tensor are told.
    Raises DczError.
    """
    report = inspect(path)
    chosen = load_plan(plan) if isinstance(plan, (str, os.PathLike)) else plan
    explained = Explained(report, chosen)
    return sorted(map(explained.limit, report.rows), key=lambda limit: -limit.nbytes)


class Explained:
    """What limits the tensors of a file, each looked at when it is asked for; `plan`: see limits."""

    def __init__(self, report: Report, plan: Plan | None = None):
        self.report, self._plan = report, plan
        self._readers: Readers | None = None
        self._tensors: dict[str, ModelTensor] | None = None
        self._settings = report.metadata.get("settings", "")

    def limit(self, row: TensorReport) -> Limit:
        """The limit of one of the report's tensors. Raises DczError."""
        if self.report.kind == "onnx":
            cause, options = self._to_come(row)
        elif row.dtype in REAL and {operator for operator, _ in self.readers.get(row.name, ())} == ROUNDERS:
            cause, options = BY_MODEL, ""
        elif row.compressed and row.dtype in REAL and not self.is_lossless:
            cause, options = self._coded(row)
        else:
            cause, options = self._exact(row)
        return Limit(row.name, row.huffman, self._by_plan(row.name) + cause, options)

    @property
    def is_lossless(self) -> bool:
        """Whether everything was to stay exact."""
        return self._settings == str(Settings(lossless=True))

    def _by_plan(self, name: str) -> str:
        """What the plan says of a tensor by name, or ""."""
        if self._plan is None:
            return ""
        if self._plan.excludes(name):
            return "excluded by the plan; "
        rule = self._plan.rule(name)
        return "" if rule is None else f"the plan's rule for {', '.join(rule.match)} ({rule.settings}); "

    # -- of a model, before it is compressed

    def _to_come(self, row: TensorReport) -> tuple[str, str]:
        """The limit of a tensor of an ONNX model."""
        if self._tensors is None:
            from .. import model

            self._tensors = {
                tensor.name: tensor for tensor in model.load(self.report.path, apart=True, lists=True).tensors
            }
        tensor = self._tensors[row.name]
        operators = _names({operator for operator, _ in tensor.uses})
        if row.dtype not in REAL:
            return _whole(row.dtype, operators)
        if not _can_round(Tensor(tensor.name, tensor.dtype, tensor.shape, tensor.read())):
            return f"would stay exact: {NOT_FINITE}", ""
        if {operator for operator, _ in tensor.uses} == ROUNDERS:
            return f"{row.dtype}, not compressed yet; it becomes {BY_MODEL}", SAFE
        include = shell.include(row.name) if row.original >= INLINE else ""
        if not tensor.is_weight:
            because = tensor.exact_because or f"no weight of a layer, read by {operators}"
            return f"would stay exact: {because}", include
        if row.elements < Plan().min_weights:
            return f"would stay exact: fewer than {Plan().min_weights} weights", include
        return f"{row.dtype} weights of {operators}, not compressed yet", SAFE

    # -- of a .dcz file

    @property
    def readers(self) -> Readers:
        """The operators that read each tensor of a `.dcz` file."""
        if self._readers is None:
            from .. import model

            with Archive(self.report.path) as archive:
                self._readers = model.operators_by_tensor(skeleton(archive, model.Held())[0])
        return self._readers

    def _exact(self, row: TensorReport) -> tuple[str, str]:
        """The limit of a tensor that is exact."""
        readers = self.readers.get(row.name, ())
        operators = _names({operator for operator, _ in readers})
        if row.dtype not in REAL:
            return _whole(row.dtype, operators)
        is_weight = any(is_weight for _, is_weight in readers)
        if is_weight and self.is_lossless:
            return f"weights of {operators}, exact as everything is (--lossless)", SAFE
        tensor = self._decoded(row)
        if not _can_round(tensor):
            return f"exact numbers for {operators}: {NOT_FINITE}", ""
        include = shell.include(row.name) if row.original >= INLINE else ""
        if not is_weight:
            return f"exact, being no weight of a layer: read by {operators}", include
        if row.elements < Plan().min_weights:
            return f"fewer than {Plan().min_weights} weights stay exact", include
        return f"weights of {operators}, exact: {self._kept_because(tensor)}", include

    def _kept_because(self, tensor: Tensor) -> str:
        """Why a big weight is exact in a file that is not lossless, as far as the file tells."""
        from .. import model

        if kind := model.signal_kind(values(tensor.patterns, tensor.dtype).reshape(tensor.shape)):
            return f"{kind}, as of signal processing, whose small errors may become large ones"
        causes = ["a plan or --exclude names it"]
        if all(operator in model.GATHERS for operator, _ in self.readers[tensor.name]):
            causes.append("what is looked up in it serves arithmetic, and no layer")
        if len(tensor.data) < NEGLIGIBLE * sum(row.original for row in self.report.rows):
            causes.append("it is next to nothing of the model")
        return ", or ".join(causes)

    def _decoded(self, row: TensorReport) -> Tensor:
        """A tensor of the file with its values."""
        with Archive(self.report.path) as archive:
            entry = next(each for each in archive.directory.entries if each.name == row.name)
            return Tensor(entry.name, entry.dtype, entry.shape, decode_tensor(archive, entry))

    def _coded(self, row: TensorReport) -> tuple[str, str]:
        """The limit of a tensor that is shared, pruned or both."""
        bits = 8 * row.huffman / row.elements if row.elements else 0.0
        share = 1.0 if row.kept is None or not row.elements else row.kept / row.elements
        if row.encoding == "pruned":
            return f"{share:.1%} kept, with all bits of their {row.dtype}", "--bits 5"
        if row.encoding == "sparse":
            of_index = row.index_bits_huffman or 0.0
            width = f"{row.weight_bits_huffman or 0:.1f} bits a kept weight and {of_index:.1f} for its place"
            more = row.parts.get("index", 0) > MUCH_INDEX * row.huffman or share < DENSE
            return f"{share:.1%} kept: {width}", _sparser(1 - share) if more else _coarser(self._settings)
        if row.parts.get("codebook", 0) + row.parts.get("tables", 0) > row.parts.get("weights", 0):
            return (
                f"its codebook takes more than its codes: {counted(row.entries or 0, 'shared value')}",
                "--codebook float16",
            )
        zeros = "" if row.kept is None else ", none zero"
        return f"{bits:.2f} bits a weight, {counted(row.entries or 0, 'shared value')}{zeros}", _coarser(self._settings)


def _whole(dtype: str, operators: str) -> tuple[str, str]:
    """The limit of a tensor that is of no real type."""
    what = "whole numbers stay" if dtype.startswith(("int", "uint", "bool")) else "this type stays"
    return f"{dtype} of {operators}: {what} exact", ""


def _names(operators: set[str]) -> str:
    return ", ".join(sorted(operators)) or "no operator"


def _sparser(zero: float) -> str:
    """Pruning half of what is left."""
    return f"--sparsity {100 * (1 - (1 - zero) / 2):.0f}%"


def _coarser(settings: str) -> str:
    """A lower quality than the file's, or what finds one."""
    found = re.search(r"\bquality=([\d.]+)", settings)
    quality = float(found[1]) if found else None
    if quality is None or quality - LESS < 1:
        return "--data samples.npz --max-drop 1%"
    return f"--quality {quality - LESS:g}"


def _can_round(tensor: Tensor) -> bool:
    """Whether options could make a tensor anything but exact: see codec.encode, which takes a while to import."""
    from ..codec.encode import can_round

    return can_round(tensor)
