"""The levels that weights are rounded to: where they lie, which one a weight takes, and how they are refitted.

levels, step = choose_levels(weights, 0.02)                multiples of a step, and a few more for outliers
quantizer = quantizer_for(levels, slope).with_rates(codes)  a level costs what its frequency among `codes` says
quantizer.decide(values, curvature)                         codes of least distortion + slope * bits
fit_levels(w, hessian, codes, levels, slope)                levels of least output error for these codes
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from ..codec.stages import entropy, grid, share
from ..encoded import MAX_ENTRIES

OUTLIER_LEVELS = 32  # for outliers, where a uniform grid would need more entries than a codebook holds
MAX_BULK_LEVELS = MAX_ENTRIES - OUTLIER_LEVELS - 4  # for the other weights then
MAX_FITTED_LEVELS = 64  # levels that least squares fits: the most frequent ones
MAX_FINE_LEVELS = 60_000  # of a fine codebook, with room for error feedback
# Significant bits of float32, and of float32 times a scale of four bits: the product is exact.
FLOAT_BITS, SCALED_BITS = 24, 20
STEP_BITS = 8  # of a step of a fine grid, at most
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
    return float(np.ptp(np.append(weights, 0.0))) / MAX_FINE_LEVELS


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

    As in the rate-distortion optimized quantization of video coders only three levels are compared: the nearest one,
    its neighbour toward zero, and zero. `rate_costs` [levels]: slope * bits of each code. `inverse_step`: None where
    the levels are not evenly spaced.
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

    def decide(self, values: np.ndarray, curvature: np.ndarray) -> np.ndarray:
        """The code of each value [groups, rows]; `curvature` [groups, 1] weighs its squared error."""
        best = self.nearest(values)
        if not self.slope:
            return best
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


def fit_levels(
    w: np.ndarray, hessian: np.ndarray, codes: np.ndarray, levels: np.ndarray, slope: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Levels of least output error for given codes, zero staying zero, and the codes numbered anew for them.

    Lloyd's centroid condition (Lloyd, "Least squares quantization in PCM", 1982), for the quadratic form of `hessian`
    [groups, k, k] instead of the plain sum of squares. With E = w - levels[codes] [groups, k, rows] and the indicators
    S_a = (codes == a), the loss tr(ET H E) is quadratic in the levels; changes d of least loss solve A d = b, where
    A[a, c] = <S_a, H S_c> and b[a] = <S_a, H E>.

    None where there is nothing to fit, or the codebook's bits cost more than the fit saves: entries off the grid take
    16 bits (float16) or 32.
    """
    count = np.bincount(codes.ravel(), minlength=len(levels))
    used = count > 0
    fitted = np.argsort(-count, kind="stable")[:MAX_FITTED_LEVELS]
    fitted = np.sort(fitted[(count[fitted] > 0) & (levels[fitted] != 0)])
    if not len(fitted):
        return None
    errors = w - levels[codes]
    normal, right = _normal_equations(hessian, codes, errors, fitted, len(levels))
    wide = levels.copy()
    try:
        wide[fitted] += np.linalg.solve(normal, right)
    except np.linalg.LinAlgError:
        return None
    new, cost = _in_cheaper_type(wide, w, hessian, codes, slope * np.count_nonzero(used))
    if cost >= output_loss(errors, hessian):
        return None
    kept, numbers = np.unique(np.append(new[used], 0.0), return_inverse=True)
    renumbered = np.zeros(len(levels), np.intp)
    renumbered[used] = numbers[:-1]
    return kept, renumbered[codes]


def _normal_equations(
    hessian: np.ndarray, codes: np.ndarray, errors: np.ndarray, fitted: np.ndarray, level_count: int
) -> tuple[np.ndarray, np.ndarray]:
    """A and b of `fit_levels`, for the levels of the codes `fitted`."""
    h32 = hessian.astype(np.float32)
    right = np.bincount(codes.ravel(), (hessian @ errors).ravel(), level_count)[fitted]
    normal = np.empty((len(fitted), len(fitted)))
    for row, code in enumerate(fitted):
        product = h32 @ (codes == code).astype(np.float32)
        normal[row] = np.bincount(codes.ravel(), product.ravel(), level_count)[fitted]
    normal = (normal + normal.T) / 2
    normal[np.diag_indices_from(normal)] *= 1.001  # rounded to float32 it may look indefinite
    return normal, right


def _in_cheaper_type(
    wide: np.ndarray, w: np.ndarray, hessian: np.ndarray, codes: np.ndarray, bit_of_each: float
) -> tuple[np.ndarray, float]:
    """Levels as float16 or float32, whichever has the lower cost, loss + cost of the codebook's bits; and that cost.

    `bit_of_each`: the cost of one bit in every entry. Of float32 they have the bits that grid.round_entries leaves.
    """
    wide = grid.round_entries(wide)
    with np.errstate(over="ignore"):
        half = wide.astype(np.float16).astype(np.float64)
    wide_cost = output_loss(w - wide[codes], hessian) + 32 * bit_of_each
    half_loss = output_loss(w - half[codes], hessian) if np.isfinite(half).all() else math.inf
    half_cost = half_loss + 16 * bit_of_each
    return (half, half_cost) if half_cost <= wide_cost else (wide, wide_cost)


def output_loss(errors: np.ndarray, hessian: np.ndarray) -> float:
    """tr(ET H E), summed over all groups: the mean squared error of a layer's outputs, for `errors` [groups, k, rows]
    of its weights."""
    return float(np.einsum("gkr,gkr->", errors, hessian @ errors))
