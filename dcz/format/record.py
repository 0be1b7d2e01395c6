"""One record <-> the encoding of a tensor (spec, sections 5 to 8): fields only, streams stay coded.

sparse  =  index (layout, bitmaps, kept, gap stream) · codebook (form, entries) · code stream (form, table, segments)
"""

import math
from collections.abc import Callable, Iterator

import numpy as np

from ..encoded import (
    ENCODINGS,
    END,
    MAX_LOW_BITS,
    SEGMENT,
    Block,
    Codebook,
    Encoded,
    Index,
    Pruned,
    Scales,
    Shared,
    Sparse,
    Stored,
    Stream,
    check_lengths,
    table_nibbles,
)
from ..errors import CorruptFile
from ..tensor import Dtype, matrix_shape
from .fields import HeadReader, Reader, bitmap, float32, u8, varint

# The names of the numbers in the format.
METHODS = ("plain", "deflated", "planes")
STREAM_FORMS = ("constant", "packed", "huffman")
CODEBOOK_FORMS = ("native", "half", "ramp", "fine")
SCALED = 0x80  # bit 7 of a codebook's form: scales follow its entries
STEP_SCALES, EXACT_SCALES = range(2)
MAX_SYMBOLS = 256  # of a stream

Part = tuple[str, bytes | memoryview]  # the purpose of some bytes of a record, and these


def write(encoded: Encoded) -> bytes:
    """The bytes of a record."""
    return b"".join(part for _, part in parts(encoded))


def parts(encoded: Encoded) -> list[Part]:
    """The bytes of a record in parts, each with its purpose: weights, index, codebook or tables."""
    if isinstance(encoded, Stored):
        return _block_parts(encoded.block)
    if isinstance(encoded, Shared):
        return _coded_parts(encoded.codebook, encoded.codes, encoded.low)
    index = _index_parts(encoded.index)
    if isinstance(encoded, Pruned):
        return index + _block_parts(encoded.block)
    if encoded.codes is None or encoded.codebook is None:
        return index
    return index + _coded_parts(encoded.codebook, encoded.codes, encoded.low)


def _coded_parts(codebook: Codebook, codes: Stream, low: Stream | None) -> list[Part]:
    coded = _codebook_parts(codebook) + _stream_parts(codes, "weights")
    return coded if low is None else coded + _stream_parts(low, "weights")


def _block_parts(block: Block) -> list[Part]:
    return [("tables", u8(METHODS.index(block.method))), ("weights", block.data)]


def _codebook_parts(codebook: Codebook) -> list[Part]:
    scaled = SCALED if codebook.scales is not None else 0
    head = u8(CODEBOOK_FORMS.index(codebook.form) | scaled) + u8(codebook.count - 1)
    ramp = float32(codebook.first) + float32(codebook.step)
    fine = ramp + u8(codebook.low_bits)
    entries = {"ramp": ramp, "fine": fine}.get(codebook.form, codebook.entries)
    return [("codebook", head + entries), *_scales_parts(codebook.scales)]


def _scales_parts(scales: Scales | None) -> list[Part]:
    if scales is None:
        return []
    axis = u8(scales.axis)
    if scales.steps is None:
        return [("codebook", axis + u8(EXACT_SCALES) + scales.exact)]
    return [("codebook", axis + u8(STEP_SCALES)), *_stream_parts(scales.steps, "codebook")]


def _index_parts(index: Index) -> list[Part]:
    layout = index.gap_bits - 1 | index.column_major << 3
    layout |= (index.rows is not None) << 4 | (index.columns is not None) << 5
    bitmaps = [bitmap(flags) for flags in (index.rows, index.columns) if flags is not None]
    head = u8(layout) + b"".join(bitmaps) + varint(index.kept) + varint(index.gaps.count)
    return [("index", head), *_stream_parts(index.gaps, "index")]


