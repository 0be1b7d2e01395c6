"""Weights that lie on a grid already, their own or one that is known: coded exactly, and not rounded once more.

A decoded tensor, compressed again, gives the same record: its grid is found in its values, and that of rows with scales
too (found_scales).
"""

import math
from dataclasses import replace

import numpy as np

from .. import arrays
from ..arrays import LazyValues
from ..encoded import MAX_ENTRIES, MAX_LOW_BITS
from ..plan import Settings
from ..tensor import FLOAT32, Tensor
from . import fine, found_scales, scaled, sharing
from .coded import Coded
from .stages import grid, prune, scale

FLOAT_BITS = 24  # significant bits of float32
MIN_STEP = 0.49  # of the step that a quality asks for (a power of two may be half of it): a larger one is kept
MAX_LEVELS = MAX_ENTRIES << MAX_LOW_BITS
GLANCE = 4096  # first weights, by which most that lie on no grid are recognised


def share_exactly(tensor: Tensor, mask: np.ndarray, settings: Settings, kept: LazyValues | None = None) -> Coded | None:
    """The weights that `mask` keeps (`kept`, where they are at hand) exactly, where they lie on a grid of up to 2^16
    levels that is not much finer than a quality asks for, as those of a decoded tensor do; else None."""
    if settings.quality is None:
        return None
    kept = LazyValues(tensor.patterns, tensor.dtype, mask) if kept is None else kept
    own_step = _own_step(kept) if len(kept) else 0.0
    if not own_step or not _is_fine_enough(kept, own_step, settings):
        return None
    coded = fine.on_grid(tensor, mask, kept, own_step, None)
    blocks = arrays.blocks(len(mask), arrays.BLOCK)
    if coded is None or not all(_is_exact(coded, tensor, mask, block) for block in blocks):  # -0.0 is on no grid
        return None
    return coded


def _is_exact(coded: Coded, tensor: Tensor, mask: np.ndarray, block: slice) -> bool:
    """Whether codes give the elements of a block that `mask` keeps bit for bit."""
    kept = mask[block]
    return np.array_equal(coded.elements(block, tensor.dtype)[kept], tensor.patterns[block][kept])


def share_grid(tensor: Tensor, mask: np.ndarray) -> Coded | None:
    """The kept weights coded exactly by the grid that their tensor is said to be on (`Tensor.grid`): one step for all,
    up to 2^16 levels; or in units of the scales of rows, which are steps, the same or up to 256 values of any kind.

    None where they do not lie on it.
    """
    if tensor.grid is None or tensor.dtype != FLOAT32 or not mask.any():
        return None
    row_scales, unscaled = None, tensor
    if tensor.grid.axis is not None:
        if tensor.grid.steps is None or len(tensor.grid.steps) != tensor.shape[tensor.grid.axis]:
            return None
        row_scales = scale.of_steps(tensor.grid.steps, tensor.grid.axis, tensor.shape)
        unscaled = scaled.unscaled(tensor, LazyValues(tensor.patterns, FLOAT32), row_scales)
    coded = None if row_scales is None else sharing.share_exactly(unscaled.patterns, mask)
    if coded is None:
        kept = LazyValues(unscaled.patterns, FLOAT32, mask)
        step = _own_step(kept)
        coded = fine.on_grid(unscaled, mask, kept, step, None) if step else None
    if coded is None:
        return None
    coded = replace(coded, row_scales=row_scales)
    for block in arrays.blocks(len(mask), arrays.BLOCK):
        if not np.array_equal(coded.elements(block, FLOAT32), tensor.patterns[block]):
            return None
    return coded


def share_in_rows(tensor: Tensor, mask: np.ndarray, settings: Settings | None) -> Coded | None:
    """The kept weights exactly, where their rows lie on a codebook or a grid in units of scales, as those of a decoded
    tensor do, and that grid is not much finer than a quality asks for (without `settings`: however fine); else None."""
    if settings is not None and settings.quality is None:
        return None
    best = None
    for found in [*_known_scales(tensor), *found_scales.find(tensor, mask)]:
        unscaled = scaled.unscaled(tensor, LazyValues(tensor.patterns, tensor.dtype), found.row_scales)
        coded = _in_units(unscaled, mask, found.step, settings)
        if coded is None or (tensor.dtype.bits < 32 and not coded.is_ramp):
            continue
        coded = replace(coded, row_scales=found.row_scales)
        if all(_is_exact(coded, tensor, mask, block) for block in arrays.blocks(len(mask), arrays.BLOCK)):
            best = coded if best is None else fine.smaller(best, coded, FLOAT32)
    return best


def _known_scales(tensor: Tensor) -> list[found_scales.Found]:
    """The scales that a tensor is known to have had, where it need not keep them."""
    known = tensor.grid
    if known is None or known.binds or known.axis is None or known.steps is None:
        return []
    return [found_scales.Found(scale.of_steps(known.steps, known.axis, tensor.shape), 0.0)]


def _in_units(unscaled: Tensor, mask: np.ndarray, step: float, settings: Settings | None) -> Coded | None:
    """The kept weights in units of their scales: multiples of `step`, or where that is 0, entries of a codebook."""
    if not step:
        return sharing.share_exactly(unscaled.patterns, mask)
    kept = LazyValues(unscaled.patterns, FLOAT32, mask)
    if settings is not None and not _is_fine_enough(kept, step, settings):
        return None
    return fine.on_grid(unscaled, mask, kept, step, None)


def _is_fine_enough(kept: LazyValues, step: float, settings: Settings) -> bool:
    """Whether the step of weights is not much smaller than the one that a quality asks for."""
    assert settings.quality is not None, "only a quality says how fine a grid is"
    return step > MIN_STEP * grid.step_for_quality(prune.typical_square(kept), settings.quality)


def _own_step(kept: arrays.Weights) -> float:
    """The step of the grid that weights lie on exactly, 0 where it would have more than 2^16 levels."""
    if len(kept) > GLANCE and not _own_step(kept[:GLANCE]):
        return 0.0
    low, high = arrays.extremes(kept)
    exponent = (
        math.frexp(max(-low, high))[1] - FLOAT_BITS
    )  # in units of 2^exponent, weights of 24 bits are whole numbers
    step = 0
    for block in arrays.blocks(len(kept), arrays.BLOCK):
        numbers = np.ldexp(kept[block].astype(np.float64), -exponent)
        whole = np.rint(numbers)
        if not np.array_equal(whole, numbers):
            return 0.0
        step = math.gcd(step, int(np.gcd.reduce(whole.astype(np.int64))))
        if (high - low) >= math.ldexp(step, exponent) * MAX_LEVELS:
            return 0.0
    return math.ldexp(step, exponent)
