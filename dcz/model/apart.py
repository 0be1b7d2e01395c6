"""A model's large data in a temporary file, where protobuf and memory do not have it.

    move_apart(model)                 model.proto has tokens in the place of large raw_data (see raw_data)
    loadable(proto, model.apart)      what a runtime takes: the graph, and the data of its initializers, mapped

A tensor's data is in memory while it is looked at. What works with a network of many large layers, a few at a time,
needs no more memory than these.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from onnx import ModelProto, TensorProto

from ..files.unnamed import UnnamedFile, unload
from ..tensor import DTYPES, Dtype
from . import external_data, raw_data
from .data_fields import NOTHING_APART
from .input_means import MAX_CONSTANT
from .model_file import Model, serialize
from .nodes import is_constant
from .tensors import Recent
from .uses import TensorUses

LOCATION = "in-memory"  # what a graph says of where its tensors are


class StoredData(Mapping[bytes, np.ndarray]):
    """Data (uint8, flat) by the token that stands for it, in a temporary file, or what some function reads; and, but
    for what is `put` in its place, all that is `below`.

    What is given out is mapped: it takes no memory but of pages that were looked at, as long as it is held.
    """

    def __init__(self, below: Mapping[bytes, np.ndarray] = NOTHING_APART):
        self._below, self._secret, self._count = below, os.urandom(raw_data.TOKEN - 8), 0
        self._file: UnnamedFile | None = None
        self._places: dict[bytes, tuple[int, int]] = {}
        self._free: dict[bytes, tuple[int, int]] = {}
        self._readers: dict[bytes, Callable[[], np.ndarray]] = {}

    def __getitem__(self, token: bytes) -> np.ndarray:
        if (place := self._places.get(token)) is not None:
            assert self._file is not None, "there is one where something was written"
            return np.frombuffer(self._file.view(*place), np.uint8)
        read = self._readers.get(token)
        return self._below[token] if read is None else read()

    def __iter__(self) -> Iterator[bytes]:
        yield from dict.fromkeys([*self._below, *self._places, *self._readers])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def add(self, data: np.ndarray) -> bytes:
        """Keep data; the token that stands for it."""
        self.put(token := self._new_token(), data)
        return token

    def refer(self, read: Callable[[], np.ndarray]) -> bytes:
        """A token for what a function reads, anew each time."""
        self._readers[token := self._new_token()] = read
        return token

    def put(self, token: bytes, data: np.ndarray) -> None:
        """Keep other data of the same length for a token."""
        self._file = self._file or UnnamedFile()
        place = self._places.get(token) or self._free.pop(token, None)
        if place is None:
            place = self._file.append(data.data), len(data)
        else:
            self._file.replace(place[0], data.data)
        self._places[token] = place

    def restore(self, token: bytes) -> None:
        """What is below counts again."""
        if (place := self._places.pop(token, None)) is not None:
            self._free[token] = place

    def _new_token(self) -> bytes:
        self._count += 1
        return raw_data.token(self._secret, self._count)


def move_apart(model: Model) -> None:
    """Change `model`: its large data that is in memory lies in a temporary file.

    That of initializers and Constants of the main graph, of more elements than any that is read where it lies.
    """
    store = model.apart if isinstance(model.apart, StoredData) else StoredData()
    main = list(_main_tensors(model.proto))  # held: the ids of messages that nobody holds are given to others
    recent, places = Recent(store), {id(proto) for proto in main}
    for number, tensor in enumerate(model.tensors):
        proto = tensor.proto
        if isinstance(proto, TensorProto) and tensor.external is None and tensor.field == "raw_data":
            token = proto.raw_data
            is_large = id(proto) in places and math.prod(tensor.shape) > MAX_CONSTANT
            if token not in store and (token in model.apart or is_large):
                proto.raw_data = store.add(tensor.read())
        tensor.recent.forget()
        model.tensors[number] = replace(tensor, recent=recent)
    model.source, model.apart = None, store


def _main_tensors(proto: ModelProto) -> Iterator[TensorProto]:
    yield from proto.graph.initializer
    for node in proto.graph.node:
        if is_constant(node) and node.attribute[0].HasField("t"):
            yield node.attribute[0].t


@dataclass(frozen=True, eq=False)
class Loadable:
    """A serialized model, and by name the type, shape and bytes (uint8, flat, mapped) of initializers of its main graph
    that it says are external data.

    Such are those whose data is apart, of types that numpy has. Other data is in the model.
    """

    message: bytes
    tensors: dict[str, tuple[Dtype, tuple[int, ...], np.ndarray]]

    @property
    def nbytes(self) -> int:
        """The bytes of all that."""
        return len(self.message) + sum(len(data) for _, _, data in self.tensors.values())

    def unload(self) -> None:
        """Give up the memory of what was looked at, when the runtime has its own copy."""
        for _, _, data in self.tensors.values():
            if isinstance(data.base, memoryview):
                unload(data.base)


def loadable(proto: ModelProto, apart: Mapping[bytes, np.ndarray], label: str) -> Loadable:
    """What a runtime takes of a model with tokens in the place of what is `apart`. It changes `proto`, which no one
    may need any more. Raises UnsuitableModel, which calls the model `label`, for 2 GB or more beside those tensors."""
    initializers = list(proto.graph.initializer)  # held: the ids of messages that nobody holds are given to others
    main = {id(tensor) for tensor in initializers}
    tensors: dict[str, tuple[Dtype, tuple[int, ...], np.ndarray]] = {}
    for slot in TensorUses(proto, slots_only=True).slots:
        tensor = slot.proto
        if not isinstance(tensor, TensorProto) or (data := apart_data(tensor, apart)) is None:
            continue
        dtype = DTYPES[tensor.data_type]
        if id(tensor) in main and hasattr(np, dtype.name):
            tensors[tensor.name] = dtype, tuple(tensor.dims), data
            tensor.ClearField("raw_data")
            external_data.set_place(tensor, LOCATION, 0, len(data))
        else:
            tensor.raw_data = data.tobytes()
    return Loadable(serialize(proto, label), tensors)


def apart_data(proto: TensorProto, apart: Mapping[bytes, np.ndarray]) -> np.ndarray | None:
    """The data of a tensor that is apart; None for others."""
    token = proto.raw_data if proto.HasField("raw_data") else b""
    return apart.get(token) if len(token) == raw_data.TOKEN else None
