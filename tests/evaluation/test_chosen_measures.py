"""Measures that users name or bring: worked out by hand, and refused where they are no scores."""

import numpy as np
import onnx
import pytest

import dcz
from dcz.errors import BadPlan
from dcz.evaluation.chosen_measures import (
    OF_ALL,
    OF_OUTPUTS,
    Answers,
    OfAll,
    chosen,
    nearest_neighbour,
    r_squared,
    text,
)
from dcz.evaluation.metrics import COSINE
from tests import models
from tests.models import normal
from tests.networks import perceptron


def test_a_name_or_a_function_is_a_measure_and_nothing_else_is():
    assert chosen("cosine") is COSINE and chosen("r2") is OF_ALL["r2"]
    own = chosen(nearest_neighbour)
    assert own == OfAll("nearest_neighbour", nearest_neighbour)
    with pytest.raises(BadPlan, match="there is no measure 'cosines': give MODULE:FUNCTION, or one of top-class, "):
        chosen("cosines")
    assert not OF_OUTPUTS.keys() & OF_ALL.keys()


def test_the_nearest_other_embedding_is_kept_or_not():
    wanted = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1.0]])
    assert nearest_neighbour(wanted, 3 * wanted).tolist() == [1, 1, 1, 1]
    moved = np.array([[1, 0], [1, 0.1], [1, 0.3], [0.1, 1.0]])  # the third is now near the second
    assert nearest_neighbour(wanted, moved).tolist() == [1, 1, 0, 1]


def test_the_share_of_variance_that_is_kept():
    wanted = np.array([[0.0], [1.0], [2.0], [3.0]])  # variance 5 about the mean 1.5
    assert r_squared(wanted, wanted) == 1 and r_squared(wanted, wanted + 0.5) == pytest.approx(1 - 1 / 5)
    assert r_squared(wanted, np.full((4, 1), 1.5)) == 0 == r_squared(wanted, -10 * wanted)
    assert r_squared(np.ones((3, 1)), np.ones((3, 1))) == 1 and r_squared(np.ones((3, 1)), np.zeros((3, 1))) == 0


def test_texts_are_equal_whatever_their_blanks_and_repetitions():
    def scores(*rows: str) -> np.ndarray:
        return np.stack([np.eye(4)[["_abc".index(letter) for letter in row]] for row in rows])

    wanted = scores("__aa_b__", "a_a__c__", "________")
    found = scores("_a__bb__", "aaa__c__", "__a_____")  # the same; one a of two is lost; one is added
    assert text(wanted, found).tolist() == [1, 0, 0] and text(wanted, wanted).tolist() == [1, 1, 1]


def test_answers_of_several_runs_are_one_array_where_they_fit():
    seen = []
    measure = OfAll("own", lambda wanted, found: seen.append((wanted, found)) or [1.0, 0.5, 0.0])
    answers = Answers(measure)
    answers.add({"y": np.zeros((2, 4)), "z": np.zeros((2, 3))}, {"y": np.ones((2, 4)), "z": np.zeros((2, 3))}, 2)
    answers.add({"y": np.zeros((1, 4)), "z": np.zeros((1, 5))}, {"y": np.ones((1, 4)), "z": np.zeros((1, 5))}, 1)
    assert answers.scores().tolist() == [1.0, 0.5, 0.0]
    ((wanted, found),) = seen
    assert wanted["y"].shape == (3, 4) and found["y"].all() and [each.shape for each in wanted["z"]] == [(2, 3), (1, 5)]


@pytest.mark.parametrize("result, words", [
    ([0.5, 2.0], "gives 2 numbers from 0.5 to 2 for 3 samples"), ([1.0, np.nan, 1.0], "a score from 0 to 1 for each"),
    ([], "gives 0 numbers"), (-0.1, "from -0.1"), (None, "3 samples"),
    ("high", "gives a str for 3 samples: .*: TypeError"),
    (np.ones(3, complex), "no real numbers"),
    ((each for each in (1.0,)), "gives a generator for 3 samples: .*: TypeError"),
])  # fmt: skip
def test_what_is_no_score_is_refused(result, words):
    answers = Answers(OfAll("own", lambda wanted, found: result))
    answers.add({"y": np.zeros((3, 4))}, {"y": np.zeros((3, 4))}, 3)
    with pytest.raises(BadPlan, match=f"measure own: .*{words}"):
        answers.scores()


