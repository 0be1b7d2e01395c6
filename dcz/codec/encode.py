"""Deep Compression of one tensor: `encode` prunes, shares and codes it, `decode.decode` restores it.

weights -> prune -> share -> { index -> huffman, codebook, codes -> huffman } -> the smallest record
"""

from dataclasses import replace

import numpy as np

from .. import arrays
from ..arrays import LazyValues
from ..deflate import crc_of
from ..encoded import ENCODINGS, Record, RecordInfo, encoding_name, minor_version
from ..plan import Settings
from ..tensor import FLOAT32, Tensor
from . import candidates, fine, fine_candidates, precision, regrid, scaled, sharing
from .candidates import Candidate
from .coded import Coded
from .stages import prune

MIN_ZEROS = 0.1  # of a tensor's weights, from which leaving zeros out exactly is tried


def encode(tensor: Tensor, settings: Settings, serialize: candidates.Serialize) -> Record:
    """The smallest record of `tensor` under `settings`, in measured bytes.

    `serialize` converts an encoding to the bytes of the format (format.record.parts).
    """
    smallest, pieces = candidates.smallest(encodings(tensor, settings), tensor, serialize)
    tensor_crc, zeroed = precision.compare(tensor, smallest.source, settings)
    warning = precision.warning(tensor, settings, zeroed, smallest.source)
    number, minor = ENCODINGS.index(encoding_name(smallest.encoded)), minor_version(smallest.encoded)
    info = RecordInfo(number, sum(map(len, pieces)), crc_of(pieces), tensor_crc, minor)
    return Record(pieces, info, warning)


def encodings(tensor: Tensor, settings: Settings) -> list[Candidate]:
    """The encodings of `tensor` under `settings` that may be the smallest.

    A tensor that is not real, not finite or empty is kept exactly, whatever `settings` say, and so is a float64 tensor
    whose squares float64 cannot hold. The weights that pruning keeps stay exact where their distinct values fit the
    codebook that the settings allow, with two weights or more for each value. Where no grid has levels enough for a
    quality, they are rounded and stored.
    """
    if not tensor.dtype.real or not len(tensor.data):
        return [candidates.store(tensor.data, tensor.dtype)]
    if settings.lossless or not can_round(tensor):
        return _keep(tensor)
    weights = LazyValues(tensor.patterns, tensor.dtype)
    if _has_scales(tensor) and settings.shares_nothing and not settings.prunes:
        return _keep(tensor, settings.index_bits)
    mask = _prune(weights, settings)
    coded = _share(tensor, weights, mask, settings)
    if coded is not None and coded.fine is not None:
        found = fine_candidates.encodings(tensor, coded, settings.index_bits)
        return candidates.with_stored(found, tensor, mask is not None)
    if coded is not None:
        return candidates.of_coded(tensor, coded, mask is not None, settings.index_bits)
    if mask is not None:
        return candidates.of_pruned(tensor, mask, settings.index_bits)
    return fine.round_and_store(tensor, settings) or _keep(tensor)


def can_round(tensor: Tensor) -> bool:
    """Whether settings can ask for anything but the exact numbers of a tensor: see `encodings`."""
    if not tensor.dtype.real or not len(tensor.data):
        return False
    return tensor.is_finite and precision.squares_fit(tensor)


def quantize(tensor: Tensor, settings: Settings) -> np.ndarray:
    """The bytes (uint8, flat) of `tensor` after pruning and sharing under `settings`."""
    if _is_rounded(tensor, settings):
        weights = LazyValues(tensor.patterns, tensor.dtype)
        coded = _share(tensor, weights, _prune(weights, settings), settings)
        if coded is not None:
            made = np.empty(len(coded.mask), tensor.dtype.pattern)
            for block in arrays.blocks(len(made)):  # codes that are looked up take eight bytes each
                made[block] = coded.elements(block, tensor.dtype)
            return made.view(np.uint8)
    return encodings(tensor, settings)[0].data


def _is_rounded(tensor: Tensor, settings: Settings) -> bool:
    """Whether the weights of a tensor may become others: see `encodings`."""
    if settings.lossless or not can_round(tensor):
        return False
    keeps = settings.shares_nothing and not settings.prunes
    return not (keeps and _has_scales(tensor))


def is_shared(tensor: Tensor) -> bool:
    """Whether a real tensor has so few distinct values that it is kept exactly (see `encodings`)."""
    return sharing.share_exactly(tensor.patterns, None) is not None


