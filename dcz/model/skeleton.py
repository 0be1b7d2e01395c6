"""The graph of a `.dcz` file: a model whose tensors refer to records (spec, section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from google.protobuf.message import DecodeError
from onnx import AttributeProto, ModelProto, TensorProto

from ..errors import CorruptFile
from ..tensor import DTYPES, is_valid_shape, transpose
from . import attribute_lists, external_data, raw_data, wire
from . import source as sources
from .data_fields import DATA_FIELDS, FLOATS, TYPED_FIELDS, append_to_field
from .held import Held
from .tensors import MAX_DIMS, ModelTensor, tensor_from_proto
from .uses import TensorSlot, TensorUses


@dataclass(frozen=True, eq=False)
class Reference:
    """A tensor of a graph whose data is in a record, and the name that `load` gave it.

    `field` is the protobuf field that the data came from. `transposed`: it is a matrix, and the record holds its
    transpose.
    """

    name: str
    slot: TensorSlot
    field: str
    record: int
    transposed: bool = False

    def data(self, data: np.ndarray) -> np.ndarray:
        """The tensor's bytes (uint8, flat), from those of its record."""
        if not self.transposed:
            return data
        proto = self.slot.proto
        return transpose(data, DTYPES[proto.data_type], tuple(proto.dims)[::-1])


def parse_graph(graph: bytes, stored: int, label: str, held: Held | None = None) -> ModelProto:
    """The ModelProto in the `.dcz` file `label`, where it takes `stored` bytes. Long lists of attributes are `held`, if
    given, and not there.

    Refuses `graph-reference` where its graph is none, or holds more messages than it may.
    """
    if not wire.is_within_bounds(graph, stored):
        raise CorruptFile("graph-reference", f"{label}: the graph of {stored} bytes holds too many messages")
    if held is not None and (source := sources.of_bytes(graph, lists=True)).apart:
        proto = _parse(source.message, label)
        found = attribute_lists.find(proto, source.apart)
        if {token for token, _ in found} == source.apart.keys():
            held.hold_lists(found, source.apart)
            return proto
    return _parse(graph, label)


def _parse(graph: bytes, label: str) -> ModelProto:
    proto = ModelProto()
    try:
        proto.ParseFromString(graph)
    except (DecodeError, UnicodeDecodeError) as error:  # the latter: of protobuf in pure Python
        raise CorruptFile("graph-reference", f"{label}: the graph is no ONNX model") from error
    return proto


def find_references(proto: ModelProto, records: Sequence[tuple[int, tuple[int, ...]]], label: str) -> list[Reference]:
    """Every reference of a graph, in order. `records` are (dtype number, shape) of the file's records.

    Refuses `graph-reference` where one does not fit its record, and where any tensor has a shape that none may have.
    """
    references = []
    for name, slot in TensorUses(proto, slots_only=True).named_slots():
        tensor = slot.proto
        if not isinstance(tensor, TensorProto):
            continue
        if tensor.dims and not _may_have_shape(tensor):
            raise CorruptFile("graph-reference", f"{label}: tensor {name!r} has the shape {tuple(tensor.dims)}")
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        entries = [(entry.key, entry.value) for entry in tensor.external_data]
        key, value = entries[0] if len(entries) == 1 else ("", "")
        transposed = isinstance(value, str) and value.endswith("T")  # protobuf has bytes where it is no UTF-8
        number, dims, dtype = value[:-1] if transposed else value, tuple(tensor.dims), DTYPES.get(tensor.data_type)
        record = int(number) if number.isascii() and number.isdigit() and len(number) < 10 else -1
        fits = 0 <= record < len(records) and records[record] == (tensor.data_type, dims[::-1] if transposed else dims)
        if transposed and (len(dims) != 2 or dtype is None or dtype.bits < 8):
            fits = False
        if _holds_data(tensor, slot.owner if key == FLOATS else None):
            raise CorruptFile("graph-reference", f"{label}: tensor {name!r} has data in the graph and in a record")
        if key not in _data_fields(slot, tensor) or not fits:
            detail = f"{label}: tensor {name!r} refers to {key}={value!r}, which does not fit"
            raise CorruptFile("graph-reference", detail)
        references.append(Reference(name, slot, key, record, transposed))
    return references


def _may_have_shape(tensor: TensorProto) -> bool:
    dtype = DTYPES.get(tensor.data_type)
    return len(tensor.dims) <= MAX_DIMS and is_valid_shape(tensor.dims, 1 if dtype is None else dtype.bits)


def _holds_data(tensor: TensorProto, owner: AttributeProto | None) -> bool:
    """Whether a tensor, or the Constant's attribute that it stands for, has data beside that of its record."""
    return any(len(getattr(tensor, field)) for field in DATA_FIELDS) or (owner is not None and len(owner.floats) > 0)


def _data_fields(slot: TensorSlot, tensor: TensorProto) -> set[str]:
    """The fields that a tensor's data may have come from."""
    dtype = DTYPES.get(tensor.data_type)
    fields = {"raw_data"}
    if dtype is not None and dtype.name in TYPED_FIELDS:
        fields.add(TYPED_FIELDS[dtype.name][0])
    if slot.owner is not None and tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 1:
        fields.add(FLOATS)
    return fields


def restore_data(reference: Reference, data: np.ndarray, held: Held | None = None) -> None:
    """Change the graph: put a tensor's bytes (uint8, flat), from those of its record, back into their field, or have
    large ones `held`."""
    data = reference.data(data)
    proto, owner = reference.slot.proto, reference.slot.owner
    external_data.clear(proto)
    if reference.field == FLOATS:
        assert owner is not None  # find_references has seen to it
        append_to_field(owner, FLOATS, DTYPES[TensorProto.FLOAT], data)
        owner.type = AttributeProto.FLOATS
        owner.ClearField("t")
    elif held is not None and reference.field == "raw_data" and len(data) >= raw_data.LARGE:
        held.hold(proto, data)
    else:
        append_to_field(proto, reference.field, DTYPES[proto.data_type], data)


def make_external(reference: Reference, location: str, offset: int, length: int) -> None:
    """Change the graph: make a tensor external data of an ordinary ONNX model, `length` bytes at `offset` of the file
    `location`."""
    external_data.set_place(reference.slot.proto, location, offset, length)


def inline_tensors(proto: ModelProto, label: str) -> list[ModelTensor]:
    """The tensors that keep their data in the graph of the `.dcz` file `label`. Raises UnsuitableModel."""
    tensors = []
    for name, slot in TensorUses(proto, slots_only=True).named_slots():
        if not isinstance(slot.proto, TensorProto) or slot.proto.data_location != TensorProto.EXTERNAL:
            tensor = tensor_from_proto(name, slot.proto, None, label)
            tensors += [tensor] if tensor else []
    return tensors
