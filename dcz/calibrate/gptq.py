"""Matrices -> few values, each error carried into what is not rounded yet.

    weights W [groups, rows, k], moment H = E[x xT]   ->   Q with tr((W - Q) H (W - Q)T) small, in few bits

Columns are rounded one after another (Frantar et al., "GPTQ", 2022; Hassibi and Stork, "Optimal brain surgeon", 1992);
a weight goes where its squared error, times its column's curvature, plus slope * bits is least. Zero is one of the
places it may go to: that is pruning. Sweeps over all columns then improve each with the others as they are, and
the levels are fitted to the layer's output by least squares.
"""

import math
from dataclasses import dataclass

import numpy as np

from ..codec.stages import share
from ..codec.stages.grid import rate_slope, round_step
from ..encoded import MAX_ENTRIES

DAMPING = 0.01  # of the mean curvature, added to each: what 256 samples say of the rest is not to be trusted fully
BLOCK = 64  # columns whose errors reach the later ones together, by one product of matrices
FAR = 32  # levels for outliers, where a grid would need more than a codebook holds
MOST_BULK = MAX_ENTRIES - FAR - 4  # levels for the others then
FITTED = 64  # levels that least squares moves: the most frequent ones


@dataclass(frozen=True, eq=False)
class Rounded:
    """`values` [groups, rows, k] (float64), each one of `levels`; `loss` is tr((W - Q) H (W - Q)T) over all groups,
    `bits` the entropy of the codes, `curvature` the mean loss of a weight's squared error, others making up for it."""

    values: np.ndarray
    levels: np.ndarray
    loss: float
    bits: float
    curvature: float


def compensated(
    weights: np.ndarray,
    moment: np.ndarray,
    step: float,
    eagerness: float = 1.0,
    sweeps: int = 2,
    fit: bool = True,
) -> Rounded:
    """Round `weights` [groups, rows, k] to about multiples of `step`, given their inputs' `moment` [groups, k, k].

    `eagerness` times the slope of the rate-distortion curve at this step is the loss that a bit is worth: 0 rounds to
    the nearest level. `sweeps` over all columns follow the first; `fit` moves the levels in the end.
    """
    moment = damped(moment)
    order = np.argsort(-np.einsum("gkk->gk", moment), axis=1, kind="stable")
    w = np.take_along_axis(np.swapaxes(weights, 1, 2).astype(np.float64), order[:, :, None], 1)  # [groups, k, rows]
    h = np.take_along_axis(np.take_along_axis(moment, order[:, :, None], 1), order[:, None, :], 2)
    carry = carrier(h)
    curvature = np.einsum("gkk->gk", carry) ** -2.0
    levels, step = grid(w, step)
    slope = eagerness * rate_slope(step) * float(curvature.mean())

    choice = _Choice(levels, slope)
    codes = choice.nearest(w.ravel()).reshape(w.shape)  # only to know about how often each level occurs
    for _ in range(2 if eagerness else 1):
        choice.count(codes)
        codes = _carried(w, carry, curvature, choice)
    for _ in range(sweeps):
        choice.count(codes)
        codes = _swept(w, h, codes, choice)
    if fit and (fitted := _fitted(w, h, codes, levels, slope)) is not None:
        levels, codes = fitted
        if sweeps:
            choice = _Choice(levels, slope)
            choice.count(codes)
            codes = _swept(w, h, codes, choice)
    q = levels[codes]
    loss = _loss(w - q, h)
    count = np.bincount(codes.ravel(), minlength=len(levels))
    count = count[count > 0]
    bits = float((count * np.log2(codes.size / count)).sum())
    back = np.empty_like(q)
    np.put_along_axis(back, order[:, :, None], q, 1)
    return Rounded(np.swapaxes(back, 1, 2), levels, loss, bits, float(curvature.mean()))


def damped(moment: np.ndarray) -> np.ndarray:
    """`moment` (float64) with a share of its mean diagonal added to the diagonal, so that it can be inverted."""
    size = moment.shape[1]
    mean = np.einsum("gkk->g", moment) / size
    mean = np.maximum(mean, max(float(mean.mean()) * 1e-3, 1e-30))  # a group that never saw anything
    return moment + (DAMPING * mean)[:, None, None] * np.eye(size)


