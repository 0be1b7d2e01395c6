"""More levels than a codebook has entries: a code and some low bits for each weight (spec, section 8.2).

    weights of 60 dB, 1,400 levels   ->   codes below 176, Huffman-coded, and three low bits, nearly all of them packed

256 levels come no nearer than 42 to 44 dB to normally distributed weights, and less near where they are to cover
outliers too; and for a tensor of few weights a codebook takes more bytes than it saves. The low bits of a fine grid
are nearly uniform, so that two streams take hardly more bytes than one with a large alphabet would.
"""

import math
from typing import Any

import numpy as np

from .. import arrays
from ..arrays import LazyValues
from ..encoded import MAX_ENTRIES, MAX_LOW_BITS, Codebook
from ..parallel import each
from ..plan import SHARED_QUALITY, Settings
from ..tensor import FLOAT32, PRECISION, Dtype, Tensor, largest, round_to, values
from . import fine_candidates, precision, scaled, sharing
from .cancellation import cancel
from .candidates import Candidate, store
from .codebooks import codebook_of
from .coded import Coded
from .quality import DECIBELS_PER_BIT
from .stages import grid, huffman, prune, share
from .stages.rows import RowIndex

# Significant bits of a step: its products with whole numbers of 16 bits are exact in float32.
STEP_BITS = 8
MAX_LEVELS = MAX_ENTRIES << MAX_LOW_BITS
# Decibels by which a codebook may miss its quality for the weights that are no outliers; more up to COARSE, where
# thresholds that depend on the frequency of codes add to the error.
COARSE, MAX_LOSS, MAX_COARSE_LOSS = 25.0, 1.0, 3.0
MAX_FAR_LOSS = 10.0  # decibels: the same, whatever a finer grid costs
MAX_SMALL = 1 << 14  # weights, up to which the bytes of a codebook decide between it and a fine grid


def improve(
    tensor: Tensor, mask: np.ndarray, kept: LazyValues, square: float, coded: Coded | None, settings: Settings
) -> Coded | None:
    """`coded` (None: no codebook pays), or the weights that `mask` keeps on a finer grid for the quality of `settings`.

    `kept` are these weights, and `square` their prune.typical_square. None where 2^16 levels are far too few for it.
    """
    if settings.quality is None or not mask.any():
        return coded
    if coded is None:
        return share_finely(tensor, mask, settings)
    loss = _loss(tensor, mask, kept, square, coded, settings.quality)
    if loss <= (MAX_LOSS if settings.quality > COARSE else MAX_COARSE_LOSS):
        if settings.quality <= COARSE or coded.kept > MAX_SMALL:
            return coded
        return smaller(coded, share_finely(tensor, mask, settings), tensor.dtype)
    finer = share_finely(tensor, mask, settings)
    if settings.quality > SHARED_QUALITY or loss > MAX_FAR_LOSS:
        return finer
    return coded if finer is None or _costs_more(finer, coded, loss, tensor.dtype) else finer


def smaller(coded: Coded, finer: Coded | None, dtype: Dtype) -> Coded:
    """Whichever takes fewer bits, its codebook of `dtype` included, which few weights do not make up for."""
    return coded if finer is None or _bits(finer, dtype) >= _bits(coded, dtype) else finer


def _loss(tensor: Tensor, mask: np.ndarray, kept: LazyValues, square: float, coded: Coded, quality: float) -> float:
    """Decibels by which a codebook misses a quality for the weights that are no outliers, having too few levels."""
    low, high = arrays.extremes(kept)
    step = grid.step_for_quality(square, quality)
    if high - low < (MAX_ENTRIES - 1) * step:  # the codebook has a level for each step
        return 0.0
    error = _typical_error(tensor, mask, square, coded)
    return 10 * math.log10(error / (step**2 / 12)) if error else 0.0


def _costs_more(finer: Coded, coded: Coded, loss: float, dtype: Dtype) -> bool:
    """Whether the finer codes take more bits than `loss` decibels are worth: a bit a weight for 6."""
    return DECIBELS_PER_BIT * (_bits(finer, dtype) - _bits(coded, dtype)) > loss * coded.kept


def _bits(coded: Coded, dtype: Dtype) -> float:
    """Bits of the codes of the kept weights, of their codebook, for entries of `dtype`, and of scales."""
    scales = 0 if coded.row_scales is None else coded.row_scales.bits
    if coded.fine is not None:
        return scales + fine_candidates.bits(coded)
    codebook, table = codebook_of(coded.entries, dtype if coded.row_scales is None else FLOAT32)
    entries = 64 if codebook.form == "ramp" else 8 * len(codebook.entries)
    counts = np.zeros(MAX_ENTRIES, np.int64)
    counts[table] = coded.counts[: len(table)]  # in the order of the codebook, which a table of lengths depends on
    return scales + entries + huffman.stream_bits(counts)


def _typical_error(tensor: Tensor, mask: np.ndarray, square: float, coded: Coded) -> float:
    """The mean squared error of the codebook for the weights that `mask` keeps and are no outliers; of a sample."""
    limit = prune.MAX_BULK * math.sqrt(square)

    def squares_in(block: slice) -> tuple[float, int]:
        weights = values(tensor.patterns[block], tensor.dtype).astype(np.float64)
        typical = mask[block] & (np.abs(weights) <= limit)
        decoded = values(coded.look_up(coded.entries, block), tensor.dtype)[typical].astype(np.float64)
        return float(np.square(weights[typical] - decoded).sum()), len(decoded)

    found = each(squares_in, precision.sample_blocks(len(mask)))
    return sum(squares for squares, _ in found) / max(sum(count for _, count in found), 1)


