"""A second decoder for `.dcz`, the format of FORMAT.md (version 1.1), with nothing but the standard library.

    $ python decoder.py model.dcz [OUTDIR]
    conv1.weight    1    [64,3,7,7]    shared    37632    5d1f8a02

One line a tensor, between tabs: name, dtype (ONNX's number), dims, encoding, decoded bytes, CRC-32. With OUTDIR, the
bytes of each tensor also go to OUTDIR/0000.bin, 0001.bin ... In Python: `decode(data).tensors["conv1.weight"].data`.

It was written from the page alone and follows its sections, so the two can be read side by side. It prefers the plain
way to the fast one, and makes every refusal of section 9 but `graph-reference`, which needs an ONNX parser.
"""

import math
import struct
import sys
import zlib
from collections.abc import Callable
from itertools import dropwhile
from pathlib import Path
from typing import NamedTuple


class Tensor(NamedTuple):
    dtype: int  # ONNX TensorProto.DataType
    dims: tuple[int, ...]
    encoding: str
    data: bytes  # ONNX raw_data


class Model(NamedTuple):
    metadata: dict[str, str]
    graph: bytes  # an ONNX ModelProto without the data of the tensors below
    tensors: dict[str, Tensor]  # in the order of their records


# ---- 1. Conventions --------------------------------------------------------------------------------------------------


class Refused(Exception):
    """The file breaks a rule of the format; `reason` is the rule's name in section 9."""

    def __init__(self, reason: str, where: str) -> None:
        super().__init__(f"{reason} in {where}")
        self.reason = reason