def _stream_parts(stream: Stream, purpose: str) -> list[Part]:
    if not stream.count:
        return []
    form = u8(STREAM_FORMS.index(stream.form))
    if stream.form == "constant":
        return [(purpose, form + u8(stream.symbol))]
    if stream.form == "packed":
        return [(purpose, form + u8(stream.width)), (purpose, stream.segments[0])]
    assert stream.lengths is not None, "a Huffman stream has lengths"
    last = int(np.flatnonzero(stream.lengths[:END])[-1])
    nibbles = table_nibbles(stream.lengths)
    nibbles += [0] * (len(nibbles) % 2)
    table = bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))
    sizes = b"".join(varint(len(segment)) for segment in stream.segments)
    return [("tables", form + u8(last) + table + sizes), *((purpose, segment) for segment in stream.segments)]


def read(data: bytes | memoryview, encoding: int, dtype: Dtype, shape: tuple[int, ...]) -> Encoded:
    """The encoding in a record's bytes; raises CorruptFile for what sections 5 to 8 of the spec refuse.

    `encoding` is an index into encoded.ENCODINGS. Blocks and segments are views of `data`.
    """
    return _read(Reader(data, "record"), encoding, dtype, shape)


def read_head(
    read: Callable[[int, int], bytes], length: int, encoding: int, dtype: Dtype, shape: tuple[int, ...]
) -> Encoded:
    """The same, of a record of `length` bytes of which `read(start, nbytes)` gives some, with zeros in the place of the
    bytes of blocks and streams."""
    return _read(HeadReader(read, length, "record"), encoding, dtype, shape)


def _read(reader: Reader, encoding: int, dtype: Dtype, shape: tuple[int, ...]) -> Encoded:
    elements = math.prod(shape)
    if ENCODINGS[encoding] == "stored":
        return Stored(_read_block(reader, dtype))
    encoded: Shared | Sparse
    if ENCODINGS[encoding] == "shared":
        codebook = _read_codebook(reader, dtype, shape)
        encoded = Shared(codebook, *_read_codes(reader, elements, codebook))
    else:
        index = _read_index(reader, shape)
        if ENCODINGS[encoding] == "pruned":
            return Pruned(index, _read_block(reader, dtype))
        if index.kept:
            codebook = _read_codebook(reader, dtype, shape)
            encoded = Sparse(index, codebook, *_read_codes(reader, index.kept, codebook))
        else:
            encoded = Sparse(index, None, None)
    reader.end("record-trailing")
    return encoded


def _read_block(reader: Reader, dtype: Dtype) -> Block:
    method = reader.u8()
    if method >= len(METHODS) or (METHODS[method] == "planes" and dtype.bits < 16):
        raise CorruptFile("block-method", f"block method {method} is unknown, or not for {dtype.name}")
    return Block(METHODS[method], reader.content())  # not copied: it may be as long as the tensor


def _read_codes(reader: Reader, count: int, codebook: Codebook) -> tuple[Stream, Stream | None]:
    codes = _read_stream(reader, count, codebook.count)
    return codes, _read_stream(reader, count, 1 << codebook.low_bits) if codebook.form == "fine" else None