def share_finely(tensor: Tensor, mask: np.ndarray, settings: Settings) -> Coded | None:
    """The weights that `mask` keeps on a grid of up to 2^16 levels, with codes (uint16), for a quality.

    None where 2^16 levels are not enough, or all weights are zero.
    """
    assert settings.quality is not None, "only a quality says how fine a grid is"
    kept, step = _kept_and_step(tensor, mask, settings.quality)
    if not step:
        return None
    # Multiples of a power of two are such when rounded to a shorter type, too: a decoded tensor is on its grid.
    step = grid.round_step(step, STEP_BITS) if tensor.dtype.bits >= 32 else _power_of_two(step)
    return on_grid(tensor, mask, kept, step, sharing.row_index(tensor, kept))


def share_shortly(tensor: Tensor, mask: np.ndarray, settings: Settings, dtype: Dtype) -> Coded | None:
    """The same for weights in units of scales that are powers of two, and that `dtype`, of 16 bits, is to hold.

    The step has as many bits as its multiples leave: these are exact then, and found again in a decoded tensor.
    """
    assert settings.quality is not None, "only a quality says how fine a grid is"
    kept, step = _kept_and_step(tensor, mask, settings.quality)
    if not step:
        return None
    low, high = arrays.extremes(kept)
    bits = PRECISION[dtype.name] - math.frexp(max(-low, high) / step)[1]
    step = grid.round_step(step, bits) if bits > 1 else _power_of_two(step)
    coded = on_grid(tensor, mask, kept, step, sharing.row_index(tensor, kept))
    return coded if coded is None or coded.is_ramp else None


def round_and_store(tensor: Tensor, settings: Settings) -> list[Candidate] | None:
    """The tensor rounded to multiples of a power of two, whose trailing zero bits deflate, and exact.

    For a quality that takes more than 2^16 levels. None where the settings name no quality, or all weights are zero.
    Steps are larger in larger rows, by their scales.
    """
    if settings.quality is None:
        return None
    weights = LazyValues(tensor.patterns, tensor.dtype)
    row_scales = scaled.row_scales_of(tensor, weights, settings)
    unscaled = scaled.unscaled(tensor, weights, row_scales)
    numbers = LazyValues(unscaled.patterns, unscaled.dtype)
    _, step = _kept_and_step(unscaled, arrays.mask_where(numbers, lambda block: block != 0), settings.quality)
    if not step:
        return None
    rounded = np.empty(len(weights), tensor.dtype.pattern)
    for block in arrays.blocks(len(weights), arrays.BLOCK):
        powers = _power_of_two(step if row_scales is None else step * row_scales.at(block))
        numbers_of_steps = np.rint(weights[block].astype(np.float64) / powers)
        within = np.clip(numbers_of_steps * powers, -largest(tensor.dtype), largest(tensor.dtype))
        rounded[block] = round_to(within, tensor.dtype)
    return [store(data, tensor.dtype) for data in (rounded.view(np.uint8), tensor.data)]


def _power_of_two(step: Any) -> Any:
    """The power of two (float, or float64 array) at or below each step."""
    return np.exp2(np.floor(np.log2(step)))


def _kept_and_step(tensor: Tensor, mask: np.ndarray, quality: float) -> tuple[LazyValues, float]:
    """The kept weights, and the step that a quality asks for, 0 where there are none that are not zero."""
    kept = LazyValues(tensor.patterns, tensor.dtype, mask)
    return kept, grid.step_for_quality(prune.typical_square(kept), quality)


def on_grid(tensor: Tensor, mask: np.ndarray, kept: LazyValues, step: float, rows: RowIndex | None) -> Coded | None:
    """The kept weights rounded to multiples of `step`, with errors that cancel in each of `rows`, if given."""
    low, high = arrays.extremes(kept)
    if not max(-low, high) < MAX_LEVELS * step:
        return None
    first, last = min(0, round(low / step)), max(0, round(high / step))
    fitting = (bits for bits in range(1, MAX_LOW_BITS + 1) if last - _first_level(first, bits) < MAX_ENTRIES << bits)
    low_bits = next(fitting, 0)
    if not low_bits:
        return None
    lowest, first = first, _first_level(first, low_bits)
    levels = np.arange(first, last + 1, dtype=np.float64) * step
    entries, count = round_to(levels, tensor.dtype), 1 + (len(levels) - 1 >> low_bits)
    claimed = round_to(np.array([first, first + (count << low_bits) - 1]) * step, tensor.dtype)  # by the record
    with np.errstate(over="ignore"):
        is_exact = all(float(np.float32(number)) == number for number in (step, first * step))
    if not is_exact or not np.isfinite(values(claimed, tensor.dtype)).all():
        return None
    codes = np.empty(len(kept), np.uint16)

    def fill(block: slice) -> None:
        codes[block] = np.rint(kept[block].astype(np.float64) / step).astype(np.int64) - lowest

    arrays.over_blocks(fill, len(kept))
    used = levels[lowest - first :]  # no weight moves below the lowest of them
    codes = cancel(kept, codes, used, rows, step)
    if last - lowest < MAX_ENTRIES:  # a codebook has a level for each step
        shared = share.used_centroids(used, codes.astype(np.uint8))
        coded = sharing.round_centroids(shared, "auto", mask, tensor.dtype)
        if coded is not None:
            return coded
    fine = Codebook("fine", count, first=first * step, step=step, low_bits=low_bits)
    codes += np.uint16(lowest - first)
    return Coded(mask, codes, entries, fine=fine)


def _first_level(low: int, low_bits: int) -> int:
    """The number of the first level of a grid that reaches down to level `low` (0 or less).

    Zero is in the middle of the levels of its code: where outliers make these many, they hold most weights, and the
    frequencies of the low bits are those of the levels.
    """
    half = 1 << low_bits - 1
    return -half - 2 * half * max(0, -((low + half) // (2 * half)))
