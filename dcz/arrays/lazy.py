"""Sequences that have a length, and compute the array of a slice; and functions that read these or arrays by slices.

kept = LazyValues(patterns, dtype, mask)     kept[65536:131072]   the next 65,536 of the kept weights, as floats
"""

import functools
from collections.abc import Callable

import numpy as np

from ..tensor import Dtype, values
from .blocks import NARROW_BLOCK, WIDE_BLOCK, over_blocks, scattered_sample
from .kept import KeptPositions, are_few, expand_mask


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


def select(weights: Weights, mask: np.ndarray) -> Weights:
    """The weights at the true positions of `mask` (bool); LazyValues stay lazy."""
    return weights.select(mask) if isinstance(weights, LazyValues) else weights[mask]


def mask_where(weights: Weights, test: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The mask (bool) of the weights for which `test`, applied to blocks of them, is true."""
    mask = np.empty(len(weights), bool)

    def fill(block: slice) -> None:
        mask[block] = test(weights[block])

    over_blocks(fill, len(weights), NARROW_BLOCK)
    return mask


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
