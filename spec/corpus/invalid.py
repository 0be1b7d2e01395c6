"""The invalid files, section by section of FORMAT.md: the refusal, the bytes, and the trick in a sentence."""

import math
import struct
import zlib

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from .parts import (
    BFLOAT16,
    COMPLEX64,
    END,
    FLOAT,
    FLOAT16,
    INT8,
    INT64,
    MAGIC,
    PRUNED,
    SHARED,
    SPARSE,
    STORED,
    TWO,
    UINT2,
    UINT4,
    Tensor,
    W,
    bits_to_bytes,
    build,
    constant,
    deflate,
    deflate_pairs,
    entry,
    fine,
    float_scales,
    floats,
    half,
    index,
    listing,
    native,
    packed,
    ramp,
    reference,
    scaled,
    seal,
    segment,
    shared,
    sparse,
    step_scales,
    stored,
    string,
    table,
    u32,
    varint,
)  # fmt: skip

Invalid = list[tuple[str, bytes, str]]


def invalid() -> Invalid:
    """(refusal, file, the trick in a sentence); all CRCs are right, but where they are the fault."""
    sections = (files, directories, graphs, blocks, streams, indexes, codebooks, scales, fine_codebooks)
    return [vector for section in sections for vector in section()]


def one(record: bytes, encoding: int = SHARED, dims: tuple[int, ...] = (4,), dtype: int = FLOAT) -> bytes:
    """A file of one tensor, to hold a broken record."""
    return build(Tensor("w", dtype, dims, encoding, record, b""))


def files() -> Invalid:
    """Section 2."""
    good, listed = build(W), listing([entry(W)])
    deflated = deflate(listing([entry(W._replace(name="w" * 90))]))
    size = len(listing([entry(W._replace(name="w" * 90))]))
    graph = listing([entry(W)], graph=b"graph")
    bomb = deflate_pairs(b"", b"\0\0", 2**19 + 40_000)
    huge = listing([entry(W._replace(name=name), length=2**63 - 1) for name in "abc"])
    return [
        ("not-dcz", b"", "an empty file"),
        ("not-dcz", good[:7], "cut within the magic"),
        ("not-dcz", b"\x89PNG\r\n\x1a\n" + good[8:], "another format's magic"),
        ("not-dcz", b"\0" + good, "one byte before the magic"),
        ("text-mode", MAGIC.replace(b"\r\n", b"\n") + good[8:], "CR LF became LF"),
        ("text-mode", good.replace(b"\n", b"\r\n"), "LF became CR LF"),
        ("text-mode", bytes(byte & 127 for byte in good), "the top bit of every byte is lost"),
        ("version", build(W, major=2), "a later major version"),
        ("version", build(W, major=0, flags=1), "major version 0; the flag comes after it"),
        ("flags", build(W, flags=1), "the lowest flag is set"),
        ("flags", build(W, flags=0x8000, stored=2**32 - 1), "the highest flag; the faulty size comes after it"),
        ("directory-size", seal(listed, W.record, plain=len(listed) - 1), "D is greater than P"),
        ("directory-size", seal(deflated, W.record, plain=2**26 + 1), "P is one more than 2^26"),
        ("directory-size", seal(b"", stored=2**32 - 1), "D is greater than P, and as much as 4 GiB"),
        ("directory-size", seal(bomb, plain=2**20 + 16 * len(bomb) + 1), "P is one more than 2^20 + 16 D"),
        ("directory-crc", flip(good, 20), "a bit of the CRC-32 is flipped"),
        ("directory-crc", flip(good, 9), "a bit of the minor version is flipped, which the CRC-32 covers"),
        ("directory-crc", flip(good, 24 + len(listed) - 1), "a bit of the directory's last byte is flipped"),
        ("deflate", seal(deflated, W.record, plain=size - 1), "the directory inflates to one byte more than P"),
        ("deflate", seal(deflated, W.record, plain=size + 1), "the directory inflates to one byte less than P"),
        ("deflate", seal(deflated[:-1], W.record, plain=size), "the directory's stream is cut"),
        ("deflate", seal(deflated + b"\0", W.record, plain=size), "a byte follows the directory's stream"),
        ("deflate", seal(b"\7" + deflated[1:], W.record, plain=size), "the directory's stream has a block of type 3"),
        ("truncated", good[:8], "cut after the magic"),
        ("truncated", good[:23], "cut within the header"),
        ("truncated", good[: 24 + len(listed) - 1], "cut within the directory"),
        ("truncated", seal(b"", stored=2**26, plain=2**26), "a directory of 64 MiB in a file of 24 bytes"),
        ("truncated", seal(graph, b"grap"), "cut within the graph"),
        ("truncated", good[:-1], "cut within the last record"),
        ("truncated", seal(huge, bytes(99)), "three records whose lengths add up to more than 2^64"),
        ("trailing-bytes", good + b"\0", "a byte after the last record"),
        ("trailing-bytes", build() + build(), "another file after the end"),
    ]


