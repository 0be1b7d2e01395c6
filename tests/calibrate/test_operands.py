"""Weights and biases that reach their layer moved, shared, or not at all."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from dcz import calibrate
from dcz.calibrate import im2col, layers
from dcz.calibrate.operands import View, find_operands
from dcz.calibrate.schedule import layer_groups
from dcz.model import from_proto, read_program, with_values
from tests.calibrate.cases import layer_of
from tests.models import constant, model, normal, run, tensor

ints = np.array


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], **attributes)


def found(proto):
    return layers.find_layers(read_program(from_proto(proto), "net.onnx"))


# -- views -------------------------------------------------------------------------------------------------------------

MOVES = [
    ((6, 4), [node("Transpose", "w", "v")]),
    ((4, 6), [node("Identity", "w", "v")]),
    ((4, 6), [node("Cast", "w", "v", to=TensorProto.FLOAT)]),
    ((6, 2, 2), [node("Flatten", "w", "v"), node("Transpose", "v", "u", perm=[1, 0])]),
    ((24,), [constant("s", ints([4, -1])), node("Reshape", "w s", "v")]),
    ((4, 3, 2), [constant("s", ints([0, 6])), node("Reshape", "w s", "v")]),
    ((1, 4, 1, 6), [node("Squeeze", "w", "v")]),
    ((1, 4, 6), [constant("a", ints([-3])), node("Squeeze", "w a", "v")]),
    ((24,), [
        constant("a", ints([0, -1])), node("Unsqueeze", "w a", "v"), constant("s", ints([6, 4])),
        node("Reshape", "v s", "u"), node("Transpose", "u", "t"),
    ]),
]  # fmt: skip


@pytest.mark.parametrize("shape, nodes", MOVES)
def test_moved_weights_are_seen_as_their_node_sees_them(shape, nodes):
    """The view is what onnxruntime makes of the tensor, and a calibrated network is better than a rounded one."""
    last, weight, x = nodes[-1].output[0], 20 * normal(*shape), 20 * normal(64, 4, seed=1)
    proto = model([*nodes, node("MatMul", f"x {last}", "y")], {"x": ["n", 4]}, {"y": ["n", 6]}, [tensor("w", weight)])
    (layer,) = found(proto)
    seen = layer.view.apply(weight)
    np.testing.assert_allclose(run(proto, x=x)[0], x @ seen, atol=1e-5)
    np.testing.assert_array_equal(layer.view.undo(seen), weight)
    np.testing.assert_array_equal(layer.from_matrices(layer.to_matrices(weight)), weight)
    new = calibrate.quantize_layers(from_proto(proto), [{"x": x}], {"w": 0.1}, calibrate.Options(rate_weight=0))
    assert new["w"].shape == shape
    off, plain = (
        run(with_values(from_proto(proto), {"w": w}), x=x)[0] - x @ seen for w in (new["w"], np.rint(weight / 0.1) / 10)
    )
    assert np.square(off).mean() < 0.7 * np.square(plain).mean()


@pytest.mark.parametrize("dims", [[5, 5], [0, 0, 0], [-1, 7]])
def test_reshapes_that_do_not_fit_are_no_views(dims):
    nodes = [constant("s", ints(dims)), node("Reshape", "w s", "v"), node("MatMul", "x v", "y")]
    assert found(model(nodes, {"x": ["n", 4]}, {"y": None}, [tensor("w", normal(4, 6))])) == []


def test_convs_over_one_axis_done_as_over_two():
    """Unsqueeze, Conv, Squeeze, and then the bias, as some exporters write them."""
    nodes = [
        constant("a", ints([2])),
        node("Unsqueeze", "x a", "wide"),
        node("Unsqueeze", "w a", "v"),
        node("Conv", "wide v", "h"),
        node("Squeeze", "h a", "s"),
        node("Add", "s b", "y"),
    ]
    tensors = [tensor("w", normal(5, 4, 3)), tensor("b", normal(5, 1))]
    (layer,) = found(model(nodes, {"x": [2, 4, 9]}, {"y": None}, tensors))
    assert (layer.tensor, layer.view.shape, layer.bias) == ("w", (5, 4, 1, 3), "b")


def test_moves_undone_one_by_one():
    view = View((2, 3, 4)).transposed((2, 0, 1)).reshaped((8, 3)).transposed((1, 0))
    array = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(view.apply(array), array.transpose(2, 0, 1).reshape(8, 3).T)
    np.testing.assert_array_equal(view.undo(view.apply(array)), array)
    assert View((2, 3)).reshaped([2, 3]) == View((2, 3))


# -- biases ------------------------------------------------------------------------------------------------------------


def slices(*numbers):
    return [constant(name, ints([number])) for name, number in zip(("from", "to", "along", "by"), numbers)]


CONV, GEMM, MATMUL = node("Conv", "x w", "h"), node("Gemm", "x m", "h"), node("MatMul", "x m", "h")
BATCH_NORM = node("BatchNormalization", "h s c b v", "y")
BIASES = [
    ([node("Conv", "x w b", "y")], (5,), ("b", 1)),
    ([CONV, node("Sub", "h b", "y")], (5, 1, 1), ("b", -1)),
    ([CONV, node("Sub", "b h", "y")], (5, 1, 1), ("b", -1)),
    ([CONV, constant("a", ints([5, 1, 1])), node("Reshape", "b a", "c"), node("Add", "h c", "y")], (5,), ("b", 1)),
    ([CONV, node("Transpose", "h", "t", perm=[0, 2, 3, 1]), node("Add", "t b", "y")], (5,), ("b", 1)),
    ([CONV, node("Transpose", "h", "t", perm=[0, 2, 3, 1]), node("Add", "t b", "y")], (5, 1), None),
    ([CONV, *slices(0, 1, 2, 1), node("Slice", "h from to along by", "t"), node("Add", "t b", "y")],
     (5, 1, 1), ("b", 1)),
    ([CONV, *slices(0, 9, 1, 1), node("Slice", "h from to along by", "t"), node("Add", "t b", "y")],
     (5, 1, 1), ("b", 1)),
    ([CONV, *slices(4, -9, 1, -1), node("Slice", "h from to along by", "t"), node("Add", "t b", "y")],
     (5, 1, 1), None),
    ([CONV, constant("a", ints([0, 5, -1])), node("Reshape", "h a", "t"), node("Add", "t b", "y")], (5, 1), ("b", 1)),
    ([CONV, constant("a", ints([0, -1])), node("Reshape", "h a", "t"), node("Add", "t b", "y")], (1, 80), None),
    ([CONV, constant("a", ints([4, 20, 1])), node("Reshape", "h a", "t"), node("Add", "t b", "y")], (1,), None),
    ([CONV, constant("a", ints([0, 2])), node("Unsqueeze", "h a", "t"), node("Add", "t b", "y")],
     (5, 1, 1), ("b", 1)),
    ([CONV, constant("a", ints([0, 5])), node("Unsqueeze", "h a", "t"), node("Add", "t b", "y")],
     (5, 1, 1), None),
    ([CONV, constant("a", ints([0, 5])), node("Unsqueeze", "h a", "t"), node("Add", "t b", "y")],
     (5, 1, 1, 1), ("b", 1)),
    ([CONV, BATCH_NORM], (5,), ("b", -1)),
    ([node("Conv", "x w b", "h"), node("BatchNormalization", "h s c d v", "y")], (5,), ("b", 1)),
    ([CONV, BATCH_NORM, node("Relu", "h", "z")], (5,), None),
    ([CONV, node("BatchNormalization", "h s b b v", "y")], (5,), None),
    ([CONV, node("Relu", "h", "t"), node("Add", "t b", "y")], (5, 1, 1), None),
    ([CONV, node("Add", "h b", "t"), node("Add", "t b", "y")], (5, 1, 1), None),
    ([node("Gemm", "x m b", "y", alpha=0.5, beta=2.0)], (5,), ("b", 0.25)),
    ([node("Gemm", "x m", "h", alpha=0.5), node("Add", "h b", "y")], (1, 5), ("b", 0.5)),
    ([node("Gemm", "x m b", "y")], (5, 1), None),
    ([GEMM, BATCH_NORM], (5,), ("b", -1)),
    ([MATMUL, node("Add", "h b", "y")], (1, 1, 5), ("b", 1)),
    ([MATMUL, constant("a", ints([2, 1, 5])), node("Reshape", "h a", "t"), node("Add", "t b", "y")], (5,), ("b", 1)),
    ([MATMUL, constant("a", ints([-1])), node("Unsqueeze", "h a", "t"), node("Add", "t b", "y")], (5, 1), ("b", 1)),
    ([MATMUL, constant("a", ints([1])), node("Unsqueeze", "h a", "t"), node("Add", "t b", "y")], (5,), None),
    ([MATMUL, BATCH_NORM], (5,), None),  # of how many axes its output is, is not known
]  # fmt: skip


@pytest.mark.parametrize("nodes, shape, wanted", BIASES)
def test_the_bias_is_what_shifts_one_layer_alone(nodes, shape, wanted):
    tensors = [tensor("w", normal(5, 4, 3, 3)), tensor("m", normal(4, 5)), tensor("b", normal(*shape))]
    tensors += [tensor(name, 1 + normal(5) ** 2) for name in "scvd"]
    made = model(nodes, {"x": None}, {"y": None}, tensors)
    (layer,) = (each for each in found(made) if each.tensor in "wm")
    assert (layer.bias and (layer.bias, layer.bias_factor)) == wanted


def test_a_bias_of_one_number_belongs_to_one_row():
    nodes = [node("ConvTranspose", "x w", "h"), node("Add", "h b", "y")]
    for rows, bias in (1, "b"), (3, None):
        tensors = [tensor("w", normal(4, rows, 2, 2)), tensor("b", normal(1, 1, 1, 1))]
        (layer,) = found(model(nodes, {"x": [2, 4, 5, 5]}, {"y": None}, tensors))
        assert layer.bias == bias


@pytest.mark.parametrize("last", [BATCH_NORM, node("Sub", "t b", "y")])
def test_means_take_the_mean_error(last):
    """Whatever follows: the normalised output keeps its mean."""
    nodes = [node("Conv", "x w", "h")] + ([last] if last is BATCH_NORM else [
        node("Transpose", "h", "t", perm=[0, 2, 3, 1]), last,
    ])  # fmt: skip
    tensors = [tensor("w", 4 * normal(5, 4, 3, 3)), *(tensor(name, 1 + normal(5, seed=3)) for name in "scbv")]
    net, x = from_proto(model(nodes, {"x": ["n", 4, 6, 6]}, {"y": None}, tensors)), 20 * normal(32, 4, 6, 6) + 1
    new = calibrate.quantize_layers(net, [{"x": x}], {"w": 0.3}, calibrate.Options(round_biases=False))
    off = run(with_values(net, new), x=x)[0] - run(net.proto, x=x)[0]
    places = (0, 2, 3) if last is BATCH_NORM else (0, 1, 2)
    assert set(new) == {"w", "b"} and np.abs(off.mean(places)).max() < 1e-4 < np.abs(off).mean()


def biased(nodes, bias, shape=(2, 4, 6, 6), weight=(5, 4, 3, 3), more=()):
    initializers = [tensor("w", normal(*weight)), tensor("b", bias), *more]
    return model(nodes, {"x": list(shape)}, {"y": None}, initializers)


@pytest.mark.parametrize(
    "nodes, bias, found",
    [
        ([("Conv", ["x", "w", "b"], ["y"])], (5,), "b"),
        ([("Conv", ["x", "w"], ["h"]), ("Add", ["h", "b"], ["y"])], (5, 1, 1), "b"),
        ([("Conv", ["x", "w"], ["h"]), ("Add", ["b", "h"], ["y"])], (1, 5, 1, 1), "b"),
        ([("Conv", ["x", "w"], ["h"]), ("Add", ["h", "b"], ["y"])], (4,), None),  # along the last axis
        ([("Conv", ["x", "w", "b"], ["h"]), ("Mul", ["h", "b"], ["y"])], (1,), None),
        ([("Conv", ["x", "w"], ["h"]), ("Mul", ["h", "b"], ["y"])], (5, 1, 1), None),
    ],
)
def test_a_bias_is_what_is_added_to_one_layer_alone(nodes, bias, found):
    proto = biased([helper.make_node(*node) for node in nodes], normal(*bias))
    assert layer_of(proto).bias == found


# -- tensors that serve several nodes ----------------------------------------------------------------------------------

TIED = [
    ([node("MatMul", "x w", "h"), node("MatMul", "h w", "y")], ["x", "h"]),
    ([node("MatMul", "x w", "h"), node("Transpose", "w", "t"), node("MatMul", "h t", "y")], []),  # two forms
    ([node("Gather", "w i", "h"), node("MatMul", "h w", "y")], []),  # an embedding
    ([node("MatMul", "x w", "y"), node("Identity", "w", "z")], ["x"]),
    ([node("MatMul", "x w", "y"), node("ReduceSum", "w", "z")], []),
    ([node("MatMul", "x w", "h"), node("Shape", "w", "s"), node("Reshape", "h s", "y")], ["x"]),
    ([node("MatMul", "w w", "h"), node("Add", "x h", "y")], []),
    ([node("MatMul", "c w", "h"), node("Add", "x h", "y")], []),  # no input of the model meets it
    ([node("MatMul", "w x", "h"), node("Gemm", "h w", "y", transB=1)], ["x", "h"]),
]


def test_weights_that_serve_several_nodes_are_one_layer():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["y"])]
    proto = model(nodes, {"x": [3, 4]}, {"y": [3, 4]}, [tensor("w", normal(4, 4))])
    layer = layer_of(proto)
    assert [value for value, _ in layer.uses] == ["x", "h"]
    (group,) = layer_groups(read_program(from_proto(proto), ""), [layer])
    assert group.values == ("x",)


@pytest.mark.parametrize("nodes, wanted", TIED)
def test_a_tensor_is_a_layers_weights_where_every_use_is_seen(nodes, wanted):
    tensors = [tensor("w", 4 * normal(4, 4)), tensor("i", np.arange(4)), tensor("c", normal(4, 4))]
    proto = model(nodes, {"x": [4, 4]}, {"y": [4, 4]}, tensors)
    made = [layer for layer in found(proto) if layer.tensor == "w"]
    assert [value for layer in made for value, _ in layer.uses] == wanted
    new = calibrate.quantize_layers(from_proto(proto), [{"x": 20 * normal(4, 4, seed=2)}], {"w": 0.02})
    assert np.abs(new["w"] - 4 * normal(4, 4)).max() < 0.05


def test_an_output_of_the_model_is_no_layers_weights():
    proto = model([node("MatMul", "x w", "y")], {"x": [4, 4]}, {"y": [4, 4], "w": [4, 4]}, [tensor("w", normal(4, 4))])
    assert found(proto) == []


def test_all_inputs_of_a_tied_tensor_count():
    """The later of its nodes sees a hundred times what the first sees, along another axis."""
    gain = np.diag([0.01, 100]).astype(np.float32)
    nodes = [node("MatMul", "x w", "h"), node("MatMul", "h g", "k"), node("MatMul", "k w", "y")]
    proto = model(nodes, {"x": ["n", 2]}, {"y": None}, [tensor("w", normal(2, 2)), tensor("g", gain)])
    net = from_proto(proto)
    new = calibrate.quantize_layers(net, [{"x": normal(64, 2, seed=1)}], {"w": 0.03}, calibrate.Options(asymmetry=0.5))
    off = np.abs(new["w"] - normal(2, 2))
    assert off[1].max() <= 0.015 + 1e-6  # rounded to the nearest: the first row makes up for nothing


# -- what hangs on constants -------------------------------------------------------------------------------------------


def test_values_of_constants_alone_are_not_held():
    """A table computed in the graph is computed anew by each piece; random numbers are not."""
    nodes = [
        node("Mul", "c c", "table"),
        node("RandomNormalLike", "c", "noise"),
        node("Transpose", "w", "v"),
        node("MatMul", "x v", "h"),
        node("Add", "h table", "k"),
        node("Add", "k noise", "y"),
    ]
    prog = read_program(from_proto(model(nodes, {"x": [4, 4]}, {"y": None}, [
        tensor("w", normal(4, 4)), tensor("c", normal(4, 4)),
    ])), "")  # fmt: skip
    assert find_operands(prog).foldable == {"w", "c", "table", "v"}
    (group,) = layer_groups(prog, layers.find_layers(prog))
    assert set(group.values) == {"x", "noise"}


# -- recurrent layers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op, gates, more", [
    ("LSTM", 4, {}), ("RNN", 1, {}), ("GRU", 3, {"linear_before_reset": 1}), ("GRU", 3, {}),
])  # fmt: skip
def test_recurrent_weights_are_rounded_by_what_they_meet(op, gates, more):
    """Inputs near a line, both ways through time: rounded by itself, each weight errs where it is felt most."""
    nodes = [
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        node(op, "t w r", "h", hidden_size=6, direction="bidirectional", **more),
        node("Transpose", "h", "y", perm=[2, 0, 1, 3]),
    ]
    w, r = 10 * normal(2, gates * 6, 5), 10 * normal(2, gates * 6, 6, seed=1)
    x = (normal(40, 7, 1, seed=2) * 20 * normal(5, seed=3) * 20 + normal(40, 7, 5, seed=4)).astype(np.float32)
    proto = model(nodes, {"x": ["n", 7, 5]}, {"y": None}, [tensor("w", w), tensor("r", r)])
    net = from_proto(proto)
    seen = {layer.tensor: (layer.groups, layer.uses[0][0]) for layer in found(proto)}
    assert seen == {"w": (1, "t")} | ({} if op == "GRU" and not more else {"r": (2, "h")})
    new = calibrate.quantize_layers(
        net, [{"x": x[:24]}, {"x": x[24:]}], {"w": 0.3, "r": 0.3}, calibrate.Options(rate_weight=0)
    )
    plain = {"w": np.rint(w / 0.3) * 0.3, "r": np.rint(r / 0.3) * 0.3}
    (y,) = run(proto, x=x)
    errors = [np.square(run(with_values(net, each), x=x)[0] - y).mean() for each in (new, plain)]
    assert errors[0] < 0.7 * errors[1]


def test_states_are_found_in_either_layout():
    y = normal(3, 2, 5, 4)  # steps, directions, samples, numbers
    (one,) = im2col.RecurrentStates().blocks(y)
    (other,) = im2col.RecurrentStates(1).blocks(y.transpose(2, 0, 1, 3))
    np.testing.assert_array_equal(one, other)
    assert one.shape == (2, 4, 5, 3)
    np.testing.assert_array_equal(one[1, :, 4, 2], y[2, 1, 4])
