"""What precedes the records: header, directory and graph (spec, sections 2 to 4).

89 DCZ 0D 0A 1A 0A | 1 0 | flags | D | P | CRC-32 | directory | graph | record 0 | record 1 ...
"""

import os
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import BinaryIO

from ..deflate import crc32, deflate, inflate
from ..encoded import ENCODINGS, RecordInfo, may_expand
from ..errors import CorruptFile, UnsupportedFile
from ..tensor import DTYPES, Dtype, is_valid_shape
from .fields import Reader, string, u8, u32, varint

MAGIC = b"\x89DCZ\r\n\x1a\n"
MAJOR, MINOR = 1, 1
HEADER = 24  # bytes
DIRECTORY_LIMIT = 1 << 26  # plain bytes
GRAPH_LIMIT = (1 << 31) - 1  # plain bytes: what a protobuf message may have
# What may be inflated: so many bytes in any file, and so many more for each byte that is stored.
DIRECTORY_EXPANSION = 1 << 20, 1 << 4
GRAPH_EXPANSION = 1 << 26, 1 << 6
# How much a directory may list, of metadata and of tensors: so many in any file, and one for so many stored bytes.
MOST_LISTED = 1 << 12, 8


@dataclass(frozen=True, slots=True)
class Entry:
    """The directory's entry of one tensor; its record starts at byte `offset` of the file."""

    name: str
    dtype: Dtype
    shape: tuple[int, ...]
    info: RecordInfo
    offset: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded tensor."""
        return self.dtype.nbytes(self.shape)


@dataclass(frozen=True)
class Directory:
    """Header and directory: metadata, position, sizes and CRC-32 of the graph, and an entry for each tensor.

    `graph_stored` and `graph_plain` are bytes in the file and bytes inflated.
    """

    metadata: dict[str, str]
    graph_offset: int
    graph_stored: int
    graph_plain: int
    graph_crc: int
    entries: tuple[Entry, ...]
    version: tuple[int, int] = (MAJOR, MINOR)
    file_size: int = field(default=0, compare=False)


# -- writing ----------------------------------------------------------------------------------------------------------


def write_head(
    graph: bytes,
    metadata: dict[str, str],
    entries: Iterable[Entry],
    minor: int = 0,
    min_graph: int = 0,
    deflated: bytes | None = None,
) -> bytes:
    """The bytes before the records: header, directory and `graph` (a serialized ModelProto), which takes a reader of
    version 1.`minor`, and is to take `min_graph` bytes at least, an eighth of its own or less. `deflated`: the graph
    deflated, where that is known.

    The records follow in the order of `entries`; their offsets are not used.
    """
    stored_graph = _deflated(graph, GRAPH_EXPANSION, min_graph, deflated)
    plain = bytearray()
    plain += varint(len(stored_graph)) + varint(len(graph)) + u32(crc32(stored_graph))
    plain += varint(len(metadata))
    for key, value in metadata.items():
        plain += string(key) + string(value)
    entries = list(entries)
    plain += varint(len(entries))
    for entry in entries:
        plain += string(entry.name) + u8(entry.dtype.code) + u8(len(entry.shape))
        plain += b"".join(varint(dim) for dim in entry.shape)
        info = entry.info
        plain += u8(info.encoding) + varint(info.length) + u32(info.record_crc) + u32(info.tensor_crc)
    least = MOST_LISTED[1] * max(0, max(len(metadata), len(entries)) - MOST_LISTED[0])  # which the plain bytes have
    stored = _deflated(bytes(plain), DIRECTORY_EXPANSION, least)
    minor = max([minor, *(entry.info.minor for entry in entries)])
    head = MAGIC + u8(MAJOR) + u8(minor) + b"\0\0" + u32(len(stored)) + u32(len(plain))
    return head + u32(crc32(stored, crc32(head))) + stored + stored_graph


def _deflated(plain: bytes, expansion: tuple[int, int], least: int = 0, known: bytes | None = None) -> bytes:
    """`plain`, or what it deflates to (`known`, where it was deflated already) where that is shorter: not below
    `least`, nor to less than readers expand."""
    stored = deflate(plain) if known is None else known
    if len(stored) < least or not _may_inflate(len(stored), len(plain), expansion):
        stored = deflate(plain, search=False)  # which takes a bit or more for each byte
    return min(plain, stored, key=len)


def _may_inflate(stored: int, plain: int, expansion: tuple[int, int]) -> bool:
    return plain <= expansion[0] + expansion[1] * stored


# -- reading -----------------------------------------------------------------------------------------------------------


def read_directory(file: BinaryIO) -> Directory:
    """The directory of a seekable file; raises CorruptFile for what the spec's sections 2 and 3 refuse."""
    file.seek(0, os.SEEK_END)
    file_size = file.tell()  # what `seek` returns not every file says
    file.seek(0)
    head = file.read(HEADER)
    _check_magic(head)
    reader = Reader(Reader(head, "header").take(HEADER), "header")
    reader.take(len(MAGIC))
    version = reader.u8(), reader.u8()
    if version[0] != MAJOR:
        raise UnsupportedFile(
            "version", f"format version {version[0]}.{version[1]}; this reader knows {MAJOR}: update dcz"
        )
    if any(reader.take(2)):
        raise CorruptFile("flags", "a reserved flag is set")
    stored_length, plain_length, crc = reader.u32(), reader.u32(), reader.u32()
    may_inflate = _may_inflate(stored_length, plain_length, DIRECTORY_EXPANSION)
    if stored_length > plain_length or plain_length > DIRECTORY_LIMIT or not may_inflate:
        raise CorruptFile("directory-size", f"a directory of {stored_length} bytes said to hold {plain_length}")
    if stored_length > file_size - HEADER:
        raise CorruptFile("truncated", f"the directory needs {stored_length} bytes, {file_size - HEADER} are there")
    stored = file.read(stored_length)
    if crc32(stored, crc32(head[:20])) != crc:
        raise CorruptFile("directory-crc", "the header or directory does not have its checksum")
    plain = stored if stored_length == plain_length else inflate(stored, plain_length)
    directory, end = _parse(plain, HEADER + stored_length, version, file_size)
    if end != file_size:
        reason = "truncated" if end > file_size else "trailing-bytes"
        raise CorruptFile(reason, f"the parts end at byte {end}, the file at byte {file_size}")
    return directory


