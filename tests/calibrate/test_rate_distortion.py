"""How far answers move, and the steps that follow from it."""

import numpy as np
import pytest
from onnx import helper

from dcz import calibrate
from dcz.calibrate import allocate, rate_distortion
from dcz.calibrate.divergence import Divergence
from dcz.model import from_proto
from tests.models import model, normal, tensor


def test_divergence_of_probabilities_and_of_their_scores_are_the_same():
    scores, others = normal(20, 5) * 30, normal(20, 5, seed=1) * 30
    rows = [np.exp(s) / np.exp(s).sum(1, keepdims=True) for s in (scores, others)]
    of_rows, of_scores = Divergence(), Divergence()
    of_rows.add("y", *rows)
    of_scores.add("y", scores[:12], others[:12])
    of_scores.add("y", scores[12:], others[12:])
    assert of_rows.mean == pytest.approx(of_scores.mean, rel=1e-4) and of_rows.mean > 0
    of_maps = Divergence()
    of_maps.add("y", normal(2, 3, 4, 4), normal(2, 3, 4, 4))
    of_maps.add("z", np.arange(3), np.arange(3) + 1)
    assert of_maps.mean == 0


def test_outputs_count_alike_however_many_positions_they_have():
    """A map of 3,200 numbers a sample, and one row of scores; each in two batches of different size."""
    scores, features = normal(6, 5) * 30, normal(6, 8, 20, 20, seed=1)
    pairs = {"scores": (scores, -scores), "features": (features, 1.1 * features)}
    both, alone = Divergence(), {name: Divergence() for name in pairs}
    for batch in (slice(0, 2), slice(2, 6)):
        for name, pair in pairs.items():
            both.add(name, *(array[batch] for array in pair))
            alone[name].add(name, *(array[batch] for array in pair))
    assert both.mean == pytest.approx((alone["scores"].mean + alone["features"].mean) / 2) and both.positions == 6
    assert alone["scores"].mean > 10 * alone["features"].mean > 0


def test_a_classifier_matters_beside_the_map_that_it_reads():
    nodes = [
        helper.make_node("Conv", ["x", "c"], ["h"]),
        helper.make_node("GlobalAveragePool", ["h"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    weights = [tensor("c", normal(8, 4, 1, 1)), tensor("w", normal(8, 5, seed=1))]
    batches, changed = [{"x": 20 * normal(6, 4, 9, 9, seed=2)}], {"w": {"w": normal(8, 5, seed=3)}}
    moved = []
    for outputs in ({"y": ["n", 5]}, {"y": ["n", 5], "h": ["n", 8, 9, 9]}):
        net = from_proto(model(nodes, {"x": ["n", 4, 9, 9]}, outputs, weights))
        moved.append(rate_distortion.measure_divergences(net, batches, changed)["w"])
    assert moved[1] == pytest.approx(moved[0] / 2) and moved[0] > 0


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
