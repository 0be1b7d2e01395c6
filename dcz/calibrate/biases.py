"""The constant that can take the mean error of a layer: what is added to its output, or subtracted from it.

    Conv -> Squeeze -> Add(b)            Bias("b", 1)
    Conv -> BatchNormalization(mean)     Bias("mean", -1): an error of the layer's mean is one of the running mean

Bias correction (Nagel et al., "Data-free quantization through weight equalization and bias correction", 2019, section
4.2; Finkelstein, Almog and Grobman, "Fighting quantization bias with bias", 2019) is layerwise's; this finds the bias.

The rows of a layer's weights lie along one axis of its output. The axis is counted from the end, since the rank of a
MatMul's output is not known, and followed through nodes that rearrange the output or cut other axes of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..model import Node
from .operands import Operands, axes_of, integers, is_cast


@dataclass(frozen=True)
class Bias:
    """The tensor (a ModelTensor's name) with one number a row: `factor` more in it is as much as 1 more in the product
    of the layer's weights and inputs."""

    tensor: str
    factor: float


@dataclass(frozen=True)
class OutputRows:
    """A value in which the `count` rows of a layer lie along `axis` (-1 is the last), of `rank` axes or, if None,
    any."""

    value: str
    count: int
    axis: int
    rank: int | None

    def from_end(self, axes: Iterable[int]) -> list[int] | None:
        """Axes, counted from the end; None where that needs a rank that is not known."""
        counted = [axis if axis < 0 or self.rank is None else axis - self.rank for axis in axes]
        return counted if all(axis < 0 for axis in counted) else None


def bias_operand(node: Node, index: int, rows: int, operands: Operands) -> str | None:
    """The tensor of the bias that a node itself takes as operand `index`, if nothing else reads it, and it lies along
    the last axis."""
    alias = operands.single_use(node.inputs[index]) if len(node.inputs) > index else None
    return None if alias is None or not _is_along(alias.view.shape, rows, -1) else alias.tensor


def bias_after(output: OutputRows, operands: Operands) -> Bias | None:
    """What is added to a layer's output, or normalizes it, and does nothing else; None where there is no such
    tensor."""
    rows: OutputRows | None = output
    while rows is not None and (node := operands.sole_reader(rows.value)) is not None and not node.domain:
        if node.op in ("Add", "Sub"):
            other = node.inputs[1 - node.inputs.index(rows.value)]
            return _bias(other, rows, 1.0 if node.op == "Add" else -1.0, rows.axis, operands)
        if node.op == "BatchNormalization":
            training = node.attributes.get("training_mode") or sum(map(bool, node.outputs)) > 1
            if training or node.inputs[0] != rows.value or rows.rank is None or rows.rank + rows.axis != 1:
                return None
            return _bias(node.inputs[3], rows, -1.0, -1, operands)
        rows = _through(node, rows, operands.program.constants) if node.inputs[0] == rows.value else None
    return None


def _bias(value: str, rows: OutputRows, factor: float, axis: int, operands: Operands) -> Bias | None:
    alias = operands.single_use(value)
    return Bias(alias.tensor, factor) if alias is not None and _is_along(alias.view.shape, rows.count, axis) else None


def _is_along(shape: tuple[int, ...], count: int, axis: int) -> bool:
    """Whether a tensor of this shape has `count` numbers along the axis, and one along all others."""
    long = [index - len(shape) for index, dim in enumerate(shape) if dim != 1]
    return long == [axis] and shape[axis] == count if count != 1 else not long


def _through(node: Node, rows: OutputRows, constants: Mapping[str, np.ndarray]) -> OutputRows | None:
    """Where the rows lie in a node's output; None where it changes them, or that is not known."""
    value = node.outputs[0]
    if node.op == "Identity" or is_cast(node):
        return replace(rows, value=value)
    if node.op == "Transpose" and node.attributes.get("perm"):
        order = node.attributes["perm"]
        return OutputRows(value, rows.count, order.index(rows.axis % len(order)) - len(order), len(order))
    if node.op == "Squeeze":
        return _squeezed(value, rows, rows.from_end(axes_of(node, constants) or [0]))
    if node.op == "Unsqueeze":
        return _unsqueezed(value, rows, axes_of(node, constants))
    if node.op == "Slice":
        return replace(rows, value=value) if _keeps_rows(node, rows, constants) else None
    if node.op == "Reshape":
        return _reshaped(value, rows, integers(node, 1, "shape", constants), node.attributes.get("allowzero", 0))
    return None


def _squeezed(value: str, rows: OutputRows, axes: list[int] | None) -> OutputRows | None:
    if axes is None or rows.axis in axes:
        return None
    rank = None if rows.rank is None else rows.rank - len(axes)
    return OutputRows(value, rows.count, rows.axis + sum(axis > rows.axis for axis in axes), rank)


def _unsqueezed(value: str, rows: OutputRows, axes: list[int] | None) -> OutputRows | None:
    rank = None if rows.rank is None or axes is None else rows.rank + len(axes)
    new = None if axes is None else replace(rows, rank=rank).from_end(axes)
    if new is None:
        return None
    old = [axis for axis in range(-1, rows.axis - len(new) - 1, -1) if axis not in new]  # where -1, -2, ... are now
    return OutputRows(value, rows.count, old[-1 - rows.axis], rank)


def _keeps_rows(node: Node, rows: OutputRows, constants: Mapping[str, np.ndarray]) -> bool:
    """Whether a Slice leaves the rows whole."""
    starts, ends = integers(node, 1, "starts", constants), integers(node, 2, "ends", constants)
    if starts is None or ends is None:
        return False
    named = (len(node.inputs) > 3 and node.inputs[3]) or "axes" in node.attributes
    sliced = integers(node, 3, "axes", constants) if named else list(range(len(starts)))
    steps = [1] * len(starts)
    if len(node.inputs) > 4 and node.inputs[4]:
        known = integers(node, 4, "steps", constants)
        if known is None:
            return False
        steps = known
    axes = None if sliced is None else rows.from_end(sliced)
    if axes is None:
        return False
    slices = zip(axes, starts, ends, steps, strict=False)  # a Slice that is malformed is onnxruntime's to refuse
    return all(start == 0 and step == 1 and end >= rows.count for axis, start, end, step in slices if axis == rows.axis)


def _reshaped(value: str, rows: OutputRows, shape: list[int] | None, allow_zero: int) -> OutputRows | None:
    """Rows on the last axis stay there where the last dim is their count; others where no axis before is changed."""
    if shape is None or allow_zero:
        return None
    if rows.axis == -1 and shape and shape[-1] == rows.count:
        return OutputRows(value, rows.count, -1, len(shape))
    axis = -1 if rows.rank is None else rows.rank + rows.axis
    if 0 <= axis < len(shape) and not any(shape[:axis]) and shape[axis] in (0, rows.count):
        return OutputRows(value, rows.count, axis - len(shape), len(shape))
    return None
