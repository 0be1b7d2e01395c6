"""Where large raw_data lies in a serialized model, found on the wire, and the message without it; and the reverse.

    layout = find(data)      layout.spans   ->  [(117, 134217845)]: bytes of data that are the raw_data of a tensor
                             layout.message(data)   ->  the same message, with a token in the place of each
    filled(message, {token: data})   ->  the pieces of the message with the data in the places of the tokens

protobuf copies what it parses, and hands out another copy. A token is raw_data as well, so all that protobuf does about
fields that come twice, or messages in several parts, comes to the same; nobody who does not know `secret` can put one
into a file. Nothing is looked at but large messages, and what protobuf might take otherwise, or refuse, is left to it.
"""

import bisect
import os
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, cast

from onnx import TensorProto

from . import wire

# Bytes of raw_data from which it is kept apart; more than any constant that is read where it lies in the graph
# (input_means.MAX_CONSTANT).
LARGE = 1 << 20
TOKEN = 24  # bytes: 16 of a secret, and a number
_FIELD = TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number
_MAX_FIELDS = 1 << 17, 10  # that are looked at in all, and one more for each so many bits of a size
_MAX_LENGTH = (1 << 31) - 1

Piece = bytes | memoryview | tuple[int, int]  # of a message: as it is, or from here to there
Data = TypeVar("Data", bound=Sized)  # of a tensor, or what stands for it, as long as it


class Indexed(Protocol):
    """What gives bytes by their places: bytes, or a file that is read in small parts."""

    def __getitem__(self, at: int, /) -> int: ...


@dataclass(frozen=True)
class Layout:
    """`spans`: where each large raw_data begins and ends, in order. `pieces`: what protobuf is to parse instead."""

    spans: list[tuple[int, int]]
    pieces: list[Piece]
    secret: bytes

    def token(self, number: int) -> bytes:
        """What stands in the place of the raw_data of this number."""
        return token(self.secret, number)

    def message(self, read: Callable[[int, int], "bytes | memoryview"]) -> bytes:
        """The message with tokens; `read` gives the bytes between two places, never those of a span."""
        return b"".join(read(*piece) if isinstance(piece, tuple) else piece for piece in self.pieces)


class _Unknown(Exception):
    """What protobuf has to judge: it is parsed as it is."""


def find(data: Indexed, length: int) -> Layout | None:
    """The large raw_data in a serialized ModelProto of `length` bytes; None where most of it is something else, and
    where it is no message, or one that protobuf might read in another way."""
    walk = _Walk(data, length)
    try:
        pieces = walk.message(0, length, wire.tables()[wire.MODEL], 0)
    except (_Unknown, IndexError):
        return None
    if 2 * sum(end - start for start, end in walk.spans) < length:
        return None  # a second copy of the rest would outweigh what is saved
    return Layout(walk.spans, pieces, walk.secret)


def filled(message: bytes, apart: Mapping[bytes, Data]) -> list[bytes | memoryview | Data] | None:
    """The pieces of a serialized ModelProto, one after another, with what each token stands for in its place.

    None where a token is not found as the raw_data of a tensor once, or there are too many fields to look at.
    """
    walk = _Fill(message, apart)
    try:
        pieces = walk.message(0, len(message), wire.tables()[wire.MODEL], 0)
    except (_Unknown, IndexError):
        return None
    if walk.waiting:
        return None
    view = memoryview(message)
    return [view[slice(*piece)] if isinstance(piece, tuple) else cast(Data, piece) for piece in pieces]


class _Walk:
    """One way over a message, which changes `spans`."""

    def __init__(self, data: Indexed, length: int):
        floor, bits = _MAX_FIELDS
        self.data, self.left = data, floor + (length >> bits)
        self.spans: list[tuple[int, int]] = []
        self.secret = os.urandom(TOKEN - 8)
        self.tensor = wire.tables()[TensorProto.DESCRIPTOR.full_name]

    def message(self, at: int, end: int, table: wire.Table, depth: int) -> list[Piece]:
        """The pieces of the message between two places, whose fields `table` tells. Raises _Unknown, IndexError."""
        if depth > wire.MAX_DEPTH:
            raise _Unknown
        pieces: list[Piece] = []
        kept = at  # all before it is in the pieces
        while at < end:
            self.left -= 1
            key, at = self._varint(at, 5)
            number, kind = key >> 3, key & 7
            if self.left < 0 or not number or key >> 32:
                raise _Unknown
            if kind == wire.BYTES:
                before = at
                size, at = self._varint(at, 5)
                if size > min(_MAX_LENGTH, end - at):
                    raise _Unknown
                inner = self._inside(at, size, number, table, depth)
                if inner is not None:
                    length = sum(piece[1] - piece[0] if isinstance(piece, tuple) else len(piece) for piece in inner)
                    pieces += [(kept, before), _as_varint(length), *inner]
                    kept = at + size
                at += size
            elif kind == wire.VARINT:
                _, at = self._varint(at, 10)
            elif kind in (wire.FIXED32, wire.FIXED64):
                at += 4 if kind == wire.FIXED32 else 8
            else:  # a group, which ONNX does not have
                raise _Unknown
        if at != end:
            raise _Unknown
        return [*pieces, (kept, end)]

    def _inside(self, at: int, size: int, number: int, table: wire.Table, depth: int) -> list[Piece] | None:
        """What takes the place of the content of a field; None where that stays as it is."""
        if size < LARGE:
            return None
        if table is self.tensor and number == _FIELD:
            self.spans.append((at, at + size))
            return [token(self.secret, len(self.spans) - 1)]
        found = len(self.spans)
        if (inner := table.get(number)) is None:
            return None
        pieces = self.message(at, at + size, inner, depth + 1)
        return pieces if len(self.spans) > found else None

    def _varint(self, at: int, most: int) -> tuple[int, int]:
        """A varint of at most so many bytes, and where what follows it begins."""
        value = 0
        for number in range(most):
            byte = self.data[at + number]
            value |= (byte & 0x7F) << 7 * number
            if byte < 0x80:
                return value, at + number + 1
        raise _Unknown


class _Fill(_Walk, Generic[Data]):
    """One way over a message with tokens, which are taken out of `waiting` where they are found."""

    def __init__(self, data: bytes, apart: Mapping[bytes, Data]):
        super().__init__(data, len(data))
        self.message_bytes, self.waiting = data, dict(apart)
        self.places = sorted(place for token in apart if (place := data.find(token)) >= 0)

    def _inside(self, at: int, size: int, number: int, table: wire.Table, depth: int) -> list[Piece] | None:
        first = bisect.bisect_left(self.places, at)
        if first == len(self.places) or self.places[first] + TOKEN > at + size:
            return None
        if table is self.tensor and number == _FIELD:
            data = self.waiting.pop(self.message_bytes[at : at + size], None)
            return None if data is None else [cast(bytes, data)]  # of which only the length is asked for
        inner = table.get(number)
        return None if inner is None else self.message(at, at + size, inner, depth + 1)


def token(secret: bytes, number: int) -> bytes:
    """What stands in the place of the raw_data of this number."""
    return secret + number.to_bytes(8, "little")


def _as_varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
