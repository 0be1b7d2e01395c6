"""The graph of a `.dcz` file: a model whose tensors refer to records (spec, section 4)."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from google.protobuf.message import DecodeError
from onnx import AttributeProto, ModelProto, TensorProto

from ..errors import CorruptFile, UnsuitableModel
from ..tensor import DTYPES
from .tensors import TYPED, ModelTensor, tensor_from_proto
from .uses import FoundTensor, TensorUses, named


@dataclass(eq=False)
class Reference:
    """A tensor of a graph whose data is in a record (spec, section 4), and the name that `load` gave it."""

    name: str
    held: FoundTensor
    field: str
    record: int


def parse_graph(graph: bytes, place: str) -> ModelProto:
    """The ModelProto in a `.dcz` file's graph; refuses `graph-reference` where it is none."""
    proto = ModelProto()
    try:
        proto.ParseFromString(graph)
    except DecodeError as error:
        raise CorruptFile("graph-reference", f"{place}: the graph is no ONNX model") from error
    return proto


def references(proto: ModelProto, records: Sequence[tuple[int, tuple[int, ...]]], place: str) -> list[Reference]:
    """Every reference of a graph, in order. `records` are (dtype number, shape) of the file's records.

    Refuses `graph-reference` where one does not fit its record.
    """
    found = []
    for name, held in named(TensorUses(proto)):
        tensor = held.proto
        if not isinstance(tensor, TensorProto) or tensor.data_location != TensorProto.EXTERNAL:
            continue
        entry = [(entry.key, entry.value) for entry in tensor.external_data]
        key, value = entry[0] if len(entry) == 1 else ("", "")
        record = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else -1
        dtype = DTYPES.get(tensor.data_type)
        keys = {"raw_data", TYPED[dtype.name][0]} if dtype and dtype.name in TYPED else {"raw_data"}
        if held.owner is not None and tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 1:
            keys.add("floats")
        known = 0 <= record < len(records) and records[record] == (tensor.data_type, tuple(tensor.dims))
        if key not in keys or not known:
            detail = f"{place}: tensor {name!r} refers to {key}={value!r}, which does not fit"
            raise CorruptFile("graph-reference", detail)
        found.append(Reference(name, held, key, record))
    return found


def fill(reference: Reference, data: np.ndarray) -> None:
    """Put a tensor's bytes (uint8, flat) into the field that they came from."""
    proto, owner = reference.held.proto, reference.held.owner
    proto.ClearField("external_data")
    proto.ClearField("data_location")
    if reference.field == "floats":
        owner.floats.extend(data.view("<f4").tolist())
        owner.type = AttributeProto.FLOATS
        owner.ClearField("t")
    elif reference.field == "raw_data":
        proto.raw_data = data.tobytes()
    else:
        getattr(proto, reference.field).extend(data.view(TYPED[DTYPES[proto.data_type].name][1]).tolist())


def point_outside(reference: Reference, location: str, offset: int, length: int) -> None:
    """Make a tensor external data of an ordinary ONNX model: `length` bytes at `offset` of the file `location`."""
    proto = reference.held.proto
    proto.ClearField("external_data")
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        proto.external_data.add(key=key, value=value)


def inline_tensors(proto: ModelProto, place: str) -> list[ModelTensor]:
    """The tensors of a `.dcz` file's graph that keep their data there."""
    found = []
    for name, held in named(TensorUses(proto)):
        if not isinstance(held.proto, TensorProto) or held.proto.data_location != TensorProto.EXTERNAL:
            model_tensor = tensor_from_proto(name, held.proto, None, place)
            found += [model_tensor] if model_tensor else []
    return found


def check(path: str | os.PathLike, place: str) -> None:
    """Raise UnsuitableModel where onnx.checker finds a fault in the ONNX file `path`, which messages call `place`."""
    from onnx import checker

    try:
        checker.check_model(os.fspath(path))
    except (checker.ValidationError, ValueError) as error:
        raise UnsuitableModel(f"{place}: onnx.checker refuses the model: {error}") from error
