"""The valid files, section by section of FORMAT.md, and what their tensors decode to."""

import math
import struct
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto

from dcz.encoded import (
    ENCODINGS,
    Block,
    Codebook,
    Index,
    Pruned,
    RecordInfo,
    Shared,
    Sparse,
    Stored,
    Stream,
    encoding_name,
)
from dcz.format import directory, record
from dcz.tensor import DTYPES

from .parts import (
    BFLOAT16,
    BITS,
    DOUBLE,
    END,
    FLOAT,
    FLOAT16,
    INT8,
    INT64,
    PRUNED,
    SHARED,
    SPARSE,
    TWO,
    UINT2,
    UINT4,
    Tensor,
    W,
    build,
    constant,
    deflate,
    entry,
    fine,
    float_scales,
    floats,
    half,
    huffman,
    index,
    listing,
    native,
    packed,
    patterns,
    planes,
    ramp,
    reference,
    scaled,
    scattered,
    seal,
    segment,
    shared,
    sparse,
    step_scales,
    stored,
    table,
    varint,
)  # fmt: skip

Valid = tuple[str, bytes, list[Tensor]]


def valid() -> Iterator[Valid]:
    """(name, file, its tensors) for every valid file."""
    for section in (files, graphs, blocks, streams, indexes, codebooks, scales, fine_codebooks, writers):
        yield from section()


def plain_file(name: str, *tensors: Tensor, **rest) -> Valid:
    return name, build(*tensors, **rest), list(tensors)


