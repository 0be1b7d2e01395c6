"""Files of kilobytes that claim, or cost, gigabytes: every CRC right, every claim true or nearly so.

BOMBS["references"]()     the bytes of a `.dcz` whose graph names one record 30,000 times
"""

from collections.abc import Callable, Sequence

import numpy as np

from dcz.deflate import crc32, deflate
from dcz.format.directory import MAGIC
from dcz.format.fields import string, u32, varint

EMPTY_GRAPH = b"\x3a\x00"


def sealed(directory: bytes, graph: bytes = b"", records: bytes = b"") -> bytes:
    """A file of these plain parts: directory and graph are deflated where that makes them shorter."""
    stored = min(directory, deflate(directory), key=len)
    head = MAGIC + b"\1\1\0\0" + u32(len(stored)) + u32(len(directory))
    return head + u32(crc32(stored, crc32(head))) + stored + graph + records


def listing(graph: bytes, stored: bytes, entries: list[bytes], metadata: bytes = b"\0") -> bytes:
    """A directory of entries for a graph that is stored so."""
    head = varint(len(stored)) + varint(len(graph)) + u32(crc32(stored))
    return head + metadata + varint(len(entries)) + b"".join(entries)


def of_graph(graph: bytes, entries: Sequence[bytes] = (), records: bytes = b"") -> bytes:
    """A file with this graph, deflated as far as it goes."""
    stored = min(graph, deflate(graph), key=len)
    return sealed(listing(graph, stored, list(entries)), stored, records)


def message(key: int, body: bytes) -> bytes:
    """A field of protobuf that holds bytes, or a message."""
    return bytes([key << 3 | 2]) + varint(len(body)) + body


# -- what the graph multiplies -----------------------------------------------------------------------------------------


def references(count: int = 30_000, elements: int = 16_000_000, key: bytes = b"raw_data") -> bytes:
    """One record of 2 kB, a tensor of 128 MB, that the graph names `count` times: 3.84 TB."""
    record = b"\0\xff" + np.arange(256, dtype="<f8").tobytes() + b"\0\1"  # 256 doubles, of which code 1 is constant
    whole = np.ones(elements, "<f8")
    entry = b"\1w\x0b\1" + varint(elements) + b"\1" + varint(len(record)) + u32(crc32(record)) + u32(crc32(whole))
    external = message(13, message(1, key) + message(2, b"0"))
    tensor = b"\x08" + varint(elements) + b"\x10\x0b" + message(8, b"w") + external + b"\x70\1"
    return of_graph(message(7, message(5, tensor) * count), [entry], record)


def one_tensor(side: int = 2_490, value: bytes = b"0T", key: bytes = b"raw_data") -> bytes:
    """A matrix of nearly as many bytes as any file may decode to, to be transposed."""
    record = b"\0\xff" + np.arange(256, dtype="<f8").tobytes() + b"\0\1"
    whole, dims = np.ones(side * side, "<f8"), varint(side)
    entry = b"\1w\x0b\2" + dims * 2 + b"\1" + varint(len(record)) + u32(crc32(record)) + u32(crc32(whole))
    external = message(13, message(1, key) + message(2, value))
    tensor = (b"\x08" + dims) * 2 + b"\x10\x0b" + message(8, b"w") + external + b"\x70\1"
    return of_graph(message(7, message(5, tensor)), [entry], record)


def one_list(side: int = 2_490) -> bytes:
    """The same in a list of numbers."""
    return one_tensor(side, b"0", b"double_data")


