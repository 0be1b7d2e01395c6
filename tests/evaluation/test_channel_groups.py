"""Outputs that hold numbers of several kinds, worked out by hand."""

import numpy as np
import pytest

from dcz.evaluation.channel_groups import MAX_CHANNELS, ChannelSums
from dcz.evaluation.differences import DifferenceSums
from dcz.evaluation.metrics import RELATIVE, TOP_CLASS


def boxes(scores: float = 0.5) -> np.ndarray:
    """Detections [2, 6, 10]: four coordinates of 200 pixels and two scores a place."""
    output = np.full((2, 6, 10), 200.0)
    output[:, 4:] = scores
    return output


def test_scores_are_judged_apart_from_coordinates_in_pixels():
    changed = boxes()
    changed[:, :4] += 0.2  # 60 dB
    changed[:, 4:] += 0.05  # 20 dB
    sums = DifferenceSums(RELATIVE)
    for start in range(2):  # batches of one sample
        sums.add(boxes()[start : start + 1], changed[start : start + 1])
    found = sums.difference("output0")
    assert found.decibels > 58
    assert found.worst_channels.channels == (4, 5) and found.worst_channels.axis == 1
    assert found.worst_channels.decibels == pytest.approx(20)
    assert found.relative_error == pytest.approx(0.1) and found.score == pytest.approx(0.9)
    assert found.describe("samples") == "relative error 10 % in entries 4 to 5 of axis 1 over 2 samples"


@pytest.mark.parametrize("turned", [False, True])
def test_channels_are_the_shorter_of_the_second_axis_and_the_last(turned):
    x, sums = boxes(), ChannelSums()
    sums.add(*(each.transpose(0, 2, 1) if turned else each for each in (x, x * 0.01)))
    assert sums.worst().axis == (2 if turned else 1)


def test_channels_of_like_size_are_one_group():
    sums = ChannelSums()
    sums.add(boxes(scores=21.0), boxes() * 0.01)
    assert sums.worst() is None


def test_channels_that_are_zero_or_equal_are_no_group():
    sums = ChannelSums()
    sums.add(boxes(scores=0.0), boxes() * 0.01)
    assert sums.worst() is None
    sums = ChannelSums()
    sums.add(boxes(), np.zeros((2, 6, 10)))
    assert sums.worst() is None


@pytest.mark.parametrize("shapes", [[(4,)], [(2, MAX_CHANNELS + 1)], [(2, 6, 10), (2, 5, 10)]])
def test_no_groups_without_channels_of_a_fixed_number(shapes):
    sums = ChannelSums()
    for shape in shapes:
        x = np.geomspace(1, 1e6, int(np.prod(shape))).reshape(shape)
        sums.add(x, x * 0.1)
    assert sums.worst() is None


def test_groups_are_named_in_words():
    sums = ChannelSums()
    x = np.array([[1.0, 100, 1, 1, 100]])
    sums.add(x, np.array([[0.1, 1, 0.1, 0.1, 1]]))
    assert sums.worst().describe() == "3 entries of axis 1 (0, 2, ...)"
    sums = ChannelSums()
    sums.add(x[:, 1:3], np.array([[1, 0.1]]))
    assert sums.worst().describe() == "entry 1 of axis 1"


def test_an_answer_that_is_no_number_agrees_with_nothing_and_a_place_without_one_is_left_out():
    rows = np.array([[1.0, 2], [np.nan, 1], [-np.inf, -np.inf], [3, 1]])
    sums = DifferenceSums(TOP_CLASS)
    sums.add(rows, rows.copy())
    found = sums.difference("logits")
    assert (found.samples, found.score) == (3, pytest.approx(2 / 3))
