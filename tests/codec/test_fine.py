"""More levels than a codebook has entries."""

import numpy as np
import pytest

from dcz.codec import encode, fine
from dcz.codec.decode import decode
from dcz.encoded import Shared, Sparse, Stored
from dcz.format import record
from dcz.plan import Settings
from dcz.tensor import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Tensor, round_to, values


def tensor(numbers, dtype=FLOAT32, rows=0):
    return Tensor("w", dtype, np.shape(numbers), round_to(np.ravel(numbers), dtype).view(np.uint8), rows)


def gaussian(shape=(80, 100), seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, shape)


def coded(source, settings):
    """The record, its encoding, and the values that it decodes to."""
    found = encode.encode(source, settings, record.parts)
    encoded = record.read(found.data, found.info.encoding, source.dtype, source.shape)
    data = decode(encoded, source.dtype, source.shape)
    return found, encoded, values(data.view(source.dtype.pattern), source.dtype).reshape(source.shape).astype(float)


def sqnr(source, decoded):
    exact = values(source.patterns, source.dtype).astype(float).reshape(decoded.shape)
    return 10 * np.log10(np.square(exact).sum() / np.square(exact - decoded).sum())


@pytest.mark.parametrize("quality", [44.0, 48.0, 54.0, 60.0, 66.0, 72.0])
def test_a_quality_is_reached_in_hardly_more_bits_than_it_takes(quality):
    source = tensor(gaussian())
    found, encoded, decoded = coded(source, Settings(quality=quality))
    assert isinstance(encoded, Shared) and encoded.codebook.form == "fine" and found.info.minor == 1
    assert quality - 0.5 < sqnr(source, decoded) < quality + 1
    entropy = np.log2(np.sqrt(2 * np.pi * np.e)) - np.log2(np.sqrt(12) * 10 ** (-quality / 20))  # of normal weights
    assert 8 * len(found.data) / decoded.size < entropy + 0.25


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64, FLOAT16, BFLOAT16], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("zeros", [0.0, 0.1, 0.9])
def test_zeros_stay_zeros_and_cost_little_in_every_type(zeros, dtype):
    numbers = gaussian()
    numbers[np.random.default_rng(1).random(numbers.shape) < zeros] = 0
    source = tensor(numbers, dtype)
    found, encoded, decoded = coded(source, Settings(quality=52.0))
    assert encoded.codebook.form == "fine" and isinstance(encoded, Sparse if zeros > 0.5 else Shared)
    assert not decoded[numbers == 0].any() and sqnr(source, decoded) > 51
    assert len(found.data) < (0.2 + 1.3 * (1 - zeros)) * numbers.size


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64, FLOAT16, BFLOAT16], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("quality", [44.0, 60.0])
def test_what_was_decoded_is_coded_exactly(quality, dtype):
    settings = Settings(quality=quality)
    found, _, decoded = coded(tensor(gaussian(), dtype), settings)
    again, _, twice = coded(tensor(decoded, dtype), settings)
    assert np.array_equal(decoded, twice) and len(again.data) == len(found.data)


def test_a_fine_grid_is_no_reason_to_keep_what_may_be_coarse():
    _, _, decoded = coded(tensor(gaussian()), Settings(quality=60.0))
    source = tensor(decoded)
    found, encoded, coarse = coded(source, Settings(quality=30.0))
    assert encoded.codebook.form != "fine" and 29 < sqnr(source, coarse) < 31


@pytest.mark.parametrize("outlier, encoding", [(30.0, Shared), (1e9, Stored)])
def test_an_outlier_costs_the_others_nothing(outlier, encoding):
    numbers = gaussian()
    numbers[3, 5] = outlier
    source = tensor(numbers)
    _, encoded, decoded = coded(source, Settings(quality=50.0))
    assert isinstance(encoded, encoding)  # 2^16 levels reach no further
    rest = numbers != outlier
    error = np.square(numbers[rest] - decoded[rest]).sum()
    assert 10 * np.log10(np.square(numbers[rest]).sum() / error) > 49


def test_few_weights_are_coded_in_fewer_bytes_than_they_have():
    source = tensor(gaussian((96,)))
    found, encoded, decoded = coded(source, Settings(quality=60.0))
    assert encoded.codebook.form == "fine" and sqnr(source, decoded) > 59 and len(found.data) < 170


