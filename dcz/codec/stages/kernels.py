"""Kernel-sum-preserving rounding: codes -> codes whose rounding errors nearly cancel in each kernel of a convolution.

    kernel 0.4 0.4 0.4 0.9, whole levels:   to nearest 0 0 0 1, sum 1   here 0 0 1 1, sum 2 (exactly 2.1)

The weights of a kernel meet neighbouring places of one channel, which are alike. If any two of them have the
correlation c, errors e of a kernel add (1 - c) sum(e^2) + c sum(e)^2 to the output's, in units of the variance of a
place. So a weight is rounded to its other neighbour where this, and what it takes in bits, gets less. SQuant (Guo et
al., "SQuant: on-the-fly data-free quantization via diagonal Hessian approximation", 2022) makes the sums of kernels
small before those of rows, which stages.balance does.
"""

import numpy as np

from ... import arrays
from . import moves

# The correlation of two places under a kernel, chosen by calibration images of SqueezeNet and of a ResNet-32: of 0.3 to
# 0.9 it was best, by little.
ALIKE = 0.5
MAX_KERNEL = 49  # weights: places further apart are not alike
ROUNDS = 2  # weights of a kernel that are moved, at most
MIN_SUM = 0.5  # gaps between levels, up to which the sum of the errors of a kernel is near enough to zero


def preserve_kernel_sums(
    weights: arrays.Weights, codes: np.ndarray, levels: np.ndarray, size: int, slope: float
) -> np.ndarray:
    """Codes, some of them one level up or down, that err less at the outputs of a convolution.

    `weights` (float, flat, finite), `codes` (uint8 or uint16) into `levels` (float64, ascending); each `size` of them
    are a kernel. `slope` is the squared error that a bit is worth: see grid.rate_slope.
    """
    if len(levels) < 2 or not 1 < size <= MAX_KERNEL:
        return codes
    gap = float(np.median(np.diff(levels)))
    changes = moves.level_changes(levels)
    costs = moves.costs(codes, levels, changes, slope) / (gap * gap)
    changes /= gap
    rounded = codes.copy()

    def round_block(block: slice) -> None:
        code = rounded[block].reshape(-1, size)  # a view
        errors = levels.take(code)
        errors -= weights[block].reshape(-1, size)
        errors = np.rint(errors * (moves.UNIT / gap)) / moves.UNIT  # whole units: their sums are exact
        unsettled = np.arange(len(code))
        for _ in range(ROUNDS):
            unsettled = _move_one(code, errors, unsettled, changes, costs)

    arrays.over_blocks(round_block, len(codes), arrays.BLOCK // size * size)
    return rounded


def _move_one(
    code: np.ndarray, errors: np.ndarray, kernels: np.ndarray, changes: np.ndarray, costs: np.ndarray
) -> np.ndarray:
    """Move a weight of each of the `kernels` (numbers of rows) a level, in place, where that errs less at the output:
    the one for which it errs least. The kernels of which one was moved.

    `code` and `errors` [kernels, size]; `changes` and `costs` [2, codes] of a move down and up (see moves). All errors
    are in gaps between levels.
    """
    sums = errors[kernels].sum(axis=1)
    is_large = np.abs(sums) > MIN_SUM
    kernels, sums = kernels[is_large], sums[is_large]
    direction = (sums < 0).astype(np.intp)  # down (0) where the values are too large in all, else up (1)
    entry = code[kernels] + direction[:, None] * changes.shape[1]
    change = changes.take(entry)
    # What a change d of an error e adds to (1 - c) sum(e^2) + c sum(e)^2 is d^2 + 2 d ((1 - c) e + c sum(e)); the costs
    # are d^2, and bits.
    added = costs.take(entry) + 2 * change * ((1 - ALIKE) * errors[kernels] + ALIKE * sums[:, None])
    best = added.argmin(axis=1)
    every = np.arange(len(best))
    pays = added[every, best] < 0
    kernels, best, direction, every = kernels[pays], best[pays], direction[pays], every[pays]
    errors[kernels, best] += change[every, best]
    one_down = np.iinfo(code.dtype).max  # modulo 256 or 65536
    code[kernels, best] += np.where(direction == 1, 1, one_down).astype(code.dtype)
    return kernels
