"""Rows of different size under one codebook: a scale for each place along an axis (spec, section 8.1).

    rows of root mean square 0.01 and 3.2   ->   steps 0 66, scales 8 and 2560, and weights / scales of the same size

Folding a normalization leaves rows whose sizes differ by up to 1000 times. One step for all of them keeps nothing of
the small ones, and their outputs, which the next layer may well multiply by 1000, are lost.
Scales are integers with four significant bits, one byte each before Huffman coding; the codebook takes up the rest.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ... import arrays
from ...encoded import step_scales
from . import entropy

MAX_STEP = 255
# Times a row's mean of fourth roots, to the power of 4, which outliers hardly change: weights beyond are outliers. For
# normally distributed weights it is about 4 standard deviations.
MAX_BULK = 8.0
SAMPLE = 256  # weights of each place, from about which its size is taken
MIN_SIZE = 2.0**-20  # of the largest row's
MIN_ROW = 4  # weights of a row, from which a scale is less than they are


@dataclass(frozen=True, eq=False)
class RowScales:
    """The scales (float64) along an `axis` of a tensor, and its shape; the symbols (uint8) of scales that are steps."""

    scales: np.ndarray
    axis: int
    shape: tuple[int, ...]
    steps: np.ndarray | None = None

    @property
    def bits(self) -> float:
        """About how many bits they take: as many as each tells, or 32."""
        if self.steps is None:
            return 32 * len(self.scales)
        return entropy.stable_bits(np.unique(self.steps, return_counts=True)[1], len(self.steps))

    def at(self, block: slice) -> np.ndarray:
        """The scale (float64) of each element of a block of the flat tensor."""
        scales: np.ndarray = self.scales[arrays.places(self.shape, self.axis, block)]
        return scales


def of_steps(steps: np.ndarray, axis: int, shape: tuple[int, ...]) -> RowScales:
    """The scales of step symbols (uint8): see encoded.step_scales."""
    return RowScales(step_scales(steps), axis, shape, steps)


def nearest_steps(scales: np.ndarray) -> np.ndarray:
    """The step symbol (uint8) of the scale nearest to each of `scales` (float64, 8 or more), at most 15 * 2^31."""
    mantissa, exponent = np.frexp(scales)  # mantissa from 0.5 to below 1: 8 to below 16 sixteenths
    steps: np.ndarray = (exponent - 4) * 8 + np.rint(mantissa * 16).astype(np.int64) - 8
    clipped: np.ndarray = np.clip(steps, 0, MAX_STEP).astype(np.uint8)
    return clipped


def powers_of_two(row_scales: RowScales) -> RowScales:
    """The same with the power of two that is nearest to each scale."""
    powers = np.rint(np.log2(row_scales.scales)).astype(np.int64) - 3
    return of_steps((8 * np.clip(powers, 0, MAX_STEP // 8)).astype(np.uint8), row_scales.axis, row_scales.shape)


def by_rows(
    weights: arrays.Weights,
    shape: tuple[int, ...],
    axis: int,
    exponent: float = 1.0,
    min_spread: float = 2.0,
    has_outliers: bool = True,
) -> RowScales | None:
    """Scales along `axis` of a tensor: the root mean squares of its weights (float, flat), zeros and, where rows may
    have some, outliers aside, to a power. (Of the nine weights of a depthwise row, the largest are what the row does.)

    None where root mean squares differ by less than `min_spread`, a place has fewer than MIN_ROW weights, or all are 0.
    """
    count = shape[axis]
    if len(weights) < MIN_ROW * count:
        return None
    limits = np.full(count, np.inf)
    for _ in range(2 if has_outliers else 0):  # many outliers raise the first limits too
        limits = MAX_BULK * _mean_by_place(weights, shape, axis, lambda m: np.sqrt(np.sqrt(m)), limits) ** 4
    sizes = np.sqrt(_mean_by_place(weights, shape, axis, np.square, limits))
    used = sizes[sizes > 0]
    if not len(used) or not np.isfinite(used).all() or used.max() < min_spread * used.min():
        return None
    sizes, used = sizes**exponent, used**exponent
    # Smaller than MIN_SIZE of the largest is as good as that: such rows are dead, and precision is wasted on them.
    unit = max(float(used.min()), float(used.max()) * MIN_SIZE)
    return of_steps(nearest_steps(8 * np.maximum(sizes / unit, 1)), axis, shape)


def _mean_by_place(
    weights: arrays.Weights,
    shape: tuple[int, ...],
    axis: int,
    term: Callable[[np.ndarray], np.ndarray],
    limits: np.ndarray,
) -> np.ndarray:
    """The mean (float64) of a term of the magnitudes at each place along an axis, those beyond its limit left out.

    From some of the weights (arrays.LazyValues without a mask, or an array).
    """
    total, used = np.zeros(shape[axis]), np.zeros(shape[axis])
    step = max(1, len(weights) // (SAMPLE * len(total)))
    while math.gcd(step, shape[-1]) > 1:  # a step that shares a factor with the last axis would miss places along it
        step += 1
    for block in arrays.blocks(len(weights), step * arrays.BLOCK):
        sample = slice(block.start, block.stop, step)
        place, magnitudes = arrays.places(shape, axis, sample), np.abs(weights[sample].astype(np.float64))
        within = (magnitudes > 0) & (magnitudes <= limits[place])  # many zeros would make outliers of all others
        # bincount adds in order: the same on every machine
        total += np.bincount(place, term(np.where(within, magnitudes, 0.0)), len(total))
        used += np.bincount(place, within, len(total))
    return total / np.maximum(used, 1)
