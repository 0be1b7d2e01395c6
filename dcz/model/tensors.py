"""Tensors in their places in a model, and their bytes."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto

from ..errors import UnsuitableModel
from ..files import FileRange
from ..tensor import DTYPES, Dtype, Tensor, ValueGrid, is_valid_shape, values
from . import external_data
from .data_fields import DATA_FIELDS, FLOATS, NOTHING_APART, TYPED_FIELDS, raw_bytes, read_field
from .nodes import node_name
from .roles import Role, roles
from .uses import ATTRIBUTE, TensorUses

INLINE_BYTES = 512  # smaller tensors stay in the graph: a record would cost about as much as they do
MAX_DIMS = 255  # the number of dims is a u8 in the directory of a .dcz file
_CHECKED_AT_ONCE = 1 << 16  # bytes


class Recent:
    """The bytes of the one tensor that was read last: protobuf copies them whenever it is asked for them.

    `apart`: those that protobuf does not have, by the token that it has in their place (see raw_data).
    """

    def __init__(self, apart: Mapping[bytes, np.ndarray] = NOTHING_APART) -> None:
        self.apart = apart
        self._held: tuple[TensorProto | AttributeProto, np.ndarray] | None = None

    def read(self, proto: TensorProto | AttributeProto, read: Callable[[], np.ndarray]) -> np.ndarray:
        """What `read` gives for `proto`, or gave when it was asked last."""
        held = self._held
        if held is None or held[0] is not proto:
            held = self._held = proto, read()
        return held[1]

    def forget(self) -> None:
        """Change this: hold nothing, as the data may change now."""
        self._held = None


@dataclass(frozen=True, eq=False)
class ModelTensor:
    """A tensor in its place in the model.

    `proto` is the TensorProto, or the AttributeProto whose `floats` are the value of a Constant; `field` is its field
    that holds the data. `uses` are the (operator, operand) pairs that the tensor reaches (ATTRIBUTE: that it is an
    attribute of), `nodes` the names of these
    nodes, or of the first output of those that have none; for `rows` see tensor.Tensor.
    `is_weight`: whether an operator uses it as one of its weights; where one does and it is none all the same,
    `exact_because` says why (see roles). `grid`: that on which its values were put, because the model rounds them to it
    (see grids), or that they had in a `.dcz` (see uncompact). `inputs`: what is known of those of its layer (see
    input_means and tensor.Tensor). `external`: where the data lies in another file. `recent` may hold the bytes: all
    tensors of a model have the same.
    """

    name: str
    proto: TensorProto | AttributeProto
    dtype: Dtype
    shape: tuple[int, ...]
    field: str
    uses: tuple[tuple[str, int], ...] = ()
    rows: int = 0
    external: FileRange | None = None
    is_weight: bool = False
    exact_because: str = ""
    grid: ValueGrid | None = None
    nodes: tuple[str, ...] = ()
    inputs: np.ndarray | None = None
    recent: Recent = dataclasses.field(default_factory=Recent, repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor's data."""
        return self.dtype.nbytes(self.shape)

    @property
    def is_bound(self) -> bool:
        """Whether its values have to stay on a grid."""
        return self.grid is not None and self.grid.binds

    def read(self) -> np.ndarray:
        """The tensor's bytes (uint8, flat), as raw_data has them; external data is read each time.

        Raises UnsuitableModel where raw_data has another length than the shape needs; FileAccess for external data.
        """
        if self.external is not None:
            return external_data.read_bytes(self.name, self.external)
        data = self.recent.read(self.proto, lambda: read_field(self.proto, self.field, self.dtype, self.recent.apart))
        if self.field == "raw_data":
            _check_length(f"tensor {self.name!r}", self.dtype, self.shape, len(data))
        return data

    def read_part(self, part: slice) -> np.ndarray:
        """A slice of those bytes; of external data, no more than that is read. Raises as `read` does."""
        if self.external is None:
            return self.read()[part]
        start, stop, _ = part.indices(self.nbytes)
        place = self.external._replace(offset=self.external.offset + start, length=max(0, stop - start))
        return external_data.read_bytes(self.name, place)

    def values(self) -> np.ndarray:
        """The numbers of a tensor of a real type, in its shape: see tensor.values."""
        return values(self.read().view(self.dtype.pattern), self.dtype).reshape(self.shape)

    def tensor(self, source: FileRange | None = None) -> Tensor:
        """The same as a value, with its bytes, or the range of a file that holds them: `source` or external data."""
        data = source or self.external or self.read()
        return Tensor(self.name, self.dtype, self.shape, data, self.rows, self.grid, self.inputs)

    def replace_with_reference(self, record: int, transposed: bool = False) -> None:
        """Change `proto`: replace the data by a reference to a record, or to its transpose (spec, section 4)."""
        proto = self.proto
        self.recent.forget()
        if isinstance(proto, AttributeProto):  # whose floats become a tensor, which can have external_data
            proto.t.dims.append(len(proto.floats))
            proto.t.data_type = TensorProto.FLOAT
            proto.ClearField("floats")
            proto.type = AttributeProto.TENSOR
            proto = proto.t
        else:
            proto.ClearField(self.field)
            proto.ClearField("external_data")
        proto.data_location = TensorProto.EXTERNAL
        proto.external_data.add(key=self.field, value=f"{record}{'T' if transposed else ''}")

    def move_outside(self, location: str, offset: int) -> None:
        """Change `proto`, which has raw_data: its data is at `offset` of the file `location`."""
        assert isinstance(self.proto, TensorProto), "a Constant's floats stay in the model"
        self.recent.forget()
        self.proto.ClearField(self.field)
        external_data.set_place(self.proto, location, offset, self.nbytes)

    def inline_external_data(self) -> None:
        """Change `proto`: copy external data, if it has any, into its raw_data."""
        if self.external is not None:
            data = self.read().tobytes()
            self.recent.forget()
            external_data.clear(self.proto)
            self.proto.raw_data = data


