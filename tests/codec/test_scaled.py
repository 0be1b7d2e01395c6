"""Tensors with scales: rows keep their precision, and files decode to what the encoder said."""

import dataclasses

import numpy as np
import pytest

from dcz.codec import encode
from dcz.codec.decode import decode
from dcz.encoded import Shared, Sparse, Stored, step_scales
from dcz.format import record
from dcz.plan import LOSSLESS, Settings
from dcz.tensor import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Dtype, Tensor, ValueGrid, round_to, values

SAFE = Settings(quality=34.0)


def rows_of(spread: float, shape: tuple[int, ...]) -> np.ndarray:
    """Normally distributed weights, whose rows have sizes `spread` apart."""
    sizes = np.geomspace(1, 1 / spread, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return np.random.default_rng(0).normal(size=shape) * sizes


def tensor(weights: np.ndarray, rows: int, dtype: Dtype = FLOAT32) -> Tensor:
    return Tensor("w", dtype, weights.shape, round_to(weights.ravel(), dtype).view(np.uint8), rows)


def decibels(weights: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """The SQNR of each row."""
    axes = tuple(range(1, weights.ndim))
    return 10 * np.log10(np.square(weights).sum(axes) / np.square(weights - decoded).sum(axes))


def quantized(source: Tensor, settings: Settings = SAFE) -> np.ndarray:
    data = np.ascontiguousarray(encode.quantize(source, settings)[:])
    return values(data.view(source.dtype.pattern), source.dtype).reshape(source.shape).astype(float)


@pytest.mark.parametrize("spread", [1, 10, 100, 1000])
def test_small_rows_of_a_depthwise_tensor_are_as_good_as_large_ones(spread):
    weights = rows_of(spread, (512, 1, 5, 5))
    assert np.median(decibels(weights, quantized(tensor(weights, 1)))) > 33
    assert np.percentile(decibels(weights, quantized(tensor(weights, 1))), 1) > 28


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize(
    "shape, quality, least", [((256, 1, 5, 5), 34.0, 29), ((128, 512), 26.0, 18), ((128, 512), 44.0, 35)]
)
def test_rows_of_short_types_keep_their_precision_too(shape, quality, least, dtype):
    """Without scales their small rows have 0 to 17 dB here."""
    source = tensor(0.3 * rows_of(100, shape), 1, dtype)
    weights = values(source.patterns, dtype).reshape(shape).astype(float)
    decoded = quantized(source, Settings(quality=quality))
    assert decibels(weights, decoded).min() > least


@pytest.mark.parametrize("rows", [1, -1])
def test_rows_that_share_inputs_keep_some_of_their_precision(rows):
    weights = rows_of(1000, (64, 512))
    source = tensor(weights if rows > 0 else weights.T.copy(), rows)
    decoded = quantized(source) if rows > 0 else quantized(source).T
    assert decibels(weights, decoded).min() > 18


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64, FLOAT16, BFLOAT16], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("settings", [SAFE, Settings(quality=30.0, sparsity=0.8), Settings(quality=50.0)])
@pytest.mark.parametrize("shape, rows", [((256, 1, 5, 5), 1), ((300, 64), -1), ((40, 8, 3, 3), 1)])
def test_every_encoding_decodes_to_what_it_says(shape, rows, settings, dtype):
    weights = rows_of(300, shape) if rows > 0 else rows_of(300, shape[::-1]).T.copy()
    source = tensor(weights, rows, dtype)
    found = encode.encodings(source, settings)
    scaled = [each for each in found if isinstance(each.encoded, (Shared, Sparse)) and each.encoded.codebook.scales]
    assert scaled or (settings.sparsity and rows > 0)
    for candidate in found:
        decoded = decode(candidate.encoded, dtype, shape)
        assert np.array_equal(decoded, candidate.data[:])


@pytest.mark.parametrize("shape", [(256, 1, 3, 3), (64, 256)])
def test_more_quality_is_less_error_up_to_the_highest(shape):
    weights = rows_of(50, shape)
    sqnr = [
        np.median(decibels(weights, quantized(tensor(weights, 1), Settings(quality=float(q)))))
        for q in range(20, 61, 4)
    ]
    assert all(np.diff(sqnr) > 1) and sqnr[-1] > 57


@pytest.mark.parametrize("share", [0.003, 0.01, 0.05, 0.15])
@pytest.mark.parametrize("size", [100.0, 1000.0, 1e6, -3.4e38])
def test_outliers_leave_the_other_weights_their_precision(size, share):
    draw = np.random.default_rng(0)
    weights = draw.normal(0, 0.02, (128, 512))
    outliers = draw.random(weights.shape) < share
    weights[outliers] = size if size < 0 else weights[outliers] * size
    weights = weights.astype(np.float32).astype(float)
    decoded = quantized(tensor(weights, 1))
    for part, least in ((~outliers, 20), (outliers, 25)):
        error = np.square(weights[part] - decoded[part]).sum()
        assert error <= np.square(weights[part]).sum() * 10 ** (-least / 10)


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64, FLOAT16, BFLOAT16], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("pruned", [False, True])
def test_weights_on_a_grid_of_their_own_for_each_place_are_coded_exactly(pruned, axis, dtype):
    draw = np.random.default_rng(0)
    scales = draw.uniform(0.001, 0.01, (96, 1) if axis == 0 else (1, 128)).astype(np.float16).astype(np.float32)
    codes = np.clip(np.rint(draw.normal(0, 40, (96, 128))), -127, 127) * (
        draw.random((96, 128)) < (0.1 if pruned else 1)
    )
    on_grid = tensor(codes * scales + 0.0, 1, dtype)
    on_grid = dataclasses.replace(on_grid, grid=ValueGrid(axis, scales.ravel()))
    found = encode.encode(on_grid, LOSSLESS, record.parts)
    candidate = encode.encodings(on_grid, LOSSLESS)[0]
    assert candidate.encoded.codebook.scales is not None and len(found.data) < len(codes.ravel())
    assert np.array_equal(decode(candidate.encoded, dtype, on_grid.shape), on_grid.data)