def initializers(nbytes: int = 4_000_000) -> bytes:
    """Millions of tensors that are nothing."""
    return of_graph(message(7, message(5, b"") * (nbytes // 2)))


def nodes(nbytes: int = 4_000_000) -> bytes:
    """Millions of nodes that are nothing."""
    return of_graph(message(7, message(1, b"") * (nbytes // 2)))


def attributes(nbytes: int = 4_000_000) -> bytes:
    """A node of millions of attributes."""
    return of_graph(message(7, message(1, message(5, b"") * (nbytes // 2))))


def tensors_of_an_attribute(nbytes: int = 4_000_000) -> bytes:
    """A Constant of millions of tensors."""
    attribute = message(5, message(10, b"") * (nbytes // 2))
    return of_graph(message(7, message(1, message(4, b"Constant") + attribute)))


def functions(nbytes: int = 4_000_000) -> bytes:
    """Millions of functions that are nothing."""
    return of_graph((b"\xca\x01\x00" * (nbytes // 3)) + EMPTY_GRAPH)


def fields(nbytes: int = 20_000_000) -> bytes:
    """A tensor of millions of dims, one by one: few messages, many fields."""
    return of_graph(message(7, message(5, b"\x08\0" * (nbytes // 2))))


def packed_integers(nbytes: int = 30_000_000) -> bytes:
    """A tensor of millions of int64, each a byte of one field, and eight in memory."""
    data = b"\x10\7" + message(7, bytes(nbytes))
    return of_graph(message(7, message(5, b"\x08" + varint(nbytes) + data)))


def allowed(nbytes: int = 65_000) -> bytes:
    """As many tensors as any graph may hold."""
    return of_graph(message(7, message(5, b"") * (nbytes // 2)))


def zeros(nbytes: int = 100_000_000) -> bytes:
    """A hundred megabytes of zeros as one text of the graph."""
    return of_graph(message(7, message(10, bytes(nbytes))))


def hidden_in_a_group(nbytes: int = 4_000_000) -> bytes:
    """A group, whose fields protobuf skips, that would lead a count astray, before millions of nodes."""
    group = b"\x0b" + b"\x3a\xff\xff\xff\x7f" + b"\x0c"  # field 1 as a group, in which field 7 is far too long
    return of_graph(group + message(7, message(1, b"") * (nbytes // 2)))


# -- what the directory multiplies -------------------------------------------------------------------------------------


def ranks(count: int = 58_823, dim: bytes = b"\0") -> bytes:
    """Tensors of 255 dims."""
    entries = [string(f"{i:x}") + b"\1\xff" + b"\0" + dim * 254 + b"\0\0" + bytes(8) for i in range(count)]
    return sealed(listing(EMPTY_GRAPH, EMPTY_GRAPH, entries), EMPTY_GRAPH)


def long_dims(count: int = 6_000) -> bytes:
    """Tensors of 255 dims whose product has 16,000 bits."""
    dims = b"\xff" * 8 + b"\x7f"
    entries = [string(f"{i:x}") + b"\1\xff" + dims * 255 + b"\0\0" + bytes(8) for i in range(count)]
    return sealed(listing(EMPTY_GRAPH, EMPTY_GRAPH, entries), EMPTY_GRAPH)


def entries(count: int = 100_000) -> bytes:
    """More tensors without elements than a megabyte may list."""
    made = [b"\6" + b"%06x" % i + b"\1\1\0\0\0" + bytes(8) for i in range(count)]
    return sealed(listing(EMPTY_GRAPH, EMPTY_GRAPH, made), EMPTY_GRAPH)


def allowed_entries(count: int = 5_000) -> bytes:
    """About as many as any directory may list."""
    return entries(count)


def metadata(count: int = 100_000) -> bytes:
    """A hundred thousand keys."""
    pairs = varint(count) + b"".join(b"\6" + b"%06x" % i + b"\0" for i in range(count))
    return sealed(listing(EMPTY_GRAPH, EMPTY_GRAPH, [], pairs), EMPTY_GRAPH)


def allowed_metadata(count: int = 5_000) -> bytes:
    """About as many as any directory may list."""
    return metadata(count)


def long_text(nbytes: int = 20_000_000) -> bytes:
    """One value of zeros."""
    return sealed(listing(EMPTY_GRAPH, EMPTY_GRAPH, [], b"\1\1a" + varint(nbytes) + bytes(nbytes)), EMPTY_GRAPH)


# -- what a record multiplies ------------------------------------------------------------------------------------------


def record_of_zeros(nbytes: int = 1 << 41) -> bytes:
    """A record of 32 MB that decodes to 2 TB, as far as the format goes."""
    record = b"\0" * (nbytes >> 16)
    entry = b"\1w\1\1" + varint(nbytes // 4) + b"\0" + varint(len(record)) + u32(crc32(record)) + bytes(4)
    return of_graph(EMPTY_GRAPH, [entry], record)


def constant_codes(elements: int = 600_000_000) -> bytes:
    """A layer of one value: 40 kB for 2.4 GB."""
    record = b"\0\xff" + bytes(1024) + b"\0\0"
    copies = elements * 4 // (len(record) << 16) + 1
    entries = [
        string(f"w{i}")
        + b"\1\1"
        + varint(elements // copies)
        + b"\1"
        + varint(len(record))
        + u32(crc32(record))
        + bytes(4)
        for i in range(copies)
    ]
    return of_graph(EMPTY_GRAPH, entries, record * copies)


BOMBS: dict[str, Callable[[], bytes]] = {
    make.__name__: make
    for make in (
        references, one_tensor, one_list, initializers, nodes, attributes, tensors_of_an_attribute, functions, fields,
        packed_integers, allowed, zeros, hidden_in_a_group, ranks, long_dims, entries, allowed_entries, metadata,
        allowed_metadata, long_text, record_of_zeros, constant_codes,
    )
}  # fmt: skip
