"""The only home of `import onnx`: tensors out of a model, and back in.

    model = load("net.onnx")          every tensor of the model, wherever it sits, as a `Site`
    site.read() -> bytes              from raw_data, a typed field, floats of a Constant, or external data
    site.lift(17)                     the tensor's data is replaced by a reference to record 17 (spec, section 4)
    references(proto, ...), fill(...)   the same backwards

What counts as a weight is decided by who uses a tensor: see WEIGHT_INPUTS.
"""

import hashlib
import mmap
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError, EncodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from .errors import CorruptFile, FileAccess, UnsuitableModel
from .tensor import DTYPES, Dtype

# The operands that are weights worth pruning and sharing, by operator. What only other operands use (biases,
# normalisation parameters, constants of arithmetic) stays exact, unless a plan says otherwise.
WEIGHT_INPUTS = {
    "Conv": (1,), "ConvTranspose": (1,), "DeformConv": (1,), "FusedConv": (1,),
    "Gemm": (0, 1), "FusedGemm": (0, 1), "MatMul": (0, 1), "FusedMatMul": (0, 1), "Einsum": tuple(range(8)),
    "Gather": (0,), "GatherElements": (0,), "GatherND": (0,),
    "LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2),
    "Attention": (1,), "EmbedLayerNormalization": (2, 3, 4),
}  # fmt: skip
# Operators that only move or convert their first operand: what uses their output uses the tensor.
PASS_THROUGH = frozenset(
    "Identity Transpose Reshape Squeeze Unsqueeze Flatten Cast CastLike Slice Split Expand Tile Dropout Pad".split()
)
PASS_ALL = frozenset(["Concat"])  # the same for every operand

# Tensors of fewer bytes stay in the graph: a record would cost about as much as they do.
INLINE_BYTES = 512
PROTOBUF_LIMIT = (1 << 31) - 1  # bytes of one message
ALIGNMENT = 4096  # of tensors in external data, so that a runtime can map them
MOST_DIMS = 255  # the directory's u8

_TYPED = {
    "float32": ("float_data", "<f4"), "float64": ("double_data", "<f8"), "int64": ("int64_data", "<i8"),
    "int32": ("int32_data", "<i4"), "float16": ("int32_data", "<u2"), "bfloat16": ("int32_data", "<u2"),
}  # fmt: skip


@dataclass(eq=False)
class Site:
    """A tensor in its place in the model.

    `proto` is the TensorProto, or the AttributeProto whose `floats` are the value of a Constant. `uses` are the
    (operator, operand) pairs that the tensor reaches. `external` is (path, offset, length) where its
    data lies in another file.
    """

    name: str
    proto: TensorProto | AttributeProto
    dtype: Dtype
    shape: tuple[int, ...]
    field: str
    uses: frozenset[tuple[str, int]] = frozenset()
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
            return np.frombuffer(self.proto.raw_data, np.uint8)
        if self.field == "floats":
            return np.array(self.proto.floats, "<f4").view(np.uint8)
        typed = np.array(getattr(self.proto, self.field))
        return typed.astype(_TYPED[self.dtype.name][1]).view(np.uint8)

    def lift(self, record: int) -> None:
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

    def settle(self) -> None:
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
    sites: list[Site]
    source_bytes: int
    source_sha256: str
    path: str | None  # None where it was given in memory


# -- reading ----------------------------------------------------------------------------------------------------------


def load(path: str | os.PathLike) -> Model:
    """Read an ONNX file. External data stays where it is until it is asked for.

    Raises FileAccess; UnsuitableModel where it is no ONNX model, or a tensor's data is missing, misshapen, or outside
    the model's folder.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise FileAccess(f"{path}: cannot be read: {error.strerror}") from error
    proto = _parse(data, path)
    sites = list(_sites(proto, os.path.dirname(os.path.abspath(path)), path))
    external = sum(site.external[2] for site in sites if site.external)
    digest = hashlib.sha256(data).hexdigest()
    return Model(proto, sites, len(data) + external, digest, os.fspath(path))


def from_proto(proto: ModelProto) -> Model:
    """The same for a model in memory, which is copied; it may not have external data."""
    data = serialize(proto, "the model")
    copy = _parse(data, "the model")
    return Model(copy, list(_sites(copy, None, "the model")), len(data), hashlib.sha256(data).hexdigest(), None)


def inline_sites(proto: ModelProto, place: str) -> list[Site]:
    """The tensors of a `.dcz` file's graph that keep their data there."""
    found = []
    for name, held in _named(Survey(proto)):
        if not isinstance(held.proto, TensorProto) or held.proto.data_location != TensorProto.EXTERNAL:
            site = _site(name, held.proto, None, place)
            found += [site] if site else []
    return found


