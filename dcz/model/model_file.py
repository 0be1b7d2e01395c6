"""Models read from a file or from memory, and their bytes."""

import functools
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from google.protobuf.message import DecodeError, EncodeError
from onnx import ModelProto, TensorProto

from .. import file_kinds
from ..errors import UnsuitableModel
from ..files import Content, Sliced
from ..parallel import beside
from . import attribute_lists, external_data
from . import source as sources
from .source import Source
from .tensors import ModelTensor, find_tensors, found_apart
from .uses import TensorUses


@dataclass(eq=False)
class Model:
    """A model in memory (without its external data), its tensors in a fixed order, and what it was read from.

    `apart`, where large tensors are kept so: their data by the tokens that `proto` has in its place (see raw_data),
    which `tensors` know; and long lists of attributes, where they are. `source`: all bytes, if they are known in pieces
    then. `outside`: the files that its external data was found in, whatever has taken the place of its tensors since.
    """

    proto: ModelProto
    tensors: list[ModelTensor]
    source_bytes: int
    digest: Callable[[], str]
    path: str | None  # None where it was given in memory
    source: Source | None = None
    apart: Mapping[bytes, np.ndarray] = field(default_factory=dict)
    outside: tuple[str, ...] = ()

    @functools.cached_property
    def source_sha256(self) -> str:
        """The SHA-256 of the bytes that it was made from, in hexadecimal digits; what is kept apart is hashed when this
        is first asked for, and held until then."""
        found = self.digest()
        self.digest = lambda: found
        return found

    def refresh(self) -> None:
        """Change `tensors`: find them again, after `proto` has changed."""
        folders = None if self.path is None else external_data.folders(self.path)
        self.tensors = list(find_tensors(self.proto, folders, self.path or "the model", self.apart))


class Copied(Protocol):
    """What gives a model again and again: see replace.WorkingCopy."""

    def model(self) -> Model:
        """A model of its own, its large data apart."""

    def source(self) -> str | ModelProto | None:
        """What has the same bytes as the model that it was copied from; None where it was changed."""


AnyModel = str | os.PathLike[str] | ModelProto | Copied  # what callers give


def open_model(model: AnyModel, apart: bool = False, lists: bool = False) -> Model:
    """The model that a caller gives: the path of an ONNX file, a ModelProto, or a copy of a model that is open. For
    `apart`, `lists` and what is raised, see `load` and `from_proto`."""
    if not isinstance(model, (str, os.PathLike, ModelProto)):
        return model.model()
    return load(model, apart, lists) if isinstance(model, (str, os.PathLike)) else from_proto(model, apart, lists)


def load(path: str | os.PathLike[str], apart: bool = False, lists: bool = False) -> Model:
    """Read an ONNX file. External data stays where it is until a tensor is read.

    With `apart`, protobuf does not get the data of large tensors, which it would copy: for callers that ask the tensors
    for it, and never `proto`. With `lists`, it does not get the long lists of attributes (see attribute_lists), which
    take several times their bytes there: for callers that serialize `proto` by held.serialized_whole, if at all. Raises
    FileAccess; UnsuitableModel where it is no ONNX model, or a tensor's data is missing, misshapen, or outside the
    model's folder.
    """
    label = os.fspath(path)
    return _model(sources.read(path, apart, lists), label, label)


def from_bytes(data: bytes, label: str) -> Model:
    """A model from its bytes, which messages call `label`; it may not have external data. Raises UnsuitableModel."""
    if (found := file_kinds.mistaken(label, data[: file_kinds.HEAD])) is not None:
        raise UnsuitableModel(f"{label}: not an ONNX model but {found}")
    return _model(sources.of_bytes(data), label, None)


def from_proto(proto: ModelProto, apart: bool = False, lists: bool = False) -> Model:
    """A model from memory, which is copied; it may not have external data. Raises UnsuitableModel as `load` does."""
    if not isinstance(proto, ModelProto):
        raise UnsuitableModel(f"a model is a path or an onnx.ModelProto, not {type(proto).__name__}")
    return _model(sources.of_bytes(serialize(proto, "the model"), apart, lists), "the model", None)


def _model(source: Source, label: str, path: str | None) -> Model:
    """The model of these bytes, which messages call `label`."""
    length, digest = len(source), source.sha256 if source.apart else beside(source.sha256)
    folders = None if path is None else external_data.folders(path)
    proto = _parse(source.message, label)
    tensors = list(find_tensors(proto, folders, label, source.apart))
    if source.apart and not _has_all(proto, tensors, source.apart):  # some of it is none of a tensor or a node
        proto = _parse(source.whole(), label)
        tensors = list(find_tensors(proto, folders, label))
        source = replace(source, apart={})
    places = [tensor.external for tensor in tensors if tensor.external]
    outside = tuple(sorted({place.path for place in places}))
    external_bytes = external_data.total(places, label)
    if source.apart:
        return Model(proto, tensors, length + external_bytes, source.sha256, path, source, source.apart, outside)
    known = digest()
    return Model(proto, tensors, length + external_bytes, lambda: known, path, outside=outside)


