"""The home of zlib, and of isal where that is installed: raw DEFLATE streams and checksums (spec, section 1).

deflate(b"weights" * 100) -> 17 bytes    inflate(those, 700) -> the 700 bytes, or a refusal
"""

import io
import zlib
from collections.abc import Iterable, Iterator

from .arrays import scattered_sample
from .errors import CorruptFile

try:  # the same interface as zlib, two to four times faster; pip install dcz[fast]
    from isal import isal_zlib as engine
except ImportError:
    engine = zlib

crc32 = engine.crc32
ZLIB = zlib.ZLIB_RUNTIME_VERSION  # which may compress otherwise than another
_PIECE = 1 << 20  # bytes
MOST = 1032  # bytes that DEFLATE can make of one: two bits for a match of 258
_SMALL = 1 << 22  # bytes that are deflated without a glance
_GLANCE, _GLANCES = 1 << 16, 24  # bytes of a glance, and about how many there are
_WINDOW = 1 << 15  # bytes that DEFLATE looks back


def deflate(data, search: bool = True) -> bytes:
    """`data` (bytes-like) as a raw DEFLATE stream, with or without the search for repeats.

    Always by zlib: what is written must not depend on whether isal is installed.
    """
    compressor = _compressor(search)
    return compressor.compress(data) + compressor.flush()


def deflate_parts(parts: Iterable, search: bool, below: int) -> bytes | None:
    """The same for data (bytes-like) that comes in parts: the very bytes of `deflate` for all of it, or None as soon as
    they are not less than `below`."""
    compressor, made = _compressor(search), io.BytesIO()
    for part in parts:
        made.write(compressor.compress(part))
        if made.tell() >= below:
            return None
    made.write(compressor.flush())
    return made.getvalue() if made.tell() < below else None  # no copy: BytesIO hands over its own buffer


def may_deflate_below(data, nbytes: int) -> bool:
    """Whether `data` (bytes, or what gives slices of them) may deflate to less than `nbytes`, by pieces of it: most
    cannot by far."""
    if len(data) <= _SMALL:
        return True
    last, made = len(data) - _GLANCE, 0
    starts = scattered_sample(last, last // _GLANCES).tolist()
    for start in starts:
        before = data[max(0, start - _WINDOW) : start]  # where repeats may point to
        compressor = zlib.compressobj(6, zlib.DEFLATED, -15, zdict=before)  # a tenth more than 9, four times as fast
        made += len(compressor.compress(data[start : start + _GLANCE])) + len(compressor.flush())
    return made / (len(starts) * _GLANCE) * len(data) < 1.6 * nbytes


def deflates_below(data, nbytes: int) -> bool:
    """Whether `data` (bytes-like) deflates to less than `nbytes`, given up as soon as it does not."""
    view, compressor, made = memoryview(data), _compressor(search=True), 0
    for start in range(0, len(view), _PIECE):
        made += len(compressor.compress(view[start : start + _PIECE]))
        if made >= nbytes:
            return False
    return made + len(compressor.flush()) < nbytes


def _compressor(search: bool):
    return zlib.compressobj(9, zlib.DEFLATED, -15, strategy=zlib.Z_DEFAULT_STRATEGY if search else zlib.Z_HUFFMAN_ONLY)


def inflate(data, nbytes: int) -> bytes:
    """Exactly `nbytes` bytes from a raw DEFLATE stream that ends with `data`; never makes more than one byte too many.

    Raises CorruptFile `deflate`.
    """
    return b"".join(inflate_parts(data, nbytes))


def inflate_parts(data, nbytes: int) -> Iterator[bytes]:
    """The same in parts of at most 1 MB, as they are inflated."""
    decompressor, made, fed = zlib.decompressobj(-15), 0, 0
    try:
        while fed < len(data) and made <= nbytes and not decompressor.eof:
            piece = memoryview(data)[fed : fed + _PIECE]
            fed += len(piece)
            while made <= nbytes:
                limit = min(_PIECE, nbytes + 1 - made)
                plain = decompressor.decompress(piece, limit)
                made, piece = made + len(plain), decompressor.unconsumed_tail
                if made <= nbytes:
                    yield plain
                if decompressor.eof or (not piece and len(plain) < limit):
                    break
    except zlib.error as error:
        raise CorruptFile("deflate", f"deflated data is damaged ({error})") from error
    if made != nbytes or not decompressor.eof or decompressor.unused_data or fed < len(data):
        raise CorruptFile("deflate", f"deflated data does not hold exactly {nbytes} bytes")