def flip(file: bytes, byte: int) -> bytes:
    return file[:byte] + bytes([file[byte] ^ 1]) + file[byte + 1 :]


def directories() -> Invalid:
    """Section 3."""
    head, no_tensors = listing([])[:6], listing([])

    def listed(*tensors: Tensor) -> bytes:
        return seal(listing([entry(tensor) for tensor in tensors]), b"".join(tensor.record for tensor in tensors))

    def named(name: bytes) -> bytes:
        return seal(listing([entry(W).replace(b"\1w", string(name), 1)]), W.record)

    def shaped(dtype: int, *dims: int) -> bytes:
        return listed(Tensor("w", dtype, dims, STORED, b"\0", b""))

    return [
        ("truncated", seal(b""), "an empty directory"),
        ("truncated", seal(no_tensors[:-1]), "the directory ends before the tensor count"),
        ("truncated", seal(head + b"\x81"), "the directory ends within a varint"),
        ("truncated", seal(head + b"\1" + varint(2**62) + b"key"), "a string of 2^62 bytes"),
        ("truncated", seal(head + b"\0" + varint(2**12)), "2^12 tensors, and none there"),
        ("directory-size", seal(head + varint(2**12 + 2) + b"\0" * 2), "2^12 + D / 8 + 1 metadata, and none there"),
        ("directory-size", seal(head + b"\0" + varint(2**12 + 2)), "2^12 + D / 8 + 1 tensors, and none there"),
        ("directory-size", seal(head + b"\0" + varint(2**62)), "2^62 tensors, and none there"),
        ("truncated", seal(listing([entry(W)[:-1]]), W.record), "the directory ends within an entry"),
        ("varint", seal(head + b"\x80\0" + b"\0"), "a last byte of zero"),
        ("varint", seal(head + b"\xff" * 9 + b"\1"), "ten bytes"),
        ("varint", seal(head + b"\x80" * 9), "nine bytes that all promise another, at the end of the directory"),
        ("text", named(b"\xff"), "a name that is not UTF-8"),
        ("text", named(b"\xc0\x80"), "a name with an overlong NUL"),
        ("text", named(b"\xed\xa0\x80"), "a name with a surrogate"),
        ("text", named(b"\xce"), "a name that ends within a character"),
        ("text", build(metadata=[("key", b"\xf4\x90\x80\x80")]), "metadata beyond U+10FFFF"),
        ("duplicate-name", listed(W, W._replace(name="v"), W), "two tensors of one name"),
        ("duplicate-name", build(metadata=[("k", "1"), ("l", "1"), ("k", "1")]), "a metadata key twice"),
        ("graph-size", seal(varint(0) + varint(2**31) + no_tensors[2:]), "a plain graph of 2^31 bytes"),
        ("graph-size", seal(varint(1) + varint(0) + no_tensors[2:], b"x"), "stored in more bytes than it has"),
        ("graph-size", seal(varint(1) + varint(2**26 + 65) + no_tensors[2:], b"x"), "2^26 + 65 bytes out of one"),
        ("directory-trailing", seal(no_tensors + b"\0"), "a byte after the last entry"),
        ("directory-trailing", seal(listing([entry(W)]) + entry(W), W.record), "one entry more than the count"),
        ("dtype", listed(W._replace(dtype=0)), "type 0, UNDEFINED"),
        ("dtype", listed(W._replace(dtype=8)), "type 8, STRING"),
        ("dtype", listed(W._replace(dtype=27)), "type 27, which ONNX does not have yet"),
        ("dtype", listed(W._replace(dtype=255, dims=(2**62, 4))), "type 255; the shape comes after it"),
        ("shape", shaped(FLOAT, 2**32, 2**32), "2^64 elements, which is 0 in 64 bits"),
        ("shape", shaped(FLOAT, 2**58), "exactly 2^63 bits"),
        ("shape", shaped(UINT2, 2**62), "2^63 bits of two each"),
        ("shape", shaped(FLOAT, 0, 2**62, 4), "no elements, and yet dims that overflow"),
        ("shape", shaped(FLOAT, *[4] * 255), "255 dims of 4"),
        ("encoding", listed(W._replace(encoding=4)), "encoding 4"),
        ("encoding", listed(W._replace(encoding=255)), "encoding 255"),
        ("encoding", listed(W._replace(dtype=INT8, encoding=SHARED)), "an int8 tensor that is shared"),
        ("encoding", listed(W._replace(dtype=COMPLEX64, encoding=SPARSE)), "a complex64 tensor that is sparse"),
        ("encoding", listed(W._replace(dtype=INT64, encoding=PRUNED)), "an int64 tensor that is pruned"),
        ("expansion", listed(sparse("w", (49153,), [], index(1, 0, []))), "one element too many for three bytes"),
        ("expansion", shaped(INT8, 65537), "one byte too many for one byte"),
        ("expansion", shaped(INT8, 2**40), "a tebibyte out of one byte"),
        ("expansion", listed(Tensor("w", UINT2, (1,), STORED, b"", b"")), "a record of no bytes for one element"),
    ]


