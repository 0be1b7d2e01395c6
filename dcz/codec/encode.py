"""Deep Compression of one tensor: `encode` prunes, shares and codes it, `decode.decode` restores it.

weights -> prune -> share -> { index -> huffman, codebook, codes -> huffman } -> the smallest record
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .. import arrays
from ..arrays import LazyValues
from ..deflate import crc32
from ..encoded import ENCODINGS, MAX_ENTRIES, Record, RecordInfo, encoding_name, minor_version
from ..plan import SHARED_QUALITY, Settings
from ..tensor import FLOAT32, Dtype, Tensor, largest, round_to, values
from . import candidates
from .candidates import Candidate, Coded
from .stages import balance, distinct, grid, huffman, prune, scale, share

# Zeros for each other weight up to which zero is an entry of the codebook: an index would take more bytes.
MAX_ZEROS_SHARED = 1 / 3
MAX_HALF_CODEBOOK = 1 << 20  # weights up to which a float16 codebook is tried: of more, its bytes do not matter
MAX_ZEROED = 0.5  # of a tensor's weights: where rounding alone makes more of them zero, the user is warned
SAMPLE = 4096  # first weights, by which most tensors that are not shared already are recognised
MAX_QUALITY_LOSS = 10**0.1  # 1 dB: how far a codebook may miss the quality that it was made for
SHARED_INPUT_EXPONENT, SHARED_INPUT_SPREAD = 0.75, 10.0  # see _row_scales
MAX_TYPICAL_LOSS = 10.0  # 10 dB: the same for the weights that are no outliers
MAX_TYPICAL_NOISE = 0.5  # 3 dB: of the weights that are no outliers, beyond which the user is warned
MAX_SCALED = 1 << 24  # weights of a tensor that may have scales
MAX_MULTIPLE = 1 << 20  # of a scale; beyond any grid of 256
SAMPLED_BLOCKS = 16  # of a tensor, by which its error is estimated
MIN_ZEROS = 0.1  # of a tensor's weights, from which leaving zeros out exactly is tried


def encode(
    tensor: Tensor, settings: Settings, serialize: candidates.Serialize, run_parts: huffman.RunParts = map
) -> Record:
    """The smallest record of `tensor` under `settings`, in measured bytes.

    `serialize` converts an encoding to the bytes of the format (format.record.parts); `run_parts`, a map, may spread
    the work on one tensor over threads.
    """
    smallest, data = candidates.smallest(encodings(tensor, settings, run_parts), tensor, serialize)
    tensor_crc, zeroed = _compare(tensor, smallest.source)
    number, minor = ENCODINGS.index(encoding_name(smallest.encoded)), minor_version(smallest.encoded)
    info = RecordInfo(number, len(data), crc32(data), tensor_crc, minor)
    return Record(
        data, info, _warning(tensor, settings, zeroed) or _warning_of_outliers(tensor, settings, smallest.source)
    )


def encodings(tensor: Tensor, settings: Settings, run_parts: huffman.RunParts = map) -> list[Candidate]:
    """The encodings of `tensor` under `settings` that may be the smallest.

    A tensor that is not real, not finite or empty is kept exactly, whatever `settings` say, and so is a float64 tensor
    whose squares float64 cannot hold. The weights that pruning keeps stay exact where their distinct values fit the
    codebook that the settings allow, with two weights or more for each value.
    """
    if not tensor.dtype.real or not len(tensor.data):
        return [candidates.store(tensor.data, tensor.dtype)]
    weights = LazyValues(tensor.patterns, tensor.dtype)
    if settings.lossless or not tensor.is_finite or not _squares_fit(weights):
        return _keep(tensor, run_parts)
    mask = _prune(weights, settings)
    coded = _share(tensor, weights, mask, settings)
    if coded is not None:
        finer = None if mask is not None else _finer(tensor, coded, settings)
        return finer or candidates.of_coded(tensor, coded, mask is not None, settings.index_bits, run_parts)
    if mask is not None:
        return candidates.of_pruned(tensor, mask, settings.index_bits, run_parts)
    return _keep(tensor, run_parts)


def quantize(tensor: Tensor, settings: Settings) -> np.ndarray:
    """The bytes (uint8, flat) of `tensor` after pruning and sharing under `settings`."""
    return encodings(tensor, settings)[0].data


def is_shared(tensor: Tensor) -> bool:
    """Whether a real tensor has so few distinct values that it is kept exactly (see `encodings`)."""
    return _share_exactly(tensor.patterns, tensor.patterns != 0) is not None


def _squares_fit(weights: LazyValues) -> bool:
    """Whether float64 holds the squares of the largest magnitudes, as it does for all types but float64 itself."""
    if weights[:1].dtype != np.float64:
        return True
    low, high = arrays.extremes(weights)
    largest_magnitude = max(-low, high)
    return largest_magnitude == 0 or 2.0**-400 < largest_magnitude < 2.0**400


# -- prune -------------------------------------------------------------------------------------------------------------


def _prune(weights: LazyValues, settings: Settings) -> np.ndarray | None:
    """The mask (bool, flat) of the weights that are kept, or None where the settings do not prune."""
    if settings.sparsity is not None:
        mask = prune.by_sparsity(weights, settings.sparsity)
    elif settings.threshold is not None:
        mask = prune.by_deviation(weights, settings.threshold)
    else:
        return None
    for block in arrays.blocks(len(weights)):
        mask[block] &= weights[block] != 0
    return mask


# -- share -------------------------------------------------------------------------------------------------------------


def _share(tensor: Tensor, weights: LazyValues, mask: np.ndarray | None, settings: Settings) -> Coded | None:
    """Codes for the weights that `mask` keeps (None: those that are not zero).

    None where sharing them saves nothing, or the settings do not share.
    """
    if mask is None:  # leaves out exact zeros only: -0.0 is preserved if the tensor is coded exactly
        coded = _share_exactly(tensor.patterns, tensor.patterns != 0, settings.bits)
        mask = arrays.mask_where(weights, lambda block: block != 0) if coded is None else None
    else:
        coded = _share_exactly(tensor.patterns, mask, settings.bits)
    if coded is not None or mask is None or settings.shares_nothing:
        return coded
    row_scales = _row_scales(tensor, weights, settings)
    if row_scales is not None:
        scaled = _share_kept(_unscaled(tensor, weights, row_scales), mask, settings)
        coded = _round_centroids(*scaled, mask, FLOAT32)
        coded = None if coded is None else replace(coded, row_scales=row_scales)
        if coded is not None and _keeps_quality(tensor, mask, coded, settings):
            return coded
    return _round_centroids(*_share_kept(tensor, mask, settings), mask, tensor.dtype)


def _keeps_quality(tensor: Tensor, mask: np.ndarray, coded: Coded, settings: Settings) -> bool:
    """Whether the weights that `mask` keeps have, with scales, the quality of the settings as a whole; of a sample.

    They have not where a few are much larger than others of their row: the codebook has few entries for them.
    """
    assert settings.quality is not None, "only qualities lead to scales"
    squares = error = 0.0
    for block in _sample_blocks(len(mask)):
        kept = mask[block]
        numbers = values(tensor.patterns[block], tensor.dtype)[kept].astype(np.float64)
        decoded = values(coded.elements(block, tensor.dtype), tensor.dtype)[kept]
        squares += float(np.square(numbers).sum())
        error += float(np.square(numbers - decoded).sum())
    return error <= MAX_QUALITY_LOSS * 10 ** (-min(settings.quality, SHARED_QUALITY) / 10) * squares


def _sample_blocks(length: int) -> Iterator[slice]:
    """Up to SAMPLED_BLOCKS blocks of a tensor, evenly spread, by which an error is estimated."""
    every = 1 + length // (SAMPLED_BLOCKS * arrays.BLOCK)
    return (slice(start, min(start + arrays.BLOCK, length)) for start in range(0, length, every * arrays.BLOCK))


def _row_scales(tensor: Tensor, weights: LazyValues, settings: Settings) -> scale.RowScales | None:
    """Scales for the rows of a tensor that a layer sums up, where the settings name a quality.

    Rows that read inputs of their own, as in depthwise convolutions, need the same error relative to their size: the
    exponent is 1. Errors of rows that read the same inputs would add up to least with the same step for all (reverse
    water-filling), if the layers that follow took their outputs alike. They do not: what a normalization or a small
    row makes small, the next layer makes large. Of 0, 0.5, 0.75 and 1, 0.75 was best in the worst of four networks;
    where the sizes of rows differ by less than 10 times, it made no difference.
    """
    shape = tensor.shape
    if settings.quality is None or not tensor.rows or len(shape) < 2:
        return None
    # Entries of a 16-bit codebook would lose what scales gain; larger tensors would be in memory once more.
    if tensor.dtype.bits < 32 or len(weights) > MAX_SCALED:
        return None
    reads_its_own = len(shape) > 2 and shape[1] == 1
    axis = tensor.rows - 1 if tensor.rows > 0 else len(shape) - 1
    if reads_its_own:
        return scale.by_rows(weights, shape, axis)
    return scale.by_rows(weights, shape, axis, SHARED_INPUT_EXPONENT, SHARED_INPUT_SPREAD)


def _unscaled(tensor: Tensor, weights: LazyValues, row_scales: scale.RowScales | None) -> Tensor:
    """The tensor with each weight divided by its scale, as float32; itself without scales."""
    if row_scales is None:
        return tensor
    divided = np.empty(len(weights), "<f4")
    for block in arrays.blocks(len(weights), arrays.BLOCK):
        divided[block] = weights[block] / row_scales.at(block)
    return Tensor(tensor.name, FLOAT32, tensor.shape, divided.view(np.uint8), tensor.rows)


def _finer(tensor: Tensor, coded: Coded, settings: Settings) -> list[Candidate] | None:
    """The encodings of a tensor for a quality that its codebook does not reach; None where it does.

    256 levels come no nearer than 42 to 44 dB to normally distributed weights, and less near where they are to cover
    many outliers too. Beyond, weights are rounded to multiples of a power of two, whose trailing zero bits deflate, and
    the exact weights are tried too.
    """
    if settings.quality is None:
        return None
    weights, row_scales = LazyValues(tensor.patterns, tensor.dtype), coded.row_scales
    unscaled = _unscaled(tensor, weights, row_scales)
    numbers = LazyValues(unscaled.patterns, unscaled.dtype)
    kept = LazyValues(unscaled.patterns, unscaled.dtype, arrays.mask_where(numbers, lambda block: block != 0))
    square = prune.typical_square(kept)
    step = grid.step_for_quality(square, settings.quality)
    allowed = MAX_QUALITY_LOSS if settings.quality > SHARED_QUALITY else MAX_TYPICAL_LOSS
    if not square or _typical_error(numbers, square, coded, unscaled.dtype) <= allowed * step**2 / 12:
        return None
    rounded = np.empty(len(weights), tensor.dtype.pattern)
    for block in arrays.blocks(len(weights), arrays.BLOCK):
        steps = step if row_scales is None else step * row_scales.at(block)
        powers = np.exp2(np.floor(np.log2(steps)))
        rounded[block] = round_to(np.rint(weights[block].astype(np.float64) / powers) * powers, tensor.dtype)
    return [candidates.store(data, tensor.dtype) for data in (rounded.view(np.uint8), tensor.data)]


def _typical_error(numbers: LazyValues, square: float, coded: Coded, dtype: Dtype) -> float:
    """The mean squared error of the codebook for the weights that are no outliers, zeros aside; of a sample."""
    limit = prune.MAX_BULK * math.sqrt(square)
    squares, count = 0.0, 0
    for block in _sample_blocks(len(numbers)):
        magnitudes = np.abs(numbers[block].astype(np.float64))
        typical = (magnitudes > 0) & (magnitudes <= limit)
        errors = numbers[block][typical] - values(coded.look_up(coded.entries, block), dtype)[typical]
        squares += float(np.square(errors, dtype=np.float64).sum())
        count += len(errors)
    return squares / max(count, 1)


def _share_kept(tensor: Tensor, mask: np.ndarray, settings: Settings) -> tuple[share.SharedWeights, str]:
    """Centroids and codes of the weights that `mask` keeps, and the form of the codebook: see Settings.codebook."""
    kept = LazyValues(tensor.patterns, tensor.dtype, mask)
    rows = None
    if tensor.rows > 0 or (tensor.rows < 0 and len(tensor.shape) == 2):
        rows = balance.RowIndex(tensor.shape, tensor.rows, kept.positions)
    shared = share_weights(kept, settings, zeros=len(mask) - len(kept), rows=rows)
    codebook = settings.codebook
    if codebook == "auto" and settings.bits is None and len(kept) <= MAX_HALF_CODEBOOK:
        codebook = "float16" if _half_pays(kept[:], shared) else codebook
    return shared, codebook


def share_weights(
    kept: arrays.Weights,
    settings: Settings,
    zeros: int = 0,
    importance: np.ndarray | None = None,
    rows: balance.RowIndex | None = None,
) -> share.SharedWeights:
    """Centroids and codes under `settings` for the weights (float, flat, finite, not empty) that pruning keeps.

    By k-means where the settings name bits, with an `importance` for each weight if there is one (see share.kmeans).
    Else on a grid, with errors that cancel in each of `rows`, if given. `zeros` more weights are known to be zero.
    """
    prunes = settings.sparsity is not None or settings.threshold is not None
    max_entries = MAX_ENTRIES - (0 < zeros < MAX_ZEROS_SHARED * len(kept) and not prunes)
    if settings.bits is not None:
        return share.kmeans(kept, min(max_entries, 1 << settings.bits), settings.init, settings.seed, importance)
    step = _step(kept, zeros, settings)
    shared = share.entropy_constrained(kept, step, zeros, max_entries)
    if rows is None:
        return shared
    codes = balance.preserve_row_sums(kept, shared.codes, shared.centroids, rows, grid.rate_slope(step))
    return share.used_centroids(shared.centroids, codes)


def _step(kept: arrays.Weights, zeros: int, settings: Settings) -> float:
    """The step of the grid for the kept weights under `settings`. Zeros have no error: only a rate includes them."""
    if settings.step is not None:
        return grid.round_step(settings.step * prune.standard_deviation(kept))
    if settings.rate is not None:
        return grid.round_step(grid.step_for_rate(kept, settings.rate, zeros))
    assert settings.quality is not None, "settings that share name one of bits, step, rate and quality"
    return grid.round_step(grid.step_for_quality(prune.typical_square(kept), settings.quality))


def _max_entries(kept: int) -> int:
    """The entries that a codebook for `kept` weights may have: with more, sharing would save nothing.

    The limit is the same for weights that were shared before and those that are shared now, so that compressing a
    decompressed tensor again changes nothing.
    """
    return min(MAX_ENTRIES, max(1, kept // 2))


def _share_exactly(patterns: np.ndarray, mask: np.ndarray, bits: int | None = None) -> Coded | None:
    """The kept weights coded exactly, or None where they have too many distinct values: more than 2^bits, or 256."""
    if len(np.unique(patterns[:SAMPLE][mask[:SAMPLE]])) > MAX_ENTRIES:
        return None
    kept = LazyValues(patterns, None, mask)
    if not len(kept):
        return Coded(mask, np.empty(0, np.uint8), np.empty(0, patterns.dtype))
    entries = _max_entries(len(kept))
    unique = distinct.unique_codes(kept, entries if bits is None else min(entries, 1 << bits))
    return None if unique is None else Coded(mask, unique[1], unique[0])


def _half_pays(kept: np.ndarray, shared: share.SharedWeights) -> bool:
    """Whether 16 bits less for each entry are worth the error that they add, where a bit a weight is worth 6 dB.

    D ~ 2^(-2 R), so that dD/dR = -2 ln 2 D for each weight: a bit in all is worth 2 ln 2 times the mean error.
    """
    with np.errstate(over="ignore"):
        half = shared.centroids.astype(np.float16).astype(np.float64)
    if not np.isfinite(half).all():
        return False
    added = math.fsum(np.bincount(shared.codes, minlength=len(half)) * (half - shared.centroids) ** 2)
    error = prune.mean_square(kept - shared.centroids[shared.codes])
    return added < 2 * math.log(2) * error * 16 * len(half)


def _round_centroids(shared: share.SharedWeights, codebook: str, mask: np.ndarray, dtype: Dtype) -> Coded | None:
    """Codes and the codebook as it will be decoded; weights whose centroid rounds to zero are dropped from the mask.

    None where the codebook has more entries than pay.
    """
    centroids = shared.centroids
    half = np.finfo(np.float16)
    # Outside of float16's normal range, centroids would be clipped or rounded to zero.
    if codebook == "float16" and half.tiny <= np.abs(centroids).max() <= half.max:
        unrounded = candidates.codebook_of(round_to(centroids, dtype), dtype)[0]
        if unrounded.form != "ramp":  # a ramp is shorter still
            centroids = centroids.astype(np.float16).astype(np.float64)
    # A level may lie half a step beyond the largest weight, and must not become infinite.
    entries = round_to(np.clip(centroids, -largest(dtype), largest(dtype)), dtype)
    entries[values(entries, dtype) == 0] = 0  # -0.0 too
    entries, table = np.unique(entries, return_inverse=True)  # rounding may have made entries equal
    codes = arrays.remap(table.astype(np.uint8), shared.codes)
    has_zero = bool(entries[0] == 0)
    zeros = int(arrays.count_codes(codes)[0]) if has_zero else 0
    if len(entries) - has_zero > _max_entries(len(codes) - zeros):
        return None
    return _without_zeros(mask, codes, entries, zeros) if has_zero else Coded(mask, codes, entries)


def _without_zeros(mask: np.ndarray, codes: np.ndarray, entries: np.ndarray, zeros: int) -> Coded:
    """Mask and codes without the weights of code 0, which are `zeros` in number, and entries without the first."""
    kept_mask, kept_codes = np.zeros_like(mask), np.empty(len(codes) - zeros, np.uint8)
    read = written = 0
    for block in arrays.blocks(len(mask)):
        code = codes[read : read + int(np.count_nonzero(mask[block]))]
        read += len(code)
        is_kept = code != 0
        kept_mask[block][mask[block]] = is_kept
        code = code[is_kept] - np.uint8(1)
        kept_codes[written : written + len(code)] = code
        written += len(code)
    return Coded(kept_mask, kept_codes, entries[1:])


# -- keep --------------------------------------------------------------------------------------------------------------


def _keep(tensor: Tensor, run_parts: huffman.RunParts) -> list[Candidate]:
    """The encodings of a tensor that keep it bit for bit."""
    stored = candidates.store(tensor.data, tensor.dtype)
    mask = tensor.patterns != 0
    coded = _share_exactly(tensor.patterns, mask)
    if coded is None:
        coded = _share_grid(tensor, mask)
    if coded is not None:
        return [*candidates.of_distinct(tensor, coded, None, run_parts), stored]
    if np.count_nonzero(mask) < (1 - MIN_ZEROS) * len(mask):
        return [stored, *candidates.of_pruned(tensor, mask, None, run_parts)]
    return [stored]


def _share_grid(tensor: Tensor, mask: np.ndarray) -> Coded | None:
    """The kept weights coded exactly by the grid that they lie on, if it has a scale for each place along an axis.

    None where they do not lie on it, or are more than 256 different multiples.
    """
    if tensor.grid is None or tensor.grid.axis is None or not mask.any():
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


# -- check ------------------------------------------------------------------------------------------------------------


def _compare(tensor: Tensor, decoded: arrays.Bytes) -> tuple[int, float]:
    """The CRC-32 of the `decoded` bytes, and the fraction of the weights that were not zero and now are."""
    crc = before = after = 0  # CRC, and weights that are not zero
    for block in arrays.blocks(len(decoded), arrays.WIDE_BLOCK):
        data = decoded[block]
        crc = crc32(data, crc)
        if tensor.dtype.real:  # blocks of whole elements
            before += int(np.count_nonzero(tensor.data[block].view(tensor.dtype.pattern)))
            after += int(np.count_nonzero(data.view(tensor.dtype.pattern)))
    return crc, 1 - after / before if before else 0.0


def _warning(tensor: Tensor, settings: Settings, zeroed: float) -> str:
    """What the user should know of a tensor's record, or ""."""
    if not settings.lossless and tensor.dtype.real and not tensor.is_finite:
        return f"{tensor.name}: holds infinities or NaN and stays exact; find out why before you ship the model"
    if settings.sparsity is None and settings.threshold is None and zeroed > MAX_ZEROED:
        return f"{tensor.name}: {zeroed:.0%} of its weights became zero; ask for more quality"
    return ""


