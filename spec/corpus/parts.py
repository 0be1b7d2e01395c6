"""What the files of the corpus are put together from: each function gives the bytes of one part of FORMAT.md.

    build(stored("w", FLOAT, (2,), floats(1, 2)))     a whole file of one tensor

They check nothing, so that a caller can put a fault wherever it wants one, and have every CRC-32 around it right.
"""

import math
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from onnx import TensorProto

MAGIC = bytes.fromhex("89 44 43 5A 0D 0A 1A 0A")
STORED, SHARED, SPARSE, PRUNED = range(4)
FLOAT, INT8, INT64, FLOAT16, DOUBLE, COMPLEX64, BFLOAT16, UINT4, UINT2 = 1, 3, 7, 10, 11, 14, 16, 21, 25
DTYPES_OF_BITS = {
    2: (25, 26),
    4: (21, 22, 23),
    8: (2, 3, 9, 17, 18, 19, 20, 24),
    16: (4, 5, 10, 16),
    32: (1, 6, 12),
    64: (7, 11, 13, 14),
    128: (15,),
}
BITS = {dtype: bits for bits, dtypes in DTYPES_OF_BITS.items() for dtype in dtypes}
END = 256


class Tensor(NamedTuple):
    """A tensor as a file has it: its record, and the bytes that the record must decode to."""

    name: str
    dtype: int
    dims: tuple[int, ...]
    encoding: int
    record: bytes
    data: bytes


# ---- The parts of a file ---------------------------------------------------------------------------------------------


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def varint(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80]) + varint(value >> 7) if value > 0x7F else bytes([value])


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return varint(len(raw)) + raw


def entry(tensor: Tensor, length: int | None = None, record_crc: int | None = None) -> bytes:
    """A tensor's entry in the directory; the length and CRC-32 of its record are true unless they are given."""
    length = len(tensor.record) if length is None else length
    record_crc = zlib.crc32(tensor.record) if record_crc is None else record_crc
    dims = bytes([len(tensor.dims)]) + b"".join(map(varint, tensor.dims))
    head = string(tensor.name) + bytes([tensor.dtype]) + dims + bytes([tensor.encoding])
    return head + varint(length) + u32(record_crc) + u32(zlib.crc32(tensor.data))


def listing(
    entries: Sequence[bytes], metadata: Iterable[tuple] = (), graph: bytes = b"", graph_size: int = -1
) -> bytes:
    """A directory; `graph` is as stored, `graph_size` its plain length where that differs."""
    graph_size = len(graph) if graph_size < 0 else graph_size
    pairs = [string(key) + string(value) for key, value in metadata]
    head = varint(len(graph)) + varint(graph_size) + u32(zlib.crc32(graph))
    return head + varint(len(pairs)) + b"".join(pairs) + varint(len(entries)) + b"".join(entries)


def seal(directory: bytes, rest: bytes = b"", *, plain: int = -1, stored: int = -1, major=1, minor=0, flags=0) -> bytes:
    """The header with its CRC-32, then `directory` as stored and the `rest`; `plain` and `stored` are P and D."""
    plain, stored = (len(directory) if size < 0 else size for size in (plain, stored))
    head = MAGIC + struct.pack("<BBHII", major, minor, flags, stored, plain)
    return head + u32(zlib.crc32(head + directory)) + directory + rest


def build(*tensors: Tensor, metadata: Iterable[tuple] = (), graph: bytes = b"", **header: int) -> bytes:
    """A whole file, everything plain."""
    directory = listing([entry(tensor) for tensor in tensors], metadata, graph)
    return seal(directory, graph + b"".join(tensor.record for tensor in tensors), **header)


# ---- The parts of a record -------------------------------------------------------------------------------------------


def bits_to_bytes(bits: str, fill: str = "0") -> bytes:
    """Bits in the order of the file as bytes, the last one filled up."""
    bits += fill * (-len(bits) % 8)
    return int("0" + bits[::-1], 2).to_bytes(len(bits) // 8, "little")


def deflate(data: bytes) -> bytes:
    """One fixed block (RFC 1951, section 3.2.6) of literals and of matches 1 to 4 bytes back that need no extra bits.

    The bytes of zlib differ from release to release, these do not.
    """
    bits, at = "110", 0
    while at < len(data):
        length, back = max((match_length(data, at, back), -back) for back in (1, 2, 3, 4))
        if length >= 3:
            length = 258 if length == 258 else min(length, 10)
            bits += f"{length - 2:07b}" if length < 258 else "11000101"
            bits += f"{-back - 1:05b}"
            at += length
        else:
            bits += f"{data[at] + 0x30:08b}" if data[at] < 144 else f"{data[at] - 144 + 0x190:09b}"
            at += 1
    return bits_to_bytes(bits + "0000000")


def deflate_pairs(head: bytes, two: bytes, count: int) -> bytes:
    """One fixed block as of `deflate`: literals, and the last two bytes `count` times in all by the longest matches."""
    whole, rest = divmod(2 * count - 2, 258)
    literals = "".join(
        f"{byte + 0x30:08b}" if byte < 144 else f"{byte - 144 + 0x190:09b}" for byte in head + two + two * (rest // 2)
    )
    return bits_to_bytes("110" + literals + ("11000101" + "00001") * whole + "0000000")


def match_length(data: bytes, at: int, back: int) -> int:
    length = 0
    while back <= at and length < 258 and at + length < len(data) and data[at + length] == data[at + length - back]:
        length += 1
    return length


def planes(data: bytes, size: int) -> bytes:
    return b"".join(data[plane::size] for plane in range(size))


def constant(symbol: int) -> bytes:
    return bytes([0, symbol])


def packed(symbols: Sequence[int], width: int, fill: str = "0") -> bytes:
    return bytes([1, width]) + bits_to_bytes("".join(f"{symbol:0{width}b}"[::-1] for symbol in symbols), fill)


def words(lengths: dict[int, int]) -> dict[int, str]:
    """The canonical words of the symbols' lengths, first bit first."""
    found, code, before = {}, 0, 0
    for symbol in sorted(lengths, key=lambda symbol: (lengths[symbol], symbol)):
        code <<= lengths[symbol] - before
        before = lengths[symbol]
        found[symbol] = f"{code:0{before}b}"
        code += 1
    return found


def segment(symbols: Iterable[int], lengths: dict[int, int], fill: str = "0") -> bytes:
    word = words(lengths)
    return bits_to_bytes("".join(map(word.__getitem__, symbols)), fill)


def table(last: int, nibbles: Sequence[int], fill: int = 0) -> bytes:
    nibbles = [*nibbles, fill]
    return bytes([2, last]) + bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=False))


