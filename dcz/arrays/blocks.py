"""Blocks of flat arrays: slices, functions over them by several threads, and where their elements lie in a tensor.

over_blocks(lambda block: int(codes[block].sum()), len(codes))    partial sums, in the order of the blocks
"""

import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from ..parallel import each, each_ahead

R = TypeVar("R")

BLOCK = 1 << 17  # elements at a time: intermediate arrays of a block stay in cache
# The same where these have four bytes an element or less. Whenever numpy begins or ends work on an array, a thread may
# have to wait for another one: the fewer and the longer these are, the better two threads work side by side.
NARROW_BLOCK = 1 << 18
WIDE_BLOCK = 1 << 20  # elements at a time where they are only copied
MAX_TILED = 1 << 12  # places up to which those of a block are made by repetition
PARTS = 16  # of an array, at most, where the result of each is large


def blocks(length: int, size: int = WIDE_BLOCK) -> Iterator[slice]:
    """Consecutive slices of `size` elements that cover `length`; the last one may be shorter."""
    return blocks_of(slice(0, length), size)


def blocks_of(part: slice, size: int = BLOCK) -> Iterator[slice]:
    """The same for a part of an array."""
    return (slice(start, min(start + size, part.stop)) for start in range(part.start, part.stop, size))


def wide_blocks(length: int, size: int = BLOCK) -> Iterator[slice]:
    """Slices of about WIDE_BLOCK elements, of whole blocks of `size`, that cover `length`."""
    return blocks(length, -(-WIDE_BLOCK // size) * size)


def over_blocks(function: Callable[[slice], R], length: int, size: int = BLOCK) -> list[R]:
    """[function(block) for block in blocks(length, size)], by all threads that may help: see parallel.each.

    What `function` adds up is small, or goes into arrays that are there already; floats are added up here, in order.
    """

    def of_part(part: slice) -> list[R]:
        return [function(block) for block in blocks_of(part, size)]

    return [result for part in each(of_part, wide_blocks(length, size)) for result in part]


def over_parts(function: Callable[[slice], R], length: int, size: int = BLOCK) -> list[R]:
    """The same for at most PARTS parts of many whole blocks, whose results may be large: histograms, say. There are as
    many of them whatever the number of threads, so that sums come out the same."""
    size *= -(-max(WIDE_BLOCK, -(-length // PARTS)) // size)
    return each(function, blocks(length, size))


def gather(
    function: Callable[[slice], np.ndarray], length: int, count: int, dtype: "np.typing.DTypeLike"
) -> np.ndarray:
    """What `function` gives for blocks of so many elements, one behind the other (`dtype`, flat): `count` in all."""
    gathered, done = np.empty(count, dtype), 0
    for found in each_ahead(lambda part: [function(block) for block in blocks_of(part)], blocks(length)):
        for some in found:  # one piece of memory for all goes back to the system; thousands of small ones leave holes
            gathered[done : done + len(some)] = some
            done += len(some)
    assert done == count, "what was counted before is what is there"
    return gathered


def places(shape: tuple[int, ...], axis: int, block: slice) -> np.ndarray:
    """The place (int64) along `axis` of each element of a block, a slice that may have a step, of a flat tensor."""
    inner, count = math.prod(shape[axis + 1 :]), shape[axis]
    if (block.step or 1) > 1:
        strided: np.ndarray = np.arange(block.start, block.stop, block.step) // inner % count
        return strided
    first, last = block.start // inner, -(-block.stop // inner)
    if inner == 1 and count < MAX_TILED:  # without a division for each position
        repeated: np.ndarray = np.tile(np.arange(count), 2 + (last - first) // count)
        return repeated[first % count :][: last - first]
    numbers: np.ndarray = np.arange(first, last) % count
    if inner == 1:
        return numbers
    edges = np.clip(np.arange(first, last + 1) * inner, block.start, block.stop)
    return np.repeat(numbers, np.diff(edges))


def scattered_sample(length: int, every: int) -> np.ndarray:
    """One position (int64, ascending) in each interval of `every`, at varying distances.

    Periodic data, as the columns of a matrix or the weights of a kernel, is sampled evenly. The offsets are
    multiplicative hashes by the golden ratio (Knuth, TAOCP volume 3, section 6.4): the same on every machine.
    """
    interval = np.arange(-(-length // every))
    offset = (interval * 0x9E3779B9 & 0xFFFFFFFF) * every >> 32
    positions: np.ndarray = np.minimum(interval * every + offset, length - 1)
    return positions