class Part:
    """A cursor over one part of the file. All reading is by `take`, so nothing is read past the end of the part."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name, self.at = data, name, 0

    def check(self, holds: bool, reason: str) -> None:
        if not holds:
            raise Refused(reason, f"the {self.name}, before byte {self.at}")

    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, size: int) -> bytes:
        self.check(size <= self.left(), "truncated")
        self.at += size
        return self.data[self.at - size : self.at]

    def u8(self) -> int:
        return self.take(1)[0]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def varint(self) -> int:
        value = 0
        for place in range(9):
            byte = self.u8()
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                break
        self.check(byte < 0x80 and (byte > 0 or place == 0), "varint")
        return value

    def string(self) -> str:
        try:
            return self.take(self.varint()).decode("utf-8")
        except UnicodeDecodeError:
            raise Refused("text", f"the {self.name}, before byte {self.at}") from None


def inflate(stored: bytes, size: int, name: str) -> bytes:
    """The `size` bytes of a raw DEFLATE stream that takes all of `stored`."""
    inflater = zlib.decompressobj(wbits=-15)
    try:
        # One byte more than wanted lets a stream that is too long betray itself. (To zlib a bound of 0 means none.)
        plain = inflater.decompress(stored, size + 1)
    except zlib.error as error:
        raise Refused("deflate", f"the {name}: {error}") from None
    if len(plain) != size or not inflater.eof or inflater.unused_data:
        raise Refused("deflate", f"the {name}: it does not hold {size} bytes, or does not end with its field")
    return plain


# ---- 2. The file -----------------------------------------------------------------------------------------------------

MAGIC = bytes.fromhex("89 44 43 5A 0D 0A 1A 0A")


def decode(data: bytes) -> Model:
    """Decodes a whole file, or raises Refused."""
    file = Part(data, "file")
    directory = Part(read_directory(file), "directory")
    most = 2**12 + (file.at - 24) // 8  # of metadata, and of tensors
    graph_stored, graph_plain, graph_crc = directory.varint(), directory.varint(), directory.u32()
    most_plain = min(2**31 - 1, 2**26 + 64 * graph_stored)
    directory.check(graph_stored <= graph_plain <= most_plain, "graph-size")
    metadata = read_metadata(directory, most)
    entries = read_entries(directory, most)
    directory.check(directory.left() == 0, "directory-trailing")
    size = graph_stored + sum(entry.length for entry in entries)
    file.check(file.left() >= size, "truncated")
    file.check(file.left() <= size, "trailing-bytes")

    graph = read_graph(file.take(graph_stored), graph_plain, graph_crc)
    tensors = {}
    for entry in entries:
        tensor = read_record(Part(file.take(entry.length), f"record of {entry.name!r}"), entry)
        tensors[entry.name] = Tensor(entry.dtype, entry.dims, entry.encoding, tensor)
    return Model(metadata, graph, tensors)


def read_directory(file: Part) -> bytes:
    """The plain bytes of the directory, which header and directory are all it takes to get."""
    magic = file.data[:8]
    damaged = len(magic) == 8 and magic[:4] in (b"\x89DCZ", b"\x09DCZ")
    file.check(magic == MAGIC, "text-mode" if damaged else "not-dcz")
    header = file.take(24)
    major, _minor, flags, stored_size, plain_size, crc = struct.unpack_from("<BBHIII", header, 8)
    file.check(major == 1, "version")
    file.check(flags == 0, "flags")
    file.check(stored_size <= plain_size <= min(2**26, 2**20 + 16 * stored_size), "directory-size")
    stored = file.take(stored_size)
    file.check(zlib.crc32(header[:20] + stored) == crc, "directory-crc")
    return inflate(stored, plain_size, "directory") if stored_size < plain_size else stored


# ---- 3. The directory ------------------------------------------------------------------------------------------------

DTYPES_OF_BITS = {
    2: (25, 26),
    4: (21, 22, 23),
    8: (2, 3, 9, 17, 18, 19, 20, 24),
    16: (4, 5, 10, 16),
    32: (1, 6, 12),
    64: (7, 11, 13, 14),
    128: (15,),
}
ELEMENT_BITS = {dtype: bits for bits, dtypes in DTYPES_OF_BITS.items() for dtype in dtypes}
FLOAT, FLOAT16, DOUBLE, BFLOAT16 = 1, 10, 11, 16
ENCODINGS = ("stored", "shared", "sparse", "pruned")


class Entry(NamedTuple):
    name: str
    dtype: int
    dims: tuple[int, ...]
    encoding: str
    length: int
    record_crc: int
    tensor_crc: int


def read_metadata(part: Part, most: int) -> dict[str, str]:
    metadata: dict[str, str] = {}
    for _ in range(read_count(part, most)):
        key = part.string()
        part.check(key not in metadata, "duplicate-name")
        metadata[key] = part.string()
    return metadata


def read_count(part: Part, most: int) -> int:
    count = part.varint()
    part.check(count <= most, "directory-size")
    return count


def read_entries(part: Part, most: int) -> list[Entry]:
    entries: dict[str, Entry] = {}
    for _ in range(read_count(part, most)):
        entry = read_entry(part)
        part.check(entry.name not in entries, "duplicate-name")
        entries[entry.name] = entry
    return list(entries.values())


def read_entry(part: Part) -> Entry:
    name, dtype = part.string(), part.u8()
    part.check(dtype in ELEMENT_BITS, "dtype")
    dims = tuple(part.varint() for _ in range(part.u8()))
    part.check(math.prod(max(dim, 1) for dim in dims) * ELEMENT_BITS[dtype] < 2**63, "shape")
    encoding = part.u8()
    known = encoding == 0 or (encoding < len(ENCODINGS) and dtype in (FLOAT, FLOAT16, DOUBLE, BFLOAT16))
    part.check(known, "encoding")
    entry = Entry(name, dtype, dims, ENCODINGS[encoding], part.varint(), part.u32(), part.u32())
    part.check(byte_size(math.prod(dims), dtype) <= 65536 * entry.length, "expansion")
    return entry


def byte_size(count: int, dtype: int) -> int:
    return (count * ELEMENT_BITS[dtype] + 7) // 8


# ---- 4. The graph ----------------------------------------------------------------------------------------------------


def read_graph(stored: bytes, plain_size: int, crc: int) -> bytes:
    """The bytes of the ModelProto. To put the tensors back into it is work for an ONNX library."""
    if zlib.crc32(stored) != crc:
        raise Refused("graph-crc", "the file")
    return inflate(stored, plain_size, "graph") if len(stored) < plain_size else stored


# ---- 5. Records ------------------------------------------------------------------------------------------------------

# The parts of a record are read in two steps. `read_...` checks the structure and gives a function; that one decodes.
# So a record must be sound from its first byte to its last before memory is taken for what it decodes to.
Decode = Callable[[], bytes]
Element = Callable[[int, int], bytes]  # from an entry's number, and that of an element, to the element


def read_record(part: Part, entry: Entry) -> bytes:
    part.check(zlib.crc32(part.data) == entry.record_crc, "record-crc")
    count, places = math.prod(entry.dims), None
    if entry.encoding in ("sparse", "pruned"):
        count, places = read_index(part, entry.dims)
    if entry.encoding in ("stored", "pruned"):
        elements = read_block(part, count, entry.dtype)
    elif entry.encoding == "shared" or count > 0:
        elements = read_coded(part, count, entry, places)
    else:
        elements = bytes
    part.check(part.left() == 0, "record-trailing")

    tensor = elements()
    if places:
        tensor = scatter(tensor, places(), entry)
    part.check(zlib.crc32(tensor) == entry.tensor_crc, "tensor-crc")
    return tensor


def scatter(elements: bytes, places: list[int], entry: Entry) -> bytes:
    size = byte_size(1, entry.dtype)
    tensor = bytearray(math.prod(entry.dims) * size)
    for number, place in enumerate(places):
        tensor[place * size : (place + 1) * size] = elements[number * size : (number + 1) * size]
    return bytes(tensor)


def read_coded(part: Part, count: int, entry: Entry, places: Callable[[], list[int]] | None) -> Decode:
    """A codebook and `count` codes, of all elements, or of those whose numbers `places` gives."""
    alphabet, low_bits, codebook = read_codebook(part, entry.dtype, entry.dims)
    codes = read_stream(part, count, alphabet)
    low = read_stream(part, count, 1 << low_bits) if low_bits else lambda: bytes(count)

    def decode() -> bytes:
        element = codebook()
        numbers = places() if places else range(count)
        coded = zip(codes(), low(), numbers, strict=True)
        return b"".join([element(code << low_bits | below, number) for code, below, number in coded])

    return decode


def read_block(part: Part, count: int, dtype: int) -> Decode:
    method = part.u8()
    known = method < 2 or (method == 2 and ELEMENT_BITS[dtype] >= 16)
    part.check(known, "block-method")
    data, size, planes = part.take(part.left()), byte_size(count, dtype), byte_size(1, dtype)

    def decode() -> bytes:
        if method == 0:
            part.check(len(data) == size, "block-length")
            return data
        plain = inflate(data, size, part.name)
        if method == 1:
            return plain
        elements = bytearray(size)
        for plane in range(planes):
            elements[plane::planes] = plain[plane * count : (plane + 1) * count]
        return bytes(elements)

    return decode


# ---- 6. Streams of symbols -------------------------------------------------------------------------------------------


def read_stream(part: Part, count: int, alphabet: int) -> Decode:
    """`count` symbols below `alphabet`, one a byte."""
    if count == 0:
        return bytes
    form = part.u8()
    part.check(form < 3, "stream-form")
    if form == 0:
        symbol = part.take(1)
        part.check(symbol[0] < alphabet, "symbol-range")
        return lambda: symbol * count
    if form == 1:
        return read_packed(part, count, alphabet)
    words = read_words(part, alphabet)
    counts = [min(SEGMENT, count - start) for start in range(0, count, SEGMENT)]
    segments = [part.take(size) for size in [part.varint() for _ in counts]]
    return lambda: b"".join(decode_segment(*pair, words) for pair in zip(segments, counts, strict=True))


def read_packed(part: Part, count: int, alphabet: int) -> Decode:
    width = part.u8()
    part.check(1 <= width <= 8, "packed-width")
    packed = part.take((count * width + 7) // 8)

    def decode() -> bytes:
        symbols = bytearray()
        for start in range(0, len(packed), width):  # eight symbols at a time, which take `width` bytes
            eight = int.from_bytes(packed[start : start + width], "little")
            symbols += bytes([eight >> at & (1 << width) - 1 for at in range(0, 8 * width, width)])
        part.check(max(symbols[:count]) < alphabet, "symbol-range")
        return symbols[:count]

    return decode


# ---- 6.1 The code ----------------------------------------------------------------------------------------------------

END = 256


def read_words(part: Part, alphabet: int) -> dict[int, int]:
    """The symbol of each word. A 1 is put before the word, which tells 01 from 001."""
    lengths = read_code_table(part, alphabet)
    filled = sum(2**-length for length in lengths if length)  # exact in a float
    part.check(filled <= 1, "code-over-full")
    part.check(filled >= 1, "code-under-full")
    words, code = {}, 0
    for length in range(1, 16):
        code *= 2
        for symbol in range(END + 1):
            if lengths[symbol] == length:
                words[1 << length | code] = symbol
                code += 1
    return words


# ---- 6.2 The code table ----------------------------------------------------------------------------------------------


def read_code_table(part: Part, alphabet: int) -> list[int]:
    """The word lengths of the symbols 0 to 256."""
    last = part.u8()
    part.check(last < alphabet, "symbol-range")
    nibbles = (nibble for byte in iter(part.u8, None) for nibble in (byte & 15, byte >> 4))
    end_length = next(nibbles)
    lengths: list[int] = []
    previous = None  # the length before, where counting has begun
    while len(lengths) <= last:
        length = next(nibbles)
        lengths.append(length)
        if length == previous:
            lengths += [length] * next(nibbles)
            previous = None
        else:
            previous = length
    part.check(len(lengths) == last + 1, "code-run")
    part.check(end_length > 0, "no-end-symbol")
    return lengths + [0] * (END - len(lengths)) + [end_length]


# ---- 6.3 Segments ----------------------------------------------------------------------------------------------------

SEGMENT = 2**18  # symbols


def decode_segment(segment: bytes, count: int, words: dict[int, int]) -> bytes:
    symbols = bytearray()
    symbol, word = None, 1
    for at in range(8 * len(segment)):
        word = word << 1 | segment[at >> 3] >> (at & 7) & 1
        symbol = words.get(word)
        if symbol is not None:
            if symbol == END or len(symbols) == count:
                break
            symbols.append(symbol)
            word = 1
    if symbol != END or len(symbols) < count or at >> 3 < len(segment) - 1:
        raise Refused("segment", f"{len(segment)} bytes that are not {count} symbols and the end symbol")
    return symbols


# ---- 7. The index ----------------------------------------------------------------------------------------------------


def read_index(part: Part, dims: tuple[int, ...]) -> tuple[int, Callable[[], list[int]]]:
    """The number of kept places, and a function that gives them, as element numbers in the order of the codes."""
    height, *others = list(dropwhile(lambda dim: dim == 1, dims)) or [1]
    width = math.prod(others)
    layout = part.u8()
    part.check(layout & 7 > 0 and layout < 64, "index-layout")
    skip = 2 ** ((layout & 7) + 1) - 1
    rows = read_bitmap(part, height) if layout & 16 else range(height)
    columns = read_bitmap(part, width) if layout & 32 else range(width)
    places = len(rows) * len(columns)
    kept, gap_count = part.varint(), part.varint()
    part.check(kept <= places, "kept-count")
    most_gaps = kept + places if kept else 0
    part.check(kept <= gap_count <= most_gaps, "kept-count")
    gaps = read_stream(part, gap_count, skip + 1)

    def decode() -> list[int]:
        elements, place, gap = [], 0, 0
        for gap in gaps():
            place += gap
            if place > places or (place == places and gap != skip):
                part.check(False, "gap-overrun")
            if gap != skip:
                across, along = divmod(place, len(rows) if layout & 8 else len(columns))
                row, column = (along, across) if layout & 8 else (across, along)
                elements.append(rows[row] * width + columns[column])
                place += 1
        part.check(len(elements) == kept, "kept-count")
        part.check(gap != skip, "kept-count")
        return elements

    return kept, decode


def read_bitmap(part: Part, count: int) -> list[int]:
    bitmap = part.take((count + 7) // 8)
    return [number for number in range(count) if bitmap[number // 8] >> number % 8 & 1]


# ---- 8. Codebooks ----------------------------------------------------------------------------------------------------


def read_codebook(part: Part, dtype: int, dims: tuple[int, ...]) -> tuple[int, int, Callable[[], Element]]:
    """The number of codes, the low bits of a fine codebook (else 0), and a function that gives entries' elements."""
    form, count, size = part.u8(), part.u8() + 1, byte_size(1, dtype)
    scaled, form = form >> 7, form & 127
    part.check(form < 4, "codebook-form")
    data = part.take((count * size, 2 * count, 8, 8)[form])
    low_bits = part.u8() if form == 3 else 0
    part.check(form < 3 or 1 <= low_bits <= 8, "low-bits")
    place, scales = read_scales(part, dims) if scaled else (None, None)

    def values() -> list[float]:
        if form == 0:
            return [value_of(dtype, data[at : at + size]) for at in range(0, len(data), size)]
        if form == 1:
            return list(struct.unpack(f"<{count}e", data))
        first, step = struct.unpack("<ff", data)
        return [first + i * step for i in range(count << low_bits)]

    def decode() -> Element:
        if form == 0 and not scaled:
            return lambda entry, number: data[entry * size : (entry + 1) * size]
        entries, factors = values(), scales() if scaled else [1.0]
        part.check(all(map(math.isfinite, entries)), "codebook-value")
        try:
            for value in entries:
                round_to(dtype, value * max(factors))
        except OverflowError:
            raise Refused("codebook-value", f"the {part.name}: an entry is too large") from None
        if scaled:
            return lambda entry, number: round_to(dtype, entries[entry] * factors[place(number)])
        rounded = [round_to(dtype, value) for value in entries]
        return lambda entry, number: rounded[entry]

    return count, low_bits, decode


