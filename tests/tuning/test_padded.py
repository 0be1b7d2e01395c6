"""Samples that are filled up to one length: their padding is found, and what is in it changes nothing."""

import numpy as np
import onnx
import pytest

import dcz
from dcz import calibrate
from dcz.evaluation import runtime
from dcz.plan import Plan
from dcz.tuning import padded
from dcz.tuning.agreement_criterion import AgreementCriterion
from dcz.tuning.session import TuningSession
from tests import models
from tests.calibrate.test_padding import PLACES, attention, batch_of

LENGTHS = tuple(int(n) for n in np.random.default_rng(3).integers(2, 13, 64))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(attention().proto, "net.onnx")


def session(samples):
    return TuningSession("net.onnx", samples, Plan(), 1)


def test_a_few_samples_of_different_lengths_are_tried(monkeypatch):
    tried = []
    monkeypatch.setattr(padded.calibrate, "find_padding", lambda model, batch, threads: tried.append(batch))
    assert session(batch_of(LENGTHS)).padding is None
    (batch,) = tried
    lengths = batch["attention_mask"].sum(1)
    assert len(set(lengths)) == padded.TRIED and lengths.min() < 12


def test_the_padding_of_samples_is_found():
    found = session(batch_of(LENGTHS)).padding
    assert found.mask == "attention_mask" and found.layouts.keys() == set(PLACES)
    assert session(batch_of((12,) * 64)).padding is None


def test_samples_in_parts_have_padding_too():
    parts = [batch_of(LENGTHS[n : n + 8], 12 + n, seed=n) for n in range(0, 64, 8)]
    assert session(parts).padding.layouts.keys() == set(PLACES)


def test_an_experiment_that_fails_tells_nothing(monkeypatch):
    def refuse(*_):
        raise dcz.UnsuitableModel("no")

    monkeypatch.setattr(padded.calibrate, "find_padding", refuse)
    assert session(batch_of(LENGTHS)).padding is None


def test_what_is_in_the_padding_changes_no_weight():
    made = []
    for token in (0, 7):
        samples = batch_of(LENGTHS)
        samples["ids"][samples["attention_mask"] == 0] = token
        proto = attention().proto
        del proto.graph.output[0]  # z, of all places; y is of the first one
        onnx.save(proto, "net.onnx")
        tuning = session(samples)
        steps = dict.fromkeys(("wq", "wk", "wv"), 0.3)
        values = calibrate.quantize_layers(tuning.calibration_model, tuning.batches(64), steps, padding=tuning.padding)
        made.append(values)
    for name, values in made[0].items():
        assert np.array_equal(values, made[1][name]), name


def test_a_drop_is_judged_by_what_is_no_padding():
    """The model's answers to padding are changed, and no others."""
    samples = batch_of(LENGTHS)
    proto = attention().proto
    changed = attention().proto
    table = models.arrays(changed)["table"].copy()
    table[0] = -table[0]  # the token of the padding
    (place,) = (each for each in changed.graph.initializer if each.name == "table")
    place.CopyFrom(models.tensor("table", table))
    for each in (proto, changed):
        del each.graph.output[1]
    onnx.save(proto, "net.onnx")
    tuning = session(samples)
    other = runtime.session(changed.SerializeToString())
    batches = tuning.batches(64)
    found = [
        AgreementCriterion(tuning.predictor, batches, padding=each)(other)["drop"] for each in (tuning.padding, None)
    ]
    assert found[0] == pytest.approx(0, abs=1e-5) and found[1] > 0.05
