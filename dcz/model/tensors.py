"""Tensors where they sit in a model, and their bytes."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError, EncodeError
from onnx import AttributeProto, ModelProto, TensorProto

from ..errors import FileAccess, UnsuitableModel
from ..files import Content, mapped
from ..tensor import DTYPES, Dtype, values
from .uses import WEIGHT_INPUTS, TensorUses, named

# Tensors of fewer bytes stay in the graph: a record would cost about as much as they do.
INLINE_BYTES = 512
PROTOBUF_LIMIT = (1 << 31) - 1  # bytes of one message
ALIGNMENT = 4096  # of tensors in external data, so that a runtime can map them
_SMALL = 1 << 16  # bytes
MOST_DIMS = 255  # the directory's u8

TYPED = {
    "float32": ("float_data", "<f4"), "float64": ("double_data", "<f8"), "int64": ("int64_data", "<i8"),
    "int32": ("int32_data", "<i4"), "float16": ("int32_data", "<u2"), "bfloat16": ("int32_data", "<u2"),
}  # fmt: skip


@dataclass(eq=False)
class ModelTensor:
    """A tensor in its place in the model.

    `proto` is the TensorProto, or the AttributeProto whose `floats` are the value of a Constant. `uses` are the
    (operator, operand) pairs that the tensor reaches; for `rows` see tensor.Tensor. `external` is (path, offset,
    length) where its data lies in another file.
    """

    name: str
    proto: TensorProto | AttributeProto
    dtype: Dtype
    shape: tuple[int, ...]
    field: str
    uses: frozenset[tuple[str, int]] = frozenset()
    rows: int = 0
    external: tuple[str, int, int] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor's data."""
        return self.dtype.nbytes(self.shape)

    @property
    def is_weight(self) -> bool:
        """Whether an operator uses it as one of its weights."""
        return any(operand in WEIGHT_INPUTS.get(operator, ()) for operator, operand in self.uses)

    def read(self) -> np.ndarray:
        """The tensor's bytes (uint8, flat), as raw_data has them; external data is mapped, not copied."""
        if self.external is not None:
            return _map_external(self.name, *self.external)
        if self.field == "raw_data":
            data = self.proto.raw_data
            _check_length(f"tensor {self.name!r}", self.dtype, self.shape, data)
            return np.frombuffer(data, np.uint8)
        if self.field == "floats":
            return np.array(self.proto.floats, "<f4").view(np.uint8)
        typed = np.array(getattr(self.proto, self.field))
        return typed.astype(TYPED[self.dtype.name][1]).view(np.uint8)

    def values(self) -> np.ndarray:
        """The numbers of a tensor of a real type, in its shape: see tensor.values."""
        return values(self.read().view(self.dtype.pattern), self.dtype).reshape(self.shape)

    def replace_with_reference(self, record: int) -> None:
        """Replace the data by a reference to a record."""
        proto = self.proto
        if self.field == "floats":
            proto.t.dims.append(len(proto.floats))
            proto.t.data_type = TensorProto.FLOAT
            proto.ClearField("floats")
            proto.type = AttributeProto.TENSOR
            proto = proto.t
        else:
            proto.ClearField(self.field)
            proto.ClearField("external_data")
        proto.data_location = TensorProto.EXTERNAL
        proto.external_data.add(key=self.field, value=str(record))

    def inline_external_data(self) -> None:
        """Bring external data that gets no record into the model."""
        if self.external is not None:
            data = self.read().tobytes()
            self.proto.ClearField("external_data")
            self.proto.ClearField("data_location")
            self.proto.raw_data = data


@dataclass(eq=False)
class Model:
    """A model in memory (without its external data), its tensors in a fixed order, and what it was read from."""

    proto: ModelProto
    tensors: list[ModelTensor]
    source_bytes: int
    source_sha256: str
    path: str | None  # None where it was given in memory

    def refresh(self) -> None:
        """Look for the tensors anew, after `proto` has changed."""
        folder = None if self.path is None else os.path.dirname(os.path.abspath(self.path))
        self.tensors = list(_model_tensors(self.proto, folder, self.path or "the model"))


def load(path: str | os.PathLike) -> Model:
    """Read an ONNX file. External data stays where it is until it is asked for.

    Raises FileAccess; UnsuitableModel where it is no ONNX model, or a tensor's data is missing, misshapen, or outside
    the model's folder.
    """
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise FileAccess(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    proto = _parse(data, path)
    model_tensors = list(_model_tensors(proto, os.path.dirname(os.path.abspath(path)), path))
    external = sum(model_tensor.external[2] for model_tensor in model_tensors if model_tensor.external)
    digest = hashlib.sha256(data).hexdigest()
    return Model(proto, model_tensors, len(data) + external, digest, os.fspath(path))


def from_proto(proto: ModelProto) -> Model:
    """The same for a model in memory, which is copied; it may not have external data."""
    if not isinstance(proto, ModelProto):
        raise UnsuitableModel(f"a model is a path or an onnx.ModelProto, not {type(proto).__name__}")
    data = serialize(proto, "the model")
    copy = _parse(data, "the model")
    return Model(copy, list(_model_tensors(copy, None, "the model")), len(data), hashlib.sha256(data).hexdigest(), None)


def open_model(model: str | os.PathLike | ModelProto) -> Model:
    """The model in the file of this path, or a ModelProto, which is copied; raises as `load` and `from_proto` do."""
    return load(model) if isinstance(model, (str, os.PathLike)) else from_proto(model)


def original(
    model: str | os.PathLike | ModelProto, loaded: Model, wanted: Callable[[bytes | Content], bool]
) -> bytes | None:
    """The bytes that `loaded` was made from, had again; None where they cannot be had, lie in several files, or are not
    `wanted` at a glance."""
    if any(model_tensor.external for model_tensor in loaded.tensors):
        return None
    if isinstance(model, ModelProto):
        data = serialize(model, "the model")
        return data if wanted(data) else None
    try:
        if not Path(model).is_file():  # a pipe gives its bytes only once
            return None
        with Content(model) as content:
            if not wanted(content):
                return None
        data = Path(model).read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == loaded.source_sha256 else None


def _parse(data: bytes, path) -> ModelProto:
    if data[:4] == b"\x89DCZ":
        raise UnsuitableModel(f"{path}: is a .dcz file, not an ONNX model: `dcz decompress` gives one")
    proto = ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise UnsuitableModel(f"{path}: not an ONNX model: {error}") from error
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.initializer or proto.graph.output):
        raise UnsuitableModel(f"{path}: not an ONNX model: it holds no graph")
    return proto


