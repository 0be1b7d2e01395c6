"""New values for a model's tensors.

with_values(load("net.onnx"), {"fc1.weight": trained})  ->  the same model, but for that tensor
WorkingCopy(model).put({"fc1.weight": trained})         likewise, and `restore` undoes it
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto

from ..errors import InvalidArgument, UnsuitableModel
from ..tensor import FLOAT32, round_to
from ..tensor import values as to_numbers
from . import external_data
from .apart import Loadable, StoredData, apart_data, loadable
from .data_fields import append_to_field
from .extract import Described, extract_subgraph
from .model_file import Model
from .raw_data import TOKEN
from .tensors import ModelTensor, find_tensors
from .uses import TensorUses

SMALL = 1 << 16  # bytes of external data up to which it comes into the graph, where it may stay


def with_values(model: Model, values: Mapping[str, np.ndarray]) -> ModelProto:
    """A copy of the model whose tensors of the given names (of `ModelTensor`s) hold new values, in the field that they
    had.

    `values` are real numbers in the tensors' shapes; they are rounded to the tensors' own types. External data is
    copied into the model, that of other tensors too, so that the copy stands alone. Raises InvalidArgument for a name
    that the model does not have, a tensor that is not of a real type, or another shape; UnsuitableModel for a number
    too large for the type.
    """
    return WorkingCopy(model, values).whole()


class WorkingCopy:
    """A copy of a model that stands alone and is changed: its tensors take new values, and their own back.

    For work that tries many values: copying a model for each would take as long as the work. `proto`: with tokens in
    the place of data that is `apart`, as in the model, or external; `slots`: where it has the tensors, by name.
    """

    def __init__(self, model: Model, values: Mapping[str, np.ndarray] = MappingProxyType({})):
        self._model, self._tensors = model, {tensor.name: tensor for tensor in model.tensors}
        self._sha256, self._path = model.source_sha256, model.path
        self._changed: set[str] = set()
        self.proto, self.apart = ModelProto(), StoredData(model.apart)
        self.proto.CopyFrom(model.proto)
        self.slots = {name: slot.proto for name, slot in TensorUses(self.proto, slots_only=True).named_slots()}
        for name, tensor in self._tensors.items():
            if tensor.external is not None and isinstance(slot := self.slots.get(name), TensorProto):
                external_data.clear(slot)
                slot.raw_data = self.apart.refer(tensor.read) if tensor.nbytes > SMALL else tensor.read().tobytes()
        self.put(values)

    def put(self, values: Mapping[str, np.ndarray]) -> None:
        """Change the tensors of these names: see with_values, also for what is raised. Those that are apart are read
        one by one where `values` reads them so; others keep what they have where something is raised."""
        for name in values:
            self._changed.add(name)
            self._replace(name, _rounded_bytes(self._tensors.get(name), name, values[name]))

    def restore(self, names: Iterable[str]) -> None:
        """Change tensors: give them the values back that they have in the model."""
        for name in names:
            if (token := self._token(name)) is not None:
                self.apart.restore(token)
            else:
                self._replace(name, self._tensors[name].read())
            self._changed.discard(name)

    def model(self) -> Model:
        """The copy as a model of its own. What is put into the copy afterwards it may have too, or not."""
        proto, model = ModelProto(), self._model
        proto.CopyFrom(self.proto)
        tensors = list(find_tensors(proto, None, model.path or "the model", self.apart))
        known = self._digest()
        return Model(proto, tensors, model.source_bytes, lambda: known, None, None, self.apart)

    def whole(self) -> ModelProto:
        """The copy with all data in it: another copy."""
        proto = ModelProto()
        proto.CopyFrom(self.proto)
        for slot in TensorUses(proto, slots_only=True).slots:
            if isinstance(slot.proto, TensorProto) and (data := apart_data(slot.proto, self.apart)) is not None:
                slot.proto.raw_data = data.tobytes()
        return proto

    def source(self) -> str | ModelProto | None:
        """The path of the file that the model was read from, or all of it; None where values were put into the copy."""
        if self._changed:
            return None
        is_one_file = self._path is not None and not self._model.outside
        return self._path if is_one_file else self.whole()

    def loadable(self, label: str) -> Loadable:
        """What a runtime takes of the whole; for `label` and what is raised see apart.loadable."""
        proto = ModelProto()
        proto.CopyFrom(self.proto)
        return loadable(proto, self.apart, label)

    def piece(self, inputs: Mapping[str, Described], outputs: Sequence[str]) -> Loadable:
        """What a runtime takes of the part that computes the values `outputs` from `inputs`: see extract_subgraph."""
        return loadable(extract_subgraph(self.proto, inputs, outputs), self.apart, "a piece of the model")

    def _token(self, name: str) -> bytes | None:
        """What stands for a tensor's data, where that is apart."""
        slot = self.slots.get(name)
        token = slot.raw_data if isinstance(slot, TensorProto) and slot.HasField("raw_data") else b""
        return token if len(token) == TOKEN and token in self.apart else None

    def _replace(self, name: str, data: np.ndarray) -> None:
        if (token := self._token(name)) is not None:
            self.apart.put(token, data)
        else:
            replace_data(self.slots[name], self._tensors[name], data)

    def _digest(self) -> str:
        """A SHA-256, in hexadecimal digits, that is the same for the same values in the same model."""
        digest = hashlib.sha256(self._sha256.encode())
        for name in sorted(self._changed):
            slot = self.slots[name]
            data = apart_data(slot, self.apart) if isinstance(slot, TensorProto) else None
            digest.update(repr(name).encode())
            digest.update(slot.SerializeToString(deterministic=True) if data is None else data.data)
        return digest.hexdigest() if self._changed else self._sha256


def _rounded_bytes(tensor: ModelTensor | None, name: str, array: np.ndarray) -> np.ndarray:
    if tensor is None:
        raise InvalidArgument(f"the model has no tensor {name!r} to take new values")
    if not tensor.dtype.real:
        raise InvalidArgument(f"tensor {name!r} is {tensor.dtype.name}; only real types take new values")
    if np.shape(array) != tensor.shape:
        raise InvalidArgument(f"tensor {name!r} has the shape {tensor.shape}; the new values have {np.shape(array)}")
    if tensor.dtype == FLOAT32 and isinstance(array, np.ndarray) and array.dtype == np.dtype("<f4"):
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8)  # without a copy
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
