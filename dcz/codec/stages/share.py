"""Kept weights -> a few shared values and a code for each (spec, section 8; Deep Compression, section 3).

    weights  -1.0 0.1 0.9 1.1   2 bits   ->   centroids -1.0 0.1 1.0   codes 0 1 2 2

Two ways: `kmeans`, as in the paper; `entropy_constrained`, a uniform grid whose decisions weigh the error against the
length of the code, for when codes are Huffman-coded anyway.

The iterations run on a histogram (histogram.py), so that a step costs as much as the codebook has entries, however many
the weights. Sums run in a fixed order: the same weights give the same codebook on every machine.

Weights are arrays (float, flat, finite), or arrays.LazyValues, of which no more than a slice is in memory at a time.
"""

import math
from dataclasses import dataclass

import numpy as np

from ... import arrays
from ...encoded import MOST_ENTRIES
from . import code_length
from .histogram import BINS, BLOCK, Histogram

NEAR, FAR = 1 << 11, 32  # levels from zero to an outlier, and centroids for outliers
LEAST = 1e-3  # of the mean importance of a weight, below which there is none in a cell
ENTRY_BITS = 32  # of a codebook that is no ramp
ENOUGH = 1 << 22  # weights that tell where cells of k-means begin (means are those of all), or the better of two ways
STEPS = 300  # Lloyd iterations at most; weights of real layers settle after 20 to 200


@dataclass(frozen=True, eq=False)
class SharedWeights:
    """Centroids (float64, ascending, every one used), and the code of every weight (uint8, in the weights' order)."""

    centroids: np.ndarray
    codes: np.ndarray


# -- k-means ----------------------------------------------------------------------------------------------------------


