"""Rows of different size under one codebook: a scale for each place along an axis (spec, section 8.1).

    rows of root mean square 0.01 and 3.2   ->   steps 0 66, scales 8 and 2560, and weights / scales of the same size

Rows of a depthwise convolution read different inputs: what counts is each row's own relative error. One step for all of
them would leave the small ones without precision; after folding a normalization they differ by up to 1000 times.
Scales are integers with four significant bits, one byte each before Huffman coding; the codebook takes up the rest.
"""

import math
from dataclasses import dataclass

import numpy as np

MAX_STEP = 255
MIN_SPREAD = 2.0  # of the rows' sizes, from which scales are worth their bytes


@dataclass(frozen=True, eq=False)
class RowScales:
    """The step symbols (uint8) of the scales along an `axis` of a tensor, and its shape."""

    steps: np.ndarray
    axis: int
    shape: tuple[int, ...]

    @property
    def scales(self) -> np.ndarray:
        """The scales (float64): (8 + e mod 8) * 2^floor(e / 8) of each step e."""
        wide = self.steps.astype(np.int64)
        return np.ldexp((8 + wide % 8).astype(np.float64), wide // 8)

    def at(self, block: slice) -> np.ndarray:
        """The scale (float64) of each element of a block of the flat tensor."""
        inner, count = math.prod(self.shape[self.axis + 1 :]), self.shape[self.axis]
        first, last = block.start // inner, -(-block.stop // inner)
        edges = np.clip(np.arange(first, last + 1) * inner, block.start, block.stop)
        return np.repeat(self.scales[np.arange(first, last) % count], np.diff(edges))


def nearest_steps(scales: np.ndarray) -> np.ndarray:
    """The step symbol (uint8) of the scale nearest to each of `scales` (float64, 8 or more), at most 15 * 2^31."""
    mantissa, exponent = np.frexp(scales)  # mantissa from 0.5 to below 1: 8 to below 16 sixteenths
    steps = (exponent - 4) * 8 + np.rint(mantissa * 16).astype(np.int64) - 8
    return np.clip(steps, 0, MAX_STEP).astype(np.uint8)


def by_rows(weights: np.ndarray, axis: int, alpha: float = 1.0) -> RowScales | None:
    """Scales along `axis` in proportion to the root mean square of the weights (float, of any shape) at each place.

    None where these differ by less than MIN_SPREAD, or all are zero.
    """
    others = tuple(other for other in range(weights.ndim) if other != axis)
    sizes = np.sqrt(np.mean(np.square(weights, dtype=np.float64), axis=others))
    sizes = sizes**alpha
    used = sizes[sizes > 0]
    if not len(used) or not np.isfinite(used).all() or used.max() < MIN_SPREAD * used.min():
        return None
    # Smaller than 2^-31 of the largest is as good as that: float32 weights of such rows do nothing.
    unit = max(float(used.min()), float(used.max()) * 2.0**-31)
    steps = nearest_steps(8 * np.maximum(sizes / unit, 1))
    return RowScales(steps, axis, weights.shape)
