"""Positions at which a mask is true."""

import numpy as np

from .blocks import BLOCK, over_blocks

SPARSE_MASK = 32  # of so many elements of a mask one is true, where it does not matter how true ones are found
# Values and positions up to which they are computed once, as computing slices again and again is slower: so many, or a
# share of the tensor that memory allows for.
GATHER_LIMIT, GATHERED_SHARE = 1 << 21, 8


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


def expand_mask(mask: np.ndarray, positions: KeptPositions) -> np.ndarray:
    """`mask` (bool, one for each kept position) over all positions, false at the others."""
    expanded = positions.mask.copy()
    expanded[expanded] = mask
    return expanded
