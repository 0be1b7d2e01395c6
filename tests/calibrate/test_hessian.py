"""Statistics of layers' inputs, and what asymmetric calibration makes of them."""

import numpy as np
import pytest

from dcz.calibrate import hessian, im2col
from tests.models import normal


def statistics_of(batches, originals=None) -> hessian.InputStatistics:
    """Of the inputs [samples, k] of a dense layer."""
    accumulator = hessian.Accumulator(1, batches[0].shape[1], originals is not None)
    for index, batch in enumerate(batches):
        accumulator.add(batch, im2col.Dense(), original=None if originals is None else originals[index])
    return accumulator.statistics()


@pytest.mark.parametrize("largest", [4096, 7])
def test_statistics_are_those_of_all_inputs_however_they_come(largest, monkeypatch):
    monkeypatch.setattr(hessian, "MAX_FEATURES", largest)
    x = normal(40, 20, seed=3) + 0.1
    whole = statistics_of([x])
    parts = statistics_of([x[start : start + 9] for start in range(0, 40, 9)])
    np.testing.assert_allclose(whole.hessian(True), parts.hessian(True), atol=1e-8)
    square = x.T.astype(np.float64) @ x / 40
    mean = x.mean(0, dtype=np.float64)
    monkeypatch.setattr(hessian, "shrink", lambda matrices, count: None)
    if largest > 20:
        np.testing.assert_allclose(whole.hessian(False)[0], square, atol=1e-6)
        np.testing.assert_allclose(whole.hessian(True)[0], square - np.outer(mean, mean), atol=1e-6)
    else:  # three blocks of seven, the last filled up
        np.testing.assert_allclose(whole.hessian(False)[1], square[7:14, 7:14], atol=1e-6)
        np.testing.assert_allclose(whole.hessian(False)[2][:6, :6], square[14:, 14:], atol=1e-6)


def test_blocks_of_few_positions_are_multiplied_together(monkeypatch):
    """As of an unrolled recurrent layer: a step reads a handful of positions, and the sums are of k x k numbers."""
    products = []
    multiply = hessian.Accumulator._multiply
    monkeypatch.setattr(hessian.Accumulator, "_multiply", lambda self: (products.append(1), multiply(self)))
    x = normal(400, 64, seed=4)
    steps = [x[start : start + 2] for start in range(0, 400, 2)]
    originals = [step + 1 for step in steps]
    summed = statistics_of(steps, originals)
    assert len(products) <= 400 // (64 // hessian.TOGETHER) + 1
    np.testing.assert_allclose(summed.products[0], x.T.astype(np.float64) @ x, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(summed.cross_products[0], (x + 1).T.astype(np.float64) @ x, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("samples", [50, 100, 400])
def test_correlations_that_few_samples_show_by_chance_are_shrunk(samples):
    """The mean square error of all correlations falls, most where samples are few; variances stay."""
    random = np.random.default_rng(0)
    distances = np.abs(np.subtract.outer(np.arange(100), np.arange(100)))
    mixing = np.linalg.cholesky(0.7**distances)  # correlations of neighbours, as of pixels
    scales = np.exp(random.normal(size=100))
    scales[::9] = 0  # inputs that are never seen
    truth = (mixing @ mixing.T) * np.outer(scales, scales)
    x = (random.normal(size=(samples, 100)) @ mixing.T * scales).astype(np.float32)
    raw = x.T.astype(np.float64) @ x / samples
    shrunk = raw[None].copy()
    hessian.shrink(shrunk, samples)
    np.testing.assert_array_equal(np.diagonal(shrunk[0]), np.diagonal(raw))
    scale = np.where(scales > 0, np.sqrt(np.diagonal(truth)), 1)
    before, after = (float(np.square((each - truth) / np.outer(scale, scale)).sum()) for each in (raw, shrunk[0]))
    assert after < {50: 0.65, 100: 0.75, 400: 0.97}[samples] * before


def test_what_many_positions_show_stays():
    x = normal(50_000, 6, seed=1) @ np.array(normal(6, 6, seed=2))
    raw = x.T.astype(np.float64) @ x / len(x)
    shrunk = raw[None].copy()
    hessian.shrink(shrunk, len(x))
    np.testing.assert_allclose(shrunk[0], raw, rtol=1e-3)
    empty = np.zeros((2, 4, 4))
    hessian.shrink(empty, 0)
    assert not empty.any()


def test_the_asymmetric_target_compensates_the_errors_of_earlier_layers():
    random = np.random.default_rng(0)
    original = random.normal(size=(2000, 6)).astype(np.float32) + 1
    present = (original @ np.diag([0.5, 1, 1, 2, 1, 1]) + 0.01 * random.normal(size=(2000, 6))).astype(np.float32)
    statistics = statistics_of([present], [original])
    weights = random.normal(size=(1, 3, 6))
    target = statistics.asymmetric_target(weights, True, 1.0)
    np.testing.assert_allclose(target[0] * [0.5, 1, 1, 2, 1, 1], weights[0], atol=0.1)
    np.testing.assert_allclose(statistics.asymmetric_target(weights, True, 1e-9), weights, atol=1e-6)


def test_splitting_is_undone():
    array = normal(2, 3, 10)
    for parts in (1, 2, 3, 4):
        assert hessian.split_features(array, parts, 2).shape == (2 * parts, 3, -(-10 // parts))
        np.testing.assert_array_equal(
            hessian.join_features(hessian.split_features(array, parts, 2), parts, 10, 2), array
        )
