"""The levels that weights are rounded to: where they lie, and which one a weight takes.

levels, step = choose_levels(weights, 0.02)                multiples of a step, and a few more for outliers
quantizer = quantizer_for(levels, slope).with_rates(codes)  a level costs what its frequency among `codes` says
quantizer.decider(curvature)(j, values)                     codes of least distortion + slope * bits, in column j
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..codec.stages import entropy, grid, share
from ..encoded import MAX_ENTRIES

OUTLIER_LEVELS = 32  # for outliers, where a uniform grid would need more entries than a codebook holds
MAX_BULK_LEVELS = MAX_ENTRIES - OUTLIER_LEVELS - 4  # for the other weights then
MAX_FINE_LEVELS = 60_000  # of a fine codebook, with room for error feedback
# Significant bits of float32, and of float32 times a scale of four bits: the product is exact.
FLOAT_BITS, SCALED_BITS = 24, 20
STEP_BITS = 8  # of a step of a fine grid, at most
CLASSES_PER_OCTAVE = 8  # of curvature: columns of one class have the same thresholds
BULK_QUANTILES = (0.0005, 0.9995)  # weights between these are no outliers


def choose_levels(weights: np.ndarray, step: float, fine_bits: int = 0) -> tuple[np.ndarray, float]:
    """Levels (float64, ascending, zero among them) at multiples of `step`, and the step: larger where the codebook is
    too small. Outliers get k-means centroids of their own.

    With `fine_bits` the codebook may be a fine one (spec, section 8.2), whose levels have so many significant bits: it
    is, where one of 256 levels would make the step larger.
    """
    low, high = min(0.0, float(weights.min())), max(0.0, float(weights.max()))
    if low == high:
        return np.zeros(1), step
    if high - low <= step * (MAX_ENTRIES - 4):
        return _multiples(weights, step), step
    if fine_bits and step < min_step(weights):
        step = max(step, (high - low) / MAX_FINE_LEVELS)
        reach = math.ceil(math.log2(max(-low, high) / step + 2))
        step = grid.round_step(step, max(1, min(fine_bits - reach, STEP_BITS)))
        return _multiples(weights, step), step
    step = grid.round_step(max(step, min_step(weights), (high - low) / 2**20))
    bulk = _is_bulk(weights, step)
    if bulk.all():
        return _multiples(weights, step), step
    if not bulk.any():  # all of them far from zero, close together
        levels = np.union1d(0.0, share.kmeans(weights.ravel(), MAX_ENTRIES - 1).centroids)
        step = min(step, float(np.ptp(weights)) / MAX_ENTRIES)  # as far as they lie apart
    else:
        outliers = share.kmeans(weights[~bulk], OUTLIER_LEVELS).centroids
        levels = np.union1d(_multiples(weights[bulk], step), outliers)
    return (np.unique(round_levels(levels, fine_bits)) if fine_bits else levels), step


def round_levels(levels: np.ndarray, bits: int) -> np.ndarray:
    """Each level (float64) rounded to so many significant bits."""
    mantissas, exponents = np.frexp(levels)
    rounded: np.ndarray = np.ldexp(np.rint(np.ldexp(mantissas, bits)), exponents - bits)
    return rounded


def finest_step(weights: np.ndarray) -> float:
    """The finest step that a fine codebook has room for."""
    return (max(0.0, float(weights.max())) - min(0.0, float(weights.min()))) / MAX_FINE_LEVELS


def min_step(weights: np.ndarray) -> float:
    """The finest step that a codebook has room for, some of it being kept for outliers."""
    bulk = np.append(np.quantile(weights, BULK_QUANTILES), 0.0)  # zero is a level even where all are of one sign
    return float(np.ptp(bulk)) / MAX_BULK_LEVELS


def _is_bulk(weights: np.ndarray, step: float) -> np.ndarray:
    """Mask of the weights in a range of MAX_BULK_LEVELS steps about zero, divided between the signs as the bulk is."""
    low, high = (abs(float(q)) for q in np.quantile(weights, BULK_QUANTILES))
    reach = MAX_BULK_LEVELS * step * (np.array([low, high]) / max(low + high, 1e-300))
    mask: np.ndarray = (weights >= -reach[0] - step / 2) & (weights <= reach[1] + step / 2)
    return mask


def _multiples(weights: np.ndarray, step: float) -> np.ndarray:
    """The multiples of `step` that span the weights, and one more on either side: error feedback may push them out."""
    low, high = min(0.0, float(weights.min())), max(0.0, float(weights.max()))
    multiples: np.ndarray = np.arange(round(low / step) - 1, round(high / step) + 2) * step
    return multiples


@dataclass(frozen=True, eq=False)
class Quantizer:
    """An entropy-constrained scalar quantizer (Chou, Lookabaugh and Gray, "Entropy-constrained vector quantization",
    1989): a value goes to the level with the least curvature * squared error + slope * bits.

    `rate_costs` [levels]: slope * bits of each code. `inverse_step`: None where the levels are not evenly spaced.
    """

    levels: np.ndarray
    slope: float
    midpoints: np.ndarray
    zero: int
    rate_costs: np.ndarray
    inverse_step: float | None

    def with_rates(self, codes: np.ndarray) -> "Quantizer":
        """The same, each code costing -log2 of its frequency among `codes`; one that never occurs, as half of one."""
        count = np.bincount(codes.ravel(), minlength=len(self.levels))
        return replace(self, rate_costs=self.slope * entropy.ideal_lengths(count, codes.size))

    def nearest(self, values: np.ndarray) -> np.ndarray:
        """The code of the level nearest to each value."""
        if self.inverse_step is None:
            return np.searchsorted(self.midpoints, values)
        codes = np.rint((values - self.levels[0]) * self.inverse_step)
        nearest: np.ndarray = np.clip(codes, 0, len(self.levels) - 1).astype(np.intp)
        return nearest

    def decider(self, curvature: np.ndarray) -> Callable[[int, np.ndarray], np.ndarray]:
        """The code of each value [groups, rows] of a column, by the column's number; `curvature` [groups, k] weighs
        the squared errors.

        Of matrices in groups, or where the levels are more than a codebook has, only three levels are compared, as in
        the rate-distortion optimized quantization of video coders: the nearest one, its neighbour toward zero, and
        zero.
        """
        if not self.slope:
            return lambda column, values: self.nearest(values)
        if len(curvature) > 1 or len(self.levels) > MAX_ENTRIES:
            return lambda column, values: self._best_of_three(values, curvature[:, column, None])
        classes, of_column = np.unique(np.rint(CLASSES_PER_OCTAVE * np.log2(curvature[0])), return_inverse=True)
        table = [self._thresholds(2.0 ** (each / CLASSES_PER_OCTAVE)).astype(np.float32) for each in classes]
        return lambda column, values: np.searchsorted(table[of_column[column]], values)

    def _thresholds(self, curvature: float) -> np.ndarray:
        """Between which values each level is the best: [levels - 1], ascending.

        Two neighbours cost the same at their middle plus the difference of their rates over 2 * curvature * distance. A
        level that is never the best has its thresholds pooled: the lower envelope of the costs, by the pool of adjacent
        violators (Barlow et al., "Statistical inference under order restrictions", 1972).
        """
        gaps = np.diff(self.levels)
        single = self.midpoints + np.diff(self.rate_costs) / (2 * curvature * gaps)
        pools: list[tuple[float, float, int]] = []  # threshold, width, levels
        for threshold, width in zip(single.tolist(), gaps.tolist(), strict=True):
            pool = (threshold, width, 1)
            while pools and pools[-1][0] >= pool[0]:
                before = pools.pop()
                total = before[1] + pool[1]
                pool = ((before[0] * before[1] + pool[0] * pool[1]) / total, total, before[2] + pool[2])
            pools.append(pool)
        return np.repeat([threshold for threshold, _, _ in pools], [count for _, _, count in pools])

    def _best_of_three(self, values: np.ndarray, curvature: np.ndarray) -> np.ndarray:
        best = self.nearest(values)
        cost = curvature * (values - self.levels[best]) ** 2 + self.rate_costs[best]
        for other in (best - np.sign(best - self.zero), np.full_like(best, self.zero)):
            other_cost = curvature * (values - self.levels[other]) ** 2 + self.rate_costs[other]
            better = other_cost < cost
            best, cost = np.where(better, other, best), np.where(better, other_cost, cost)
        return best


def quantizer_for(levels: np.ndarray, slope: float) -> Quantizer:
    """A quantizer to `levels` (ascending) in which a bit costs `slope`; at first all bits are free."""
    spacing = np.diff(levels)
    even = len(levels) > 1 and np.ptp(spacing) < 1e-9 * spacing[0]
    return Quantizer(
        levels=levels,
        slope=slope,
        midpoints=(levels[1:] + levels[:-1]) / 2,
        zero=int(np.argmin(np.abs(levels))),
        rate_costs=np.zeros(len(levels)),
        inverse_step=1 / spacing[0] if even else None,
    )