def _model_tensors(proto: ModelProto, folder: str | None, path) -> Iterator[ModelTensor]:
    found = TensorUses(proto)
    for name, held in named(found):
        model_tensor = tensor_from_proto(name, held.proto, folder, path)
        if model_tensor is not None:
            model_tensor.uses = found.uses(held.value)
            model_tensor.rows = found.rows(held.value)
            yield model_tensor


def tensor_from_proto(name: str, proto, folder: str | None, path) -> ModelTensor | None:
    """The site of a tensor, or None where it holds nothing that could get a record."""
    if isinstance(proto, AttributeProto):
        if np.isnan(np.array(proto.floats)).any():  # as below
            return None
        return ModelTensor(name, proto, DTYPES[TensorProto.FLOAT], (len(proto.floats),), "floats")
    dtype, shape = DTYPES.get(proto.data_type), tuple(proto.dims)
    where = f"{path}: tensor {name!r}"
    if any(dim < 0 for dim in shape):
        raise UnsuitableModel(f"{where}: a negative dim in {shape}")
    if len(shape) > MOST_DIMS:
        raise UnsuitableModel(f"{where}: {len(shape)} dims; a .dcz file takes {MOST_DIMS}")
    if proto.data_location == TensorProto.EXTERNAL:
        if dtype is None:
            kind = proto.data_type
            raise UnsuitableModel(f"{where}: external data of the unknown type {kind}; export it inside the model")
        return ModelTensor(
            name, proto, dtype, shape, "raw_data", external=_locate(proto, dtype.nbytes(shape), folder, where)
        )
    if dtype is None:
        return None
    if proto.HasField("raw_data"):
        if dtype.nbytes(shape) <= _SMALL:  # protobuf copies data to tell its length; for others, Site.read does
            _check_length(where, dtype, shape, proto.raw_data)
        return ModelTensor(name, proto, dtype, shape, "raw_data")
    field, _ = TYPED.get(dtype.name, ("", ""))
    typed = getattr(proto, field) if field else ()
    if not len(typed):
        return None  # nothing there, or a type so rare in typed fields that it stays in the graph
    if len(typed) * dtype.bits // 8 != dtype.nbytes(shape):
        raise UnsuitableModel(f"{where}: {len(typed)} values in {field}, which do not fit {shape}")
    if dtype.bits == 16 and not 0 <= min(typed) <= max(typed) < 1 << 16:
        return None  # 16 bits would not give these numbers back
    if field in ("float_data", "double_data") and np.isnan(np.array(typed)).any():
        return None  # protobuf hands them out as numbers, which may change a NaN's payload
    return ModelTensor(name, proto, dtype, shape, field)


def _check_length(where: str, dtype: Dtype, shape: tuple[int, ...], data: bytes) -> None:
    if len(data) != dtype.nbytes(shape):
        needed = f"{dtype.name} {shape} needs {dtype.nbytes(shape)}"
        raise UnsuitableModel(f"{where}: {len(data)} bytes of data where {needed}")


def _locate(proto: TensorProto, nbytes: int, folder: str | None, where: str) -> tuple[str, int, int]:
    """(path, offset, length) of external data, confined to the model's folder and within the file."""
    entries = {entry.key: entry.value for entry in proto.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise UnsuitableModel(f"{where}: its data is in another file; give dcz the model's path, or load the data too")
    if not location:
        raise UnsuitableModel(f"{where}: its external data names no file")
    try:
        folder = os.path.realpath(folder)
        path = os.path.realpath(os.path.join(folder, location))
        if os.path.isabs(location) or os.path.commonpath([folder, path]) != folder:
            raise UnsuitableModel(f"{where}: external data {location!r} lies outside the model's folder; move it there")
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or nbytes)
        size = os.stat(path).st_size
    except (ValueError, TypeError) as error:  # TypeError: a location that is not UTF-8 comes as bytes
        raise UnsuitableModel(f"{where}: malformed location, offset or length of external data: {error}") from error
    except OSError as error:
        raise FileAccess(f"{where}: external data {path} cannot be read: {error.strerror}") from error
    if length != nbytes or offset < 0 or offset + length > size:
        there = f"{length} bytes at offset {offset} of {location!r}, which has {size}"
        raise UnsuitableModel(f"{where}: external data of {there}; {nbytes} are needed")
    return path, offset, length


def _map_external(name: str, path: str, offset: int, length: int) -> np.ndarray:
    try:
        return np.frombuffer(mapped(path, offset, length), np.uint8)
    except (OSError, ValueError) as error:
        raise FileAccess(f"{path}: external data of tensor {name!r} cannot be read: {error}") from error


def serialize(proto: ModelProto, place: str) -> bytes:
    """The model's bytes; the same for the same model. Raises UnsuitableModel for more than 2 GB."""
    try:
        return proto.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise UnsuitableModel(f"{place}: a model of 2 GB or more needs external data: {error}") from error
