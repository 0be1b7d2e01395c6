"""Records: exact bytes of every encoding, reading them back, and refusals while reading."""

import numpy as np
import pytest

from dcz.encoded import (
    ENCODINGS,
    END,
    SEGMENT,
    Block,
    Codebook,
    Encoded,
    Index,
    Pruned,
    Shared,
    Sparse,
    Stored,
    Stream,
    encoding_name,
)
from dcz.errors import CorruptFile
from dcz.format import record
from dcz.tensor import BFLOAT16, DTYPES, FLOAT16, FLOAT32, FLOAT64

INT8 = DTYPES[3]
ONE = Codebook("native", 1, bytes.fromhex("0000803F"))
RAMP = Codebook("ramp", 3, first=-1.0, step=0.5)
NONE = Stream("constant", 0)


def constant(count: int, symbol: int = 0) -> Stream:
    return Stream("constant", count, symbol=symbol)


def packed(count: int, width: int, coded: str) -> Stream:
    return Stream("packed", count, width=width, segments=(bytes.fromhex(coded),))


def huffman(count: int, lengths: dict[int, int], *segments: bytes) -> Stream:
    table = np.zeros(END + 1, np.uint8)
    for symbol, length in lengths.items():
        table[symbol] = length
    return Stream("huffman", count, lengths=table, segments=segments)


BITMAP = np.array([1, 0, 0, 1], bool)
SOME = Index(2, False, None, None, 2, packed(3, 2, "1D"))

# Shapes are (8,) or (4, 2).
KNOWN = {
    "stored": (Stored(Block("plain", b"\1\2")), INT8, "00 01 02"),
    "stored deflated": (Stored(Block("deflated", b"\3\0")), INT8, "01 03 00"),
    "stored in planes": (Stored(Block("planes", b"\3\0")), FLOAT16, "02 03 00"),
    "shared, one value": (Shared(ONE, constant(8)), FLOAT32, "00 00 0000803F  00 00"),
    "shared, half": (
        Shared(Codebook("half", 2, bytes.fromhex("00BC 0038")), packed(8, 1, "A5")), FLOAT32,
        "01 01 00BC 0038  01 01 A5",
    ),
    "shared, ramp": (
        Shared(RAMP, huffman(8, {0: 2, 1: 2, 2: 2, END: 2}, b"\xe4\xe4\0")), FLOAT64,
        "02 02 000080BF 0000003F  02 02 22 12 03 E4E400",
    ),
    "sparse": (
        Sparse(SOME, Codebook("native", 2, bytes.fromhex("0100 0200")), packed(2, 1, "02")), BFLOAT16,
        "01 02 03 01 02 1D  00 01 0100 0200  01 01 02",
    ),
    "sparse, nothing kept": (Sparse(Index(8, True, None, None, 0, NONE), None, None), FLOAT32, "0F 00 00"),
    "sparse, compact": (
        Sparse(Index(3, True, BITMAP, np.array([1, 0], bool), 1, constant(1, 1)), ONE, constant(1)), FLOAT32,
        "3A 09 01 01 01 00 01  00 00 0000803F  00 00",
    ),
    "pruned": (Pruned(SOME, Block("plain", b"\1\0\2\0")), FLOAT16, "01 02 03 01 02 1D  00 0100 0200"),
    "pruned, nothing kept": (
        Pruned(Index(2, False, BITMAP, None, 0, NONE), Block("plain", b"")), FLOAT16, "11 09 00 00  00",
    ),
}  # fmt: skip