def graphs() -> Invalid:
    """Section 4."""

    def holding(*tensors: TensorProto, **fields) -> bytes:
        proto = ModelProto(graph=GraphProto(initializer=tensors, **fields))
        return build(W, graph=proto.SerializeToString(deterministic=True))

    def constant_node(tensor: TensorProto) -> NodeProto:
        attribute = AttributeProto(name="value_floats", type=AttributeProto.TENSOR, t=tensor)
        return NodeProto(op_type="Constant", output=["w"], attribute=[attribute])

    def matrix(dtype: int, dims: list[int], value: str) -> bytes:
        proto = ModelProto(graph=GraphProto(initializer=[reference("w", dtype, dims, "raw_data", value)]))
        record = stored("w", dtype, (2, 3), bytes(24 if dtype == FLOAT else 3))
        return build(record, graph=proto.SerializeToString(deterministic=True))

    fine = ("w", FLOAT, [2], "raw_data", "0")
    twice, none = reference(*fine), reference(*fine)
    twice.external_data.add(key="raw_data", value="0")
    none.ClearField("external_data")
    graph = deflate(b"na " * 40)
    cut = seal(listing([], graph=graph[:-1], graph_size=120), graph[:-1])
    branch = AttributeProto(name="then_branch", type=AttributeProto.GRAPH, g=GraphProto(initializer=[none]))
    square = ModelProto(graph=GraphProto(node=[constant_node(reference("w", FLOAT, [1, 2], "floats", "0"))]))
    flat = build(W._replace(dims=(1, 2)), graph=square.SerializeToString(deterministic=True))
    in_branch = NodeProto(op_type="If", input=["c"], output=["y"], attribute=[branch])
    reason = "graph-reference"
    filled = reference(*fine)
    filled.float_data.extend([1, 2])
    floats_attribute = AttributeProto(
        name="value_floats", type=AttributeProto.TENSOR, t=reference("w", FLOAT, [2], "floats", "0"), floats=[1, 2]
    )
    both = NodeProto(op_type="Constant", output=["w"], attribute=[floats_attribute])
    nothing = TensorProto(name="v", data_type=FLOAT, dims=[0, 2**62, 2**62])

    def crowded(most: int, each: int, two: bytes, *around: bytes) -> bytes:
        """A graph of more than most + each * G messages or fields of two bytes, within messages of these keys."""
        stored, head, count = b"", b"", 0
        while count < most + each * len(stored) + 1:  # a few too many, as what they deflate to grows in leaps
            count = most + each * len(stored) + 1
            size, head = 2 * count, b""
            for key in reversed(around):
                head = key + varint(size + len(head)) + head
            stored = deflate_pairs(head, two, count)
        return seal(listing([], graph=stored, graph_size=len(head) + 2 * count), stored)

    def of_integers(most: int, each: int) -> bytes:
        """A graph of more than most + each * G bytes of integers, packed into one attribute of a node."""
        stored, head, count = b"", b"", 0
        while 2 * count <= most + each * len(stored):
            count = (most + each * len(stored)) // 2 + 1
            size, head = 2 * count, b""
            for key in (b"\x42", b"\x2a", b"\x0a", b"\x3a"):
                head = key + varint(size + len(head)) + head
            stored = deflate_pairs(head, b"\0\0", count)
        return seal(listing([], graph=stored, graph_size=len(head) + 2 * count), stored)

    def nested(depth: int) -> bytes:
        body = b""
        for level in range(depth - 1, 0, -1):  # node, attribute, graph, node ...
            body = (b"\x32", b"\x0a", b"\x2a")[level % 3] + varint(len(body)) + body
        return build(graph=b"\x3a" + varint(len(body)) + body)

    return [
        ("graph-crc", build(W, graph=b"graph").replace(b"graph", b"grapf"), "a bit of the graph is flipped"),
        ("graph-crc", seal(b"\0\0" + u32(1) + b"\0\0"), "an empty graph with a CRC-32 of 1"),
        ("deflate", cut, "the graph's stream is cut"),
        ("deflate", seal(listing([], graph=graph, graph_size=121), graph), "the graph lacks a byte once inflated"),
        (reason, build(W, graph=b"\xff\xff\xff"), "the graph is no ModelProto"),
        (reason, holding(reference("w", FLOAT, [2], "raw_data", "1")), "record 1 of one record"),
        (reason, holding(reference("w", 6, [2], "raw_data", "0")), "another type than the record's"),
        (reason, holding(reference("w", FLOAT, [1, 2], "raw_data", "0")), "other dims than the record's"),
        (reason, holding(reference("w", FLOAT, [2], "location", "0")), "an ordinary external file"),
        (reason, holding(reference("w", FLOAT, [2], "int64_data", "0")), "a field that float tensors do not use"),
        (reason, holding(reference("w", FLOAT, [2], "floats", "0")), "`floats` outside a Constant"),
        (reason, holding(reference("w", FLOAT, [2], "raw_data", "-1")), "a negative record"),
        (reason, holding(reference("w", FLOAT, [2], "raw_data", "\u0660")), "a digit zero that is not ASCII"),
        (reason, holding(reference("w", FLOAT, [2], "raw_data", "")), "no record"),
        (reason, holding(twice), "two external_data entries"),
        (reason, holding(none), "external, without an entry"),
        (reason, flat, "`floats` of two dims"),
        (reason, holding(node=[in_branch]), "a faulty reference within a branch of an If"),
        (reason, holding(reference("w", FLOAT, [2], "raw_data", "0T")), "the transpose of a tensor of one dim"),
        (reason, matrix(FLOAT, [2, 3], "0T"), "a transpose whose dims are the record's, and not exchanged"),
        (reason, matrix(FLOAT, [3, 2], "0"), "dims that are those of the transpose"),
        (reason, matrix(FLOAT, [3, 2], "0t"), "a small letter for the transpose"),
        (reason, matrix(FLOAT, [3, 2], "0TT"), "the transpose of a transpose"),
        (reason, matrix(FLOAT, [3, 2], "T"), "the transpose of no record"),
        (reason, matrix(UINT4, [3, 2], "0T"), "the transpose of half bytes"),
        (reason, holding(filled), "a record and data in the graph"),
        (reason, holding(node=[both]), "`floats` and a record for them"),
        (reason, holding(nothing), "a tensor without a record, whose dims overflow though it has no elements"),
        (reason, holding(TensorProto(name="v", data_type=8, dims=[-1])), "a negative dim of a tensor of text"),
        (reason, holding(TensorProto(name="v", data_type=FLOAT, dims=[1] * 256)), "256 dims"),
        (reason, crowded(2**15 - 2, 4, b"\x2a\0", b"\x3a"), "more than 2^15 + 4 G messages"),
        (reason, crowded(2**19 - 2, 16, b"\x08\1", b"\x3a", b"\x2a"), "more than 2^19 + 16 G fields"),
        (reason, nested(101), "messages nested 101 deep"),
        (reason, of_integers(2**22, 8), "more than 2^22 + 8 G bytes of packed integers"),
    ]