def _read_codebook(reader: Reader, dtype: Dtype, shape: tuple[int, ...]) -> Codebook:
    head, count = reader.u8(), reader.u8() + 1
    form = head & ~SCALED
    if form >= len(CODEBOOK_FORMS):
        raise CorruptFile("codebook-form", f"codebook form {form} is unknown")
    entries, first, step, low_bits = b"", 0.0, 0.0, 0
    if CODEBOOK_FORMS[form] in ("ramp", "fine"):
        first, step = reader.float32(), reader.float32()
        low_bits = reader.u8() if CODEBOOK_FORMS[form] == "fine" else 0
        if low_bits > MAX_LOW_BITS or (CODEBOOK_FORMS[form] == "fine" and not low_bits):
            raise CorruptFile("low-bits", f"a fine codebook with {low_bits} low bits")
    else:
        entries = bytes(reader.take(count * (2 if CODEBOOK_FORMS[form] == "half" else dtype.bits // 8)))
    scales = _read_scales(reader, shape) if head & SCALED else None
    return Codebook(CODEBOOK_FORMS[form], count, entries, first, step, scales, low_bits)


def _read_scales(reader: Reader, shape: tuple[int, ...]) -> Scales:
    axis = reader.u8()
    if axis >= len(shape) or not math.prod(shape):  # of no elements, any number of scales could be claimed
        raise CorruptFile("scale-axis", f"scales along axis {axis} of a tensor of the shape {shape}")
    form = reader.u8()
    if form == STEP_SCALES:
        return Scales(axis, steps=_read_stream(reader, shape[axis], MAX_SYMBOLS))
    if form == EXACT_SCALES:
        return Scales(axis, exact=bytes(reader.take(4 * shape[axis])))
    raise CorruptFile("scale-form", f"scale form {form} is unknown")


def _read_index(reader: Reader, shape: tuple[int, ...]) -> Index:
    layout = reader.u8()
    gap_bits = (layout & 7) + 1
    if gap_bits == 1 or layout >> 6:
        raise CorruptFile("index-layout", f"index layout {layout:#04x} has one gap bit or a reserved bit set")
    height, width = matrix_shape(shape)
    rows = reader.bitmap(height) if layout >> 4 & 1 else None
    columns = reader.bitmap(width) if layout >> 5 & 1 else None
    size = (height if rows is None else int(rows.sum())) * (width if columns is None else int(columns.sum()))
    kept, gaps = reader.varint(), reader.varint()
    if kept > size or (gaps != 0 if kept == 0 else not kept <= gaps <= kept + size):
        raise CorruptFile("kept-count", f"{kept} kept places and {gaps} gaps do not fit {size} places")
    return Index(gap_bits, bool(layout >> 3 & 1), rows, columns, kept, _read_stream(reader, gaps, 1 << gap_bits))


def _read_stream(reader: Reader, count: int, alphabet: int) -> Stream:
    if count == 0:
        return Stream("constant", 0)
    form = reader.u8()
    if form >= len(STREAM_FORMS):
        raise CorruptFile("stream-form", f"stream form {form} is unknown")
    if STREAM_FORMS[form] == "constant":
        symbol = reader.u8()
        _check_symbol(symbol, alphabet)
        return Stream("constant", count, symbol=symbol)
    if STREAM_FORMS[form] == "packed":
        return _read_packed(reader, count)
    lengths = _read_table(reader, alphabet)
    sizes = [reader.varint() for _ in range(-(-count // SEGMENT))]
    return Stream("huffman", count, lengths=lengths, segments=tuple(reader.content(size) for size in sizes))


def _read_packed(reader: Reader, count: int) -> Stream:
    width = reader.u8()
    if not 1 <= width <= 8:
        raise CorruptFile("packed-width", f"packed symbols of {width} bits")
    return Stream("packed", count, width=width, segments=(reader.content(-(-count * width // 8)),))


def _read_table(reader: Reader, alphabet: int) -> np.ndarray:
    last = reader.u8()
    _check_symbol(last, alphabet)
    lengths = np.zeros(END + 1, np.uint8)
    nibbles = _nibbles(reader)
    lengths[END] = next(nibbles)
    symbol, previous = 0, -1
    while symbol <= last:
        length = next(nibbles)
        lengths[symbol] = length
        symbol += 1
        if length != previous:
            previous = length
            continue
        run = next(nibbles)
        if symbol + run > last + 1:
            raise CorruptFile("code-run", f"a run of word lengths passes the last symbol, {last}")
        lengths[symbol : symbol + run] = length
        symbol, previous = symbol + run, -1
    check_lengths(lengths)
    return lengths


def _nibbles(reader: Reader) -> Iterator[int]:
    while True:
        byte = reader.u8()
        yield byte & 15
        yield byte >> 4


def _check_symbol(symbol: int, alphabet: int) -> None:
    if symbol >= alphabet:
        raise CorruptFile("symbol-range", f"symbol {symbol} where only symbols below {alphabet} exist")
