"""Symbols <-> canonical Huffman code and bits (spec, section 6; Deep Compression, section 4).

    symbols  3 3 0 3  ->  lengths 0:2 3:1 end:2  ->  words 3=0 0=10 end=11  ->  bits, first to last, 0 0 10 0 11

Canonical Huffman codes (Huffman, "A method for the construction of minimum-redundancy codes", 1952; Schwartz and
Kallick, "Generating a canonical prefix encoding", 1964) of limited length. Words are packed as DEFLATE packs literals
(RFC 1951, section 3.2.2), so that any inflate decodes a segment behind a block header that states our lengths. zlib is
only the engine: the code, the table and the stream are ours, and bitarray decodes the same bytes independently
(`decode_slowly`).
"""

from collections.abc import Callable, Iterable
from itertools import islice, pairwise
from typing import TypeVar

import numpy as np

from ... import arrays
from ...deflate import inflate_engine
from ...encoded import END, MAX_WORD_BITS, SEGMENT, Stream, table_nibbles
from ...errors import CorruptFile
from ...parallel import each, each_ahead
from . import packed, recode

R = TypeVar("R")

TOGETHER = 2  # segments packed at a time
AHEAD = 64  # times as many wait to be joined: they take about 20 MB
MAX_BITS = 12  # of the words that are written; longer ones would save less than 0.1 % on weight codes


