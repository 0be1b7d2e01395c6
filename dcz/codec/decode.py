"""The encoding of one record -> the tensor's bytes: the inverse of `encode`.

decode(archive.encoded(entry), entry.dtype, entry.shape)     uint8[nbytes]
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from .. import arrays
from ..deflate import crc32, crc_of_blocks, joined_crc
from ..encoded import (
    MAX_ENTRIES,
    Codebook,
    Encoded,
    Index,
    Pruned,
    Scales,
    Shared,
    Stored,
    Stream,
    check_scaled,
    codebook_patterns,
    entry_values,
    exact_scales,
    step_scales,
)
from ..errors import CorruptFile
from ..parallel import each, each_ahead
from ..tensor import Dtype, matrix_shape, round_to
from . import pairs
from .stages import block, huffman, index

CHUNK = 1 << 15  # elements at a time: they stay in cache
PART = 1 << 20  # codes for one thread at a time

Engine = Callable[[Stream], np.ndarray]
Run = Callable[[Stream, int], np.ndarray]  # decodes a stream whose symbols are below a number
Checked = tuple[np.ndarray, int]  # bytes (uint8, flat), and their CRC-32


def decode(
    encoded: Encoded,
    dtype: Dtype,
    shape: tuple[int, ...],
    engine: Engine = huffman.decode,
) -> np.ndarray:
    """The tensor's bytes (uint8, flat).

    `engine` decodes streams: `huffman.decode`, or `huffman.decode_slowly` to check it. Raises CorruptFile where codes,
    gaps, codebook and shape do not fit together.
    """
    return decode_checked(encoded, dtype, shape, engine)[0]


def decode_checked(encoded: Encoded, dtype: Dtype, shape: tuple[int, ...], engine: Engine = huffman.decode) -> Checked:
    """`decode`, and the CRC-32 of the bytes: that of a block takes little while the block is in cache."""
    nbytes, itemsize = dtype.nbytes(shape), max(1, dtype.bits // 8)
    if isinstance(encoded, Stored):
        return _checked(block.decode(encoded.block, nbytes, itemsize))
    run = partial(symbols_of, engine=engine)
    if isinstance(encoded, Shared) and encoded.codebook.scales is not None:
        scaled = _Scaled(encoded.codebook, encoded.codebook.scales, dtype, shape, run)
        return _decode_scaled(scaled, codes_of(encoded.codebook, encoded.codes, encoded.low, run), dtype)
    if isinstance(encoded, Shared):
        entries = codebook_patterns(encoded.codebook, dtype)  # may be refused, before memory is allocated for codes
        if engine is huffman.decode and encoded.codes.form == "huffman" and encoded.low is None:
            return _decode_segments(entries, encoded.codes)
        return _decode_shared(entries, codes_of(encoded.codebook, encoded.codes, encoded.low, run))
    kept = encoded.index.kept
    if isinstance(encoded, Pruned):
        exact = block.decode(encoded.block, kept * itemsize, itemsize).view(dtype.pattern)
        return _scatter(encoded.index, shape, dtype, run, lambda ranks, _: exact[ranks])
    if not kept:
        return _checked(np.zeros(nbytes, np.uint8))
    assert encoded.codebook is not None and encoded.codes is not None, "kept positions have codes"
    if encoded.codebook.scales is not None:
        scaled = _Scaled(encoded.codebook, encoded.codebook.scales, dtype, shape, run)
        codes = codes_of(encoded.codebook, encoded.codes, encoded.low, run)
        return _scatter(encoded.index, shape, dtype, run, lambda ranks, where: scaled.at(codes[ranks], where))
    entries = codebook_patterns(encoded.codebook, dtype)
    codes = codes_of(encoded.codebook, encoded.codes, encoded.low, run)
    # Codes were checked when they were read: "raise" would check them again.
    return _scatter(encoded.index, shape, dtype, run, lambda ranks, _: entries.take(codes[ranks], mode="clip"))


def codes_of(codebook: Codebook, codes: Stream, low: Stream | None, run: Run) -> np.ndarray:
    """The numbers of the entries, uint8; of a fine codebook uint16: a code, and the low bits below it."""
    high = run(codes, codebook.count)
    if low is None:
        return high
    numbers = high.astype(np.uint16)
    numbers <<= codebook.low_bits
    numbers |= run(low, 1 << codebook.low_bits)
    return numbers


def symbols_of(stream: Stream, alphabet: int, engine: Engine) -> np.ndarray:
    """The symbols (uint8) of a stream; raises CorruptFile `symbol-range` for one that is not below `alphabet`."""
    symbols = engine(stream)
    # Huffman tables and constants were checked when they were read; packed symbols can only be checked now.
    if stream.form == "packed" and int(symbols.max()) >= alphabet:
        raise CorruptFile("symbol-range", f"symbol {int(symbols.max())} where only symbols below {alphabet} exist")
    return symbols


def _checked(data: np.ndarray) -> Checked:
    """Bytes (uint8, flat) with their CRC-32."""
    return data, crc_of_blocks(data)


def _crc_part(part: np.ndarray) -> tuple[int, int]:
    """The CRC-32 of a part of the elements, and its bytes: see deflate.joined_crc."""
    return crc32(part), part.nbytes


def _decode_segments(entries: np.ndarray, codes: Stream) -> Checked:
    """`_decode_shared` of the codes (uint8) in a Huffman stream, of which a segment is in memory at a time."""
    result = np.empty(codes.count, entries.dtype)
    fill = _filler(entries, codes.count)

    def take(block: slice, found: np.ndarray) -> tuple[int, int]:
        fill(found, result[block])
        return _crc_part(result[block])

    return result.view(np.uint8), joined_crc(huffman.decode_segments(codes, take))


def _filler(entries: np.ndarray, count: int) -> Callable[[np.ndarray, np.ndarray], None]:
    """What changes an array to the entries of codes (uint8), of which there are so many."""
    if entries.dtype.itemsize <= pairs.MAX_ITEM and count > pairs.MIN_CODES:
        return pairs.Pairs(entries).fill
    table = np.zeros(256, entries.dtype)
    table[: len(entries)] = entries
    return partial(pairs.take_in_chunks, table)


def _decode_shared(entries: np.ndarray, codes: np.ndarray) -> Checked:
    """The bytes of entries[codes], two codes (uint8) at a time by a table of all pairs."""
    result = np.empty(len(codes), entries.dtype)
    is_fine = codes.dtype != np.uint8
    fill = partial(pairs.take_in_chunks, entries) if is_fine else _filler(entries, len(codes))

    def look_up(part: slice) -> tuple[int, int]:
        fill(codes[part], result[part])
        return _crc_part(result[part])

    return result.view(np.uint8), joined_crc(each(look_up, arrays.blocks(len(codes), PART)))


class _Scaled:
    """A codebook with scales: the elements (bit patterns) of codes at positions of the tensor (spec, section 8.1)."""

    def __init__(self, codebook: Codebook, scales: Scales, dtype: Dtype, shape: tuple[int, ...], run: Run):
        self._dtype, self._entries = dtype, entry_values(codebook, dtype)
        steps = scales.steps
        # One byte or four a scale, which may be as many as the elements; those of a block become float64.
        self._exact = exact_scales(scales.exact) if steps is None else None
        self._steps = np.empty(0, np.uint8) if steps is None else run(steps, MAX_ENTRIES)
        self._of_step = step_scales(np.arange(MAX_ENTRIES))
        largest = self._of_step[self._steps.max()] if self._exact is None else self._exact.max()
        check_scaled(self._entries, float(largest), dtype)
        self._shape, self._axis = shape, scales.axis
        self._inner, self._count = math.prod(shape[scales.axis + 1 :]), shape[scales.axis]

    def _scales(self, places: np.ndarray) -> np.ndarray:
        """The scales (float64) of places (int64) along the axis."""
        found: np.ndarray = self._of_step[self._steps[places]] if self._exact is None else self._exact[places]
        return found.astype(np.float64, copy=False)

    def at(self, codes: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """The elements of `codes` (uint8 or uint16) at flat `positions` (int64), as bit patterns."""
        return round_to(self._entries[codes] * self._scales(positions // self._inner % self._count), self._dtype)

    def block(self, codes: np.ndarray, block: slice) -> np.ndarray:
        """The elements of `codes` (uint8 or uint16) at a slice of the flat positions, as bit patterns."""
        scales = self._scales(arrays.places(self._shape, self._axis, block))
        return round_to(self._entries[codes] * scales, self._dtype)


def _decode_scaled(scaled: _Scaled, codes: np.ndarray, dtype: Dtype) -> Checked:
    """The bytes of all elements of a tensor with scales."""
    result = np.empty(len(codes), dtype.pattern)

    def fill(part: slice) -> tuple[int, int]:
        for chunk in arrays.blocks_of(part, CHUNK):
            result[chunk] = scaled.block(codes[chunk], chunk)
        return _crc_part(result[part])

    return result.view(np.uint8), joined_crc(each(fill, arrays.blocks(len(codes), PART)))


def _scatter(
    positions: Index,
    shape: tuple[int, ...],
    dtype: Dtype,
    run: Run,
    elements: Callable[[slice, np.ndarray], np.ndarray],
) -> Checked:
    """The bytes of a tensor with its elements at the kept positions, else zero.

    `elements` gives the bit patterns of those of some ranks (a slice), which are at some positions (int64).
    """
    result = np.zeros(math.prod(shape), dtype.pattern)
    unfold = index.Unfold(matrix_shape(shape), positions.column_major, positions.rows, positions.columns)
    symbols, width = run(positions.gaps, 1 << positions.gap_bits), positions.gap_bits

    def fill(block: tuple[int, np.ndarray]) -> None:
        first, compact = block
        where = unfold(compact)
        result[where] = elements(slice(first, first + len(compact)), where)

    for _ in each_ahead(fill, _ranked(index.decode(symbols, width, positions.kept, unfold.size)), index.AHEAD):
        pass
    return _checked(result.view(np.uint8))


def _ranked(blocks: Iterator[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Each block of kept positions, and how many there are before it."""
    first = 0
    for positions in blocks:
        yield first, positions
        first += len(positions)