def test_a_grid_that_the_weights_are_not_on_changes_nothing():
    off = dataclasses.replace(tensor(rows_of(10, (64, 64)), 1), grid=ValueGrid(0, np.full(64, 0.01, np.float32)))
    found = encode.encodings(off, LOSSLESS)
    assert all(isinstance(each.encoded, Stored) for each in found)


def test_scales_do_not_cost_the_tensor_its_quality():
    """Where rows have a few weights much larger than the others, more levels are worth their bits or not."""
    draw = np.random.default_rng(0)
    weights = draw.normal(size=(480, 1, 5, 5)) * np.exp(draw.normal(size=(480, 1, 5, 5)))
    weights *= np.geomspace(1, 0.01, 480).reshape(-1, 1, 1, 1)
    error = np.square(weights - quantized(tensor(weights, 1), Settings(quality=41.0))).sum()
    assert 10 * np.log10(np.square(weights).sum() / error) > 38


@pytest.mark.parametrize("settings", [Settings(bits=5), Settings(rate=4.0)])
@pytest.mark.parametrize("outlier, warned", [(0.1, False), (-1e6, True)])
def test_outliers_that_leave_the_others_no_precision_are_told(outlier, warned, settings):
    weights = np.random.default_rng(0).normal(0, 0.02, (128, 256))
    weights[3, 5] = outlier
    warning = encode.encode(tensor(weights, 1), settings, record.parts).warning
    assert bool(warning) == warned and ("quality" in warning) == warned
    assert not encode.encode(tensor(weights, 1), SAFE, record.parts).warning


@pytest.mark.parametrize("dead, warned", [(1e-9, False), (0.004, True)])
def test_weights_that_were_as_good_as_zero_are_not_told_to_have_become_it(dead, warned):
    """As of dead channels: two thirds of the rows."""
    weights = np.random.default_rng(0).normal(0, 0.02, (96, 256))
    weights[::3] *= 5
    weights[1::3], weights[2::3] = weights[1::3] * dead / 0.02, weights[2::3] * dead / 0.02
    warning = encode.encode(tensor(weights, 1), Settings(step=0.5), record.parts).warning
    assert ("became zero" in warning) == warned


@pytest.mark.parametrize("outlier", [0.1, 1e6])
def test_one_large_weight_makes_no_others_negligible(outlier):
    weights = np.random.default_rng(0).normal(0, 0.02, (96, 256))
    weights[3, 5] = outlier
    assert "became zero" in encode.encode(tensor(weights, 1), Settings(quality=5), record.parts).warning


def on_grid(levels: int, shape=(64, 1, 5, 5), step: float = 3 * 2.0**-12) -> Tensor:
    """Whole numbers below `levels` times a step times the scales of the rows, which are steps."""
    steps = np.random.default_rng(1).integers(0, 60, shape[0]).astype(np.uint8)
    numbers = np.random.default_rng(2).integers(-levels // 2, levels // 2, shape) * step
    weights = numbers * step_scales(steps).reshape(-1, 1, 1, 1)
    return dataclasses.replace(tensor(weights, 1), grid=ValueGrid(0, np.empty(0), steps))


@pytest.mark.parametrize("levels", [100, 4000, 60000])
def test_what_lies_on_one_grid_in_units_of_scales_is_coded_exactly(levels):
    source = on_grid(levels)
    found = encode.encode(source, LOSSLESS, record.parts)
    encoded = record.read(found.data, found.info.encoding, source.dtype, source.shape)
    assert isinstance(encoded, Shared) and encoded.codebook.scales is not None
    assert (encoded.codebook.form == "fine") == (levels > 256)
    assert np.array_equal(decode(encoded, source.dtype, source.shape).view("<u4"), source.patterns)
    unknown = dataclasses.replace(source, grid=None, rows=0)
    assert len(found.data) < 0.7 * len(encode.encode(unknown, LOSSLESS, record.parts).data)


def test_a_fine_grid_without_scales_is_coded_exactly():
    weights = np.random.default_rng(2).integers(-2000, 2000, (64, 64)) * 5 * 2.0**-12
    source = dataclasses.replace(tensor(weights, 1), grid=ValueGrid(None, np.empty(0)))
    found = encode.encode(source, LOSSLESS, record.parts)
    encoded = record.read(found.data, found.info.encoding, source.dtype, source.shape)
    assert isinstance(encoded, Shared) and encoded.codebook.form == "fine"
    assert np.array_equal(decode(encoded, source.dtype, source.shape).view("<u4"), source.patterns)


def test_scales_that_the_weights_are_not_on_change_nothing():
    source = dataclasses.replace(tensor(rows_of(4, (64, 1, 5, 5)), 1), grid=on_grid(10).grid)
    found = encode.encode(source, LOSSLESS, record.parts)
    encoded = record.read(found.data, found.info.encoding, source.dtype, source.shape)
    assert isinstance(encoded, Stored)
    assert np.array_equal(decode(encoded, source.dtype, source.shape).view("<u4"), source.patterns)
