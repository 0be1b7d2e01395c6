"""A later operator set only where every node means the same in it."""

import onnx
import pytest
from onnx import TensorProto, helper

from dcz.model.opsets import raise_opset
from tests import models


def net(opset: int, *nodes: onnx.NodeProto, functions=()) -> onnx.ModelProto:
    made = models.model(nodes, {"x": ["n", 4]}, {"y": ["n", 4]}, functions=functions, domains=["local", "com.example"])
    made.opset_import[0].version = opset
    made.ir_version = 3
    return made


def node(kind: str, *inputs: str, domain: str = "", **attributes) -> onnx.NodeProto:
    return helper.make_node(kind, inputs or ["x"], ["y"], domain=domain, **attributes)


@pytest.mark.parametrize(
    "opset, version, kind, is_raised",
    [
        (7, 10, "Conv", True), (7, 13, "Relu", True), (9, 13, "BatchNormalization", True), (9, 13, "Constant", True),
        (11, 13, "Softmax", False), (11, 13, "Squeeze", False), (12, 13, "ReduceSum", False), (11, 13, "Split", False),
        (13, 21, "Softmax", True), (13, 21, "ReduceMean", False), (9, 10, "Slice", False), (10, 11, "Resize", False),
        (10, 11, "Clip", False), (9, 11, "Pad", False), (11, 12, "Dropout", False),
        (18, 21, "GroupNormalization", False), (13, 10, "Squeeze", True),
        (11, 16, "RoiAlign", False), (16, 20, "GridSample", False), (13, 21, "Mystery", False),
    ],
)  # fmt: skip
def test_what_schemas_say(opset, version, kind, is_raised):
    model = net(opset, node(kind))
    before = model.SerializeToString()
    against = raise_opset(model, version)
    if is_raised:
        assert not against and model.opset_import[0].version == max(opset, version)
    else:
        assert against == [f"{kind} (of version {opset})"] and model.SerializeToString() == before


def test_the_ir_comes_along_and_other_domains_do_not_matter():
    model = net(11, node("Relu"), node("Squeeze", domain="com.example"))
    assert raise_opset(model, 21) == [] and model.ir_version == 10
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 21, "local": 1, "com.example": 1}


def test_branches_and_functions_count():
    branch = helper.make_graph(
        [node("Squeeze", "x")], "b", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    )
    assert raise_opset(net(11, node("If", "c", then_branch=branch, else_branch=branch)), 13)
    body = helper.make_function("local", "f", ["x"], ["y"], [node("Squeeze", "x")], [helper.make_opsetid("", 11)])
    model = net(13, node("f", domain="local"), functions=[body])
    assert raise_opset(model, 21) == ["Squeeze (of version 13)"]
    fine = helper.make_function("local", "f", ["x"], ["y"], [node("Relu", "x")], [helper.make_opsetid("", 11)])
    model = net(13, node("f", domain="local"), functions=[fine])
    assert raise_opset(model, 21) == [] and model.functions[0].opset_import[0].version == 21


def test_a_version_of_the_future_is_none():
    assert "not known here" in raise_opset(net(13, node("Relu")), 999)[0]