def blocks() -> Invalid:
    """Section 5."""
    data = floats(1, 2, 3, 4)
    zeros = deflate(bytes(16))
    book = native(TWO)
    # A zero, 10 bytes from 4 back, 5 bytes from 1 back: 16 bytes, for an inflate that does not look.
    ahead = bits_to_bytes("110" + "00110000" + "0001000" + "00011" + "0000011" + "00000" + "0000000")
    some = index(1, 1, [2])
    wrong = shared("w", book, TWO, [0, 1, 1, 0], packed([0, 1, 1, 0], 1))
    return [
        ("record-crc", seal(listing([entry(W)]), flip(W.record, 3)), "a bit of the record is flipped"),
        ("record-crc", seal(listing([entry(W, record_crc=0)]), W.record), "a CRC-32 of 0"),
        ("record-trailing", one(book + constant(0) + b"\0"), "a byte after the codes"),
        ("record-trailing", one(some + native(TWO) + constant(0) + b"\0", SPARSE), "a byte after a sparse one"),
        ("record-trailing", one(index(1, 0, []) + b"\0", SPARSE), "a byte after an index that keeps nothing"),
        ("record-trailing", one(book + b"\0", SHARED, (0,)), "codes where there are no elements"),
        ("tensor-crc", build(W._replace(record=b"\0" + floats(1, 3))), "another value"),
        ("tensor-crc", build(wrong._replace(record=book + packed([0, 1, 0, 0], 1))), "another code"),
        ("tensor-crc", build(stored("w", FLOAT, (1,), floats(0.0), b"\0" + floats(-0.0))), "-0.0 for 0.0"),
        ("tensor-crc", one(index(1, 0, []), SPARSE), "zeros, whose CRC-32 is not 0"),
        ("truncated", one(b"", STORED, (0,)), "a record of no bytes, which lacks the method"),
        ("block-method", one(b"\3" + data, STORED), "method 3"),
        ("block-method", one(b"\2" + zeros, STORED, (16,), INT8), "byte planes of int8"),
        ("block-method", one(b"\2" + zeros, STORED, (32,), UINT4), "byte planes of uint4"),
        ("block-method", one(some + b"\xff" + floats(1), PRUNED), "method 255 in a pruned one"),
        ("block-length", one(b"\0" + data[:-1], STORED), "one byte too few"),
        ("block-length", one(b"\0" + data + b"\0", STORED), "one byte too many"),
        ("block-length", one(b"\0", STORED, (1,), UINT2), "nothing for an element of two bits"),
        ("block-length", one(some + b"\0" + data, PRUNED), "an element for every place, not for the kept one"),
        ("block-length", one(index(1, 0, []) + b"\0\0", PRUNED), "a byte where nothing is kept"),
        ("truncated", one(index(1, 0, []), PRUNED), "a pruned one that keeps nothing and lacks the method"),
        ("deflate", one(b"\1" + zeros, STORED, (3,)), "four bytes too many"),
        ("deflate", one(b"\1" + zeros, STORED, (5,)), "four bytes too few"),
        ("deflate", one(b"\2" + zeros + b"\0", STORED), "a byte after the stream of byte planes"),
        ("deflate", one(b"\1", STORED), "no stream at all"),
        ("deflate", one(b"\1" + zeros[:-1], STORED), "a stream that does not end"),
        ("deflate", one(b"\1" + ahead, STORED), "a match that begins before the beginning"),
        ("deflate", one(b"\1" + zlib_wrapped(zeros, bytes(16)), STORED), "a zlib header around the stream"),
        ("deflate", one(some + b"\1" + zeros, PRUNED), "as many elements as places"),
    ]


