"""How many messages a serialized model holds, counted on the wire before protobuf takes memory for them.

    count(ModelProto().SerializeToString())   ->  Counts(messages=1, fields=0, packed=0)

A message of two bytes takes two hundred in memory, a packed integer of one byte eight, and deflate makes a thousand
such bytes of one: a reader has to count before it parses (spec, section 4).
"""

import functools
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from onnx import AttributeProto, ModelProto

from ..errors import UnsuitableModel
from . import attribute_lists

MAX_DEPTH = 100  # messages within one another: what protobuf itself allows
MAX_MESSAGES = 1 << 15, 4  # of any graph, and for each byte that it takes in its file
MAX_FIELDS = 1 << 19, 16
MAX_PACKED = 1 << 22, 8  # bytes of integers that are packed
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
MODEL, ATTRIBUTE = ModelProto.DESCRIPTOR.full_name, AttributeProto.DESCRIPTOR.full_name
_INTEGERS = tuple(
    getattr(FieldDescriptor, f"CPPTYPE_{kind}") for kind in ("INT32", "INT64", "UINT32", "UINT64", "BOOL", "ENUM")
)
_LONG = 1 << 12, 1 << 8  # bytes of an attribute whose lists are counted as such, and elements of one that is worth it


class Table(dict[int, Any]):
    """Of a message: the numbers of its fields that are messages, and their tables. `packed`: the numbers of those that
    are integers and may be packed."""

    packed: frozenset[int] = frozenset()


class Counts(NamedTuple):
    """Messages, the outermost among them; fields of all of them; and bytes of integers that are packed into one."""

    messages: int
    fields: int
    packed: int


def is_within_bounds(graph: bytes, stored: int) -> bool:
    """Whether a graph that takes `stored` bytes in its file may be parsed. What is no message is for the parser.

    Small graphs are counted too: not every protobuf has a limit of its own on how deep messages lie in one another.
    """
    most = [floor + factor * stored for floor, factor in (MAX_MESSAGES, MAX_FIELDS, MAX_PACKED)]
    return all(map(int.__le__, count(graph, *most[:2]), most))


def least_stored(graph: bytes, label: str) -> int:
    """The bytes that a graph has to take in its file, for readers to parse it: an eighth of its own at most.

    Raises UnsuitableModel, which calls the model `label`, where they would not: protobuf keeps groups that it does not
    know.
    """
    counts = count(graph)
    if counts.messages > len(graph):
        raise UnsuitableModel(
            f"{label}: the model holds a group, a kind of field that ONNX does not have: save it without, by "
            "`model.DiscardUnknownFields()` of onnx.load's model"
        )
    found = zip(counts, (MAX_MESSAGES, MAX_FIELDS, MAX_PACKED), strict=True)
    return min(len(graph) // 8, max(0, *(-(-(number - floor) // factor) for number, (floor, factor) in found)))


def count(data: bytes, most_messages: int | None = None, most_fields: int | None = None) -> Counts:
    """The messages and fields of a serialized ModelProto; counting ends at one more than the most, or where the bytes
    are no message, and with too many where they are nested deeper than MAX_DEPTH or hold a group."""
    unlimited = len(data) + 1
    most_messages = unlimited if most_messages is None else most_messages
    most_fields = unlimited if most_fields is None else most_fields
    messages, fields, packed, at, end, table = 1, 0, 0, 0, len(data), tables()[MODEL]
    attribute, may_be_list = tables()[ATTRIBUTE], False
    around: list[tuple[int, Table]] = []  # the ends and tables of the messages that are not at an end yet
    try:
        while messages <= most_messages and fields <= most_fields:
            while at >= end:
                if not around:
                    return Counts(messages, fields, packed)
                (end, table), may_be_list = around.pop(), False
            fields += 1
            if may_be_list and data[at] in attribute_lists.KEYS:
                number, at = attribute_lists.count(data, at, end, most_fields - fields)
                may_be_list = number >= _LONG[1]
                if number:
                    fields += number - 1
                    continue
            key, at = (data[at], at + 1) if data[at] < 0x80 else _varint(data, at)
            kind = key & 7
            if kind == BYTES:
                size, at = (data[at], at + 1) if data[at] < 0x80 else _varint(data, at)
                inner = table.get(key >> 3)
                if inner is None:
                    if key >> 3 in table.packed:
                        packed += size
                    at += size
                    continue
                messages += 1
                if len(around) >= MAX_DEPTH:
                    return Counts(most_messages + 1, fields, packed)
                around.append((end, table))
                end, table, may_be_list = at + size, inner, inner is attribute and size >= _LONG[0]
            elif kind == VARINT:
                while data[at] >= 0x80:
                    at += 1
                at += 1
            elif kind in (FIXED32, FIXED64):
                at += 4 if kind == FIXED32 else 8
            else:  # a group, which ONNX does not have: what is in it might read as something else here than there
                return Counts(most_messages + 1, fields, packed)
    except IndexError:  # cut within a field
        pass
    return Counts(messages, min(fields, most_fields + 1), packed)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A varint, and where what follows it begins."""
    value, shift = 0, 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80 or shift > 63:
            return value, at


@functools.cache
def tables() -> dict[str, Table]:
    """The tables of ModelProto and of what lies in it, by their full names, by protobuf's own description of ONNX."""
    found: dict[str, Table] = {}

    def table_of(message: Any) -> Table:
        if message.full_name not in found:
            table = found[message.full_name] = Table()
            table |= {field.number: table_of(field.message_type) for field in message.fields if field.message_type}
            table.packed = frozenset(
                field.number for field in message.fields if field.cpp_type in _INTEGERS and field.default_value == []
            )
        return found[message.full_name]

    table_of(ModelProto.DESCRIPTOR)
    return found
