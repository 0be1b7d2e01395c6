"""Weights -> the mask of those that are kept (Deep Compression, section 2).

    weights  0.1 -0.7 0.0 0.4   sparsity 0.5   ->   keep 0 1 0 1

Magnitude pruning: only the order of the magnitudes matters, and kept weights do not change. Weights are arrays (float,
flat), or arrays.LazyValues, of which only a slice is in memory at a time.
"""

import functools
import math
from collections.abc import Callable

import numpy as np

from ... import arrays

MIN_SAMPLED = 1 << 21  # weights of which one is selected by a sample first, and not from all at once
SELECTED = 1 << 16  # weights of that sample
MAX_NEAR = 1 / 8  # of the sample that may lie near it: memory is taken for as many
_DIGIT = 16  # bits that one pass of the radix selection looks at
SQUARE_SAMPLE = 1 << 20  # weights that tell the mean square of more than twice as many: to 0.01 dB, of Laplacian ones
SAMPLES, RUN = 512, 8  # places of a tensor, and weights at each, of which the BULK quantile is taken
# Of magnitudes: up to a fifth of the weights may be outliers, and up to four fifths next to nothing, as those of rows
# and columns that training has left dead are; and this quantile of the standard normal distribution.
BULK, NORMAL_BULK = 0.8, 1.2816
MIN_TAIL = 40.0  # times that the mean square exceeds what the quantile implies, from which there are outliers
MAX_BULK = 8.0  # standard deviations, by the quantile, within which no weight is an outlier


def by_sparsity(weights: arrays.Weights, sparsity: float) -> np.ndarray:
    """Mask (bool, flat) that drops exactly round(sparsity * n) of the n weights (float, flat), the smallest magnitudes.

    Of equal magnitudes at the threshold, those at the lower positions are kept. Zeros of the tensor count as dropped.
    """
    drop = round(sparsity * len(weights))
    if drop == 0:
        return np.ones(len(weights), bool)
    threshold, below, equal = _select(weights, drop)
    mask = arrays.mask_where(weights, lambda block: _magnitude_bits(block) > threshold)
    ties_kept = equal - (drop - below)
    for block in arrays.blocks(len(weights)):
        if ties_kept <= 0:
            break
        ties = np.flatnonzero(_magnitude_bits(weights[block]) == threshold)[:ties_kept]
        mask[block][ties] = True
        ties_kept -= len(ties)
    return mask


def by_deviation(weights: arrays.Weights, multiple: float) -> np.ndarray:
    """Mask (bool, flat) that keeps the magnitudes above `multiple` standard deviations of the tensor.

    The quality parameter of Han et al., "Learning both Weights and Connections", 2015, section 3.1.
    """
    threshold = np.float64(multiple * standard_deviation(weights))  # a Python float might overflow float32
    return arrays.mask_where(weights, lambda block: np.abs(block) > threshold)


def standard_deviation(weights: arrays.Weights) -> float:
    """Population standard deviation of `weights` (float, flat), 0 of none; in two passes, so that nothing cancels."""
    square = mean_square(weights, _mean(weights, lambda block: block))
    if math.isfinite(square):
        return math.sqrt(square)
    scale = max(float(np.abs(weights[block]).max()) for block in arrays.blocks(len(weights)))
    shares = _mean(weights, lambda block: block / scale)  # whose squares do not overflow
    return scale * math.sqrt(_mean(weights, lambda block: (block / scale - shares) ** 2))


def mean_square(weights: arrays.Weights, about: float = 0.0) -> float:
    """Mean squared distance of `weights` (float, flat) from `about`, 0 of none; infinite beyond what float64 holds."""
    with np.errstate(over="ignore"):
        return _mean(weights, lambda block: (block - about) ** 2)


def typical_square(weights: arrays.Weights, outliers: float = 0.005) -> float:
    """Mean square of `weights` (float, flat) without the fraction `outliers` of largest magnitude.

    A few outliers, one column of a matrix among them, would otherwise dominate the mean. Of normally distributed
    weights it is 0.2 dB below the mean square, of Laplacian ones 0.5 dB. Where more than that are outliers, so many
    that the mean is MIN_TAIL times what the BULK quantile lets expect, it is that of the weights near the quantile. Of
    many weights, by a sample.
    """
    weights = arrays.sample(weights, SQUARE_SAMPLE)
    square = _trimmed_square(weights, outliers)
    expected = _bulk_magnitude(weights) / NORMAL_BULK
    if expected == 0 or square <= MIN_TAIL * expected * expected:
        return square
    return mean_square(arrays.select(weights, arrays.mask_where(weights, lambda b: np.abs(b) <= MAX_BULK * expected)))


def _trimmed_square(weights: arrays.Weights, fraction: float) -> float:
    """Mean square of `weights` without a fraction of largest magnitude."""
    rest = len(weights) - int(fraction * len(weights))
    if rest == len(weights):
        return mean_square(weights)
    limit = _select(weights, rest)[0]
    return mean_square(arrays.select(weights, arrays.mask_where(weights, lambda b: _magnitude_bits(b) <= limit)))


