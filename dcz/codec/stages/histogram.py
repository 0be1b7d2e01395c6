"""Weights in 2^16 equal bins: counts and sums of any cell of a quantizer in a few look-ups, however many the weights.

    histogram = Histogram(weights)
    edges = histogram.edges(thresholds)
    histogram.between(histogram.total, edges) / histogram.between(histogram.count, edges)      the mean of each cell

Sums are added in a fixed order: the same weights give the same totals on every machine.
"""

from collections.abc import Iterator

import numpy as np

from ... import arrays

BINS = 1 << 16
SAMPLED = 1 << 20  # weights at a time of which a sample is taken
TAIL = 64  # one weight in TAIL lies in each tail, where no weight is left out of a sample
COMPARE = 1 << 8  # marks, in a table of codes, a bin that holds a threshold: its weights must be compared


class Histogram:
    """Counts and sums of weights (float, flat, finite; an array or arrays.LazyValues) in equal bins, as running totals.

    An edge (int64) is a number of bins from the left; the totals at an edge are those of all bins before it. A weight
    counts as often as its `importance` (float64, one a weight) says; None: once. With `every` > 1, one weight in
    `every` is sampled and counts `every` times, but for the tails, where each weight may matter.
    """

    def __init__(self, weights: arrays.Weights, importance: np.ndarray | None = None, every: int = 1):
        self.low, self.high = arrays.extremes(weights)
        self.is_sample = every > 1
        self.scale = (BINS - 1) / (self.high - self.low) if self.high > self.low else 0.0
        count, total = np.zeros(BINS), np.zeros(BINS)
        low, high = _central_range(weights) if every > 1 else (-np.inf, np.inf)
        sampled = arrays.scattered_sample(SAMPLED, every) if every > 1 else None

        def sums_of(part: slice) -> tuple[np.ndarray, np.ndarray]:
            """Count and total of the weights of a part."""
            count, total = np.zeros(BINS), np.zeros(BINS)
            for block in arrays.blocks_of(part, SAMPLED if every > 1 else arrays.BLOCK):
                chunk, chunk_importance = weights[block], None if importance is None else importance[block]
                for multiplicity, selected in _samples(chunk, every, low, high, sampled):
                    sample = chunk[selected]
                    counts = None if chunk_importance is None else chunk_importance[selected]
                    bins = self.bins(sample)
                    count += multiplicity * np.bincount(bins, counts, BINS)
                    total += multiplicity * np.bincount(bins, sample if counts is None else sample * counts, BINS)
            return count, total

        for part_count, part_total in arrays.over_parts(sums_of, len(weights)):
            count += part_count
            total += part_total
        self.count, self.total = np.append(0.0, np.cumsum(count)), np.append(0.0, np.cumsum(total))

    def bins(self, weights: np.ndarray) -> np.ndarray:
        """The bin (int64) of each of the histogram's own weights, or of values between these: monotone in the value."""
        scaled: np.ndarray = np.subtract(weights, self.low, dtype=np.float64)  # span and scale may exceed float32
        scaled *= self.scale
        return scaled.astype(np.int64)

    def _coarse_bins(self, weights: np.ndarray) -> np.ndarray:
        """About the bin (uint16), as float32 has it: in half the time, monotone in the value too, which is all that
        codes need."""
        scaled: np.ndarray = np.subtract(weights, np.float32(self.low), dtype=np.float32, casting="same_kind")
        scaled *= np.float32(self.scale)
        bins: np.ndarray = scaled.astype(np.uint16)
        return bins

    @property
    def _fits_float32(self) -> bool:
        """Whether neither the span of the weights nor the scale is beyond what float32 has at full precision."""
        least, most = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
        return self.high - self.low < most and least < self.scale < most

    def edges(self, thresholds: np.ndarray) -> np.ndarray:
        """The edge nearest to each threshold (float64), ascending where the thresholds are."""
        scaled = np.rint((thresholds - self.low) * self.scale)
        return np.clip(scaled, 0, BINS).astype(np.int64)

    def between(self, running: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Sums of one of the running totals over the k + 1 cells that k edges separate."""
        return np.diff(running[np.concatenate([[0], edges, [BINS]])])

    def squared_error(self, edges: np.ndarray, centroids: np.ndarray) -> float:
        """About the squared error of `centroids` (float64), one for each of the k + 1 cells that k edges separate."""
        middle = self.low + (np.arange(BINS) + 0.5) / self.scale if self.scale else np.full(BINS, self.low)
        width = np.diff(np.concatenate([[0], edges, [BINS]]))
        errors = np.diff(self.count) * np.square(middle - np.repeat(centroids, width))
        return float(np.cumsum(errors)[-1])  # in a fixed order

    def quantiles(self, density: np.ndarray, fractions: np.ndarray) -> np.ndarray:
        """The values (float64) below which lie these `fractions` (0 to 1) of a `density` (float64, one a bin)."""
        running = np.cumsum(density)
        bins = np.searchsorted(running, fractions * running[-1])
        values: np.ndarray = self.low + (bins / self.scale if self.scale else 0.0 * bins)
        return values

    def codes(self, weights: arrays.Weights, thresholds: np.ndarray) -> np.ndarray:
        """The code (uint8) of each weight: the number of `thresholds` (float64, ascending) below it.

        A table gives the code of every bin that holds no threshold; only weights in the other bins are compared.
        """
        bins = self._coarse_bins if weights[:1].dtype == np.float32 and self._fits_float32 else self.bins
        compared_bins = bins(np.clip(thresholds, self.low, self.high)).astype(np.int64)
        table = np.cumsum(np.bincount(compared_bins + 1, minlength=BINS + 1)[: BINS + 1])[:BINS].astype(np.uint16)
        table[compared_bins] = COMPARE
        codes = np.empty(len(weights), np.uint8)

        def fill(block: slice) -> None:
            chunk = weights[block]
            looked_up = table.take(bins(chunk), mode="clip")  # all are within: "raise" would check them again
            compared = np.flatnonzero(looked_up == COMPARE)
            code = codes[block]
            code[:] = looked_up
            code[compared] = np.searchsorted(thresholds, chunk[compared])

        arrays.over_blocks(fill, len(weights), arrays.NARROW_BLOCK)
        return codes


def _central_range(weights: arrays.Weights) -> tuple[float, float]:
    """The values between which all weights but the tails lie, by a sample."""
    sample = np.sort(arrays.sample(weights, BINS))
    tail = len(sample) // TAIL
    return float(sample[tail]), float(sample[-1 - tail])


def _samples(
    weights: np.ndarray, every: int, low: float, high: float, sampled: np.ndarray | None
) -> Iterator[tuple[int, np.ndarray | slice]]:
    """How often to count, and which weights: one in `every` of those from `low` to `high`, and each of the others.

    `sampled`: the places of a sample of SAMPLED weights, where there are as many.
    """
    if every == 1:
        yield 1, slice(None)  # no copy
        return
    outside: np.ndarray = weights < low
    outside |= weights > high
    positions = sampled if len(weights) == SAMPLED and sampled is not None else None
    positions = arrays.scattered_sample(len(weights), every) if positions is None else positions
    yield every, positions[~outside[positions]]
    yield 1, np.flatnonzero(outside)