# ---- 8.1 Scales ------------------------------------------------------------------------------------------------------


def read_scales(part: Part, dims: tuple[int, ...]) -> tuple[Callable[[int], int], Callable[[], list[float]]]:
    """A function from the number of an element to its place along the axis, and one that gives the scales."""
    axis = part.u8()
    part.check(axis < len(dims) and math.prod(dims) > 0, "scale-axis")
    count, inner = dims[axis], math.prod(dims[axis + 1 :])
    form = part.u8()
    part.check(form < 2, "scale-form")
    steps = read_stream(part, count, 256) if form == 0 else None
    data = part.take(4 * count) if form == 1 else b""

    def decode() -> list[float]:
        if steps:
            return [math.ldexp(8 + step % 8, step // 8) for step in steps()]
        scales = list(struct.unpack(f"<{count}f", data))
        part.check(all(0 < scale < math.inf for scale in scales), "scale-value")
        return scales

    return lambda number: number // inner % count, decode


def value_of(dtype: int, element: bytes) -> float:
    """An element as a float64."""
    if dtype == BFLOAT16:
        return struct.unpack("<f", b"\0\0" + element)[0]
    return struct.unpack({FLOAT16: "<e", FLOAT: "<f", DOUBLE: "<d"}[dtype], element)[0]


def round_to(dtype: int, value: float) -> bytes:
    """A finite float64 as an element: to nearest, ties to even. OverflowError where that is an infinity."""
    if dtype != BFLOAT16:
        return struct.pack({FLOAT16: "<e", FLOAT: "<f", DOUBLE: "<d"}[dtype], value)
    bits = int.from_bytes(struct.pack("<f", value), "little")
    # Half of bit 16, less one where bit 16 is even: what is above half carries into bit 16, a tie only if that is odd.
    bits = bits + 0x7FFF + (bits >> 16 & 1) >> 16
    if bits & 0x7F80 == 0x7F80:
        raise OverflowError
    return struct.pack("<H", bits)


# ---- The command -----------------------------------------------------------------------------------------------------


def main(file: str, out: str | None = None) -> int:
    try:
        model = decode(Path(file).read_bytes())
    except Refused as refusal:
        print(f"refused: {refusal}", file=sys.stderr)
        return 1
    for number, (name, tensor) in enumerate(model.tensors.items()):
        shown = name if name.isprintable() else repr(name)
        dims = ",".join(map(str, tensor.dims))
        crc = f"{zlib.crc32(tensor.data):08x}"
        print(shown, tensor.dtype, f"[{dims}]", tensor.encoding, len(tensor.data), crc, sep="\t")
        if out:
            Path(out).mkdir(parents=True, exist_ok=True)
            Path(out, f"{number:04d}.bin").write_bytes(tensor.data)
    return 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python decoder.py FILE.dcz [OUTDIR]")
    sys.stdout.reconfigure(encoding="utf-8")
    sys.exit(main(*sys.argv[1:]))
