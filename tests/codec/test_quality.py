"""Error spread over tensors without data."""

import numpy as np
import pytest

from dcz.codec import quality


def test_the_mean_error_over_weights_is_the_quality_asked_for():
    sizes, squares = [40_000, 60_000, 100_000, 120_000], [1e-3, 0.3, 1e-4, 2e-3]  # none so small that it is clipped
    errors = 10 ** (-np.array(quality.by_size(sizes, squares, 30.0)) / 10)
    assert 10 * np.log10(np.average(errors, weights=sizes)) == pytest.approx(-30)


def test_steps_are_in_proportion_to_magnitude_and_count():
    sizes, squares = np.array([10_000, 20_000, 20_000]), np.array([1.0, 1.0, 0.01])
    steps = np.sqrt(squares) * 10 ** (-np.array(quality.by_size(sizes, squares, 30.0)) / 20)
    wanted = np.sqrt(squares) ** quality.MAGNITUDE * sizes**quality.COUNT
    assert steps / steps[0] == pytest.approx(wanted / wanted[0])


def test_no_tensor_is_far_from_the_average():
    sizes, squares = [10_000_000, 1_000_000, 100_000], [1.0, 1.0, 1e-30]
    found = quality.by_size(sizes, squares, 30.0)
    assert min(found) > 30 - quality.MAX_COARSER - 1 and max(found) < 30 + quality.MAX_FINER + quality.MAX_COARSER


def test_tensors_of_zeros_do_not_count():
    assert quality.by_size([1000, 10_000], [0.0, 1.0], 30.0)[1] == pytest.approx(30.0)
    assert quality.by_size([1000, 1000], [0.0, 0.0], 30.0) == [30.0, 30.0]


def test_no_tensors_give_no_qualities():
    assert quality.by_size([], [], 30.0) == []


def test_small_and_depthwise_networks_are_coded_more_finely():
    dense, depthwise = (512, 512, 3, 3), (512, 1, 3, 3)
    assert quality.margin([dense]) == 0
    assert quality.margin([(256, 512)]) == pytest.approx(3 * quality.PER_HALVING)
    assert quality.margin([(8, 8)]) == quality.MAX_SMALL
    assert quality.margin([dense] * 9 + [depthwise]) == 0  # as the first layer for images of one channel is
    assert 0 < quality.margin([dense] * 8 + [depthwise] * 2) < quality.DEPTHWISE
    assert quality.margin([dense] * 4 + [depthwise] * 4) == quality.DEPTHWISE
    assert quality.margin([dense] * 4 + [depthwise] * 4, known=0.6) == quality.DEPTHWISE_KNOWN
    assert quality.margin([]) == 0
