"""Weights -> codes and the codebook as it will be decoded (Deep Compression, section 3).

share_exactly(patterns, mask)               ->   Coded, where few values are distinct
share_kept(tensor, mask, kept, settings)    ->   Coded, by k-means or on a grid
"""

import math
from dataclasses import replace

import numpy as np

from .. import arrays
from ..arrays import LazyValues
from ..encoded import MAX_ENTRIES
from ..plan import Settings
from ..tensor import Dtype, Tensor, largest, round_to, values
from .cancellation import cancel
from .codebooks import codebook_of
from .coded import Coded
from .stages import distinct, grid, prune, recode, share
from .stages.rows import RowIndex

# Zeros for each other weight up to which zero is an entry of the codebook: an index would take more bytes.
MAX_ZEROS_SHARED = 1 / 3
MIN_WHOLE = 0.75  # of a tensor's weights that are not zero, from which zeros keep their code until an index is tried
MAX_HALF_CODEBOOK = 1 << 20  # weights up to which a float16 codebook is tried: of more, its bytes do not matter
SAMPLE = 4096  # first weights, by which most tensors that are not shared already are recognised


def share_exactly(patterns: np.ndarray, mask: np.ndarray | None, bits: int | None = None) -> Coded | None:
    """The weights that `mask` keeps (None: those that are not 0 to the bit) coded exactly, or None where they have too
    many distinct values: more than 2^bits, or 256."""
    first = patterns[:SAMPLE]
    if len(np.unique(first[first != 0 if mask is None else mask[:SAMPLE]])) > MAX_ENTRIES:
        return None
    mask = patterns != 0 if mask is None else mask
    kept = LazyValues(patterns, None, mask)
    if not len(kept):
        return Coded(mask, np.empty(0, np.uint8), np.empty(0, patterns.dtype))
    entries = _max_entries(len(kept))
    unique = distinct.unique_codes(kept, entries if bits is None else min(entries, 1 << bits))
    return None if unique is None else Coded(mask, unique[1], unique[0])


def share_kept(
    tensor: Tensor, mask: np.ndarray, kept: LazyValues, settings: Settings, square: float | None = None
) -> Coded | None:
    """The weights that `mask` keeps, which are `kept`, shared under `settings`; None where the codebook has more
    entries than pay.

    `square`: their prune.typical_square, where it is known.
    """
    zeros = len(mask) - len(kept)
    shared = share_weights(kept, settings, zeros=zeros, rows=row_index(tensor, kept), square=square)
    codebook = settings.codebook
    if codebook == "auto" and settings.bits is None and len(kept) <= MAX_HALF_CODEBOOK:
        codebook = "float16" if _half_pays(kept[:], shared) else codebook
    coded = round_centroids(shared, codebook, mask, tensor.dtype)
    return replace(coded, found=kept.positions) if coded is not None and coded.mask is mask else coded


def row_index(tensor: Tensor, kept: LazyValues) -> RowIndex | None:
    """The row of each of the `kept` weights, None where the tensor has no rows."""
    if tensor.rows > 0 or (tensor.rows < 0 and len(tensor.shape) == 2):
        return RowIndex(tensor.shape, tensor.rows, kept.positions, tensor.inputs)
    return None


def share_weights(
    kept: arrays.Weights,
    settings: Settings,
    zeros: int = 0,
    importance: np.ndarray | None = None,
    rows: RowIndex | None = None,
    square: float | None = None,
) -> share.SharedWeights:
    """Centroids and codes under `settings` for the weights (float, flat, finite, not empty) that pruning keeps.

    By k-means where the settings name bits, with an `importance` for each weight if there is one (see share.kmeans).
    Else on a grid, with errors that cancel in each of `rows`, if given. `zeros` more weights are known to be zero.
    """
    max_entries = MAX_ENTRIES - (0 < zeros < MAX_ZEROS_SHARED * len(kept) and not settings.prunes)
    if settings.bits is not None:
        return share.kmeans(kept, min(max_entries, 1 << settings.bits), settings.init, settings.seed, importance)
    step = _step(kept, zeros, settings, square)
    shared = share.entropy_constrained(kept, step, zeros, max_entries)
    if rows is None:
        return shared
    codes = cancel(kept, shared.codes, shared.centroids, rows, step, shared.counts)
    return share.used_centroids(shared.centroids, codes, recode.recount(shared.counts, shared.codes, codes))