def same(one, other) -> bool:
    """Equality of frozen values, which may hold arrays."""
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, (bytes, memoryview)):
        return bytes(one) == bytes(other)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if hasattr(one, "__dataclass_fields__"):
        fields = [(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__]
        return type(one) is type(other) and all(same(*pair) for pair in fields)
    return one == other


def read(encoded: Encoded | None, coded: bytes, dtype=FLOAT32, shape=(4, 2), encoding: str = "") -> Encoded:
    encoding = encoding or encoding_name(encoded)
    return record.read(coded, ENCODINGS.index(encoding), dtype, shape)


@pytest.mark.parametrize("case", KNOWN)
def test_an_encoding_has_these_bytes_and_comes_back_from_them(case):
    encoded, dtype, coded = KNOWN[case]
    coded = bytes.fromhex(coded)
    assert record.write(encoded) == coded
    assert same(read(encoded, coded, dtype), encoded)


@pytest.mark.parametrize("case", KNOWN)
def test_the_parts_of_a_record_are_its_bytes(case):
    encoded, _, coded = KNOWN[case]
    parts = record.parts(encoded)
    assert b"".join(part for _, part in parts) == bytes.fromhex(coded)
    assert {purpose for purpose, _ in parts} <= {"weights", "index", "codebook", "tables"}


@pytest.mark.parametrize("case", [case for case in KNOWN if not case.startswith(("stored", "pruned"))])
def test_a_record_cut_anywhere_is_truncated_and_a_longer_one_has_bytes_left(case):
    encoded, dtype, coded = KNOWN[case]
    coded = bytes.fromhex(coded)
    for size in range(len(coded)):
        assert refusal(encoded, coded[:size], dtype) == "truncated", size
    assert refusal(encoded, coded + b"\0", dtype) == "record-trailing"


def refusal(encoded: Encoded | None, coded: bytes, dtype=FLOAT32, shape=(4, 2), encoding: str = "") -> str:
    with pytest.raises(CorruptFile) as error:
        read(encoded, coded, dtype, shape, encoding)
    return error.value.reason


@pytest.mark.parametrize(
    ("lengths", "table"),
    [
        ({0: 1, END: 1}, "00 11"),
        ({0: 2, 1: 1, END: 2}, "01 22 01"),  # e and the first length are alike, and no run
        ({0: 1, 1: 3, 2: 3, END: 2}, "02 12 33 00"),  # two alike at the very end: a run of none
        ({0: 2, 1: 2, 2: 2, END: 2}, "02 22 12"),  # three alike
        ({0: 1, 18: 2, END: 2}, "12 12 00 2F"),  # 17 zeros: the longest run
        ({0: 1, 19: 2, END: 2}, "13 12 00 0F 02"),  # 18: one more, that begins anew
        ({0: 1, 20: 2, END: 2}, "14 12 00 0F 00 02"),  # 19: and two more, with a run of none
    ],
)
def test_a_code_table_has_these_bytes(lengths, table):
    stream = huffman(8, lengths, b"\0")
    coded = record.write(Shared(RAMP, stream))[10:]
    assert coded == b"\2" + bytes.fromhex(table) + b"\1\0"


@pytest.mark.parametrize("seed", range(50))
def test_any_complete_code_comes_back_from_its_table(seed):
    rng = np.random.default_rng(seed)
    lengths = np.zeros(END + 1, np.uint8)
    words = [1, 1]  # split words until there are enough
    while len(words) < rng.integers(2, 258):
        shortest = rng.integers(len(words))
        if words[shortest] < 15:
            words[shortest : shortest + 1] = [words[shortest] + 1] * 2
    lengths[rng.choice(END, len(words) - 1, replace=False)] = words[1:]
    lengths[END] = words[0]
    shared = Shared(Codebook("ramp", 256, first=0.0, step=1.0), Stream("huffman", 8, lengths=lengths, segments=(b"x",)))
    assert same(read(shared, record.write(shared)), shared)


@pytest.mark.parametrize("count", [1, SEGMENT, SEGMENT + 1, 3 * SEGMENT])
def test_a_stream_has_a_segment_for_each_2_18_symbols(count):
    segments = [bytes([number] * (number + 1)) for number in range(-(-count // SEGMENT))]
    shared = Shared(RAMP, huffman(count, {0: 1, 1: 2, END: 2}, *segments))
    assert same(read(shared, record.write(shared), shape=(count,)), shared)


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("column_major", [False, True])
@pytest.mark.parametrize("rows", [None, np.arange(40) % 3 == 0])
@pytest.mark.parametrize("columns", [None, np.arange(11) < 6])
def test_every_layout_of_an_index_comes_back(bits, column_major, rows, columns):
    gaps = Stream("packed", 2, width=bits, segments=(bytes(-(-2 * bits // 8)),))
    index = Index(bits, column_major, rows, columns, 2, gaps)
    pruned = Pruned(index, Block("plain", bytes(8)))
    coded = record.write(pruned)
    assert coded[0] == bits - 1 | column_major << 3 | (rows is not None) << 4 | (columns is not None) << 5
    assert same(read(pruned, coded, shape=(1, 40, 11)), pruned)


REFUSALS = [  # the trick is the odd one of the bytes; in (4, 2) float32
    ("block-method", "stored", "03"),
    ("codebook-form", "shared", "04 00 0000803F 00 00"),
    ("stream-form", "shared", "00 00 0000803F 03"),
    ("packed-width", "shared", "00 00 0000803F 01 00"),
    ("packed-width", "shared", "00 00 0000803F 01 09 000000000000000000"),
    ("symbol-range", "shared", "00 00 0000803F 00 01"),
    ("symbol-range", "shared", "00 00 0000803F 02 01"),
    ("no-end-symbol", "shared", "02 01 00000000 00000000 02 01 10 01"),
    ("code-run", "shared", "02 01 00000000 00000000 02 01 12 11"),
    ("code-over-full", "shared", "02 01 00000000 00000000 02 01 11 01"),
    ("code-under-full", "shared", "02 01 00000000 00000000 02 01 22 02"),
    ("varint", "shared", "02 01 00000000 00000000 02 01 12 02 8100"),
    ("record-trailing", "shared", "00 00 0000803F 00 00 00"),
    ("index-layout", "sparse", "00 00 00"),
    ("index-layout", "sparse", "41 00 00"),
    ("index-layout", "sparse", "81 00 00"),
    ("kept-count", "sparse", "01 09 09 00 00"),
    ("kept-count", "sparse", "01 02 01 00 00"),
    ("kept-count", "sparse", "01 00 01 00 00"),
    ("kept-count", "sparse", "01 01 0A 00 00"),
    ("kept-count", "sparse", "11 08 03 03 00 00"),
    ("symbol-range", "sparse", "01 01 01 00 04"),
    ("truncated", "pruned", "01 00 00"),
    ("truncated", "stored", ""),
]


@pytest.mark.parametrize(("reason", "encoding", "coded"), REFUSALS)
def test_a_record_that_breaks_a_rule_is_refused_by_its_name(reason, encoding, coded):
    assert refusal(None, bytes.fromhex(coded), encoding=encoding) == reason


def test_byte_planes_are_for_elements_of_two_bytes_and_more():
    assert refusal(None, b"\2\3\0", INT8, encoding="stored") == "block-method"
    assert refusal(None, b"\2\3\0", DTYPES[25], encoding="stored") == "block-method"
    assert read(None, b"\2\3\0", DTYPES[15], encoding="stored").block.method == "planes"


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (2**40, 0, 2**20)])
def test_a_tensor_without_elements_keeps_no_position(shape):
    assert read(None, bytes.fromhex("01 00 00"), shape=shape, encoding="sparse").index.kept == 0
    assert refusal(None, bytes.fromhex("01 01 01 00 00"), shape=shape, encoding="sparse") == "kept-count"


@pytest.mark.parametrize("encoding", range(4))
def test_random_bytes_are_read_or_refused(encoding):
    reasons = set()
    for seed in range(2000):
        rng = np.random.default_rng(seed)
        coded = rng.choice([0, 1, 2, 3, 8, 255], rng.integers(0, 30)).astype(np.uint8).tobytes()
        try:
            encoded = record.read(coded, encoding, FLOAT32, (4, 2))
        except CorruptFile as error:
            reasons.add(error.reason)
        else:
            assert encoding_name(encoded) == ENCODINGS[encoding]
    assert "truncated" in reasons