def _prune(weights: LazyValues, settings: Settings) -> np.ndarray | None:
    """The mask (bool, flat) of the weights that are kept, or None where the settings do not prune."""
    if settings.sparsity is not None:
        mask = prune.by_sparsity(weights, settings.sparsity)
    elif settings.threshold is not None:
        mask = prune.by_deviation(weights, settings.threshold)
    else:
        return None

    def leave_zeros_out(block: slice) -> None:
        mask[block] &= weights[block] != 0

    arrays.over_blocks(leave_zeros_out, len(weights))
    return mask


def _share(tensor: Tensor, weights: LazyValues, mask: np.ndarray | None, settings: Settings) -> Coded | None:
    """Codes for the weights that `mask` keeps (None: those that are not zero).

    None where sharing them saves nothing, or the settings do not share.
    """
    if mask is None:  # leaves out exact zeros only: -0.0 is preserved if the tensor is coded exactly
        coded = sharing.share_exactly(tensor.patterns, None, settings.bits)
        mask = arrays.mask_where(weights, lambda block: block != 0) if coded is None else None
    else:
        coded = sharing.share_exactly(tensor.patterns, mask, settings.bits)
    if coded is not None and settings.quality is not None:
        if coded.kept <= fine.MAX_SMALL:
            coded = fine.smaller(coded, regrid.share_exactly(tensor, coded.mask, settings), tensor.dtype)
        return fine.smaller(coded, regrid.share_in_rows(tensor, coded.mask, settings), tensor.dtype)
    if coded is not None or mask is None or settings.shares_nothing:
        return coded
    kept = LazyValues(tensor.patterns, tensor.dtype, mask)
    coded = regrid.share_exactly(tensor, mask, settings, kept) or regrid.share_in_rows(tensor, mask, settings)
    if coded is not None:
        return coded
    row_scales = scaled.row_scales_of(tensor, weights, settings)
    if row_scales is None:
        return _share_rows(tensor, mask, kept, settings)
    unscaled = scaled.unscaled(tensor, weights, row_scales)
    if tensor.dtype.bits < 32:
        coded = fine.share_shortly(unscaled, mask, settings, tensor.dtype)
    else:
        coded = _share_rows(unscaled, mask, LazyValues(unscaled.patterns, FLOAT32, mask), settings)
        if coded is None:
            return None
    coded = None if coded is None else replace(scaled.short_entries(coded), row_scales=row_scales)
    if coded is not None and (
        settings.quality is None or precision.keeps_quality(tensor, mask, coded, settings.quality)
    ):
        return coded
    return _share_rows(tensor, mask, kept, settings)


def _share_rows(tensor: Tensor, mask: np.ndarray, kept: LazyValues, settings: Settings) -> Coded | None:
    """Codes for the weights that `mask` keeps, which are `kept`, whose rows need no scales."""
    if settings.quality is None:
        return sharing.share_kept(tensor, mask, kept, settings)
    square = prune.typical_square(kept)
    coded = sharing.share_kept(tensor, mask, kept, settings, square)
    return fine.improve(tensor, mask, kept, square, coded, settings)


def _has_scales(tensor: Tensor) -> bool:
    """Whether a tensor is known to have few values in units of the scales of its rows."""
    return tensor.grid is not None and tensor.grid.steps is not None


def _keep(tensor: Tensor, index_bits: int | None = None) -> list[Candidate]:
    """The encodings of a tensor that keep it bit for bit."""
    mask = tensor.patterns != 0
    found = [sharing.share_exactly(tensor.patterns, mask)]
    if found[0] is None or _has_scales(tensor):  # fewer entries, with scales
        found.append(scaled.share_grid(tensor, mask) or regrid.share_grid(tensor, mask))
    if (
        (all(each is None for each in found) or _has_scales(tensor))
        and tensor.is_finite
        and precision.squares_fit(tensor)
    ):
        found.append(regrid.share_in_rows(tensor, mask, None))
    by_code: list[Candidate] = []
    for coded in found:
        if coded is not None and coded.fine is not None:
            by_code += fine_candidates.encodings(tensor, coded, index_bits)
        elif coded is not None:
            by_code += candidates.of_distinct(tensor, coded, index_bits)
    if by_code and not candidates.may_store(by_code, tensor.data, tensor.dtype):
        return by_code
    stored = candidates.store(tensor.data, tensor.dtype)
    if by_code:
        return [*by_code, stored]
    if np.count_nonzero(mask) < (1 - MIN_ZEROS) * len(mask):
        return [stored, *candidates.of_pruned(tensor, mask, index_bits)]
    return [stored]
