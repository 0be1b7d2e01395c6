"""What keeps the tensors of a file as large as they are, and the option that would make each smaller.

    limits("net.dcz")[0]   ->   Limit("fc1.weight", 9_120, "5.3 bits a weight, 32 shared values, none of them zero",
                                      "--quality 30")

Nothing is decoded: who reads a tensor is in the graph, how it is coded in its record.
"""

import os
import re
import shlex
from dataclasses import asdict, dataclass
from typing import Any

from ..format.container import Archive, is_dcz
from ..plan import Plan, Settings
from ..plan import load as load_plan
from .decompress import skeleton
from .inspect import TensorReport, inspect

LESS = 3.0  # decibels of a quality that is proposed: half a bit a weight
MUCH_INDEX = 0.4  # of a sparse tensor's bytes, from which the places of its weights are what it costs
DENSE = 0.5  # of a tensor's weights: where more are kept, pruning would help


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
    chosen = load_plan(plan) if isinstance(plan, (str, os.PathLike)) else plan
    found = _of_dcz(path, chosen) if is_dcz(path) else _of_onnx(path, chosen)
    return sorted(found, key=lambda limit: -limit.nbytes)


def _of_dcz(path: str | os.PathLike[str], plan: Plan | None) -> list[Limit]:
    from ..model import operators_by_tensor

    report = inspect(path)
    with Archive(path) as archive:
        found = operators_by_tensor(skeleton(archive)[0])
    settings = report.metadata.get("settings", "")
    rows = []
    for row in report.rows:
        cause, options = _coded(row, settings) if row.compressed else _stored(row, found.get(row.name, ()),
                                                                              settings)  # fmt: skip
        rows.append(Limit(row.name, row.huffman, _by_plan(row.name, plan) + cause, options))
    return rows


def _of_onnx(path: str | os.PathLike[str], plan: Plan | None) -> list[Limit]:
    from .. import model

    rows = []
    for tensor in model.load(path).tensors:
        operators = tuple(sorted({operator for operator, _ in tensor.uses}))
        if tensor.is_weight and tensor.dtype.real:
            cause = f"{tensor.dtype.name}, {tensor.dtype.bits} bits a weight of {_names(operators)}"
            options = "--preset safe"
        else:
            cause, options = _exact(tensor.name, tensor.dtype.name, tensor.dtype.real, operators)
            cause = f"would stay exact: {tensor.exact_because}" if tensor.exact_because else cause
        rows.append(Limit(tensor.name, tensor.nbytes, _by_plan(tensor.name, plan) + cause, options))
    return rows


def _by_plan(name: str, plan: Plan | None) -> str:
    """What a plan says of a tensor by name, or ""."""
    if plan is None:
        return ""
    if plan.excludes(name):
        return "excluded by the plan; "
    rule = plan.rule(name)
    return "" if rule is None else f"the plan's rule for {', '.join(rule.match)} ({rule.settings}); "


def _stored(row: TensorReport, readers: tuple[tuple[str, bool], ...], settings: str) -> tuple[str, str]:
    """The limit of a tensor that is stored exactly."""
    operators = tuple(operator for operator, _ in readers)
    is_real = row.dtype.startswith(("float", "bfloat"))
    if is_real and any(is_weight for _, is_weight in readers):
        if settings == str(Settings(lossless=True)):
            return (
                f"weights of {_names(operators)}, exact as everything is (--lossless)",
                "--preset safe",
            )
        if row.elements < Plan().min_weights:
            return f"fewer than {Plan().min_weights} weights stay exact", _include(row.name)
        why = "a plan or --exclude names it, or it is signal processing, not finite, or next to nothing of the model"
        return f"weights of {_names(operators)}, exact: {why}", _include(row.name)
    return _exact(row.name, row.dtype, is_real, operators)


def _exact(name: str, dtype: str, is_real: bool, operators: tuple[str, ...]) -> tuple[str, str]:
    """The limit of a tensor that is no weight."""
    if not is_real:
        return f"{dtype} of {_names(operators)}: whole numbers stay exact", ""
    return f"exact, for it is no weight of a layer: {_names(operators)} reads it", _include(name)


def _names(operators: tuple[str, ...]) -> str:
    return ", ".join(operators) or "no operator"


def _include(name: str) -> str:
    return f"--include {shlex.quote(name)}"


def _coded(row: TensorReport, settings: str) -> tuple[str, str]:
    """The limit of a tensor that is shared, pruned or both."""
    bits = 8 * row.huffman / row.elements if row.elements else 0.0
    share = 1.0 if row.kept is None or not row.elements else row.kept / row.elements
    if row.encoding == "pruned":
        return f"{share:.1%} kept, with all bits of their {row.dtype}", "--bits 5"
    if row.encoding == "sparse":
        of_index = row.index_bits_huffman or 0.0
        width = f"{row.weight_bits_huffman or 0:.1f} bits a kept weight and {of_index:.1f} for its place"
        more = row.parts.get("index", 0) > MUCH_INDEX * row.huffman or share < DENSE
        return f"{share:.1%} kept: {width}", _sparser(1 - share) if more else _coarser(settings)
    if row.parts.get("codebook", 0) + row.parts.get("tables", 0) > row.parts.get("weights", 0):
        return f"its codebook takes more than its codes: {row.entries:,} shared values", "--codebook float16"
    zeros = "" if row.kept is None else ", none of them zero"
    return f"{bits:.1f} bits a weight, {row.entries:,} shared values{zeros}", _coarser(settings)


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
