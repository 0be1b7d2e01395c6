"""Where large raw_data and long lists lie in a serialized model, found on the wire, and the message without them; and
the reverse.

    layout = find(data, len(data), lists=True)
                             layout.spans   ->  [(117, 134217845)]: bytes of data that are the raw_data of a tensor
                             layout.message(data)   ->  the same message, with a token in the place of each
    filled(message, {token: data})   ->  the pieces of the message with the data in the places of the tokens

protobuf copies what it parses, and hands out another copy. A token is raw_data as well, so all that protobuf does about
fields that come twice, or messages in several parts, comes to the same; nobody who does not know `secret` can put one
into a file. The token of a list in an attribute (see attribute_lists) is a string of that attribute, which has no
other list. Nothing is looked at but large messages, and what protobuf might take otherwise, or refuse, is left to it.
"""

import bisect
import os
from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, cast, overload

from onnx import TensorProto

from . import attribute_lists, wire

# Bytes of raw_data from which it is kept apart; more than any constant that is read where it lies in the graph
# (input_means.MAX_CONSTANT).
LARGE = 1 << 20
TOKEN = 24  # bytes: 16 of a secret, and a number
_FIELD = TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number
_MAX_FIELDS = 1 << 17, 10  # that are looked at in all, and one more for each so many bits of a size
_MAX_LENGTH = (1 << 31) - 1
_MAX_BESIDE = 64  # fields of an attribute beside its list

Piece = bytes | memoryview | tuple[int, int]  # of a message: as it is, or from here to there
Data = TypeVar("Data", bound=Sized)  # of a tensor, or what stands for it, as long as it


class Indexed(Protocol):
    """What gives bytes by their places: bytes, or a file that is read in small parts."""

    @overload
    def __getitem__(self, place: int, /) -> int: ...

    @overload
    def __getitem__(self, place: slice, /) -> bytes: ...


@dataclass(frozen=True)
class Layout:
    """`spans`: where each large raw_data or long list begins and ends, in order. `pieces`: what protobuf is to parse
    instead."""

    spans: list[tuple[int, int]]
    pieces: list[Piece]
    secret: bytes

    def token(self, number: int) -> bytes:
        """What stands in the place of the span of this number."""
        return token(self.secret, number)

    def message(self, read: Callable[[int, int], "bytes | memoryview"]) -> bytes:
        """The message with tokens; `read` gives the bytes between two places, never those of a span."""
        return b"".join(read(*piece) if isinstance(piece, tuple) else piece for piece in self.pieces)


class _Unknown(Exception):
    """What protobuf has to judge: it is parsed as it is."""


def find(data: Indexed, length: int, tensors: bool = True, lists: bool = False) -> Layout | None:
    """The large raw_data of tensors and the long lists, as asked for, in a serialized ModelProto of `length` bytes.

    None where most of it is something else, and where it is no message, or one that protobuf might read in another way.
    """
    walk = _Walk(data, length, tensors, lists)
    try:
        pieces = walk.message(0, length, wire.tables()[wire.MODEL], 0)
    except (_Unknown, IndexError):
        return None
    if 2 * sum(end - start for start, end in walk.spans) < length:
        return None  # a second copy of the rest would outweigh what is saved
    return Layout(walk.spans, pieces, walk.secret)