def zlib_wrapped(stream: bytes, plain: bytes) -> bytes:
    return b"\x78\x9c" + stream + struct.pack(">I", zlib.adler32(plain))


def streams() -> Invalid:
    """Section 6: streams of four codes, below 3 but where another codebook is given."""
    book, less = ramp(3, 0, 1), {0: 1, 1: 2, END: 2}
    good = table(1, [2, 1, 2])
    codes = [0, 1, 0, 0]
    coded = segment([*codes, END], less)
    count = 2**18 + 1
    first = segment([0] * (2**18 - 1) + [END], less)

    def with_segment(coded: bytes, length: int | None = None) -> bytes:
        return one(book + good + varint(len(coded) if length is None else length) + coded)

    def with_table(last: int, *nibbles: int) -> bytes:
        return one(book + table(last, nibbles) + b"\1\0")

    def with_two(*segments: bytes) -> bytes:
        sizes = b"".join(varint(len(part)) for part in segments)
        return one(book + good + sizes + b"".join(segments), SHARED, (count,))

    return [
        ("stream-form", one(book + b"\3\0"), "form 3"),
        ("stream-form", one(bytes([1, 1, 1, 255]), SPARSE), "form 255 of gaps"),
        ("packed-width", one(book + b"\1\0"), "width 0"),
        ("packed-width", one(book + b"\1\x09" + bytes(5)), "width 9"),
        ("symbol-range", one(book + constant(3)), "a constant code 3 of three entries"),
        ("symbol-range", one(book + packed([0, 3, 0, 0], 2)), "a packed code 3 of three entries"),
        ("symbol-range", with_table(3, 2, 2, 2, 0, 2), "a word for symbol 3 of three entries"),
        ("symbol-range", with_table(255, *[0] * 40), "`last` is 255; what the table says comes after it"),
        ("symbol-range", one(index(1, 1, [4], stream=packed([4], 3)) + native(TWO) + constant(0), SPARSE, (9,)),
         "a packed gap of 4 where gaps have two bits"),
        ("code-over-full", with_table(2, 2, 1, 1, 0, 2), "words of 1, 1, 2 and 2 bits"),
        ("code-over-full", with_table(1, 15, 1, 1, 0), "full without the end symbol's 15 bits"),
        ("code-under-full", with_table(1, 2, 2, 2, 0), "three words of two bits"),
        ("code-under-full", with_table(0, 1, 0), "the end symbol's word alone"),
        ("code-under-full", with_table(1, 15, 1, 2), "all but 2^-2 - 2^-15 of the code is used"),
        ("no-end-symbol", with_table(1, 0, 1, 1, 0), "symbol 256 has no word, the others fill the code"),
        ("no-end-symbol", with_table(2, 0, 0, 0, 1), "no words at all"),
        ("code-run", with_table(1, 2, 1, 1, 1), "one length too many, at the very end"),
        ("code-run", with_table(2, 2, 2, 2, 15), "fourteen lengths too many"),
        ("code-run", with_table(2, 0, 2, 2, 2), "no end symbol either, but the run comes first"),
        ("truncated", one(book), "no stream"),
        ("truncated", one(book + b"\0"), "a constant without its symbol"),
        ("truncated", one(book + packed(codes, 3)[:-1]), "one byte of packed codes too few"),
        ("truncated", one(book + table(2, [2, 1])), "the code table ends early"),
        ("truncated", one(book + good), "no segment length"),
        ("truncated", with_segment(coded, len(coded) + 1), "a segment longer than what is left"),
        ("truncated", with_segment(coded, 2**63 - 1), "a segment of 2^63 - 1 bytes"),
        ("varint", one(book + good + b"\x82\0" + coded), "a segment length with a needless byte"),
        ("segment", with_segment(b""), "a segment of no bytes"),
        ("segment", with_segment(segment([0, 0, 0, END], less)), "one symbol too few"),
        ("segment", with_segment(segment([0, 0, 0, 0, 0, END], less)), "one symbol too many"),
        ("segment", with_segment(segment([1, 1, 1, 1], less)), "all symbols, and the bits run out before the end"),
        ("segment", with_segment(segment([1, 1, 0, 1], less, fill="1")), "the end symbol's last bit is missing"),
        ("segment", with_segment(coded + b"\0"), "a byte after the end symbol"),
        ("segment", with_two(first, segment([0, 0, END], less)), "the second segment has a symbol of the first"),
        ("segment", one(index(1, 2, [0, 0], stream=good + b"\1\0") + native(TWO) + constant(0), SPARSE),
         "gaps that do not end"),
    ]  # fmt: skip


