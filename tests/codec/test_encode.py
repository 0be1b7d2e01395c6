"""codec: any tensor under any settings decodes to what its candidate says, within the settings."""

from dataclasses import replace

import numpy as np
import pytest

from dcz import arrays
from dcz.codec import candidates, decode, encode
from dcz.codec.coded import Coded
from dcz.codec.stages import huffman, index, packed, prune
from dcz.encoded import (
    ENCODINGS,
    Block,
    Codebook,
    Index,
    Pruned,
    Shared,
    Sparse,
    Stored,
    Stream,
    codebook_patterns,
    encoding_name,
)
from dcz.errors import CorruptFile
from dcz.format import record
from dcz.parallel import BIG, helped
from dcz.plan import LOSSLESS, Settings
from dcz.tensor import BFLOAT16, DTYPES, FLOAT16, FLOAT32, FLOAT64, Tensor, largest, round_to, values

pytestmark = pytest.mark.filterwarnings("error")

REAL = [FLOAT32, FLOAT16, BFLOAT16, FLOAT64]
SETTINGS = [
    LOSSLESS,
    Settings(quality=15.0),
    Settings(quality=44.0),
    Settings(step=0.3),
    Settings(bits=1),
    Settings(bits=5, init="density"),
    Settings(bits=8),
    Settings(bits=6, codebook="float16"),
    Settings(sparsity=0.9, bits=4),
    Settings(sparsity=0.9, quality=20.0),
    Settings(sparsity=0.5, step=0.5, index_bits=4, codebook="float16"),
    Settings(sparsity=0.97, share=False),
    Settings(threshold=1.0, bits=5),
    Settings(threshold=3.5),
]
SHAPES = [(), (1,), (0,), (3, 0), (1, 1, 300), (1001,), (8, 5, 3, 3)]


def by_name(dtype):
    return dtype.name


def tensor(numbers, dtype=FLOAT32, shape=None):
    numbers = np.asarray(numbers, np.float64)
    return of_patterns(round_to(numbers.ravel(), dtype), dtype, numbers.shape if shape is None else shape)


def of_patterns(patterns, dtype, shape=None):
    patterns = np.ascontiguousarray(patterns, dtype.pattern)
    return Tensor("t", dtype, patterns.shape if shape is None else shape, patterns.view(np.uint8))


def gaussian(shape, dtype=FLOAT32, seed=0):
    return tensor(np.random.default_rng(seed).normal(0, 0.05, shape), dtype)


def numbers_of(data, dtype):
    return values(data.view(dtype.pattern), dtype).astype(np.float64)


def smallest(candidates):
    """The bytes and the candidate that a writer would take."""
    return min(((record.write(found.encoded), found) for found in candidates), key=lambda pair: len(pair[0]))


def compress(tensor, settings):
    return smallest(encode.encodings(tensor, settings))


def reread(encoded, dtype, shape):
    written = record.write(encoded)
    return record.read(written, ENCODINGS.index(encoding_name(encoded)), dtype, shape)


def check(tensor, settings):
    """Every candidate decodes to its data, in memory and by way of its bytes, in both engines."""
    candidates = encode.encodings(tensor, settings)
    for candidate in candidates:
        assert candidate.data.dtype == np.uint8 and candidate.data.shape == tensor.data.shape
        for encoded in (candidate.encoded, reread(candidate.encoded, tensor.dtype, tensor.shape)):
            assert np.array_equal(decode.decode(encoded, tensor.dtype, tensor.shape), candidate.data)
        slowly = decode.decode(candidate.encoded, tensor.dtype, tensor.shape, engine=huffman.decode_slowly)
        assert np.array_equal(slowly, candidate.data)
    return candidates