def filled(message: bytes, apart: Mapping[bytes, Data]) -> list[bytes | memoryview | Data] | None:
    """The pieces of a serialized ModelProto, one after another, with what each token stands for in its place.

    None where a token is not found once as the raw_data of a tensor, or in the place of a list, or there are too many
    fields to look at.
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

    def __init__(self, data: Indexed, length: int, tensors: bool = False, lists: bool = False):
        floor, bits = _MAX_FIELDS
        self.data, self.left = data, floor + (length >> bits)
        self.takes_tensors, self.takes_lists = tensors, lists
        self.spans: list[tuple[int, int]] = []
        self.secret = os.urandom(TOKEN - 8)
        self.tensor, self.attribute = wire.tables()[TensorProto.DESCRIPTOR.full_name], wire.tables()[wire.ATTRIBUTE]

    def message(self, at: int, end: int, table: wire.Table, depth: int) -> list[Piece]:
        """The pieces of the message between two places, whose fields `table` tells. Raises _Unknown, IndexError."""
        if depth > wire.MAX_DEPTH:
            raise _Unknown
        pieces: list[Piece] = []
        kept = at  # all before it is in the pieces
        while at < end:
            start = at
            number, kind, before = self._key(at)
            at, next_at = self._value(before, end, kind)
            if kind == wire.BYTES and (inner := self._inside(at, next_at - at, number, table, depth)) is not None:
                if table is self.attribute and number == attribute_lists.FIELDS["strings"]:  # it is no field any more
                    pieces += [(kept, start), *inner]
                else:
                    length = sum(piece[1] - piece[0] if isinstance(piece, tuple) else len(piece) for piece in inner)
                    pieces += [(kept, before), _as_varint(length), *inner]
                kept = next_at
            at = next_at
        if at != end:
            raise _Unknown
        return [*pieces, (kept, end)]

    def _key(self, at: int) -> tuple[int, int, int]:
        """The number and wire type of a field, and where what follows its key begins."""
        self.left -= 1
        key, at = self._varint(at, 5)
        if self.left < 0 or not key >> 3 or key >> 32:
            raise _Unknown
        return key >> 3, key & 7, at

    def _value(self, at: int, end: int, kind: int) -> tuple[int, int]:
        """Where the content of a field, whose message ends at `end`, begins and ends, from what follows its key."""
        if kind == wire.BYTES:
            size, at = self._varint(at, 5)
            if size > min(_MAX_LENGTH, end - at):
                raise _Unknown
            return at, at + size
        if kind == wire.VARINT:
            return at, self._varint(at, 10)[1]
        if kind in (wire.FIXED32, wire.FIXED64):
            return at, at + (4 if kind == wire.FIXED32 else 8)
        raise _Unknown  # a group, which ONNX does not have

    def _inside(self, at: int, size: int, number: int, table: wire.Table, depth: int) -> list[Piece] | None:
        """What takes the place of the content of a field; None where that stays as it is."""
        if size < LARGE:
            return None
        found = len(self.spans)
        if table is self.tensor and number == _FIELD and self.takes_tensors:
            self.spans.append((at, at + size))
            return [token(self.secret, found)]
        if (inner := table.get(number)) is None:
            return None
        if self.takes_lists and inner is self.attribute and (span := self._list(at, at + size)) is not None:
            self.spans.append(span)
            return [(at, span[0]), attribute_lists.field(token(self.secret, found)), (span[1], at + size)]
        pieces = self.message(at, at + size, inner, depth + 1)
        return pieces if len(self.spans) > found else None

    def _list(self, at: int, end: int) -> tuple[int, int] | None:
        """Where the long list of an attribute begins and ends; None of one that has no such list, or another one too,
        or much else."""
        span = None
        for _ in range(_MAX_BESIDE):
            if at == end:
                return span
            number, kind, after = self._key(at)
            if number not in attribute_lists.FIELDS.values():
                at = self._value(after, end, kind)[1]
                if at > end:
                    raise _Unknown
                continue
            start, first = at, self.data[at]
            while at < end and self.data[at] == first:
                if not (length := attribute_lists.length(self.data[at : min(end, at + attribute_lists.BLOCK)])):
                    break
                at += length
            if span is not None or at - start < LARGE:
                return None
            span = start, at
        return None

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
        self.places = sorted(
            place for secret in {token[: TOKEN - 8] for token in apart} for place in _places(data, secret)
        )

    def _inside(self, at: int, size: int, number: int, table: wire.Table, depth: int) -> list[Piece] | None:
        first = bisect.bisect_left(self.places, at)
        if first == len(self.places) or self.places[first] + TOKEN > at + size:
            return None
        if (table is self.tensor and number == _FIELD) or (
            table is self.attribute and number == attribute_lists.FIELDS["strings"]
        ):
            data = self.waiting.pop(self.message_bytes[at : at + size], None)
            return None if data is None else [cast(bytes, data)]  # of which only the length is asked for
        inner = table.get(number)
        return None if inner is None else self.message(at, at + size, inner, depth + 1)


def token(secret: bytes, number: int) -> bytes:
    """What stands in the place of the data of this number."""
    return secret + number.to_bytes(8, "little")


def _places(data: bytes, secret: bytes) -> Iterator[int]:
    """Where the tokens of a secret begin: found in one go, as a message may have thousands of them."""
    at = data.find(secret)
    while at >= 0:
        yield at
        at = data.find(secret, at + TOKEN)


def _as_varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
