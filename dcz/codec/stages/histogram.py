"""Weights in 2^16 equal bins: counts and sums of any cell in a few look-ups, however many the weights.

    histogram = Histogram(weights)
    edges = histogram.edges(thresholds)
    histogram.between(histogram.total, edges) / histogram.between(histogram.count, edges)      the mean of each cell

Sums run in a fixed order: the same weights give the same totals on every machine.
"""

from collections.abc import Iterator

import numpy as np

from ... import arrays

BINS = 1 << 16
BLOCK = 1 << 16  # weights at a time, so that what is made of them on the way stays in cache
TAIL = 64  # one weight in so many is the last before a tail
MIXED = 1 << 8  # no code: a bin that holds a threshold


class Histogram:
    """Counts and sums of weights (float, flat, finite; an array or arrays.LazyValues) in equal bins, as running totals.

    An edge (int64) is a number of bins from the left; the totals at an edge are those of all bins before it. With
    `importance` (float64, one a weight) a weight counts that often. Of many weights one in `every` is enough, which
    counts for so many, but for the tails, where each may matter.
    """

    def __init__(self, weights: np.ndarray, importance: np.ndarray | None = None, every: int = 1):
        self.low, self.high = arrays.extremes(weights)
        self.scale = (BINS - 1) / (self.high - self.low) if self.high > self.low else 0.0
        count, total = np.zeros(BINS), np.zeros(BINS)
        core = _core(weights) if every > 1 else (-np.inf, np.inf)
        for piece in arrays.blocks(len(weights), BLOCK * min(every, 16)):
            part, often = weights[piece], None if importance is None else importance[piece]
            for times, taken in _taken(part, every, *core):
                some, mass = part[taken], None if often is None else often[taken]
                place = self.bins(some)
                count += times * np.bincount(place, mass, BINS)
                total += times * np.bincount(place, some if mass is None else some * mass, BINS)
        self.count, self.total = np.append(0.0, np.cumsum(count)), np.append(0.0, np.cumsum(total))

    def bins(self, weights: np.ndarray) -> np.ndarray:
        """The bin (int64) of each of the histogram's own weights, or of values between these: monotone in the value."""
        place = np.subtract(weights, self.low, dtype=np.float64)  # their span may be beyond float32, and so the scale
        place *= self.scale
        return place.astype(np.int64)

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
        mixed_bins = self.bins(np.clip(thresholds, self.low, self.high))
        table = np.cumsum(np.bincount(mixed_bins + 1, minlength=BINS + 1)[: BINS + 1])[:BINS].astype(np.uint16)
        table[mixed_bins] = MIXED
        codes = np.empty(len(weights), np.uint8)
        for start in range(0, len(weights), BLOCK):
            part = weights[start : start + BLOCK]
            found = table.take(self.bins(part), mode="clip")  # all lie within, and "raise" would look again
            unsure = np.flatnonzero(found == MIXED)
            code = codes[start : start + BLOCK]
            code[:] = found
            code[unsure] = np.searchsorted(thresholds, part[unsure])
        return codes


def _core(weights: np.ndarray) -> tuple[float, float]:
    """Between which values most of the weights lie."""
    every, some = max(1, len(weights) // BLOCK), []
    for piece in arrays.blocks(len(weights)):
        part = weights[piece]
        some.append(part[arrays.scattered_sample(len(part), every)])
    some = np.sort(np.concatenate(some))
    tail = len(some) // TAIL
    return float(some[tail]), float(some[-1 - tail])


def _taken(weights: np.ndarray, every: int, low: float, high: float) -> Iterator[tuple[int, np.ndarray | slice]]:
    """Which of the weights to count, and how often: one in `every` from `low` to `high`, and all others once."""
    if every == 1:
        yield 1, slice(None)  # which copies nothing
        return
    outside = weights < low
    outside |= weights > high
    places = arrays.scattered_sample(len(weights), every)
    yield every, places[~outside[places]]
    yield 1, np.flatnonzero(outside)