def files() -> Iterator[Valid]:
    """Sections 2 and 3."""
    yield "taken-apart", *taken_apart()
    yield plain_file("no-tensors")
    metadata = [("writer", "by hand"), ("", ""), ("µ", "π ≈ 3\n\0"), ("M", "\U0001f9e0" * 64)]
    yield plain_file("metadata", metadata=metadata)
    yield plain_file("later-minor", W, minor=255)
    names = ["", " ", "../../up", "a/b\\c", "w\0", "ÿ", "y\u0308", "W", "w", "\n", "x" * 200]
    yield plain_file("names", *[W._replace(name=name) for name in names])
    directory = listing([entry(W._replace(name="w" * 90))])
    yield "deflated-directory", seal(deflate(directory), W.record, plain=len(directory)), [W._replace(name="w" * 90)]
    scalar = floats(-0.5)
    yield plain_file(
        "scalar",
        stored("stored", FLOAT, (), scalar),
        shared("shared", native([scalar]), [scalar], [0], constant(0), dims=()),
        Tensor("sparse", FLOAT, (), SPARSE, index(1, 1, [0]) + native([scalar]) + constant(0), scalar),
        Tensor("sparse zero", FLOAT, (), SPARSE, index(1, 0, []), bytes(4)),
        Tensor("pruned", FLOAT, (), PRUNED, index(1, 1, [0]) + b"\0" + scalar, scalar),
    )
    ones = (1,) * 254
    yield plain_file(
        "rank-255",
        stored("stored", FLOAT, (*ones, 2), floats(1, 2)),
        sparse("sparse", (*ones, 2), [1], index(1, 1, [1])),
    )
    huge = (2**40, 0, 2**17)  # with 1 in place of 0, and 32 bits an element, just below 2^63
    empty_deflated = b"\1" + deflate(b"")
    yield plain_file(
        "zero-dims",
        stored("plain", FLOAT, (0,), b""),
        stored("deflated", FLOAT, (3, 0), b"", empty_deflated),
        stored("planes", FLOAT, huge, b"", b"\2" + deflate(b"")),
        stored("bits", UINT4, (0, 7), b""),
        shared("shared", native(TWO), TWO, [], b"", dims=(0, 3)),
        sparse("sparse", (0, 5), [], index(1, 0, [])),
        sparse("bitmaps", (9, 0), [], index(0x31, 0, [], rows=b"\xff\xff")),
        sparse("huge", huge, [], index(9, 0, [])),
        Tensor("pruned", FLOAT, (1, 0), PRUNED, index(1, 0, []) + b"\0", b""),
    )
    most = (3 * 65536 // 4,)  # for a record of three bytes
    yield plain_file("expansion-edge", sparse("w", most, [], index(1, 0, [])))


def taken_apart() -> tuple[bytes, list[Tensor]]:
    """The file of section 12, whose stream and index are the examples of sections 6 and 7."""
    gaps = huffman([2, 3, 3, 3, 1, 0, 1, 3, 3, 0], {0: 3, 1: 3, 2: 3, 3: 1, END: 3}, 3, [3, 3, 3, 1, 1])
    codes = packed([1, 0, 1, 1, 0], 1)
    record = bytes([0x01, 5, 10]) + gaps + half(0xBC00, 0x3800) + codes
    values = [floats(value) for value in (0.5, -1, 0.5, 0.5, -1)]
    tensor = Tensor("w", FLOAT, (4, 6), SPARSE, record, scattered(24, [2, 13, 14, 16, 23], values))
    proto = ModelProto(graph=GraphProto(initializer=[reference("w", FLOAT, (4, 6), "raw_data", "0")]))
    return build(tensor, metadata=[("writer", "me")], graph=proto.SerializeToString(deterministic=True)), [tensor]


def graphs() -> Iterator[Valid]:
    """Section 4."""
    proto, tensors = model(lifted=True)
    graph = proto.SerializeToString(deterministic=True)
    yield plain_file("model", *tensors, graph=graph)
    proto.doc_string = "na " * 100
    graph = proto.SerializeToString(deterministic=True)
    directory = listing([entry(tensor) for tensor in tensors], graph=deflate(graph), graph_size=len(graph))
    records = b"".join(tensor.record for tensor in tensors)
    yield "deflated-graph", seal(directory, deflate(graph) + records), tensors
    proto, tensors = transposed(lifted=True)
    yield plain_file("transposed", *tensors, graph=proto.SerializeToString(deterministic=True), minor=1)


def transposed(lifted: bool) -> tuple[ModelProto, list[Tensor]]:
    """Matrices that are held twice, once transposed: as they were (not `lifted`), and as a file's graph has them."""
    wide, tall = floats(1, 2, 3, 4, 5, 6), floats(1, 4, 2, 5, 3, 6)
    square = (b"\1\2\3\4", b"\1\3\2\4")
    graph = GraphProto(name="g")
    for name, dtype, dims, field, value, data in (
        ("wide", FLOAT, [2, 3], "raw_data", "0", wide),
        ("tall", FLOAT, [3, 2], "raw_data", "0T", tall),
        ("typed", FLOAT, [3, 2], "float_data", "0T", tall),
        ("square", INT8, [2, 2], "raw_data", "1", square[0]),
        ("turned", INT8, [2, 2], "raw_data", "1T", square[1]),
    ):
        if lifted:
            graph.initializer.append(reference(name, dtype, dims, field, value))
            continue
        proto = TensorProto(name=name, data_type=dtype, dims=dims)
        if field == "raw_data":
            proto.raw_data = data
        else:
            proto.float_data.extend(struct.unpack("<6f", data))
        graph.initializer.append(proto)
    model = ModelProto(ir_version=8, graph=graph, opset_import=[OperatorSetIdProto(version=17)])
    return model, [stored("wide", FLOAT, (2, 3), wide), stored("square", INT8, (2, 2), square[0])]


def model(lifted: bool) -> tuple[ModelProto, list[Tensor]]:
    """A model with a tensor for each kind of reference: as it was (not `lifted`), and as a file's graph has it."""
    values = {
        "raw": (FLOAT, "raw_data", floats(1, 2)),
        "typed": (FLOAT, "float_data", floats(1, 2)),  # in the same record
        "double": (DOUBLE, "double_data", struct.pack("<d", 0.1)),
        "int32": (6, "int32_data", struct.pack("<3i", -1, 0, 7)),
        "half": (FLOAT16, "int32_data", struct.pack("<2H", 0x3C00, 0xFC00)),
        "brain": (BFLOAT16, "int32_data", struct.pack("<2H", 0x3F80, 0x7FC1)),
        "int64": (INT64, "int64_data", struct.pack("<q", -(2**63))),
        "inside": (INT8, "raw_data", b"\1\2\3"),
        "floats": (FLOAT, "floats", floats(0.5, -0.0, 3)),
    }
    records = [name for name in values if name != "typed"]
    codes = {"float_data": "f", "double_data": "d", "int32_data": "i", "int64_data": "q", "floats": "f"}

    def tensor_proto(name: str) -> TensorProto:
        dtype, field, data = values[name]
        count = len(data) * 8 // BITS[dtype]
        if lifted:
            number = records.index("raw" if name == "typed" else name)
            return reference("" if field == "floats" else name, dtype, [count], field, str(number))
        proto = TensorProto(name=name, data_type=dtype, dims=[count])
        if field == "raw_data":
            proto.raw_data = data
        else:
            code = "H" if BITS[dtype] == 16 else codes[field]
            getattr(proto, field).extend(struct.unpack(f"<{count}{code}", data))
        return proto

    branch = GraphProto(name="branch", initializer=[tensor_proto("inside")])
    of_floats = AttributeProto(name="value_floats")
    if lifted:
        of_floats.type = AttributeProto.TENSOR
        of_floats.t.CopyFrom(tensor_proto("floats"))
    else:
        of_floats.type = AttributeProto.FLOATS
        of_floats.floats.extend(struct.unpack("<3f", values["floats"][2]))
    then = AttributeProto(name="then_branch", type=AttributeProto.GRAPH, g=branch)
    nodes = [
        NodeProto(op_type="Constant", output=["floats"], attribute=[of_floats]),
        NodeProto(op_type="If", input=["raw"], output=["if"], attribute=[then]),
    ]
    outside = ("raw", "typed", "double", "int32", "half", "brain", "int64")
    graph = GraphProto(name="g", node=nodes, initializer=[tensor_proto(name) for name in outside])
    graph.initializer.append(TensorProto(name="small", data_type=FLOAT, dims=[1], raw_data=floats(7)))
    proto = ModelProto(ir_version=8, graph=graph, opset_import=[OperatorSetIdProto(version=17)])
    tensors = [stored(name, dtype, (len(data) * 8 // BITS[dtype],), data) for name, (dtype, _, data) in values.items()]
    return proto, [tensor for tensor in tensors if tensor.name in records]


# DEFLATE's own variety: a block of no bytes as it is, one of "abc", and a dynamic one of 30 bytes, made by zlib once.
KINDS_PLAIN = b"abc" + bytes(255 - i * i // 9 % 7 for i in range(30))
KINDS = bytes.fromhex("00 0000 FFFF 00 0300 FCFF 616263 0dc2810d003008c3b0ff4f862e0d93adb6642543fcba183a9bc701")


def blocks() -> Iterator[Valid]:
    """Section 5: every type, every method, and `pruned`, whose values are a block."""
    elements = {code: bytes(range(1, 1 + -(-3 * bits // 8))) for code, bits in BITS.items()}
    yield plain_file("dtypes", *[stored(f"dtype {code}", code, (3,), data) for code, data in elements.items()])
    junk = [("2 bits", UINT2, (5,), b"\xff\xff"), ("4 bits", UINT4, (3,), b"\xff\xff"), ("bool", 9, (2,), b"\x02\xff")]
    yield plain_file("unused-bits", *[stored(*tensor) for tensor in junk])
    data = floats(*[1.0 + i / 8 for i in range(40)])
    yield plain_file(
        "blocks",
        stored("plain", FLOAT, (40,), data),
        stored("deflated", FLOAT, (5, 8), data, b"\1" + deflate(data)),
        stored("planes", FLOAT, (40,), data, b"\2" + deflate(planes(data, 4))),
        stored("deflated int8", INT8, (160,), data, b"\1" + deflate(data)),
        stored("deflated int4", 22, (319,), data, b"\1" + deflate(data)),
        stored("kinds", INT8, (33,), KINDS_PLAIN, b"\1" + KINDS),
    )
    for_planes = [(code, BITS[code] // 8, bytes(range(BITS[code] // 2))) for code in BITS if BITS[code] >= 16]
    tensors = [stored(f"dtype {c}", c, (4,), d, b"\2" + deflate(planes(d, size))) for c, size, d in for_planes]
    yield plain_file("planes", *tensors)

    exact = patterns(4, 0x80000000, 0x7FA12345, 0x00000000)  # -0.0, a signalling NaN, a kept zero
    full = scattered(6, [0, 3, 5], exact)
    kept = b"".join(exact)
    tensors = [
        Tensor(name, FLOAT, (2, 3), PRUNED, index(1, 3, [0, 2, 1]) + block, full)
        for name, block in [
            ("plain", b"\0" + kept),
            ("deflated", b"\1" + deflate(kept)),
            ("planes", b"\2" + deflate(planes(kept, 4))),
        ]
    ]
    nothing = [("nothing plain", b"\0"), ("nothing deflated", b"\1" + deflate(b"")), ("nothing in planes", b"\2\3\0")]
    tensors += [Tensor(name, FLOAT, (9,), PRUNED, index(1, 0, []) + block, bytes(36)) for name, block in nothing]
    for code, size in ((FLOAT16, 2), (BFLOAT16, 2), (DOUBLE, 8)):
        value = bytes(range(0xA0, 0xA0 + size))
        data = scattered(4, [2], [value], size)
        tensors.append(Tensor(f"dtype {code}", code, (2, 2), PRUNED, index(9, 1, [1]) + b"\0" + value, data))
    yield plain_file("pruned", *tensors)


def counting(name: str, alphabet: int, codes: Sequence[int], stream: bytes) -> Tensor:
    """A float16 tensor whose elements are its codes."""
    entries = [struct.pack("<e", code) for code in range(alphabet)]
    return shared(name, ramp(alphabet, 0, 1), entries, codes, stream, FLOAT16)


def streams() -> Iterator[Valid]:
    """Section 6."""
    yield plain_file(
        "stream-constant",
        counting("code 0 of 1", 1, [0] * 5, constant(0)),
        counting("code 3 of 4", 4, [3] * 7, constant(3)),
        counting("code 255 of 256", 256, [255], constant(255)),
    )
    tensors = []
    for width in range(1, 9):
        codes = [i * 37 % 2**width for i in range(11)]
        tensors.append(counting(f"width {width}", 2**width, codes, packed(codes, width, fill="1")))
    tensors.append(counting("3 symbols", 3, [2, 0, 1], packed([2, 0, 1], 2)))
    tensors.append(counting("wider than needed", 2, [1, 0, 1, 1], packed([1, 0, 1, 1], 7)))
    yield plain_file("stream-packed", *tensors)

    two, five = {0: 1, END: 1}, {0: 2, 1: 2, 2: 2, END: 2}
    gap = {0: 1, 40: 2, END: 2}  # symbols 1 to 39 have no word: runs of 17, 17 and 5 zeros
    short, long = [0, 0, 1, 0], [0, 1, 2, 1, 0, 2, 2]
    pair = {0: 1, 1: 3, 2: 3, END: 2}
    less = {0: 1, 1: 2, END: 2}
    coded = segment([*short, END], less)
    filled = segment([*short, END], less, fill="1")
    assert coded != filled
    yield plain_file(
        "stream-huffman",
        counting("one symbol", 1, [0] * 9, huffman([0] * 9, two, 0, [1, 1])),
        counting("a run at the end", 3, long, huffman(long, five, 2, [2, 2, 2, 1])),
        counting("a run of none at the end", 3, long, huffman(long, pair, 2, [2, 1, 3, 3, 0])),
        counting("runs of zero", 41, [40, 0, 40], huffman([40, 0, 40], gap, 40, [2, 1, *[0, 0, 15] * 2, 0, 0, 3, 2])),
        counting("no word for the last", 6, short, huffman(short, less, 5, [2, 1, 2, 0, 0, 2])),
        # e takes no part in runs: it equals the first length, and no run nibble follows.
        counting("e and the first alike", 2, [1, 0], huffman([1, 0], {0: 2, 1: 1, END: 2}, 1, [2, 2, 1])),
        counting("unused half byte", 2, short, table(1, [2, 1, 2], fill=15) + varint(len(coded)) + coded),
        counting("unused bits", 2, short, table(1, [2, 1, 2]) + varint(len(filled)) + filled),
        counting("a whole number of bytes", 2, [0] * 6, huffman([0] * 6, less, 1, [2, 1, 2])),
    )
    long_words = {symbol: symbol + 1 for symbol in range(14)} | {14: 15, END: 15}
    codes = [14, 0, 13, 1, 14, 14]
    yield plain_file("huffman-15-bits", counting("w", 15, codes, huffman(codes, long_words, 14, [15, *range(1, 16)])))
    all_words = dict.fromkeys(range(255), 8) | {255: 9, END: 9}
    codes = [255, 0, 128, 254, 255]
    nibbles = [9, *[8, 8, 15] * 15, 9]
    yield plain_file("huffman-256-symbols", counting("w", 256, codes, huffman(codes, all_words, 255, nibbles)))

    count = 2**18
    codes = bytearray(count + 3)
    codes[1], codes[count - 1], codes[count], codes[count + 2] = 1, 1, 1, 1
    segments = [segment([*part, END], less) for part in (codes[:count], codes[count:])]
    stream = table(1, [2, 1, 2]) + b"".join(varint(len(part)) for part in segments) + b"".join(segments)
    yield plain_file("huffman-two-segments", counting("w", 2, codes, stream))


def indexes() -> Iterator[Valid]:
    """Section 7."""
    yield plain_file(
        "index-orders",
        sparse("rows", (2, 5), [1, 3, 9], index(0x01, 3, [1, 1, 3, 2])),
        sparse("columns", (2, 5), [1, 6, 4], index(0x09, 3, [2, 0, 3, 1])),
        sparse("three dims", (2, 3, 4), [12, 2, 23], index(0x0A, 3, [1, 2, 7, 7, 4])),
        sparse("leading ones, columns", (1, 1, 3, 4), [8, 1, 11], index(0x0A, 3, [2, 0, 7, 0])),
        sparse("a leading one", (1, 5), [0, 4], index(0x09, 2, [0, 3, 0])),
        sparse("ones inside", (2, 1, 3), [3, 5], index(0x09, 2, [1, 3, 0])),
        sparse("only ones", (1, 1), [0], index(0x07, 1, [0])),
    )
    yield plain_file(
        "index-bitmaps",
        sparse("rows", (4, 3), [2, 6], index(0x11, 2, [2, 0], rows=b"\xf5")),
        sparse("columns", (2, 10), [9, 10], index(0x21, 2, [1, 0], columns=b"\x01\xfe")),
        sparse("both, by columns", (3, 9), [21, 17, 26], index(0x39, 3, [1, 0, 0], rows=b"\x06", columns=b"\x08\x01")),
        sparse("both, by rows", (3, 9), [17, 21, 26], index(0x31, 3, [1, 0, 0], rows=b"\x06", columns=b"\x08\x01")),
        sparse("all set", (2, 2), [3], index(0x32, 1, [3], rows=b"\x03", columns=b"\x03")),
        sparse("none set", (2, 2), [], index(0x31, 0, [], rows=b"\xfc", columns=b"\x03")),
    )
    widths = []
    for width in range(2, 9):
        skips, rest = divmod(598, 2**width - 1)
        gaps = [0, *[2**width - 1] * skips, rest]
        widths.append(sparse(f"{width} bits", (600,), [0, 599], index(width - 1, 2, gaps)))
    yield plain_file("index-widths", *widths)
    gaps = [1, 0, 3, 3, 3, 0, 3, 1, 0]
    places = [1, 2, 12, 17, 18]
    lengths = {0: 2, 1: 3, 3: 1, END: 3}
    yield plain_file(
        "index-streams",
        sparse("nothing", (3, 3), [], index(0x01, 0, [])),
        sparse("everything", (2, 2), [0, 1, 2, 3], index(0x01, 4, [0] * 4, stream=constant(0))),
        sparse("every third", (3, 3), [2, 5, 8], index(0x01, 3, [2] * 3, stream=constant(2))),
        sparse("packed", (19,), places, index(0x01, 5, gaps)),
        sparse("huffman", (19,), places, index(0x01, 5, gaps, stream=huffman(gaps, lengths, 3, [3, 2, 3, 0, 1]))),
        sparse("packed wider", (19,), places, index(0x01, 5, gaps, stream=packed(gaps, 8))),
        sparse("the last place after skips", (10,), [9], index(0x01, 1, [3, 3, 3, 0])),
    )


def codebooks() -> Iterator[Valid]:
    """Section 8: each form for each type."""
    exact = {  # -0.0, a NaN with a payload, an infinity, the smallest subnormal
        FLOAT: patterns(4, 0x80000000, 0x7FA12345, 0xFF800000, 1),
        FLOAT16: patterns(2, 0x8000, 0x7D23, 0xFC00, 1),
        BFLOAT16: patterns(2, 0x8000, 0x7FA1, 0xFF80, 1),
        DOUBLE: patterns(8, 0x8000000000000000, 0x7FF4000000012345, 0xFFF0000000000000, 1),
    }
    codes = [3, 0, 1, 2, 0]
    stream = packed(codes, 2)
    tensors = [shared(f"dtype {code}", native(e), e, codes, stream, code) for code, e in exact.items()]
    one = patterns(4, 0xFFFFFFFF)
    yield plain_file("codebook-native", *tensors, shared("one entry", native(one), one, [0, 0], constant(0)))

    # 0.1, -0.0, the largest, the smallest, and 1 + 2^-8 and 1 + 3 * 2^-8, which lie between two bfloat16.
    halves = 0x2E66, 0x8000, 0x7BFF, 0x0001, 0x3C04, 0x3C0C
    rounded = {
        FLOAT: patterns(4, 0x3DCCC000, 0x80000000, 0x477FE000, 0x33800000, 0x3F808000, 0x3F818000),
        FLOAT16: patterns(2, *halves),
        BFLOAT16: patterns(2, 0x3DCD, 0x8000, 0x4780, 0x3380, 0x3F80, 0x3F82),
        DOUBLE: [struct.pack("<d", value) for value in struct.unpack("<6e", struct.pack("<6H", *halves))],
    }
    codes = [0, 1, 2, 3, 4, 5]
    tensors = [shared(f"dtype {c}", half(*halves), e, codes, packed(codes, 3), c) for c, e in rounded.items()]
    yield plain_file("codebook-half", *tensors)

    first, step = struct.unpack("<ff", floats(-0.1, 0.0007))
    steps = [first + i * step for i in range(256)]
    single = [struct.pack("<f", value) for value in steps]
    every = packed(range(256), 8)
    tie, high = 1 + 2**-8, float(2**127)
    codes = [0, 1, 2]
    tensors = [
        shared("float", ramp(256, first, step), single, range(256), every),
        shared("double", ramp(256, first, step), [struct.pack("<d", v) for v in steps], range(256), every, DOUBLE),
        # Rounding once: by way of float32 this would be a tie, and come out as 3C00.
        shared("float16", ramp(2, 1 + 2**-11, 2**-40), patterns(2, 0x3C00, 0x3C01), [0, 1], packed([0, 1], 1), FLOAT16),
        # Rounding twice: entry 1 is a little above a tie in float64, and the tie itself in float32.
        shared("bfloat16", ramp(3, tie, 2**-30), patterns(2, *[0x3F80] * 3), codes, packed(codes, 2), BFLOAT16),
        # Entry 0 is computed too: -0.0 + 0 * 1 is +0.0, and -0.0 + 0 * -1 is -0.0.
        shared("minus zero", ramp(2, -0.0, 1), patterns(4, 0, 0x3F800000), [0, 1], packed([0, 1], 1)),
        shared("minus both", ramp(2, -0.0, -1), patterns(4, 1 << 31, 0xBF800000), [0, 1], packed([0, 1], 1)),
        shared("almost infinite", ramp(2, high, 0.5 * high), patterns(4, 0x7F000000, 0x7F400000), [1], constant(1)),
        shared("a step of nothing", ramp(2, 3, 0), [floats(3)] * 2, [1, 0], packed([1, 0], 1)),
    ]
    yield plain_file("codebook-ramp", *tensors)


def scales() -> Iterator[Valid]:
    """Section 8.1: along each axis, in each form, of each type; dense and sparse."""
    codes = [0, 1, 2, 2, 0, 1]
    example = scaled(ramp(3, -1, 1), 0, step_scales([0, 19], 5))
    data = floats(-8, 0, 8, 44, -44, 0)
    taken_apart = Tensor("w", FLOAT, (2, 3), SHARED, example + packed(codes, 2), data)
    yield plain_file("scales-taken-apart", taken_apart, minor=1)

    dims, ternary = (2, 2, 3), [0, 1, 2, 1, 2, 0, 2, 0, 1, 0, 1, 2]
    values = [-1.0, 0.25, 3.0]
    tensors = []
    for axis, factors in enumerate([[8.0, 15 * 2.0**31], [9.0, 10 * 2.0**7], [0.1, 1.0, 1e-30]]):
        inner = math.prod(dims[axis + 1 :])
        exact = [struct.unpack("<f", floats(factor))[0] for factor in factors]
        spelled = [step_scales([0, 255]), step_scales([1, 58]), float_scales(*factors)][axis]
        numbers = [values[code] * exact[number // inner % dims[axis]] for number, code in enumerate(ternary)]
        record = scaled(native([floats(value) for value in values]), axis, spelled) + packed(ternary, 2)
        tensors.append(Tensor(f"axis {axis}", FLOAT, dims, SHARED, record, floats(*numbers)))
    every = scaled(native([floats(1.0)]), 0, step_scales(range(256)))
    numbers = [float((8 + step % 8) * 2 ** (step // 8)) for step in range(256)]
    tensors.append(Tensor("every step", FLOAT, (256,), SHARED, every + constant(0), floats(*numbers)))
    same = scaled(native([floats(-0.0), floats(2.0)]), 1, b"\0" + constant(7))
    tensors.append(Tensor("one step", FLOAT, (1, 2), SHARED, same + packed([0, 1], 1), floats(-0.0, 30.0)))
    yield plain_file("scales", *tensors, minor=1)

    third = struct.unpack("<f", floats(1 / 3))[0]
    halves = [struct.pack("<e", value) for value in (0.1, -2.0)]
    tenth = struct.unpack("<e", halves[0])[0]
    halved = half(0x2E66, 0xC000)
    ramped = ramp(2, 1 + 2**-20, 2**-21)  # entries that are not rounded to bfloat16 or float16 before they are scaled
    tensors = [
        Tensor("float16", FLOAT16, (2,), SHARED, scaled(native(halves), 0, float_scales(third, 3)) + packed([0, 1], 1),
               struct.pack("<ee", tenth * third, -6.0)),
        Tensor("double", DOUBLE, (2,), SHARED, scaled(halved, 0, float_scales(third, 3)) + packed([0, 1], 1),
               struct.pack("<dd", tenth * third, -6.0)),
        Tensor("bfloat16", BFLOAT16, (2,), SHARED, scaled(ramped, 0, float_scales(2**20, 2**20)) + packed([0, 1], 1),
               b"".join(patterns(2, 0x4980, 0x4980))),
        Tensor("ramp", FLOAT16, (1, 2), SHARED, scaled(ramped, 1, float_scales(2**11, 2**11)) + packed([0, 1], 1),
               struct.pack("<ee", 2048, 2048)),
    ]  # fmt: skip
    yield plain_file("scales-of-each-type", *tensors, minor=1)

    kept = [1, 4, 6, 11]  # of 3 x 4 places, by columns: 4 1 6 11
    by_columns = index(0x09, 4, [1, 1, 3, 0, 3, 0])
    rows = scaled(native(TWO), 0, step_scales([0, 8, 16]))
    numbers = {4: 1.0 * 16, 1: -2.0 * 8, 6: 1.0 * 16, 11: -2.0 * 32}
    sparse_data = floats(*[numbers.get(number, 0.0) for number in range(12)])
    tensor = Tensor("sparse", FLOAT, (3, 4), SPARSE, by_columns + rows + packed([0, 1, 0, 1], 1), sparse_data)
    assert sorted(numbers) == kept
    empty = Tensor("nothing kept", FLOAT, (3, 4), SPARSE, index(1, 0, []), bytes(48))
    yield plain_file("scales-sparse", tensor, empty, minor=1)


def fine_codebooks() -> Iterator[Valid]:
    """Section 8.2: of each number of low bits and each type, dense and sparse, with scales and without."""
    codes, low = [0, 2, 2, 1], [0, 3, 0, 1]
    record = fine(3, 2, -4, 0.5) + packed(codes, 2) + packed(low, 2)
    yield plain_file("fine-taken-apart", Tensor("w", FLOAT, (4,), SHARED, record, floats(-4, 1.5, 0, -1.5)), minor=1)

    tensors = []
    for low_bits in range(1, 9):
        high, below = [0, 255, 128], [0, (1 << low_bits) - 1, 1]
        numbers = [code << low_bits | bits for code, bits in zip(high, below, strict=True)]
        record = fine(256, low_bits, -1, 2**-20) + packed(high, 8) + packed(below, low_bits)
        data = floats(*[-1 + number * 2**-20 for number in numbers])
        tensors.append(Tensor(f"{low_bits} bits", FLOAT, (3,), SHARED, record, data))
    coded, tenth = packed([0, 1], 1) + constant(1), struct.unpack("<f", floats(0.1))[0]
    tensors += [
        Tensor("float16", FLOAT16, (2,), SHARED, fine(2, 1, 1, 2**-11) + coded,  # ties go to even
               struct.pack("<ee", 1, 1 + 3 * 2**-11 + 2**-11)),
        Tensor("bfloat16", BFLOAT16, (2,), SHARED, fine(2, 1, 1, 1) + coded, b"".join(patterns(2, 0x4000, 0x4080))),
        Tensor("double", DOUBLE, (2,), SHARED, fine(2, 1, 0, 0.1) + coded,
               struct.pack("<dd", tenth, 3 * tenth)),
        Tensor("one code", FLOAT, (2,), SHARED, fine(1, 1, 0, 1) + constant(0) + packed([0, 1], 1), floats(0, 1)),
        Tensor("no elements", FLOAT, (0,), SHARED, fine(2, 3, 0, 1), b""),
    ]  # fmt: skip
    yield plain_file("fine", *tensors, minor=1)

    by_columns = index(0x09, 4, [1, 1, 3, 0, 3, 0])  # of 3 x 4 places, by columns: 4 1 6 11
    values = {4: -1.0, 1: -0.5, 6: 0.0, 11: 0.5}
    coded = packed([0, 0, 1, 1], 1) + packed([0, 1, 0, 1], 1)
    data = floats(*[values.get(number, 0.0) for number in range(12)])
    rows = scaled(fine(2, 1, -1, 0.5), 0, step_scales([0, 8, 16]))
    scaled_data = floats(*[values.get(number, 0.0) * (8, 16, 32)[number // 4] for number in range(12)])
    yield plain_file(
        "fine-sparse",
        Tensor("sparse", FLOAT, (3, 4), SPARSE, by_columns + fine(2, 1, -1, 0.5) + coded, data),
        Tensor("scaled", FLOAT, (3, 4), SPARSE, by_columns + rows + coded, scaled_data),
        Tensor("nothing kept", FLOAT, (3, 4), SPARSE, index(1, 0, []), bytes(48)),
        minor=1,
    )


def writers() -> Iterator[Valid]:
    """What dcz itself writes for values given to it."""
    columns = np.array([1, 0, 1, 1], bool)
    places = Index(2, False, None, columns, 3, Stream("packed", 4, width=2, segments=(b"\x0d",)))  # 1 3 0 0
    codes = [0, 1, 1, 1, 2, 0] * 12
    lengths = np.zeros(END + 1, np.uint8)
    lengths[[0, 1, 2, END]] = 2, 1, 3, 3
    coded = Stream("huffman", 72, lengths=lengths, segments=(segment([*codes, END], {0: 2, 1: 1, 2: 3, END: 3}),))
    single = Codebook("native", 1, floats(1.5))
    steps, thirds = Codebook("ramp", 3, first=-1.0, step=0.75), [floats(-1 + i * 0.75) for i in range(3)]
    exact, same = patterns(2, 1, 2, 3), [floats(1.5)] * 3
    plain = Block("plain", b"".join(exact))
    encoded = [
        ("a", FLOAT16, (3,), Stored(plain), b"".join(exact)),
        ("b", FLOAT, (8, 9), Shared(steps, coded), b"".join(thirds[code] for code in codes)),
        ("c", FLOAT, (3, 4), Sparse(places, single, Stream("constant", 3)), scattered(12, [2, 7, 8], same)),
        ("d", BFLOAT16, (3, 4), Pruned(places, plain), scattered(12, [2, 7, 8], exact, 2)),
    ]
    tensors, entries = [], []
    for name, dtype, dims, value, data in encoded:
        written, encoding = record.write(value), ENCODINGS.index(encoding_name(value))
        tensors.append(Tensor(name, dtype, dims, encoding, written, data))
        crcs = zlib.crc32(written), zlib.crc32(data)
        entries.append(directory.Entry(name, DTYPES[dtype], dims, RecordInfo(encoding, len(written), *crcs)))
    head = directory.write_head(b"", {"writer": "dcz"}, entries)
    assert head[12:16] == head[16:20], "zlib has had a hand in these bytes"
    yield "writer", head + b"".join(tensor.record for tensor in tensors), tensors
