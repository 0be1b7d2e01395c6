"""huffman: optimal lengths, canonical words, and three engines that read the same symbols."""

import heapq
import itertools
import zlib
from dataclasses import replace

import numpy as np
import pytest

from dcz.codec.stages import huffman
from dcz.encoded import END, MAX_WORD_BITS, SEGMENT, Stream
from dcz.errors import CorruptFile
from dcz.parallel import BIG, helped

pytestmark = pytest.mark.filterwarnings("error")


def geometric(n, p=0.4, most=255, seed=0):
    return np.minimum(np.random.default_rng(seed).geometric(p, n) - 1, most).astype(np.uint8)


def uniform(n, alphabet, seed=0):
    return np.random.default_rng(seed).integers(0, alphabet, n).astype(np.uint8)


def cost(counts, lengths):
    return int((np.asarray(counts) * lengths.astype(np.int64)).sum())


def fibonacci(n):
    found = [1, 1]
    while len(found) < n:
        found.append(found[-1] + found[-2])
    return np.array(found[:n])


def huffman_cost(counts):
    """The oracle without a limit: the textbook's heap. The cost is the sum of all merged weights."""
    heap = [int(count) for count in counts if count]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        heapq.heappush(heap, merged)
        total += merged
    return total


def limited_cost(counts, limit):
    """The oracle with a limit: every multiset of lengths that fills the code space, short words to frequent symbols."""
    counts = sorted((int(count) for count in counts if count), reverse=True)
    complete = (
        lengths
        for lengths in itertools.combinations_with_replacement(range(1, limit + 1), len(counts))
        if sum(1 << (limit - length) for length in lengths) == 1 << limit
    )
    return min(sum(map(int.__mul__, counts, lengths)) for lengths in complete)


# -- the code ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_lengths_are_optimal_where_the_limit_does_not_bind(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 50, rng.integers(4, 258)) + (rng.random() < 0.5)
    counts[:2] = 1
    lengths = huffman.code_lengths(counts, MAX_WORD_BITS)
    assert lengths.max() < MAX_WORD_BITS  # else the oracle would be out of place
    assert cost(counts, lengths) == huffman_cost(counts)


@pytest.mark.parametrize("limit", [3, 4, 5, 6])
@pytest.mark.parametrize("seed", range(10))
def test_lengths_are_optimal_under_a_limit(seed, limit):
    rng = np.random.default_rng(seed)
    counts = np.rint(np.exp(rng.normal(0, 3, rng.integers(2, 9)))).astype(np.int64) + 1
    assert cost(counts, huffman.code_lengths(counts, limit)) == limited_cost(counts, limit)


@pytest.mark.parametrize("limit", [8, 9, 12, 15])
@pytest.mark.parametrize("counts", [fibonacci(40), fibonacci(80), np.arange(1, 257) ** 6, 2 ** np.arange(60)])
def test_skewed_counts_keep_to_the_limit_and_fill_the_code_space(counts, limit):
    lengths = huffman.code_lengths(counts, limit)
    assert lengths.min() >= 1 and lengths.max() == min(limit, len(counts) - 1)
    assert sum(1 << (limit - int(length)) for length in lengths) == 1 << limit
    assert np.all(np.diff(lengths[np.argsort(counts, kind="stable")].astype(int)) <= 0)


def test_symbols_that_do_not_occur_have_no_word():
    lengths = huffman.code_lengths(np.array([0, 5, 0, 0, 1, 9, 0]))
    assert lengths.tolist() == [0, 2, 0, 0, 2, 1, 0]


def test_of_equally_frequent_symbols_the_smaller_never_gets_the_shorter_word():
    lengths = huffman.code_lengths(np.array([7, 7, 7, 7, 7]))
    assert lengths.tolist() == [3, 3, 2, 2, 2]


@pytest.mark.parametrize(("counts", "limit"), [([0, 3], 12), ([], 12), ([1] * 5, 2)])
def test_counts_that_no_code_fits_are_an_error(counts, limit):
    with pytest.raises(ValueError, match="do not fit"):
        huffman.code_lengths(np.array(counts, np.int64), limit)


