"""The paper in one function: `encode` prunes, shares and codes a tensor. `decode` gives it back.

    weights -> prune -> share -> { index -> huffman, codebook, codes -> huffman } -> Candidate

`encode` returns every encoding worth writing; whoever writes them keeps the one of the fewest bytes.
"""

import math

import numpy as np

from .. import arrays
from ..encoded import MOST_ENTRIES
from ..plan import Settings
from ..tensor import Dtype, Tensor, largest, round_to, values
from . import candidates
from .candidates import Candidate, Coded
from .stages import balance, block, distinct, huffman, prune, share

ROOM_FOR_ZERO = 1 / 3  # zeros for each other weight, up to which they are one code more: an index would cost more
FEW = 1 << 20  # weights, up to which a shorter codebook is looked for


def encode(tensor: Tensor, settings: Settings, map: huffman.Map = map) -> list[Candidate]:
    """The encodings of `tensor` under `settings` that may turn out smallest.

    A tensor that is not real, not finite or empty is kept exactly, whatever `settings` say, and so is a float64 one
    whose squares float64 cannot hold. What pruning leaves is kept exactly where its distinct values fit the codebook
    asked for, two weights or more to each. `map` may spread the work on one tensor over threads.
    """
    if not tensor.dtype.real or not len(tensor.data):
        return [candidates.store(tensor.data, tensor.dtype)]
    weights = arrays.LazyValues(tensor.patterns, tensor.dtype)
    if settings.lossless or not is_finite(tensor) or not _squares_fit(weights):
        return _encode_exactly(tensor, map)

    mask = _prune(weights, settings)
    coded = _share(tensor, weights, mask, settings)
    if coded is None:
        return (
            _encode_exactly(tensor, map)
            if mask is None
            else candidates.of_pruned(tensor, mask, settings.index_bits, map)
        )
    found = candidates.of_coded(tensor, coded, settings.index_bits, map)
    # Repeats that deflate finds and the paper does not: in the tensor as it is now, and as it was, unless it was to be
    # pruned.
    promising = 1.1 * candidates.stream_bytes(found[0].encoded)
    for data in (tensor.data, found[0].source) if mask is None else (found[0].source,):
        # The second look is for layers whose rows differ in density: the one in the middle may be nearly empty.
        looks = (block.probe(data, tensor.dtype.bits // 8, pieces) for pieces in (1, 16))
        if len(data) <= block.PROBE or all(look * len(data) < promising for look in looks):
            found.append(candidates.store(data, tensor.dtype))
    return found


def is_finite(tensor: Tensor) -> bool:
    """Whether a real tensor holds neither infinities nor NaN."""
    weights = arrays.LazyValues(tensor.patterns, tensor.dtype)
    return all(np.isfinite(weights[part]).all() for part in arrays.blocks(len(weights), arrays.BLOCK))


def is_shared(tensor: Tensor) -> bool:
    """Whether a real tensor has so few distinct values that it is kept exactly (see `encode`)."""
    return _share_exactly(tensor.patterns, tensor.patterns != 0) is not None


def _squares_fit(weights) -> bool:
    """Whether float64 holds the squares of the magnitudes that count, as it does for all types but float64 itself."""
    if weights[:1].dtype != np.float64:
        return True
    low, high = arrays.extremes(weights)
    greatest = max(-low, high)
    return greatest == 0 or 2.0**-400 < greatest < 2.0**400


def _prune(weights, settings: Settings) -> np.ndarray | None:
    """The mask of the weights that stay, or None where no pruning is asked for."""
    if settings.sparsity is not None:
        mask = prune.by_sparsity(weights, settings.sparsity)
    elif settings.threshold is not None:
        mask = prune.by_deviation(weights, settings.threshold)
    else:
        return None
    for part in arrays.blocks(len(weights)):
        mask[part] &= weights[part] != 0
    return mask


def _share(tensor: Tensor, weights, mask: np.ndarray | None, settings: Settings) -> Coded | None:
    """Codes for the kept weights, or None where they cannot or shall not be shared."""
    if mask is None:  # then only exact zeros are left out, and -0.0 stays what it is if the tensor is coded exactly
        coded = _share_exactly(tensor.patterns, tensor.patterns != 0, settings.bits)
        mask = arrays.mask_where(weights, lambda part: part != 0) if coded is None else None
    else:
        coded = _share_exactly(tensor.patterns, mask, settings.bits)
    if coded is not None or settings.shares_nothing:
        return coded

    kept = arrays.LazyValues(tensor.patterns, tensor.dtype, mask)
    rows = None
    if tensor.rows > 0 or (tensor.rows < 0 and len(tensor.shape) == 2):
        rows = balance.RowIndex(tensor.shape, tensor.rows, kept.places)
    shared = share_weights(kept, settings, zeros=len(weights) - len(kept), rows=rows)
    codebook = settings.codebook
    if codebook == "auto" and settings.bits is None and len(kept) <= FEW and _half_is_worth_it(kept[:], shared):
        codebook = "float16"
    del kept  # which still needs the mask as it was
    return _round_centroids(shared, mask, tensor.dtype, codebook)


def share_weights(
    kept: np.ndarray | arrays.LazyValues,
    settings: Settings,
    zeros: int = 0,
    importance: np.ndarray | None = None,
    rows: balance.RowIndex | None = None,
) -> share.SharedWeights:
    """Centroids for the weights (float, flat, finite, not empty) that pruning keeps, as `settings` say: by k-means, for
    which some weights may have more `importance` than others, or, where they name no bits, by a grid, the errors
    cancelling in each of the `rows`. `zeros` more weights are known to be zero."""
    prunes = settings.sparsity is not None or settings.threshold is not None
    most = MOST_ENTRIES - (0 < zeros < ROOM_FOR_ZERO * len(kept) and not prunes)
    if settings.bits is not None:
        return share.kmeans(kept, min(most, 1 << settings.bits), settings.init, settings.seed, importance)
    step = _step(kept, zeros, settings)
    found = share.entropy_constrained(kept, step, zeros, most)
    if rows is None:
        return found
    codes = balance.balanced(kept, found.codes, found.centroids, rows, share.rate_slope(step))
    return share.only_used(found.centroids, codes)


def _step(kept, zeros: int, settings: Settings) -> float:
    """The step of the grid for the kept weights. Zeros have no error, so they do not count."""
    if settings.step is not None:
        return share.simple_step(settings.step * prune.standard_deviation(kept))
    if settings.rate is not None:
        return share.simple_step(share.step_for_rate(kept, settings.rate, zeros))
    return share.simple_step(share.step_for_quality(prune.typical_square(kept), settings.quality))


def _most(kept: int) -> int:
    """The entries that a codebook for this many weights may have: any longer, and sharing would save nothing.

    The limit is for weights found to be shared as for sharing them: what was compressed once stays what it is.
    """
    return min(MOST_ENTRIES, max(1, kept // 2))


def _share_exactly(patterns: np.ndarray, mask: np.ndarray, bits: int | None = None) -> Coded | None:
    """The kept weights coded exactly, or None where they have too many distinct values: more than 2^bits, or 256."""
    if len(np.unique(patterns[:4096][mask[:4096]])) > MOST_ENTRIES:  # most tensors are told by their first weights
        return None
    kept = arrays.LazyValues(patterns, None, mask)
    if not len(kept):
        return Coded(mask, np.empty(0, np.uint8), np.empty(0, patterns.dtype))
    most = _most(len(kept))
    found = distinct.number(kept, most if bits is None else min(most, 1 << bits))
    return found and Coded(mask, found[1], found[0])


def _half_is_worth_it(kept: np.ndarray, shared: share.SharedWeights) -> bool:
    """Whether entries of 16 bits less are worth more than the error that they add: a bit a weight is worth 6 dB."""
    with np.errstate(over="ignore"):
        half = shared.centroids.astype(np.float16).astype(np.float64)
    if not np.isfinite(half).all():
        return False
    added = math.fsum(np.bincount(shared.codes, minlength=len(half)) * (half - shared.centroids) ** 2)
    error = prune.mean_square(kept - shared.centroids[shared.codes])
    return added < 2 * math.log(2) * error * 16 * len(half)


def _round_centroids(shared: share.SharedWeights, mask: np.ndarray, dtype: Dtype, codebook: str) -> Coded | None:
    """Centroids as they will be decoded; those that round to zero join the pruned places. None where too many are left.

    The codes of `shared` become those that are returned, and so does `mask`, if any are.
    """
    numbers = shared.centroids
    half = np.finfo(np.float16)
    if codebook == "float16" and half.tiny <= np.abs(numbers).max() <= half.max:  # else it would clip, or leave zeros
        as_it_is = candidates.codebook_of(round_to(numbers, dtype), dtype)[0]
        if as_it_is.form != "ramp":  # which is shorter still
            numbers = numbers.astype(np.float16).astype(np.float64)
    # A level may lie half a step beyond the greatest weight, and must not become infinite.
    entries = round_to(np.clip(numbers, -largest(dtype), largest(dtype)), dtype)
    entries[values(entries, dtype) == 0] = 0  # -0.0 too
    entries, number = np.unique(entries, return_inverse=True)  # rounding may have made two of them one
    codes = arrays.remap(number.astype(np.uint8), shared.codes, out=shared.codes)
    has_zero = entries[0] == 0
    if len(entries) - has_zero > _most(len(codes) - (arrays.count_codes(codes)[0] if has_zero else 0)):
        return None
    return _drop_zeros(mask, codes, entries) if has_zero else Coded(mask, codes, entries)


def _drop_zeros(mask: np.ndarray, codes: np.ndarray, entries: np.ndarray) -> Coded:
    """The same without the places whose code is 0, in the memory of what is given."""
    done = left = 0
    for part in arrays.blocks(len(mask)):
        kept = mask[part]
        code = codes[done : done + np.count_nonzero(kept)]
        done += len(code)
        stays = code != 0
        kept[kept] = stays
        code = code[stays] - np.uint8(1)
        codes[left : left + len(code)] = code
        left += len(code)
    return Coded(mask, codes[:left], entries[1:])


def _encode_exactly(tensor: Tensor, map: huffman.Map) -> list[Candidate]:
    found = [candidates.store(tensor.data, tensor.dtype)]
    mask = tensor.patterns != 0
    if (coded := _share_exactly(tensor.patterns, mask)) is not None:
        return candidates.of_coded(tensor, coded, None, map) + found
    if np.count_nonzero(mask) < 0.9 * len(mask):
        found += candidates.of_pruned(tensor, mask, None, map)
    return found
