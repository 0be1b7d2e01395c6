"""Weights in 2^16 equal bins: counts and sums of any cell in a few look-ups, however many the weights.

    histogram = Histogram(weights)
    edges = histogram.edges(thresholds)
    histogram.between(histogram.total, edges) / histogram.between(histogram.count, edges)      the mean of each cell

Sums run in a fixed order: the same weights give the same totals on every machine.

`count_codes` does for codes what the histogram does for weights.
"""

import numpy as np

BINS = 1 << 16
BLOCK = 1 << 16  # weights at a time, so that what is made of them on the way stays in cache


def count_codes(codes: np.ndarray, least: int = 0) -> np.ndarray:
    """How often each code (uint8) occurs (int64), as np.bincount has it, for `least` codes at least.

    bincount widens its input to 64 bits: of all codes at once, that would be eight times their memory.
    """
    counts = np.zeros(256, np.int64)
    for start in range(0, len(codes), BLOCK):
        counts += np.bincount(codes[start : start + BLOCK], minlength=256)
    used = np.flatnonzero(counts)
    return counts[: max(least, int(used[-1]) + 1 if len(used) else 0)]


class Histogram:
    """Counts and sums of weights (float, flat, finite) in equal bins, as running totals.

    An edge (int64) is a number of bins from the left; the totals at an edge are those of all bins before it. With
    `importance` (float64, one a weight) a weight counts that often.
    """

    def __init__(self, weights: np.ndarray, importance: np.ndarray | None = None):
        self.low, self.high = float(weights.min()), float(weights.max())
        self.scale = (BINS - 1) / (self.high - self.low) if self.high > self.low else 0.0
        count, total = np.zeros(BINS), np.zeros(BINS)
        for start in range(0, len(weights), BLOCK):
            part = weights[start : start + BLOCK]
            place = self.bins(part)
            if importance is None:
                count += np.bincount(place, minlength=BINS)
                total += np.bincount(place, part, BINS)
            else:
                often = importance[start : start + BLOCK]
                count += np.bincount(place, often, BINS)
                total += np.bincount(place, part * often, BINS)
        self.count, self.total = np.append(0.0, np.cumsum(count)), np.append(0.0, np.cumsum(total))

    def bins(self, weights: np.ndarray) -> np.ndarray:
        """The bin of each weight: monotone in the weight, and clipped to the histogram."""
        place = weights.astype(np.float64)  # the span of float32 weights may be beyond float32, and so may the scale
        place -= self.low
        place *= self.scale
        return np.clip(place, 0, BINS - 1, out=place).astype(np.int32)

    def edges(self, thresholds: np.ndarray) -> np.ndarray:
        """The edge nearest to each threshold (float64), ascending where the thresholds are."""
        place = np.rint((thresholds - self.low) * self.scale)
        return np.clip(place, 0, BINS).astype(np.int64)

    def between(self, running: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Sums of one of the running totals over the k + 1 cells that k edges cut."""
        return np.diff(running[np.concatenate([[0], edges, [BINS]])])

    def quantiles(self, mass: np.ndarray, at: np.ndarray) -> np.ndarray:
        """The values (float64) left of which lie these shares `at` (0 to 1) of a `mass` that each bin has (float64)."""
        running = np.cumsum(mass)
        place = np.searchsorted(running, at * running[-1])
        return self.low + (place / self.scale if self.scale else 0.0 * place)

    def codes(self, weights: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
        """The code (uint8) of each of the weights: the number of `thresholds` (float64, ascending) below it.

        A table gives the code of every bin that holds no threshold; only weights in the other bins are compared.
        """
        mixed_bins = self.bins(thresholds)
        table = np.cumsum(np.bincount(mixed_bins + 1, minlength=BINS + 1)[: BINS + 1])[:BINS].astype(np.uint8)
        mixed = np.zeros(BINS, bool)
        mixed[mixed_bins] = True
        codes = np.empty(len(weights), np.uint8)
        for start in range(0, len(weights), BLOCK):
            part = weights[start : start + BLOCK]
            place = self.bins(part)
            code = table[place]
            unsure = np.flatnonzero(mixed[place])
            code[unsure] = np.searchsorted(thresholds, part[unsure])
            codes[start : start + BLOCK] = code
        return codes
