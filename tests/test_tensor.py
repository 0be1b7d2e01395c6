"""tensor: sizes of types, rounding to them, the matrix that an index sees, code tables and codebooks."""

import numpy as np
import onnx
import pytest

from dcz.encoded import END, Codebook, check_lengths, codebook_patterns, table_nibbles
from dcz.errors import CorruptFile
from dcz.tensor import BFLOAT16, DTYPES, FLOAT16, FLOAT32, FLOAT64, Tensor, largest, matrix_shape, round_to, values

pytestmark = pytest.mark.filterwarnings("error")

REAL = [FLOAT32, FLOAT16, BFLOAT16, FLOAT64]


def by_name(dtype):
    return dtype.name


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=by_name)
def test_types_have_onnxs_numbers_and_names(dtype):
    onnxs = {"float32": "FLOAT", "float64": "DOUBLE"}.get(dtype.name, dtype.name.upper())
    assert getattr(onnx.TensorProto, onnxs, dtype.code) == dtype.code  # an older onnx lacks the newest types
    assert DTYPES[dtype.code] is dtype


def test_only_four_types_are_real():
    assert [dtype for dtype in DTYPES.values() if dtype.real] == [FLOAT32, FLOAT16, FLOAT64, BFLOAT16]


@pytest.mark.parametrize(
    ("code", "shape", "nbytes"),
    [(1, (), 4), (1, (3, 5), 60), (1, (7, 0), 0), (11, (2,), 16), (15, (2,), 32), (9, (3,), 3)]
    + [(21, (3,), 2), (21, (4,), 2), (25, (5,), 2), (26, (4, 2), 2), (23, (), 1), (22, (0,), 0)],
)
def test_elements_of_less_than_a_byte_are_packed_together(code, shape, nbytes):
    assert DTYPES[code].nbytes(shape) == nbytes


@pytest.mark.parametrize("dtype", REAL, ids=by_name)
def test_every_finite_pattern_is_its_own_rounding(dtype):
    patterns = np.arange(1 << 16).astype(dtype.pattern)
    if dtype.bits > 16:
        patterns = np.random.default_rng(0).integers(0, np.iinfo(dtype.pattern).max, 100_000, dtype.pattern)
    numbers = values(patterns, dtype)
    assert numbers.dtype == (np.float64 if dtype is FLOAT64 else np.float32)
    finite = np.isfinite(numbers)
    assert np.array_equal(round_to(numbers[finite].astype(np.float64), dtype), patterns[finite])


@pytest.mark.parametrize(("dtype", "theirs"), [(FLOAT16, "float16"), (BFLOAT16, "bfloat16"), (FLOAT32, "float32")])
def test_rounding_is_to_nearest_and_of_two_as_near_to_even(dtype, theirs):
    if theirs == "bfloat16":
        theirs = pytest.importorskip("ml_dtypes").bfloat16
    patterns = np.random.default_rng(1).integers(0, 1 << min(dtype.bits, 31), 20_000).astype(dtype.pattern)
    numbers = values(patterns, dtype)
    numbers = numbers[np.isfinite(numbers)].astype(np.float64)
    between = (numbers[1:] + numbers[:-1]) / 2
    neighbours = (numbers + values(round_to(numbers, dtype) ^ 1, dtype)) / 2  # half way to the next pattern: a tie
    neighbours = neighbours[np.isfinite(neighbours)]
    for some in (between, neighbours, -neighbours):
        some = some.astype(np.float32).astype(np.float64)  # bfloat16 is rounded by way of float32
        with np.errstate(over="ignore"):
            assert np.array_equal(round_to(some, dtype), some.astype(theirs).view(dtype.pattern))


@pytest.mark.parametrize(
    ("dtype", "expected"),
    list(zip(REAL, [3.4028234663852886e38, 65504.0, 3.3895313892515355e38, 1.7976931348623157e308])),
    ids=["float32", "float16", "bfloat16", "float64"],
)
def test_the_largest_number_is_finite_and_the_next_is_not(dtype, expected):
    assert largest(dtype) == expected
    pattern = round_to(np.array([expected]), dtype)
    assert values(pattern, dtype)[0] == expected
    assert np.isinf(values(pattern + 1, dtype)[0])


def test_a_tensors_patterns_are_its_bytes():
    data = np.array([1.0, -0.0], "<f4").view(np.uint8)
    assert Tensor("t", FLOAT32, (2,), data).patterns.tolist() == [0x3F800000, 0x80000000]


@pytest.mark.parametrize(
    ("shape", "matrix"),
    [
        ((), (1, 1)),
        ((1, 1, 1), (1, 1)),
        ((5,), (5, 1)),
        ((1, 1, 9), (9, 1)),
        ((3, 4), (3, 4)),
        ((1, 3, 1, 4), (3, 4)),
        ((8, 1, 3, 3), (8, 9)),
        ((0, 5), (0, 5)),
        ((1, 5, 0), (5, 0)),
    ],
)
def test_leading_dims_of_one_are_dropped(shape, matrix):
    assert matrix_shape(shape) == matrix