def _warning_of_outliers(tensor: Tensor, settings: Settings, decoded: arrays.Bytes) -> str:
    """What the user should know where a number of bits, a rate or a step leaves most weights no precision, or ""."""
    sharing = (settings.bits, settings.rate, settings.step)
    prunes = settings.sparsity is not None or settings.threshold is not None
    if prunes or all(each is None for each in sharing) or not tensor.dtype.real or not tensor.is_finite:
        return ""
    weights, itemsize = LazyValues(tensor.patterns, tensor.dtype), tensor.dtype.bits // 8
    kept = LazyValues(tensor.patterns, tensor.dtype, arrays.mask_where(weights, lambda block: block != 0))
    square = prune.typical_square(kept)
    limit, squares, error = prune.MAX_BULK * math.sqrt(square), 0.0, 0.0
    for block in _sample_blocks(len(weights)):
        numbers = weights[block].astype(np.float64)
        patterns = decoded[block.start * itemsize : block.stop * itemsize].view(tensor.dtype.pattern)
        typical = np.abs(numbers) <= limit
        squares += float(np.square(numbers[typical]).sum())
        error += float(np.square(numbers[typical] - values(patterns, tensor.dtype)[typical]).sum())
    if error <= MAX_TYPICAL_NOISE * squares:
        return ""
    return f"{tensor.name}: a few large weights leave the others no precision; ask for a quality, or exclude it"