def _has_all(proto: ModelProto, tensors: list[ModelTensor], apart: Mapping[bytes, np.ndarray]) -> bool:
    """Whether all that is apart of a model is data of its tensors, or lists of its nodes that dcz does not look at."""
    tokens = found_apart(tensors)
    if tokens != apart.keys():
        tokens = tokens | {token for token, _ in attribute_lists.find(proto, apart)}
    return tokens == apart.keys()


def reread_source(model: AnyModel, loaded: Model, is_useful: Callable[[Sliced], bool]) -> bytes | None:
    """The bytes that `loaded` was made from: those that it keeps, or those that are read from `model` again.

    `is_useful` looks at the bytes, for a file before it is read as a whole. None where it says no, where the model
    comes through a pipe, and where the file has changed or can no longer be read. External data is not among them.
    Change `loaded`: bytes that it kept, and that are given, it has no longer.
    """
    if not isinstance(model, (str, os.PathLike, ModelProto)):
        if (source := model.source()) is None:
            return None
        model = source
    if (kept := loaded.source) is not None:
        return kept.taken() if is_useful(kept) else None
    if isinstance(model, ModelProto):
        data = serialize(model, "the model")
        return data if is_useful(data) else None
    try:
        if not Path(model).is_file():  # a pipe gives its bytes only once
            return None
        with Content(model) as content:
            if not is_useful(content):
                return None
        data = Path(model).read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == loaded.source_sha256 else None


def serialize(proto: ModelProto, label: str) -> bytes:
    """The model's bytes; the same for the same model.

    Raises UnsuitableModel, which calls the model `label`, for 2 GB or more.
    """
    try:
        return bytes(proto.SerializeToString(deterministic=True))
    except (EncodeError, ValueError) as error:
        raise UnsuitableModel(f"{label}: a model of 2 GB or more needs external data: {error}") from error


def data_locations(path: str | os.PathLike[str]) -> set[str]:
    """The names of the files that an ONNX file has its external data in, whether they are there or not; raises OSError,
    UnsuitableModel."""
    proto = _parse(Path(path).read_bytes(), os.fspath(path))
    return {location for slot in TensorUses(proto).slots if (location := external_data.location_of(slot.proto))}


def without_places(data: bytes, label: str) -> bytes:
    """The bytes of a model, which messages call `label`, without the places of its external data. Raises
    UnsuitableModel."""
    proto = _parse(data, label)
    for slot in TensorUses(proto, slots_only=True).slots:
        if external_data.location_of(slot.proto):
            external_data.clear(cast(TensorProto, slot.proto))
    return serialize(proto, label)


def linked_data(path: str | os.PathLike[str]) -> dict[str, str]:
    """The real paths of an ONNX file's external data, by the location that the model has, where it or one of them is
    reached by a link; empty where runtimes find them by themselves. Raises as `load`."""
    tensors = [tensor for tensor in load(path, lists=True).tensors if tensor.external]
    found = {external_data.location_of(tensor.proto): tensor.external[0] for tensor in tensors if tensor.external}
    folder = os.path.realpath(os.path.dirname(os.path.abspath(path)))
    is_linked = os.path.islink(path) or any(os.path.join(folder, name) != real for name, real in found.items())
    return found if is_linked else {}


def check_model(path: str | os.PathLike[str], label: str) -> None:
    """Raise UnsuitableModel where onnx.checker finds a fault in the ONNX file `path`, which messages call `label`."""
    from onnx import checker

    try:
        checker.check_model(os.fspath(path))
    except (checker.ValidationError, ValueError) as error:
        raise UnsuitableModel(f"{label}: onnx.checker refuses the model: {error}") from error


def _parse(data: bytes, label: str) -> ModelProto:
    if data[:4] == b"\x89DCZ":
        raise UnsuitableModel(f"{label}: is a .dcz file, not an ONNX model: `dcz decompress` gives one")
    proto = ModelProto()
    try:
        proto.ParseFromString(data)
    except (DecodeError, UnicodeDecodeError) as error:  # the latter: of protobuf in pure Python
        if file_kinds.is_onnx(data[: file_kinds.HEAD]):
            raise UnsuitableModel(
                f"{label}: starts as an ONNX model does, but is cut off or damaged: download or export it again"
            ) from error
        raise UnsuitableModel(f"{label}: not an ONNX model: {error}") from error
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.initializer or proto.graph.output):
        raise UnsuitableModel(f"{label}: not an ONNX model: it holds no graph")
    return proto