def _parse(data: bytes, path) -> ModelProto:
    proto = ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise UnsuitableModel(f"{path}: not an ONNX model: {error}") from error
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.initializer or proto.graph.output):
        raise UnsuitableModel(f"{path}: not an ONNX model: it holds no graph")
    return proto


def _sites(proto: ModelProto, folder: str | None, path) -> Iterator[Site]:
    survey = Survey(proto)
    for name, held in _named(survey):
        site = _site(name, held.proto, folder, path)
        if site is not None:
            site.uses = survey.uses(held.value)
            yield site


def _named(survey: "Survey") -> Iterator[tuple[str, "Held"]]:
    """Tensors under names of their own: branches of an If may use the same ones, and get ~2, ~3 ... put after them."""
    taken: set[str] = set()
    for held in survey.tensors:
        # protobuf hands out names that are not UTF-8 as bytes; the graph keeps them, the directory needs text
        plain = held.name if isinstance(held.name, str) else held.name.decode(errors="backslashreplace")
        name, number = plain, 2
        while name in taken:
            name, number = f"{plain}~{number}", number + 1
        taken.add(name)
        yield name, held


def _site(name: str, proto, folder: str | None, path) -> Site | None:
    """The site of a tensor, or None where it holds nothing that could get a record."""
    if isinstance(proto, AttributeProto):
        return Site(name, proto, DTYPES[TensorProto.FLOAT], (len(proto.floats),), "floats")
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
        return Site(name, proto, dtype, shape, "raw_data", external=_locate(proto, dtype.nbytes(shape), folder, where))
    if dtype is None:
        return None
    if proto.HasField("raw_data"):
        if len(proto.raw_data) != dtype.nbytes(shape):
            found, needed = len(proto.raw_data), dtype.nbytes(shape)
            raise UnsuitableModel(f"{where}: {found} bytes of data where {dtype.name} {shape} needs {needed}")
        return Site(name, proto, dtype, shape, "raw_data")
    field, _ = _TYPED.get(dtype.name, ("", ""))
    typed = getattr(proto, field) if field else ()
    if not len(typed):
        return None  # nothing there, or a type so rare in typed fields that it stays in the graph
    if len(typed) * dtype.bits // 8 != dtype.nbytes(shape):
        raise UnsuitableModel(f"{where}: {len(typed)} values in {field}, which do not fit {shape}")
    if dtype.bits == 16 and not 0 <= min(typed) <= max(typed) < 1 << 16:
        return None  # 16 bits would not give these numbers back
    return Site(name, proto, dtype, shape, field)


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
    except ValueError as error:
        raise UnsuitableModel(f"{where}: malformed location, offset or length of external data: {error}") from error
    except OSError as error:
        raise FileAccess(f"{where}: external data {path} cannot be read: {error.strerror}") from error
    if length != nbytes or offset < 0 or offset + length > size:
        there = f"{length} bytes at offset {offset} of {location!r}, which has {size}"
        raise UnsuitableModel(f"{where}: external data of {there}; {nbytes} are needed")
    return path, offset, length


def _map_external(name: str, path: str, offset: int, length: int) -> np.ndarray:
    if length == 0:
        return np.empty(0, np.uint8)
    try:
        with open(path, "rb") as file:
            start = offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
            mapped = mmap.mmap(file.fileno(), offset - start + length, access=mmap.ACCESS_READ, offset=start)
    except (OSError, ValueError) as error:
        raise FileAccess(f"{path}: external data of tensor {name!r} cannot be read: {error}") from error
    return np.frombuffer(mapped, np.uint8, length, offset - start)


