"""A histogram's look-ups against the weights themselves."""

import numpy as np
import pytest

from dcz.codec.stages.histogram import BINS, Histogram


def gaussian(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.05, n).astype(np.float32)


@pytest.mark.parametrize("important", [False, True])
def test_cells_hold_the_counts_and_sums_of_their_weights(important):
    weights = gaussian(BINS + 1000)
    importance = np.random.default_rng(1).random(len(weights)) if important else None
    histogram = Histogram(weights, importance)
    edges = np.array([0, 20_000, 20_000, BINS // 2, BINS - 1])
    cell = np.searchsorted(edges, histogram.bins(weights), side="right")
    often = np.ones(len(weights)) if importance is None else importance
    count, total = histogram.between(histogram.count, edges), histogram.between(histogram.total, edges)
    np.testing.assert_allclose(count, np.bincount(cell, often, 6), atol=1e-6)
    np.testing.assert_allclose(total, np.bincount(cell, often * weights, 6), atol=1e-6)


@pytest.mark.parametrize("important", [False, True])
def test_a_sample_stands_for_all_weights_and_every_outlier_counts(important):
    weights = np.append(gaussian(20 * BINS), np.float32([3, -2, 3.5]))
    importance = np.random.default_rng(1).random(len(weights)) + 0.5 if important else None
    whole, some = Histogram(weights, importance), Histogram(weights, importance, every=5)
    assert (some.low, some.high) == (whole.low, whole.high)
    edges = whole.edges(np.array([-0.3, -0.05, 0.0, 0.05, 0.3]))
    for every, few in ((whole.count, some.count), (whole.total, some.total)):
        there, found = whole.between(every, edges), some.between(few, edges)
        np.testing.assert_allclose(found[[0, -1]], there[[0, -1]])
        np.testing.assert_allclose(found[1:-1], there[1:-1], rtol=0.02)


def test_edges_lie_within_a_bin_of_their_thresholds():
    weights = gaussian(5000)
    histogram, thresholds = Histogram(weights), np.linspace(-0.1, 0.1, 9)
    below = histogram.count[histogram.edges(thresholds)]
    assert np.abs(below - (weights[:, None] < thresholds).sum(0)).max() <= np.diff(histogram.count).max()
    assert list(histogram.edges(np.array([-1e9, 1e9]))) == [0, BINS]


def test_quantiles_are_those_of_the_weights():
    weights = gaussian(5000)
    histogram = Histogram(weights)
    found = histogram.quantiles(np.diff(histogram.count), np.array([0.1, 0.5, 0.9]))
    np.testing.assert_allclose(found, np.quantile(weights, [0.1, 0.5, 0.9]), atol=1e-4)


def test_one_value_has_one_bin():
    histogram = Histogram(np.full(5, 3.0))
    assert histogram.count[1] == 5 and histogram.quantiles(np.diff(histogram.count), np.array([0.5])) == [3.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [2, 7, 256])
def test_codes_give_each_weight_the_nearest_centroid_exactly(dtype, k):
    # Weights that lie on thresholds, and one step of the type beside them, are what rounding would get wrong.
    rng = np.random.default_rng(k)
    centroids = np.sort(rng.normal(0, 1, k))
    thresholds = (centroids[1:] + centroids[:-1]) / 2
    near = np.concatenate([thresholds.astype(dtype), np.nextafter(thresholds.astype(dtype), dtype(9))])
    weights = np.concatenate([rng.normal(0, 1, 10_000).astype(dtype), near, centroids.astype(dtype)])
    codes = Histogram(weights).codes(weights, thresholds)
    wide = weights.astype(np.float64)
    assert np.array_equal(codes, (wide[:, None] > thresholds).sum(axis=1))
    distance = np.abs(wide[:, None] - centroids)
    assert distance[np.arange(len(wide)), codes] == pytest.approx(distance.min(axis=1), rel=1e-12, abs=1e-15)
