"""Bytes on their way into a file that protobuf does not get, and the serialized model with them.

held = Held()
held.hold(tensor, data)                       tensor has a token in the place of its raw_data (see raw_data)
serialized(proto, held, "net.onnx")           the pieces of the model, data among them
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto

from ..errors import UnsuitableModel
from . import attribute_lists, external_data, raw_data
from .model_file import Model, serialize
from .source import PROTOBUF_LIMIT

if TYPE_CHECKING:
    from .skeleton import Reference


@dataclass(frozen=True, eq=False)
class Awaited:
    """The data of a tensor that is not there yet, of `nbytes` bytes."""

    reference: "Reference"
    nbytes: int

    def __len__(self) -> int:
        return self.nbytes


class Held:
    """Bytes of tensors that are on their way into a file, and that protobuf, which would copy them, does not get: they
    have tokens there (see raw_data). So have long lists of attributes (see attribute_lists)."""

    def __init__(self) -> None:
        self._secret = os.urandom(raw_data.TOKEN - 8)
        self._tensors: dict[bytes, TensorProto] = {}
        self._lists: dict[bytes, AttributeProto] = {}
        self.apart: dict[bytes, np.ndarray | Awaited] = {}

    def await_data(self, reference: "Reference", nbytes: int) -> None:
        """Change the graph: the raw_data of a tensor is a token of data that comes later (see serialized_later)."""
        external_data.clear(reference.slot.proto)
        self.hold(reference.slot.proto, Awaited(reference, nbytes))

    def hold(self, proto: TensorProto, data: np.ndarray | Awaited) -> None:
        """Change `proto`: its raw_data is a token of `data` (uint8, flat)."""
        token = raw_data.token(self._secret, len(self._tensors))
        proto.raw_data, self.apart[token], self._tensors[token] = token, data, proto

    def hold_lists(self, found: Iterable[tuple[bytes, AttributeProto]], apart: Mapping[bytes, np.ndarray]) -> None:
        """Hold the lists of attributes that have their tokens; one whose node was copied has its list again."""
        for token, attribute in found:
            if token in self._lists:
                attribute_lists.put_back(attribute, apart[token])
            self._lists.setdefault(token, attribute)
            self.apart[token] = apart[token]

    def give_lists_back(self) -> None:
        """Change what has lists: they are in its protobuf messages now."""
        for token, attribute in self._lists.items():
            attribute_lists.put_back(attribute, cast(np.ndarray, self.apart.pop(token)))
        self._lists = {}

    def give_back(self) -> None:
        """Change what was held: it is in its protobuf messages now."""
        self.give_lists_back()
        for token, proto in self._tensors.items():
            data = self.apart[token]
            assert isinstance(data, np.ndarray), "what is awaited goes into no message"
            proto.raw_data = data.tobytes()
        self._tensors, self.apart = {}, {}


def serialized(proto: ModelProto, held: Held, label: str) -> Iterable[bytes | memoryview]:
    """The bytes of a model, one piece after another, what is `held` among them.

    Raises UnsuitableModel, which calls the model `label`, for 2 GB or more.
    """
    pieces = raw_data.filled(serialize(proto, label), held.apart)
    if pieces is None:
        held.give_back()
        return [serialize(proto, label)]
    if sum(map(len, pieces)) > PROTOBUF_LIMIT:
        raise UnsuitableModel(f"{label}: a model of 2 GB or more needs external data")
    return [piece.data if isinstance(piece, np.ndarray) else cast(bytes, piece) for piece in pieces]


def serialized_later(proto: ModelProto, held: Held, label: str) -> list[bytes | memoryview | Awaited] | None:
    """The same with what is awaited as it is, in the order in which it will be needed; None for 2 GB or more, and where
    that cannot be told from the message."""
    pieces = raw_data.filled(serialize(proto, label), held.apart)
    if pieces is None:
        held.give_lists_back()
        pieces = raw_data.filled(serialize(proto, label), held.apart)
    if pieces is None or sum(map(len, pieces)) > PROTOBUF_LIMIT:
        return None
    return [piece.data if isinstance(piece, np.ndarray) else piece for piece in pieces]


def serialized_whole(model: Model, label: str) -> bytes:
    """The bytes of a model whose tensors have all their data, as model_file.serialize gives them; its lists may be
    apart. It changes `model.proto` where these have to go back. Raises as `serialized`."""
    if not model.apart:
        return serialize(model.proto, label)
    held = Held()
    held.hold_lists(attribute_lists.find(model.proto, model.apart), model.apart)
    return b"".join(serialized(model.proto, held, label)) if held.apart else serialize(model.proto, label)