def test_a_score_may_be_off_by_what_float32_rounds():
    answers = Answers(OfAll("own", lambda wanted, found: np.float32([1 + 1e-6, -1e-7, True])))
    answers.add({"y": np.zeros((3, 4))}, {"y": np.zeros((3, 4))}, 3)
    assert answers.scores().tolist() == [1, 0, 1]


@pytest.mark.filterwarnings("error")
def test_masked_entries_are_left_out_and_others_that_are_no_numbers_are_wrong():
    wanted = np.array([[1, 0, -np.inf], [1, 0.1, -np.inf], [0, 1, -np.inf]])
    assert r_squared(wanted, wanted) == 1 and 0.9 < r_squared(wanted, wanted + 0.01) < 1
    found = wanted.copy()
    found[1, 1] = np.nan
    assert r_squared(wanted, found) == 0
    assert nearest_neighbour(wanted[:, :2], found[:, :2]).tolist() == [0, 0, 0]  # the second one's are other ones now


def test_of_two_samples_no_nearest_neighbour_is_told():
    with pytest.raises(BadPlan, match="nearest neighbour wants 3 samples at least, .* and has 2: give more"):
        nearest_neighbour(np.eye(2), np.eye(2))


def test_texts_have_lengths_of_their_own_and_embeddings_have_not():
    runs = [np.eye(3)[[[1, 0, 2], [1, 1, 0]]], np.eye(3)[[[0, 0, 2, 1]]]]
    for name, scores in (("text", [1, 1, 1]), ("r2", None)):
        answers = Answers(OF_ALL[name], "y")
        for run in runs:
            answers.add({"y": run}, {"y": run}, len(run))
        if scores is not None:
            assert answers.scores().tolist() == scores
        else:
            with pytest.raises(BadPlan, match="measure R2: output 'y' has another shape for other samples"):
                answers.scores()


@pytest.fixture
def networks(tmp_path):
    """A perceptron, its coarse copy, and samples."""
    source = perceptron()
    onnx.save(source, tmp_path / "net.onnx")
    dcz.compress(source, tmp_path / "net.dcz", bits=3)
    return tmp_path / "net.onnx", tmp_path / "net.dcz", normal(60, 64)


@pytest.mark.parametrize("measure", ["cosine", "nearest-neighbour", "r2", "relative-error", "top-class"])
def test_evaluate_compares_by_what_was_asked_for(networks, measure):
    original, packed, x = networks
    found = dcz.evaluate(packed, {"x": x}, against=original, measure=measure)
    assert found.measure == (OF_OUTPUTS | OF_ALL)[measure].name and 0.2 < found.score < 1 and found.samples == 60
    assert dcz.evaluate(original, {"x": x}, against=original, measure=measure).score == pytest.approx(1)
    (wanted,), (y,) = (models.run(net, x=x) for net in (onnx.load(original), dcz.load(packed)))
    by_hand = {"nearest-neighbour": lambda: nearest_neighbour(wanted, y).mean(), "r2": lambda: r_squared(wanted, y)}
    if measure in by_hand:
        assert found.score == pytest.approx(by_hand[measure](), abs=1e-6)
        assert found.measure in repr(found) and f"{100 * found.score:.2f} %" in repr(found)


def test_evaluate_asks_a_function_once_for_all_samples(networks):
    original, packed, x = networks
    asked = []

    def near(wanted, found):
        asked.append({name: array.shape for name, array in wanted.items()})
        return np.abs(wanted["y"] - found["y"]).max(1) < 1

    found = dcz.evaluate(packed, {"x": x}, against=original, measure=near, batch_size=7)
    assert asked == [{"y": (60, 10)}] and found.measure == "near" and found.output == "all outputs"
    (wanted,), (y,) = (models.run(net, x=x) for net in (onnx.load(original), dcz.load(packed)))
    assert found.score == (np.abs(wanted - y).max(1) < 1).mean()
    with pytest.raises(BadPlan, match="a measure compares the answers of two models: give `against`"):
        dcz.evaluate(packed, {"x": x}, labels=np.zeros(60, int), measure=near)
