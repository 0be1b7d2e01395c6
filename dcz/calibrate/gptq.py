"""Layer-wise rounding that keeps a layer's outputs: GPTQ with rate-distortion decisions, then coordinate descent.

    weights W [groups, rows, k], hessian H = E[x xT]   ->   Q with tr((W - Q) H (W - Q)T) small, in few bits

1. GPTQ (Frantar et al., "GPTQ: accurate post-training quantization for generative pre-trained transformers", 2022,
   Algorithm 1), after the optimal brain surgeon (Hassibi and Stork, 1993): the columns of W are rounded one after
   another, and the error of each is compensated by those that are not yet rounded.
2. Each weight goes to the level of least squared error times curvature, plus slope * bits (levels.Quantizer). Zero is
   one of the levels: that is pruning.
3. Coordinate descent: sweeps that round every column again, all others being as they are.
4. The levels are fitted to the layer's outputs by least squares (fitting.fit_levels).

H is factored in float64; the columns go in float32, whose rounding is far below any step.
"""

from dataclasses import dataclass

import numpy as np

from ..codec.stages import entropy, grid
from ..encoded import MAX_ENTRIES
from .fitting import fit_levels, output_loss
from .hessian import damping as hessian_damping
from .levels import Quantizer, choose_levels, quantizer_for, round_levels

BLOCK_SIZE = 32  # columns whose errors reach the later ones together, by one product of matrices
FACTOR_BLOCK = 256  # columns that are factored together
SMALL_INVERSE = 64  # columns of a triangular matrix that is inverted without splitting it


@dataclass(frozen=True, eq=False)
class QuantizedWeights:
    """`values` [groups, rows, k] (float64), each one of `levels`.

    `loss`: tr((W - Q) H (W - Q)T) over all groups, H damped. `bits`: the entropy of all codes. `curvature` [groups]:
    the mean loss of a weight's squared error, the weights after it compensating.
    """

    values: np.ndarray
    levels: np.ndarray
    loss: float
    bits: float
    curvature: np.ndarray


def quantize(
    weights: np.ndarray,
    hessian: np.ndarray,
    step: float,
    rate_weight: float = 1.0,
    sweeps: int = 2,
    fit: bool = True,
    fine_bits: int = 0,
) -> QuantizedWeights:
    """Round `weights` [groups, rows, k] to about multiples of `step`, given the `hessian` [groups, k, k] of their
    inputs.

    `rate_weight`: what a bit costs, in multiples of the slope of the rate-distortion curve at this step
    (grid.rate_slope); 0 rounds to the nearest level. `sweeps` of coordinate descent follow the GPTQ pass; `fit`:
    whether the levels are fitted in the end. `fine_bits`: see levels.choose_levels; levels that are
    more than 256 are not fitted.
    """
    order = np.argsort(-np.einsum("gkk->gk", hessian), axis=1, kind="stable")  # GPTQ's act-order: largest diag(H) first
    h, damped = _damped(hessian, order)
    del hessian  # which the caller may not need any more: such matrices are larger than all the rest
    inverse = inverse_cholesky(damped)
    hinv_factor, curvature = inverse.astype(np.float32), np.einsum("gkk->gk", inverse) ** -2.0
    del damped, inverse
    exact = np.take_along_axis(np.swapaxes(weights, 1, 2).astype(np.float64), order[:, :, None], 1)  # [groups, k, rows]
    levels, step = choose_levels(exact, step, fine_bits)
    slope = rate_weight * grid.rate_slope(step) * float(curvature.mean())

    w = exact.astype(np.float32)
    quantizer = quantizer_for(levels, slope)
    codes = quantizer.nearest(w.ravel()).reshape(w.shape)  # only for about the frequency of each level
    for _ in range(2 if rate_weight else 1):
        codes = _gptq_pass(w, hinv_factor, curvature, quantizer.with_rates(codes))
    for _ in range(sweeps):
        codes = _coordinate_descent(w, h, codes, quantizer.with_rates(codes))
    fit = fit and len(levels) <= MAX_ENTRIES
    if fit and (fitted := fit_levels(w, h, codes, levels, slope)) is not None:
        levels, codes = fitted
        levels = round_levels(levels, fine_bits) if fine_bits else levels
        if sweeps:
            codes = _coordinate_descent(w, h, codes, quantizer_for(levels, slope).with_rates(codes))
    q = levels[codes]
    values = np.empty_like(q)
    np.put_along_axis(values, order[:, :, None], q, 1)
    loss, bits = output_loss(exact - q, h), entropy.entropy_bits(np.bincount(codes.ravel()))
    return QuantizedWeights(np.swapaxes(values, 1, 2), levels, loss, bits, curvature.mean(1))