def kmeans(
    weights: np.ndarray, k: int, start: str = "cuberoot", seed: int = 0, importance: np.ndarray | None = None
) -> SharedWeights:
    """One-dimensional k-means of `weights` (float, flat, finite, not empty) with at most `k` <= 256 centroids.

    `importance` (float64, 0 or more, one a weight, not all 0) is what a weight's squared error counts for; None: the
    same for each.

    `start` is linear, density or forgy (Deep Compression, section 3.2), or cuberoot: quantiles of the cube root of the
    density, the optimum for many centroids (Panter and Dite, "Quantization distortion in pulse-count modulation",
    1951).
    """
    if importance is not None:  # a hundredth of the mean at least, so that no weight is given up, and the mean is 1
        importance = np.maximum(importance / importance.mean(), 10 * LEAST)
        importance /= importance.mean()
    histogram = Histogram(weights, importance, every=max(1, len(weights) // ENOUGH))
    centroids = initial_centroids(histogram, k, start, seed)
    edges = None
    for _ in range(STEPS):
        before, edges = edges, histogram.edges((centroids[1:] + centroids[:-1]) / 2)
        if before is not None and np.array_equal(before, edges):
            break
        count, total = histogram.between(histogram.count, edges), histogram.between(histogram.total, edges)
        used = count > LEAST  # with importance, differences of running totals are not exactly zero
        centroids = np.where(used, total / np.where(used, count, 1), centroids)
        centroids = np.sort(centroids)  # an empty cell keeps its centroid, which a neighbour may have passed
    codes = histogram.codes(weights, (centroids[1:] + centroids[:-1]) / 2)
    return mean_centroids(weights, codes, importance)


def initial_centroids(histogram: Histogram, k: int, start: str, seed: int = 0) -> np.ndarray:
    """`k` starting centroids (float64, ascending): see `kmeans`."""
    if start == "linear":
        return np.linspace(histogram.low, histogram.high, k)
    middle = (np.arange(k) + 0.5) / k
    count = np.diff(histogram.count)
    if start == "density":
        return histogram.quantiles(count, middle)
    if start == "forgy":
        return histogram.quantiles(count, np.sort(np.random.default_rng(seed).random(k)))
    # The density at a bin is the count in a window about it: the fewer the weights, the wider. In too narrow a window
    # the lone weights of the tails look like none, and the tails get too few centroids.
    half = round(BINS / 4 / histogram.count[-1] ** (1 / 3))
    bins = np.arange(BINS)
    smooth = histogram.count[np.minimum(bins + half + 1, BINS)] - histogram.count[np.maximum(bins - half, 0)]
    # Whole numbers, so that neither the order of sums nor the last bit of a processor's cube root matters.
    return histogram.quantiles(np.rint(1024 * np.cbrt(smooth)), middle)


def mean_centroids(weights: np.ndarray, codes: np.ndarray, importance: np.ndarray | None = None) -> SharedWeights:
    """The mean of the weights of each code that occurs, codes numbered anew without the others."""
    count, total = _sums(weights, codes, importance)
    used = np.flatnonzero(count)
    return SharedWeights(total[used] / count[used], _renumber(codes, used))


def only_used(centroids: np.ndarray, codes: np.ndarray) -> SharedWeights:
    """Those of the centroids that a code points to."""
    used = np.flatnonzero(arrays.count_codes(codes))
    return SharedWeights(centroids[used], _renumber(codes, used))


def _sums(
    weights: np.ndarray, codes: np.ndarray, importance: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """How many weights each code has, and their sum (float64[256] each), each as often as it is important."""
    count, total = np.zeros(MOST_ENTRIES), np.zeros(MOST_ENTRIES)
    for start in range(0, len(weights), BLOCK):  # bincount widens its input to 64 bits: keep that in cache
        stop = start + BLOCK
        part, often = codes[start:stop], None if importance is None else importance[start:stop]
        values = weights[start:stop] if often is None else weights[start:stop] * often
        count += np.bincount(part, often, MOST_ENTRIES)
        total += np.bincount(part, values, MOST_ENTRIES)
    return count, total


def _renumber(codes: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Codes as places in `used`, the ascending codes that occur."""
    if used[-1] == len(used) - 1:
        return codes
    return arrays.remap(np.searchsorted(used, np.arange(MOST_ENTRIES)).astype(np.uint8), codes)


# -- entropy-constrained ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Grid:
    """Levels (float64, ascending), which are multiples of a step, and the thresholds (float64) between neighbours."""

    levels: np.ndarray
    thresholds: np.ndarray


def step_for_quality(mean_square: float, decibels: float) -> float:
    """The step whose uniform rounding error, step^2 / 12, is `decibels` below the mean square of the weights."""
    return math.sqrt(12 * mean_square / 10 ** (decibels / 10))


def step_for_rate(weights: np.ndarray, bits: float, zeros: int = 0) -> float:
    """The step at which the codes of `weights` and `zeros` more zeros take about `bits` a weight, zeros included.

    By bisection; an entropy below one bit a weight is only reached by an index, which costs about as much.
    """
    histogram = Histogram(weights)
    reach = max(-histogram.low, histogram.high)
    low, high = max(histogram.high - histogram.low, reach / BINS) / BINS, 4 * reach  # far too many bits, and none
    for _ in range(30):
        step = math.sqrt(low * high)
        low, high = (step, high) if grid_bits(histogram, step, zeros) > bits else (low, step)
    return high


def grid_bits(histogram: Histogram, step: float, zeros: int = 0) -> float:
    """Entropy, in bits a weight, of the codes that `entropy_constrained` gives."""
    grid = fit_grid(histogram, step, zeros)
    count = histogram.between(histogram.count, histogram.edges(grid.thresholds))
    if (grid.levels == 0).any():
        count[np.flatnonzero(grid.levels == 0)] += zeros
    elif zeros:
        count = np.append(count, zeros)
    count = count[count > 0]
    total = math.fsum(count)
    return code_length.stable_bits(count, total) / total


def simple_step(step: float) -> float:
    """`step` rounded to 12 significant bits: then level times step is exact in float32 for every level within +-2048,
    and the same grid can be found again from the values alone."""
    if not step > 0 or not math.isfinite(step):
        return step
    mantissa, exponent = math.frexp(step)
    return math.ldexp(round(mantissa * 4096) / 4096, exponent)


def entropy_constrained(weights: np.ndarray, step: float, zeros: int = 0, most: int = MOST_ENTRIES) -> SharedWeights:
    """Round `weights` (float, flat, finite, not empty) to multiples of `step`, leaning toward the frequent ones.

    A weight goes to the level with the least squared error + slope * bits of its code, the slope being that of the
    rate-distortion curve at this step (Sullivan, "Efficient scalar quantization of exponential and Laplacian random
    variables", 1996, as Lloyd iterations). `zeros` more weights are known to be zero: they shorten zero's code.

    The centroids are the levels themselves, a ramp, or the means of their weights where the error that these save is
    worth more, at the same slope, than the longer codebook; level 0 is exactly zero. Where more than `most` levels are
    used, neighbours are joined, and the centroids are means. Outliers, more than 2048 levels from zero, get a few
    centroids of their own.
    """
    reach = NEAR * step
    low, high = arrays.extremes(weights)
    if max(-low, high) <= reach:
        return _on_grid(weights, step, zeros, most)
    near = arrays.mask_where(weights, lambda part: np.abs(part) <= reach)
    if np.count_nonzero(near) < len(weights) / 2:
        return _on_grid(weights, step, zeros, most)
    far = kmeans(arrays.select(weights, ~near), FAR)
    bulk = _on_grid(arrays.select(weights, near), step, zeros, most - len(far.centroids))
    centroids = np.concatenate([bulk.centroids, far.centroids])
    order = np.argsort(centroids, kind="stable")
    number = np.argsort(order).astype(np.uint8)
    codes = np.empty(len(weights), np.uint8)
    done = 0
    for part in arrays.blocks(len(weights)):
        inside, mixed = near[part], codes[part]
        stop = done + np.count_nonzero(inside)
        mixed[inside] = number[bulk.codes[done:stop]]
        mixed[~inside] = number[len(bulk.centroids) :][far.codes[part.start - done : part.stop - stop]]
        done = stop
    return SharedWeights(centroids[order], codes)


def _on_grid(
    weights: np.ndarray, step: float, zeros: int, most: int, histogram: Histogram | None = None
) -> SharedWeights:
    """`entropy_constrained` without outliers, with at most so many centroids; `histogram` is that of the weights."""
    histogram = histogram or Histogram(weights)
    span, reach = histogram.high - histogram.low, max(-histogram.low, histogram.high)
    if span > step * BINS or reach > step * 2**52:  # finer than histogram or float64: 256 levels do not come near
        return kmeans(weights, most)
    found = _nearest_levels(weights, histogram, fit_grid(histogram, step, zeros), step, most)
    if span <= (MOST_ENTRIES - 1) * step:
        return found
    # Too wide for a ramp, so that every entry takes its bits: a wider step may be the better bargain.
    wider = _on_grid(weights, simple_step(span / (MOST_ENTRIES - 2)), zeros, most, histogram)
    return min(found, wider, key=lambda each: _cost(weights, each, rate_slope(step)))


def _nearest_levels(weights: np.ndarray, histogram: Histogram, grid: Grid, step: float, most: int) -> SharedWeights:
    """Weights shared by the levels of a grid, or by means where these are worth it or levels must be joined."""
    if len(grid.levels) > most:
        return mean_centroids(weights, histogram.codes(weights, _join_levels(histogram, grid.thresholds, most)))
    codes = histogram.codes(weights, grid.thresholds)
    count, total = _sums(weights, codes)
    used = np.flatnonzero(count)
    levels = grid.levels[used]
    means = np.where(levels == 0, 0.0, total[used] / count[used])
    saved_bits = math.fsum(count[used] * (means - levels) ** 2) / rate_slope(step)
    return SharedWeights(means if saved_bits > ENTRY_BITS * len(levels) else levels, _renumber(codes, used))


def _cost(weights: np.ndarray, found: SharedWeights, slope: float) -> float:
    """Squared error + slope * bits, those of the codebook included: a ramp takes next to none."""
    error, every, seen = 0.0, max(1, len(weights) // ENOUGH), 0
    for part in arrays.blocks(len(weights), BLOCK):
        places = arrays.scattered_sample(part.stop - part.start, every)
        off = found.centroids.take(found.codes[part][places])
        np.subtract(weights[part][places], off, out=off)
        error += float(np.cumsum(np.multiply(off, off, out=off), out=off)[-1])
        seen += len(off)
    error *= len(weights) / seen
    count = arrays.count_codes(found.codes)
    gaps = np.diff(found.centroids)
    is_ramp = bool((np.abs(gaps / gaps.min() - np.rint(gaps / gaps.min())) < 1e-6).all()) if len(gaps) else True
    bits = code_length.stable_bits(count, len(weights))
    return error + slope * (bits + (0 if is_ramp else ENTRY_BITS * len(count)))


def rate_slope(step: float) -> float:
    """Squared error that a bit is worth at `step`: fine uniform rounding errs by step^2 / 12 for -log2(step) bits."""
    return step * step * math.log(2) / 6


def fit_grid(histogram: Histogram, step: float, zeros: int = 0) -> Grid:
    """The levels that `entropy_constrained` uses, and its decision thresholds between them."""
    lowest, highest = round(histogram.low / step), round(histogram.high / step)
    half_way = (np.arange(lowest, highest) + 0.5) * step
    thresholds = half_way
    for _ in range(12):
        count = histogram.between(histogram.count, histogram.edges(thresholds))
        if lowest <= 0 <= highest:
            count[-lowest] += zeros
        bits = code_length.stable_lengths(count, histogram.count[-1] + zeros)
        shift = np.clip(rate_slope(step) * np.diff(bits) / (2 * step), -step / 2, step / 2)
        moved = np.maximum.accumulate(half_way + shift)
        if np.array_equal(moved, thresholds):
            break
        thresholds = moved
    used = np.flatnonzero(histogram.between(histogram.count, histogram.edges(thresholds)))
    # Between an outlier and the rest lie levels without a weight; of their thresholds one is enough.
    return Grid((lowest + used) * step, thresholds[(used[1:] + used[:-1]) // 2])


def _join_levels(histogram: Histogram, thresholds: np.ndarray, most: int) -> np.ndarray:
    """Fewer than `most` of `thresholds`: neighbours are joined where that adds the least squared error."""
    while len(thresholds) >= most:
        edges = histogram.edges(thresholds)
        count, total = histogram.between(histogram.count, edges), histogram.between(histogram.total, edges)
        mean = total / np.maximum(count, 1)
        added = count[1:] * count[:-1] / np.maximum(count[1:] + count[:-1], 1) * np.diff(mean) ** 2
        excess = len(thresholds) + 1 - most
        cheapest = np.sort(np.argsort(added, kind="stable")[: max(1, excess // 4)])
        apart = np.diff(cheapest, prepend=-2) > 1  # joining three at once would cost more than was reckoned
        thresholds = np.delete(thresholds, cheapest[apart])
    return thresholds
