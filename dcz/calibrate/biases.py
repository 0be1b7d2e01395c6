"""The constant that takes the mean error of a layer: what is added to its output, or taken from it.

Conv -> Squeeze -> Add(b)            Bias("b", 1)
Conv -> BatchNormalization(mean)     Bias("mean", -1): the error of the mean is in its running mean as much as before it

Rows of the layer lie along one axis of its output. It is counted from the end, since of a MatMul the rank is not known,
and followed through whatever moves the output or cuts other axes of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ..model import Node
from .operands import Operands, axes_of, is_cast, numbers


@dataclass(frozen=True)
class Bias:
    """The tensor of a site with one number a row; `factor` of which makes good an error of 1 in the layer's output."""

    site: str
    factor: float


@dataclass(frozen=True)
class Rows:
    """A value in which a layer's `count` rows lie along `axis` (-1 is the last), of `rank` axes or, if None, any."""

    value: str
    count: int
    axis: int
    rank: int | None

    def from_end(self, axes: Iterable[int]) -> list[int] | None:
        """Axes, counted from the end; None where that needs a rank that is not known."""
        found = [axis if axis < 0 or self.rank is None else axis - self.rank for axis in axes]
        return found if all(axis < 0 for axis in found) else None


def operand(node: Node, place: int, rows: int, operands: Operands) -> str | None:
    """The site of the bias that a node itself takes, if nobody else reads it, and it lies along the last axis."""
    found = operands.alone(node.inputs[place]) if len(node.inputs) > place else None
    return None if found is None or not _lies(found.view.shape, rows, -1) else found.site


def after(rows: Rows, operands: Operands) -> Bias | None:
    """What is added to a layer's output, or normalises it, and to nothing else."""
    while (node := operands.reader(rows.value)) is not None and not node.domain:
        if node.op in ("Add", "Sub"):
            other = node.inputs[1 - node.inputs.index(rows.value)]
            return _bias(other, rows, 1.0 if node.op == "Add" else -1.0, rows.axis, operands)
        if node.op == "BatchNormalization":
            training = node.attributes.get("training_mode") or sum(map(bool, node.outputs)) > 1
            if training or node.inputs[0] != rows.value or rows.rank is None or rows.rank + rows.axis != 1:
                return None
            return _bias(node.inputs[3], rows, -1.0, -1, operands)
        if node.inputs[0] != rows.value or (rows := _followed(node, rows, operands)) is None:
            return None
    return None


def _bias(value: str, rows: Rows, factor: float, axis: int, operands: Operands) -> Bias | None:
    found = operands.alone(value)
    return Bias(found.site, factor) if found is not None and _lies(found.view.shape, rows.count, axis) else None


def _lies(shape: tuple[int, ...], count: int, axis: int) -> bool:
    """Whether a tensor of this shape has `count` numbers along the axis, and one along all others."""
    long = [place - len(shape) for place, dim in enumerate(shape) if dim != 1]
    return long == [axis] and shape[axis] == count if count != 1 else not long


def _followed(node: Node, rows: Rows, operands: Operands) -> Rows | None:
    """Where the rows lie in what a node makes of them; None where it changes them, or that cannot be told."""
    value, constants = node.outputs[0], operands.program.constants
    if node.op == "Identity" or is_cast(node):
        return Rows(value, rows.count, rows.axis, rows.rank)
    if node.op == "Transpose" and node.attributes.get("perm"):
        order = node.attributes["perm"]
        return Rows(value, rows.count, order.index(rows.axis % len(order)) - len(order), len(order))
    if node.op == "Squeeze":
        axes = rows.from_end(axes_of(node, constants) or [0])
        if axes is None or rows.axis in axes:
            return None
        rank = None if rows.rank is None else rows.rank - len(axes)
        return Rows(value, rows.count, rows.axis + sum(axis > rows.axis for axis in axes), rank)
    if node.op == "Unsqueeze":
        return _unsqueezed(value, rows, axes_of(node, constants))
    if node.op == "Slice":
        return Rows(value, rows.count, rows.axis, rows.rank) if _keeps(node, rows, constants) else None
    if node.op == "Reshape":
        return _reshaped(value, rows, numbers(node, 1, "shape", constants), node.attributes.get("allowzero", 0))
    return None


def _unsqueezed(value: str, rows: Rows, axes: list[int] | None) -> Rows | None:
    rank = None if rows.rank is None or axes is None else rows.rank + len(axes)
    new = None if axes is None else Rows(value, rows.count, 0, rank).from_end(axes)
    if new is None:
        return None
    old = [axis for axis in range(-1, rows.axis - len(new) - 1, -1) if axis not in new]  # where -1, -2, ... have gone
    return Rows(value, rows.count, old[-1 - rows.axis], rank)


def _keeps(node: Node, rows: Rows, constants) -> bool:
    """Whether a Slice leaves the rows whole."""
    starts, ends = numbers(node, 1, "starts", constants), numbers(node, 2, "ends", constants)
    if starts is None or ends is None:
        return False
    named = len(node.inputs) > 3 and node.inputs[3] or "axes" in node.attributes
    axes = numbers(node, 3, "axes", constants) if named else range(len(starts))
    steps = numbers(node, 4, "steps", constants) if len(node.inputs) > 4 and node.inputs[4] else [1] * len(starts)
    axes = None if axes is None or steps is None else rows.from_end(axes)
    if axes is None:
        return False
    cuts = [cut for axis, *cut in zip(axes, starts, ends, steps) if axis == rows.axis]
    return all(start == 0 and step == 1 and end >= rows.count for start, end, step in cuts)


def _reshaped(value: str, rows: Rows, shape: list[int] | None, zero: int) -> Rows | None:
    """Rows on the last axis stay there where the last dim is their count; others where no axis before is changed."""
    if shape is None or zero:
        return None
    if rows.axis == -1 and shape and shape[-1] == rows.count:
        return Rows(value, rows.count, -1, len(shape))
    place = -1 if rows.rank is None else rows.rank + rows.axis
    if 0 <= place < len(shape) and not any(shape[:place]) and shape[place] in (0, rows.count):
        return Rows(value, rows.count, place - len(shape), len(shape))
    return None
