"""A pruned and shared tensor -> the encodings that are worth writing, and the smallest of them (spec, section 5).

    mask 0 1 0 0 1, codes 1 0   ->   Sparse(index, codebook, codes)  or  Shared(codebook, codes with one for zero)

Encodings that symbol counts or probes show to be far from the smallest are not made; of the others bytes decide.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .. import arrays
from ..encoded import (
    MAX_ENTRIES,
    Encoded,
    Index,
    Pruned,
    Shared,
    Sparse,
    Stored,
    may_expand,
)
from ..tensor import Dtype, Tensor, matrix_shape
from .codebooks import scaled_codebook_of
from .coded import Coded
from .stages import block, entropy, huffman, index, recode

MAX_OVERHEAD = 2048  # bytes by which codebooks and tables of two encodings may differ
PROBE_MARGIN = 1.1  # a tensor is deflated only if its probes are below this times the coded symbols
MAX_JOINED = 1 << 20  # bytes of a record up to which its parts are joined, in another place in memory
WIDTHS = tuple(range(2, 9))  # bits of a gap
MIN_SPARSE = 8  # elements of a mask for each that is kept, from which its gaps stay in memory, two bytes each

# The parts of the record of an encoding, each with its purpose: see format.record.parts.
Serialize = Callable[[Encoded], Sequence[tuple[str, bytes | memoryview]]]


@dataclass(frozen=True, eq=False)
class Candidate:
    """An encoding, and the bytes of the tensor that it decodes to (uint8, flat)."""

    encoded: Encoded
    source: arrays.Bytes

    @property
    def data(self) -> np.ndarray:
        """The bytes as an array."""
        return self.source[:]


def smallest(
    candidates: Sequence[Candidate], tensor: Tensor, serialize: Serialize
) -> tuple[Candidate, tuple[bytes | memoryview, ...]]:
    """The candidate whose record takes the fewest bytes, and these bytes in pieces; of equal ones the first.

    Records that are shorter than the format allows for the tensor (encoded.may_expand) are left out.
    """
    best, best_parts, best_size = None, None, math.inf
    for candidate in candidates:
        parts = [data for _, data in serialize(candidate.encoded)]
        size = sum(map(len, parts))
        if size < best_size and may_expand(len(tensor.data), size):
            best, best_parts, best_size = candidate, parts, size
    if best is None or best_parts is None:  # tensors that are zero almost everywhere; DEFLATE stays within the limit
        best = store(candidates[0].source, tensor.dtype)
        best_parts = [data for _, data in serialize(best.encoded)]
    is_large = sum(map(len, best_parts)) > MAX_JOINED
    return best, tuple(best_parts) if is_large else (b"".join(best_parts),)


def store(data: arrays.Bytes, dtype: Dtype) -> Candidate:
    """The encoding of exactly `data` (uint8, flat)."""
    return Candidate(Stored(block.encode(data, max(1, dtype.bits // 8))), data)


def of_pruned(tensor: Tensor, mask: np.ndarray, index_bits: int | None = None) -> list[Candidate]:
    """The encodings of `tensor` with exact values at the true positions of `mask` (bool, flat) and zeros elsewhere."""
    shape, patterns, itemsize = matrix_shape(tensor.shape), tensor.patterns, tensor.dtype.bits // 8
    positions = index_of(mask.reshape(shape), index_bits)
    kept = index.in_reading_order(patterns.reshape(shape), mask.reshape(shape), positions.column_major)
    encoded = Pruned(positions, block.encode(kept.view(np.uint8), itemsize))
    zero = patterns.dtype.type(0)
    data = arrays.LazyBytes(len(mask), itemsize, lambda s: np.where(mask[s], patterns[s], zero))
    return with_stored([Candidate(encoded, data)], tensor, True)


def of_coded(tensor: Tensor, coded: Coded, pruned: bool, index_bits: int | None = None) -> list[Candidate]:
    """The encodings of `tensor` with shared values, and `stored` ones where DEFLATE may find repeats.

    Deflated are the shared values and, unless weights were `pruned`, those that the tensor had.
    """
    return with_stored(of_distinct(tensor, coded, index_bits), tensor, pruned)


def with_stored(found: list[Candidate], tensor: Tensor, pruned: bool) -> list[Candidate]:
    """Encodings by codes, `stored` ones of the same elements and, unless weights were `pruned`, of all as they are."""
    sources = (found[0].source,) if pruned else (tensor.data, found[0].source)
    return found + [store(data, tensor.dtype) for data in sources if may_store(found, data, tensor.dtype)]


def may_store(found: list[Candidate], data: arrays.Bytes, dtype: Dtype) -> bool:
    """Whether `data`, stored, may take less than the encodings that were found, by probes."""
    if len(data) <= block.PROBE:
        return True
    promising, itemsize = PROBE_MARGIN * stream_bytes(found[0].encoded), dtype.bits // 8
    # More probes are for layers whose rows differ in density: the middle one may be nearly empty.
    return all(block.may_be_below(data, itemsize, promising, probes) for probes in (1, 16))


def of_distinct(tensor: Tensor, coded: Coded, index_bits: int | None = None) -> list[Candidate]:
    """The encodings of a tensor of the dtype and shape of `tensor` by codes: sparse, shared or both.

    `index_bits` fixes the width of gaps.
    """
    kept, size, counts = coded.kept, len(coded.mask), coded.counts
    if counts[len(coded.entries) :].any():  # Coded.look_up does not check codes again
        raise ValueError(f"codes beyond the {len(coded.entries)} entries of the codebook of {tensor.name!r}")
    fits = len(coded.entries) + (kept < size) <= MAX_ENTRIES
    dense = math.inf
    if fits and kept:
        with_zero = counts.copy()
        with_zero[len(coded.entries) % MAX_ENTRIES] += size - kept
        dense = huffman.stream_bits(with_zero) / 8
    encodings: list[Shared | Sparse] = []
    if dense == math.inf or (kept < size and _may_be_sparse(tensor, coded, dense)):
        encodings.append(_sparse(tensor, coded, index_bits))
    if dense < math.inf and (not encodings or stream_bytes(encodings[0]) + MAX_OVERHEAD > dense):
        encodings.append(_shared(tensor, coded))
    decoded = arrays.LazyBytes(size, tensor.dtype.bits // 8, functools.partial(coded.elements, dtype=tensor.dtype))
    return [Candidate(encoded, decoded) for encoded in encodings]


def _may_be_sparse(tensor: Tensor, coded: Coded, dense: float) -> bool:
    """Whether an index of the kept positions may take fewer bytes than `dense`, those with a code for zero."""
    kept, size = coded.kept, len(coded.mask)
    # Independent positions take their entropy. Clustered ones take a few percent less, hence the margin; empty rows and
    # columns almost nothing, hence the check below.
    independent = entropy.entropy_bits(coded.counts) / 8 + entropy.entropy_bits(np.array([kept, size - kept])) / 8
    if kept < 0.75 * size and independent < 1.15 * dense + 256:
        return True
    matrix = coded.mask.reshape(matrix_shape(tensor.shape))
    return index.used_lines(matrix) is not None or index.used_lines(matrix.T) is not None


def _shared(tensor: Tensor, coded: Coded) -> Shared:
    """A code for every element."""
    entries, zeros = coded.entries, len(coded.mask) - coded.kept
    if zeros:
        entries = np.append(entries, entries.dtype.type(0))
    codebook, table = scaled_codebook_of(entries, tensor.dtype, coded.row_scales)
    counts = np.zeros(256, np.int64)
    counts[table] = coded.counts[: len(table)]
    zero = int(table[-1])
    counts[zero] += zeros
    codes = arrays.LazyBytes(len(coded.mask), 1, lambda block: coded.look_up(table, block, zero))
    return Shared(codebook, huffman.encode(codes, counts))


def _sparse(tensor: Tensor, coded: Coded, index_bits: int | None) -> Sparse:
    """An index of the kept positions, and a code for each."""
    mask = coded.mask.reshape(matrix_shape(tensor.shape))
    positions = index_of(mask, index_bits, coded.found)
    if not positions.kept:
        return Sparse(positions, None, None)
    codebook, table = scaled_codebook_of(coded.entries, tensor.dtype, coded.row_scales)
    codes = recode.remap(table, coded.codes)
    if positions.column_major:
        dense = np.empty(mask.shape, np.uint8)
        dense[mask] = codes
        codes = index.in_reading_order(dense, mask, True)
    return Sparse(positions, codebook, huffman.encode(codes))


def index_of(mask: np.ndarray, index_bits: int | None, known: arrays.KeptPositions | None = None) -> Index:
    """The smallest index of `mask` (bool[R, C]) over orders, bitmaps and gap widths, in bits. `known`: its positions,
    flat."""
    widths = WIDTHS if index_bits is None else (index_bits,)
    best, best_bytes, kept = None, math.inf, int(np.count_nonzero(mask))
    for layout in index.layouts(mask, known):
        # Finding gaps again takes as long as all else; but of dense masks they take more memory than there should be.
        gaps = list(layout.gaps()) if kept * MIN_SPARSE <= mask.size else None
        for width, count in index.count_symbols(layout.gaps() if gaps is None else gaps, widths).items():
            if entropy.entropy_bits(count) / 8 + layout.bitmap_bytes >= best_bytes:  # no code beats the entropy
                continue
            nbytes = huffman.stream_bits(count) / 8 + layout.bitmap_bytes
            if nbytes < best_bytes:
                best, best_bytes = (layout, gaps, width, count), nbytes
    assert best is not None, "there is a layout for every mask"
    layout, gaps, width, count = best
    symbols = index.encode_all(layout.gaps() if gaps is None else gaps, width, int(count.sum()))
    return Index(width, layout.column_major, layout.rows, layout.columns, kept, huffman.encode(symbols, count))


def stream_bytes(encoded: Encoded) -> int:
    """Bytes of the coded symbols of an encoding, or of its exact values, without codebooks and tables."""
    if isinstance(encoded, Pruned):
        return len(encoded.block.data) + sum(map(len, encoded.index.gaps.segments))
    streams = [encoded.index.gaps] if isinstance(encoded, Sparse) else []
    if isinstance(encoded, (Shared, Sparse)) and encoded.codes is not None:
        streams += [encoded.codes] if encoded.low is None else [encoded.codes, encoded.low]
    return sum(len(segment) for stream in streams for segment in stream.segments)
