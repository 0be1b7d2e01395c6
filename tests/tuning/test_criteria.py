"""Drops by agreement and by accuracy, worked out by hand on models whose answers are known."""

import numpy as np
import pytest
from onnx import helper

import dcz
from dcz.errors import BadPlan
from dcz.evaluation import metrics, runtime
from dcz.evaluation import samples as data
from dcz.evaluation.batches import SampleBatches
from dcz.evaluation.chosen_measures import chosen
from dcz.evaluation.predictor import Predictor
from dcz.tuning import answer_pairs, criteria, drop_search
from dcz.tuning.accuracy_criterion import AccuracyCriterion
from dcz.tuning.agreement_criterion import AgreementCriterion
from dcz.tuning.chosen_criterion import ChosenCriterion
from tests import models
from tests.models import model, tensor
from tests.networks import correlated, perceptron

X = np.eye(4, dtype=np.float32)[np.arange(20) // 4 % 4]
HELD_OUT = np.arange(3, 20, 4)  # of the classes 0, 1, 2, 3, 0
NET = perceptron(hidden=40)
ALL_THREE = [0, 0, 0, 2]  # a change after which every answer is 3


def echo(bias=(0, 0, 0, 0), batch: int | str = "n"):
    """A session of y = x + bias, beside which stands an output that is no answer."""
    nodes = [helper.make_node("Add", ["x", "bias"], ["y"]), helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0)]
    shapes = {"top": [], "y": [batch, 4]}
    proto = model(nodes, {"x": [batch, 4]}, shapes, [tensor("bias", np.array(bias, np.float32))])
    return runtime.session(proto.SerializeToString())


def predictor_and_batches(batch: int | str = "n", **arrays) -> tuple[Predictor, SampleBatches, data.Samples]:
    """A model that answers the class of each sample, those that are held out, and all that the data file has."""
    samples = data.Samples("x.npz", {"x": X, **arrays})
    predictor = Predictor("net.onnx", echo(batch=batch), samples, None)
    return predictor, SampleBatches(predictor, HELD_OUT), samples


@pytest.mark.parametrize("batch", ["n", 1, 2])
def test_agreement_counts_the_answers_that_stay(batch):
    criterion = AgreementCriterion(*predictor_and_batches(batch)[:2])
    same, other = criterion(echo(batch=batch)), criterion(echo(ALL_THREE, batch))
    assert (same["agreement"], same["drop"]) == (1.0, 0.0) and (other["agreement"], other["drop"]) == (0.2, 0.8)
    assert same["expected_drop"] == 0 < same["drop_high"] and other["drop_low"] <= other["expected_drop"] > 0.5


@pytest.mark.parametrize("batch", ["n", 2])
def test_margins_of_the_samples_that_calibrate_count_too(batch):
    """Where none of 5 samples flips, one of 10 might; where none of 20 does, one of 40."""
    predictor, held_out, _ = predictor_and_batches(batch)
    others = SampleBatches(predictor, np.setdiff1d(np.arange(len(X)), HELD_OUT))
    found = [AgreementCriterion(predictor, held_out, each)(echo(batch=batch)) for each in (None, others)]
    assert [each["drop_high"] for each in found] == [0.5 / 5, 0.5 / 20]


@pytest.mark.parametrize("batch", ["n", 1, 2])
@pytest.mark.parametrize("wrong, before, after, drop", [([], 5, 1, 0.8), ([7], 4, 2, 0.4), ([3, 7, 11], 2, 4, 0.0)])
def test_accuracy_counts_right_answers_and_more_of_them_are_no_drop(batch, wrong, before, after, drop):
    """The samples in `wrong` are labelled 3, which the original does not answer, and the change does."""
    y = X.argmax(1)
    y[wrong] = 3
    predictor, batches, samples = predictor_and_batches(batch, y=y)
    criterion = AccuracyCriterion(predictor, batches, "y", samples)
    assert criterion.original_accuracy == before / 5
    assert criterion(echo(batch=batch)) == {
        "accuracy": before / 5, "original_accuracy": before / 5, "drop": 0.0
    }  # fmt: skip
    assert criterion(echo(ALL_THREE, batch)) == {
        "accuracy": after / 5, "original_accuracy": before / 5, "drop": drop
    }  # fmt: skip