# -- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("dtype", REAL, ids=by_name)
def test_every_candidate_decodes_to_its_data(dtype, settings):
    for seed, shape in enumerate(SHAPES):
        check(gaussian(shape, dtype, seed), settings)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_constant_tensors_stay_what_they_are(settings):
    stays = np.arange(600) < 600 - round((settings.sparsity or 0) * 600)  # of equals, the lower places
    for dtype in REAL:
        for number in (0.0, -0.0, 0.1, -3.0):
            given = tensor(np.full((20, 30), number), dtype)
            for candidate in check(given, settings):
                assert np.array_equal(numbers_of(candidate.data, dtype), numbers_of(given.data, dtype) * stays)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_all_zero_tensors_take_a_few_bytes_and_stay_zero(settings):
    for dtype in REAL:
        written, candidate = compress(tensor(np.zeros((30, 40)), dtype), settings)
        assert not candidate.data.any()
        assert len(written) <= 4


@pytest.mark.parametrize("dtype", [d for d in DTYPES.values() if not d.real], ids=by_name)
def test_types_that_are_not_real_are_kept_exactly_under_any_settings(dtype):
    for shape in ((), (7,), (0,), (33, 20)):
        data = np.random.default_rng(0).integers(0, 4, dtype.nbytes(shape), np.uint8)
        for candidate in check(Tensor("t", dtype, shape, data), Settings(sparsity=0.9, bits=2)):
            assert np.array_equal(candidate.data, data)


@pytest.mark.parametrize("dtype", REAL, ids=by_name)
def test_big_tensors_survive_odd_lengths_and_threads_change_nothing(dtype):
    # More than one segment of codes, and more than one block of pairs in the decoder.
    given = gaussian((2**18 + 2**16 + 1,), dtype)
    for settings in (Settings(bits=5), Settings(sparsity=0.9, bits=5)):
        plain = encode.encodings(given, settings)
        with helped(BIG, 3):
            threaded = encode.encodings(given, settings)
            for one, other in zip(plain, threaded, strict=True):
                assert record.write(one.encoded) == record.write(other.encoded)
                assert np.array_equal(decode.decode(other.encoded, dtype, given.shape), one.data)


# -- exactness --------------------------------------------------------------------------------------------------------


def special_patterns(dtype):
    """Infinities, quiet and signalling NaN with payloads, both zeros, subnormals, and the largest."""
    sign = 1 << (dtype.bits - 1)
    infinity = int(round_to(np.array([np.inf]), dtype)[0])
    some = [0, sign, infinity, infinity | sign, infinity | 1, infinity | sign | 5, infinity - 1, 1, sign | 1, 3]
    return np.array(some, np.uint64).astype(dtype.pattern)


