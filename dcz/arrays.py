"""Arrays computed block by block: large tensors are read, compared and looked up without a copy of their length.

    kept = LazyValues(patterns, dtype, mask)     kept[65536:131072]   the next 65,536 of the kept weights, as floats

The lazy sequences have a length and compute the array of a slice; functions that read by slices take them or arrays.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from .parallel import each, each_ahead
from .tensor import Dtype, values

R = TypeVar("R")

BLOCK = 1 << 17  # elements at a time: intermediate arrays of a block stay in cache
# The same where these have four bytes an element or less. Whenever numpy begins or ends work on an array, a thread may
# have to wait for another one: the fewer and the longer these are, the better two threads work side by side.
NARROW_BLOCK = 1 << 18
WIDE_BLOCK = 1 << 20  # elements at a time where they are only copied
MAX_TILED = 1 << 12  # places up to which those of a block are made by repetition
SPARSE_MASK = 32  # of so many elements of a mask one is true, where it does not matter how true ones are found
PARTS = 16  # of an array, at most, where the result of each is large
# Values and positions up to which they are computed once, as computing slices again and again is slower: so many, or a
# share of the tensor that memory allows for.
GATHER_LIMIT, GATHERED_SHARE = 1 << 21, 8


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


def true_places(mask: np.ndarray) -> np.ndarray:
    """np.flatnonzero of a mask (bool, flat).

    numpy looks for one true element after another where at most a tenth are true, which a processor cannot foresee;
    with more of them it does without branches, and is twice as fast.
    """
    count, length = int(np.count_nonzero(mask)), len(mask)
    if not length // SPARSE_MASK < count <= length // 10 + 1:
        return np.flatnonzero(mask)
    more = np.ones(length // 8 + 1, bool)
    found: np.ndarray = np.concatenate([mask, more]).nonzero()[0][:count]
    return found


def are_few(count: int, length: int) -> bool:
    """Whether so many values or positions, of a tensor of so many elements, stay in memory."""
    return count <= max(GATHER_LIMIT, length // GATHERED_SHARE)


class KeptPositions:
    """The positions (int64, ascending) where `mask` (bool, flat) is true, without an array of all of them where these
    are many: finding them again and again takes longer than all that is done with few of them."""

    def __init__(self, mask: np.ndarray):
        self.mask = mask
        counts = over_blocks(lambda block: np.count_nonzero(mask[block]), len(mask))
        self._before = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])  # kept positions before each block
        self._found: np.ndarray | None = None
        if are_few(len(self), len(mask)):
            self._found = self._all()

    def _all(self) -> np.ndarray:
        """All positions, of four bytes each where these hold them."""
        found = np.empty(len(self), np.min_scalar_type(max(1 << 16, len(self.mask))))

        def fill(block: slice) -> None:
            number = block.start // BLOCK
            places = true_places(self.mask[block])
            np.add(places, block.start, out=found[self._before[number] : self._before[number + 1]], casting="unsafe")

        over_blocks(fill, len(self.mask))
        return found

    def __len__(self) -> int:
        return int(self._before[-1])

    @property
    def are_found(self) -> bool:
        """Whether all of them stay in memory."""
        return self._found is not None

    def rank(self, position: int) -> int:
        """The number of kept positions before `position`."""
        if self._found is not None:
            return int(np.searchsorted(self._found, self._found.dtype.type(position)))  # another type would copy all
        block = position // BLOCK
        return int(self._before[block]) + int(np.count_nonzero(self.mask[block * BLOCK : position]))

    def locate(self, ranks: slice) -> tuple[slice, slice]:
        """The range of whole blocks that holds the kept positions of these ranks, and their slice of its kept ones."""
        start, stop, _ = ranks.indices(len(self))
        if start >= stop:
            return slice(0, 0), slice(0, 0)
        first = int(np.searchsorted(self._before, start, "right")) - 1
        last = int(np.searchsorted(self._before, stop, "left"))
        before = int(self._before[first])
        return slice(first * BLOCK, min(last * BLOCK, len(self.mask))), slice(start - before, stop - before)

    def within(self, block: slice) -> np.ndarray:
        """The places (int64) in a block of all positions, counted from its start, that are kept."""
        if self._found is None:
            return true_places(self.mask[block])
        start, stop, _ = block.indices(len(self.mask))
        places: np.ndarray = np.subtract(self._found[self.rank(start) : self.rank(stop)], start, dtype=np.intp)
        return places

    def __getitem__(self, ranks: slice) -> np.ndarray:
        if self._found is not None:
            return self._found[ranks].astype(np.intp)
        covering, selected = self.locate(ranks)
        positions: np.ndarray = true_places(self.mask[covering])[selected] + covering.start
        return positions


class LazyValues:
    """The values (see tensor.values) of bit `patterns` of `dtype`, or, with `dtype` None, the patterns themselves.

    With `mask` (bool, flat), those at its true positions only.
    """

    def __init__(self, patterns: np.ndarray, dtype: Dtype | None, mask: np.ndarray | None = None):
        self._patterns, self._dtype = patterns, dtype
        self.positions = None if mask is None else KeptPositions(mask)
        if mask is not None and self.positions is not None and len(self.positions) == len(mask):
            self.positions = None
        self._gathered: np.ndarray | None = None
        if are_few(len(self), len(patterns)):
            self._gathered = self._gather() if self.positions is not None else self._compute(slice(None))

    def _gather(self) -> np.ndarray:
        """All values at the true positions of the mask."""
        assert self.positions is not None, "a mask says which"
        positions, gathered = self.positions, np.empty(len(self.positions), self._patterns.dtype)

        def fill(ranks: slice) -> None:
            np.take(self._patterns, positions[ranks], out=gathered[ranks], mode="clip")

        over_blocks(fill, len(positions))
        return gathered if self._dtype is None else values(gathered, self._dtype)

    @functools.cached_property
    def extremes(self) -> tuple[float, float]:
        """The smallest and the largest of the values (not empty)."""
        return _extremes(self)

    def __len__(self) -> int:
        return len(self._patterns) if self.positions is None else len(self.positions)

    def __getitem__(self, block: slice) -> np.ndarray:
        return self._compute(block) if self._gathered is None else self._gathered[block]

    def _compute(self, block: slice) -> np.ndarray:
        if self.positions is None:
            patterns = self._patterns[block]
        else:
            patterns = self._patterns.take(self.positions[block], mode="clip")  # all are within
        return patterns if self._dtype is None else values(patterns, self._dtype)

    def select(self, mask: np.ndarray) -> "LazyValues":
        """The values at the true positions of `mask` (bool, one for each of these values)."""
        if self.positions is not None:
            mask = expand_mask(mask, self.positions)
        return LazyValues(self._patterns, self._dtype, mask)


Weights = np.ndarray | LazyValues  # weights (float, flat), or bit patterns, that are read by slices


def expand_mask(mask: np.ndarray, positions: KeptPositions) -> np.ndarray:
    """`mask` (bool, one for each kept position) over all positions, false at the others."""
    expanded = positions.mask.copy()
    expanded[expanded] = mask
    return expanded


def select(weights: Weights, mask: np.ndarray) -> Weights:
    """The weights at the true positions of `mask` (bool); LazyValues stay lazy."""
    return weights.select(mask) if isinstance(weights, LazyValues) else weights[mask]


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


def mask_where(weights: Weights, test: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The mask (bool) of the weights for which `test`, applied to blocks of them, is true."""
    mask = np.empty(len(weights), bool)

    def fill(block: slice) -> None:
        mask[block] = test(weights[block])

    over_blocks(fill, len(weights), NARROW_BLOCK)
    return mask


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


