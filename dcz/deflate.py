"""Raw DEFLATE streams (RFC 1951) and CRC-32 checksums: the home of zlib, and of isal where it is installed (spec,
section 1).

    deflate(b"weights" * 100) -> 17 bytes    inflate(those, 700) -> the 700 bytes, or a refusal
"""

import functools
import io
import itertools
import math
import statistics
import zlib
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING

from .arrays import blocks, scattered_sample
from .errors import CorruptFile
from .files import Sliced
from .parallel import each, each_ahead

if TYPE_CHECKING:
    import numpy as np
    from _typeshed import ReadableBuffer


def says_what_is_left(engine: ModuleType) -> bool:
    """Whether an engine tells of bytes behind the end of a stream: isal before 1.9 kept up to seven to itself, and
    what the format refuses would have been read."""
    decompressor = engine.decompressobj(-15)
    decompressor.decompress(b"\3\0" + b"\0", 1)  # a stream of nothing, and a byte
    return bool(decompressor.unused_data == b"\0")


inflate_engine: ModuleType = zlib
try:  # the same interface as zlib, two to four times faster; pip install dcz[fast]
    from isal import isal_zlib
except ImportError:
    pass
else:
    inflate_engine = isal_zlib if says_what_is_left(isal_zlib) else zlib

crc32: Callable[..., int] = inflate_engine.crc32
ZLIB = zlib.ZLIB_RUNTIME_VERSION  # another version may compress to other bytes
MAX_EXPANSION = 1032  # bytes that DEFLATE can make of one: two bits for a match of 258
_CHUNK = 1 << 20  # bytes
_SUMMED = 1 << 23  # bytes for one thread at a time
_PROBE, _PROBES, _MORE_PROBES = 1 << 16, 24, 48  # bytes of a probe, and about how many are taken
_MIN_PROBED = 1 << 22  # bytes of data: less is deflated whole, without probes
_TIE = 1e-3  # of a size, which probes do not tell
_WINDOW = 1 << 15  # bytes that DEFLATE looks back
_POLYNOMIAL = 0xEDB88320  # of CRC-32, its highest power lowest
_PROBE_MARGIN = 1.6  # the estimate of the quick probes may be too high by this factor
_PROBE_DEVIATIONS = 2.5  # that of the thorough ones, by so many standard errors of their mean


def crc_of(pieces: Iterable["ReadableBuffer"]) -> int:
    """The CRC-32 of pieces, one after another."""
    crc = 0
    for piece in pieces:
        crc = crc32(piece, crc)
    return crc


def crc_of_blocks(data: "np.ndarray | memoryview") -> int:
    """The CRC-32 of bytes (flat), by all threads that may help."""
    return joined_crc(each(lambda block: (crc32(data[block]), block.stop - block.start), blocks(len(data), _SUMMED)))


def joined_crc(parts: Iterable[tuple[int, int]]) -> int:
    """The CRC-32 of pieces one behind the other, from that of each and its bytes.

    A CRC is linear: that of what comes before changes as zero bytes in the place of the piece would change it.
    """
    joined = 0
    for crc, length in parts:
        for power in range(length.bit_length() if joined else 0):
            if length >> power & 1:
                joined = _times(_zeros(power), joined)
        joined ^= crc
    return joined


@functools.cache
def _zeros(power: int) -> tuple[int, ...]:
    """How 2^power zero bytes change a CRC-32: what becomes of each of its bits, from the lowest on."""
    if power:
        half = _zeros(power - 1)
        return tuple(_times(half, bits) for bits in half)
    changed = [1 << bit for bit in range(32)]
    for _ in range(8):
        changed = [bits >> 1 ^ (_POLYNOMIAL if bits & 1 else 0) for bits in changed]
    return tuple(changed)


def _times(changed: tuple[int, ...], crc: int) -> int:
    """What becomes of a CRC-32 of whose bits it is known."""
    found = 0
    for bit, bits in enumerate(changed):
        if crc >> bit & 1:
            found ^= bits
    return found


def quickly_deflated(data: "ReadableBuffer") -> int:
    """The bytes that `data` takes where the search for repeats ends early: a tenth more than `deflate` as a rule, and
    five to ten times as fast where few bytes repeat in many places."""
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    return len(compressor.compress(data)) + len(compressor.flush())


def deflate(data: "ReadableBuffer", search: bool = True) -> bytes:
    """`data` as a raw DEFLATE stream, with or without the search for repeats.

    Always by zlib: the bytes must not depend on whether isal is installed.
    """
    compressor = _compressor(search)
    return compressor.compress(data) + compressor.flush()


