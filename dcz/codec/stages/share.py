"""Kept weights -> a few shared values and a code for each weight (spec, section 8; Deep Compression, section 3).

    weights  -1.0 0.1 0.9 1.1   2 bits   ->   centroids -1.0 0.1 1.0   codes 0 1 2 2

Two methods: `kmeans`, as in the paper; `entropy_constrained`, a uniform grid (grid.py) whose decisions weigh the error
against the length of the code, for codes that are Huffman-coded afterwards.

The iterations run on a histogram (histogram.py), so that their cost depends on the codebook and not on the number of
weights. Sums are added in a fixed order: the same weights give the same codebook on every machine.

Weights are arrays (float, flat, finite), or arrays.LazyValues, of which only a slice is in memory at a time.
"""

import math
from dataclasses import dataclass

import numpy as np

from ... import arrays
from ...encoded import MAX_ENTRIES
from . import entropy, grid, recode
from .histogram import BINS, Histogram

MAX_LEVEL = 1 << 11  # of the grid, as a multiple of the step: weights beyond are outliers, and get their own centroids
OUTLIER_CENTROIDS = 64
MIN_IMPORTANCE = 1e-3  # of the mean importance of a weight: below, a cell is empty
ENTRY_BITS = 32  # of a codebook that is no ramp
SAMPLE = 1 << 22  # weights that make the histogram of more than twice as many; those of the tails are all in it
MAX_ITERATIONS = 300  # of Lloyd's algorithm; weights of real layers settle after 20 to 200


@dataclass(frozen=True, eq=False)
class SharedWeights:
    """Centroids (float64, ascending, every one used), and the code of every weight (uint8, in the weights' order);
    how often each code was `counted`, where that is known."""

    centroids: np.ndarray
    codes: np.ndarray
    counted: np.ndarray | None = None

    @property
    def counts(self) -> np.ndarray:
        """How often each code occurs (int64, one a centroid)."""
        return recode.count_codes(self.codes) if self.counted is None else self.counted


# -- k-means ----------------------------------------------------------------------------------------------------------


