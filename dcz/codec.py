"""The paper in two functions: `encode` prunes, shares and codes one tensor; `decode` gives it back.

    weights -> prune -> share -> { index -> huffman, codebook, codes -> huffman } -> Candidate

`encode` returns every encoding worth writing; whoever writes them keeps the one of the fewest bytes.
"""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from .errors import CorruptFile
from .plan import Settings
from .stages import block, huffman, index, prune, share
from .tensor import (
    Codebook,
    Dtype,
    Encoded,
    Index,
    Pruned,
    Shared,
    Sparse,
    Stored,
    Stream,
    Tensor,
    codebook_patterns,
    largest,
    matrix_shape,
    round_to,
    values,
)

CHUNK = 1 << 15  # elements decoded at a time: they stay in cache


@dataclass(frozen=True, eq=False)
class Coded:
    """What pruning and sharing leave of a tensor: the mask of kept places (bool, flat), a code (uint8) for each of
    them, and the codebook (bit patterns) that the codes point into."""

    mask: np.ndarray
    codes: np.ndarray
    entries: np.ndarray


@dataclass(frozen=True, eq=False)
class Candidate:
    """An encoding, and the bytes (uint8, flat) of the tensor that it must decode to."""

    encoded: Encoded
    data: np.ndarray


def encode(tensor: Tensor, settings: Settings, map: huffman.Map = map) -> list[Candidate]:
    """The encodings of `tensor` under `settings` that may turn out smallest.

    A tensor that is not real, not finite or empty is kept exactly, whatever `settings` say, and so is a float64 one
    whose squares float64 cannot hold. What pruning leaves is kept exactly where its distinct values fit the codebook
    asked for, two weights or more to each. `map` may spread the work on one tensor over threads.
    """
    if not tensor.dtype.real or not len(tensor.data):
        return [store(tensor.data, tensor.dtype)]
    weights = values(tensor.patterns, tensor.dtype)
    if settings.lossless or not is_finite(tensor) or not _squares_fit(weights):
        return _encode_exactly(tensor, map)

    mask = _prune(weights, settings)
    coded = _share(tensor, weights, mask, settings)
    if coded is None:
        return _encode_exactly(tensor, map) if mask is None else _encode_pruned(tensor, mask, settings, map)
    found = _encodings(tensor, coded, settings, map)
    # Repeats that deflate finds and the paper does not: in the tensor as it is now, and as it was, unless it was to be
    # pruned.
    promising = 1.1 * _stream_bytes(found[0].encoded)
    for data in (tensor.data, found[0].data) if mask is None else (found[0].data,):
        if len(data) <= block.PROBE or block.probe(data, tensor.dtype.bits // 8) * len(data) < promising:
            found.append(store(data, tensor.dtype))
    return found


def is_finite(tensor: Tensor) -> bool:
    """Whether a real tensor holds neither infinities nor NaN."""
    weights = values(tensor.patterns, tensor.dtype)
    return all(np.isfinite(weights[start : start + CHUNK]).all() for start in range(0, len(weights), CHUNK))


def _squares_fit(weights: np.ndarray) -> bool:
    """Whether float64 holds the squares of the magnitudes that count, as it does for all types but float64 itself."""
    if weights.dtype != np.float64:
        return True
    greatest = max(-weights.min(), weights.max())
    return greatest == 0 or 2.0**-400 < greatest < 2.0**400


def _prune(weights: np.ndarray, settings: Settings) -> np.ndarray | None:
    """The mask of the weights that stay, or None where no pruning is asked for."""
    if settings.sparsity is not None:
        return prune.by_sparsity(weights, settings.sparsity) & (weights != 0)
    if settings.threshold is not None:
        return prune.by_deviation(weights, settings.threshold) & (weights != 0)
    return None


def _share(tensor: Tensor, weights: np.ndarray, mask: np.ndarray | None, settings: Settings) -> Coded | None:
    """Codes for the kept weights, or None where they cannot or shall not be shared."""
    if mask is None:  # then only exact zeros are left out, and -0.0 stays what it is if the tensor is coded exactly
        coded = _share_exactly(tensor.patterns, tensor.patterns != 0, settings)
        mask = weights != 0 if coded is None else None
    else:
        coded = _share_exactly(tensor.patterns, mask, settings)
    if coded is not None or settings.shares_nothing:
        return coded

    kept = weights[mask]
    if settings.bits is not None:
        shared = share.kmeans(kept, 1 << settings.bits, settings.init, settings.seed)
    else:
        shared = share.entropy_constrained(kept, _step(kept, settings), len(weights) - len(kept))
    coded = _round_centroids(shared, mask, tensor.dtype, settings.codebook)
    return coded if len(coded.entries) <= _most(len(coded.codes)) else None


def _step(kept: np.ndarray, settings: Settings) -> float:
    """The step of the grid for the kept weights. Zeros have no error, so they do not count."""
    if settings.step is not None:
        return share.simple_step(settings.step * prune.standard_deviation(kept))
    return share.simple_step(share.step_for_quality(prune.mean_square(kept), settings.quality))


def _most(kept: int) -> int:
    """The entries that a codebook for this many weights may have: any longer, and sharing would save nothing.

    The limit is for weights found to be shared as for sharing them: what was compressed once stays what it is.
    """
    return min(share.MOST, max(1, kept // 2))


def _share_exactly(patterns: np.ndarray, mask: np.ndarray, settings: Settings) -> Coded | None:
    if len(np.unique(patterns[:4096][mask[:4096]])) > share.MOST:  # most tensors, told before the others are copied
        return None
    kept = patterns[mask]
    if not len(kept):
        return Coded(mask, np.empty(0, np.uint8), np.empty(0, patterns.dtype))
    most = _most(len(kept))
    found = share.exact(kept, most if settings.bits is None else min(most, 1 << settings.bits))
    return found and Coded(mask, found[1], found[0])


def _round_centroids(shared: share.Shared, mask: np.ndarray, dtype: Dtype, codebook: str) -> Coded:
    """Centroids as they will be decoded; those that round to zero join the pruned places."""
    numbers = shared.centroids
    half = np.finfo(np.float16)
    if codebook == "float16" and half.tiny <= np.abs(numbers).max() <= half.max:  # else it would clip, or leave zeros
        numbers = numbers.astype(np.float16).astype(np.float64)
    # A level may lie half a step beyond the greatest weight, and must not become infinite.
    entries = round_to(np.clip(numbers, -largest(dtype), largest(dtype)), dtype)
    entries[values(entries, dtype) == 0] = 0  # -0.0 too
    entries, number = np.unique(entries, return_inverse=True)  # rounding may have made two of them one
    codes = number.astype(np.uint8)[shared.codes]
    if entries[0] != 0:
        return Coded(mask, codes, entries)
    stays = codes != 0
    mask = mask.copy()
    mask[mask] = stays
    return Coded(mask, codes[stays] - 1, entries[1:])


# -- candidates -------------------------------------------------------------------------------------------------------


def store(data: np.ndarray, dtype: Dtype) -> Candidate:
    """`data` (uint8, flat) exactly as it is."""
    return Candidate(Stored(block.encode(data, max(1, dtype.bits // 8))), data)


def _encode_exactly(tensor: Tensor, map: huffman.Map) -> list[Candidate]:
    exact = Settings(lossless=True)
    found = [store(tensor.data, tensor.dtype)]
    mask = tensor.patterns != 0
    if (coded := _share_exactly(tensor.patterns, mask, exact)) is not None:
        return _encodings(tensor, coded, exact, map) + found
    if np.count_nonzero(mask) < 0.9 * len(mask):
        found += _encode_pruned(tensor, mask, exact, map)
    return found


def _encode_pruned(tensor: Tensor, mask: np.ndarray, settings: Settings, map: huffman.Map) -> list[Candidate]:
    matrix = mask.reshape(matrix_shape(tensor.shape))
    places = _encode_index(matrix, settings, map)
    pruned = np.where(mask, tensor.patterns, 0).astype(tensor.dtype.pattern)
    kept = pruned[index.reading_order(matrix, places.column_major)]
    encoded = Pruned(places, block.encode(kept.view(np.uint8), tensor.dtype.bits // 8))
    data = pruned.view(np.uint8)
    return [Candidate(encoded, data), store(data, tensor.dtype)]


def _encodings(tensor: Tensor, coded: Coded, settings: Settings, map: huffman.Map) -> list[Candidate]:
    """`sparse`, `shared` or both: both only where too close to tell apart without trying."""
    kept, places = len(coded.codes), len(coded.mask)
    counts = huffman.count_symbols(coded.codes)
    fits = len(coded.entries) + (kept < places) <= share.MOST
    dense = math.inf
    if fits and kept:
        with_zero = counts.copy()
        with_zero[len(coded.entries) % share.MOST] += places - kept
        dense = huffman.stream_bits(with_zero) / 8
    found: list[Encoded] = []
    if dense == math.inf or (kept < places and _may_be_sparse(tensor, coded, counts, dense)):
        found.append(_encode_sparse(tensor, coded, settings, map))
    if dense < math.inf and (not found or _stream_bytes(found[0]) + 2048 > dense):  # 2048: codebooks and tables differ
        found.append(_encode_shared(tensor, coded, map))

    decoded = np.zeros(places, tensor.dtype.pattern)
    decoded[coded.mask] = coded.entries[coded.codes]
    return [Candidate(encoded, decoded.view(np.uint8)) for encoded in found]


def _may_be_sparse(tensor: Tensor, coded: Coded, counts: np.ndarray, dense: float) -> bool:
    """Whether leaving out the zeros may take fewer bytes than the `dense` ones of coding them like any other value."""
    kept, places = len(coded.codes), len(coded.mask)
    # Independent places cost their entropy; clustered ones a few percent less, empty rows and columns next to nothing.
    independent = _entropy_bytes(counts) + _entropy_bytes(np.array([kept, places - kept]))
    if kept < 0.75 * places and independent < 1.15 * dense + 256:
        return True
    matrix = coded.mask.reshape(matrix_shape(tensor.shape))
    return not (matrix.any(axis=0).all() and matrix.any(axis=1).all())


def _encode_shared(tensor: Tensor, coded: Coded, map: huffman.Map) -> Shared:
    if coded.mask.all():
        codebook, number = _codebook(coded.entries, tensor.dtype)
        return Shared(codebook, huffman.encode(number[coded.codes], map))
    codebook, number = _codebook(np.append(coded.entries, tensor.dtype.pattern.type(0)), tensor.dtype)
    codes = np.full(len(coded.mask), number[-1], np.uint8)
    codes[coded.mask] = number[coded.codes]
    return Shared(codebook, huffman.encode(codes, map))


def _encode_sparse(tensor: Tensor, coded: Coded, settings: Settings, map: huffman.Map) -> Sparse:
    matrix = coded.mask.reshape(matrix_shape(tensor.shape))
    places = _encode_index(matrix, settings, map)
    if not places.kept:
        return Sparse(places, None, None)
    codebook, number = _codebook(coded.entries, tensor.dtype)
    codes = number[coded.codes]
    if places.column_major:
        dense = np.empty(len(coded.mask), np.uint8)
        dense[coded.mask] = codes
        codes = dense[index.reading_order(matrix, True)]
    return Sparse(places, codebook, huffman.encode(codes, map))


def _encode_index(mask: np.ndarray, settings: Settings, map: huffman.Map) -> Index:
    """The smallest index of `mask` (bool[R, C]) over orders, bitmaps and gap widths, by the bits it takes."""
    widths = tuple(range(2, 9)) if settings.index_bits is None else (settings.index_bits,)
    best, best_bytes = None, math.inf
    for layout in index.layouts(mask):
        for width, count in index.count_symbols(layout.gaps, widths).items():
            if _entropy_bytes(count) + layout.bitmap_bytes >= best_bytes:  # no code beats the entropy
                continue
            nbytes = huffman.stream_bits(count) / 8 + layout.bitmap_bytes
            if nbytes < best_bytes:
                best, best_bytes = (layout, width, count), nbytes
    layout, width, count = best
    gaps = huffman.encode(index.encode(layout.gaps, width), map, count)
    return Index(width, layout.column_major, layout.rows, layout.columns, len(layout.gaps), gaps)


def _entropy_bytes(counts: np.ndarray) -> float:
    counts = counts[counts > 0]
    return float((counts * np.log2(counts.sum() / counts)).sum()) / 8


def _stream_bytes(encoded: Encoded) -> int:
    streams = [encoded.codes] if isinstance(encoded, Shared) else [encoded.index.gaps, encoded.codes]
    return sum(len(segment) for stream in streams if stream is not None for segment in stream.segments)


def _codebook(entries: np.ndarray, dtype: Dtype) -> tuple[Codebook, np.ndarray]:
    """The shortest codebook of exactly these distinct entries (bit patterns), and the number (uint8) of each in it."""
    numbers = values(entries, dtype)
    if not np.isfinite(numbers).all():
        return Codebook("native", len(entries), entries.tobytes()), np.arange(len(entries), dtype=np.uint8)
    order = np.lexsort((entries, numbers))
    rank = np.argsort(order).astype(np.uint8)
    entries, numbers = entries[order], numbers[order].astype(np.float64)
    if dtype.bits >= 32 and (found := _ramp(entries, numbers, dtype)):
        return found[0], found[1][rank]
    if dtype.bits >= 32 and np.abs(numbers).max() < np.finfo(np.float16).max:
        half = Codebook("half", len(entries), numbers.astype("<f2").tobytes())
        if np.array_equal(codebook_patterns(half, dtype), entries):
            return half, rank
    return Codebook("native", len(entries), entries.tobytes()), rank


def _ramp(entries: np.ndarray, numbers: np.ndarray, dtype: Dtype) -> tuple[Codebook, np.ndarray] | None:
    """A ramp that passes through all the entries (sorted, with their values), and the place (uint8) of each on it."""
    if len(numbers) < 3:
        return None
    with np.errstate(over="ignore"):
        first, step = np.array([numbers[0], np.diff(numbers).min()]).astype(np.float32).tolist()
    if not 0 < step <= numbers[-1] - first <= step * (share.MOST - 0.5):  # nor where `first` became infinite
        return None
    place = np.rint((numbers - first) / step).astype(np.uint8)
    if not np.array_equal(round_to(first + place.astype(np.float64) * step, dtype), entries):
        return None
    return Codebook("ramp", int(place[-1]) + 1, first=first, step=step), place


# -- decode -----------------------------------------------------------------------------------------------------------


def decode(
    encoded: Encoded, dtype: Dtype, shape: tuple[int, ...], map: huffman.Map = map, engine=huffman.decode
) -> np.ndarray:
    """The tensor's bytes (uint8, flat). `engine` decodes streams: `huffman.decode`, or `decode_slowly` to check it.

    Raises CorruptFile where the parts do not fit together.
    """
    nbytes, itemsize = dtype.nbytes(shape), max(1, dtype.bits // 8)
    if isinstance(encoded, Stored):
        return block.decode(encoded.block, nbytes, itemsize)
    run = partial(_symbols, engine=partial(engine, map=map) if engine is huffman.decode else engine)
    if isinstance(encoded, Shared):
        return _decode_shared(codebook_patterns(encoded.codebook, dtype), run(encoded.codes, encoded.codebook.count))
    result = np.zeros(math.prod(shape), dtype.pattern)
    kept = encoded.index.kept
    if isinstance(encoded, Pruned):
        exact = block.decode(encoded.block, kept * itemsize, itemsize).view(dtype.pattern)
        _scatter(result, encoded.index, shape, exact, run)
    elif kept:
        entries = codebook_patterns(encoded.codebook, dtype)
        _scatter(result, encoded.index, shape, entries, run, run(encoded.codes, encoded.codebook.count))
    return result.view(np.uint8)


def _symbols(stream: Stream, alphabet: int, engine) -> np.ndarray:
    symbols = engine(stream)
    # Huffman tables and constants were checked when they were read; packed symbols can only be checked now.
    if stream.form == "packed" and int(symbols.max()) >= alphabet:
        raise CorruptFile("symbol-range", f"symbol {int(symbols.max())} where only symbols below {alphabet} exist")
    return symbols


def _decode_shared(entries: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Entries of `codes`, two codes at a time through a table of all pairs."""
    itemsize = entries.dtype.itemsize
    result = np.empty(len(codes), entries.dtype)
    table = np.zeros(256, entries.dtype)
    table[: len(entries)] = entries
    paired = 0
    if itemsize <= 4 and len(codes) > CHUNK:
        paired = len(codes) // 2 * 2
        pairs = np.empty((256, 256, 2), entries.dtype)
        pairs[:, :, 0], pairs[:, :, 1] = table[None, :], table[:, None]
        wide = np.dtype(f"<u{2 * itemsize}")
        pair_table, target, source = pairs.view(wide).ravel(), result[:paired].view(wide), codes[:paired].view("<u2")
        for start in range(0, len(source), CHUNK):
            stop = min(start + CHUNK, len(source))
            np.take(pair_table, source[start:stop], out=target[start:stop], mode="clip")  # clip: "raise" would buffer
    result[paired:] = table[codes[paired:]]
    return result.view(np.uint8)


def _scatter(
    result: np.ndarray, places: Index, shape: tuple[int, ...], source: np.ndarray, run, codes: np.ndarray | None = None
) -> None:
    """Put source[i], or source[codes[i]], at the i-th kept place of `result`."""
    matrix = matrix_shape(shape)
    height = matrix[0] if places.rows is None else int(places.rows.sum())
    width = matrix[1] if places.columns is None else int(places.columns.sum())
    done = 0
    for where in index.decode(run(places.gaps, 1 << places.gap_bits), places.gap_bits, places.kept, height * width):
        where = index.to_row_major(where, matrix, places.column_major, places.rows, places.columns)
        taken = slice(done, done + len(where))
        result[where] = source[taken] if codes is None else source[codes[taken]]
        done += len(where)
