"""How far answers move, and the steps that follow from it."""

import numpy as np
import pytest
from onnx import helper

from dcz import calibrate
from dcz.calibrate import allocate
from dcz.calibrate.divergence import Divergence
from dcz.model import from_proto
from tests.models import model, normal, tensor


def test_divergence_of_probabilities_and_of_their_scores_are_the_same():
    scores, others = normal(20, 5) * 30, normal(20, 5, seed=1) * 30
    rows = [np.exp(s) / np.exp(s).sum(1, keepdims=True) for s in (scores, others)]
    of_rows, of_scores = Divergence(), Divergence()
    of_rows.add(*rows)
    of_scores.add(scores[:12], others[:12])
    of_scores.add(scores[12:], others[12:])
    assert of_rows.mean == pytest.approx(of_scores.mean, rel=1e-4) and of_rows.mean > 0
    of_maps = Divergence()
    of_maps.add(normal(2, 3, 4, 4), normal(2, 3, 4, 4))
    of_maps.add(np.arange(3), np.arange(3) + 1)
    assert of_maps.mean == 0


def test_the_tensor_that_hurts_is_rounded_more_finely():
    """Twice the same matrix, but the answers hang on only a thousandth of what the first gives."""
    w, thin = normal(32, 32), np.full((32, 32), 1e-3, np.float32)
    nodes = [helper.make_node(op, inputs, [y]) for op, inputs, y in [
        ("MatMul", ["x", "w0"], "a"), ("Mul", ["a", "thin"], "b"),
        ("MatMul", ["x", "w1"], "c"), ("Add", ["b", "c"], "y"),
    ]]  # fmt: skip
    more = [tensor("w0", w), tensor("w1", w), tensor("thin", thin[:1])]
    net = from_proto(model(nodes, {"x": ["n", 32]}, {"y": ["n", 32]}, more))
    found = calibrate.measure_curves(net, [{"x": normal(64, 32, seed=5) * 20}], ["w0", "w1"])
    steps = allocate.steps_for_bits(found, 2048 * 4)
    assert steps["w0"] > 4 * steps["w1"]


def test_an_output_that_is_known_early_is_not_forgotten():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["first"]),
        helper.make_node("Relu", ["first"], ["early"]),
        helper.make_node("MatMul", ["early", "v"], ["late"]),
    ]
    proto = model(
        nodes, {"x": [None, 8]}, {"early": None, "late": None}, [tensor("w", normal(8, 8)), tensor("v", normal(8, 4))]
    )
    found = calibrate.measure_curves(from_proto(proto), [{"x": normal(16, 8)}], ["w", "v"])
    assert set(found) == {"w", "v"} and all((each.distortion > 0).all() for each in found.values())
