"""Weights that the model itself rounds (QuantizeLinear, as quantization-aware training exports it), on their grids.

    snap_to_grids(model)      w = [0.1234, ...], QuantizeLinear(w, scale 0.003, zero point 0)    ->    w = [0.123, ...]

QuantizeLinear gives the same codes for the new values as for the old ones, so that the outputs are the same to the bit,
while each row of the weights has a few hundred values at most: (code - zero point) * scale, as DequantizeLinear has
them. The codes are computed as onnxruntime does, and compared before a tensor is changed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from onnx import NodeProto, TensorProto

from ..tensor import ValueGrid, round_to, values
from .flows import Value
from .model_file import Model
from .nodes import float_attributes, int_attributes
from .replace import replace_data
from .tensors import ModelTensor
from .uses import TensorUses

QUANTIZE = ("QuantizeLinear", "com.microsoft.QuantizeLinear")
_RANGES: dict[int, tuple[int, int]] = {
    TensorProto.INT4: (-8, 7), TensorProto.UINT4: (0, 15), TensorProto.INT8: (-128, 127), TensorProto.UINT8: (0, 255),
    TensorProto.INT16: (-(1 << 15), (1 << 15) - 1), TensorProto.UINT16: (0, (1 << 16) - 1),
}  # fmt: skip
_SNAPPED_TYPES = ("float32", "float16")

MAX_READS = 16  # of a weight, whose grids are all in memory


@dataclass(frozen=True, eq=False)
class _QuantizeLinear:
    """What a QuantizeLinear rounds to: `scale` and `zero`, of a shape that fits the weights, and the least and greatest
    code."""

    scale: np.ndarray
    zero: np.ndarray
    low: int
    high: int

    def place(self) -> ValueGrid:
        """The same as a tensor says it."""
        axes = [number for number, dim in enumerate(self.scale.shape) if dim != 1]
        if len(axes) > 1:
            return ValueGrid(None, self.scale.ravel()[:0])
        return ValueGrid(axes[0] if axes else None, self.scale.ravel())

    def codes(self, weights: np.ndarray) -> np.ndarray:
        """The codes of weights: x / scale, to nearest, ties to even, plus the zero point, saturated."""
        with np.errstate(all="ignore"):
            codes: np.ndarray = np.clip(np.rint(weights / self.scale) + self.zero, self.low, self.high)
        return codes

    def values(self, codes: np.ndarray) -> np.ndarray:
        """The numbers that DequantizeLinear makes of codes."""
        numbers: np.ndarray = (codes - self.zero).astype(np.float32) * self.scale
        return numbers


def snap_to_grids(model: Model, may_snap: Callable[[ModelTensor], bool] = lambda weight: True) -> int:
    """Change `model`: put the weights that only QuantizeLinears read on their grids, and return how many were.

    The caller must own `model`. Its tensors that were put there say on which (`grid`). `may_snap` decides about each.
    Raises UnsuitableModel for tensors that cannot be read.
    """
    if model.proto.training_info or not any(name in QUANTIZE for tensor in model.tensors for name, _ in tensor.uses):
        return 0
    uses = TensorUses(model.proto)
    by_name = {tensor.name: (number, tensor) for number, tensor in enumerate(model.tensors)}
    slots = [(slot.value, *by_name[name]) for name, slot in uses.named_slots() if slot.value and name in by_name]
    open_values = {(uses.main, info.name) for info in model.proto.graph.input} | uses.outputs
    constants = {value: tensor for value, _, tensor in slots if value not in open_values}
    count = 0
    for value, number, tensor in slots:
        if tensor.dtype.name not in _SNAPPED_TYPES or tensor.is_weight or value in open_values:
            continue
        grids = _grids(value, tensor, uses, constants)
        if not grids or not may_snap(tensor):
            continue
        snapped = _snapped(tensor, grids)
        if snapped is not None:
            replace_data(tensor.proto, tensor, snapped)
            external = None  # its data is in the model now
            model.tensors[number] = replace(
                tensor, external=external, is_weight=True, exact_because="", grid=grids[0].place()
            )
            count += 1
    return count


def _grids(
    value: Value, tensor: ModelTensor, uses: TensorUses, constants: Mapping[Value, ModelTensor]
) -> list[_QuantizeLinear] | None:
    """The grids of all that reads a value; None where something else reads it, or a grid is not known."""
    reads, aliases = uses.next_of(value)
    if (
        aliases
        or not 0 < len(reads) <= MAX_READS
        or any(read.operator not in QUANTIZE or read.operand for read in reads)
    ):
        return None
    grids = []
    for read in reads:
        parameters = [constants.get(read.scope.resolve(name)) if name else None for name in read.node.input[1:3]]
        names = [name for name in read.node.input[1:3] if name]
        if len(names) != sum(parameter is not None for parameter in parameters):
            return None
        grid = _grid(read.node, tensor, parameters[0], parameters[1] if len(parameters) > 1 else None)
        if grid is None:
            return None
        grids.append(grid)
    return grids


def _grid(
    node: NodeProto, tensor: ModelTensor, scale: ModelTensor | None, zero: ModelTensor | None
) -> _QuantizeLinear | None:
    """The grid of a QuantizeLinear with these parameters; None where dcz does not know it."""
    attributes = int_attributes(node)
    code = zero.dtype.code if zero is not None else attributes.get("output_dtype", 0) or TensorProto.UINT8
    if code not in _RANGES or scale is None or scale.dtype != tensor.dtype or attributes.get("precision", 0):
        return None
    if float_attributes(node):
        return None
    steps = scale.values().astype(np.float32)
    zeros = _whole_numbers(zero) if zero is not None else np.zeros(steps.shape, np.float32)
    if zeros is None or zeros.shape != steps.shape or not (np.isfinite(steps).all() and (steps > 0).all()):
        return None
    if steps.size == 1 and steps.ndim < 2 and not attributes.get("block_size", 0):
        return _QuantizeLinear(steps.reshape(()), zeros.reshape(()), *_RANGES[code])
    rank, axis = len(tensor.shape), attributes.get("axis", 1)
    if not -rank <= axis < rank:
        return None
    axis %= rank
    if block := attributes.get("block_size", 0):
        if block < 0 or steps.ndim != rank or steps.shape[axis] != -(-tensor.shape[axis] // block):
            return None
        if any(steps.shape[other] != tensor.shape[other] for other in range(rank) if other != axis):
            return None
        block = min(block, tensor.shape[axis])
        steps, zeros = (np.repeat(array, block, axis).take(range(tensor.shape[axis]), axis) for array in (steps, zeros))
        return _QuantizeLinear(steps, zeros, *_RANGES[code]) if steps.shape == tensor.shape else None
    if steps.shape != (tensor.shape[axis],):
        return None
    shape = [-1 if number == axis else 1 for number in range(rank)]
    return _QuantizeLinear(steps.reshape(shape), zeros.reshape(shape), *_RANGES[code])


def _whole_numbers(tensor: ModelTensor) -> np.ndarray | None:
    """The numbers of a tensor of integers (float32, which holds those of 16 bits); None for half bytes but zeros."""
    data = tensor.read()
    if tensor.dtype.bits < 8:
        return None if data.any() else np.zeros(tensor.shape, np.float32)
    return data.view(tensor.dtype.name).reshape(tensor.shape).astype(np.float32)


def _snapped(tensor: ModelTensor, grids: list[_QuantizeLinear]) -> np.ndarray | None:
    """The bytes of a tensor on its grid; None where a QuantizeLinear would not give the same codes for these."""
    weights = tensor.values()
    if not np.isfinite(weights).all():
        return None
    patterns = round_to(grids[0].values(grids[0].codes(weights)).astype(np.float64) + 0.0, tensor.dtype)
    snapped = values(patterns.ravel(), tensor.dtype).reshape(tensor.shape)
    if not all(np.array_equal(grid.codes(weights), grid.codes(snapped)) for grid in grids):
        return None
    return np.ascontiguousarray(patterns).reshape(-1).view(np.uint8)