@pytest.mark.parametrize("dtype", REAL, ids=by_name)
@pytest.mark.parametrize("kind", ["few", "few among zeros", "many", "many among zeros", "random bits"])
def test_lossless_is_exact_to_the_bit(kind, dtype):
    rng = np.random.default_rng(0)
    patterns = rng.choice(special_patterns(dtype), 3000)
    if kind.startswith("many"):
        patterns[::2] = gaussian((1500,), dtype).patterns
    if kind.endswith("zeros"):
        patterns[rng.random(3000) < 0.9] = 0
    if kind == "random bits":
        patterns = rng.integers(0, 256, 3000 * dtype.bits // 8, np.uint8).view(dtype.pattern)
    for shape in ((3000,), (50, 60)):
        for candidate in check(of_patterns(patterns, dtype, shape), LOSSLESS):
            assert np.array_equal(candidate.data, patterns.view(np.uint8))


@pytest.mark.parametrize("dtype", REAL, ids=by_name)
@pytest.mark.parametrize("settings", [s for s in SETTINGS if not s.lossless], ids=str)
def test_a_tensor_that_is_not_finite_stays_exact(settings, dtype):
    for bad in (np.inf, -np.inf, np.nan):
        given = tensor(np.append(np.random.default_rng(1).normal(0, 1, 999), bad), dtype)
        assert not given.is_finite
        for candidate in check(given, settings):
            assert np.array_equal(candidate.data, given.data)


@pytest.mark.parametrize("dtype", REAL, ids=by_name)
@pytest.mark.parametrize("settings", [Settings(quality=5.0), Settings(step=3.0), Settings(bits=8)], ids=str)
def test_up_to_256_distinct_values_are_kept_exactly_under_any_settings(settings, dtype):
    distinct = np.unique(gaussian((1500,), dtype).patterns)[:255]
    patterns = np.random.default_rng(2).choice(distinct, 5000)
    for zeros in (0.0, 0.7):
        patterns[np.random.default_rng(3).random(5000) < zeros] = 0
        for candidate in check(of_patterns(patterns, dtype, (50, 100)), settings):
            assert np.array_equal(candidate.data, patterns.view(np.uint8))


@pytest.mark.parametrize("sharing", [{"bits": 2}, {"quality": 10.0}, {"share": False}, {}], ids=str)
def test_what_pruning_leaves_is_kept_exactly_where_its_values_are_few(sharing):
    rng = np.random.default_rng(4)
    numbers = rng.normal(0, 0.01, 6000)
    numbers[rng.random(6000) < 0.1] = 0.75
    numbers[rng.random(6000) < 0.1] = -2.5
    left = tensor(np.where(np.abs(numbers) > 0.5, numbers, 0.0))
    sparsity = float(np.mean(np.abs(numbers) < 0.5))
    candidates = check(tensor(numbers), Settings(sparsity=sparsity, **sharing))
    assert isinstance(candidates[0].encoded, Sparse) and candidates[0].encoded.codebook.count == 2
    for candidate in candidates:
        assert np.array_equal(candidate.data, left.data)


def test_as_many_values_as_bits_can_number_are_kept_and_one_more_is_not():
    rng = np.random.default_rng(4)
    grid = rng.permutation(np.arange(1, 18)) / 16
    for count, exact in ((16, True), (17, False)):
        given = tensor(rng.choice(grid[:count], 4000))
        assert np.array_equal(compress(given, Settings(bits=4))[1].data, given.data) is exact
    # Zero needs no entry.
    among_zeros = tensor(rng.choice(grid[:16], 4000) * (rng.random(4000) < 0.3))
    assert np.array_equal(compress(among_zeros, Settings(bits=4))[1].data, among_zeros.data)


def test_minus_zero_survives_where_a_tensor_is_kept_and_is_zero_where_it_is_not():
    few = tensor(np.tile([-0.0, 0.5, 0.0, -1.0], 500))
    assert np.array_equal(compress(few, Settings(quality=20.0))[1].data, few.data)
    many = np.random.default_rng(5).normal(0, 1, 3000)
    many[::3] = -0.0
    for settings in (Settings(quality=20.0), Settings(sparsity=0.1, bits=4), Settings(sparsity=0.1)):
        decoded = compress(tensor(many), settings)[1].data.view("<u4")
        assert not decoded[::3].any()


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", REAL, ids=by_name)
@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.9, 0.99, 0.9995])
@pytest.mark.parametrize("sharing", [{"bits": 5}, {"share": False}], ids=str)
def test_exactly_the_sparsity_of_the_settings_is_reached(sharing, sparsity, dtype):
    given = gaussian((50, 67), dtype)
    decoded = numbers_of(compress(given, Settings(sparsity=sparsity, **sharing))[1].data, dtype)
    assert np.count_nonzero(decoded == 0) == round(sparsity * 50 * 67)
    assert np.array_equal(decoded != 0, prune.by_sparsity(numbers_of(given.data, dtype), sparsity))


def test_zeros_of_the_tensor_count_and_stay_zero():
    numbers = np.random.default_rng(6).normal(0, 1, 1000) * (np.arange(1000) % 2)
    for sparsity, zeros in ((0.3, 500), (0.5, 500), (0.8, 800)):
        decoded = compress(tensor(numbers), Settings(sparsity=sparsity, bits=6))[1].data.view("<f4")
        assert np.count_nonzero(decoded == 0) == zeros


