"""A pruned and shared tensor -> the encodings that are worth writing, and the smallest of them (spec, section 5).

    mask 0 1 0 0 1, codes 1 0   ->   Sparse(index, codebook, codes)  or  Shared(codebook, codes with one for zero)

Encodings that symbol counts or probes show to be far from the smallest are not made; of the others bytes decide.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .. import arrays
from ..encoded import (
    MAX_ENTRIES,
    Codebook,
    Encoded,
    Index,
    Pruned,
    Scales,
    Shared,
    Sparse,
    Stored,
    codebook_patterns,
    entry_values,
    may_expand,
)
from ..tensor import FLOAT32, Dtype, Tensor, matrix_shape, round_to, values
from . import pairs
from .stages import block, entropy, huffman, index, recode, scale

MAX_OVERHEAD = 2048  # bytes by which codebooks and tables of two encodings may differ
PROBE_MARGIN = 1.1  # a tensor is deflated only if its probes are below this times the coded symbols
MAX_JOINED = 1 << 20  # bytes of a record up to which its parts are joined, in another place in memory
WIDTHS = tuple(range(2, 9))  # bits of a gap

# The parts of the record of an encoding, each with its purpose: see format.record.parts.
Serialize = Callable[[Encoded], Sequence[tuple[str, bytes | memoryview]]]


@dataclass(frozen=True, eq=False)
class Coded:
    """A tensor after pruning and sharing.

    The mask of kept positions (bool, flat), a code (uint8) for each of them, and the codebook that the codes index (bit
    patterns of the tensor's type). With `row_scales`, entries are float32 patterns, and elements their products with
    the scales. Codes are uint16 where they index the entries of a `fine` codebook.

    `numbers` are these codes; or, with `zero`, codes of all positions, among which `zero` is that of the zeros, and
    larger ones are one more than the code: where few weights are zero, an index of the others is rarely wanted.
    `counted`: how often each of the numbers occurs (int64[256]), where that is known.
    """

    mask: np.ndarray
    numbers: np.ndarray
    entries: np.ndarray
    row_scales: scale.RowScales | None = None
    fine: Codebook | None = None
    zero: int | None = None
    counted: np.ndarray | None = None

    @functools.cached_property
    def codes(self) -> np.ndarray:
        """The codes of the kept positions."""
        if self.zero is None:
            return self.numbers
        table = np.insert(np.arange(MAX_ENTRIES - 1, dtype=np.uint8), self.zero, 0)
        return arrays.gather(
            lambda block: table.take(self.numbers[block][self.mask[block]]), len(self.mask), self.kept, np.uint8
        )

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """How often each code (uint8) occurs (int64[256])."""
        counts = huffman.count_symbols(self.numbers) if self.counted is None else self.counted
        return counts if self.zero is None else np.append(np.delete(counts, self.zero), 0)

    @property
    def kept(self) -> int:
        """The number of kept positions."""
        return len(self.numbers) if self.zero is None else int(self.counts.sum())

    @functools.cached_property
    def positions(self) -> arrays.KeptPositions:
        """The kept positions."""
        return arrays.KeptPositions(self.mask)

    def look_up(self, table: np.ndarray, block: slice, other: int = 0) -> np.ndarray:
        """table[code] for the kept ones of a block of all positions, `other` for the rest."""
        if len(self.numbers) == len(self.mask):  # a number for each position: no place is looked for
            whole, numbers = table if self.zero is None else np.insert(table, self.zero, other), self.numbers[block]
            is_same = table.dtype == numbers.dtype and np.array_equal(whole, np.arange(len(whole)))
            return numbers if is_same else whole.take(numbers, mode="clip")
        kept_places = arrays.true_places(self.mask[block])
        first = self.positions.rank(block.start)
        codes = self.numbers[first : first + len(kept_places)]
        kept = table.take(codes, mode="clip")  # codes were checked by of_distinct: "raise" would check them again
        length = len(self.mask[block])
        if len(kept) == length:
            return kept
        dense = np.full(length, other, table.dtype)
        dense[kept_places] = kept
        return dense

    @functools.cached_property
    def _pairs(self) -> pairs.Pairs | None:
        """A table of the entries of all positions, where these have codes and their zeros too; None elsewhere."""
        if self.entries.dtype.itemsize > pairs.MAX_ITEM or len(self.numbers) < len(self.mask) or self.fine is not None:
            return None
        entries = self.entries if self.zero is None else np.insert(self.entries, self.zero, 0)
        return pairs.Pairs(entries) if len(entries) <= MAX_ENTRIES else None

    def _entries(self, block: slice) -> np.ndarray:
        """The entries of a block of all positions, 0 for those that are not kept."""
        numbers = self.numbers[block]
        if len(numbers) < pairs.MIN_CODES or self._pairs is None:
            return self.look_up(self.entries, block)
        found = np.empty(len(numbers), self.entries.dtype)
        self._pairs.fill(numbers, found)
        return found

    def elements(self, block: slice, dtype: Dtype) -> np.ndarray:
        """The elements (bit patterns of `dtype`) of a block of all positions."""
        entries = self._entries(block)
        if self.row_scales is None:
            return entries
        return round_to(values(entries, FLOAT32).astype(np.float64) * self.row_scales.at(block), dtype)


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
    return not (matrix.any(axis=0).all() and matrix.any(axis=1).all())


def _shared(tensor: Tensor, coded: Coded) -> Shared:
    """A code for every element."""
    entries, zeros = coded.entries, len(coded.mask) - coded.kept
    if zeros:
        entries = np.append(entries, entries.dtype.type(0))
    codebook, table = _codebook(entries, tensor.dtype, coded.row_scales)
    counts = np.zeros(256, np.int64)
    counts[table] = coded.counts[: len(table)]
    zero = int(table[-1])
    counts[zero] += zeros
    codes = arrays.LazyBytes(len(coded.mask), 1, lambda block: coded.look_up(table, block, zero))
    return Shared(codebook, huffman.encode(codes, counts))


def _sparse(tensor: Tensor, coded: Coded, index_bits: int | None) -> Sparse:
    """An index of the kept positions, and a code for each."""
    mask = coded.mask.reshape(matrix_shape(tensor.shape))
    positions = index_of(mask, index_bits)
    if not positions.kept:
        return Sparse(positions, None, None)
    codebook, table = _codebook(coded.entries, tensor.dtype, coded.row_scales)
    codes = recode.remap(table, coded.codes)
    if positions.column_major:
        dense = np.empty(mask.shape, np.uint8)
        dense[mask] = codes
        codes = index.in_reading_order(dense, mask, True)
    return Sparse(positions, codebook, huffman.encode(codes))


def index_of(mask: np.ndarray, index_bits: int | None) -> Index:
    """The smallest index of `mask` (bool[R, C]) over orders, bitmaps and gap widths, in bits."""
    widths = WIDTHS if index_bits is None else (index_bits,)
    best, best_bytes = None, math.inf
    for layout in index.layouts(mask):
        for width, count in index.count_symbols(layout.gaps(), widths).items():
            if entropy.entropy_bits(count) / 8 + layout.bitmap_bytes >= best_bytes:  # no code beats the entropy
                continue
            nbytes = huffman.stream_bits(count) / 8 + layout.bitmap_bytes
            if nbytes < best_bytes:
                best, best_bytes = (layout, width, count), nbytes
    assert best is not None, "there is a layout for every mask"
    layout, width, count = best
    gaps = huffman.encode(index.encode_all(layout.gaps(), width, int(count.sum())), count)
    return Index(width, layout.column_major, layout.rows, layout.columns, int(np.count_nonzero(mask)), gaps)


def stream_bytes(encoded: Encoded) -> int:
    """Bytes of the coded symbols of an encoding, or of its exact values, without codebooks and tables."""
    if isinstance(encoded, Pruned):
        return len(encoded.block.data) + sum(map(len, encoded.index.gaps.segments))
    streams = [encoded.index.gaps] if isinstance(encoded, Sparse) else []
    if isinstance(encoded, (Shared, Sparse)) and encoded.codes is not None:
        streams += [encoded.codes] if encoded.low is None else [encoded.codes, encoded.low]
    return sum(len(segment) for stream in streams for segment in stream.segments)


def _codebook(entries: np.ndarray, dtype: Dtype, row_scales: scale.RowScales | None) -> tuple[Codebook, np.ndarray]:
    """The codebook of these entries and scales, and the code (uint8) of each entry in it."""
    if row_scales is None:
        return codebook_of(entries, dtype)
    numbers = values(entries, FLOAT32).astype(np.float64)
    codebook, table = codebook_of(entries, FLOAT32)
    if not np.array_equal(entry_values(codebook, FLOAT32)[table], numbers) or (
        codebook.form == "native" and dtype != FLOAT32
    ):  # rounded on the way, or elements of another type
        order = np.argsort(numbers, kind="stable")
        codebook = Codebook("native", len(entries), round_to(numbers[order], dtype).tobytes())
        table = np.argsort(order).astype(np.uint8)
    return with_scales(codebook, row_scales), table


def with_scales(codebook: Codebook, row_scales: scale.RowScales | None) -> Codebook:
    """A codebook with these scales, if there are any."""
    if row_scales is None:
        return codebook
    if row_scales.steps is None:
        scales = Scales(row_scales.axis, exact=row_scales.scales.astype("<f4").tobytes())
    else:
        scales = Scales(row_scales.axis, steps=huffman.encode(row_scales.steps))
    return dataclasses.replace(codebook, scales=scales)


def codebook_of(entries: np.ndarray, dtype: Dtype) -> tuple[Codebook, np.ndarray]:
    """The shortest codebook of exactly these distinct entries (bit patterns), and the code (uint8) of each in it."""
    numbers = values(entries, dtype)
    if not np.isfinite(numbers).all():
        return Codebook("native", len(entries), entries.tobytes()), np.arange(len(entries), dtype=np.uint8)
    order = np.lexsort((entries, numbers))
    rank = np.argsort(order).astype(np.uint8)
    entries, numbers = entries[order], numbers[order].astype(np.float64)
    if dtype.bits >= 32 and (ramp := _ramp(entries, numbers, dtype)):
        return ramp[0], ramp[1][rank]
    if dtype.bits >= 32 and np.abs(numbers).max() < np.finfo(np.float16).max:
        half = Codebook("half", len(entries), numbers.astype("<f2").tobytes())
        if np.array_equal(codebook_patterns(half, dtype), entries):
            return half, rank
    return Codebook("native", len(entries), entries.tobytes()), rank


def is_ramp(coded: Coded) -> bool:
    """Whether the entries of a tensor in units of scales (float32) make a ramp, fine or not."""
    return coded.fine is not None or codebook_of(coded.entries, FLOAT32)[0].form == "ramp"


def _ramp(entries: np.ndarray, numbers: np.ndarray, dtype: Dtype) -> tuple[Codebook, np.ndarray] | None:
    """A ramp through all of the entries (sorted, with their values), and the code (uint8) of each on it."""
    if len(numbers) < 3:
        return None
    with np.errstate(over="ignore"):
        first, step = np.array([numbers[0], np.diff(numbers).min()]).astype(np.float32).tolist()
    if not math.isfinite(step) or not 0 < step <= numbers[-1] - first <= step * (
        MAX_ENTRIES - 0.5
    ):  # nor where `first` became infinite
        return None
    codes = np.rint((numbers - first) / step).astype(np.uint8)
    if not np.array_equal(round_to(first + codes.astype(np.float64) * step, dtype), entries):
        return None
    return Codebook("ramp", int(codes[-1]) + 1, first=first, step=step), codes