def test_parts_are_judged_by_sessions_of_their_own():
    """The held-out samples 3, 7, ... answer as before, and all others are answered by 3, which five of them are."""
    predictor, held_out, samples = predictor_and_batches(y=X.argmax(1))
    others = SampleBatches(predictor, np.setdiff1d(np.arange(len(X)), HELD_OUT))
    parts = [(held_out, echo()), (others, echo(ALL_THREE))]
    right = 5 + int((X.argmax(1)[others.indices] == 3).sum())
    by_labels = AccuracyCriterion(predictor, held_out, "y", samples).over(parts)
    assert by_labels == {"accuracy": right / 20, "original_accuracy": 1.0, "drop": (20 - right) / 20}
    by_answers = AgreementCriterion(predictor, held_out, others).over(iter(parts))
    assert (by_answers["agreement"], by_answers["drop"]) == (right / 20, (20 - right) / 20)
    assert by_answers["drop_low"] <= by_answers["expected_drop"] <= by_answers["drop_high"]


@pytest.mark.parametrize("made", [AgreementCriterion, lambda *given: ChosenCriterion(*given, chosen("r2"))])
def test_the_original_is_asked_for_nothing_twice_and_not_beside_others(made, monkeypatch):
    predictor, held_out, _ = predictor_and_batches(2)
    criterion, asked, run = made(predictor, held_out), [], runtime.run
    monkeypatch.setattr(runtime, "run", lambda session, batch: asked.append(session) or run(session, batch))
    changed = [echo(batch=2), echo(ALL_THREE, 2)]
    found = [criterion(each) for each in changed]
    assert [asked.count(each) for each in (predictor.session, *changed)] == [0, 3, 3]
    monkeypatch.setattr(answer_pairs, "MAX_ORIGINALS", 0)
    assert [made(predictor, held_out)(each) for each in changed] == found


def test_an_answer_that_is_no_number_is_wrong():
    predictor, batches, samples = predictor_and_batches(y=X.argmax(1))
    criterion = AccuracyCriterion(predictor, batches, "y", samples)
    assert criterion(echo([np.nan, 0, 0, 0])) == {
        "accuracy": 0.0, "original_accuracy": 1.0, "drop": 1.0
    }  # fmt: skip


@pytest.mark.parametrize("y, words", [
    (np.arange(20) % 5, "array 'y': label 4 of sample 4 is out of range"),
    ((X.argmax(1) + 1) % 4, "labels 'y': net.onnx itself is right on 0 of the 5 held-out samples, no more than"),
    (np.arange(19), "19 labels for 20 samples"),
])  # fmt: skip
def test_labels_of_something_else_are_refused(y, words):
    predictor, batches, samples = predictor_and_batches(y=y)
    with pytest.raises(BadPlan, match=words):
        AccuracyCriterion(predictor, batches, "y", samples)


@pytest.mark.parametrize("batch", ["n", 2])
def test_one_answer_to_everything_has_a_drop_that_is_known(batch):
    """Of 5 held-out samples two are of one class, of all 20 eight are of another."""
    predictor, held_out, _ = predictor_and_batches(batch)
    x = X.copy()
    x[[4, 5, 6]] = X[0]
    predictor = Predictor("net.onnx", echo(batch=batch), data.Samples("x.npz", {"x": x}), None)
    held_out = SampleBatches(predictor, HELD_OUT)
    others = SampleBatches(predictor, np.setdiff1d(np.arange(len(X)), HELD_OUT))
    alone, both = (AgreementCriterion(predictor, held_out, each) for each in (None, others))
    assert (alone.majority_drop(), both.majority_drop()) == (3 / 5, 9 / 20)
    criteria.check_telling(both, 0.449)
    with pytest.raises(BadPlan, match=r"x.npz: .* a drop of 45.00% on these samples, and 45.00% may be lost: give"):
        criteria.check_telling(both, 0.45)


@pytest.mark.parametrize("wrong, drop", [([], 3 / 5), ([7], 2 / 5), ([3, 7, 11], 0.0)])
def test_one_label_for_everything_has_a_drop_that_is_known(wrong, drop):
    y = X.argmax(1)
    y[wrong] = 3
    predictor, batches, samples = predictor_and_batches(y=y)
    assert AccuracyCriterion(predictor, batches, "y", samples).majority_drop() == drop


def test_numbers_that_are_no_answers_have_no_commonest_one():
    proto = model([helper.make_node("ReduceMean", ["x"], ["y"], axes=[1])], {"x": ["n", 4]}, {"y": ["n", 1]})
    proto.opset_import[0].version = 13
    sized = X * np.arange(1, 21, dtype=np.float32)[:, None]
    predictor = Predictor(
        "net.onnx", runtime.session(proto.SerializeToString()), data.Samples("x.npz", {"x": sized}), None
    )
    criterion = AgreementCriterion(predictor, SampleBatches(predictor, HELD_OUT))
    assert criterion.majority_drop() is None
    criteria.check_telling(criterion, 0.99)


