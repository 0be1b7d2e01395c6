"""Weights -> the mask of those that are kept (Deep Compression, section 2).

    weights  0.1 -0.7 0.0 0.4   sparsity 0.5   ->   keep 0 1 0 1

Only magnitudes matter, and only their order; the weights that are kept do not change. Weights are arrays (float, flat),
or arrays.LazyValues, of which no more than a slice is in memory at a time.
"""

import math
from collections.abc import Callable

import numpy as np

from ... import arrays

_BLOCK = 1 << 16  # weights summed at a time: they stay in cache
_DIGIT = 16  # bits that one pass of the selection looks at


def by_sparsity(weights: np.ndarray, sparsity: float) -> np.ndarray:
    """Mask (bool, flat) that drops exactly round(sparsity * n) of the n smallest magnitudes of `weights` (float, flat).

    Of equal magnitudes at the edge, those at the lower places are kept. Zeros that are there already count.
    """
    drop = round(sparsity * len(weights))
    if drop == 0:
        return np.ones(len(weights), bool)
    edge, below, alike = _select(weights, drop)
    mask = arrays.mask_where(weights, lambda part: _magnitude_bits(part) > edge)
    stay = alike - (drop - below)
    for part in arrays.blocks(len(weights)):
        if stay <= 0:
            break
        ties = np.flatnonzero(_magnitude_bits(weights[part]) == edge)[:stay]
        mask[part][ties] = True
        stay -= len(ties)
    return mask


def by_deviation(weights: np.ndarray, multiple: float) -> np.ndarray:
    """Mask (bool, flat) that keeps the magnitudes above `multiple` standard deviations of the tensor.

    The quality parameter of Han et al., "Learning both Weights and Connections", 2015, section 3.1.
    """
    least = np.float64(multiple * standard_deviation(weights))  # a plain float might overflow float32
    return arrays.mask_where(weights, lambda part: np.abs(part) > least)


def standard_deviation(weights: np.ndarray) -> float:
    """Population standard deviation of `weights` (float, flat), 0 of none; about the mean, so that nothing cancels."""
    return math.sqrt(mean_square(weights, _mean(weights, lambda part: part)))


def mean_square(weights: np.ndarray, about: float = 0.0) -> float:
    """Mean squared distance of `weights` (float, flat) from one value, 0 of none."""
    return _mean(weights, lambda part: (part - about) ** 2)


def typical_square(weights: np.ndarray, aside: float = 0.005) -> float:
    """Mean square of `weights` (float, flat) without the share `aside` of greatest magnitude.

    A few outliers, one column of a matrix among them, would otherwise speak for all weights. Of normally distributed
    weights it is 0.2 dB below the mean square, of Laplacian ones 0.5 dB.
    """
    rest = len(weights) - int(aside * len(weights))
    if rest == len(weights):
        return mean_square(weights)
    edge = _select(weights, rest)[0]
    return mean_square(arrays.select(weights, arrays.mask_where(weights, lambda part: _magnitude_bits(part) <= edge)))


def _mean(weights: np.ndarray, term: Callable[[np.ndarray], np.ndarray]) -> float:
    """The mean of a term (float64) over all weights, summed in a fixed order: every machine gets the same one."""
    total = 0.0
    for start in range(0, len(weights), _BLOCK):
        part = term(weights[start : start + _BLOCK].astype(np.float64))
        total += float(np.cumsum(part)[-1])  # adds one after another, where sum() goes by the processor
    return total / max(len(weights), 1)


def _magnitude_bits(weights: np.ndarray) -> np.ndarray:
    """Unsigned integers in the order of the magnitudes: IEEE bits without their sign."""
    bits = weights.dtype.itemsize * 8
    unsigned = np.dtype(f"u{weights.dtype.itemsize}")
    return weights.view(unsigned) & unsigned.type((1 << (bits - 1)) - 1)


def _select(weights, rank: int) -> tuple[int, int, int]:
    """The `rank`-th smallest magnitude (from 1; its bits), and how many weights are below it and at it, digit by digit
    from the top."""
    bits = weights[:1].dtype.itemsize * 8
    value = below = 0
    for shift in range(bits - _DIGIT, -1, -_DIGIT):
        counts = np.zeros(1 << _DIGIT, np.int64)
        for place in arrays.blocks(len(weights), 1 << 18):
            part = _magnitude_bits(weights[place])
            if shift + _DIGIT < bits:
                part = part[part >> (shift + _DIGIT) == value >> (shift + _DIGIT)]
            digits = (part >> shift).astype(np.uint16)
            counts += np.bincount(digits, minlength=1 << _DIGIT)
        reached = below + np.cumsum(counts)
        digit = int(np.searchsorted(reached, rank))
        below = int(reached[digit] - counts[digit])
        value |= digit << shift
    return value, below, int(counts[digit])