def huffman(symbols: Sequence[int], lengths: dict[int, int], last: int, nibbles: Sequence[int]) -> bytes:
    """A stream of one segment. `lengths` are those of the words, `nibbles` how the code table spells them."""
    coded = segment([*symbols, END], lengths)
    return table(last, nibbles) + varint(len(coded)) + coded


def native(entries: Sequence[bytes]) -> bytes:
    return bytes([0, len(entries) - 1]) + b"".join(entries)


def half(*entries: int) -> bytes:
    """A codebook of float16 bit patterns."""
    return bytes([1, len(entries) - 1]) + struct.pack(f"<{len(entries)}H", *entries)


def ramp(count: int, first: float, step: float) -> bytes:
    return bytes([2, count - 1]) + struct.pack("<ff", first, step)


def fine(codes: int, low_bits: int, first: float, step: float) -> bytes:
    return bytes([3]) + ramp(codes, first, step)[1:] + bytes([low_bits])


def scaled(codebook: bytes, axis: int, scales: bytes) -> bytes:
    """A codebook with scales along an axis: `scales` is their form and what follows."""
    return bytes([codebook[0] | 0x80]) + codebook[1:] + bytes([axis]) + scales


def step_scales(steps: Sequence[int], width: int = 8) -> bytes:
    """Scales by steps (section 8.1), packed."""
    return b"\0" + packed(steps, width)


def float_scales(*scales: float) -> bytes:
    return b"\1" + floats(*scales)


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def patterns(size: int, *values: int) -> list[bytes]:
    return [value.to_bytes(size, "little") for value in values]


def stored(name: str, dtype: int, dims: tuple[int, ...], data: bytes, block: bytes | None = None) -> Tensor:
    return Tensor(name, dtype, dims, STORED, b"\0" + data if block is None else block, data)


def shared(
    name: str, codebook: bytes, entries: Sequence[bytes], codes: Sequence[int], stream: bytes, dtype=FLOAT, dims=None
) -> Tensor:
    data = b"".join(entries[code] for code in codes)
    return Tensor(name, dtype, (len(codes),) if dims is None else dims, SHARED, codebook + stream, data)


def index(layout: int, kept: int, gaps: Sequence[int], rows: bytes = b"", columns: bytes = b"", stream=None) -> bytes:
    stream = packed(gaps, (layout & 7) + 1) if stream is None and len(gaps) else stream or b""
    return bytes([layout]) + rows + columns + varint(kept) + varint(len(gaps)) + stream


TWO = floats(1.0), floats(-2.0)  # the codebook of most sparse tensors here, their codes being 0 1 0 1 ...


def sparse(name: str, dims: tuple[int, ...], elements: Sequence[int], index: bytes) -> Tensor:
    """`elements` are the numbers of the kept elements, in the order of the index."""
    codes = [number % 2 for number in range(len(elements))]
    tail = native(TWO) + packed(codes, 1) if codes else b""
    data = scattered(math.prod(dims), elements, [TWO[code] for code in codes])
    return Tensor(name, FLOAT, dims, SPARSE, index + tail, data)


def scattered(count: int, elements: Sequence[int], values: Sequence[bytes], size: int = 4) -> bytes:
    tensor = [bytes(size)] * count
    for element, value in zip(elements, values, strict=True):
        tensor[element] = value
    return b"".join(tensor)


W = stored("w", FLOAT, (2,), floats(1.0, 2.0))  # a tensor for files whose point is elsewhere


# ---- The parts of a graph --------------------------------------------------------------------------------------------


def reference(name: str, dtype: int, dims: Sequence[int], key: str, value: str) -> TensorProto:
    """A tensor whose data is in a record (section 4)."""
    proto = TensorProto(name=name, data_type=dtype, dims=dims, data_location=TensorProto.EXTERNAL)
    proto.external_data.add(key=key, value=value)
    return proto