def indexes() -> Invalid:
    """Section 7: sparse tensors of 4 or 3 x 4 places."""

    def bad(index: bytes, dims: tuple[int, ...] = (4,), codes: bytes = native(TWO) + constant(0)) -> bytes:
        return one(index + codes, SPARSE, dims)

    rows = {"rows": b"\x05"}
    return [
        ("index-layout", bad(bytes([0x00, 1, 1]) + constant(0)), "gaps of one bit"),
        ("index-layout", bad(index(0x41, 1, [0])), "bit 6 is set"),
        ("index-layout", bad(index(0x81, 1, [0])), "bit 7 is set"),
        ("truncated", bad(b"", (0,), b""), "no layout"),
        ("truncated", bad(bytes([0x11, 0xFF]), (17, 1), b""), "a row bitmap of which two bytes are missing"),
        ("truncated", bad(bytes([0x21, 0xFF]), (1, 1, 1, 17), b""), "no kept count after a full column bitmap"),
        ("truncated", bad(bytes([0x01, 1]), codes=b""), "no gap count"),
        ("varint", bad(bytes([0x01]) + b"\x81\0" + b"\1" + constant(0)), "a kept count with a needless byte"),
        ("kept-count", bad(index(1, 5, [0] * 5)), "five kept of four places"),
        ("kept-count", bad(index(1, 2**62, [0])), "2^62 kept of four places"),
        ("kept-count", bad(index(0x11, 9, [0] * 9, **rows), (3, 4)), "nine kept of the eight places in two rows"),
        ("kept-count", bad(index(0x11, 1, [0], rows=b"\0"), (3, 4)), "one kept of a matrix without rows"),
        ("kept-count", bad(index(1, 1, [0]), (0, 4)), "one kept of no places"),
        ("kept-count", bad(index(1, 2, [0, 0]), ()), "two kept of a scalar"),
        ("kept-count", bad(index(1, 2, [0])), "fewer gaps than kept places"),
        ("kept-count", bad(bytes([1, 0, 1]) + constant(0)), "nothing kept, and yet a gap"),
        ("kept-count", bad(bytes([1, 1]) + varint(6) + constant(0)), "one gap more than kept and places together"),
        ("kept-count", bad(index(1, 1, [1, 1])), "the gaps keep one place too many"),
        ("kept-count", bad(index(1, 2, [3, 0])), "the gaps keep one place too few"),
        ("kept-count", bad(index(1, 1, [0, 3])), "a skip at the end, that lands exactly on it"),
        ("gap-overrun", bad(index(1, 2, [3, 1])), "a gap leads to place 4 of four"),
        ("gap-overrun", bad(index(1, 1, [0, 3, 3])), "a skip past the end"),
        ("gap-overrun", bad(index(1, 1, [2, 2])), "past the end, and one too many: the overrun is met first"),
        ("gap-overrun", bad(index(0x19, 2, [2, 3, 2], **rows), (3, 4)), "place 8 of eight, by columns"),
        ("gap-overrun", bad(index(7, 1, [254])), "a gap of 254 places"),
    ]  # fmt: skip