def test_the_code_of_deflates_specification():
    # RFC 1951, section 3.2.2: symbols A to H with lengths 3 3 3 3 3 2 4 4; words there have their first bit highest.
    lengths = np.array([3, 3, 3, 3, 3, 2, 4, 4])
    expected = ["010", "011", "100", "101", "110", "00", "1110", "1111"]
    assert [f"{word:0{length}b}"[::-1] for word, length in zip(huffman.words(lengths), lengths)] == expected


def test_the_example_of_the_docstring():
    counts = np.bincount([3, 3, 0, 3, END])
    lengths = huffman.code_lengths(counts)
    assert [int(lengths[symbol]) for symbol in (0, 3, END)] == [2, 1, 2]
    words = huffman.words(lengths)
    assert [f"{words[symbol]:0{lengths[symbol]}b}"[::-1] for symbol in (3, 0, END)] == ["0", "10", "11"]
    segment, ends = huffman._JointTable(lengths).pack(np.array([[3, 3, 0, 3]], np.uint8))
    assert ends.tolist() == [1]
    bits = "".join(f"{byte:08b}"[::-1] for byte in segment)
    assert bits == "00100" + "11" + "0"


def test_no_word_is_the_beginning_of_another():
    lengths = huffman.code_lengths(np.random.default_rng(0).integers(1, 10_000, 257))
    words = [f"{word:0{length}b}"[::-1] for word, length in zip(huffman.words(lengths), lengths)]
    ordered = sorted(words)
    assert not any(later.startswith(earlier) for earlier, later in zip(ordered, ordered[1:]))


# -- streams ----------------------------------------------------------------------------------------------------------

STREAMS = {
    "constant": np.full(1000, 7, np.uint8),
    "constant, one symbol": np.array([255], np.uint8),
    "constant, no symbols": np.empty(0, np.uint8),
    "packed, 1 bit": uniform(999, 2),
    "packed, 3 bits": uniform(50, 5),
    "packed, 8 bits": uniform(5000, 256),
    "packed, two symbols": np.array([0, 200], np.uint8),
    "packed, two kinds, of which one is rare": geometric(3000, 0.97, most=1),  # no word is shorter than a bit
    "huffman, three kinds": geometric(3000, 0.9, most=2),
    "huffman, all kinds": np.append(geometric(30_000, 0.1), np.arange(256)).astype(np.uint8),
    "huffman, words of 12 bits": np.append(geometric(100_000, 0.7), np.arange(256)).astype(np.uint8),
    "huffman, less than 4 symbols over": geometric(4003),
    **{f"huffman, {n} symbols": geometric(n) for n in (SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT + 5)},
}


