"""What was decoded is coded exactly, rows with scales too."""

import numpy as np
import pytest

from dcz.codec import encode, found_scales
from dcz.codec.decode import decode
from dcz.encoded import Encoded, Shared, Sparse
from dcz.format import record
from dcz.plan import LOSSLESS, Settings
from dcz.tensor import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Dtype, Tensor, round_to


def tensor(weights: np.ndarray, rows: int, dtype: Dtype = FLOAT32) -> Tensor:
    return Tensor("w", dtype, weights.shape, round_to(weights.ravel(), dtype).view(np.uint8), rows)


def rows_of(spread: float, shape: tuple[int, ...], rows: int = 1, seed: int = 0) -> np.ndarray:
    """Normally distributed weights, whose rows have sizes `spread` apart."""
    shape = shape if rows > 0 else shape[::-1]
    sizes = np.geomspace(1, 1 / spread, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    weights = np.random.default_rng(seed).normal(size=shape) * sizes
    return weights if rows > 0 else weights.T.copy()


def coded(source: Tensor, settings: Settings) -> tuple[int, Encoded, Tensor]:
    """The bytes of the record, its encoding, and the tensor that it decodes to."""
    found = encode.encode(source, settings, record.parts)
    encoded = record.read(found.data, found.info.encoding, source.dtype, source.shape)
    data = decode(encoded, source.dtype, source.shape)
    return len(found.data), encoded, Tensor("w", source.dtype, source.shape, data, source.rows)


SHAPES = [((256, 1, 5, 5), 1), ((128, 256), 1), ((256, 100), -1), ((2, 40, 64), 2), ((64, 3, 3, 3), 1)]
QUALITIES, REALS = (20.0, 34.0, 44.0), (FLOAT32, FLOAT64, FLOAT16, BFLOAT16)
# A third of them has each shape with each quality and with each type, and each quality with each type.
CASES = [
    pytest.param(*shape, quality, dtype, marks=[pytest.mark.slow] if (i + j + k) % 3 else [])
    for i, shape in enumerate(SHAPES)
    for j, quality in enumerate(QUALITIES)
    for k, dtype in enumerate(REALS)
]


@pytest.mark.parametrize("shape, rows, quality, dtype", CASES)
def test_rows_with_scales_are_found_again(shape, rows, quality, dtype):
    weights = (
        rows_of(100, shape, rows) if rows != 2 else np.stack([rows_of(100, shape[1:], 1, seed) for seed in (0, 1)])
    )
    settings = Settings(quality=quality)
    nbytes, encoded, once = coded(tensor(weights, rows, dtype), settings)
    assert isinstance(encoded, (Shared, Sparse)) and encoded.codebook.scales is not None
    again, _, twice = coded(once, settings)
    assert np.array_equal(once.data, twice.data)
    assert again < 1.002 * nbytes + 8


@pytest.mark.parametrize("outliers", [0, 8])
@pytest.mark.parametrize("form, rows", [("half", 400), ("native", 2800)])
def test_codebooks_of_means_are_found_again(form, rows, outliers):
    """Entries have no step here, and sizes alone tell the powers of two of scales."""
    draw = np.random.default_rng(0)
    weights = draw.laplace(size=(rows, 400)) * np.geomspace(1, 0.01, rows)[:, None]
    weights[:20] *= draw.random((20, 400)) < 0.004  # rows of one or two weights
    weights.flat[draw.choice(weights.size, outliers, replace=False)] *= 500
    nbytes, encoded, once = coded(tensor(weights, 1), Settings(quality=33.0))
    assert isinstance(encoded, (Shared, Sparse)) and encoded.codebook.form == form and encoded.codebook.scales
    again, _, twice = coded(once, Settings(quality=33.0))
    assert np.array_equal(once.data, twice.data) and again < 1.002 * nbytes + 8


def test_what_was_decoded_takes_no_more_bytes_exactly():
    nbytes, _, once = coded(tensor(rows_of(100, (128, 256)), 1), Settings(quality=34.0))
    exact, _, twice = coded(once, LOSSLESS)
    assert np.array_equal(once.data, twice.data) and exact < 1.002 * nbytes + 8


def test_a_grid_in_rows_is_no_reason_to_keep_what_may_be_coarse():
    fine, _, once = coded(tensor(rows_of(100, (128, 256)), 1), Settings(quality=60.0))
    assert coded(once, Settings(quality=34.0))[0] < 0.7 * fine


def test_multiples_that_float32_had_to_round_are_found_again():
    """Far out on a grid a multiple takes more than 24 bits; one row has no other weights."""
    draw = np.random.default_rng(0)
    weights = draw.normal(size=(64, 64)) * np.geomspace(1, 0.01, 64)[:, None]
    weights[::3, 5] *= 2000
    weights[7] = 0
    weights[7, 3] = 31.0
    settings = Settings(quality=44.0)
    nbytes, _, once = coded(tensor(weights, 1), settings)
    again, _, twice = coded(once, settings)
    assert np.array_equal(once.data, twice.data) and again < 1.02 * nbytes


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_ordinary_weights_have_no_scales_to_be_found(dtype):
    weights = rows_of(30, (128, 256)).astype(dtype)
    source = tensor(weights.astype(float), 1)
    assert found_scales.find(source, source.patterns != 0) == []
    weights[3] = 0.25  # a row that is constant tells nothing
    source = tensor(weights.astype(float), 1)
    assert found_scales.find(source, source.patterns != 0) == []


def test_few_distinct_values_of_rows_with_scales_keep_these():
    """A tensor of no more than 256 values in all could do without scales, at more bytes."""
    weights = rows_of(20, (24, 1, 5, 5))
    nbytes, encoded, once = coded(tensor(weights, 1), Settings(quality=14.0))
    assert encoded.codebook.scales is not None and len(np.unique(once.patterns)) < 256
    again, _, twice = coded(once, Settings(quality=14.0))
    assert np.array_equal(once.data, twice.data) and again < 1.01 * nbytes + 8
