"""New values for a model's tensors.

with_values(load("net.onnx"), {"fc1.weight": trained})  ->  the same model, but for that tensor
"""

from collections.abc import Mapping

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto

from ..errors import InvalidArgument, UnsuitableModel
from ..tensor import round_to
from ..tensor import values as to_numbers
from . import external_data
from .data_fields import append_to_field
from .model_file import Model
from .tensors import ModelTensor
from .uses import TensorUses


def with_values(model: Model, values: Mapping[str, np.ndarray]) -> ModelProto:
    """A copy of the model whose tensors of the given names (of `ModelTensor`s) hold new values, in the field that they
    had.

    `values` are real numbers in the tensors' shapes; they are rounded to the tensors' own types. External data is
    copied into the model, that of other tensors too, so that the copy stands alone. Raises InvalidArgument for a name
    that the model does not have, a tensor that is not of a real type, or another shape; UnsuitableModel for a number
    too large for the type.
    """
    tensors = {tensor.name: tensor for tensor in model.tensors}
    data = {name: _rounded_bytes(tensors.get(name), name, array) for name, array in values.items()}
    copy = ModelProto()
    copy.CopyFrom(model.proto)
    for name, slot in TensorUses(copy).named_slots():
        tensor = tensors.get(name)
        if tensor is not None and name in data:
            replace_data(slot.proto, tensor, data[name])
        elif tensor is not None and tensor.external is not None:
            replace_data(slot.proto, tensor, tensor.read())
    return copy


def _rounded_bytes(tensor: ModelTensor | None, name: str, array: np.ndarray) -> np.ndarray:
    if tensor is None:
        raise InvalidArgument(f"the model has no tensor {name!r} to take new values")
    if not tensor.dtype.real:
        raise InvalidArgument(f"tensor {name!r} is {tensor.dtype.name}; only real types take new values")
    if np.shape(array) != tensor.shape:
        raise InvalidArgument(f"tensor {name!r} has the shape {tensor.shape}; the new values have {np.shape(array)}")
    numbers = np.asarray(array, np.float64).ravel()
    patterns = round_to(numbers, tensor.dtype)
    overflows = np.isfinite(numbers) & ~np.isfinite(to_numbers(patterns, tensor.dtype))
    if overflows.any():
        raise UnsuitableModel(
            f"tensor {name!r}: {numbers[overflows][0]:.6g} is too large for its type, {tensor.dtype.name}"
        )
    return np.ascontiguousarray(patterns).view(np.uint8)


def replace_data(proto: TensorProto | AttributeProto, tensor: ModelTensor, data: np.ndarray) -> None:
    """Change `proto`, which is `tensor`'s or a copy of it: put `data` (uint8, flat) in the place of the data it has.

    External data becomes raw_data.
    """
    if isinstance(proto, TensorProto) and tensor.external is not None:
        external_data.clear(proto)
    if tensor.field != "raw_data":
        proto.ClearField(tensor.field)
    append_to_field(proto, tensor.field, tensor.dtype, data)