def carrier(moment: np.ndarray) -> np.ndarray:
    """U (upper triangular) with UT U = inverse of `moment`: U[j, j + 1:] / U[j, j] carries the error of column j."""
    lower = np.linalg.cholesky(np.linalg.inv(moment))
    return np.swapaxes(lower, 1, 2)


def grid(weights: np.ndarray, step: float) -> tuple[np.ndarray, float]:
    """Levels (ascending, zero among them) at multiples of `step`, and the step: larger where the codebook is too small.

    Where a few weights lie far out they get levels of their own.
    """
    low, high = min(0.0, float(weights.min())), max(0.0, float(weights.max()))
    if low == high:
        return np.zeros(1), step
    if high - low <= step * (MAX_ENTRIES - 4):
        return _multiples(weights, step), step
    step = round_step(max(step, finest(weights), (high - low) / 2**20))
    near = _within(weights, step, MOST_BULK)
    if near.all():
        return _multiples(weights, step), step
    if not near.any():  # all of them far from zero, close together
        return np.union1d(0.0, share.kmeans(weights.ravel(), MAX_ENTRIES - 1).centroids), step
    return np.union1d(_multiples(weights[near], step), share.kmeans(weights[~near], FAR).centroids), step


def finest(weights: np.ndarray) -> float:
    """The finest step that a codebook has room for, some of it being kept for outliers."""
    bulk = np.append(np.quantile(weights, [0.0005, 0.9995]), 0.0)  # the more so where these are not all of one sign
    return float(np.ptp(bulk)) / MOST_BULK


def _within(weights: np.ndarray, step: float, most: int) -> np.ndarray:
    """Which weights lie in the range of `most` steps about zero that takes in the most of both sides."""
    low, high = (abs(float(q)) for q in np.quantile(weights, [0.0005, 0.9995]))
    reach = most * step * (np.array([low, high]) / max(low + high, 1e-300))
    return (weights >= -reach[0] - step / 2) & (weights <= reach[1] + step / 2)


def _multiples(weights: np.ndarray, step: float) -> np.ndarray:
    """One level beyond the weights on either side: what is carried may push them out."""
    low, high = min(0.0, float(weights.min())), max(0.0, float(weights.max()))
    return np.arange(round(low / step) - 1, round(high / step) + 2) * step


class _Choice:
    """Decides to which level a weight goes: the nearest one, the next toward zero, or zero."""

    def __init__(self, levels: np.ndarray, slope: float):
        self.levels, self.slope = levels, slope
        self.middles = (levels[1:] + levels[:-1]) / 2
        self.zero = int(np.argmin(np.abs(levels)))
        self.price = np.zeros(len(levels))
        spacing = np.diff(levels)
        even = len(levels) > 1 and np.ptp(spacing) < 1e-9 * spacing[0]
        self.per_step = 1 / spacing[0] if even else None

    def count(self, codes: np.ndarray) -> None:
        """Let a level cost what its share of `codes` says."""
        count = np.bincount(codes.ravel(), minlength=len(self.levels))
        self.price = self.slope * -np.log2(np.maximum(count, 0.5) / codes.size)

    def nearest(self, wanted: np.ndarray) -> np.ndarray:
        if self.per_step is None:
            return np.searchsorted(self.middles, wanted)
        place = np.rint((wanted - self.levels[0]) * self.per_step)
        return np.clip(place, 0, len(self.levels) - 1).astype(np.intp)

    def __call__(self, wanted: np.ndarray, curvature: np.ndarray | float) -> np.ndarray:
        """The code of each wanted value (flat or [groups, rows], with curvature [groups, 1])."""
        best = self.nearest(wanted)
        if not self.slope:
            return best
        cost = curvature * (wanted - self.levels[best]) ** 2 + self.price[best]
        for other in (best - np.sign(best - self.zero), np.full_like(best, self.zero)):
            other_cost = curvature * (wanted - self.levels[other]) ** 2 + self.price[other]
            better = other_cost < cost
            best, cost = np.where(better, other, best), np.where(better, other_cost, cost)
        return best