@pytest.mark.parametrize("bits", range(1, 9))
def test_no_more_values_than_bits_can_number(bits):
    given = gaussian((60, 70))
    for sparsity in (None, 0.6):
        decoded = compress(given, Settings(bits=bits, sparsity=sparsity))[1].data.view("<u4")
        distinct = len(np.unique(decoded[decoded != 0]))
        assert 0.8 * (1 << bits) < distinct <= 1 << bits  # of many centroids for few weights, some end without any


@pytest.mark.parametrize("sparsity", [None, 0.5, 0.9])
@pytest.mark.parametrize("quality", [15.0, 25.0, 35.0])
def test_quality_is_that_of_the_weights_that_pruning_keeps(quality, sparsity):
    given = gaussian((150, 200))
    weights = given.data.view("<f4").astype(np.float64)
    left = weights * prune.by_sparsity(weights, sparsity or 0.0)
    decoded = compress(given, Settings(quality=quality, sparsity=sparsity))[1].data.view("<f4")
    reached = 10 * np.log10((left**2).sum() / ((left - decoded) ** 2).sum())
    assert quality - 1 < reached < quality + (1 if sparsity is None else 4)  # few levels suit the two lobes well


@pytest.mark.parametrize("dtype", REAL, ids=by_name)
def test_a_step_is_a_fraction_of_the_deviation(dtype):
    given = gaussian((100, 100), dtype)
    decoded = numbers_of(compress(given, Settings(step=0.5))[1].data, dtype)
    gaps = np.diff(np.unique(decoded))
    assert gaps.min() == pytest.approx(0.5 * 0.05, rel=0.05)


@pytest.mark.parametrize("width", range(2, 9))
def test_the_gaps_have_the_bits_of_the_settings(width):
    candidates = check(gaussian((80, 90)), Settings(sparsity=0.9, bits=4, index_bits=width))
    sparse = [c.encoded for c in candidates if isinstance(c.encoded, Sparse)]
    assert [encoded.index.gap_bits for encoded in sparse] == [width]


@pytest.mark.parametrize("dtype", REAL, ids=by_name)
@pytest.mark.parametrize("magnitude", [1.0, 2.0**-100, 2.0**100])
def test_nothing_finite_becomes_infinite(magnitude, dtype):
    # The level nearest to the greatest weight may lie beyond it, and beyond the type.
    rng = np.random.default_rng(7)
    top = largest(dtype) if magnitude > 1 else magnitude
    numbers = np.append(rng.uniform(-1, 1, 997), [1, -1, 1]) * top
    for settings in SETTINGS[1:10]:
        given = tensor(numbers, dtype)
        for candidate in check(given, settings):
            assert np.isfinite(numbers_of(candidate.data, dtype)).all()


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e200, 1e307])
def test_float64_whose_squares_float64_cannot_hold_stays_exact(scale):
    given = tensor(np.random.default_rng(8).normal(0, scale, 1000), FLOAT64)
    for candidate in check(given, Settings(quality=20.0)):
        assert np.array_equal(candidate.data, given.data)
    warning = encode.encode(given, Settings(quality=20.0), record.parts).warning
    assert "its largest number is above 2^400 or below 2^-400, and it stays exact" in warning
    assert not encode.encode(given, Settings(lossless=True), record.parts).warning


# -- codebooks --------------------------------------------------------------------------------------------------------


def codebook_of(given, settings):
    return next(c.encoded.codebook for c in encode.encodings(given, settings) if hasattr(c.encoded, "codebook"))


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=by_name)
def test_a_grid_becomes_a_ramp_and_halves_become_halves(dtype):
    given = gaussian((40, 60), dtype)
    assert codebook_of(given, Settings(step=0.25)).form == "ramp"
    assert codebook_of(given, Settings(bits=5, codebook="float16")).form == "half"
    assert codebook_of(given, Settings(bits=5)).form == "native"
    few = tensor(np.random.default_rng(9).choice([1.0, -0.5, 17.0, 0.25], 1000), dtype)
    assert codebook_of(few, LOSSLESS).form == "half"


