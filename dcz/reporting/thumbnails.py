"""Small PNGs of samples that are images.

data_url(image)   ->   'data:image/png;base64,iVBOR...'
"""

import base64
import struct
import zlib

import numpy as np

SIDE = 72  # pixels, at most


def data_url(image: np.ndarray) -> str:
    """A PNG of an image, numbers of any range [height, width, 1 or 3 channels], from its least to its greatest."""
    every = max(1, -(-max(image.shape[:2]) // SIDE))
    small = image[::every, ::every]
    finite = small[np.isfinite(small)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    scaled = np.nan_to_num((small - low) / ((high - low) or 1.0), nan=0.0, posinf=1.0, neginf=0.0)
    pixels = np.clip(np.rint(255 * scaled), 0, 255).astype(np.uint8)
    return "data:image/png;base64," + base64.b64encode(_png(pixels)).decode()


def _png(pixels: np.ndarray) -> bytes:
    """A PNG of uint8 [height, width, 1 or 3] (PNG specification, sections 5 and 11)."""
    height, width, channels = pixels.shape
    colour = {1: 0, 3: 2}[channels]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
