"""A uniform grid of levels with entropy-constrained thresholds, for codes that are Huffman-coded afterwards.

    weights  0.1 0.1 0.4 0.9, step 1   ->   levels 0 1, and a threshold above 0.5 where 0 is the more frequent code

At high rates a uniform grid with entropy coding is within 0.255 bit of the rate-distortion bound (Gish and Pierce,
"Asymptotically efficient quantizing", 1968). At low rates thresholds move towards the levels with longer codes
(Sullivan, "Efficient scalar quantization of exponential and Laplacian random variables", 1996), here found by
iterations as in Chou, Lookabaugh and Gray, "Entropy-constrained vector quantization", 1989, on a histogram.
"""

import math
from dataclasses import dataclass

import numpy as np

from ... import arrays
from . import entropy
from .histogram import BINS, Histogram

MAX_ITERATIONS = 12  # of the thresholds; most settle before
ENTRY_BITS = 16  # of entries that are no multiples of a step: far more than any quality needs
SAMPLE = 1 << 22  # weights that make the histogram of more than twice as many
BISECTIONS = 30  # of the step for a rate


@dataclass(frozen=True, eq=False)
class Grid:
    """Levels (float64, ascending), which are multiples of a step, and the thresholds (float64) between neighbours."""

    levels: np.ndarray
    thresholds: np.ndarray


def step_for_quality(mean_square: float, decibels: float) -> float:
    """The step whose uniform rounding error, step^2 / 12, is `decibels` below the mean square of the weights."""
    return math.sqrt(12 * mean_square / 10 ** (decibels / 10))


def step_for_rate(weights: arrays.Weights, bits: float, zeros: int = 0) -> float:
    """The step at which the codes of `weights` and `zeros` more zeros take about `bits` a weight, zeros included.

    By bisection; an entropy below one bit a weight is only reached by an index, which costs about as much.
    """
    histogram = Histogram(weights, every=max(1, len(weights) // SAMPLE))
    magnitude = max(-histogram.low, histogram.high)
    # From far too many bits to none.
    low, high = max(histogram.high - histogram.low, magnitude / BINS) / BINS, 4 * magnitude
    for _ in range(BISECTIONS):
        step = math.sqrt(low * high)
        low, high = (step, high) if bits_per_weight(histogram, step, zeros) > bits else (low, step)
    return high


def bits_per_weight(histogram: Histogram, step: float, zeros: int = 0) -> float:
    """Entropy, in bits a weight, of the codes that share.entropy_constrained gives for `step`."""
    grid = fit(histogram, step, zeros)
    count = histogram.between(histogram.count, histogram.edges(grid.thresholds))
    if (grid.levels == 0).any():
        count[np.flatnonzero(grid.levels == 0)] += zeros
    elif zeros:
        count = np.append(count, zeros)
    count = count[count > 0]
    total = math.fsum(count)
    return entropy.stable_bits(count, total) / total


def round_step(step: float, bits: int = 12) -> float:
    """`step` rounded to 12 significant bits, or as many as `bits`.

    Then level * step is exact in float32 for every level within +-2^(23 - bits), and the same grid can be found again
    from the values alone.
    """
    if not step > 0 or not math.isfinite(step):
        return step
    mantissa, exponent = math.frexp(step)
    return math.ldexp(round(math.ldexp(mantissa, bits)), exponent - bits)


def round_entries(entries: np.ndarray) -> np.ndarray:
    """Entries (float64) of a codebook rounded to ENTRY_BITS significant bits.

    Then their products with scales, of four bits, are exact in float32, and they are found again from the values alone.
    """
    mantissas, exponents = np.frexp(entries)
    rounded: np.ndarray = np.ldexp(np.rint(np.ldexp(mantissas, ENTRY_BITS)), exponents - ENTRY_BITS)
    return rounded


def rate_slope(step: float) -> float:
    """The squared error that a bit is worth at `step`: -dD/dR for D = step^2 / 12 and R = h - log2(step) bits.

    D and R of fine uniform quantization (Gish and Pierce, 1968).
    """
    return step * step * math.log(2) / 6


def fit(histogram: Histogram, step: float, zeros: int = 0) -> Grid:
    """The levels of the grid of `step` that are used, and the entropy-constrained thresholds between them.

    A threshold is where squared error + rate_slope * bits of the code is the same for both neighbours; `zeros` more
    weights are known to be zero.
    """
    lowest, highest = round(histogram.low / step), round(histogram.high / step)
    midpoints = (np.arange(lowest, highest) + 0.5) * step
    thresholds = midpoints
    for _ in range(MAX_ITERATIONS):
        count = histogram.between(histogram.count, histogram.edges(thresholds))
        if lowest <= 0 <= highest:
            count[-lowest] += zeros
        bits = entropy.stable_lengths(count, histogram.count[-1] + zeros)
        shift = np.clip(rate_slope(step) * np.diff(bits) / (2 * step), -step / 2, step / 2)
        moved = np.maximum.accumulate(midpoints + shift)
        if np.array_equal(moved, thresholds):
            break
        thresholds = moved
    used = np.flatnonzero(histogram.between(histogram.count, histogram.edges(thresholds)))
    # Between an outlier and the rest lie levels without a weight; one of their thresholds is enough.
    return Grid((lowest + used) * step, thresholds[(used[1:] + used[:-1]) // 2])


def join_levels(histogram: Histogram, thresholds: np.ndarray, max_levels: int) -> np.ndarray:
    """Those of `thresholds` that separate at most `max_levels` levels.

    Greedy: neighbours are joined where that adds the least squared error, as in pairwise nearest neighbour clustering
    (Equitz, "A new vector quantization clustering algorithm", 1989).
    """
    while len(thresholds) >= max_levels:
        edges = histogram.edges(thresholds)
        count, total = histogram.between(histogram.count, edges), histogram.between(histogram.total, edges)
        mean = total / np.maximum(count, 1)
        added = count[1:] * count[:-1] / np.maximum(count[1:] + count[:-1], 1) * np.diff(mean) ** 2
        excess = len(thresholds) + 1 - max_levels
        cheapest = np.sort(np.argsort(added, kind="stable")[: max(1, excess // 4)])
        apart = np.diff(cheapest, prepend=-2) > 1  # to join three levels at once costs more than `added` says
        thresholds = np.delete(thresholds, cheapest[apart])
    return thresholds
