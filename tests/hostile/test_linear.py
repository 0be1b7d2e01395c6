"""Graphs by which a survey could be made to take the square of their size: time grows as they do."""

import sys
import time

import numpy as np
import pytest
from onnx import helper

import dcz
from dcz import model as onnx_model
from tests import models


def node(operator, inputs, outputs, **attributes):
    """One node."""
    return helper.make_node(operator, inputs, outputs, **attributes)


def small(count, *shape):
    """So many weights."""
    return [models.tensor(f"w{i}", models.normal(*shape)) for i in range(count)]


def graph(nodes, tensors, output):
    """A model whose shapes nobody looks at."""
    return models.model(nodes, {"x": [1, 4]}, {output: [None]}, tensors)


def residual(n):
    """Layers that all read the sum of those before them."""
    nodes = []
    for i in range(n):
        nodes += [node("MatMul", [f"x{i}" if i else "x", f"w{i}"], [f"m{i}"])]
        nodes += [node("Add", [f"x{i}" if i else "x", f"m{i}"], [f"x{i + 1}"])]
    return graph(nodes, small(n, 4, 4), f"x{n}")


def chain(n):
    """Tensors that all go through one long chain."""
    nodes = [node("Identity", [f"c{i}"], [f"c{i + 1}"]) for i in range(n)]
    return graph([node("Concat", [f"w{i}" for i in range(n)], ["c0"], axis=0), *nodes], small(n, 4), f"c{n}")


def chain_of_layers(n):
    """The same, every link of it the weight of a layer."""
    proto = chain(n)
    proto.graph.node.extend(node("MatMul", ["x", f"c{i}"], [f"y{i}"]) for i in range(n))
    return proto


def fan(n):
    """Tensors that all are read by many nodes."""
    nodes = [node("Identity", ["w"], [f"i{i}"]) for i in range(n)]
    return graph([node("Concat", [f"w{i}" for i in range(n)], ["w"], axis=0), *nodes], small(n, 4), "i0")


def concatenated(n):
    """A node that has, wrongly, as many outputs as inputs."""
    return graph([node("Concat", [f"w{i}" for i in range(n)], [f"c{i}" for i in range(n)], axis=0)], small(n, 4), "c0")


def total(n):
    """A weight that is the sum of many."""
    nodes = [node("Sum", [f"w{i}" for i in range(n)], ["h"]), node("MatMul", ["x", "h"], ["y"])]
    return graph(nodes, small(n, 16, 16), "y")


def calls(n):
    """Functions that call functions, n at a time, five deep: n^5 ways through them."""
    proto = graph([node("F4", ["w0"], ["y"], domain="d")], small(1, 4), "y")
    for level in range(5):
        function = proto.functions.add(name=f"F{level}", domain="d", input=["a"], output=["b"])
        inner = ("Identity", {}) if level == 0 else (f"F{level - 1}", {"domain": "d"})
        function.node.extend(node(inner[0], ["a"], [f"t{i}"], **inner[1]) for i in range(n))
        function.node.append(node("Identity", ["t0"], ["b"]))
    return proto


SIZES = {residual: 250, chain: 400, chain_of_layers: 200, fan: 400, concatenated: 400, total: 150, calls: 60}


def steps(proto) -> int:
    """How many functions a survey calls, those of C among them: the work that it does, whatever the machine."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        onnx_model.from_proto(proto)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("kind", SIZES)
def test_four_times_the_graph_takes_about_four_times_as_many_steps(kind):
    few, many = kind(SIZES[kind]), kind(4 * SIZES[kind])
    assert steps(many) < 6 * steps(few)  # the square would be 16


def test_what_goes_through_a_call_comes_out_of_that_call_alone():
    """However deep the calls are nested."""
    weights = [models.tensor(name, models.normal(16, 32)) for name in "ab"]
    nodes = [node("F5", ["a"], ["p"], domain="d"), node("F5", ["b"], ["q"], domain="d")]
    nodes += [node("MatMul", ["x", "p"], ["y"]), node("Relu", ["q"], ["z"])]
    proto = models.model(nodes, {"x": [1, 16]}, {"y": [1, 32], "z": [16, 32]}, weights)
    for level in range(6):
        function = proto.functions.add(name=f"F{level}", domain="d", input=["i"], output=["o"])
        function.node.append(
            node("Identity" if level == 0 else f"F{level - 1}", ["i"], ["o"], domain="d" if level else "")
        )
    found = {tensor.name: tensor.is_weight for tensor in onnx_model.from_proto(proto).tensors}
    assert found == {"a": True, "b": False}


@pytest.mark.parametrize("kind", [residual, chain, fan, calls])
def test_the_whole_way_is_bounded_too(kind, tmp_path):
    proto = kind(SIZES[kind])
    start = time.process_time()
    packed = dcz.compress(proto, tmp_path / "net.dcz", dcz.PRESETS["lossless"], threads=1)
    restored = dcz.load(packed)
    assert time.process_time() - start < 8
    before, after = models.arrays(proto), models.arrays(restored)
    assert before.keys() == after.keys() and all(np.array_equal(before[name], after[name]) for name in before)
