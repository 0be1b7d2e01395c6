"""The home of zlib, and of isal where that is installed: raw DEFLATE streams and checksums (spec, section 1).

deflate(b"weights" * 100) -> 17 bytes    inflate(those, 700) -> the 700 bytes, or a refusal
"""

import zlib

from .errors import CorruptFile

try:  # the same interface as zlib, two to four times faster; pip install dcz[fast]
    from isal import isal_zlib as engine
except ImportError:
    engine = zlib

crc32 = engine.crc32


def deflate(data) -> bytes:
    """`data` (bytes-like) as a raw DEFLATE stream.

    Always by zlib: what is written must not depend on whether isal is installed.
    """
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush()


def inflate(data, nbytes: int) -> bytes:
    """Exactly `nbytes` bytes from a raw DEFLATE stream that ends with `data`; never makes more than one byte too many.

    Raises CorruptFile `deflate`.
    """
    decompressor = zlib.decompressobj(-15)
    try:
        plain = decompressor.decompress(data, nbytes + 1)
    except zlib.error as error:
        raise CorruptFile("deflate", f"deflated data is damaged ({error})") from error
    if len(plain) != nbytes or not decompressor.eof or decompressor.unused_data:
        raise CorruptFile("deflate", f"deflated data does not hold exactly {nbytes} bytes")
    return plain