def kmeans(
    weights: arrays.Weights, k: int, start: str = "cuberoot", seed: int = 0, importance: np.ndarray | None = None
) -> SharedWeights:
    """One-dimensional k-means of `weights` (float, flat, finite, not empty) with at most `k` <= 256 centroids.

    Lloyd's algorithm (Lloyd, "Least squares quantization in PCM", 1982). `importance` (float64, 0 or more, one a
    weight, not all 0) weighs the squared error of each weight; None: all alike.

    `start` is linear, density or forgy (Deep Compression, section 3.2), or cuberoot: quantiles of the cube root of the
    density, the optimum for many centroids (Panter and Dite, "Quantization distortion in pulse-count modulation",
    1951).
    """
    if importance is not None:  # at least a hundredth of the mean, so that no weight is ignored; then scaled to mean 1
        importance = np.maximum(importance / importance.mean(), 10 * MIN_IMPORTANCE)
        importance /= importance.mean()
    histogram = Histogram(weights, importance, every=max(1, len(weights) // SAMPLE))
    centroids = initial_centroids(histogram, k, start, seed)
    edges: np.ndarray | None = None
    for _ in range(MAX_ITERATIONS):
        before, edges = edges, histogram.edges((centroids[1:] + centroids[:-1]) / 2)
        if before is not None and np.array_equal(before, edges):
            break
        count, total = histogram.between(histogram.count, edges), histogram.between(histogram.total, edges)
        used = count > MIN_IMPORTANCE  # with importance, differences of running totals are not exactly zero
        centroids = np.where(used, total / np.where(used, count, 1), centroids)
        centroids = np.sort(centroids)  # an empty cell keeps its centroid, which a neighbour may have passed
    codes = histogram.codes(weights, (centroids[1:] + centroids[:-1]) / 2)
    if histogram.is_sample:  # whose means are those of all weights, to a thousandth of their distance and less
        return used_centroids(centroids, codes)
    return mean_centroids(weights, codes, importance)


def initial_centroids(histogram: Histogram, k: int, start: str, seed: int = 0) -> np.ndarray:
    """`k` starting centroids (float64, ascending): see `kmeans`."""
    if start == "linear":
        return np.linspace(histogram.low, histogram.high, k)
    midpoints = (np.arange(k) + 0.5) / k
    count = np.diff(histogram.count)
    if start == "density":
        return histogram.quantiles(count, midpoints)
    if start == "forgy":
        return histogram.quantiles(count, np.sort(np.random.default_rng(seed).random(k)))
    # The density at a bin is the count in a window about it: the fewer the weights, the wider. In too narrow a window
    # the isolated weights of the tails have no density, and the tails get too few centroids.
    half = round(BINS / 4 / histogram.count[-1] ** (1 / 3))
    bins = np.arange(BINS)
    smooth = histogram.count[np.minimum(bins + half + 1, BINS)] - histogram.count[np.maximum(bins - half, 0)]
    # Integers, so that neither the order of sums nor the last bit of a processor's cube root matters.
    return histogram.quantiles(np.rint(1024 * np.cbrt(smooth)), midpoints)


def mean_centroids(
    weights: arrays.Weights, codes: np.ndarray, importance: np.ndarray | None = None, zero: int | None = None
) -> SharedWeights:
    """The mean of the weights of each code that occurs, but 0 for the code `zero`; codes are renumbered without the
    others."""
    count, total = _code_sums(weights, codes, importance)
    used = np.flatnonzero(count)
    counted = count[used].astype(np.int64) if importance is None else None
    means = np.where(used == zero, 0.0, total[used] / count[used])
    return SharedWeights(means, _renumber(codes, used), counted)


def used_centroids(centroids: np.ndarray, codes: np.ndarray, counted: np.ndarray | None = None) -> SharedWeights:
    """The centroids whose codes occur; codes are renumbered without the others. `counted`: how often each code occurs,
    where that is known."""
    count = recode.count_codes(codes) if counted is None else counted
    used = np.flatnonzero(count)
    return SharedWeights(centroids[used], _renumber(codes, used), count[used])


def _code_sums(
    weights: arrays.Weights, codes: np.ndarray, importance: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The number of weights of each code, and their sum (float64[256] each), each weight times its importance."""

    def sums_of(block: slice) -> tuple[np.ndarray, np.ndarray]:
        """Those of a block, whose codes and weights are 64 bits wide in cache."""
        # As wide as bincount takes them, which would widen them twice.
        code, counts = codes[block].astype(np.intp), None if importance is None else importance[block]
        values = weights[block] if counts is None else weights[block] * counts
        return np.bincount(code, counts, MAX_ENTRIES), np.bincount(code, values, MAX_ENTRIES)

    count, total = np.zeros(MAX_ENTRIES), np.zeros(MAX_ENTRIES)
    for block_count, block_total in arrays.over_blocks(sums_of, len(weights)):
        count += block_count
        total += block_total
    return count, total


def _renumber(codes: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Codes as indices into `used`, the codes that occur, ascending."""
    if used[-1] == len(used) - 1:
        return codes
    return recode.remap(np.searchsorted(used, np.arange(MAX_ENTRIES)).astype(np.uint8), codes)


# -- entropy-constrained ----------------------------------------------------------------------------------------------


def entropy_constrained(
    weights: arrays.Weights, step: float, zeros: int = 0, max_entries: int = MAX_ENTRIES
) -> SharedWeights:
    """Round `weights` (float, flat, finite, not empty) to multiples of `step`, biased towards the frequent ones.

    A weight goes to the level with the least squared error + slope * bits of its code, the slope being that of the
    rate-distortion curve at this step: see grid.fit. `zeros` more weights are known to be zero: they shorten the code
    of zero.

    The centroids are the levels themselves, a ramp, or the means of their weights (of many, of a sample) where
    these save more error, at the same slope, than the longer codebook costs; level 0 is exactly zero. Where more
    than `max_entries` levels are used, neighbours are joined, and the centroids are means. Outliers, more than 2048
    levels from zero, get a few centroids of their own by k-means.
    """
    limit = MAX_LEVEL * step
    low, high = arrays.extremes(weights)
    if max(-low, high) <= limit:
        return _share_on_grid(weights, step, zeros, max_entries)
    inliers = arrays.mask_where(weights, lambda block: np.abs(block) <= limit)
    if np.count_nonzero(inliers) < len(weights) / 2:
        return _share_on_grid(weights, step, zeros, max_entries)
    outer = kmeans(arrays.select(weights, ~inliers), OUTLIER_CENTROIDS)
    inner = _share_on_grid(arrays.select(weights, inliers), step, zeros, max_entries - len(outer.centroids))
    centroids = np.concatenate([inner.centroids, outer.centroids])
    order = np.argsort(centroids, kind="stable")
    rank = np.argsort(order).astype(np.uint8)
    codes = np.empty(len(weights), np.uint8)
    done = 0
    for block in arrays.blocks(len(weights)):
        inside, code = inliers[block], codes[block]
        stop = done + int(np.count_nonzero(inside))
        code[inside] = rank[inner.codes[done:stop]]
        code[~inside] = rank[len(inner.centroids) :][outer.codes[block.start - done : block.stop - stop]]
        done = stop
    return SharedWeights(centroids[order], codes)


def _share_on_grid(weights: arrays.Weights, step: float, zeros: int, max_entries: int) -> SharedWeights:
    """`entropy_constrained` without outliers."""
    histogram = Histogram(weights, every=max(1, len(weights) // SAMPLE))
    span, magnitude = histogram.high - histogram.low, max(-histogram.low, histogram.high)
    if span > step * BINS or magnitude > step * 2**52:  # finer than histogram or float64: far from 256 levels
        return kmeans(weights, max_entries)
    slope = grid.rate_slope(step)
    cells = _cells(histogram, step, zeros, max_entries)
    if span > (MAX_ENTRIES - 1) * step:  # too wide for a ramp, so that every entry takes its bits
        wider = _cells(histogram, grid.round_step(span / (MAX_ENTRIES - 2)), zeros, max_entries)
        cells = min(cells, wider, key=lambda each: _cost(histogram, each, slope))
    codes = histogram.codes(weights, cells.thresholds)
    if not cells.has_means or histogram.is_sample:  # then the means of the sample are as good
        return used_centroids(cells.centroids, codes)
    return mean_centroids(weights, codes, zero=cells.zero)


@dataclass(frozen=True, eq=False)
class _Cells:
    """The thresholds between the weights of one centroid and those of the next, and the centroids (float64, ascending).

    They are levels of a grid, or, where `has_means`, means, for now those by the histogram; but for the one of number
    `zero`, which is 0.
    """

    thresholds: np.ndarray
    centroids: np.ndarray
    has_means: bool
    zero: int | None = None


def _cells(histogram: Histogram, step: float, zeros: int, max_entries: int) -> _Cells:
    """The levels of the grid of `step`, or means where these pay, or where levels must be joined."""
    fitted = grid.fit(histogram, step, zeros)
    thresholds, levels = fitted.thresholds, fitted.levels
    is_joined = len(levels) > max_entries
    if is_joined:
        thresholds = grid.join_levels(histogram, thresholds, max_entries)
    edges = histogram.edges(thresholds)
    count, total = histogram.between(histogram.count, edges), histogram.between(histogram.total, edges)
    means = total / np.maximum(count, 1)
    if is_joined:
        return _Cells(thresholds, means, True)
    means = np.where(levels == 0, 0.0, means)
    saved_bits = math.fsum(count * (means - levels) ** 2) / grid.rate_slope(step)
    if saved_bits <= ENTRY_BITS * len(levels):
        return _Cells(thresholds, levels, False)
    return _Cells(thresholds, means, True, int(np.argmin(np.abs(levels))) if 0 in levels else None)


def _cost(histogram: Histogram, cells: _Cells, slope: float) -> float:
    """Squared error + slope * bits, with those of the codebook, by the histogram; a ramp takes next to none."""
    edges = histogram.edges(cells.thresholds)
    count = histogram.between(histogram.count, edges)
    gaps = np.diff(cells.centroids)
    is_ramp = bool((np.abs(gaps / gaps.min() - np.rint(gaps / gaps.min())) < 1e-6).all()) if len(gaps) else True
    bits = entropy.stable_bits(count[count > 0], histogram.count[-1])
    return histogram.squared_error(edges, cells.centroids) + slope * (
        bits + (0 if is_ramp else ENTRY_BITS * len(count))
    )
