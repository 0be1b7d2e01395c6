"""Serialized models, field by field, as no library would write them: for what looks at the wire before protobuf does.

Maker(7).model()     ->  bytes: nodes with long lists in their attributes, in which something may be odd
"""

import random
import struct

FLOATS, INTS, STRINGS = 7, 8, 9  # the fields of an attribute


def varint(value: int, padding: int = 0) -> bytes:
    """A varint, which `padding` makes longer than it need be."""
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    for _ in range(padding):
        found[-1] |= 0x80
        found.append(0)
    return bytes(found)


def field(number: int, content: bytes, padding: int = 0) -> bytes:
    return varint(number << 3 | 2, padding) + varint(len(content), padding) + content


def elements(field_number: int, count: int, draws: random.Random) -> list[bytes]:
    """The fields of a list, as protobuf writes them."""
    if field_number == FLOATS:
        # No NaNs, whose bits protobuf in pure Python does not keep.
        return [b"\x3d" + struct.pack("<f", draws.choice([0.0, 1.0, draws.gauss(0, 1)])) for _ in range(count)]
    if field_number == INTS:
        bits = draws.choice([3, 10, 40, 64])
        return [b"\x40" + varint(draws.getrandbits(bits)) for _ in range(count)]
    return [field(STRINGS, draws.randbytes(draws.choice([0, 1, 4, 10, 64, 127]))) for _ in range(count)]


WHOLE = [b"\x3d" + bytes(4), b"\x40\x07", b"\x4a\x01B"]  # elements of each kind
ODD = [
    b"\x3a" + varint(8) + bytes(8),  # packed floats
    b"\x42" + varint(3) + b"\x01\x02\x03",  # packed integers
    b"\x40\x85\x00",  # an integer that is longer than it need be
    b"\x40" + b"\x80" * 9 + b"\x00",
    b"\x40" + b"\xff" * 9 + b"\x03",  # beyond 64 bits
    b"\x40" + b"\x80" * 10 + b"\x01",  # longer than it may be
    b"\xbd\x00" + bytes(4),  # a key that is longer than it need be
    b"\x4a\x84\x00LEAF",  # a length that is
    b"\x4a\x80\x01" + bytes(128),  # a long string
    b"\x4a\x7fcut",
    *WHOLE,
    b"\x45" + bytes(4), b"\x48\x01", b"\x38\x05",  # floats, integers and strings of other wire types
    b"\x4b\x08\x01\x4c", b"\x3b\x3c",  # groups
    field(99, bytes(3)),  # an unknown field
    field(6, field(1, field(4, b"Inner") + field(5, field(1, b"a") + b"\x40\x05" * 64))),  # a graph
    b"\x07",
]  # fmt: skip


class Maker:
    """Models of long lists, as programs might write them."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.is_odd = self.random.random() < 0.6

    def attribute(self) -> bytes:
        kind = self.random.choice([FLOATS, INTS, STRINGS])
        name = self.random.choice([b"nodes_modes", b"weights", b"axes", b"value_floats", b"value_ints"])
        parts = elements(kind, self.random.choice([0, 1, 20, 40, 300]), self.random)
        if self.is_odd and self.random.random() < 0.5:
            parts.insert(self.random.choice([0, len(parts), len(parts) // 2]), self.random.choice(ODD))
        around = [field(1, name), b"\xa0\x01" + varint({FLOATS: 6, INTS: 7, STRINGS: 8}[kind])]
        if self.random.random() < 0.2:
            around.reverse()
        return around[0] + b"".join(parts) + around[1]

    def node(self, depth: int) -> bytes:
        inside = [field(5, self.attribute()) for _ in range(self.random.randint(1, 3))]
        if depth and self.random.random() < 0.4:
            inside.append(field(5, field(1, b"body") + field(6, self.graph(depth - 1))))
        operator = self.random.choice([b"Trees", b"Constant", b"ReduceMean"])
        return field(2, b"y") + field(4, operator) + b"".join(inside) + field(7, b"ai.onnx.ml")

    def graph(self, depth: int = 2) -> bytes:
        nodes = [field(1, self.node(depth)) for _ in range(self.random.randint(1, 2))]
        return field(2, b"g") + b"".join(nodes) + field(12, field(1, b"y"))

    def model(self) -> bytes:
        parts = [b"\x08\x0a", field(7, self.graph())]
        if self.random.random() < 0.3:
            parts.append(field(25, field(1, b"F") + field(7, self.node(0)) + field(11, self.attribute())))  # a function
        if self.random.random() < 0.2:
            parts.append(field(20, field(2, self.graph(0))))  # training_info
        if self.random.random() < 0.2:
            parts.reverse()
        return b"".join(parts)
