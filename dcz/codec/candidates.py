"""A tensor that was pruned and shared -> the encodings that are worth writing, and the smallest of them (spec, section
5).

    mask 0 1 0 0 1, codes 1 0   ->   Sparse(index, codebook, codes)  or  Shared(codebook, codes with one for zero)

An encoding that cannot win by far, as counts of symbols or a probe tell, is not made; of the others the bytes decide.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .. import arrays
from ..encoded import (
    MOST_ENTRIES,
    Codebook,
    Encoded,
    Index,
    Pruned,
    Shared,
    Sparse,
    Stored,
    codebook_patterns,
    may_expand,
)
from ..tensor import Dtype, Tensor, matrix_shape, round_to, values
from .stages import block, code_length, huffman, index

CLOSE = 2048  # bytes by which codebooks and tables of two encodings may differ
DEFLATES_NEAR = 1.1  # times the coded symbols: where a probe deflates to more, all of the tensor does not win
WIDTHS = tuple(range(2, 9))  # bits of a gap

# The pieces of the record of an encoding, each under its purpose: see format.record.parts.
Serialize = Callable[[Encoded], Sequence[tuple[str, bytes | memoryview]]]


@dataclass(frozen=True, eq=False)
class Coded:
    """What pruning and sharing leave of a tensor: the mask of kept places (bool, flat), a code (uint8) for each of
    them, and the codebook (bit patterns) that the codes point into."""

    mask: np.ndarray
    codes: np.ndarray
    entries: np.ndarray

    @functools.cached_property
    def places(self) -> arrays.KeptPositions:
        """The kept places."""
        return arrays.KeptPositions(self.mask)

    def dense_codes(self, table: np.ndarray, part: slice, other: int = 0) -> np.ndarray:
        """table[code] for the kept ones of a slice of all places, `other` for the rest."""
        mask = self.mask[part]
        first = self.places.rank(part.start)
        kept = table.take(self.codes[first : first + np.count_nonzero(mask)], mode="clip")  # checked by of_coded
        if len(kept) == len(mask):
            return kept
        found = np.full(len(mask), other, table.dtype)
        found[mask] = kept
        return found


@dataclass(frozen=True, eq=False)
class Candidate:
    """An encoding, and the bytes of the tensor that it must decode to (uint8, flat)."""

    encoded: Encoded
    source: np.ndarray | arrays.LazyBytes

    @property
    def data(self) -> np.ndarray:
        """All of these bytes."""
        return self.source[:]


def smallest(candidates: Sequence[Candidate], tensor: Tensor, serialize: Serialize) -> tuple[Candidate, bytes]:
    """The candidate whose record takes the fewest bytes, and these; of equal ones the first.

    A record may be so short only that the format lets it expand to the tensor.
    """
    best, pieces, least = None, None, math.inf
    for candidate in candidates:
        parts = [data for _, data in serialize(candidate.encoded)]
        size = sum(map(len, parts))
        if size < least and may_expand(len(tensor.data), size):
            best, pieces, least = candidate, parts, size
    if best is None or pieces is None:  # tensors that are zero almost everywhere; deflate stays within the limit
        best = store(candidates[0].source, tensor.dtype)
        pieces = [data for _, data in serialize(best.encoded)]
    return best, b"".join(pieces)


def store(data: np.ndarray | arrays.LazyBytes, dtype: Dtype) -> Candidate:
    """`data` (uint8, flat) exactly as it is."""
    return Candidate(Stored(block.encode(data, max(1, dtype.bits // 8))), data)


def of_pruned(
    tensor: Tensor, mask: np.ndarray, index_bits: int | None = None, run_parts: huffman.RunParts = map
) -> list[Candidate]:
    """The encodings of `tensor` with exact values at the kept places of `mask` (bool, flat) and zeros elsewhere."""
    shape, patterns, itemsize = matrix_shape(tensor.shape), tensor.patterns, tensor.dtype.bits // 8
    places = _index(mask.reshape(shape), index_bits, run_parts)
    kept = index.in_reading_order(patterns.reshape(shape), mask.reshape(shape), places.column_major)
    encoded = Pruned(places, block.encode(kept.view(np.uint8), itemsize))
    zero = patterns.dtype.type(0)
    data = arrays.LazyBytes(len(mask), itemsize, lambda part: np.where(mask[part], patterns[part], zero))
    return [Candidate(encoded, data), store(data, tensor.dtype)]


def of_coded(
    tensor: Tensor, coded: Coded, pruned: bool, index_bits: int | None = None, run_parts: huffman.RunParts = map
) -> list[Candidate]:
    """The encodings of `tensor` with shared values, and those that deflate finds repeats in, which the paper does not.

    Deflated are the values that sharing gives, and, unless they were to be `pruned`, those that the tensor had.
    """
    shared = of_distinct(tensor, coded, index_bits, run_parts)
    promising = DEFLATES_NEAR * stream_bytes(shared[0].encoded)
    for data in (shared[0].source,) if pruned else (tensor.data, shared[0].source):
        # The second look is for layers whose rows differ in density: the one in the middle may be nearly empty.
        looks = (block.probe(data, tensor.dtype.bits // 8, pieces) for pieces in (1, 16))
        if len(data) <= block.PROBE or all(look * len(data) < promising for look in looks):
            shared.append(store(data, tensor.dtype))
    return shared


def of_distinct(
    tensor: Tensor, coded: Coded, index_bits: int | None = None, run_parts: huffman.RunParts = map
) -> list[Candidate]:
    """The encodings of `tensor` (its dtype and shape) by codes: sparse, shared or both.

    `index_bits` fixes the width of gaps; `run_parts` may spread segments over threads.
    """
    kept, places = len(coded.codes), len(coded.mask)
    counts = huffman.count_symbols(coded.codes)
    if counts[len(coded.entries) :].any():  # `dense_codes` looks codes up without asking each again
        raise ValueError(f"codes beyond the {len(coded.entries)} entries of the codebook of {tensor.name!r}")
    fits = len(coded.entries) + (kept < places) <= MOST_ENTRIES
    dense = math.inf
    if fits and kept:
        with_zero = counts.copy()
        with_zero[len(coded.entries) % MOST_ENTRIES] += places - kept
        dense = huffman.stream_bits(with_zero) / 8
    encodings: list[Shared | Sparse] = []
    if dense == math.inf or (kept < places and _may_be_sparse(tensor, coded, counts, dense)):
        encodings.append(_sparse(tensor, coded, index_bits, run_parts))
    if dense < math.inf and (not encodings or stream_bytes(encodings[0]) + CLOSE > dense):
        encodings.append(_shared(tensor, coded, counts, run_parts))
    decoded = arrays.LazyBytes(places, tensor.dtype.bits // 8, functools.partial(coded.dense_codes, coded.entries))
    return [Candidate(encoded, decoded) for encoded in encodings]


def _may_be_sparse(tensor: Tensor, coded: Coded, counts: np.ndarray, dense: float) -> bool:
    """Whether leaving out the zeros may take fewer bytes than the `dense` ones of coding them like any other value."""
    kept, places = len(coded.codes), len(coded.mask)
    # Independent places cost their entropy; clustered ones a few percent less, empty rows and columns next to nothing.
    independent = code_length.entropy_bits(counts) / 8 + code_length.entropy_bits(np.array([kept, places - kept])) / 8
    if kept < 0.75 * places and independent < 1.15 * dense + 256:
        return True
    matrix = coded.mask.reshape(matrix_shape(tensor.shape))
    return not (matrix.any(axis=0).all() and matrix.any(axis=1).all())


def _shared(tensor: Tensor, coded: Coded, count_codes: np.ndarray, run_parts: huffman.RunParts) -> Shared:
    entries, zeros = coded.entries, len(coded.mask) - len(coded.codes)
    if zeros:
        entries = np.append(entries, tensor.dtype.pattern.type(0))
    codebook, number = codebook_of(entries, tensor.dtype)
    counts = np.zeros(256, np.int64)
    counts[number] = count_codes[: len(number)]
    counts[number[-1]] += zeros
    codes = arrays.LazyBytes(len(coded.mask), 1, lambda part: coded.dense_codes(number, part, number[-1]))
    return Shared(codebook, huffman.encode(codes, run_parts, counts))


def _sparse(tensor: Tensor, coded: Coded, index_bits: int | None, run_parts: huffman.RunParts) -> Sparse:
    mask = coded.mask.reshape(matrix_shape(tensor.shape))
    places = _index(mask, index_bits, run_parts)
    if not places.kept:
        return Sparse(places, None, None)
    codebook, number = codebook_of(coded.entries, tensor.dtype)
    codes = arrays.remap(number, coded.codes)
    if places.column_major:
        dense = np.empty(mask.shape, np.uint8)
        dense[mask] = codes
        codes = index.in_reading_order(dense, mask, True)
    return Sparse(places, codebook, huffman.encode(codes, run_parts))


def _index(mask: np.ndarray, index_bits: int | None, run_parts: huffman.RunParts) -> Index:
    """The smallest index of `mask` (bool[R, C]) over orders, bitmaps and gap widths, by the bits it takes."""
    widths = WIDTHS if index_bits is None else (index_bits,)
    best, best_bytes = None, math.inf
    for layout in index.layouts(mask):
        for width, count in index.count_symbols(layout.gaps(), widths).items():
            if code_length.entropy_bits(count) / 8 + layout.bitmap_bytes >= best_bytes:  # no code beats the entropy
                continue
            nbytes = huffman.stream_bits(count) / 8 + layout.bitmap_bytes
            if nbytes < best_bytes:
                best, best_bytes = (layout, width, count), nbytes
    layout, width, count = best
    gaps = huffman.encode(index.encode_all(layout.gaps(), width, int(count.sum())), run_parts, count)
    return Index(width, layout.column_major, layout.rows, layout.columns, np.count_nonzero(mask), gaps)


def stream_bytes(encoded: Shared | Sparse) -> int:
    """Bytes of the coded symbols, without codebooks and tables."""
    streams = [encoded.codes] if isinstance(encoded, Shared) else [encoded.index.gaps, encoded.codes]
    return sum(len(segment) for stream in streams if stream is not None for segment in stream.segments)


def codebook_of(entries: np.ndarray, dtype: Dtype) -> tuple[Codebook, np.ndarray]:
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
    if not 0 < step <= numbers[-1] - first <= step * (MOST_ENTRIES - 0.5):  # nor where `first` became infinite
        return None
    place = np.rint((numbers - first) / step).astype(np.uint8)
    if not np.array_equal(round_to(first + place.astype(np.float64) * step, dtype), entries):
        return None
    return Codebook("ramp", int(place[-1]) + 1, first=first, step=step), place
