"""Levels fitted to a layer's outputs by least squares.

fit_levels(w, hessian, codes, levels, slope)    ->    levels of least output error for these codes, and the codes
"""

import math

import numpy as np

from ..codec.stages import grid

MAX_FITTED_LEVELS = 64  # levels that least squares fits: the most frequent ones
MIN_COUNT = 4  # weights of a level that is fitted to a part of the rows
# Weights of the rows that levels are fitted to, and rows at least: of a large matrix, a part tells as much.
SAMPLED_WEIGHTS, MIN_ROWS = 1 << 17, 32
MAX_ITERATIONS, TOLERANCE = 24, 1e-4  # of conjugate gradients; of the residual


def fit_levels(
    w: np.ndarray, hessian: np.ndarray, codes: np.ndarray, levels: np.ndarray, slope: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Levels of least output error for given codes, zero staying zero, and the codes numbered anew for them.

    Lloyd's centroid condition (Lloyd, "Least squares quantization in PCM", 1982), for the quadratic form of `hessian`
    [groups, k, k] instead of the plain sum of squares. With E = w - levels[codes] [groups, k, rows] and the indicators
    S_a = (codes == a), the loss tr(ET H E) is quadratic in the levels; changes d of least loss solve A d = b, where
    A[a, c] = <S_a, H S_c> and b[a] = <S_a, H E>. A is never made: conjugate gradients ask for A d, one product with H.

    None where there is nothing to fit, or the codebook's bits cost more than the fit saves: entries off the grid take
    16 bits (float16) or 32.
    """
    used = np.bincount(codes.ravel(), minlength=len(levels)) > 0
    errors = w - levels[codes]
    rows = _sampled_rows(w)
    some = codes[:, :, rows]
    count = np.bincount(some.ravel(), minlength=len(levels))
    fitted = np.argsort(-count, kind="stable")[:MAX_FITTED_LEVELS]
    least = 1 if rows.step == 1 else MIN_COUNT
    fitted = np.sort(fitted[(count[fitted] >= least) & (levels[fitted] != 0)])
    if not len(fitted):
        return None
    wide = levels.copy()
    wide[fitted] += _changes(hessian, some, errors[:, :, rows], fitted, len(levels))
    new, cost = _in_cheaper_type(wide, w, hessian, codes, slope * np.count_nonzero(used))
    if not cost < output_loss(errors, hessian):
        return None
    kept, numbers = np.unique(np.append(new[used], 0.0), return_inverse=True)
    renumbered = np.zeros(len(levels), np.intp)
    renumbered[used] = numbers[:-1]
    return kept, renumbered[codes]


def _sampled_rows(w: np.ndarray) -> slice:
    """Rows, evenly spaced, that have weights enough."""
    groups, size, rows = w.shape
    wanted = max(MIN_ROWS, -(-SAMPLED_WEIGHTS // (groups * size)))
    return slice(None, None, max(1, rows // wanted))


def _changes(
    hessian: np.ndarray, codes: np.ndarray, errors: np.ndarray, fitted: np.ndarray, level_count: int
) -> np.ndarray:
    """The solution d of A d = b in `fit_levels` for the levels of the codes `fitted`, by conjugate gradients with the
    diagonal of A for a preconditioner."""
    flat, h32 = codes.ravel(), hessian.astype(np.float32, copy=False)

    def gathered(product: np.ndarray) -> np.ndarray:
        sums: np.ndarray = np.bincount(flat, product.ravel(), level_count)[fitted]
        return sums

    def apply(change: np.ndarray) -> np.ndarray:
        table = np.zeros(level_count, np.float32)
        table[fitted] = change
        return gathered(h32 @ table.take(codes))

    diagonal = np.einsum("gkk->gk", hessian)
    scale = 1 / np.maximum(gathered(np.broadcast_to(diagonal[:, :, None], codes.shape)), 1e-300)
    residual = gathered(h32 @ errors.astype(np.float32))
    change, preconditioned = np.zeros(len(fitted)), residual * scale
    direction, power = preconditioned, float(residual @ preconditioned)
    goal = TOLERANCE**2 * power
    for _ in range(MAX_ITERATIONS):
        if not power > goal:
            break
        image = apply(direction)
        curvature = float(direction @ image)
        if not curvature > 0:  # rounded to float32 it may look indefinite
            break
        change = change + power / curvature * direction
        residual = residual - power / curvature * image
        preconditioned = residual * scale
        before, power = power, float(residual @ preconditioned)
        direction = preconditioned + power / before * direction
    return change


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
    errors32 = errors.astype(np.float32, copy=False)
    return float(np.einsum("gkr,gkr->", errors, hessian.astype(np.float32, copy=False) @ errors32))
