"""A drop by a measure that was chosen, in a run of tuning and by hand."""

import numpy as np
import pytest

import dcz
from dcz.errors import BadPlan
from dcz.evaluation.batches import SampleBatches
from dcz.evaluation.chosen_measures import OfAll
from dcz.tuning.chosen_criterion import ChosenCriterion
from tests import models
from tests.networks import correlated, perceptron
from tests.tuning.test_criteria import ALL_THREE, HELD_OUT, X, echo, predictor_and_batches


def same_answer(wanted, found):
    return wanted["y"].argmax(1) == found["y"].argmax(1)


@pytest.mark.parametrize("batch", ["n", 1, 2])
def test_the_mean_of_scores_has_an_interval_and_one_score_has_none(batch):
    predictor, held_out, _ = predictor_and_batches(batch)
    criterion = ChosenCriterion(predictor, held_out, OfAll("same", same_answer))
    kept, lost = criterion(echo(batch=batch)), criterion(echo(ALL_THREE, batch))
    assert kept == {"agreement": 1.0, "drop": 0.0, "expected_drop": 0.0, "drop_low": 0.0, "drop_high": 0.0}
    assert lost["drop"] == lost["expected_drop"] == pytest.approx(0.8)
    assert 0.2 < lost["drop_low"] < 0.8 < lost["drop_high"] <= 1
    one = ChosenCriterion(predictor, held_out, OfAll("one", lambda wanted, found: same_answer(wanted, found).mean()))
    assert one(echo(ALL_THREE, batch)) == {"agreement": pytest.approx(0.2), "drop": pytest.approx(0.8)}
    assert one.majority_drop() is None and not one.counts_answers
    assert one.describe(0.25) == "a drop of 25.00% by one on the 5 held-out samples"


def test_parts_are_answered_by_sessions_of_their_own():
    predictor, held_out, _ = predictor_and_batches()
    others = SampleBatches(predictor, np.setdiff1d(np.arange(len(X)), HELD_OUT))
    criterion = ChosenCriterion(predictor, held_out, OfAll("same", same_answer))
    right = 5 + int((X.argmax(1)[others.indices] == 3).sum())
    assert criterion.over([(held_out, echo()), (others, echo(ALL_THREE))])["agreement"] == pytest.approx(right / 20)


def test_what_a_function_changes_is_not_what_the_next_one_gets():
    """The largest entries of runs are no arrays that fit together, and come as they are."""
    predictor, held_out, _ = predictor_and_batches(2)

    def spoils(wanted, found):
        scores = same_answer(wanted, found) & all(np.array_equal(each, 1) for each in wanted["top"])
        for array in (*wanted["top"], wanted["y"]):
            array[...] = 5
        return scores

    criterion = ChosenCriterion(predictor, held_out, OfAll("spoils", spoils))
    assert [criterion(echo(batch=2))["agreement"] for _ in range(2)] == [1.0, 1.0]


@pytest.mark.parametrize("measure, name", [("cosine", "cosine"), ("nearest-neighbour", "nearest neighbour"),
                                           (same_answer, "same_answer")])  # fmt: skip
def test_a_drop_is_one_of_the_measure(tmp_path, measure, name):
    source, x = perceptron(hidden=40), correlated(96)
    kept = dcz.tune(source, tmp_path / "net.dcz", x, max_drop=0.1, measure=measure, threads=1).kept
    assert kept.measure == name and kept.drop <= 0.1
    unseen = correlated(400, seed=5)
    (before,), (after,) = (models.run(net, x=unseen) for net in (source, dcz.load(tmp_path / "net.dcz")))
    scores = dcz.evaluate(tmp_path / "net.dcz", {"x": unseen}, against=_saved(source, tmp_path), measure=measure)
    assert scores.measure == name and scores.score > 0.75
    if measure is same_answer:
        assert scores.score == (before.argmax(1) == after.argmax(1)).mean()


def test_a_size_tells_the_agreement_by_the_measure(tmp_path):
    kept = dcz.tune(perceptron(), tmp_path / "net.dcz", correlated(64), ratio=7, measure="r2", threads=1).kept
    assert kept.measure == "R2" and 0.8 < kept.agreement < 1


def test_labels_and_a_measure_contradict_each_other(tmp_path):
    with pytest.raises(BadPlan, match="labels judge a drop by accuracy, and a measure by itself"):
        dcz.tune(
            perceptron(), tmp_path / "net.dcz", correlated(64), max_drop=0.1, measure="r2", labels=np.zeros(64, int)
        )


def _saved(source, folder):
    (folder / "net.onnx").write_bytes(source.SerializeToString())
    return folder / "net.onnx"
