"""Rounding, against what it must not be worse than."""

import numpy as np
import pytest

from dcz.calibrate import allocate, gptq, hessian
from dcz.calibrate.fitting import fit_levels, output_loss
from dcz.calibrate.levels import min_step


def problem(seed: int, groups=1, rows=40, size=30):
    """Weights, and H of inputs that are correlated as those of networks are."""
    random = np.random.default_rng(seed)
    mix = random.normal(size=(groups, size, size)) * np.exp(random.normal(size=(groups, 1, size)))
    x = np.maximum(mix @ random.normal(size=(groups, size, 200)), 0)
    return random.normal(size=(groups, rows, size)), x @ np.swapaxes(x, 1, 2) / 200


def damped(h):
    return h + hessian.damping(h)[:, None, None] * np.eye(h.shape[1])


def loss(errors, h):
    return float(np.einsum("grk,gkj,grj->", errors, damped(h), errors))


@pytest.mark.parametrize("groups, rows, size", [(1, 40, 30), (1, 20, 150), (8, 1, 9)])
@pytest.mark.parametrize("seed", range(3))
def test_gptq_is_never_worse_than_rounding_to_the_nearest(seed, groups, rows, size):
    weights, h = problem(seed, groups, rows, size)
    plain = np.rint(weights / 0.5) * 0.5
    found = gptq.quantize(weights, h, 0.5, rate_weight=0, sweeps=0, fit=False)
    swept = gptq.quantize(weights, h, 0.5, rate_weight=0, sweeps=3, fit=False)
    fitted = gptq.quantize(weights, h, 0.5, rate_weight=0, sweeps=0, fit=True)
    assert found.loss == pytest.approx(loss(weights - found.values, h))
    assert found.loss < 0.9 * loss(weights - plain, h)
    assert swept.loss <= found.loss
    assert fitted.loss <= found.loss
    assert np.isin(found.values, found.levels).all()


@pytest.mark.parametrize("seed", range(3))
def test_rate_distortion_decisions_buy_more(seed):
    """At as many bits, less loss than finer steps of nearest rounding."""
    weights, h = problem(seed, rows=200)
    quantized = gptq.quantize(weights, h, 0.8)
    steps = np.geomspace(0.8, 3, 30)
    nearest = [gptq.quantize(weights, h, s, rate_weight=0, sweeps=0, fit=False) for s in steps]
    assert quantized.loss < min(n.loss for n in nearest if n.bits <= quantized.bits)


def test_the_fitted_levels_are_those_of_least_squares():
    weights, h = problem(0)
    w, h = np.swapaxes(weights, 1, 2), damped(h)
    levels = np.arange(-4, 5) * 0.9
    codes = np.clip(np.rint(w / 0.9), -4, 4).astype(int) + 4
    fitted, renumbered = fit_levels(w, h, codes, levels, 0.0)
    best = output_loss(w - fitted[renumbered], h)
    assert best < output_loss(w - levels[codes], h)
    assert (fitted == 0).any() and (np.diff(fitted) > 0).all()
    for index in np.flatnonzero(fitted):  # moving any level either way makes it worse
        for move in (-0.02, 0.02):
            moved = fitted.copy()
            moved[index] += move
            assert output_loss(w - moved[renumbered], h) > best


def test_an_outlier_does_not_keep_the_others_coarse():
    weights = np.random.default_rng(0).normal(size=40_000)
    weights[0] = 60.0
    steps = {}
    for bits in (4.0, 6.5):
        curve = allocate.estimate_curve(weights, 1.0, 1.0, min_step(weights))
        steps[bits] = allocate.steps_for_bits({"w": curve}, bits * weights.size)["w"]
        found = gptq.quantize(weights.reshape(1, 200, 200), np.eye(200)[None], steps[bits], sweeps=0, fit=False)
        assert found.bits / weights.size == pytest.approx(bits, abs=0.15)
        assert len(np.unique(found.values)) <= 256
    assert steps[6.5] < (weights.max() - weights.min()) / 256


@pytest.mark.parametrize("step", [1e-4, 1e-2, 0.3, 10.0])
@pytest.mark.parametrize("outlier", [0.0, 30.0, 1e6])
def test_no_more_values_than_a_codebook_holds(step, outlier):
    weights, h = problem(1, rows=400)
    weights[0, 0, 0] += outlier
    found = gptq.quantize(weights, h, step)
    assert len(np.unique(found.values)) <= len(found.levels) <= 256
    if outlier and step < 1:
        assert found.values[0, 0, 0] == pytest.approx(weights[0, 0, 0], rel=0.1)


def test_weights_far_from_zero_and_close_together_are_told_apart():
    weights, h = problem(1, rows=400)
    found = gptq.quantize(1000 + weights, h, 0.05, fit=False)
    assert len(np.unique(found.values)) <= 256 and np.abs(found.values - 1000 - weights).mean() < 0.1


def test_inputs_that_are_always_zero_cost_nothing():
    weights, h = problem(2)
    h[:, 5], h[:, :, 5] = 0, 0
    found = gptq.quantize(weights, h, 0.5)
    assert np.count_nonzero(found.values[:, :, 5]) < np.count_nonzero(found.values[:, :, 6])
    assert np.isfinite(gptq.quantize(weights, 0 * h, 0.5).values).all()
    assert not gptq.quantize(0 * weights, h, 0.5).values.any()


@pytest.mark.parametrize("groups, size", [(1, 1), (3, 5), (1, 64), (2, 300), (1, 700)])
def test_the_factor_of_the_inverse_takes_the_place_of_the_matrix(groups, size):
    _, h = problem(0, groups, 1, size)
    h = damped(h)
    factor = h.copy()
    assert gptq.inverse_cholesky(factor) is factor
    assert np.array_equal(factor, np.triu(factor))
    expected = np.linalg.inv(h)
    np.testing.assert_allclose(np.swapaxes(factor, 1, 2) @ factor, expected, atol=1e-9 * np.abs(expected).max())
