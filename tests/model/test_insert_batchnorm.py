"""Normalizations behind layers that have none: which layers, and that nothing else changes."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from dcz.model import fold_batchnorms, from_proto, insert_batchnorms
from tests.models import model, normal, tensor
from tests.train.samples import convolutional


def outputs(proto, x):
    return ReferenceEvaluator(proto).run(None, {"x": x})[0]


def test_a_layer_and_its_normalization_do_what_the_layer_did():
    before = convolutional()
    held = from_proto(before)
    assert insert_batchnorms(held) == ["w1", "w2"]
    onnx.checker.check_model(held.proto, full_check=True)
    assert [node.op_type for node in held.proto.graph.node[:3]] == ["Conv", "BatchNormalization", "Relu"]
    conv, norm = held.proto.graph.node[:2]
    assert list(conv.input) == ["x", "w1"] and norm.input[2] == "b1" and list(norm.output) == ["c1"]
    x = np.random.default_rng(0).normal(size=(3, 1, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(outputs(held.proto, x), outputs(before, x), rtol=1e-4, atol=1e-4)
    assert insert_batchnorms(held) == []  # each has one now
    assert fold_batchnorms(held) == 2
    assert {each.name for each in held.proto.graph.initializer} == {each.name for each in before.graph.initializer}
    np.testing.assert_allclose(outputs(held.proto, x), outputs(before, x), rtol=1e-4, atol=1e-4)


def gemm(*after, shape=(4,), **attributes):
    """x [n, 3] -> Gemm (w, c) -> h -> the nodes `after` -> y"""
    nodes = [helper.make_node("Gemm", ["x", "w", "c"], ["h"], **attributes), *after]
    return model(nodes, {"x": ["n", 3]}, {"y": None}, [tensor("w", normal(3, 4)), tensor("c", normal(*shape))])


RELU = helper.make_node("Relu", ["h"], ["y"])


@pytest.mark.parametrize("proto, expected", [
    (gemm(RELU), ["w"]),
    (gemm(helper.make_node("Softmax", ["h"], ["y"])), []),
    (gemm(helper.make_node("LpNormalization", ["h"], ["y"])), []),
    (gemm(RELU, beta=2.0), []),
    (gemm(RELU, shape=(1, 4)), []),
    (gemm(helper.make_node("Add", ["h", "c"], ["y"])), []),
    (gemm(helper.make_node("Relu", ["h"], ["r"]), helper.make_node("MatMul", ["r", "h"], ["y"])), ["w"]),
])  # fmt: skip
def test_layers_that_get_one(proto, expected):
    assert insert_batchnorms(from_proto(proto)) == expected


def test_the_caller_decides_and_names_that_are_taken_are_left():
    seen = []
    held = from_proto(gemm(RELU))
    assert insert_batchnorms(held, lambda weight, others: seen.append((weight.name, others))) == []
    assert seen == [("w", ("c",))] and held.proto == from_proto(gemm(RELU)).proto
    proto = gemm(RELU)
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros(2, np.float32), "batchnorm.w.mean"))
    proto.graph.node.append(helper.make_node("Relu", ["batchnorm.w.mean"], ["other"]))
    held = from_proto(proto)
    assert insert_batchnorms(held) == ["w"] and held.proto.graph.node[1].input[3] == "batchnorm.w.mean2"