# -- in a run of tuning ------------------------------------------------------------------------------------------------


def test_a_run_with_labels_keeps_the_smallest_file_within_the_drop_of_accuracy(tmp_path, monkeypatch):
    monkeypatch.setattr(drop_search, "MAX_WALKS", 5)
    x, tried = correlated(80), []
    y = models.run(NET, x=x)[0].argmax(1)
    y[[3, 43]] = (y[[3, 43]] + 1) % 10
    np.savez(tmp_path / "x.npz", x=x, y=y)
    output = tmp_path / "net.dcz"
    found = dcz.tune(
        NET, output, tmp_path / "x.npz", labels="y", max_drop=0.1, threads=1, trial=tried.append, force=True
    )
    assert found.accuracy == 78 / 80 and found.kept.agreement is None and found.kept.cross_fitted
    assert found.kept.accuracy >= found.accuracy - 0.1 and found.kept.drop <= 0.1
    assert found.kept.nbytes == output.stat().st_size
    assert found.kept.bits == min(each.bits for each in tried if each.cross_fitted and each.drop <= 0.1)
    after = models.run(dcz.load(output), x=(others := correlated(400, seed=9)))[0].argmax(1)
    assert (after == models.run(NET, x=others)[0].argmax(1)).mean() > 0.85

    np.save(tmp_path / "y.npy", y)
    for inputs, labels in (({"x": x}, y), ({"x": x}, tmp_path / "y.npy")):
        dcz.tune(NET, tmp_path / "again.dcz", inputs, labels=labels, max_drop=0.1, threads=1, force=True)
        assert (tmp_path / "again.dcz").read_bytes() == output.read_bytes()


def test_labels_want_a_drop_to_judge_and_are_no_output(tmp_path):
    with pytest.raises(BadPlan, match="labels judge a drop"):
        dcz.tune(perceptron(), tmp_path / "net.dcz", {"x": X}, labels="y", ratio=5, force=True)
    np.save(tmp_path / "y.npy", np.zeros(3))
    with pytest.raises(dcz.FileAccess, match="is the input itself"):
        dcz.tune(perceptron(), tmp_path / "y.npy", {"x": X}, labels=tmp_path / "y.npy", force=True)


def test_a_drop_of_numbers_that_are_no_classes_is_by_their_own_measure(monkeypatch):
    predictor, batches, _ = predictor_and_batches()
    monkeypatch.setattr(predictor, "measures", lambda outputs, samples: [metrics.RELATIVE] * 2)
    criterion = AgreementCriterion(predictor, batches)
    assert not criterion.counts_answers and criterion.measure == "relative error"
    monkeypatch.setattr(predictor, "measures", lambda outputs, samples: [metrics.RELATIVE, metrics.COSINE])
    criterion = AgreementCriterion(predictor, batches)
    found = criterion(echo([1, 0, 0, 0]))  # two of the samples stay themselves, three turn by 45 degrees
    assert found["agreement"] == pytest.approx((2 + 3 * np.sqrt(0.5)) / 5) and criterion.measure == "cosine"
    assert criterion.describe(0.25) == "a drop of 25.00% by cosine on the 5 held-out samples"


@pytest.mark.parametrize("measure, least", [(metrics.RELATIVE, 1e-3), (metrics.COSINE, 5e-7)])
def test_samples_whose_answers_are_as_good_as_equal_tell_nothing(monkeypatch, measure, least):
    x = np.ones((20, 4), np.float32) + np.float32(1e-3) * np.tile([[1], [-1]], (10, 1)) * [1, -1, 1, -1]
    predictor = Predictor("net.onnx", echo(), data.Samples("x.npz", {"x": x.astype(np.float32)}), None)
    monkeypatch.setattr(predictor, "measures", lambda outputs, samples: [metrics.COPY, measure])
    criterion = AgreementCriterion(predictor, SampleBatches(predictor, np.arange(20)))
    assert least / 2 < criterion.majority_drop() < 4 * least
    with pytest.raises(BadPlan, match="x.npz: .* give samples whose answers differ more, or ask for a smaller drop"):
        criteria.check_telling(criterion, 0.05)
    others, held_out, _ = predictor_and_batches()
    monkeypatch.setattr(others, "measures", lambda outputs, samples: [metrics.COPY, measure])
    assert AgreementCriterion(others, held_out).majority_drop() is None  # these differ
