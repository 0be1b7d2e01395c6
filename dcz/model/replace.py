"""New values for a model's tensors.

with_values(load("net.onnx"), {"fc1.weight": trained})  ->  the same model, but for that tensor
WorkingCopy(model).put({"fc1.weight": trained})         likewise, and `restore` undoes it
"""

from collections.abc import Iterable, Mapping

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
    copy = WorkingCopy(model)
    copy.put(values)
    return copy.proto


class WorkingCopy:
    """A copy of a model, `proto`, that stands alone and is changed: its tensors take new values, and their own back.

    For work that tries many values: copying a model for each would take as long as the work.
    """

    def __init__(self, model: Model):
        self._tensors = {tensor.name: tensor for tensor in model.tensors}
        self.proto = ModelProto()
        self.proto.CopyFrom(model.proto)
        self._slots = {name: slot.proto for name, slot in TensorUses(self.proto, slots_only=True).named_slots()}
        for name, tensor in self._tensors.items():
            if tensor.external is not None and name in self._slots:
                replace_data(self._slots[name], tensor, tensor.read())

    def put(self, values: Mapping[str, np.ndarray]) -> None:
        """Change `proto`: see with_values, also for what is raised."""
        data = {name: _rounded_bytes(self._tensors.get(name), name, array) for name, array in values.items()}
        for name, patterns in data.items():
            self._replace(name, patterns)

    def restore(self, names: Iterable[str]) -> None:
        """Change `proto`: give tensors the values back that they have in the model."""
        for name in names:
            self._replace(name, self._tensors[name].read())

    def _replace(self, name: str, data: np.ndarray) -> None:
        replace_data(self._slots[name], self._tensors[name], data)


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
    tensor.recent.forget()
    if isinstance(proto, TensorProto) and tensor.external is not None:
        external_data.clear(proto)
    if tensor.field != "raw_data":
        proto.ClearField(tensor.field)
    append_to_field(proto, tensor.field, tensor.dtype, data)
