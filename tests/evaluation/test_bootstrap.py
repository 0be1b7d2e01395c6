"""Intervals by the bootstrap, held against what is known of means."""

import numpy as np
import pytest

from dcz.evaluation import bootstrap


def test_the_interval_of_a_mean_is_that_of_its_normal_distribution():
    numbers = np.random.default_rng(1).normal(3, 2, 400)
    low, high = bootstrap.interval(lambda drawn: numbers[drawn].mean(), 400, 2000)
    error = 1.645 * numbers.std() / 20  # nine tenths of a normal distribution
    assert (low, high) == pytest.approx((numbers.mean() - error, numbers.mean() + error), abs=0.1 * error)
    assert (low, high) == bootstrap.interval(lambda drawn: numbers[drawn].mean(), 400, 2000)


def test_a_figure_that_is_the_same_of_all_samples_has_no_width():
    assert bootstrap.interval(lambda drawn: 0.25, 5, 10) == (0.25, 0.25)
