"""Trials that stop at milestones tell what those that run to the end at once do."""

import numpy as np
import pytest
from onnx import helper

from dcz import calibrate
from dcz.calibrate import segments
from dcz.calibrate.layers import find_layers
from dcz.calibrate.schedule import layer_groups
from dcz.model import from_proto, read_program
from tests import models
from tests.models import normal, tensor

WIDTH, DEPTH = 32, 8


def network(shared=False):
    """Matrices one after another, each with a bias; with `shared`, the first one is also the last but one."""
    nodes, weights = [], []
    for number in range(DEPTH):
        name = "w0" if shared and number == DEPTH - 2 else f"w{number}"
        nodes += [
            helper.make_node("MatMul", [f"h{number}" if number else "x", name], [f"m{number}"]),
            helper.make_node("Add", [f"m{number}", f"b{number}"], [f"a{number}"]),
            helper.make_node("Tanh", [f"a{number}"], [f"h{number + 1}" if number < DEPTH - 1 else "y"]),
        ]
        weights += [tensor(f"w{number}", 5 * normal(WIDTH, WIDTH, seed=number))] if name == f"w{number}" else []
        weights.append(tensor(f"b{number}", normal(WIDTH, seed=number)))
    return from_proto(models.model(nodes, {"x": ["n", WIDTH]}, {"y": ["n", WIDTH]}, weights))


def batches(samples=4):
    return [{"x": 20 * normal(samples, WIDTH, seed=seed)} for seed in range(2)]


@pytest.mark.parametrize("shared", [False, True])
def test_divergences_are_the_same_with_milestones(monkeypatch, shared):
    net = network(shared)
    names = [tensor.name for tensor in net.tensors if tensor.name[0] == "w"]
    found, opened, loaded = [], [], segments.runtime.loaded
    monkeypatch.setattr(segments.runtime, "loaded", lambda *given: opened.append(given[0].nbytes) or loaded(*given))
    for segment in (100, 3):
        opened.clear()
        monkeypatch.setattr(segments, "SEGMENT", segment)
        curves = calibrate.measure_curves(net, batches(), names)
        found.append([curves[name].distortion[0] for name in names])
        total = sum(opened)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)
    assert len(set(found[0])) == len(names)
    if not shared:
        monkeypatch.setattr(segments, "SEGMENT", 100)
        opened.clear()
        calibrate.measure_curves(net, batches(), names)
        assert total < sum(opened)


def test_values_that_are_larger_than_the_weights_behind_are_no_milestone(monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT", 3)
    net, opened, piece = network(), [], segments.WorkingCopy.piece
    monkeypatch.setattr(
        segments.WorkingCopy, "piece", lambda copy, *given: opened.append(given[1]) or piece(copy, *given)
    )
    names, found = [f"w{number}" for number in range(DEPTH)], []
    for samples in (4, 4000):
        opened.clear()
        with calibrate.survey(net, batches(samples), names, trials=batches(samples)):
            found.append(sum("y" in outputs for outputs in opened))
    assert found[0] < found[1]


def test_milestones_cut_where_few_values_go_on(monkeypatch):
    """Two values go on amid each pair of matrices that read the same."""
    nodes = []
    for number in range(6):
        x = f"h{number}" if number else "x"
        nodes += [
            helper.make_node("MatMul", [x, f"u{number}"], [f"p{number}"]),
            helper.make_node("MatMul", [f"p{number}", f"v{number}"], [f"q{number}"]),
            helper.make_node("Add", [x, f"q{number}"], [f"h{number + 1}" if number < 5 else "y"]),
        ]
    weights = [tensor(f"{letter}{number}", normal(8, 8)) for letter in "uv" for number in range(6)]
    program = read_program(from_proto(models.model(nodes, {"x": ["n", 8]}, {"y": ["n", 8]}, weights)), "net.onnx")
    groups = layer_groups(program, find_layers(program))
    assert [len(group.values) for group in groups] == [1, 2] * 6
    assert segments.milestones(groups, 0) == []
    for segment in (3, 4, 6):
        monkeypatch.setattr(segments, "SEGMENT", segment)
        found = segments.milestones(groups, 0)
        assert len(found) == 12 // segment - 1 and all(len(groups[at].values) == 1 for at in found)
