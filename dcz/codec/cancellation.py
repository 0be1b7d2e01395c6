"""Codes whose rounding errors cancel where their layer adds them up: in the kernels of a convolution, then in its rows.

cancel(kept, codes, levels, rows, step)    ->    codes, some of them one level up or down
"""

import numpy as np

from .. import arrays
from .stages import balance, grid, kernels
from .stages.rows import RowIndex


def cancel(
    weights: arrays.Weights,
    codes: np.ndarray,
    levels: np.ndarray,
    rows: RowIndex | None,
    step: float,
    counted: np.ndarray | None = None,
) -> np.ndarray:
    """See stages.kernels and stages.balance; with `rows` None nothing is known of the layer, and codes stay.

    `weights` (float, flat, finite), `codes` (uint8 or uint16) into `levels` (float64, ascending), about `step` apart.
    `counted`: how often each code occurs, where that is known.
    """
    if rows is None:
        return codes
    slope = grid.rate_slope(step)
    moved = kernels.preserve_kernel_sums(weights, codes, levels, rows.kernel, slope)
    counted = counted if moved is codes else None
    return balance.preserve_row_sums(weights, moved, levels, rows, slope, counted)
