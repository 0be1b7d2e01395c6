"""What is made of a big tensor, slice by slice: none of these holds as much memory as it stands for.

    kept = Numbers(patterns, dtype, mask)     kept[65536:131072]   the next 65,536 of the kept weights, as floats

Each has a length, and gives an array for a slice of it. So does a plain array: whoever asks for slices takes either.
"""

from collections.abc import Callable, Iterator

import numpy as np

from .tensor import Dtype, values

BLOCK = 1 << 16  # elements at a time: what is made of them on the way stays in cache
WIDE_BLOCK = 1 << 20  # the same where it is only moved
GATHER_LIMIT = 1 << 21  # numbers that are gathered once and for all: to look them up again and again takes longer


def blocks(length: int, size: int = WIDE_BLOCK) -> Iterator[slice]:
    """Slices of so many elements, one behind the other."""
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


class KeptPositions:
    """The kept places of `mask` (bool, flat) in order, as int64; `rank` says how many there are before a place."""

    def __init__(self, mask: np.ndarray):
        self.mask = mask
        counts = [np.count_nonzero(mask[part]) for part in blocks(len(mask), BLOCK)]
        self._before = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    def __len__(self) -> int:
        return int(self._before[-1])

    def rank(self, place: int) -> int:
        """How many kept places lie before this one."""
        block = place // BLOCK
        return int(self._before[block]) + np.count_nonzero(self.mask[block * BLOCK : place])

    def within(self, part: slice) -> tuple[slice, slice]:
        """The stretch of whole blocks where the kept places of these ranks lie, and what to take of its kept ones."""
        start, stop, _ = part.indices(len(self))
        if start >= stop:
            return slice(0, 0), slice(0, 0)
        first = int(np.searchsorted(self._before, start, "right")) - 1
        last = int(np.searchsorted(self._before, stop, "left"))
        before = int(self._before[first])
        return slice(first * BLOCK, min(last * BLOCK, len(self.mask))), slice(start - before, stop - before)

    def __getitem__(self, part: slice) -> np.ndarray:
        stretch, taken = self.within(part)
        return np.flatnonzero(self.mask[stretch])[taken] + stretch.start


class LazyValues:
    """The numbers (see tensor.values) that bit `patterns` of `dtype` stand for, or the patterns themselves for None:
    all, or those at the kept places of `mask` (bool, flat)."""

    def __init__(self, patterns: np.ndarray, dtype: Dtype | None, mask: np.ndarray | None = None):
        self._patterns, self._dtype = patterns, dtype
        self.places = None if mask is None else KeptPositions(mask)
        if self.places is not None and len(self.places) == len(mask):
            self.places = None
        self._gathered = None
        if len(self) <= GATHER_LIMIT:
            self._gathered = self._make(slice(None))

    def __len__(self) -> int:
        return len(self._patterns) if self.places is None else len(self.places)

    def __getitem__(self, part: slice) -> np.ndarray:
        return self._make(part) if self._gathered is None else self._gathered[part]

    def _make(self, part: slice) -> np.ndarray:
        if self.places is None:
            found = self._patterns[part]
        else:
            stretch, taken = self.places.within(part)
            found = self._patterns[stretch][self.places.mask[stretch]][taken]
        return found if self._dtype is None else values(found, self._dtype)

    def select(self, mask: np.ndarray) -> "LazyValues":
        """Those at the true places of `mask` (bool, one for each of these numbers)."""
        if self.places is not None:
            mask = expand_mask(mask, self.places)
        return LazyValues(self._patterns, self._dtype, mask)


def expand_mask(mask: np.ndarray, places: KeptPositions) -> np.ndarray:
    """`mask` (bool, one for each kept place) over all places, false elsewhere."""
    found = places.mask.copy()
    found[found] = mask
    return found


def select(weights, mask: np.ndarray):
    """The weights (Numbers or array) at the true places of `mask`; no copy of Numbers."""
    return weights.select(mask) if isinstance(weights, LazyValues) else weights[mask]


def mask_where(weights, test: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The mask (bool) of the weights that pass a test."""
    mask = np.empty(len(weights), bool)
    for part in blocks(len(weights)):
        mask[part] = test(weights[part])
    return mask


def scattered_sample(length: int, every: int) -> np.ndarray | slice:
    """One place (int64) in each stretch of `every`, at no fixed distance: what lies in step, as the columns of a matrix
    or the weights of a kernel do, has its turn. By multiples of the golden ratio, the same on every machine."""
    if every == 1:
        return slice(None)
    stretch = np.arange(-(-length // every))
    jump = (stretch * 0x9E3779B9 & 0xFFFFFFFF) * every >> 32
    return np.minimum(stretch * every + jump, length - 1)


def extremes(weights) -> tuple[float, float]:
    """The least and the greatest of the weights (not empty)."""
    ends = [(part.min(), part.max()) for part in (weights[part] for part in blocks(len(weights)))]
    return float(min(low for low, _ in ends)), float(max(high for _, high in ends))


class LazyBytes:
    """The bytes (uint8) of so many `elements` of `itemsize` bytes: `make` gives a slice of these when asked for it."""

    def __init__(self, elements: int, itemsize: int, make: Callable[[slice], np.ndarray]):
        self._elements, self._itemsize, self._make = elements, itemsize, make

    def __len__(self) -> int:
        return self._elements * self._itemsize

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, _ = part.indices(len(self))
        size = self._itemsize
        first, last = start // size, -(-stop // size)
        data = self._make(slice(first, max(first, last))).view(np.uint8)
        return data[start - first * size : stop - first * size]


def remap(table: np.ndarray, codes: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """table[codes] for codes (uint8, flat), which numpy would widen to 64 bits all at once; into `out`, which may be
    `codes`. Where that changes no code and `out` is none but these, they themselves."""
    same = table.dtype == np.uint8 and np.array_equal(table, np.arange(len(table)))
    if same and (out is None or out is codes):
        return codes
    found = np.empty(len(codes), table.dtype) if out is None else out
    for part in blocks(len(codes), BLOCK):
        found[part] = table.take(codes[part])
    return found


def count_codes(codes: np.ndarray) -> np.ndarray:
    """How often each code (uint8, flat) occurs, up to the greatest that does -> int64."""
    pairs = codes[: len(codes) // 2 * 2].view(np.uint16) if len(codes) > BLOCK else np.empty(0, np.uint16)
    joint = np.zeros((256, 256), np.int64)
    for part in blocks(len(pairs), 2 * BLOCK):
        joint += np.bincount(pairs[part], minlength=joint.size).reshape(joint.shape)
    rest = np.bincount(codes[2 * len(pairs) :], minlength=256)
    return np.trim_zeros(joint.sum(axis=0) + joint.sum(axis=1) + rest, "b")