def _check_magic(head: bytes) -> None:
    if head[: len(MAGIC)] == MAGIC:
        return
    if len(head) >= len(MAGIC) and head[:4] in (MAGIC[:4], b"\x09DCZ"):
        raise CorruptFile("text-mode", "the file was damaged by a transfer in text mode: copy it again in binary mode")
    raise CorruptFile("not-dcz", "not a .dcz file")


def _parse(plain: bytes, graph_offset: int, version: tuple[int, int], file_size: int) -> tuple[Directory, int]:
    """The directory from its inflated bytes, and the offset at which the last record ends."""
    reader = Reader(plain, "directory")
    graph_stored, graph_plain, graph_crc = reader.varint(), reader.varint(), reader.u32()
    may_inflate = _may_inflate(graph_stored, graph_plain, GRAPH_EXPANSION)
    if graph_stored > graph_plain or graph_plain > GRAPH_LIMIT or not may_inflate:
        raise CorruptFile("graph-size", f"a graph of {graph_stored} bytes said to hold {graph_plain}")
    offset = graph_offset + graph_stored
    most = MOST_LISTED[0] + (graph_offset - HEADER) // MOST_LISTED[1]
    metadata: dict[str, str] = {}
    for _ in range(_count(reader, most)):
        key = reader.string()
        _check_unique(key, metadata)
        metadata[key] = reader.string()
    entries: dict[str, Entry] = {}
    for _ in range(_count(reader, most)):
        entry = _parse_entry(reader, offset)
        _check_unique(entry.name, entries)
        entries[entry.name] = entry
        offset += entry.info.length
    reader.end("directory-trailing")
    directory = Directory(
        metadata, graph_offset, graph_stored, graph_plain, graph_crc, tuple(entries.values()), version, file_size
    )
    return directory, offset


def _count(reader: Reader, most: int) -> int:
    if (count := reader.varint()) > most:
        raise CorruptFile("directory-size", f"a directory that lists {count}, where its bytes allow {most}")
    return count


def _check_unique(name: str, known: Container[str]) -> None:
    if name in known:
        raise CorruptFile("duplicate-name", f"directory: {name!r} occurs twice")


def _parse_entry(reader: Reader, offset: int) -> Entry:
    name, code = reader.string(), reader.u8()
    if code not in DTYPES:
        raise CorruptFile("dtype", f"tensor {name!r}: dtype {code} is unknown")
    dtype = DTYPES[code]
    shape = reader.varints(reader.u8())
    if not is_valid_shape(shape, dtype.bits):
        raise CorruptFile("shape", f"tensor {name!r}: the shape {shape} holds 2^63 bits or more")
    encoding = reader.u8()
    if encoding >= len(ENCODINGS) or (ENCODINGS[encoding] != "stored" and not dtype.real):
        raise CorruptFile("encoding", f"tensor {name!r}: encoding {encoding} is unknown, or not for {dtype.name}")
    info = RecordInfo(encoding, reader.varint(), reader.u32(), reader.u32())
    entry = Entry(name, dtype, shape, info, offset)
    if not may_expand(entry.nbytes, info.length):
        raise CorruptFile("expansion", f"tensor {name!r}: {entry.nbytes} bytes said to come from {info.length}")
    return entry