# -- code tables ------------------------------------------------------------------------------------------------------


def lengths_of(words):
    """uint8[257] from {symbol: length}."""
    lengths = np.zeros(257, np.uint8)
    for symbol, length in words.items():
        lengths[symbol] = length
    return lengths


def expand(nibbles, last):
    """The reader of spec section 6.2, written again: the length of 256, then those of 0 to `last`."""
    nibbles = iter(nibbles)
    lengths, runs = np.zeros(257, np.uint8), []
    lengths[END] = next(nibbles)
    while sum(map(len, runs)) <= last:
        length = next(nibbles)
        if runs and runs[-1] == [length]:
            runs[-1] = [length] * (2 + next(nibbles))
        else:
            runs.append([length])
    lengths[: last + 1] = sum(runs, [])
    assert next(nibbles, None) is None
    return lengths


@pytest.mark.parametrize(
    ("words", "nibbles"),
    [
        ({0: 2, 3: 1, END: 2}, [2, 2, 0, 0, 0, 1]),  # "2 0 0" is cut after two zeros: none more
        ({1: 1, END: 1}, [1, 0, 1]),
        ({0: 3, 1: 3, 2: 3, 3: 3, 4: 2, END: 2}, [2, 3, 3, 2, 2]),
        ({20: 1, END: 1}, [1, 0, 0, 15, 0, 0, 1, 1]),  # 17 zeros are the longest run, and counting starts anew
    ],
)
def test_a_table_shortens_runs_as_the_specification_says(words, nibbles):
    assert table_nibbles(lengths_of(words)) == nibbles


@pytest.mark.parametrize("seed", range(10))
def test_a_table_can_be_read_back(seed):
    rng = np.random.default_rng(seed)
    lengths = np.repeat(rng.integers(0, 16, 257), rng.integers(1, 40, 257))[:257].astype(np.uint8)
    lengths[0] = 1
    last = int(np.flatnonzero(lengths[:END])[-1])
    lengths[last + 1 : END] = 0
    assert np.array_equal(expand(table_nibbles(lengths), last), lengths)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({0: 1, 1: 1}, "no-end-symbol"),
        ({0: 1, 1: 1, END: 1}, "code-over-full"),
        ({0: 15, END: 1}, "code-under-full"),
        ({END: 1}, "code-under-full"),
    ],
)
def test_a_code_that_is_not_complete_is_refused(words, reason):
    with pytest.raises(CorruptFile) as refusal:
        check_lengths(lengths_of(words))
    assert refusal.value.reason == reason


def test_a_complete_code_passes():
    check_lengths(lengths_of({0: 1, 7: 2, 9: 15, 10: 15, END: 14, **{20 + n: n for n in range(3, 14)}}))


# -- codebooks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", REAL, ids=by_name)
def test_native_entries_are_copied_bit_for_bit(dtype):
    patterns = np.random.default_rng(0).integers(0, np.iinfo(dtype.pattern).max, 9, dtype.pattern)  # perhaps NaN
    assert np.array_equal(codebook_patterns(Codebook("native", 9, patterns.tobytes()), dtype), patterns)


@pytest.mark.parametrize("dtype", REAL, ids=by_name)
def test_half_and_ramp_entries_are_rounded_to_the_tensors_type(dtype):
    halves = np.array([-1.5, 0.0, 6.1e-5, 0.333], "<f2")
    half = Codebook("half", 4, halves.tobytes())
    assert np.array_equal(codebook_patterns(half, dtype), round_to(halves.astype(np.float64), dtype))
    first, step = float(np.float32(-0.3)), float(np.float32(0.1))
    ramp = Codebook("ramp", 7, first=first, step=step)
    assert np.array_equal(codebook_patterns(ramp, dtype), round_to(first + np.arange(7.0) * step, dtype))


INF = np.array([1, np.inf], "<f2").tobytes()
NAN = np.array([np.nan], "<f2").tobytes()


@pytest.mark.parametrize(
    ("codebook", "dtype"),
    [
        (Codebook("half", 2, INF), FLOAT32),
        (Codebook("half", 1, NAN), FLOAT64),
        (Codebook("ramp", 1, first=float("nan"), step=1.0), FLOAT32),
        (Codebook("ramp", 2, first=0.0, step=float("inf")), FLOAT32),
        (Codebook("ramp", 1, first=0.0, step=float("inf")), FLOAT64),
        (Codebook("ramp", 2, first=3e38, step=3e38), FLOAT32),  # finite before it is rounded
        (Codebook("ramp", 2, first=0.0, step=70000.0), FLOAT16),
        (Codebook("ramp", 2, first=0.0, step=3.4e38), BFLOAT16),
    ],
)
def test_entries_that_are_not_finite_are_refused(codebook, dtype):
    with pytest.raises(CorruptFile) as refusal:
        codebook_patterns(codebook, dtype)
    assert refusal.value.reason == "codebook-value"