@pytest.mark.parametrize("name", STREAMS)
def test_each_form_is_chosen_where_it_is_smallest_and_gives_back_its_symbols(name):
    symbols = STREAMS[name]
    stream = huffman.encode(symbols)
    assert stream.form == name.split(",")[0]
    assert stream.count == len(symbols)
    assert len(stream.segments) == {"constant": 0, "packed": 1}.get(stream.form, -(-len(symbols) // SEGMENT))
    assert np.array_equal(huffman.decode(stream), symbols)


@pytest.mark.parametrize("name", [name for name in STREAMS if name.startswith("huffman")])
def test_zlib_isal_and_bitarray_read_the_same_symbols(name, monkeypatch):
    stream = huffman.encode(STREAMS[name])
    monkeypatch.setattr(huffman, "inflate_engine", zlib)
    assert np.array_equal(huffman.decode(stream), STREAMS[name])
    isal_zlib = pytest.importorskip("isal.isal_zlib")
    monkeypatch.setattr(huffman, "inflate_engine", isal_zlib)
    assert np.array_equal(huffman.decode(stream), STREAMS[name])
    pytest.importorskip("bitarray")
    assert np.array_equal(huffman.decode_slowly(stream), STREAMS[name])


@pytest.mark.parametrize("seed", range(40))
def test_random_symbols_round_trip(seed):
    rng = np.random.default_rng(seed)
    n, alphabet = int(rng.integers(1, 5000)), int(rng.integers(1, 257))
    weight = rng.dirichlet(np.full(alphabet, 10.0 ** rng.uniform(-2, 2)))
    symbols = rng.choice(alphabet, n, p=weight).astype(np.uint8)
    stream = huffman.encode(symbols)
    assert np.array_equal(huffman.decode(stream), symbols)
    assert np.array_equal(huffman.decode_slowly(stream), symbols)


def test_threads_change_no_byte():
    symbols = geometric(3 * SEGMENT + 5)
    plain = huffman.encode(symbols)
    with helped(BIG, 4):
        threaded = huffman.encode(symbols)
        assert np.array_equal(huffman.decode(plain), symbols)
    assert threaded.segments == plain.segments and np.array_equal(threaded.lengths, plain.lengths)


def test_given_counts_change_no_byte():
    symbols = geometric(10_000)
    counts = huffman.count_symbols(symbols)
    assert huffman.encode(symbols, counts=counts).segments == huffman.encode(symbols).segments


@pytest.mark.parametrize("n", [0, 1, 2, 3, 1000, SEGMENT * 2 + 1, SEGMENT * 2 + 2])
def test_symbols_are_counted(n):
    symbols = uniform(n, 256)
    counts = huffman.count_symbols(symbols)
    assert counts.dtype == np.int64
    assert np.array_equal(counts, np.bincount(symbols, minlength=256))


@pytest.mark.parametrize("name", STREAMS)
def test_computed_bits_are_those_of_the_written_stream(name):
    from dcz.format import record

    stream = huffman.encode(STREAMS[name])
    written = sum(len(part) for _, part in record._stream_parts(stream, "codes"))
    reckoned = huffman.stream_bits(huffman.count_symbols(STREAMS[name])) / 8
    assert abs(written - reckoned) <= 3 + 0.001 * written  # the reckoning gives each segment three bytes for its length


# -- the header that makes zlib the engine ----------------------------------------------------------------------------


def packed_plainly(symbols, lengths):
    """A segment, word by word: `words` have their first bit lowest."""
    word = huffman.words(lengths)
    bits = "".join(f"{word[symbol]:0{lengths[symbol]}b}"[::-1] for symbol in [*symbols.tolist(), END])
    return int(bits[::-1], 2).to_bytes(-(-len(bits) // 8), "little")


@pytest.mark.parametrize("limit", range(9, MAX_WORD_BITS + 1))
@pytest.mark.parametrize("kinds", [1, 2, 30, 256])
def test_a_header_and_a_segment_are_a_deflate_stream(kinds, limit):
    counts = np.zeros(257, np.int64)
    counts[:kinds] = fibonacci(kinds)[::-1] if kinds < 80 else np.arange(kinds) ** 5 + 1
    counts[END] = 1
    lengths = huffman.code_lengths(counts, limit)
    assert lengths.max() == min(limit, kinds) or kinds == 256
    symbols = uniform(1000, kinds)
    segment = packed_plainly(symbols, lengths)
    if lengths.max() <= huffman.MAX_BITS:
        assert huffman._JointTable(lengths).pack(symbols[None])[0].tobytes() == segment
        some = [symbols[:300], symbols[300:600], symbols[600:900]]  # as many segments
        data, ends = huffman._JointTable(lengths).pack(np.stack(some))
        assert [part.tobytes() for part in np.split(data, ends[:-1])] == [packed_plainly(x, lengths) for x in some]
        assert ends[-1] == len(data)
    assert zlib.decompress(huffman.deflate_header(lengths) + segment, -15) == symbols.tobytes()


@pytest.mark.parametrize("seed", range(8))
def test_a_header_of_any_bit_count_fills_whole_bytes(seed):
    # A symbol with a word takes three or four bits more in the header than one without.
    remainders = set()
    for kinds in range(2, 40):
        counts = np.zeros(257, np.int64)
        counts[np.random.default_rng(seed).permutation(256)[:kinds]] = 2 ** np.arange(kinds) if kinds < 30 else 1
        counts[END] = 1
        lengths = huffman.code_lengths(counts, MAX_WORD_BITS)
        remainders.add(sum(huffman._LENGTH_CODE[length] for length in lengths) % 8)
        symbols = np.flatnonzero(counts[:END]).astype(np.uint8)
        stream = huffman.deflate_header(lengths) + packed_plainly(symbols, lengths)
        engine = zlib.decompressobj(-15)
        assert engine.decompress(stream) == symbols.tobytes()
        assert engine.eof and not engine.unused_data
    assert len(remainders) > 3


# -- damage -----------------------------------------------------------------------------------------------------------


ENGINES = [huffman.decode, huffman.decode_slowly]


def refused(stream, engine):
    with pytest.raises(CorruptFile) as refusal:
        engine(stream)
    return refusal.value.reason


def with_segment(stream, segment, number=0):
    return replace(stream, segments=stream.segments[:number] + (segment,) + stream.segments[number + 1 :])


@pytest.fixture(params=["zlib", "isal.isal_zlib"])
def inflate_engine(request, monkeypatch):
    monkeypatch.setattr(huffman, "inflate_engine", pytest.importorskip(request.param))


DAMAGE = {
    "empty": lambda segment: b"",
    "cut by a byte": lambda segment: segment[:-1],
    "cut in half": lambda segment: segment[: len(segment) // 2],
    "a byte more": lambda segment: segment + b"\0",
    "a byte of ones more": lambda segment: segment + b"\xff",
    "twice": lambda segment: segment * 2,
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("number", [0, 1])
def test_a_segment_of_another_size_is_refused(number, damage, engine, inflate_engine):
    stream = huffman.encode(geometric(SEGMENT + 100))
    damaged = with_segment(stream, damage(bytes(stream.segments[number])), number)
    assert refused(damaged, engine) == "segment"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("off", [-1, 1, 1000])
def test_an_end_symbol_too_early_or_too_late_is_refused(off, engine, inflate_engine):
    stream = huffman.encode(geometric(5000))
    assert refused(replace(stream, count=5000 + off), engine) == "segment"


@pytest.mark.parametrize("engine", ENGINES)
def test_an_end_symbol_among_the_others_is_refused(engine, inflate_engine):
    # The end symbol, then one more symbol and the end again, where two symbols and the end belong.
    lengths = huffman.code_lengths(np.bincount([3, 3, 0, 3, END]))
    three, zero, end = "0", "10", "11"
    for bits in (end + three + end, three + end + end, end + end + three, three + three + zero):
        segment = bytes([int(bits[::-1], 2)])
        assert refused(Stream("huffman", 2, lengths=lengths, segments=(segment,)), engine) == "segment"


@pytest.mark.parametrize("engine", ENGINES)
def test_flipped_bits_are_refused_or_give_other_symbols_and_both_engines_agree(engine, inflate_engine):
    symbols = geometric(400)
    stream = huffman.encode(symbols)
    segment = bytearray(stream.segments[0])
    silent = 0
    used = int(stream.lengths[symbols].sum()) + int(stream.lengths[END])
    for bit in range(used):
        segment[bit // 8] ^= 1 << bit % 8
        damaged = with_segment(stream, bytes(segment))
        try:
            decoded = engine(damaged)
        except CorruptFile as error:
            assert error.reason == "segment"
        else:
            assert not np.array_equal(decoded, symbols)
            silent += 1
            assert np.array_equal(huffman.decode(damaged), decoded)
        segment[bit // 8] ^= 1 << bit % 8
    assert silent  # which is why tensors carry a checksum


def test_unused_bits_of_the_last_byte_are_ignored():
    symbols = next(s for s in map(geometric, range(100, 120)) if huffman_bits(s) % 8 == 3)
    stream = huffman.encode(symbols)
    last = stream.segments[0][-1]
    changed = with_segment(stream, bytes(stream.segments[0][:-1]) + bytes([last ^ 0xF8]))
    for engine in ENGINES:
        assert np.array_equal(engine(changed), symbols)


def huffman_bits(symbols):
    stream = huffman.encode(symbols)
    return int(stream.lengths[symbols].sum()) + int(stream.lengths[END])
