"""The elementary fields: exact bytes, and reading them back."""

import numpy as np
import pytest

from dcz.errors import CorruptFile
from dcz.format.fields import HeadReader, Reader, bitmap, float32, string, u8, u32, varint

VARINTS = [  # LEB128, as DWARF and WebAssembly have it
    (0, "00"),
    (1, "01"),
    (127, "7F"),
    (128, "80 01"),
    (300, "AC 02"),
    (624485, "E5 8E 26"),  # the example of the DWARF standard, section 7.6
    (2**62, "80 80 80 80 80 80 80 80 40"),
    (2**63 - 1, "FF FF FF FF FF FF FF FF 7F"),
]


def refusal(read) -> str:
    with pytest.raises(CorruptFile) as error:
        read()
    assert "here" in str(error.value)
    return error.value.reason


def reader(data: str) -> Reader:
    return Reader(bytes.fromhex(data), "here")


@pytest.mark.parametrize(("value", "coded"), VARINTS)
def test_varints_have_these_bytes(value, coded):
    assert varint(value) == bytes.fromhex(coded)
    assert reader(coded).varint() == value


def test_varints_round_trip():
    rng = np.random.default_rng(0)
    values = [int(value) >> int(shift) for value, shift in zip(rng.integers(0, 2**63, 500), rng.integers(0, 63, 500))]
    source = Reader(b"".join(map(varint, values)), "here")
    assert [source.varint() for _ in values] == values
    source.end("directory-trailing")


@pytest.mark.parametrize("coded", ["80 00", "FF 80 00", "80 80 80 80 80 80 80 80 80 01", "80 80 80 80 80 80 80 80 80"])
def test_a_varint_that_is_not_minimal_or_longer_than_nine_bytes_is_refused(coded):
    assert refusal(reader(coded).varint) == "varint"


@pytest.mark.parametrize("coded", ["", "80", "FF FF FF FF FF FF FF FF"])
def test_a_varint_that_ends_with_its_part_is_truncated(coded):
    assert refusal(reader(coded).varint) == "truncated"


def test_fixed_integers_and_floats_are_little_endian():
    assert u8(255) + u32(0x01020304) + float32(-2.0) == bytes.fromhex("FF 04 03 02 01 00 00 00 C0")
    source = reader("FF 04 03 02 01 00 00 00 C0")
    assert (source.u8(), source.u32(), source.float32()) == (255, 0x01020304, -2.0)


STRINGS = [("", "00"), ("w", "01 77"), ("né\0", "04 6E C3 A9 00"), ("🧠", "04 F0 9F A7 A0")]


@pytest.mark.parametrize(("text", "coded"), STRINGS)
def test_strings_are_utf_8_behind_their_length(text, coded):
    assert string(text) == bytes.fromhex(coded)
    assert reader(coded).string() == text


@pytest.mark.parametrize("coded", ["01 FF", "02 C0 80", "03 ED A0 80", "01 C3", "04 F4 90 80 80"])
def test_what_is_not_utf_8_is_refused(coded):
    assert refusal(reader(coded).string) == "text"


def test_a_string_longer_than_its_part_is_truncated():
    assert refusal(reader("03 61 62").string) == "truncated"
    assert refusal(Reader(varint(2**63 - 1), "here").string) == "truncated"


def test_a_lone_surrogate_cannot_be_written():
    with pytest.raises(UnicodeEncodeError):
        string("\ud800")


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 64, 65])
def test_bitmaps_round_trip(count):
    flags = np.random.default_rng(count).random(count) < 0.5
    coded = bitmap(flags)
    assert len(coded) == -(-count // 8)
    assert np.array_equal(Reader(coded, "here").bitmap(count), flags)


def test_a_bitmap_has_its_first_flag_lowest_and_its_unused_bits_are_ignored():
    flags = np.array([1, 0, 0, 0, 0, 0, 0, 1, 1], bool)
    assert bitmap(flags) == bytes.fromhex("81 01")
    assert np.array_equal(reader("81 FF").bitmap(9), flags)


def test_an_incomplete_bitmap_is_truncated_whatever_its_size():
    assert refusal(lambda: reader("FF").bitmap(9)) == "truncated"
    assert refusal(lambda: reader("FF").bitmap(2**62)) == "truncated"


def test_a_reader_never_passes_its_end():
    source = reader("01 02 03")
    assert bytes(source.take(2)) == b"\1\2"
    assert refusal(lambda: source.take(2)) == "truncated"
    assert bytes(source.content()) == b"\3"  # the refused step was not taken
    assert bytes(source.content()) == b""
    source.end("record-trailing")
    for step in (source.u8, source.u32, source.float32, source.varint, source.string):
        assert refusal(step) == "truncated"


def test_bytes_that_are_left_are_refused_for_the_reason_given():
    source = reader("00 00")
    source.u8()
    assert refusal(lambda: source.end("record-trailing")) == "record-trailing"


def test_what_a_head_does_not_read_takes_no_memory():
    """A sparse file may say that it has any number of bytes."""
    read = []

    def window(start, nbytes):
        read.append((start, nbytes))
        return bytes(nbytes)

    reader = HeadReader(window, 1 << 50, "record")
    assert reader.u8() == 0 and len(reader.content(1 << 49)) == 1 << 49
    rest = reader.content()
    assert len(rest) == (1 << 49) - 1 and bytes(rest[-3:]) == bytes(3)
    assert sum(nbytes for _, nbytes in read) < 1 << 13
    with pytest.raises(CorruptFile, match="truncated"):
        reader.content(1)