def _damped(hessian: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`hessian` [groups, k, k], damped, its columns in the `order` [groups, k]: as float32, and as float64."""
    groups = np.arange(len(hessian))[:, None, None]
    damped = hessian[groups, order[:, :, None], order[:, None, :]]
    np.einsum("gkk->gk", damped)[...] += hessian_damping(hessian)[:, None]
    return damped.astype(np.float32), damped


def inverse_cholesky(hessian: np.ndarray) -> np.ndarray:
    """The upper triangular U with UT U = inverse of `hessian` [groups, k, k] (GPTQ, section 3.3, step 3), in its place.

    Row j is what GPTQ needs of the inverse once the columns before j are fixed: U[j, j] ** -2 is the loss of a squared
    error in column j that the later columns compensate, and U[j, j + 1:] / U[j, j] how they do. With H = R RT, R upper
    triangular (the Cholesky factor of the columns in reverse order), U is the inverse of R.
    """
    factor_in_place(hessian[:, ::-1, ::-1])
    _invert_in_place(hessian)
    return hessian


def factor_in_place(matrices: np.ndarray) -> None:
    """Change symmetric `matrices` [groups, k, k] into their Cholesky factors L, lower triangular.

    Column block by column block, each from those before it (the left-looking form: Golub and Van Loan, "Matrix
    computations", section 4.2): numpy's own would take two more matrices of this size.
    """
    size = matrices.shape[1]
    for start in range(0, size, FACTOR_BLOCK):
        stop = min(start + FACTOR_BLOCK, size)
        panel = matrices[:, start:, start:stop] - matrices[:, start:, :start] @ np.swapaxes(
            matrices[:, start:stop, :start], 1, 2
        )
        top = np.linalg.cholesky(panel[:, : stop - start])
        matrices[:, :start, start:stop] = 0
        matrices[:, start:stop, start:stop] = top
        if stop < size:
            matrices[:, stop:, start:stop] = panel[:, stop - start :] @ np.swapaxes(np.linalg.inv(top), 1, 2)


def _invert_in_place(upper: np.ndarray) -> None:
    """Change upper triangular matrices [groups, k, k] into their inverses, by halves: products of matrices, for the
    most part."""
    size = upper.shape[1]
    if size <= SMALL_INVERSE:
        upper[...] = np.triu(np.linalg.inv(upper))
        return
    half = size // 2
    first, last, corner = upper[:, :half, :half], upper[:, half:, half:], upper[:, :half, half:]
    _invert_in_place(first)
    _invert_in_place(last)
    corner[...] = -first @ (corner @ last)


def _gptq_pass(w: np.ndarray, hinv_factor: np.ndarray, curvature: np.ndarray, quantizer: Quantizer) -> np.ndarray:
    """Codes [groups, k, rows] of columns rounded in order, the error of each compensated by the later ones.

    GPTQ, Algorithm 1, with its lazy updates: within a block at once, beyond it block by block.
    """
    w = w.copy()
    codes = np.empty(w.shape, np.intp)
    size = w.shape[1]
    levels, decider = quantizer.levels.astype(np.float32), quantizer.decider(curvature)
    for start in range(0, size, BLOCK_SIZE):
        stop = min(start + BLOCK_SIZE, size)
        errors = np.empty((w.shape[0], stop - start, w.shape[2]), np.float32)
        for j in range(start, stop):
            column = w[:, j]
            codes[:, j] = chosen = decider(j, column)
            error = (column - levels.take(chosen)) / hinv_factor[:, j, j, None]
            w[:, j + 1 : stop] -= hinv_factor[:, j, j + 1 : stop, None] * error[:, None]
            errors[:, j - start] = error
        w[:, stop:] -= np.swapaxes(hinv_factor[:, start:stop, stop:], 1, 2) @ errors
    return codes


def _coordinate_descent(w: np.ndarray, h: np.ndarray, codes: np.ndarray, quantizer: Quantizer) -> np.ndarray:
    """Codes [groups, k, rows] after one sweep that decides every column anew, the others being as they are.

    As in Behdin et al., "QuantEase: optimization-based quantization for language models", 2023. With all other columns
    fixed, column j has its least loss at q_j + gradient_j / H[j, j], where gradient = H (W - Q); the loss plus the
    cost of the codes never grows.
    """
    codes = codes.copy()
    levels = quantizer.levels.astype(np.float32)
    gradient = h @ (w - levels.take(codes))
    curvature = np.einsum("gkk->gk", h)
    size, decider = w.shape[1], quantizer.decider(curvature)
    for start in range(0, size, BLOCK_SIZE):
        stop = min(start + BLOCK_SIZE, size)
        changes = np.empty((w.shape[0], stop - start, w.shape[2]), np.float32)
        for j in range(start, stop):
            q = levels.take(codes[:, j])
            codes[:, j] = chosen = decider(j, q + gradient[:, j] / curvature[:, j, None])
            changes[:, j - start] = change = levels.take(chosen) - q
            gradient[:, j + 1 : stop] -= h[:, j + 1 : stop, j, None] * change[:, None]
        gradient[:, stop:] -= h[:, stop:, start:stop] @ changes
    return codes
