"""New values for a model's tensors.

with_values(load("net.onnx"), {"fc1.weight": trained})  ->  the same model, but for that tensor
"""

from collections.abc import Mapping

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto

from ..errors import BadPlan, UnsuitableModel
from ..tensor import round_to
from ..tensor import values as numbers_of
from .tensors import TYPED, Model, ModelTensor
from .uses import TensorUses, named


def with_values(model: Model, values: Mapping[str, np.ndarray]) -> ModelProto:
    """A copy of the model whose tensors of the given names (of `ModelTensor`s) hold new values, in the field that they
    had.

    `values` are real numbers in the tensors' shapes; they are rounded to the tensors' own types. External data is
    brought inside, that of other tensors too, so that the copy stands alone. Raises BadPlan for a name that the model
    has not, a tensor that is not of a real type, or another shape; UnsuitableModel for a number too large for the type.
    """
    model_tensors = {model_tensor.name: model_tensor for model_tensor in model.tensors}
    data = {name: _bytes(model_tensors.get(name), name, array) for name, array in values.items()}
    copy = ModelProto()
    copy.CopyFrom(model.proto)
    for name, held in named(TensorUses(copy)):
        model_tensor = model_tensors.get(name)
        if name in data:
            put(held.proto, model_tensor, data[name])
        elif model_tensor is not None and model_tensor.external is not None:
            put(held.proto, model_tensor, model_tensor.read())
    return copy


def _bytes(model_tensor: ModelTensor | None, name: str, array: np.ndarray) -> np.ndarray:
    if model_tensor is None:
        raise BadPlan(f"the model has no tensor {name!r} to take new values")
    if not model_tensor.dtype.real:
        raise BadPlan(f"tensor {name!r} is {model_tensor.dtype.name}; only real types take new values")
    if np.shape(array) != model_tensor.shape:
        raise BadPlan(f"tensor {name!r} has the shape {model_tensor.shape}; the new values have {np.shape(array)}")
    numbers = np.asarray(array, np.float64).ravel()
    patterns = round_to(numbers, model_tensor.dtype)
    grown = np.isfinite(numbers) & ~np.isfinite(numbers_of(patterns, model_tensor.dtype))
    if grown.any():
        raise UnsuitableModel(
            f"tensor {name!r}: {numbers[grown][0]:.6g} is too large for its type, {model_tensor.dtype.name}"
        )
    return np.ascontiguousarray(patterns).view(np.uint8)


def put(proto: TensorProto | AttributeProto, model_tensor: ModelTensor, data: np.ndarray) -> None:
    """Put a tensor's bytes (uint8, flat) into the field that they came from; external data is brought inside."""
    if model_tensor.field == "raw_data":
        if model_tensor.external is not None:
            proto.ClearField("external_data")
            proto.ClearField("data_location")
        proto.raw_data = data.tobytes()
        return
    kind = "<f4" if model_tensor.field == "floats" else TYPED[model_tensor.dtype.name][1]
    proto.ClearField(model_tensor.field)
    getattr(proto, model_tensor.field).extend(data.view(kind).tolist())
