"""Tensors whose rows have scales (spec, section 8.1): which, by how much, and what is left to share."""

import math
from dataclasses import replace

import numpy as np

from .. import arrays
from ..arrays import LazyValues
from ..encoded import MAX_ENTRIES
from ..plan import Settings
from ..tensor import FLOAT32, Tensor, round_to, values
from .coded import Coded
from .stages import grid, prune, scale, share

SHARED_INPUT_EXPONENT, SHARED_INPUT_SPREAD = 0.75, 10.0  # see row_scales_of
OWN_INPUT_SPREAD = 2.0
MAX_SCALED = 1 << 24  # weights of a tensor that may have scales
MAX_LEVEL = 30_000  # steps from zero to the largest weight: a fine grid has 2^16 in all, and scales are rounded
MAX_MULTIPLE = 1 << 20  # of a scale; beyond any grid of 256


def row_scales_of(tensor: Tensor, weights: LazyValues, settings: Settings) -> scale.RowScales | None:
    """Scales for the rows of a tensor that a layer sums up, where the settings name a quality.

    Rows that read inputs of their own, as in depthwise convolutions, need the same error relative to their size: the
    exponent is 1. Errors of rows that read the same inputs would add up to least with the same step for all (reverse
    water-filling), if the layers that follow took their outputs alike. They do not: what a normalization or a small
    row makes small, the next layer makes large. Of 0, 0.5, 0.75 and 1, 0.75 was best in the worst of four networks;
    where the sizes of rows differ by less than 10 times, it made no difference.
    """
    if settings.quality is None or axis_of(tensor) is None:
        return None
    row_scales = _by_rows(tensor, weights)
    if row_scales is None:
        return None
    row_scales = _within_levels(tensor, weights, row_scales, settings.quality)
    # In a type of 16 bits, products with other scales would be rounded, and not be found again.
    return row_scales if tensor.dtype.bits >= 32 else scale.powers_of_two(row_scales)


def axis_of(tensor: Tensor) -> int | None:
    """The axis along which the rows of a tensor are, None where they are not known, or it is too large for scales."""
    if not tensor.rows or len(tensor.shape) < 2 or not len(tensor.data) or len(tensor.patterns) > MAX_SCALED:
        return None
    return tensor.rows - 1 if tensor.rows > 0 else len(tensor.shape) - 1


def sizes_of(tensor: Tensor, weights: LazyValues) -> scale.RowScales | None:
    """The sizes of rows that `row_scales_of` makes scales from, however near to each other they are."""
    return _by_rows(tensor, weights, min_spread=0.0)


def _by_rows(tensor: Tensor, weights: LazyValues, min_spread: float | None = None) -> scale.RowScales | None:
    axis, shape = axis_of(tensor), tensor.shape
    assert axis is not None, "rows that are known"
    if len(shape) > 2 and shape[1] == 1:  # rows that read inputs of their own
        return scale.by_rows(weights, shape, axis, 1.0, OWN_INPUT_SPREAD if min_spread is None else min_spread, False)
    spread = SHARED_INPUT_SPREAD if min_spread is None else min_spread
    return scale.by_rows(weights, shape, axis, SHARED_INPUT_EXPONENT, spread)


def _within_levels(tensor: Tensor, weights: LazyValues, row_scales: scale.RowScales, quality: float) -> scale.RowScales:
    """Scales that are larger where a row's largest weight would be more than MAX_LEVEL steps.

    A row of weights next to nothing, but for a few, has a small scale, and no grid would reach those few.
    """
    numbers = LazyValues(unscaled(tensor, weights, row_scales).patterns, FLOAT32)
    step = grid.step_for_quality(prune.typical_square(numbers), quality)
    if not step:
        return row_scales
    count, inner = row_scales.shape[row_scales.axis], math.prod(row_scales.shape[row_scales.axis + 1 :])
    by_row = values(tensor.patterns, tensor.dtype).reshape(-1, count, inner)
    largest = np.maximum(by_row.max(axis=(0, 2)), -by_row.min(axis=(0, 2))).astype(np.float64)
    least = largest / (step * MAX_LEVEL)
    if (least <= row_scales.scales).all():
        return row_scales
    return scale.of_steps(scale.nearest_steps(np.maximum(row_scales.scales, least)), row_scales.axis, row_scales.shape)


def unscaled(tensor: Tensor, weights: LazyValues, row_scales: scale.RowScales | None) -> Tensor:
    """The tensor with each weight divided by its scale, as float32; itself without scales."""
    if row_scales is None:
        return tensor
    divided = np.empty(len(weights), "<f4")
    for block in arrays.blocks(len(weights), arrays.BLOCK):
        divided[block] = weights[block] / row_scales.at(block)
    return Tensor(tensor.name, FLOAT32, tensor.shape, divided.view(np.uint8), tensor.rows, inputs=tensor.inputs)


def short_entries(coded: Coded) -> Coded:
    """`coded`, which is to have scales, with the entries (float32) of its codebook as grid.round_entries has them."""
    if coded.is_ramp:
        return coded
    entries = grid.round_entries(values(coded.entries, FLOAT32).astype(np.float64))
    return replace(coded, entries=round_to(entries, FLOAT32))


def share_grid(tensor: Tensor, mask: np.ndarray) -> Coded | None:
    """The kept weights coded exactly by the grid that they lie on, if it has a scale for each place along an axis.

    None where they do not lie on it, or are more than 256 different multiples.
    """
    if tensor.grid is None or tensor.grid.axis is None or tensor.grid.steps is not None or not mask.any():
        return None
    scales = tensor.grid.scales.astype("<f4").astype(np.float64)
    if len(scales) != tensor.shape[tensor.grid.axis] or not (np.isfinite(scales) & (scales > 0)).all():
        return None
    row_scales = scale.RowScales(scales, tensor.grid.axis, tensor.shape)
    weights = LazyValues(tensor.patterns, tensor.dtype)
    multiples = np.empty(len(weights), np.int32)
    for block in arrays.blocks(len(weights), arrays.BLOCK):
        multiples[block] = np.clip(np.rint(weights[block] / row_scales.at(block)), -MAX_MULTIPLE, MAX_MULTIPLE)
    kept = multiples[mask]
    low = int(kept.min())
    if int(kept.max()) - low >= MAX_ENTRIES:
        return None
    codes = (kept - low).astype(np.uint8)
    shared = share.used_centroids(np.arange(low, low + MAX_ENTRIES, dtype=np.float64), codes)
    coded = Coded(mask, shared.codes, round_to(shared.centroids, FLOAT32), row_scales)
    for block in arrays.blocks(len(weights), arrays.BLOCK):
        if not np.array_equal(coded.elements(block, tensor.dtype), tensor.patterns[block]):
            return None
    return coded