# -- who uses what ----------------------------------------------------------------------------------------------------


class _Scope:
    """The names that a graph or function defines; others belong to the graph around it."""

    def __init__(self, names, parent: "_Scope | None" = None):
        self.names = frozenset(names)
        self.parent = parent

    def resolve(self, name: str) -> tuple["_Scope", str]:
        """The value that `name` means here."""
        scope = self
        while name not in scope.names and scope.parent is not None:
            scope = scope.parent
        return scope, name


@dataclass(frozen=True, eq=False)
class _Flow:
    """Where a value goes, moved or converted at most; `call` numbers the call by which it enters or leaves a
    function."""

    value: tuple[_Scope, str]
    call: int | None = None
    leaves: bool = False


@dataclass(eq=False)
class Held:
    """A tensor as the survey finds it.

    `value` is the value that it gives, `own_file` whether runtimes take it as external data, `owner` the attribute
    whose floats it stands for.
    """

    name: str
    proto: TensorProto | AttributeProto
    value: tuple[_Scope, str] | None
    own_file: bool = False
    owner: AttributeProto | None = None


class Survey:
    """One walk over a model: its tensors in order, the main graph's initializers first, and who reads which value."""

    def __init__(self, proto: ModelProto):
        self.tensors: list[Held] = []
        self._readers: dict[tuple, list[tuple[str, int]]] = defaultdict(list)
        self._flows: dict[tuple, list[_Flow]] = defaultdict(list)
        self._calls = 0
        functions = [(function, _Scope([*function.input, *_outputs(function.node)])) for function in proto.functions]
        self._functions = {(f.domain, f.name, f.overload): (f, scope) for f, scope in functions}
        main = self._graph(proto.graph, None)
        for function, scope in functions:
            for attribute in function.attribute_proto:
                self._attribute_tensors(f"{function.name}.{attribute.name}", attribute, None)
                for graph in _graphs(attribute):
                    self._graph(graph, scope)
            self._nodes(function.node, scope)
        for training in proto.training_info:
            self._graph(training.initialization, main)
            self._graph(training.algorithm, main)

    def uses(self, value: tuple | None) -> frozenset[tuple[str, int]]:
        """The (operator, operand) pairs that a value reaches, through whatever only moves it.

        What enters a function leaves it by the same call; what a function holds itself leaves it by all of them.
        """
        found: set[tuple[str, int]] = set()
        seen = set()
        waiting: list[tuple] = [(value, ())] if value else []
        while waiting:
            value, calls = waiting.pop()
            if (value, calls) in seen or not value[1]:  # no name: an operand or output that is left out
                continue
            seen.add((value, calls))
            found.update(self._readers.get(value, ()))
            for flow in self._flows.get(value, ()):
                if flow.call is None or (flow.leaves and not calls):
                    waiting.append((flow.value, calls))
                elif flow.leaves and calls[-1] == flow.call:
                    waiting.append((flow.value, calls[:-1]))
                elif not flow.leaves and flow.call not in calls:
                    waiting.append((flow.value, (*calls, flow.call)))
        return frozenset(found)

    def _graph(self, graph: GraphProto, parent: _Scope | None) -> _Scope:
        tensors = [*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]
        names = [*(t.name for t in tensors), *(v.name for v in graph.input), *_outputs(graph.node)]
        scope = _Scope(names, parent)
        self.tensors += [Held(t.name, t, (scope, t.name), own_file=True) for t in graph.initializer]
        for sparse in graph.sparse_initializer:
            self._sparse(sparse.values.name, sparse, (scope, sparse.values.name))
        self._nodes(graph.node, scope)
        return scope

    def _sparse(self, name: str, sparse, value: tuple | None) -> None:
        self.tensors += [Held(name, sparse.values, value), Held(f"{name}.indices", sparse.indices, None)]

    def _nodes(self, nodes, scope: _Scope) -> None:
        for node in nodes:
            self._operands(node, scope)
            output = node.output[0] if node.output else node.name
            value = (scope, output) if node.op_type == "Constant" else None
            for attribute in node.attribute:
                self._attribute_tensors(output if value else f"{output}.{attribute.name}", attribute, value)
                for graph in _graphs(attribute):
                    self._body(node, graph, scope)

    def _operands(self, node: NodeProto, scope: _Scope) -> None:
        """Note who reads the node's operands, and where they go from there."""
        outputs = [_Flow((scope, name)) for name in node.output]
        for operand, name in enumerate(node.input):
            value = scope.resolve(name)
            self._readers[value].append((node.op_type, operand))
            if node.op_type in PASS_ALL or (node.op_type in PASS_THROUGH and operand == 0):
                self._flows[value] += outputs
        if called := self._functions.get((node.domain, node.op_type, node.overload)):
            function, inner = called
            self._calls += 1
            for outside, inside in zip(node.input, function.input):
                self._flows[scope.resolve(outside)].append(_Flow((inner, inside), self._calls))
            for outside, inside in zip(node.output, function.output):
                self._flows[inner, inside].append(_Flow((scope, outside), self._calls, leaves=True))

    def _attribute_tensors(self, name: str, attribute: AttributeProto, value: tuple | None) -> None:
        floats = value is not None and attribute.name == "value_floats"
        if attribute.HasField("t"):
            self.tensors.append(Held(name, attribute.t, value, owner=attribute if floats else None))
        elif floats and attribute.type == AttributeProto.FLOATS:
            self.tensors.append(Held(name, attribute, value))
        if attribute.HasField("sparse_tensor"):
            self._sparse(name, attribute.sparse_tensor, value)
        self.tensors += [Held(f"{name}.{i}", tensor, None) for i, tensor in enumerate(attribute.tensors)]
        for i, sparse in enumerate(attribute.sparse_tensors):
            self._sparse(f"{name}.{i}", sparse, None)

    def _body(self, node: NodeProto, graph: GraphProto, scope: _Scope) -> None:
        inner = self._graph(graph, scope)
        for name, inside in zip(node.input, graph.input):  # Loop and Scan hand their operands to the body, in order
            self._flows[scope.resolve(name)].append(_Flow((inner, inside.name)))
        if node.op_type == "If":
            for inside, name in zip(graph.output, node.output):
                self._flows[inner.resolve(inside.name)].append(_Flow((scope, name)))


