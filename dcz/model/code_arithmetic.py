"""What nodes that dcz has put into a graph compute, as numpy does it: codes to tensors again (see uncompact).

array = compute(node, [codes, entries], room)     Cast, Gather, Mul, DequantizeLinear, Transpose, Identity
tensor("fc1.weight", array)                 ->   the TensorProto
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from onnx import NodeProto, TensorProto

from ..encoded import step_scales
from ..errors import UnsuitableModel
from ..tensor import BFLOAT16, DTYPES, FLOAT16, FLOAT32, FLOAT64, ValueGrid, round_to, values
from .nodes import int_attributes
from .tensors import ModelTensor

REAL = {dtype.code: dtype for dtype in (FLOAT32, FLOAT16, FLOAT64, BFLOAT16)}
ROUNDING = 2.0**-22  # of two scales to float32
_STEP_SCALES = step_scales(np.arange(256, dtype=np.uint8))
# Bytes that may be computed for a model of so many: for each code a few numbers of four bytes, one after another.
FLOOR, FACTOR = 1 << 26, 64
_READING = 16  # bytes of a constant that are read in the time in which one is computed


class Room:
    """What may still be computed for the model `label` of `nbytes`: nodes of ours in a small file may ask for any
    number of bytes."""

    def __init__(self, label: str, nbytes: int):
        self._label, self._left = label, max(FLOOR, FACTOR * nbytes)

    def take(self, shape: Sequence[int], itemsize: int) -> None:
        """Note that an array is computed; raises UnsuitableModel where there is no room for it."""
        self._left -= math.prod(shape) * itemsize
        if self._left < 0:
            raise UnsuitableModel(
                f"{self._label}: its weights, computed from codes, take far more than dcz would have made codes of: "
                "compress the model that it was made from"
            )


@dataclass(frozen=True, eq=False)
class CodeArray:
    """An element type of ONNX, and elements: of bfloat16 their bit patterns, of half bytes one a byte; and the scales
    that they were multiplied with last."""

    kind: int
    data: np.ndarray
    grid: ValueGrid | None = None

    def numbers(self) -> np.ndarray:
        """The elements as numbers."""
        return values(self.data, BFLOAT16) if self.kind == TensorProto.BFLOAT16 else self.data


def array_of(tensor: ModelTensor, room: Room) -> CodeArray:
    """The elements of a constant; raises UnsuitableModel where constants are read too often."""
    data, dtype = tensor.read(), tensor.dtype
    room.take([data.size // _READING], 1)
    if dtype.bits == 4:
        room.take(tensor.shape, 1)
        halves = np.stack([data & 15, data >> 4], axis=1).ravel()[: int(np.prod(tensor.shape))].astype(np.int8)
        signed = dtype.name.startswith("int")
        data = np.where(halves > 7, halves - 16, halves).astype(np.int8) if signed else halves.astype(np.uint8)
        return CodeArray(dtype.code, data.reshape(tensor.shape))
    kind = "<u2" if dtype == BFLOAT16 else np.dtype(dtype.name)
    return CodeArray(dtype.code, data.view(kind).reshape(tensor.shape))


def tensor_of(name: str, array: CodeArray) -> TensorProto:
    """The elements as a tensor of a model."""
    data = np.ascontiguousarray(array.data)
    return TensorProto(name=name, data_type=array.kind, dims=data.shape, raw_data=data.tobytes())


def compute(node: NodeProto, inputs: list[CodeArray], room: Room) -> CodeArray:
    """What a node of ours gives; raises KeyError, ValueError ... for what is none, UnsuitableModel where there is no
    room for it."""
    with np.errstate(all="ignore"):  # numbers of others' may be any
        return _compute(node, inputs, room)


def _compute(node: NodeProto, inputs: list[CodeArray], room: Room) -> CodeArray:
    first, options = inputs[0], int_attributes(node)
    if node.op_type == "Identity":
        return first
    if node.op_type == "Transpose":
        flipped = None if first.grid is None else replace(first.grid, axis=first.data.ndim - 1 - (first.grid.axis or 0))
        return CodeArray(first.kind, first.data.T, flipped)
    if node.op_type == "Cast":
        room.take(first.data.shape, 4)
        return replace(_cast(first, options["to"]), grid=first.grid)
    if node.op_type == "Gather":
        places = inputs[1].data
        if places.dtype.kind not in "iu":
            raise ValueError("places are whole numbers")
        room.take([*places.shape, *first.data.shape[1:]], first.data.itemsize)
        return CodeArray(first.kind, first.data[places])
    if node.op_type == "Mul":
        scale = inputs[1].data
        room.take(np.broadcast_shapes(first.data.shape, scale.shape), first.data.itemsize)
        return CodeArray(first.kind, first.data * scale, _grid(first.data.ndim, scale))
    if node.op_type == "DequantizeLinear":
        scale, shape = inputs[1].data, [1] * first.data.ndim
        if scale.ndim:
            shape[options.get("axis", 1)] = -1
        zero = inputs[2].data.astype(np.int32) if len(inputs) > 2 else np.zeros(scale.shape, np.int32)
        zero, scale = zero.reshape(shape), scale.reshape(shape)
        room.take(np.broadcast_shapes(first.data.shape, scale.shape, zero.shape), 4)
        numbers = (first.data.astype(np.int32) - zero).astype(np.float32)
        return CodeArray(TensorProto.FLOAT, numbers * scale, _grid(first.data.ndim, scale))
    raise KeyError(node.op_type)


def _grid(rank: int, scales: np.ndarray) -> ValueGrid | None:
    """The scales that a Mul or a DequantizeLinear has, where they lie along one axis, and are such as a `.dcz` has
    (encoded.step_scales), or these times one number: the step."""
    axes = [axis for axis, dim in enumerate(scales.shape) if dim != 1]
    if len(axes) != 1:
        return None
    steps = _steps(scales.ravel().astype(np.float64))
    return None if steps is None else ValueGrid(rank - scales.ndim + axes[0], _STEP_SCALES[steps], steps, binds=False)


def _steps(scales: np.ndarray) -> np.ndarray | None:
    """The symbols (uint8) of scales (float64), to a common factor; None where they have none.

    Of the factors that fit any is right: the ratios of scales are those of small whole numbers, and so are theirs.
    """
    if not (np.isfinite(scales) & (scales > 0)).all():
        return None
    for unit in (1.0, *(scales.min() / _STEP_SCALES[:8])):
        wanted = scales / unit
        steps = np.minimum(np.searchsorted(_STEP_SCALES, wanted * (1 - ROUNDING)), len(_STEP_SCALES) - 1)
        if (np.abs(_STEP_SCALES[steps] - wanted) <= ROUNDING * wanted).all():
            symbols: np.ndarray = steps.astype(np.uint8)
            return symbols
    return None


def _cast(array: CodeArray, kind: int) -> CodeArray:
    if kind == TensorProto.INT32:
        return CodeArray(kind, array.numbers().astype(np.int32))
    dtype = REAL[kind]
    patterns = round_to(array.numbers().astype(np.float64), dtype)
    return CodeArray(kind, patterns if dtype == BFLOAT16 else patterns.view(np.dtype(DTYPES[kind].name)))