def _carried(w: np.ndarray, carry: np.ndarray, curvature: np.ndarray, choice: _Choice) -> np.ndarray:
    """Codes [groups, k, rows] of columns rounded in order, the error of each carried into the later ones."""
    w = w.copy()
    codes = np.empty(w.shape, np.intp)
    size = w.shape[1]
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        errors = np.empty((w.shape[0], stop - start, w.shape[2]))
        for j in range(start, stop):
            codes[:, j] = choice(w[:, j], curvature[:, j, None])
            error = (w[:, j] - choice.levels[codes[:, j]]) / carry[:, j, j, None]
            w[:, j + 1 : stop] -= carry[:, j, j + 1 : stop, None] * error[:, None]
            errors[:, j - start] = error
        w[:, stop:] -= np.swapaxes(carry[:, start:stop, stop:], 1, 2) @ errors
    return codes


def _swept(w: np.ndarray, h: np.ndarray, codes: np.ndarray, choice: _Choice) -> np.ndarray:
    """Codes of each column chosen anew, one after another, with all others as they are: the loss plus the price of the
    codes never grows."""
    codes = codes.copy()
    pull = h @ (w - choice.levels[codes])
    curvature = np.einsum("gkk->gk", h)
    size = w.shape[1]
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        moves = np.empty((w.shape[0], stop - start, w.shape[2]))
        for j in range(start, stop):
            now = choice.levels[codes[:, j]]
            codes[:, j] = choice(now + pull[:, j] / curvature[:, j, None], curvature[:, j, None])
            moves[:, j - start] = choice.levels[codes[:, j]] - now
            pull[:, j + 1 : stop] -= h[:, j + 1 : stop, j, None] * moves[:, None, j - start]
        pull[:, stop:] -= h[:, stop:, start:stop] @ moves
    return codes


def _fitted(
    w: np.ndarray, h: np.ndarray, codes: np.ndarray, levels: np.ndarray, slope: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Levels of least loss for these codes, zero staying zero, and codes that fit them; None where the codebook would
    cost more than that saves."""
    count = np.bincount(codes.ravel(), minlength=len(levels))
    moved = np.argsort(-count, kind="stable")[:FITTED]
    moved = np.sort(moved[(count[moved] > 0) & (levels[moved] != 0)])
    if not len(moved):
        return None
    narrow = h.astype(np.float32)
    errors = w - levels[codes]
    pull = np.bincount(codes.ravel(), (h @ errors).ravel(), len(levels))[moved]
    normal = np.empty((len(moved), len(moved)))
    for place, level in enumerate(moved):
        reached = narrow @ (codes == level).astype(np.float32)
        normal[place] = np.bincount(codes.ravel(), reached.ravel(), len(levels))[moved]
    normal = (normal + normal.T) / 2
    normal[np.diag_indices_from(normal)] *= 1.001  # columns of float32 may make it look indefinite
    new = levels.copy()
    try:
        new[moved] += np.linalg.solve(normal, pull)
    except np.linalg.LinAlgError:
        return None
    used = count > 0
    with np.errstate(over="ignore"):
        half = new.astype(np.float16).astype(np.float64)
    wide_loss = _loss(w - new[codes], h)
    half_loss = _loss(w - half[codes], h) if np.isfinite(half).all() else math.inf
    entries = slope * np.count_nonzero(used)
    if half_loss + 16 * entries <= wide_loss + 32 * entries:
        new, best = half, half_loss + 16 * entries
    else:
        best = wide_loss + 32 * entries
    if best >= _loss(errors, h):
        return None
    new = np.where(used, new, levels)
    kept, numbers = np.unique(np.append(new[used], 0.0), return_inverse=True)
    renumbered = np.zeros(len(levels), np.intp)
    renumbered[used] = numbers[:-1]
    return kept, renumbered[codes]


def _loss(errors: np.ndarray, h: np.ndarray) -> float:
    """tr(E H ET) over all groups, with errors [groups, k, rows]."""
    return float(np.einsum("gkr,gkr->", errors, h @ errors))
