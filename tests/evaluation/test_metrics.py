"""Figures of arrays, each worked out by hand."""

import numpy as np
import pytest

from dcz.evaluation import metrics

ROWS = np.array([[1.0, 3, 2], [2, 2, 0], [np.nan, 1, 0], [np.inf, 1, 0], [-np.inf] * 3, [0, -np.inf, 1]])


@pytest.mark.parametrize("shape, rows", [
    ([4, 5], [4, 5]), ([4, 5, 1, 1], [4, 5]), ([2, 3, 5], [6, 5]), ([4, 1], [4, 1]), ([4, 1, 1], [4, 1]),
    ([7], [1, 7]), ([], [1, 1]),
])  # fmt: skip
def test_outputs_become_rows_along_their_last_axis_but_for_ones(shape, rows):
    assert list(metrics.class_rows(np.zeros(shape)).shape) == rows
    assert metrics.holds_classes(np.zeros(shape)) == (rows[1] > 1)


@pytest.mark.parametrize("output, rows", [
    (np.zeros((4, 5)), (4, 5)), (np.zeros((4, 1, 5, 1)), (4, 5)), (np.zeros((4, 5, 2)), None), (np.zeros((4, 1)), None),
    (np.zeros((4, 0)), None), (np.zeros((3, 5)), None), (np.zeros((4, 5), int), None), ([1.0] * 4, None),
])  # fmt: skip
def test_only_outputs_of_one_row_a_sample_are_rows_of_samples(output, rows):
    found = metrics.row_per_sample(output, 4)
    assert rows == (None if found is None else found.shape)


def test_the_top_class_is_the_first_of_the_largest_finite_entries():
    assert metrics.has_top_class(ROWS).tolist() == [True, True, False, False, False, True]
    assert metrics.top_class(ROWS[[0, 1, 5]]).tolist() == [1, 0, 2]
    assert metrics.same_top_class(ROWS[[0, 1]], ROWS[[5, 1]]).tolist() == [False, True]
    assert metrics.label_rank(ROWS[[0, 1, 1, 1]], np.array([2, 0, 1, 2])).tolist() == [1, 0, 1, 2]


def test_probabilities_are_told_from_logits_by_rows_that_have_a_top_class():
    rows = np.array([[0.25, 0.75], [0.9995, 0], [np.nan, 7]])
    assert metrics.are_probabilities(rows)
    assert not metrics.are_probabilities(rows * 2) and not metrics.are_probabilities(np.array([[-0.5, 1.5]]))


def test_logarithms_of_probabilities_have_a_floor_that_those_of_logits_do_not_need():
    logs = metrics.log_probabilities(np.array([[1.0, 0], [np.nan, 1]]), True, floor=np.exp(-20))
    np.testing.assert_allclose(logs, [[0, -20], [np.nan, np.nan]])
    np.testing.assert_allclose(metrics.log_probabilities(np.array([[1000.0, 0]]), False), [[0, -1000]])


def test_divergence_is_that_of_the_formula_and_takes_probabilities_of_zero():
    p, q = np.array([[0.5, 0.5], [1, 0]]), np.array([[0.25, 0.75], [0.5, 0.5]])
    expected = [0.5 * np.log(2) + 0.5 * np.log(2 / 3), np.log(2)]
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(metrics.kl_divergence(np.log(p), np.log(q)), expected)
    single = metrics.kl_of_probabilities(p.astype(np.float32), q.astype(np.float32), 1e-12)
    assert single.dtype == np.float64
    np.testing.assert_allclose(single, expected, rtol=1e-6)


@pytest.mark.parametrize("signal, noise, decibels", [
    (100, 1, 20), (1, 0, np.inf), (0, 0, np.inf), (0, 1, -np.inf), (1, np.inf, -np.inf),
])  # fmt: skip
def test_the_ratio_of_signal_to_noise_is_in_decibels(signal, noise, decibels):
    assert metrics.sqnr(float(signal), float(noise)) == decibels