def codebooks() -> Invalid:
    """Section 8: four codes, all 0."""
    inf, nan, most = math.inf, math.nan, struct.unpack("<f", u32(0x7F7FFFFF))[0]

    def bad(codebook: bytes, dtype: int = FLOAT) -> bytes:
        return one(codebook + constant(0), SHARED, (4,), dtype)

    return [
        ("codebook-form", bad(b"\4\0" + floats(1)), "form 4"),
        ("codebook-form", one(index(1, 1, [0]) + b"\xff\0" + floats(1) + constant(0), SPARSE), "form 255"),
        ("truncated", one(b"\0"), "no count"),
        ("truncated", one(b"\0\xff" + bytes(1023)), "256 float entries, of which a byte is missing"),
        ("truncated", one(b"\2\1" + floats(1)), "a ramp without its step"),
        ("codebook-value", bad(half(0x7C00)), "an infinite half entry"),
        ("codebook-value", bad(half(0x3C00, 0x7E00)), "a NaN that no code uses"),
        ("codebook-value", bad(half(0x7D00)), "a signalling NaN"),
        ("codebook-value", bad(half(0xFC00), FLOAT16), "an infinite half entry of a float16 tensor"),
        ("codebook-value", bad(ramp(1, inf, 0)), "an infinite first"),
        ("codebook-value", bad(ramp(1, 1, nan)), "a step that is no number, and one entry"),
        ("codebook-value", bad(ramp(1, 1, -inf)), "an infinite step, and one entry"),
        ("codebook-value", bad(ramp(2, most, most)), "the last entry is beyond float32, and no code uses it"),
        ("codebook-value", bad(ramp(1, 65520, 0), FLOAT16), "the smallest number that rounds to an infinite float16"),
        ("codebook-value", bad(ramp(1, most, 0), BFLOAT16), "the largest float32 rounds to an infinite bfloat16"),
        ("codebook-value", one(b"\1\0\0\x7c", SHARED, (0,)), "an infinite half entry of a tensor without elements"),
    ]