def find_tensors(
    proto: ModelProto,
    folders: Sequence[str] | None,
    label: str,
    apart: Mapping[bytes, np.ndarray] = NOTHING_APART,
) -> Iterator[ModelTensor]:
    """Every tensor of a model that could have a record, under unique names, in the order of `TensorUses`.

    `folders` are the model's, for external data; `label` is what messages call the model; for `apart` see Recent.
    Raises UnsuitableModel, FileAccess.
    """
    uses, recent = TensorUses(proto), Recent(apart)
    named = ((slot, tensor_from_proto(name, slot.proto, folders, label, apart)) for name, slot in uses.named_slots())
    tensors = [(slot, replace(tensor, recent=recent)) for slot, tensor in named if tensor is not None]
    found = roles({slot.value: tensor for slot, tensor in tensors if slot.value}, uses)
    operands_of = uses.reached(lambda read: [(read.operator, read.operand)])
    nodes_of = uses.reached(lambda read: [node_name(read.node)])
    for slot, tensor in tensors:
        value = slot.value
        role = found[value] if value else Role()
        operands = ((slot.operator, ATTRIBUTE),) if slot.operator else operands_of(value)
        yield replace(
            tensor, uses=operands, rows=uses.rows_of(value), is_weight=role.is_weight,
            exact_because=role.reason, nodes=nodes_of(value),
        )  # fmt: skip


def large_initializers(proto: ModelProto) -> list[ModelTensor]:
    """The initializers of a model in memory that are worth a place beside it, in the order of its graph."""
    named = ((tensor.name, tensor) for tensor in proto.graph.initializer if tensor.HasField("raw_data"))
    found = [tensor_from_proto(name, tensor, None, "the model") for name, tensor in named]
    return [tensor for tensor in found if tensor is not None and tensor.nbytes >= INLINE_BYTES]


def found_apart(tensors: Iterable[ModelTensor]) -> Set[bytes]:
    """The tokens that stand in the place of these tensors' data: see Recent."""
    return {
        token
        for tensor in tensors
        if tensor.field == "raw_data" and tensor.external is None
        if (token := tensor.proto.raw_data) in tensor.recent.apart
    }


