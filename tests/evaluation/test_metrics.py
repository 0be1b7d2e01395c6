"""Figures of arrays, each worked out by hand."""

import numpy as np
import pytest

from dcz.evaluation import differences, metrics
from dcz.evaluation.output_difference import OutputDifference, judged

ROWS = np.array([[1.0, 3, 2], [2, 2, 0], [np.nan, 1, 0], [np.inf, 1, 0], [-np.inf] * 3, [0, -np.inf, 1]])


@pytest.mark.parametrize("shape, rows", [
    ([4, 5], [4, 5]), ([4, 5, 1, 1], [4, 5]), ([2, 3, 5], [6, 5]), ([4, 1], [4, 1]), ([4, 1, 1], [4, 1]),
    ([7], [7, 1]), ([], [1, 1]),
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


# -- measures ----------------------------------------------------------------------------------------------------------


def difference(x, y, measure=None, samples=None, drawn=False, batches=1):
    """The difference of outputs that come in equal batches."""
    sums = differences.DifferenceSums(measure)
    size = len(x) // batches
    for start in range(0, len(x), size):
        sums.add(x[start : start + size], y if batches == 1 else y[start : start + size], samples)
    return sums.difference("y", drawn)


@pytest.mark.parametrize("shape", [(320,), (320, 1)])
@pytest.mark.parametrize("batches", [1, 10])
def test_labels_are_compared_sample_by_sample(shape, batches):
    """The first of each run of 32 is an easy one: of an argmax over the samples it would decide for all."""
    x = np.random.default_rng(0).integers(0, 10, 320)
    y = np.where(np.arange(320) % 32 % 2, 9 - x, x)
    found = difference(x.reshape(shape), y.reshape(shape), samples=320 // batches, batches=batches)
    assert (found.measure, found.agreement, found.samples) == ("label", 0.5, 320)


def test_one_number_a_sample_has_a_relative_error_and_no_classes():
    x = np.linspace(1, 2, 20)
    for array in (x, x[:, None]):
        found = difference(array, 1.25 * array, samples=20)
        assert (found.measure, found.agreement, found.samples) == ("relative error", None, 20)
        assert found.score == pytest.approx(0.75) and found.relative_error == pytest.approx(0.25)
    assert metrics.class_rows(x).shape == (20, 1)


def test_tokens_are_compared_place_by_place_along_their_axis():
    x = np.random.default_rng(0).normal(size=(4, 6, 9))
    y = x.copy()
    y[0, 0] = -x[0, 0]
    assert difference(x, y, metrics.TOP_TOKEN).agreement == 23 / 24
    maps = difference(np.moveaxis(x, 2, 1), np.moveaxis(y, 2, 1), metrics.Measure("top token", -2))
    assert (maps.agreement, maps.samples) == (23 / 24, 24)


def test_what_is_no_answer_agrees_with_nothing_as_evaluate_counts_it():
    x = np.array([[3.0, 1], [3, 1], [np.nan, 1], [1, 2]])
    y = np.array([[3.0, 1], [np.nan, 1], [np.nan, 1], [np.inf, 0]])
    assert difference(x, y, metrics.TOP_CLASS).agreement == 0.25


def test_embeddings_have_a_mean_cosine():
    x = np.array([[1.0, 0], [0, 2], [0, 0], [3, 4]])
    y = np.array([[2.0, 0], [1, 0], [0, 0], [4, 3]])
    found = difference(x, y, metrics.COSINE)
    assert found.score == pytest.approx((1 + 0 + 1 + 0.96) / 4) and found.agreement is None


def test_maps_are_compared_by_key():
    x = [{"cat": 0.7, "dog": 0.3}, {"cat": 0.1, "dog": 0.9}]
    y = [{"dog": 0.4, "cat": 0.6}, {"dog": 0.45, "cat": 0.55}]
    found = difference(x, x)
    assert (found.measure, found.agreement, found.decibels) == ("top key", 1, np.inf)
    found = difference(x, y)
    assert (found.agreement, found.samples) == (0.5, 2) and found.largest == pytest.approx(0.45)
    assert difference([{1: 0.5}], [{2: 0.5}]).decibels == -np.inf  # other keys


def test_sequences_are_compared_array_by_array():
    x = [np.ones((2, 3)), np.ones(4)]
    found = differences.DifferenceSums()
    found.add(x, [1.5 * array for array in x])
    assert found.difference("y").relative_error == pytest.approx(0.5)


def test_outputs_of_open_length_are_compared_by_the_rows_that_both_have():
    x = np.array([[0, 0, 5], [0, 0, 7], [1, 0, 3], [1, 0, 4]])
    found = difference(x, x[[3, 1, 0]], samples=2)
    assert (found.measure, found.agreement) == ("rows", 3 / 3.5)
    boxes = np.array([[10.0, 10, 50, 80], [100, 20, 150, 60]])
    moved = np.array([[500.0, 1, 2, 3], [100, 21, 151, 60], [10, 10, 51, 79]])
    assert difference(boxes, moved).agreement == 2 / 2.5
    assert difference(boxes, boxes[:0]).agreement == 0
    assert difference(x, x[::-1], samples=3).agreement == 1


def test_texts_are_labels_too():
    found = difference(np.array(["a", "b", "c", "d"], object), np.array(["a", "b", "c", "x"], object))
    assert (found.measure, found.agreement) == ("label", 0.75)


def test_drawn_inputs_give_no_share_where_the_original_hardly_varies():
    same = np.tile([[0.1, 0.9]], (32, 1))
    other = same[:, ::-1]
    assert difference(same, same, metrics.TOP_CLASS).agreement == 1
    found = difference(same, same, metrics.TOP_CLASS, drawn=True)
    assert (found.agreement, found.score, found.varies) == (None, None, False) and "no figure" in found.describe()
    mixed = np.concatenate([same, other])
    assert difference(mixed, mixed, metrics.TOP_CLASS, drawn=True).agreement == 1
    assert difference(same, same, metrics.RELATIVE, drawn=True).score is None
    assert difference(mixed, mixed, metrics.RELATIVE, drawn=True).score == 1


def test_a_limit_on_agreement_is_for_the_outputs_that_count_answers():
    classes = OutputDifference("a", 20, 1, 0.9, 5, "top class", 0.9)
    features = OutputDifference("b", 20, 1, None, 5, "cosine", 0.5)
    assert judged([features, classes]) == [classes] and judged([features]) == [features]


@pytest.mark.parametrize("kind", [np.float32, np.int64])
def test_rows_of_great_number_are_compared_in_bounded_time(kind):
    """All rows of whole numbers, the first of others."""
    rows = np.arange(400_000).reshape(-1, 2).astype(kind)
    sums = differences.DifferenceSums(metrics.ROWS)
    sums.add(rows, rows[::-1][:-5] if kind == np.int64 else rows[:-5])
    assert 0.99 < sums.difference("y").score <= 1