def scales() -> Invalid:
    """Section 8.1: four codes, all 0, in 2 x 2 places."""
    inf, nan, most = math.inf, math.nan, struct.unpack("<f", u32(0x7F7FFFFF))[0]
    book, good = native([floats(1.0)]), step_scales([0, 1])

    def bad(axis: int, scales: bytes, book: bytes = book, dims: tuple[int, ...] = (2, 2), dtype: int = FLOAT) -> bytes:
        return one(scaled(book, axis, scales) + constant(0), SHARED, dims, dtype)

    return [
        ("codebook-form", one(bytes([0x84, 0]) + floats(1) + constant(0)), "form 4, with scales"),
        ("scale-axis", bad(2, good), "axis 2 of two"),
        ("scale-axis", bad(255, good), "axis 255"),
        ("scale-axis", bad(0, good, dims=()), "an axis of a scalar"),
        ("scale-axis", one(scaled(book, 1, b"\0" + constant(0)), SHARED, (0, 2**40)), "2^40 scales of no elements"),
        ("scale-form", bad(0, b"\2" + good[1:]), "form 2"),
        ("scale-form", bad(0, b"\xff" + floats(1, 1)), "form 255"),
        ("scale-value", bad(1, float_scales(1, 0)), "a scale of 0"),
        ("scale-value", bad(1, float_scales(-1, 1)), "a negative scale"),
        ("scale-value", bad(0, float_scales(1, inf)), "an infinite scale"),
        ("scale-value", bad(0, float_scales(nan, 1)), "a scale that is no number"),
        ("codebook-value", bad(0, float_scales(1, 2), native([floats(most)])), "the largest float32 times 2"),
        ("codebook-value", bad(0, good, native([floats(1.0), floats(inf)])), "an infinite entry that no code uses"),
        ("codebook-value", bad(0, step_scales([0, 255]), native([b"\0\x7b"]), dtype=FLOAT16), "too large for float16"),
        ("truncated", one(scaled(book, 0, b"")[:-1]), "no axis"),
        ("truncated", one(scaled(book, 0, b"")), "no scale form"),
        ("truncated", one(scaled(book, 0, b"\1" + bytes(15))), "a byte of four float32 scales is missing"),
        ("truncated", one(scaled(book, 0, b"\0\1\x08" + bytes(3))), "a byte of four steps is missing"),
        ("stream-form", bad(0, b"\0\3\0"), "steps in a stream of form 3"),
    ]  # fmt: skip


def fine_codebooks() -> Invalid:
    """Section 8.2: four codes, all 0."""
    inf, most = math.inf, struct.unpack("<f", u32(0x7F7FFFFF))[0]

    def bad(codebook: bytes, low: bytes = constant(0), dtype: int = FLOAT) -> bytes:
        return one(codebook + constant(0) + low, SHARED, (4,), dtype)

    return [
        ("low-bits", bad(fine(2, 0, 0, 1)), "no low bits"),
        ("low-bits", bad(fine(2, 9, 0, 1)), "nine low bits"),
        ("low-bits", one(fine(1, 255, 0, 1), SHARED, (0,)), "255 low bits of a tensor without elements"),
        ("truncated", one(fine(2, 1, 0, 1)[:-1]), "no low bits, and no more bytes"),
        ("truncated", bad(fine(2, 1, 0, 1), b""), "no stream of low bits"),
        ("truncated", bad(fine(2, 8, 0, 1), packed([0] * 4, 8)[:-1]), "one byte of low bits too few"),
        ("symbol-range", bad(fine(2, 1, 0, 1), constant(2)), "low bits of 2 where there is one"),
        ("symbol-range", bad(fine(2, 1, 0, 1), packed([0, 0, 0, 3], 2)), "packed low bits of 3 where there is one"),
        ("symbol-range", one(fine(2, 1, 0, 1) + constant(2) + constant(0)), "code 2 of two"),
        ("codebook-value", bad(fine(1, 1, most, most)), "the last entry is beyond float32, and nothing uses it"),
        ("codebook-value", bad(fine(1, 8, 65000, 2.5), dtype=FLOAT16), "the last entry is beyond float16"),
        ("codebook-value", bad(fine(1, 1, inf, 0)), "an infinite first"),
        ("codebook-value", bad(scaled(fine(1, 1, 0, most), 0, float_scales(1, 1, 1, 2))), "the largest entry times 2"),
        ("record-trailing", bad(fine(2, 1, 0, 1), constant(0) + b"\0"), "a byte after the low bits"),
    ]  # fmt: skip
