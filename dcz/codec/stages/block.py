"""Elements bit for bit <-> the smallest of three forms: plain, deflated, deflated byte planes (spec, section 5).

    float32 1.0 2.0   plain  00 00 80 3f 00 00 00 40   planes  00 00 | 00 00 | 80 00 | 3f 40

Exponents resemble each other and mantissas do not: deflating byte planes saves a tenth of float weights.
"""

import math

import numpy as np

from ... import arrays
from ...deflate import MAX_EXPANSION, deflate, deflate_chunks, inflate_chunks, quickly_deflated
from ...encoded import Block
from ...errors import CorruptFile
from ...parallel import each_ahead

PROBE = 1 << 16  # bytes
TOGETHER = 4  # probes at a time
QUICK_MARGIN = 1.2  # what is this much larger by a quick search is so by the thorough one: 3 % smaller, of weights


class Planes:
    """The bytes of `data` in byte planes: the first byte of every element, then the second of every element, ..."""

    def __init__(self, data: arrays.Bytes, itemsize: int):
        self._data, self._itemsize = data, itemsize

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, block: slice) -> np.ndarray:
        start, stop, _ = block.indices(len(self))
        elements, size = len(self) // self._itemsize, self._itemsize
        chunks = [np.empty(0, np.uint8)]
        while start < stop:
            plane, first = divmod(start, elements)
            count = min(stop - start, elements - first)
            chunks.append(self._data[first * size : (first + count) * size][plane::size])
            start += count
        return np.concatenate(chunks)


def encode(data: arrays.Bytes, itemsize: int) -> Block:
    """The smallest block that holds `data` (uint8, flat); `itemsize` is 1 for elements of less than two bytes.

    The search for repeats is slow and finds none in the weights of a layer. Beyond 64 KB it is left out where a probe
    from the middle gets smaller without it, by Huffman codes alone, which on byte planes is 25 times faster.
    """
    smallest, nbytes = None, len(data)
    forms: list[tuple[str, arrays.Bytes | Planes]] = [("deflated", data)]
    if itemsize > 1:
        forms.append(("planes", Planes(data, itemsize)))
    for method, plain in forms:
        for search in (False, True) if _search_may_pay(plain) else (False,):
            deflated = deflate_chunks((plain[block].data for block in arrays.blocks(len(plain))), search, nbytes)
            if deflated is not None:
                smallest, nbytes = Block(method, deflated), len(deflated)
    return smallest or Block("plain", b"".join(data[block].data for block in arrays.blocks(len(data))))


def _search_may_pay(data: arrays.Bytes | Planes) -> bool:
    """Whether DEFLATE's search for repeats may make `data` smaller, by a probe from its middle."""
    if len(data) <= PROBE:
        return True
    start = (len(data) - PROBE) // 2
    sample = data[start : start + PROBE].data
    return len(deflate(sample)) < len(deflate(sample, search=False))


def may_be_below(data: arrays.Bytes, itemsize: int, nbytes: float, probes: int = 1) -> bool:
    """Whether `data` (uint8, flat) may take less than `nbytes` as a block, by evenly spread probes.

    A single probe is taken from the middle. What no further probe could change is not probed for.
    """

    def packed_of(number: int) -> int:
        start = (len(data) - PROBE) * (2 * number + 1) // (2 * probes) // itemsize * itemsize
        part = data[start : start + PROBE]
        return limit if _is_clearly_above(part, itemsize, limit) else len(encode(part, itemsize).data)

    if len(data) <= PROBE:
        return len(encode(data, itemsize).data) < nbytes
    packed, limit = 0, math.ceil(nbytes / len(data) * PROBE * probes)
    for size in each_ahead(packed_of, range(probes), TOGETHER):
        packed += size
        if packed >= limit:
            return False
    return True


def _is_clearly_above(data: np.ndarray, itemsize: int, limit: float) -> bool:
    """Whether `data` takes `limit` bytes or more as a block, by far, so that no thorough search is needed to tell."""
    forms = [data] if itemsize == 1 else [data, Planes(data, itemsize)[:]]
    return all(quickly_deflated(form.data) >= QUICK_MARGIN * limit for form in forms)


def decode(block: Block, nbytes: int, itemsize: int) -> np.ndarray:
    """The `nbytes` bytes (uint8) that a block holds.

    Raises CorruptFile `deflate`, or `block-length` where it holds another number.
    """
    if block.method == "plain":
        if len(block.data) != nbytes:
            raise CorruptFile("block-length", f"{len(block.data)} plain bytes where {nbytes} belong")
        return np.frombuffer(block.data, np.uint8)
    whole = block.method != "planes" or nbytes % itemsize == 0
    if nbytes > MAX_EXPANSION * len(block.data) or not whole:  # before memory of that size is allocated
        raise CorruptFile("deflate", f"{len(block.data)} deflated bytes cannot hold {nbytes}")
    plain = np.empty(nbytes, np.uint8)
    planes = plain.reshape(-1, itemsize).T if block.method == "planes" else plain[None, :]
    done = 0
    for chunk in inflate_chunks(block.data, nbytes):
        rest = np.frombuffer(chunk, np.uint8)
        while len(rest):
            plane, first = divmod(done, planes.shape[1])
            fitting = rest[: planes.shape[1] - first]
            planes[plane, first : first + len(fitting)] = fitting
            done, rest = done + len(fitting), rest[len(fitting) :]
    return plain
