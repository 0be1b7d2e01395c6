"""Weights that are pruned together."""

import numpy as np
import pytest

import dcz
from dcz.errors import InvalidArgument
from dcz.plan import Plan, Rule, Settings
from dcz.train import Recipe, keep_patterned, retrain
from tests.models import arrays
from tests.train.samples import clusters, convolutional, layers, perceptron

pytest.importorskip("torch")

from dcz.train import Network


def masks(pattern: str, share: float, *tensors) -> list:
    """The masks of (scores, rows) each, as nested lists of 0 and 1."""
    scores = [np.array(values, np.float32) for values, _ in tensors]
    layouts = [(array.shape, rows) for array, (_, rows) in zip(scores, tensors)]
    found = keep_patterned([array.ravel() for array in scores], layouts, pattern, share)
    return [mask.reshape(array.shape).astype(int).tolist() for mask, array in zip(found, scores)]


A = [[9, 1, 4, 4], [0, 8, 7, 6], [1, 1, 2, 1]]  # means of rows: 4.5, 5.25, 1.25; of columns: 10/3, 10/3, 13/3, 11/3


@pytest.mark.parametrize("pattern, rows, share, expected", [
    ("rows", 1, 2 / 3, [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]),
    ("rows", 1, 0.4, [[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]),  # one row fits, and no part of another
    ("rows", 1, 0.0, [[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]),  # the best one always stays
    ("rows", 1, 1.0, [[1] * 4] * 3),
    ("rows", -1, 0.5, [[0, 0, 1, 1]] * 3),  # MatMul's rows are its columns
    ("columns", 1, 0.5, [[0, 0, 1, 1]] * 3),
    ("channels", 1, 0.75, [[1, 0, 1, 1]] * 3),  # the first of two as good
    ("channels", -1, 1 / 3, [[0] * 4, [1] * 4, [0] * 4]),
    ("rows", 0, 1 / 3, [[0] * 4, [1] * 4, [0] * 4]),  # of a table: its first axis
    ("2:4", 1, 0.5, [[1, 0, 1, 0], [0, 1, 1, 0], [1, 0, 1, 0]]),  # of equal ones the first
    ("2:4", 1, 0.75, [[1, 1, 1, 1], [0, 1, 1, 1], [1, 0, 1, 0]]),  # the others by their scores
    ("2:4", 1, 0.25, [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]),
    ("1:2", -1, 2 / 3, [[1, 0, 0, 0], [0, 1, 1, 1], [1, 1, 1, 1]]),  # along the first axis; the last block is short
])  # fmt: skip
def test_the_masks_of_a_matrix(pattern, rows, share, expected):
    assert masks(pattern, share, (A, rows)) == [expected]


def test_a_filter_and_a_channel_of_a_convolution():
    scores = np.ones((3, 2, 2, 2))
    scores[1], scores[:, 1], scores[2, 0, 0, 0] = 5, 3, 90
    (rows,) = masks("rows", 1 / 3, (scores, 1))
    assert np.array(rows).any((1, 2, 3)).tolist() == [False, False, True] and np.array(rows).sum() == 8
    (channels,) = masks("channels", 0.5, (scores, 1))
    assert np.array(channels).all((0, 2, 3)).tolist() == [True, False]
    (columns,) = masks("columns", 1 / 8, (scores, 1))
    assert np.argwhere(np.array(columns)).tolist() == [[i, 0, 0, 0] for i in range(3)]


def test_blocks_lie_along_the_input_channels_of_a_convolution():
    scores = np.random.default_rng(0).random((5, 8, 3, 3))
    (found,) = masks("2:4", 0.5, (scores, 1))
    blocks = np.array(found).reshape(5, 2, 4, 9)
    assert (blocks.sum(2) == 2).all()
    kept = np.sort(scores.reshape(5, 2, 4, 9), 2)[:, :, 2:].sum()
    assert (np.array(found) * scores).sum() == pytest.approx(kept)  # the greatest two of each


def test_several_tensors_share_one_threshold_and_keep_the_best_of_each():
    weak, strong = [[1, 1], [2, 2]], [[30, 30], [40, 40], [50, 50]]
    assert masks("rows", 0.6, (weak, 1), (strong, 1)) == [[[0, 0], [1, 1]], [[0, 0], [1, 1], [1, 1]]]
    assert masks("rows", 0.8, (weak, 1), ([7, 0, 9], 0), (strong, 1))[1] == [1, 0, 1]  # one axis: each by itself


@pytest.mark.parametrize("pattern", ["row", "4:2", "0:4", "2:2", "1:100", "2:4:8", 5, ""])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(InvalidArgument, match="pattern is rows, columns, channels, or N:M such as 2:4"):
        Recipe(pattern=pattern)


# -- in training -------------------------------------------------------------------------------------------------------

QUICK = {"bits": 4, "epochs": 3, "share_epochs": 1, "batch": 50, "threads": 1, "learning_rate": 0.01}


def run(path, proto=None, **changes):
    """A run of seconds."""
    x, y = clusters(300)
    plan = changes.pop("plan", None)
    return retrain(proto or perceptron(), path, x, labels=y, recipe=Recipe(**QUICK | changes), plan=plan, force=True)


def test_rows_go_whole_and_are_left_out_of_the_file(tmp_path):
    found = run(tmp_path / "rows.dcz", sparsity=0.7, pattern="rows", drop_idle=False)
    weight = arrays(dcz.load(tmp_path / "rows.dcz"))["fc1.weight"]  # [inputs, outputs]
    zero = (weight == 0).all(0)
    assert 0.7 < zero.mean() < 0.9 and (weight[:, ~zero] != 0).all() and found.sparsity >= 0.7
    assert found.after[1] < 0.2 < 0.7 < found.before[1]
    single = run(tmp_path / "single.dcz", sparsity=0.7, drop_idle=False)
    assert found.file_bytes < single.file_bytes - 700  # whose index says where each weight is


def test_two_of_four_stay_without_a_sparsity(tmp_path):
    found = run(tmp_path / "net.dcz", pattern="2:4", drop_idle=False)
    weight = arrays(dcz.load(tmp_path / "net.dcz"))["fc1.weight"]
    assert ((weight.reshape(16, 4, -1) != 0).sum(1) <= 2).all() and found.sparsity == pytest.approx(0.5, abs=0.01)
    found = run(tmp_path / "net.dcz", pattern="2:4", sparsity=0.8, drop_idle=False, regrow=True)
    weight = arrays(dcz.load(tmp_path / "net.dcz"))["fc1.weight"]
    assert ((weight.reshape(16, 4, -1) != 0).sum(1) <= 2).all() and found.sparsity == pytest.approx(0.8, abs=0.01)


def test_the_graph_says_what_a_row_is():
    assert Network(perceptron())["fc1.weight"].rows == -1 and Network(layers(transposed=1))["w1"].rows == 1
    assert Network(convolutional())["w1"].rows == 1


@pytest.mark.parametrize("changes, words", [
    ({"pattern": "rows"}, "give a sparsity too"),
    ({"pattern": "2:4", "sparsity": 0.4}, "makes 50% of the weights zero: give that sparsity or more"),
    ({"pattern": "1:4", "plan": Plan(Settings(), (Rule(("fc2.weight",), Settings(sparsity=0.5)),))}, "a plan's rule"),
])  # fmt: skip
def test_patterns_that_do_not_fit_their_sparsity_are_refused(changes, words, tmp_path):
    with pytest.raises(InvalidArgument, match=words):
        run(tmp_path / "net.dcz", **changes)
