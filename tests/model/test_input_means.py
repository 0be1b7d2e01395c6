"""What layers read on average, as the normalizations before them tell."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

from dcz import model as onnx_model

ONNX_RUNTIME = pytest.importorskip("onnxruntime")
RNG = np.random.default_rng(0)
SCALE, SHIFT = RNG.uniform(0.2, 2, 8).astype(np.float32), RNG.normal(size=8).astype(np.float32)


def network(nodes, weight, extra=()):
    """x -> normalization -> nodes that end in `h` -> Conv or another layer that reads `h` and the `weight`."""
    tensors = {
        "s": SCALE, "t": SHIFT, "m": np.zeros(8, np.float32), "v": np.ones(8, np.float32), "w": weight, **dict(extra),
    }  # fmt: skip
    norm = helper.make_node("BatchNormalization", ["x", "s", "t", "m", "v"], ["n"], epsilon=0.0)
    graph = helper.make_graph(
        [norm, *nodes], "g", [helper.make_tensor_value_info("x", 1, ["N", 8, 4, 4])],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in tensors.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def measured(proto, value):
    """The mean of a value by channel, over normally distributed inputs."""
    proto = onnx_model.from_proto(proto).proto
    proto.graph.output.append(helper.make_tensor_value_info(value, 1, None))
    session = ONNX_RUNTIME.InferenceSession(proto.SerializeToString())
    found = session.run([value], {"x": RNG.standard_normal((4000, 8, 4, 4)).astype(np.float32)})[0]
    return found.mean(axis=(0, *range(2, found.ndim)))


CONV = np.ones((3, 8, 1, 1), np.float32)
LAYER = helper.make_node("Conv", ["h", "w"], ["y"])
SIX = np.float32(6)
CHAINS = {
    "Relu": [helper.make_node("Relu", ["n"], ["h"])],
    "Clip": [helper.make_node("Clip", ["n", "", "six"], ["h"])],
    "LeakyRelu": [helper.make_node("LeakyRelu", ["n"], ["h"], alpha=0.3)],
    "Elu": [helper.make_node("Elu", ["n"], ["h"])],
    "HardSwish": [helper.make_node("HardSwish", ["n"], ["h"])],
    "Mish": [helper.make_node("Mish", ["n"], ["h"])],
    "Gelu": [helper.make_node("Gelu", ["n"], ["h"])],
    "Softplus": [helper.make_node("Softplus", ["n"], ["h"])],
    "Tanh": [helper.make_node("Tanh", ["n"], ["h"])],
    "PRelu": [helper.make_node("PRelu", ["n", "slope"], ["h"])],
    "SiLU": [helper.make_node("Sigmoid", ["n"], ["g"]), helper.make_node("Mul", ["g", "n"], ["h"])],
    "affine": [helper.make_node("Mul", ["n", "two"], ["a"]), helper.make_node("Sub", ["one", "a"], ["h"])],
    "sum of channels": [helper.make_node("Add", ["n", "slope"], ["a"]), helper.make_node("Relu", ["a"], ["h"])],
    "pool": [helper.make_node("Relu", ["n"], ["a"]), helper.make_node("GlobalAveragePool", ["a"], ["h"])],
}
EXTRA = [("six", SIX), ("two", np.float32(2)), ("one", np.float32(1)),
         ("slope", RNG.uniform(0, 1, (8, 1, 1)).astype(np.float32))]  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_means_are_those_of_normally_distributed_inputs(name):
    proto = network([*CHAINS[name], LAYER], CONV, EXTRA)
    means = onnx_model.expected_inputs(onnx_model.from_proto(proto))["w"]
    assert means.shape == (1, 8)
    assert means[0] == pytest.approx(measured(proto, "h"), abs=0.02)


def test_concatenated_channels_are_one_after_another():
    nodes = [helper.make_node("Relu", ["n"], ["a"]), helper.make_node("Concat", ["a", "n"], ["h"], axis=1), LAYER]
    proto = network(nodes, np.ones((3, 16, 3, 3), np.float32))
    means = onnx_model.expected_inputs(onnx_model.from_proto(proto))["w"]
    assert means[0, 8:] == pytest.approx(SHIFT.astype(float), rel=1e-5)
    assert means[0] == pytest.approx(measured(proto, "h"), abs=0.02)


def test_groups_of_rows_read_channels_of_their_own():
    layer = helper.make_node("Conv", ["n", "w"], ["y"], group=2)
    proto = network([layer], np.ones((6, 4, 1, 1), np.float32))
    means = onnx_model.expected_inputs(onnx_model.from_proto(proto))["w"]
    assert means == pytest.approx(SHIFT.reshape(2, 4).astype(float), rel=1e-5)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_map_made_flat_has_the_places_of_a_channel_one_after_another(transposed):
    nodes = [helper.make_node("Flatten", ["n"], ["h"]), helper.make_node("Gemm", ["h", "w"], ["y"], transB=transposed)]
    weight = np.ones((3, 128) if transposed else (128, 3), np.float32)
    means = onnx_model.expected_inputs(onnx_model.from_proto(network(nodes, weight)))["w"]
    assert means == pytest.approx(np.repeat(SHIFT.astype(float), 16)[None], rel=1e-5)


def test_what_is_not_known_has_no_means():
    depthwise = helper.make_node("Conv", ["n", "w"], ["y"], group=8)
    assert not onnx_model.expected_inputs(onnx_model.from_proto(network([depthwise], np.ones((8, 1, 3, 3), "f4"))))
    twice = [helper.make_node("Relu", ["n"], ["h"]), LAYER, helper.make_node("Conv", ["x", "w"], ["z"])]
    assert not onnx_model.expected_inputs(onnx_model.from_proto(network(twice, CONV)))
    behind_a_layer = [
        helper.make_node("Conv", ["n", "u"], ["a"]), helper.make_node("Relu", ["a"], ["h"]), LAYER
    ]  # fmt: skip
    found = onnx_model.expected_inputs(
        onnx_model.from_proto(network(behind_a_layer, CONV, [("u", np.ones((8, 8, 1, 1), "f4"))]))
    )
    assert list(found) == ["u"]


def folded(blocks: int = 4, channels: int = 48, group: int | None = None):
    """Depthwise layers (of `group` groups) and pointwise ones with Relu6, their normalizations in the biases."""
    random = np.random.default_rng(5)
    x = random.normal(size=(64, 3, 12, 12)).astype(np.float32)
    nodes, tensors, value = [], {"zero": np.float32(0), "six": np.float32(6)}, "x"

    def layer(name, shape, groups):
        nonlocal value
        weight = random.normal(size=shape).astype(np.float32)
        nodes.append(helper.make_node("Conv", [value, f"{name}.w", f"{name}.b"], [f"{name}.y"], group=groups))
        tensors[f"{name}.w"], tensors[f"{name}.b"] = weight, np.zeros(shape[0], np.float32)
        (before,) = outputs(f"{name}.y")
        scale = random.uniform(0.5, 1.5, shape[0]) / before.std(axis=(0, 2, 3))
        tensors[f"{name}.w"] = (weight * scale[:, None, None, None]).astype(np.float32)
        shift = random.normal(size=shape[0]) - before.mean(axis=(0, 2, 3)) * scale
        tensors[f"{name}.b"] = shift.astype(np.float32)
        nodes.append(helper.make_node("Clip", [f"{name}.y", "zero", "six"], [f"{name}.r"]))
        value = f"{name}.r"

    def outputs(*names):
        return ONNX_RUNTIME.InferenceSession(model(*names).SerializeToString()).run(list(names), {"x": x})

    def model(*names):
        graph = helper.make_graph(
            nodes, "g", [helper.make_tensor_value_info("x", 1, ["N", 3, 12, 12])],
            [helper.make_tensor_value_info(name, 1, None) for name in names],
            [numpy_helper.from_array(np.asarray(array), name) for name, array in tensors.items()],
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)

    layer("first", (channels, 3, 3, 3), 1)
    groups = channels if group is None else group
    for number in range(blocks):
        layer(f"depthwise{number}", (channels, channels // groups, 1, 1), groups)
        layer(f"pointwise{number}", (channels, channels, 1, 1), 1)
    proto = model(value)
    read = {node.input[1]: node.input[0] for node in nodes if node.op_type == "Conv" and node.input[0] != "x"}
    measured = {name: mean.mean(axis=(0, 2, 3)) for name, mean in zip(read, outputs(*read.values()), strict=True)}
    return proto, measured


def off(means, truth):
    """How much of the true means is at a right angle to those that are known, 0 to 1: a share of their energy."""
    return 1 - (means @ truth) ** 2 / ((means @ means) * (truth @ truth))


def test_means_are_carried_on_through_a_depthwise_network_whose_normalizations_were_folded():
    proto, measured = folded()
    found = onnx_model.expected_inputs(onnx_model.from_proto(proto))
    pointwise = [name for name in measured if name.startswith("pointwise")]
    assert set(pointwise) <= set(found)
    for name in pointwise:
        assert off(found[name].ravel(), measured[name]) < 0.5 * off(np.ones(48), measured[name])


def test_nothing_is_carried_on_through_layers_that_are_not_depthwise_nor_past_a_pooling():
    proto, _ = folded(group=1)
    assert not onnx_model.expected_inputs(onnx_model.from_proto(proto))
    proto, _ = folded(blocks=1)
    last = proto.graph.output[0].name
    proto.graph.node.append(helper.make_node("GlobalAveragePool", [last], ["pooled"]))
    proto.graph.node.append(helper.make_node("Conv", ["pooled", "c"], ["classes"]))
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((5, 48, 1, 1), np.float32), "c"))
    assert set(onnx_model.expected_inputs(onnx_model.from_proto(proto))) == {"pointwise0.w"}


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e38])
def test_numbers_that_are_not_finite_are_not_known(number):
    proto = network([helper.make_node("Relu", ["n"], ["h"]), LAYER], CONV)
    shift = next(tensor for tensor in proto.graph.initializer if tensor.name == "t")
    shift.CopyFrom(numpy_helper.from_array(np.full(8, number, np.float32), "t"))
    found = onnx_model.expected_inputs(onnx_model.from_proto(proto))
    assert all(np.isfinite(means).all() for means in found.values())


def test_a_constant_along_another_axis_is_none_of_the_channels():
    for shape, is_known in (((8, 1, 1), True), ((1, 8, 1, 1), True), ((8,), False), ((1, 1, 8), False)):
        nodes = [helper.make_node("Add", ["n", "c"], ["h"]), LAYER]
        proto = network(nodes, CONV, [("c", np.ones(shape, np.float32))])
        assert bool(onnx_model.expected_inputs(onnx_model.from_proto(proto))) == is_known


@pytest.mark.parametrize("name", ["Conv", "PRelu", "Mul", "Gemm", "Relu", "Squeeze", "Concat", "BatchNormalization"])
def test_nodes_without_their_operands_are_not_known(name):
    proto = network([helper.make_node(name, ["n"], ["h"], foo=1.0), LAYER], CONV)
    proto.graph.node.append(helper.make_node(name, [], ["z"]))
    onnx_model.expected_inputs(onnx_model.from_proto(proto))


@pytest.mark.parametrize("shape", [(), (1,), (8,), (8, 1), (0,), (0, 8, 1, 1), (8, 0, 1, 1), (8, 8, 0, 1)])
@pytest.mark.parametrize("group", [-8, 0, 1, 3, 8])
def test_convolutions_by_weights_of_odd_shapes_are_not_known(shape, group):
    layers = [helper.make_node("Conv", [of, "odd"], [to], group=group) for of, to in (("x", "c"), ("c", "y"))]
    proto = network([], CONV, [("odd", np.ones(shape, np.float32))])
    del proto.graph.node[:]
    proto.graph.node.extend(layers)
    assert not onnx_model.expected_inputs(onnx_model.from_proto(proto))


def test_the_work_is_bounded():
    wide = np.ones(1 << 16, np.float32)
    chain = [helper.make_node("Relu", [f"n{i}"], [f"n{i + 1}"]) for i in range(200)]
    nodes = [helper.make_node("Mul", ["n", "one"], ["n0"]), *chain, helper.make_node("Conv", ["n200", "w"], ["y"])]
    proto = network(nodes, np.ones((1, 1 << 16, 1, 1), np.float32), EXTRA)
    for tensor in proto.graph.initializer:
        if tensor.name in ("s", "t", "m", "v"):
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    assert not onnx_model.expected_inputs(onnx_model.from_proto(proto))