def deflate_chunks(chunks: Iterable["ReadableBuffer"], search: bool, limit: int) -> bytes | None:
    """`deflate` of data that comes in chunks: the same bytes, or None as soon as they are not less than `limit`."""
    compressor, deflated = _compressor(search), io.BytesIO()
    for chunk in chunks:
        deflated.write(compressor.compress(chunk))
        if deflated.tell() >= limit:
            return None
    deflated.write(compressor.flush())
    return deflated.getvalue() if deflated.tell() < limit else None  # no copy: BytesIO hands over its own buffer


def may_deflate_below(data: Sliced, nbytes: int) -> bool:
    """Whether `data` may deflate to less than `nbytes`.

    An estimate from probes of long data: false only where it exceeds `nbytes` by far, or by more than neighbouring
    probes differ. Those of random weights hardly do, and deflating a gigabyte of them takes a minute for nothing.
    """
    if len(data) <= _MIN_PROBED:
        return True
    share = nbytes / len(data)
    if (
        statistics.fmean(_probe_shares(data, _PROBES, 6)) >= _PROBE_MARGIN * share
    ):  # a tenth more than 9, four times as fast
        return False
    shares = _probe_shares(data, _MORE_PROBES, 9)
    # Of probes in their order: what whole parts of a model differ by is in the mean.
    deviation = math.sqrt(statistics.fmean((one - other) ** 2 for one, other in itertools.pairwise(shares)) / 2)
    least = statistics.fmean(shares) - _PROBE_DEVIATIONS * deviation / math.sqrt(len(shares))
    return least <= share * (1 + _TIE)


def _probe_shares(data: Sliced, count: int, level: int) -> list[float]:
    """What share of its size each of about `count` probes takes, deflated behind the bytes before it."""
    last = len(data) - _PROBE

    def share_of(probe: tuple[bytes, bytes]) -> float:
        before, part = probe  # where repeats may point to, and what is deflated
        compressor = zlib.compressobj(level, zlib.DEFLATED, -15, zdict=before)
        return (len(compressor.compress(part)) + len(compressor.flush())) / _PROBE

    starts = scattered_sample(last, last // count).tolist()
    probes = ((data[max(0, start - _WINDOW) : start], data[start : start + _PROBE]) for start in starts)
    return list(each_ahead(share_of, probes))


def deflate_below(data: "ReadableBuffer", nbytes: int) -> bytes | None:
    """`deflate`, or None as soon as that takes `nbytes` or more."""
    view = memoryview(data)
    return deflate_chunks((view[start : start + _CHUNK] for start in range(0, len(view), _CHUNK)), True, nbytes)


def _compressor(search: bool) -> "zlib._Compress":
    return zlib.compressobj(9, zlib.DEFLATED, -15, strategy=zlib.Z_DEFAULT_STRATEGY if search else zlib.Z_HUFFMAN_ONLY)


def inflate(data: bytes | memoryview, nbytes: int) -> bytes:
    """Exactly `nbytes` bytes from a raw DEFLATE stream that ends with `data`; at most one byte more is inflated.

    Raises CorruptFile `deflate`.
    """
    return joined(inflate_chunks(data, nbytes))


def joined(chunks: Iterator[bytes]) -> bytes:
    """What an iterator gives as one, which takes less memory than a list of it would."""
    first, second = next(chunks, b""), next(chunks, None)
    if second is None:
        return first
    found = io.BytesIO(first)
    found.seek(len(first))
    found.write(second)
    found.writelines(chunks)
    return found.getvalue()  # no copy, as in deflate_chunks


def inflate_chunks(data: bytes | memoryview, nbytes: int) -> Iterator[bytes]:
    """`inflate` in chunks of at most 1 MB, one after another."""
    decompressor, inflated, consumed = zlib.decompressobj(-15), 0, 0
    try:
        while consumed < len(data) and inflated <= nbytes and not decompressor.eof:
            chunk: bytes | memoryview = memoryview(data)[consumed : consumed + _CHUNK]
            consumed += len(chunk)
            while inflated <= nbytes:
                limit = min(_CHUNK, nbytes + 1 - inflated)
                plain = decompressor.decompress(chunk, limit)
                inflated, chunk = inflated + len(plain), decompressor.unconsumed_tail
                if inflated <= nbytes:
                    yield plain
                if decompressor.eof or (not chunk and len(plain) < limit):
                    break
    except zlib.error as error:
        raise CorruptFile("deflate", f"deflated data is damaged ({error})") from error
    if inflated != nbytes or not decompressor.eof or decompressor.unused_data or consumed < len(data):
        raise CorruptFile("deflate", f"deflated data does not hold exactly {nbytes} bytes")