def _step(kept: arrays.Weights, zeros: int, settings: Settings, square: float | None = None) -> float:
    """The step of the grid for the kept weights under `settings`. Zeros have no error: only a rate includes them."""
    if settings.step is not None:
        return grid.round_step(settings.step * prune.standard_deviation(kept))
    if settings.rate is not None:
        return grid.round_step(grid.step_for_rate(kept, settings.rate, zeros))
    assert settings.quality is not None, "settings that share name one of bits, step, rate and quality"
    square = prune.typical_square(kept) if square is None else square
    return grid.round_step(grid.step_for_quality(square, settings.quality))


def _max_entries(kept: int) -> int:
    """The entries that a codebook for `kept` weights may have: with more, sharing would save nothing.

    The limit is the same for weights that were shared before and those that are shared now, so that compressing a
    decompressed tensor again changes nothing.
    """
    return min(MAX_ENTRIES, max(1, kept // 2))


def _half_pays(kept: np.ndarray, shared: share.SharedWeights) -> bool:
    """Whether 16 bits less for each entry are worth the error that they add, where a bit a weight is worth 6 dB.

    D ~ 2^(-2 R), so that dD/dR = -2 ln 2 D for each weight: a bit in all is worth 2 ln 2 times the mean error.
    """
    with np.errstate(over="ignore"):
        half = shared.centroids.astype(np.float16).astype(np.float64)
    if not np.isfinite(half).all():
        return False
    added = math.fsum(shared.counts * (half - shared.centroids) ** 2)
    error = prune.mean_square(kept - shared.centroids[shared.codes])
    return added < 2 * math.log(2) * error * 16 * len(half)


def round_centroids(shared: share.SharedWeights, codebook: str, mask: np.ndarray, dtype: Dtype) -> Coded | None:
    """Codes and the codebook as it will be decoded; weights whose centroid rounds to zero are dropped from the mask.

    None where the codebook has more entries than pay.
    """
    centroids = shared.centroids
    half = np.finfo(np.float16)
    # Outside of float16's normal range, centroids would be clipped or rounded to zero.
    if codebook == "float16" and half.tiny <= np.abs(centroids).max() <= half.max:
        unrounded = codebook_of(round_to(centroids, dtype), dtype)[0]
        if unrounded.form != "ramp":  # a ramp is shorter still
            centroids = centroids.astype(np.float16).astype(np.float64)
    # A level may lie half a step beyond the largest weight, and must not become infinite.
    entries = round_to(np.clip(centroids, -largest(dtype), largest(dtype)), dtype)
    entries[values(entries, dtype) == 0] = 0  # -0.0 too
    is_first = np.append(True, entries[1:] != entries[:-1])  # rounding may have made neighbours equal
    table = (np.cumsum(is_first) - 1).astype(np.uint8)
    codes, entries = recode.remap(table, shared.codes), entries[is_first]
    counted = np.zeros(MAX_ENTRIES, np.int64)
    np.add.at(counted, table, shared.counts)
    zero = int(np.argmin(entries != 0))
    if entries[zero]:
        return Coded(mask, codes, entries, counted=counted) if len(entries) <= _max_entries(len(codes)) else None
    coded = _without_zeros(mask, codes, entries, zero, counted)
    return coded if len(coded.entries) <= _max_entries(coded.kept) else None


def _without_zeros(mask: np.ndarray, codes: np.ndarray, entries: np.ndarray, zero: int, counted: np.ndarray) -> Coded:
    """The weights without those of the code `zero`, and entries without that."""
    rest = np.delete(entries, zero)
    if len(codes) == len(mask):
        whole = Coded(arrays.mask_where(codes, lambda code: code != zero), codes, rest, zero=zero, counted=counted)
        if whole.kept > MIN_WHOLE * len(mask):
            return whole
        return Coded(whole.mask, whole.codes, rest, counted=whole.counts)
    kept_mask, positions = np.zeros_like(mask), arrays.KeptPositions(mask)

    def kept_codes(block: slice) -> np.ndarray:
        found = codes[positions.rank(block.start) : positions.rank(block.stop)]
        is_kept = found != zero
        kept_mask[block][arrays.true_places(mask[block])] = is_kept
        others: np.ndarray = found[is_kept]
        others -= others > zero
        return others

    without = np.append(np.delete(counted, zero), 0)
    others = arrays.gather(kept_codes, len(mask), int(without.sum()), np.uint8)
    return Coded(kept_mask, others, rest, counted=without)