def sample(weights: Weights, count: int) -> np.ndarray:
    """About `count` of the weights, evenly spread, or all where there are less than twice as many."""
    every = max(1, len(weights) // count)

    def sample_of(block: slice) -> np.ndarray:
        chunk = weights[block]
        return chunk if every == 1 else chunk[scattered_sample(len(chunk), every)]

    return np.concatenate(over_blocks(sample_of, len(weights), WIDE_BLOCK) or [weights[:]])


def extremes(weights: Weights) -> tuple[float, float]:
    """The smallest and the largest of the weights (not empty)."""
    return weights.extremes if isinstance(weights, LazyValues) else _extremes(weights)


def _extremes(weights: Weights) -> tuple[float, float]:

    def ends_of(block: slice) -> tuple[float, float]:
        chunk = weights[block]
        return chunk.min(), chunk.max()

    ends = over_blocks(ends_of, len(weights), NARROW_BLOCK)
    return float(min(low for low, _ in ends)), float(max(high for _, high in ends))


class LazyBytes:
    """The bytes (uint8) of `elements` elements of `itemsize` bytes each; `compute` returns a slice of the elements."""

    def __init__(self, elements: int, itemsize: int, compute: Callable[[slice], np.ndarray]):
        self._elements, self._itemsize, self._compute = elements, itemsize, compute

    def __len__(self) -> int:
        return self._elements * self._itemsize

    def __getitem__(self, block: slice) -> np.ndarray:
        start, stop, _ = block.indices(len(self))
        size = self._itemsize
        first, last = start // size, -(-stop // size)
        data = self._compute(slice(first, max(first, last))).view(np.uint8)
        return data[start - first * size : stop - first * size]


Bytes = np.ndarray | LazyBytes  # bytes (uint8, flat) that are read by slices