def code_lengths(counts: np.ndarray, limit: int = MAX_BITS) -> np.ndarray:
    """Lengths (uint8) of an optimal prefix code for `counts` with no word longer than `limit` bits.

    Package-merge (Larmore and Hirschberg, "A fast algorithm for optimal length-limited Huffman codes", 1990).
    Symbols of count 0 get length 0. Of equally frequent symbols, the smaller one never gets the shorter word. Raises
    ValueError unless 2 to 2^limit counts are positive.
    """
    used = np.flatnonzero(counts)
    if not 2 <= len(used) <= 1 << limit:
        raise ValueError(f"{len(used)} symbols do not fit words of 1 to {limit} bits")
    order = used[np.argsort(counts[used], kind="stable")]
    leaves = counts[order].astype(np.int64)
    levels, items = [], leaves
    is_leaf: np.ndarray = np.ones(len(leaves), bool)
    for _ in range(limit):
        levels.append(is_leaf)
        packages = items[: len(items) // 2 * 2].reshape(-1, 2).sum(axis=1)
        merged = np.concatenate([leaves, packages])
        position = np.argsort(merged, kind="stable")  # a leaf goes before a package of the same weight
        items, is_leaf = merged[position], position < len(leaves)
    lengths = np.zeros(len(counts), np.uint8)
    take = 2 * len(leaves) - 2
    for is_leaf in reversed(levels):
        chosen = int(np.count_nonzero(is_leaf[:take]))
        lengths[order[:chosen]] += 1
        take = 2 * (take - chosen)
    return lengths


def words(lengths: np.ndarray) -> np.ndarray:
    """Canonical words of `lengths` (uint8), each with its first bit lowest (uint32), as they are packed."""
    result = np.zeros(len(lengths), np.uint32)
    code = 0
    for length in range(1, MAX_WORD_BITS + 1):
        code <<= 1
        for symbol in np.flatnonzero(lengths == length).tolist():
            result[symbol] = int(f"{code:0{length}b}"[::-1], 2)
            code += 1
    return result


def count_symbols(symbols: np.ndarray) -> np.ndarray:
    """How often each of the 256 symbols occurs in `symbols` (uint8) -> int64[256]."""
    counts = recode.count_codes(symbols)
    return np.pad(counts, (0, 256 - len(counts)))


def stream_bits(counts: np.ndarray) -> int:
    """Bits of the smallest stream of these symbol `counts` (int64[256]), its table and end symbols included."""
    if np.count_nonzero(counts) < 2:
        return 16 if counts.any() else 0
    return min(coded_bits(counts), packed.stream_bits(counts))


def coded_bits(counts: np.ndarray) -> int:
    """Bits of a Huffman stream of these symbol `counts` (int64[256], two or more of them positive)."""
    full = _with_end(counts)
    lengths = code_lengths(full)
    return int((full * lengths).sum()) + 4 * len(table_nibbles(lengths)) + 16 + 24 * int(full[END])


def _with_end(counts: np.ndarray) -> np.ndarray:
    return np.append(counts, -(-int(counts.sum()) // SEGMENT))


def encode(symbols: arrays.Bytes, counts: np.ndarray | None = None) -> Stream:
    """Encode `symbols` (uint8, flat) as the smallest of the three forms.

    With their `counts` (int64[256]), only slices of a segment are taken of the symbols: they may be lazy.
    """
    if counts is None:
        counts = count_symbols(symbols[:])
    used = np.flatnonzero(counts)
    if len(used) < 2:
        return Stream("constant", len(symbols), symbol=int(used[0]) if len(used) else 0)
    if packed.stream_bits(counts) <= coded_bits(counts):
        return packed.encode(symbols, packed.min_width(counts))
    full = _with_end(counts)
    lengths = code_lengths(full)
    table, whole = _JointTable(lengths), len(symbols) // SEGMENT * SEGMENT
    parts = [*arrays.blocks(whole, TOGETHER * SEGMENT), *arrays.blocks_of(slice(whole, len(symbols)), SEGMENT)]
    made = each_ahead(
        lambda part: table.pack(symbols[part].reshape(-1, min(part.stop - part.start, SEGMENT))), parts, AHEAD
    )
    most = int((full * lengths).sum()) // 8 + int(full[END])  # the last byte of each segment is filled up
    return Stream("huffman", len(symbols), lengths=lengths, segments=_in_one(made, most))


def _in_one(packed: Iterable[tuple[np.ndarray, np.ndarray]], nbytes: int) -> tuple[memoryview, ...]:
    """Segments, by their bytes one after another (uint8) and where each ends, of at most so many bytes together, in one
    piece of memory, which goes back to the system as one: thousands of small pieces would leave holes that it cannot
    take back."""
    piece, ends = np.empty(nbytes, np.uint8), [0]
    for some, some_ends in packed:
        start = ends[-1]
        piece[start : start + len(some)] = some
        ends += (start + some_ends).tolist()
    return tuple(piece.data[start:end] for start, end in pairwise(ends))


class _JointTable:
    """The joint words of all pairs of symbols: one look-up encodes two symbols.

    A pair's word, of 24 bits at most, lies below its length; two neighbours are read as 64 bits: word, length, word,
    length.
    """

    WORD, LENGTH = np.uint64((1 << 2 * MAX_BITS) - 1), np.uint64(2 * MAX_BITS)
    HALF = np.uint64(32)

    def __init__(self, lengths: np.ndarray):
        self.word = words(lengths).astype(np.uint64)
        self.length = lengths.astype(np.uint64)
        pairs = np.zeros((256, 256), "<u4")
        alphabet = int(np.flatnonzero(lengths[:END])[-1]) + 1  # often small: then only a corner is filled
        first, second = np.arange(alphabet), np.arange(alphabet)[:, None]
        joint = self.word[first] | self.word[second] << self.length[first]
        pairs[:alphabet, :alphabet] = joint | (self.length[first] + self.length[second]) << self.LENGTH
        self.pairs = pairs.ravel()

    def pack(self, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The bytes (uint8) of segments of as many symbols each (uint8[segments, symbols]), and where each ends: the
        words of up to 2^18 symbols and the end symbol's, which is made longer by what is left of its last byte."""
        count, symbols_each = symbols.shape
        quads = symbols_each // 4
        both = self.pairs.take(np.ascontiguousarray(symbols[:, : 4 * quads]).view("<u2"), mode="clip").view("<u8")
        rest = np.append(symbols[:, 4 * quads :].astype(np.intp), np.full((count, 1), END), axis=1)
        word = np.empty((count, quads + rest.shape[1]), np.uint64)
        length = np.empty_like(word)
        word[:, quads:], length[:, quads:] = self.word[rest], self.length[rest]
        joint, joint_length = word[:, :quads], length[:, :quads]
        first_length = both >> self.LENGTH
        first_length &= np.uint64((1 << 32 - 2 * MAX_BITS) - 1)
        np.right_shift(both, self.HALF + self.LENGTH, out=joint_length)
        joint_length += first_length
        np.right_shift(both, self.HALF, out=joint)
        joint &= self.WORD
        joint <<= first_length
        both &= self.WORD
        joint |= both
        bits = length.sum(axis=1).astype(np.int64)
        length[:, -1] += (-bits % 8).astype(np.uint64)
        ends = np.cumsum(-(-bits // 8))
        return _pack_words(word.reshape(-1), length.reshape(-1))[: ends[-1]], ends


def _pack_words(word: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Concatenate words (uint64, below 2^length, length 1 to 60; changed), lowest bit first, in whole cells of 64 bits
    (as uint8), the last of them filled up with zeros."""
    start = np.empty_like(length)
    start[0] = 0
    np.cumsum(length[:-1], out=start[1:])
    shift = start & np.uint64(63)
    start >>= np.uint64(6)  # its cell of 64 bits: a word starts in each but perhaps the last, as no word is longer
    firsts = np.append(0, np.flatnonzero(start[1:] != start[:-1]) + 1)
    lasts = np.append(firsts[1:], len(word)) - 1  # only a cell's last word can reach into the next
    spill = (word[lasts] >> np.uint64(1)) >> (np.uint64(63) - shift[lasts])
    word <<= shift
    cells = np.zeros(len(firsts) + 1, np.uint64)
    np.bitwise_or.reduceat(word, firsts, out=cells[:-1])
    cells[1:] |= spill
    return cells.astype("<u8", copy=False).view(np.uint8)


def decode(stream: Stream) -> np.ndarray:
    """The symbols of a stream (uint8[count]).

    Raises CorruptFile `segment` where the bits do not hold exactly as many symbols, and an end symbol.
    """
    if stream.form == "constant":
        return np.full(stream.count, stream.symbol, np.uint8)
    if stream.form == "packed":
        return packed.decode(stream)
    symbols = np.empty(stream.count, np.uint8)

    def fill(block: slice, found: np.ndarray) -> None:
        symbols[block] = found

    decode_segments(stream, fill)
    return symbols


def decode_segments(stream: Stream, take: Callable[[slice, np.ndarray], R]) -> list[R]:
    """What `take` gives for each segment of a Huffman stream, called by all threads with the places of its symbols, and
    these (uint8).

    Raises CorruptFile as `decode` does.
    """
    assert stream.lengths is not None, "a Huffman stream has lengths"
    header = deflate_header(stream.lengths)

    def decode_one(number: int) -> R:
        block = slice(number * SEGMENT, min((number + 1) * SEGMENT, stream.count))
        segment = _inflate(header, stream.segments[number], block.stop - block.start)
        return take(block, np.frombuffer(segment, np.uint8))

    return each(decode_one, range(len(stream.segments)))


def _inflate(header: bytes, segment: bytes | memoryview, count: int) -> bytes:
    """Exactly `count` symbols of a segment behind its DEFLATE header."""
    engine = inflate_engine.decompressobj(-15)
    try:
        # One call is up to three times faster than two. Room for one symbol more, so that the end symbol is read.
        symbols: bytes = engine.decompress(b"".join((header, segment)), count + 1)
    except inflate_engine.error as error:
        raise CorruptFile("segment", f"a Huffman segment does not decode ({error})") from error
    if len(symbols) != count or not engine.eof or engine.unused_data:
        raise CorruptFile("segment", f"a Huffman segment does not end after exactly {count} symbols and its last byte")
    return symbols


# The code for the code lengths in a DEFLATE header (RFC 1951, section 3.2.7), fixed here: one bit for length 0, "no
# word", so that padding by such lengths moves the header's end by single bits; 4 bits for length 1, 5 bits for 2 to 15.
_LENGTH_CODE = [1, 4] + [5] * 14 + [0, 0, 0]
_LENGTH_CODE_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
_LENGTH_WORDS = [f"{int(w):0{n}b}" for w, n in zip(words(np.array(_LENGTH_CODE)), _LENGTH_CODE, strict=True) if n]


def deflate_header(lengths: np.ndarray) -> bytes:
    """A DEFLATE block header of whole bytes for a last block of literals with words of these `lengths` (uint8[257])."""

    def header(padding: int) -> str:
        # last block, dynamic; HLIT - 257, HDIST - 1, HCLEN - 4
        fields = [(1, 1), (2, 2), (padding, 5), (0, 5), (15, 4)]
        fields += [(_LENGTH_CODE[symbol], 3) for symbol in _LENGTH_CODE_ORDER]
        bits = [f"{value:0{width}b}" for value, width in fields]
        unused = [0] * (padding + 1)  # lengths of surplus match symbols, and of the one distance symbol
        bits += [_LENGTH_WORDS[length] for length in lengths.tolist() + unused]
        return "".join(reversed(bits))

    bits = header(0)
    if len(bits) % 8:
        bits = header(8 - len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "little")


def decode_slowly(stream: Stream) -> np.ndarray:
    """The symbols of a stream (uint8[count]) by bitarray, which shares no code with `decode`: for `verify --deep`.

    Raises CorruptFile `segment` as `decode` does.
    """
    if stream.form != "huffman":
        return decode(stream)
    from bitarray import bitarray
    from bitarray.util import canonical_decode

    lengths = stream.lengths
    assert lengths is not None, "a Huffman stream has lengths"
    count = np.bincount(lengths, minlength=MAX_WORD_BITS + 1)
    count[0] = 0
    order = np.flatnonzero(lengths)
    symbol = order[np.argsort(lengths[order], kind="stable")].tolist()
    result = np.empty(stream.count, np.uint8)
    for number, segment in enumerate(stream.segments):
        bits = bitarray(endian="little")
        bits.frombytes(bytes(segment))
        block = result[number * SEGMENT : (number + 1) * SEGMENT]
        try:
            decoded = np.fromiter(islice(canonical_decode(bits, count.tolist(), symbol), len(block) + 1), np.int64)
        except ValueError as error:
            raise CorruptFile("segment", f"a Huffman segment does not decode in the second engine ({error})") from error
        ends = np.flatnonzero(decoded == END)
        if ends.tolist() != [len(block)] or -(-int(lengths[decoded].sum()) // 8) != len(segment):
            raise CorruptFile("segment", "a Huffman segment does not end where it should in the second engine")
        block[:] = decoded[:-1]
    return result
