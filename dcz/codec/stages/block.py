"""Elements bit for bit <-> the smallest of three plain forms (spec, section 5, "block").

    float32 1.0 2.0   plain  00 00 80 3f 00 00 00 40   planes  00 00 | 00 00 | 80 00 | 3f 40

Exponents resemble each other and mantissas do not: deflating byte planes saves a tenth of float weights.
"""

import numpy as np

from ... import arrays
from ...deflate import MOST, deflate, deflate_parts, inflate_parts
from ...encoded import Block
from ...errors import CorruptFile

PROBE = 1 << 16  # bytes


def encode(data: np.ndarray, itemsize: int) -> Block:
    """The smallest block that holds `data` (uint8, flat, or what gives slices of that); `itemsize` is 1 where elements
    have less than two bytes.

    Deflate's search for repeats is slow and finds none in the weights of a layer: beyond 64 KB it is left out where a
    piece from the middle does better with Huffman codes alone, which on byte planes is 25 times faster.
    """
    best, least = None, len(data)
    for method, plain in [("deflated", data)] + ([("planes", Planes(data, itemsize))] if itemsize > 1 else []):
        for search in (False, True) if _repeats(plain) else (False,):
            packed = deflate_parts((plain[part] for part in arrays.blocks(len(plain))), search, least)
            if packed is not None:
                best, least = Block(method, packed), len(packed)
    return best or Block("plain", b"".join(data[part].data for part in arrays.blocks(len(data))))


class Planes:
    """The bytes of `data` by their place in their element: all the first ones, then all the second ones."""

    def __init__(self, data, itemsize: int):
        self._data, self._itemsize = data, itemsize

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, _ = part.indices(len(self))
        elements, size = len(self) // self._itemsize, self._itemsize
        found = [np.empty(0, np.uint8)]
        while start < stop:
            plane, first = divmod(start, elements)
            count = min(stop - start, elements - first)
            found.append(self._data[first * size : (first + count) * size][plane::size])
            start += count
        return np.concatenate(found)


def _repeats(data) -> bool:
    """Whether deflate's search for repeats may pay."""
    if len(data) <= PROBE:
        return True
    start = (len(data) - PROBE) // 2
    piece = data[start : start + PROBE]
    return len(deflate(piece)) < len(deflate(piece, search=False))


def probe(data, itemsize: int, pieces: int = 1) -> float:
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
    whole = block.method != "planes" or nbytes % itemsize == 0
    if nbytes > MOST * len(block.data) or not whole:  # before anything of that size is taken
        raise CorruptFile("deflate", f"{len(block.data)} deflated bytes cannot hold {nbytes}")
    plain = np.empty(nbytes, np.uint8)
    planes = plain.reshape(-1, itemsize).T if block.method == "planes" else plain[None, :]
    at = 0
    for part in inflate_parts(block.data, nbytes):
        piece = np.frombuffer(part, np.uint8)
        while len(piece):
            plane, first = divmod(at, planes.shape[1])
            taken = piece[: planes.shape[1] - first]
            planes[plane, first : first + len(taken)] = taken
            at, piece = at + len(taken), piece[len(taken) :]
    return plain
