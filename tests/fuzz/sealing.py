"""Checksums put right, so that a changed file gets past them: whoever forges a file does the same.

sealed(b"\x89DCZ...")       the same bytes, the CRC-32 of header, graph and records being those of what is there
"""

import struct
import zlib

HEADER = 24


def sealed(data: bytes) -> bytes:
    """A `.dcz` file with the CRCs of what it holds, as far as its directory, which must be plain, can be followed."""
    if len(data) < HEADER:
        return data
    file = bytearray(data)
    stored, plain = struct.unpack_from("<II", file, 12)
    if stored == plain and HEADER + stored <= len(file):
        _seal_parts(file, HEADER, HEADER + stored)
    struct.pack_into("<I", file, 20, zlib.crc32(file[:20] + file[HEADER : HEADER + stored]))
    return bytes(file)


def _seal_parts(file: bytearray, at: int, end: int) -> None:
    """Change `file`: put the CRCs of graph and records into the directory from `at` to `end`."""
    offset = end

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while at < end and shift < 63:
            byte = file[at]
            value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
            if byte < 128:
                break
        return value

    def skip(more: int = 0) -> None:
        nonlocal at
        length = varint()
        at += length + more

    def seal(length: int) -> None:
        nonlocal at, offset
        if at + 4 <= end:
            struct.pack_into("<I", file, at, zlib.crc32(file[offset : offset + length]))
        at, offset = at + 4, offset + length

    graph, _ = varint(), varint()
    seal(graph)
    for _ in range(2 * min(varint(), end)):
        skip()
        if at >= end:
            return
    for _ in range(min(varint(), end)):
        skip(1)  # name and dtype
        if at >= end:
            return
        rank, at = file[at], at + 1
        for _ in range(rank):
            varint()
        at += 1
        seal(varint())
        at += 4
        if at >= end:
            return