def tensor_from_proto(
    name: str,
    proto: TensorProto | AttributeProto,
    folders: Sequence[str] | None,
    label: str,
    apart: Mapping[bytes, np.ndarray] = NOTHING_APART,
) -> ModelTensor | None:
    """The tensor that a proto holds, its uses not known, or None where it holds nothing that could have a record.

    Parameters and exceptions as for `find_tensors`.
    """
    if isinstance(proto, AttributeProto):
        if np.isnan(np.array(proto.floats)).any():  # see _typed_tensor
            return None
        return ModelTensor(name, proto, DTYPES[TensorProto.FLOAT], (len(proto.floats),), FLOATS)
    dtype, shape = DTYPES.get(proto.data_type), tuple(proto.dims)
    if dtype is None and not shape and proto.data_location != TensorProto.EXTERNAL:
        return None  # of millions that hold nothing, too, a little time
    label = f"{label}: tensor {name!r}"
    if any(dim < 0 for dim in shape):
        raise UnsuitableModel(f"{label}: a negative dim in {shape}")
    if len(shape) > MAX_DIMS:
        raise UnsuitableModel(f"{label}: {len(shape)} dims; a .dcz file takes {MAX_DIMS}")
    if not is_valid_shape(shape, 1 if dtype is None else dtype.bits):
        raise UnsuitableModel(f"{label}: the shape {shape} holds 2^63 bits or more; remove the tensor, or cut its dims")
    if proto.data_location == TensorProto.EXTERNAL:
        if dtype is None:
            kind = proto.data_type
            raise UnsuitableModel(f"{label}: external data of the unknown type {kind}; export it inside the model")
        if _has_data_beside(proto, "raw_data"):
            raise UnsuitableModel(f"{label}: data in the model and in another file: export it again")
        external = external_data.locate(proto, dtype.nbytes(shape), folders, label)
        return ModelTensor(name, proto, dtype, shape, "raw_data", external=external)
    if dtype is None:
        return None
    if proto.HasField("raw_data"):
        if dtype.nbytes(shape) <= _CHECKED_AT_ONCE:  # it is copied; for larger tensors, `read` checks it
            _check_length(label, dtype, shape, len(raw_bytes(proto, apart)))
        if _has_data_beside(proto, "raw_data"):
            return None
        return ModelTensor(name, proto, dtype, shape, "raw_data")
    return _typed_tensor(name, proto, dtype, shape, label)


def _typed_tensor(
    name: str, proto: TensorProto, dtype: Dtype, shape: tuple[int, ...], label: str
) -> ModelTensor | None:
    """The tensor whose data is in a typed field; None where the field would not give the same bytes back."""
    field, _ = TYPED_FIELDS.get(dtype.name, ("", ""))
    elements = getattr(proto, field) if field else ()
    if not len(elements):
        return None  # nothing there, or a type so rare in typed fields that it stays in the graph
    if len(elements) * dtype.bits // 8 != dtype.nbytes(shape):
        raise UnsuitableModel(f"{label}: {len(elements)} values in {field}, which do not fit {shape}")
    if _has_data_beside(proto, field):
        return None
    if dtype.bits == 16 and not 0 <= min(elements) <= max(elements) < 1 << 16:
        return None  # 16 bits would not give these numbers back
    if field in ("float_data", "double_data") and np.isnan(np.array(elements)).any():
        return None  # protobuf hands them out as numbers, which may change a NaN's payload
    return ModelTensor(name, proto, dtype, shape, field)


def _has_data_beside(proto: TensorProto, field: str) -> bool:
    """Whether a tensor has data in another field than its own too, of which a record could hold one (spec, section 4).

    Its raw_data is not looked at: where there is any, it is the tensor's own.
    """
    return any(len(getattr(proto, other)) for other in DATA_FIELDS if other not in ("raw_data", field))


def _check_length(label: str, dtype: Dtype, shape: tuple[int, ...], nbytes: int) -> None:
    if nbytes != dtype.nbytes(shape):
        needed = f"{dtype.name} {shape} needs {dtype.nbytes(shape)}"
        raise UnsuitableModel(f"{label}: {nbytes} bytes of data where {needed}")