def test_sixteen_bits_have_no_shorter_form():
    for dtype in (FLOAT16, BFLOAT16):
        for settings in (Settings(step=0.25), Settings(bits=5, codebook="float16")):
            assert codebook_of(gaussian((40, 60), dtype), settings).form == "native"


def test_a_ramp_may_pass_through_values_that_do_not_occur():
    given = tensor(np.random.default_rng(10).choice([-3.0, -1.0, 0.0, 4.0, 5.0], 1000))
    codebook = codebook_of(given, LOSSLESS)
    assert (codebook.form, codebook.first, codebook.step, codebook.count) == ("ramp", -3.0, 1.0, 9)
    check(given, LOSSLESS)


@pytest.mark.parametrize("scale", [1e-42, 1e-6, 1e7])
def test_a_float16_codebook_is_not_made_where_float16_does_not_reach(scale):
    # Below 6e-5 halves lose their precision and then everything; above 65504 they would clip.
    given = tensor(np.random.default_rng(11).normal(0, scale, 3000))
    plain, half = (compress(given, Settings(bits=5, codebook=name))[1].data for name in ("auto", "float16"))
    assert np.array_equal(plain, half)


def test_entries_that_float16_makes_equal_become_one():
    # 64 centroids between two neighbouring halves.
    given = tensor(1 + np.random.default_rng(12).uniform(0, 2**-11, 3000))
    settings = Settings(bits=6, codebook="float16")
    codebook = codebook_of(given, settings)
    assert len(set(codebook_patterns(codebook, FLOAT32).tolist())) == codebook.count <= 3
    check(given, settings)


# -- the choice of an encoding ----------------------------------------------------------------------------------------


def chosen(given, settings):
    return type(compress(given, settings)[1].encoded)


def test_the_density_decides_between_shared_and_sparse():
    given = gaussian((100, 120))
    assert chosen(given, Settings(bits=5)) is Shared
    assert chosen(given, Settings(bits=5, sparsity=0.2)) is Shared
    assert chosen(given, Settings(bits=5, sparsity=0.95)) is Sparse
    assert chosen(given, Settings(sparsity=0.9, share=False)) is Pruned
    assert chosen(given, LOSSLESS) is Stored


@pytest.mark.parametrize("entries", [1, 3, 255])
def test_a_code_without_an_entry_is_refused(entries):
    given = gaussian((10, 30))
    codes = np.append(np.zeros(299, np.uint8), np.uint8(entries))
    coded = Coded(np.ones(300, bool), codes, given.patterns[:entries])
    with pytest.raises(ValueError, match="beyond"):
        candidates.of_distinct(given, coded)


def test_the_smaller_of_both_is_found_near_the_crossing():
    # With both forced, neither may beat the one that was chosen by more than the estimate's slack.
    given = gaussian((100, 120))
    for sparsity in np.arange(0.1, 0.95, 0.1):
        settings = Settings(bits=4, sparsity=float(sparsity))
        weights = arrays.LazyValues(given.patterns, given.dtype)
        coded = encode._share(given, weights, encode._prune(weights, settings), settings)
        shared = candidates._shared(given, coded)
        forced = [shared, candidates._sparse(given, coded, settings.index_bits)]
        assert len(compress(given, settings)[0]) == min(len(record.write(encoded)) for encoded in forced)


def test_empty_rows_and_columns_are_left_out_where_that_pays():
    numbers = np.random.default_rng(13).normal(0, 1, (200, 300))
    numbers[np.random.default_rng(14).random(200) < 0.5] *= 1e-3
    numbers[:, np.random.default_rng(15).random(300) < 0.5] *= 1e-3
    found = compress(tensor(numbers), Settings(sparsity=0.9, bits=4))[1].encoded.index
    assert found.rows is not None and found.columns is not None


