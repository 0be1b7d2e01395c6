"""grid: steps that float32 holds, thresholds that weigh error against bits, levels joined where that costs least."""

import math

import numpy as np
import pytest

from dcz.codec.stages import grid
from dcz.codec.stages.histogram import Histogram


@pytest.mark.parametrize("step", [0.3, 1e-3, 1.5e-40, 7e30, 1.0])
def test_a_rounded_step_is_near_and_its_multiples_are_exact_in_float32(step):
    rounded = grid.round_step(step)
    assert rounded == pytest.approx(step, rel=2**-12)
    if step > 1e-38:
        multiples = np.arange(-2048, 2049) * rounded
        assert np.array_equal(multiples.astype(np.float32).astype(np.float64), multiples)
    assert grid.round_step(rounded) == rounded


def test_the_slope_of_the_rate_is_that_of_uniform_quantization():
    step, finer = 0.5, 0.5 * (1 - 1e-6)
    added_error, saved_bits = (step**2 - finer**2) / 12, math.log2(step / finer)
    assert grid.rate_slope(step) == pytest.approx(added_error / saved_bits, rel=1e-5)


def test_thresholds_are_where_error_and_bits_of_both_levels_are_equal():
    weights = np.random.default_rng(0).laplace(size=100_000)
    fitted = grid.fit(Histogram(weights), 1.0)
    codes = np.searchsorted(fitted.thresholds, weights)
    bits = -np.log2(np.bincount(codes, minlength=len(fitted.levels)) / len(weights))
    for n in np.flatnonzero(np.abs(fitted.thresholds) < 4):
        costs = [(fitted.thresholds[n] - fitted.levels[m]) ** 2 + grid.rate_slope(1.0) * bits[m] for m in (n, n + 1)]
        assert costs[0] == pytest.approx(costs[1], abs=0.01)


def test_the_neighbours_that_are_joined_are_the_cheapest():
    weights = np.repeat([0.0, 1.0, 1.1, 2.0], 50)
    thresholds = np.array([0.5, 1.05, 1.5])
    assert grid.join_levels(Histogram(weights), thresholds, 3).tolist() == [0.5, 1.5]
    assert grid.join_levels(Histogram(weights), thresholds, 4) is thresholds
