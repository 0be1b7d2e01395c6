"""Long lists in the attributes of nodes, which are most of a model of trees, in their serialized form.

    count(data, at, end, most)     ->  (700000, 1948202): so many elements of one kind lie there, up to this place
    find(proto, apart)             ->  [(token, attribute)]: where a message has tokens in the place of lists

protobuf takes eight bytes for an integer that has two on the wire, and twenty for a word of four. ONNX has these lists
unpacked, each element behind a key of its own. Only elements as protobuf itself writes them are told here: then the
bytes of the list are those that it would make of them.
"""

import re
from collections.abc import Container, Iterator

import numpy as np
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto

from .nodes import subgraphs

BLOCK = 1 << 16  # bytes that are looked at together
FIELDS = {name: AttributeProto.DESCRIPTOR.fields_by_name[name].number for name in ("floats", "ints", "strings")}
_FLOAT, _INT, _STRING = FIELDS["floats"] << 3 | 5, FIELDS["ints"] << 3, FIELDS["strings"] << 3 | 2  # keys, a byte each
KEYS = frozenset((_FLOAT, _INT, _STRING))
READ = {"axes", "perm", "value_floats", "value_ints", "value_strings"}  # names of lists that dcz itself looks at
_FIRST = 1 << 9  # bytes that are looked at where a list may begin
_FLOAT_BYTES, _MOST_VARINT = 5, 10  # of an element with its key, and of an integer
# A string of fewer than 128 bytes: a length of one byte, and so many more. A match takes memory for each string.
_WORDS = b"|".join(b"%b.{%d}" % (re.escape(bytes([size])), size) for size in range(0x80))
_WORD = re.compile(b"(?s:%c(?:%b))" % (_STRING, _WORDS))
_SEVERAL_WORDS = re.compile(b"(?:%b)+" % _WORD.pattern)


def length(data: bytes) -> int:
    """The bytes of the whole elements, all of one kind, with which `data`, of BLOCK bytes or fewer, begins; strings of
    128 bytes or more are none."""
    key = data[0] if data else 0
    if key == _FLOAT:
        keys = np.frombuffer(data, np.uint8)[: len(data) // _FLOAT_BYTES * _FLOAT_BYTES : _FLOAT_BYTES] == _FLOAT
        return _true(keys) * _FLOAT_BYTES
    if key == _INT:
        return _ints(np.frombuffer(data, np.uint8))
    found = _SEVERAL_WORDS.match(data) if key == _STRING else None
    return 0 if found is None else found.end()


def _ints(data: np.ndarray) -> int:
    """The bytes of the whole integers with which `data` begins: each a key, and a varint as short as it can be."""
    ends = np.flatnonzero(data < 0x80)  # the last bytes of varints; keys are varints of one byte
    keys, last = ends[: len(ends) // 2 * 2 : 2], ends[1::2]
    begins = np.concatenate([np.zeros(1, np.intp), last[:-1] + 1])[: len(keys)]
    sizes, highest = last - keys, data[last]
    is_shortest = (sizes == 1) | ((highest > 0) & ((sizes < _MOST_VARINT) | ((sizes == _MOST_VARINT) & (highest == 1))))
    count = _true((data[keys] == _INT) & (keys == begins) & is_shortest)
    return int(last[count - 1]) + 1 if count else 0


def _true(found: np.ndarray) -> int:
    """How many of `found` (bool) are true before one that is not."""
    return len(found) if found.all() else int(found.argmin())


def count(data: bytes, at: int, end: int, most: int) -> tuple[int, int]:
    """How many elements of one kind, see `length`, lie one after another from `at` on, before `end`, and where they
    end; counting ends at more than `most`."""
    key, found, size = data[at], 0, _FIRST
    while found <= most and (part := data[at : min(end, at + size)]) and part[0] == key:
        if not (nbytes := length(part)):
            break
        if key == _FLOAT:
            found += nbytes // _FLOAT_BYTES
        elif key == _INT:
            found += int(np.count_nonzero(np.frombuffer(part, np.uint8, nbytes) < 0x80)) // 2
        else:
            found += _WORD.subn(b"", part[:nbytes])[1]
        at, size = at + nbytes, min(2 * size, BLOCK)
    return found, at


def field(token: bytes) -> bytes:
    """The field that stands in the place of a list: a string, of which the attribute has no other."""
    return bytes([_STRING, len(token)]) + token


def find(proto: ModelProto, apart: Container[bytes]) -> list[tuple[bytes, AttributeProto]]:
    """The tokens of lists that are `apart` in a message, with the attributes of nodes that have them, but for those
    that dcz looks at (READ)."""
    return [
        (attribute.strings[0], attribute)
        for message in (proto.graph, *proto.functions)
        for attribute in _attributes(message)
        if len(attribute.strings) == 1 and attribute.strings[0] in apart and attribute.name not in READ
    ]


def _attributes(message: GraphProto | FunctionProto) -> Iterator[AttributeProto]:
    for node in message.node:
        for attribute in node.attribute:
            yield attribute
            for graph in subgraphs(attribute):
                yield from _attributes(graph)


def put_back(attribute: AttributeProto, data: np.ndarray) -> None:
    """Change `attribute`, which has a token: it has the list (uint8, flat) again."""
    attribute.ClearField("strings")
    attribute.MergeFromString(data.tobytes())
