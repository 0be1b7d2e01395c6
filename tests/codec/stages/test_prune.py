"""prune: exact counts, ties by position, order by magnitude."""

import math

import numpy as np
import pytest

from dcz.codec.stages import prune

pytestmark = pytest.mark.filterwarnings("error")

SAMPLES = {
    "gaussian": np.random.default_rng(0).normal(0, 1, 1001).astype(np.float32),
    "few values": np.random.default_rng(1).integers(-3, 4, 1000).astype(np.float32),
    "all equal": np.full(257, -0.5, np.float32),
    "all zero": np.zeros(100, np.float32),
    "mostly zero": np.random.default_rng(2).normal(0, 1, 999).astype(np.float32) * (np.arange(999) % 7 == 0),
    "both zeros": np.array([0.0, -0.0, 1.0, -0.0, 0.0, -1.0], np.float32),
    "one": np.array([3.0], np.float32),
    "none": np.empty(0, np.float32),
    "float16's values": np.random.default_rng(3).normal(0, 0.01, 2000).astype(np.float16).astype(np.float32),
    "float64": np.random.default_rng(4).normal(0, 1, 700),
    "float64, alike in 40 bits": 1 + np.random.default_rng(5).permutation(500) * 2.0**-52,
    "subnormal": np.arange(-50, 50).astype(np.float32) * np.float32(1e-45),
    "greatest": np.array([3.4e38, -3.4e38, 3.3e38, 1.0], np.float32),
    "many": np.random.default_rng(6).normal(0, 1, (1 << 18) + 5).astype(np.float32),
}

FILLED = [name for name in SAMPLES if SAMPLES[name].size]


def smallest_first(weights):
    """The oracle: positions by magnitude, of equal magnitudes the higher position first."""
    return np.lexsort((-np.arange(len(weights)), np.abs(weights)))


@pytest.mark.parametrize("sparsity", [0.0, 0.001, 0.1, 1 / 3, 0.5, 0.9, 0.99, 0.9999, 1.0])
@pytest.mark.parametrize("weights", SAMPLES.values(), ids=SAMPLES)
@pytest.mark.parametrize("at_once", [prune.MIN_SAMPLED, 0], ids=["at once", "as of many"])
def test_drops_exactly_the_smallest_magnitudes_and_of_equal_ones_the_higher_positions(
    weights, sparsity, at_once, monkeypatch
):
    monkeypatch.setattr(prune, "MIN_SAMPLED", at_once)
    expected = np.ones(len(weights), bool)
    expected[smallest_first(weights)[: round(sparsity * len(weights))]] = False
    mask = prune.by_sparsity(weights, sparsity)
    assert mask.dtype == bool
    assert np.array_equal(mask, expected)


def test_every_count_can_be_dropped():
    weights = np.random.default_rng(7).integers(-4, 5, 50).astype(np.float32)
    assert [int((~prune.by_sparsity(weights, n / 50)).sum()) for n in range(51)] == list(range(51))


def test_the_example_of_the_docstring():
    weights = np.array([0.1, -0.7, 0.0, 0.4], np.float32)
    assert prune.by_sparsity(weights, 0.5).tolist() == [False, True, False, True]


@pytest.mark.parametrize("multiple", [0.0, 0.5, 1.0, 3.0, 1e6])
@pytest.mark.parametrize("name", FILLED)
def test_by_deviation_keeps_what_numpys_deviation_keeps(name, multiple):
    weights = SAMPLES[name].astype(np.float64)
    edge = multiple * np.std(weights)
    clear = np.abs(np.abs(weights) - edge) > 1e-9 * edge  # numpy sums in another order
    mask = prune.by_deviation(SAMPLES[name], multiple)
    assert np.array_equal(mask[clear], (np.abs(weights) > edge)[clear])


@pytest.mark.parametrize("name", FILLED)
def test_standard_deviation_is_numpys(name):
    weights = SAMPLES[name]
    assert prune.standard_deviation(weights) == pytest.approx(np.std(weights.astype(np.float64)), rel=1e-9, abs=1e-300)


def test_standard_deviation_does_not_cancel_far_from_zero():
    # Of squares about 1e16 whose mean is taken away, float64 would keep nothing.
    weights = 1e8 + np.random.default_rng(8).normal(0, 1e-3, 10_000)
    assert prune.standard_deviation(weights) == pytest.approx(1e-3, rel=0.05)


def test_mean_square_and_deviation_of_nothing_are_zero():
    empty = np.empty(0, np.float32)
    assert prune.mean_square(empty) == prune.standard_deviation(empty) == 0.0


def test_mean_square_adds_one_weight_after_another():
    # The order is part of "same input, same bytes": sum() of numpy would add in pairs, and differ here.
    weights = np.random.default_rng(9).normal(0, 1, 1000).astype(np.float32)
    total = 0.0
    for weight in weights.tolist():
        total += weight * weight
    assert prune.mean_square(weights) == total / 1000 != math.fsum(weights.astype(np.float64) ** 2) / 1000


def test_weights_beyond_what_squares_hold_are_pruned_by_their_deviation():
    """Squares of doubles overflow from 1e154 on: then an infinite threshold pruned them all."""
    weights = np.array([-3.0, -1, 0.25, 0.5, 1, 2], np.float64)
    for scale in (1.0, 1e200, 1e300):
        assert prune.standard_deviation(weights * scale) == pytest.approx(scale * weights.std())
        assert prune.by_deviation(weights * scale, 0.5).tolist() == [True, True, False, False, True, True]


@pytest.mark.parametrize("rank_share", [0.001, 0.5, 0.9, 0.9999])
def test_the_weight_of_a_rank_among_many_is_the_one_that_sorting_finds(rank_share):
    random = np.random.default_rng(0)
    weights = random.normal(size=prune.MIN_SAMPLED + 5).astype(np.float32)
    weights[random.integers(0, len(weights), 1000)] = 0.25  # ties
    for each in (weights, np.sort(weights), np.where(random.random(len(weights)) < 0.6, np.float32(0), weights)):
        rank = int(rank_share * len(each))
        bits = np.sort(np.abs(each).view(np.uint32))
        value, below, equal = prune._select(each, rank)
        assert value == bits[rank - 1]
        assert below == np.searchsorted(bits, value) and equal == np.searchsorted(bits, value, "right") - below