@pytest.mark.parametrize("seed", range(6))
def test_no_other_order_bitmap_or_width_gives_a_smaller_index(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(side) for side in np.exp(rng.uniform(1, 6, 2)).astype(int) + 1)
    rows, columns = (rng.random(side) < rng.choice([0.3, 0.95, 1.0]) for side in shape)
    mask = (rng.random(shape) < rng.choice([0.03, 0.3])) & rows[:, None] & columns

    def nbytes(index):
        return sum(len(part) for _, part in record._index_parts(index))

    found = candidates.index_of(mask, None)
    others = []
    for layout in index.layouts(mask):
        for width in range(2, 9):
            gaps = np.concatenate(list(layout.gaps()))
            coded = huffman.encode(index.encode(gaps, width))
            others.append(Index(width, layout.column_major, layout.rows, layout.columns, len(gaps), coded))
    assert nbytes(found) <= min(map(nbytes, others)) + 2  # the length of a segment is reckoned as three bytes


def test_uneven_columns_are_read_column_by_column():
    numbers = np.random.default_rng(16).normal(0, 1, (200, 300))
    numbers *= np.exp(np.random.default_rng(17).normal(0, 1, 300))
    assert compress(tensor(numbers), Settings(sparsity=0.75, bits=4))[1].encoded.index.column_major
    assert not compress(tensor(numbers.T), Settings(sparsity=0.75, bits=4))[1].encoded.index.column_major


def test_repeats_that_only_deflate_finds_are_stored():
    given = tensor(np.tile(np.random.default_rng(17).normal(0, 1, 500), 20))
    written, candidate = compress(given, Settings(bits=8))
    assert isinstance(candidate.encoded, Stored)
    assert np.array_equal(decode.decode(candidate.encoded, FLOAT32, (10_000,)), candidate.data)
    assert len(written) < 3000


def test_a_pruned_tensor_is_pruned_even_if_the_original_would_be_smaller():
    given = tensor(np.resize([0.1, 0.2, 0.3, 0.4], 1000))
    decoded = compress(given, Settings(sparsity=0.3, bits=2))[1].data.view("<f4")
    assert np.count_nonzero(decoded == 0) == 300


def test_very_sparse_small_tensors_are_shared_rather_than_listed():
    # 100 weights of 100 values would fit a codebook of 256 exactly, in six times the bytes.
    given = gaussian((25, 40))
    written, candidate = compress(given, Settings(sparsity=0.9, quality=20.0))
    assert len(np.unique(candidate.data.view("<u4"))) < 50
    assert len(written) < 160


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_chosen_encoding_is_never_larger_than_the_tensor_and_a_byte(settings):
    for dtype in REAL:
        for shape in [(1,), (5,), (20, 20)]:
            given = gaussian(shape, dtype)
            assert len(compress(given, settings)[0]) <= len(given.data) + 1


# -- idempotence ------------------------------------------------------------------------------------------------------


def samples(seed, n):
    """Weights of many kinds: how a second compression could go wrong depends on the distribution."""
    rng = np.random.default_rng(seed)
    yield rng.normal(0, 0.1, n)
    yield rng.laplace(2.0, 0.01, n)
    yield rng.standard_t(2, n)
    yield rng.normal(0, 1, n) * (rng.random(n) < 0.1)
    yield 1 + rng.normal(0, 1e-3, n)
    yield np.append(rng.normal(0, 1e-3, n - 1), 1.0)
    yield rng.integers(-30, 30, n) * 0.01


@pytest.mark.parametrize("settings", [s for s in SETTINGS if s.threshold is None], ids=str)
def test_compressing_a_decoded_tensor_again_changes_nothing(settings):
    # Not with `threshold`: it is measured in deviations, and pruning changes them.
    for seed, n in enumerate((3, 25, 300, 900)):
        for number, numbers in enumerate(samples(seed, n)):
            dtype = REAL[(seed + number) % 4]
            once_bytes, once = compress(tensor(numbers, dtype), settings)
            again_bytes, again = compress(of_patterns(once.data.view(dtype.pattern), dtype), settings)
            assert len(once_bytes) == len(again_bytes)
            assert np.array_equal(once.data, again.data)