def _outputs(nodes) -> Iterator[str]:
    return (name for node in nodes for name in node.output)


def _graphs(attribute: AttributeProto) -> list[GraphProto]:
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


# -- writing ----------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Reference:
    """A tensor of a graph whose data is in a record (spec, section 4), and the name that `load` gave it."""

    name: str
    held: Held
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
    for name, held in _named(Survey(proto)):
        tensor = held.proto
        if not isinstance(tensor, TensorProto) or tensor.data_location != TensorProto.EXTERNAL:
            continue
        entry = [(entry.key, entry.value) for entry in tensor.external_data]
        key, value = entry[0] if len(entry) == 1 else ("", "")
        record = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else -1
        dtype = DTYPES.get(tensor.data_type)
        keys = {"raw_data", _TYPED[dtype.name][0]} if dtype and dtype.name in _TYPED else {"raw_data"}
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
        getattr(proto, reference.field).extend(data.view(_TYPED[DTYPES[proto.data_type].name][1]).tolist())


def point_outside(reference: Reference, location: str, offset: int, length: int) -> None:
    """Make a tensor external data of an ordinary ONNX model: `length` bytes at `offset` of the file `location`."""
    proto = reference.held.proto
    proto.ClearField("external_data")
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        proto.external_data.add(key=key, value=value)


def serialize(proto: ModelProto, place: str) -> bytes:
    """The model's bytes; the same for the same model. Raises UnsuitableModel for more than 2 GB."""
    try:
        return proto.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise UnsuitableModel(f"{place}: a model of 2 GB or more needs external data: {error}") from error


def check(proto: ModelProto, place: str) -> None:
    """Raise UnsuitableModel where onnx.checker finds a fault."""
    from onnx import checker

    try:
        checker.check_model(proto)
    except (checker.ValidationError, ValueError) as error:
        raise UnsuitableModel(f"{place}: onnx.checker refuses the model: {error}") from error