def test_rounding_errors_cancel_in_each_row():
    source = tensor(gaussian((40, 200)), rows=1)
    mask = source.patterns != 0
    balanced = fine.share_finely(source, mask, Settings(quality=46.0))
    plain = fine.share_finely(tensor(gaussian((40, 200))), mask, Settings(quality=46.0))
    exact = gaussian((40, 200)).astype(np.float32)
    sums = [
        np.abs((values(each.elements(slice(0, 8000), FLOAT32), FLOAT32).reshape(40, 200) - exact).sum(axis=1))
        for each in (balanced, plain)
    ]
    assert sums[0].max() < plain.fine.step < sums[1].max()


def test_levels_are_told_by_inspect(tmp_path):
    import dcz
    from dcz.reading.shared_values import shared_values
    from tests.networks import perceptron

    dcz.compress(perceptron(hidden=300), tmp_path / "m.dcz", Settings(quality=60.0))
    row = max(dcz.inspect(tmp_path / "m.dcz").rows, key=lambda row: row.original)
    assert row.codebook == "fine" and row.entries > 1000 and row.weight_bits_share > 10
    (pairs,) = shared_values(tmp_path / "m.dcz", row.name).values()
    assert len(pairs) <= 256 and sum(fraction for _, fraction in pairs) == pytest.approx(1)


@pytest.mark.parametrize("zeros", [0.3, 0.4, 0.5, 0.6, 0.9])
def test_zeros_among_the_weights_of_a_row_are_no_bulk_beside_which_the_others_are_outliers(zeros):
    numbers = gaussian((128, 576))
    numbers[np.random.default_rng(1).random(numbers.shape) < zeros] = 0
    _, _, decoded = coded(tensor(numbers, rows=1), Settings(quality=34.0))
    rows = np.square(numbers).sum(axis=1) / np.square(numbers - decoded).sum(axis=1)
    assert 10 * np.log10(rows.min()) > 31


@pytest.mark.parametrize("length", [20, 50, 63, 64, 100])
def test_a_sentinel_leaves_the_rest_of_its_row(length):
    numbers = gaussian((40, length))
    numbers[7, 3] = -3.4e38
    _, _, decoded = coded(tensor(numbers, rows=1), Settings(quality=40.0))
    rest = np.delete(numbers[7], 3), np.delete(decoded[7], 3)
    assert np.square(rest[0] - rest[1]).sum() < 1e-3 * np.square(rest[0]).sum()


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64, FLOAT16, BFLOAT16], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("size", [1e-50, 1e-42, 1e-41, 1e-40, 300.0, 3e4, 1e38, 1e60])
@pytest.mark.parametrize("quality", [44.0, *(pytest.param(q, marks=pytest.mark.slow) for q in (52.0, 60.0)), 72.0])
def test_any_size_that_a_type_holds_is_decoded_to_finite_numbers(quality, size, dtype):
    most = {"float16": 65504.0, "bfloat16": 3.38e38, "float32": 3.4e38}.get(dtype.name, 1e300)
    numbers = np.clip(np.random.default_rng(0).normal(0, 1, (64, 9)) * size, -most, most)
    numbers[3, 4] = min(most, 5 * size)
    source = tensor(numbers, dtype, rows=1)
    found, _, decoded = coded(source, Settings(quality=quality))
    assert np.isfinite(decoded).all() and len(found.data) <= len(source.data) + 8


@pytest.mark.parametrize("dtype", [FLOAT16, FLOAT32], ids=lambda dtype: dtype.name)
def test_weights_near_the_largest_number_stay_finite(dtype):
    most = 65504.0 if dtype is FLOAT16 else 3.4028235e38
    source = tensor(np.random.default_rng(0).uniform(-1, 1, (40, 50)) * most, dtype)
    assert np.isfinite(coded(source, Settings(quality=60.0))[2]).all()


def test_less_quality_is_no_larger_file():
    sizes = [len(coded(tensor(gaussian((64, 64))), Settings(quality=float(q)))[0].data) for q in range(38, 60)]
    assert all(after >= before for before, after in zip(sizes, sizes[1:], strict=False))


def test_minus_zero_of_an_exact_tensor_stays():
    numbers = np.rint(gaussian((50, 40)) * 30) * 0.5
    numbers[0] = -0.0
    source = tensor(numbers)
    assert np.array_equal(round_to(coded(source, Settings(quality=34.0))[2].ravel(), FLOAT32), source.patterns)