def test_the_same_tensor_gives_the_same_bytes():
    given = gaussian((70, 80))
    for settings in SETTINGS:
        assert compress(given, settings)[0] == compress(replace(given, source=given.data.copy()), settings)[0]


# -- refusals ---------------------------------------------------------------------------------------------------------


def pack(symbols, width):
    return packed.encode(np.array(symbols, np.uint8), width)


def positions(symbols, kept):
    return Index(2, False, None, None, kept, pack(symbols, 2))


TWO = Codebook("half", 2, np.array([1.0, 2.0], "<f2").tobytes())
TABLE = huffman.code_lengths(np.bincount([0, 0, 1, 256]))
REFUSED = {
    "symbol-range": Shared(TWO, pack([0, 1, 2, 0], 2)),  # a third entry of two
    "symbol-range, sparse": Sparse(positions([0, 1], 2), TWO, pack([0, 3], 2)),
    "codebook-value": Shared(Codebook("ramp", 2, first=3e38, step=3e38), pack([0, 1, 1, 0], 1)),
    "codebook-value, though no code points there": Shared(
        Codebook("half", 2, np.array([1.0, np.nan], "<f2").tobytes()), pack([0, 0, 0, 0], 1)
    ),
    "segment": Shared(TWO, Stream("huffman", 4, lengths=TABLE, segments=(b"\0",))),
    "gap-overrun": Sparse(positions([0, 3, 0], 2), TWO, pack([0, 1], 1)),
    "gap-overrun, pruned": Pruned(positions([2, 2], 2), Block("plain", bytes(8))),
    "kept-count": Sparse(positions([0, 0, 0], 2), TWO, pack([0, 1], 1)),
    "kept-count, pruned": Pruned(positions([0, 0], 1), Block("plain", bytes(4))),
    "block-length": Pruned(positions([0, 0], 2), Block("plain", bytes(7))),
    "block-length, stored": Stored(Block("plain", bytes(15))),
    "deflate": Stored(Block("deflated", b"\0")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_parts_that_do_not_fit_are_refused(name):
    with pytest.raises(CorruptFile) as refusal:
        decode.decode(REFUSED[name], FLOAT32, (4,))
    assert refusal.value.reason == name.split(",")[0]


@pytest.mark.parametrize("outliers", [1, 2, 16, 256])
def test_outliers_neither_cost_the_other_weights_nor_keep_them_exact(outliers):
    weights = np.random.default_rng(0).normal(0, 0.05, (256, 256)).astype(np.float32)
    rest = weights.copy()
    weights.ravel()[: 256 * outliers : 256] = 1000 * np.arange(1, outliers + 1)  # 256: a whole column
    given = Tensor("w", FLOAT32, weights.shape, weights.ravel().view(np.uint8))
    written, candidate = compress(given, Settings(quality=36.0))
    decoded = candidate.data.view(np.float32).reshape(weights.shape)
    bulk = weights == rest
    error = np.square(decoded[bulk] - weights[bulk]).sum() / np.square(weights[bulk]).sum()
    assert error < 10 ** (-3.4) and len(written) < weights.nbytes / 3


@pytest.mark.parametrize("settings", [Settings(quality=41.0), Settings(bits=8)])
def test_a_lone_zero_costs_no_index(settings):
    """256 values leave no code for zero: an index of one bit a weight would take more bytes."""
    weights = np.random.default_rng(0).laplace(size=1 << 17).astype(np.float32)
    without = encode.encodings(Tensor("w", FLOAT32, (512, 256), weights.view(np.uint8)), settings)
    weights[1000] = 0
    found = encode.encodings(Tensor("w", FLOAT32, (512, 256), weights.view(np.uint8)), settings)
    assert isinstance(found[0].encoded, Shared)
    sizes = [candidates.stream_bytes(each[0].encoded) for each in (without, found)]
    assert sizes[1] < 1.01 * sizes[0]
    assert found[0].data.view(np.float32)[1000] == 0
