"""Error spread over tensors without data."""

import numpy as np
import pytest

from dcz import allocate


def test_the_mean_error_over_weights_is_the_quality_asked_for():
    sizes = [40_000, 60_000, 100_000, 120_000]  # none so small or large that it is clipped
    errors = 10 ** (-np.array(allocate.by_size(sizes, 30.0)) / 10)
    assert 10 * np.log10(np.average(errors, weights=sizes)) == pytest.approx(-30)


def test_error_is_in_proportion_to_size_within_limits():
    found = allocate.by_size([10_000, 20_000, 1_000_000], 30.0)
    assert found[0] == found[1] == 30 + allocate.FINER
    two = allocate.by_size([100_000, 200_000], 30.0)
    assert two[0] - two[1] == pytest.approx(10 * np.log10(2))
    assert min(allocate.by_size([10_000] * 1000 + [1_000_000], 30.0)) == 30 - allocate.COARSER


def test_small_tensors_are_not_coded_so_finely_that_sharing_saves_nothing():
    small, _ = allocate.by_size([256, 1_000_000], 36.0)
    assert 36 < small < 40


def test_of_no_tensors_there_is_nothing_to_spread():
    assert allocate.by_size([], 30.0) == []