def _bulk_magnitude(weights: arrays.Weights) -> float:
    """The BULK quantile of the magnitudes of a sample of the weights that are not zero, 0 of none."""
    if not len(weights):
        return 0.0
    starts = arrays.scattered_sample(len(weights), max(1, len(weights) // SAMPLES)).tolist()
    sample = np.concatenate([weights[start : start + RUN] for start in starts])
    return float(np.quantile(np.abs(sample[sample != 0].astype(np.float64)), BULK)) if sample.any() else 0.0


def _mean(weights: arrays.Weights, term: Callable[[np.ndarray], np.ndarray]) -> float:
    """The mean of a term (float64) over all weights, added in a fixed order: the same on every machine."""

    def sum_of(block: slice) -> float:
        terms = term(weights[block].astype(np.float64))
        return float(np.cumsum(terms)[-1])  # adds one after another; the order of sum() depends on the processor

    total = 0.0
    for part in arrays.over_blocks(sum_of, len(weights)):
        total += part
    return total / max(len(weights), 1)


def _magnitude_bits(weights: np.ndarray) -> np.ndarray:
    """Unsigned integers in the order of the magnitudes: IEEE bits without their sign."""
    bits = weights.dtype.itemsize * 8
    unsigned = np.dtype(f"u{weights.dtype.itemsize}").newbyteorder(weights.dtype.byteorder)
    magnitudes: np.ndarray = weights.view(unsigned) & unsigned.type((1 << (bits - 1)) - 1)
    return magnitudes


def _select(weights: arrays.Weights, rank: int) -> tuple[int, int, int]:
    """The bits of the `rank`-th smallest magnitude (from 1), and how many weights are below it and equal to it.

    Of many by a sample, between two of which it nearly always lies; else by radix selection, from the most significant
    digit, which needs no memory for all of them.
    """
    if len(weights) <= MIN_SAMPLED:
        return _ranked(_magnitude_bits(weights[:]), rank)
    if (found := _select_by_sample(weights, rank)) is not None:
        return found
    bits = weights[:1].dtype.itemsize * 8
    value = below = 0
    for shift in range(bits - _DIGIT, -1, -_DIGIT):
        count_digits = functools.partial(_count_digits, weights, value, shift)
        counts = np.sum(arrays.over_parts(count_digits, len(weights)), axis=0)
        reached = below + np.cumsum(counts)
        digit = int(np.searchsorted(reached, rank))
        below = int(reached[digit] - counts[digit])
        value |= digit << shift
    return value, below, int(counts[digit])


def _select_by_sample(weights: arrays.Weights, rank: int) -> tuple[int, int, int] | None:
    """`_select`, by one pass over all weights; None where they are not spread enough, or the sample misleads."""
    sample = np.sort(_magnitude_bits(arrays.sample(weights, SELECTED)))
    place, off = rank * len(sample) // len(weights), 3 * math.isqrt(len(sample))  # six standard deviations or more
    low, high = sample[max(0, place - off)], sample[min(len(sample) - 1, place + off)]
    if np.count_nonzero((sample >= low) & (sample <= high)) > len(sample) * MAX_NEAR:
        return None

    def near(block: slice) -> tuple[int, np.ndarray]:
        """How many weights of a block are below the range, and those within."""
        magnitudes = _magnitude_bits(weights[block])
        within = magnitudes >= low
        below = len(magnitudes) - int(np.count_nonzero(within))
        within &= magnitudes <= high
        return below, magnitudes[np.flatnonzero(within)]

    found = arrays.over_blocks(near, len(weights))
    below, within = sum(count for count, _ in found), np.concatenate([part for _, part in found])
    if not 0 < rank - below <= len(within):
        return None
    value, below_within, equal = _ranked(within, rank - below)
    return value, below + below_within, equal


def _ranked(numbers: np.ndarray, rank: int) -> tuple[int, int, int]:
    """The `rank`-th smallest of numbers (unsigned, flat), from 1, and how many are below it and equal to it."""
    value = np.partition(numbers, rank - 1)[rank - 1]
    return int(value), int(np.count_nonzero(numbers < value)), int(np.count_nonzero(numbers == value))


def _count_digits(weights: arrays.Weights, value: int, shift: int, part: slice) -> np.ndarray:
    """How often each digit at `shift` occurs (int64) among the magnitudes of a part that have the digits of `value`
    before it."""
    counts, above = np.zeros(1 << _DIGIT, np.int64), shift + _DIGIT
    for block in arrays.blocks_of(part, 4 * arrays.BLOCK):
        magnitudes = _magnitude_bits(weights[block])
        if above < magnitudes.dtype.itemsize * 8:
            magnitudes = magnitudes[magnitudes >> above == value >> above]
        counts += np.bincount((magnitudes >> shift).astype(np.uint16), minlength=len(counts))
    return counts
