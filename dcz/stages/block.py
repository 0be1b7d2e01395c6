"""Elements bit for bit <-> the smallest of three plain forms (spec, section 5, "block").

    float32 1.0 2.0   plain  00 00 80 3f 00 00 00 40   planes  00 00 | 00 00 | 80 00 | 3f 40

Exponents resemble each other and mantissas do not: deflating byte planes saves a tenth of float weights.
"""

import numpy as np

from ..deflate import deflate, inflate
from ..errors import CorruptFile
from ..tensor import Block

PROBE = 1 << 16  # bytes


def encode(data: np.ndarray, itemsize: int) -> Block:
    """The smallest block that holds `data` (uint8, flat); `itemsize` is 1 where elements have less than two bytes.

    Deflate's search for repeats is slow and finds none in the weights of a layer: beyond 64 KB it is left out where a
    piece from the middle does better with Huffman codes alone, which on byte planes is 25 times faster.
    """
    best = Block("plain", data.tobytes())
    forms = [("deflated", data)] + ([("planes", _to_planes(data, itemsize))] if itemsize > 1 else [])
    for method, plain in forms:
        for packed in (deflate(plain, search=False), deflate(plain) if _repeats(plain) else None):
            if packed is not None and len(packed) < len(best.data):
                best = Block(method, packed)
    return best


def _repeats(data: np.ndarray) -> bool:
    """Whether deflate's search for repeats may pay."""
    if len(data) <= PROBE:
        return True
    start = (len(data) - PROBE) // 2
    piece = data[start : start + PROBE]
    return len(deflate(piece)) < len(deflate(piece, search=False))


def probe(data: np.ndarray, itemsize: int, pieces: int = 1) -> float:
    """About what share of its size `data` (uint8, flat) would take as a block, from one piece in its middle, or from so
    many spread over it."""
    plain = packed = 0
    for number in range(pieces):
        start = max(0, (len(data) - PROBE) * (2 * number + 1) // (2 * pieces)) // itemsize * itemsize
        piece = data[start : start + PROBE]
        plain, packed = plain + len(piece), packed + len(encode(piece, itemsize).data)
    return packed / max(1, plain)


def decode(block: Block, nbytes: int, itemsize: int) -> np.ndarray:
    """The `nbytes` bytes (uint8) that a block holds.

    Raises CorruptFile `deflate`, `block-length` where it holds another number.
    """
    if block.method == "plain":
        if len(block.data) != nbytes:
            raise CorruptFile("block-length", f"{len(block.data)} plain bytes where {nbytes} belong")
        return np.frombuffer(block.data, np.uint8)
    plain = np.frombuffer(inflate(block.data, nbytes), np.uint8)
    if block.method == "planes":
        return np.ascontiguousarray(plain.reshape(itemsize, -1).T).ravel()
    return plain


def _to_planes(data: np.ndarray, itemsize: int) -> np.ndarray:
    return np.ascontiguousarray(data.reshape(-1, itemsize).T).ravel()
