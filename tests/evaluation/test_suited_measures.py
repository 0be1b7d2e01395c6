"""Which outputs a chosen measure can judge."""

import numpy as np
import onnx
import pytest
from onnx import helper

import dcz
from dcz.errors import BadPlan
from dcz.evaluation import metrics
from dcz.evaluation.chosen_measures import OF_ALL, OF_OUTPUTS, OfAll, chosen
from dcz.evaluation.metrics import TOP_TOKEN, Measure, measure_of
from dcz.evaluation.suited_measures import suited
from tests.models import model, normal, tensor
from tests.networks import perceptron

OUTPUTS = {
    "scores": np.full((4, 10), 0.5, np.float32),
    "one number": np.full((4, 1), 0.5, np.float32),
    "scores at places": np.full((4, 6, 8), 0.5, np.float32),
    "whole numbers": np.arange(4),
    "texts": np.array([["a"], ["b"]], object),
    "maps": [{0: 0.5, 1: 0.5}] * 4,
}
SUITED = {
    "scores": {"top-class", "top-token", "rows", "cosine", "relative-error", "nearest-neighbour", "r2"},
    "one number": {"rows", "relative-error", "r2"},
    "scores at places": {"top-token", "rows", "cosine", "relative-error", "nearest-neighbour", "r2", "text"},
    "whole numbers": {"label", "entries", "relative-error", "r2"},
    "texts": {"label", "entries"},
    "maps": {"top-key"},
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_measures_suit_some_outputs_and_are_refused_for_others(kind):
    found = set()
    for name in (*OF_OUTPUTS, *OF_ALL):
        try:
            suited(chosen(name), measure_of(OUTPUTS[kind]), "y", OUTPUTS[kind], "net.onnx")
            found.add(name)
        except BadPlan as error:
            assert "net.onnx: output 'y' is " in str(error) and "choose another" in str(error)
    assert found == SUITED[kind]


def test_a_function_suits_always():
    own = OfAll("own", lambda wanted, found: 1.0)
    assert all(suited(own, metrics.RELATIVE, "y", each, "net.onnx") is own for each in OUTPUTS.values())


def test_classes_lie_where_they_lie():
    pooled = np.zeros((4, 10, 1, 1), np.float32)
    assert suited(chosen("top-class"), metrics.RELATIVE, "y", pooled, "net.onnx") == Measure("top class", -3)
    mapped = Measure(TOP_TOKEN.name, -3)  # of [n, classes, height, width], as the graph says
    assert suited(chosen("top-token"), mapped, "y", np.zeros((4, 10, 8, 8)), "net.onnx") is mapped


def test_every_command_refuses_what_does_not_suit(tmp_path):
    net, file = tmp_path / "net.onnx", tmp_path / "net.dcz"
    onnx.save(perceptron(), net)
    dcz.compress(net, file, bits=3)
    inputs = np.random.default_rng(0).normal(0, 1, (16, 64)).astype(np.float32)
    for name in ("top-key", "text"):
        words = "output 'y' is float32.*wants"
        with pytest.raises(BadPlan, match=words):
            dcz.evaluate(file, inputs, against=net, measure=name)
        with pytest.raises(BadPlan, match=words):
            dcz.verify(file, against=net, inputs=inputs, measure=name)
        with pytest.raises(BadPlan, match=words):
            dcz.tune(net, tmp_path / "tuned.dcz", inputs, max_drop=0.2, measure=name)


def test_samples_along_another_axis_are_put_first_by_every_command(tmp_path):
    net, file = tmp_path / "net.onnx", tmp_path / "net.dcz"
    nodes = [helper.make_node("MatMul", ["x", "w"], ["s"]), helper.make_node("Softmax", ["s"], ["y"])]
    onnx.save(model(nodes, {"x": [3, "n", 64]}, {"y": [3, "n", 8]}, [tensor("w", 20 * normal(64, 8))]), net)
    dcz.compress(net, file, bits=3)
    inputs = {"x": np.random.default_rng(0).normal(0, 1, (3, 16, 64)).astype(np.float32)}
    seen = []

    def shape(wanted, found):
        seen.append(wanted["y"].shape)
        return np.ones(len(wanted["y"]))

    dcz.evaluate(file, inputs, against=net, measure=shape, batch_axis={"x": 1})
    dcz.verify(file, against=net, inputs=inputs, measure=shape, batch_axis={"x": 1})
    dcz.tune(net, tmp_path / "tuned.dcz", inputs, max_drop=0.2, measure=shape, batch_axis={"x": 1})
    assert seen[:2] == [(16, 3, 8)] * 2 and set(seen[2:]) == {(4, 3, 8), (16, 3, 8)}
