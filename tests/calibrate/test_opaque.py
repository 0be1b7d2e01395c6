"""Graphs with parts that cannot be looked into: what they read is known, and calibration goes around them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dcz import calibrate
from dcz.calibrate import allocate, layers
from dcz.calibrate.schedule import layer_groups
from dcz.errors import UnsuitableModel
from dcz.model import extract_subgraph, from_proto, read_program, with_values
from tests.models import INPUT, PLACES, function, graph, model, normal, place, run, sparse, tensor


def made(proto):
    return read_program(from_proto(proto), "net.onnx", opaque=True)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], **attributes)


def branch(output, *nodes, initializers=()):
    return graph(nodes, {}, {output: None}, initializers, name=f"branch_{output}")


def conditional():
    """w0, then an If whose branches read what w0 gives, and w1 of the main graph, and w3 of their own; then w2."""
    then = branch("t", node("MatMul", "h w1", "t"))
    inner = node("If", "yes", "e", then_branch=branch("i", node("MatMul", "h w3", "i")),
                 else_branch=branch("j", node("Identity", "h", "j")))  # fmt: skip
    other = branch("e", inner, initializers=[tensor("w3", 4 * normal(8, 8, seed=3))])
    nodes = [
        node("MatMul", "x w0", "h"),
        node("If", "yes", "k", then_branch=then, else_branch=other),
        node("MatMul", "k w2", "y"),
    ]
    weights = [tensor(f"w{i}", 4 * normal(8, 8, seed=i)) for i in range(3)]
    return model(nodes, {"x": ["n", 8]}, {"y": None}, [tensor("yes", np.array(True)), *weights])


def test_what_a_subgraph_takes_from_around_it_is_read():
    found = made(conditional())
    (condition,) = (each for each in found.nodes if each.op == "If")
    assert condition.inputs[0] == "yes" and set(condition.inputs) == {"yes", "h", "w1"}
    assert condition.domain and not condition.attributes
    assert found.weights.keys() >= {"w0", "w1", "w2"} and "w3" not in found.weights


def test_a_name_that_a_subgraph_defines_is_its_own():
    """`h` inside is not the `h` outside: nothing of the main graph is read."""
    then = branch("t", node("Identity", "x", "h"), node("Relu", "h", "t"))
    proto = model([node("If", "yes", "y", then_branch=then, else_branch=branch("x"))], {"x": [4]}, {"y": None})
    (found,) = made(proto).nodes
    assert set(found.inputs) == {"yes", "x"}


def test_layers_around_a_condition_are_met_in_order():
    prog = made(conditional())
    found = layer_groups(prog, layers.find_layers(prog))
    assert [[layer.tensor for layer in group.layers] for group in found] == [["w0"], ["w2"]]
    assert [group.values for group in found] == [("x",), ("k",)]


def function_model():
    body = function("f", ["a", "b"], ["c"], [node("MatMul", "a b", "d"), node("Relu", "d", "c")])
    nodes = [
        node("MatMul", "x w0", "h"), node("f", "h w1", "k", domain="local"), node("MatMul", "k w2", "y"),
    ]  # fmt: skip
    weights = [tensor(f"w{i}", 4 * normal(8, 8, seed=i)) for i in range(3)]
    return model(nodes, {"x": ["n", 8]}, {"y": None}, weights, [body], ["local"])


def contributed():
    nodes = [
        node("MatMul", "x w0", "h"),
        node("Gelu", "h", "g", domain="com.microsoft"),
        node("FusedMatMul", "g w1", "k", domain="com.microsoft", transB=1),
        node("MatMul", "k w2", "y"),
    ]
    weights = [tensor(f"w{i}", 4 * normal(8, 8, seed=i)) for i in range(3)]
    return model(nodes, {"x": ["n", 8]}, {"y": None}, weights, domains=["com.microsoft"])


def scanned():
    """A Scan whose body multiplies with w1 of the main graph."""
    body = graph([node("MatMul", "row w1", "out")], {"row": [8]}, {"out": [8]}, name="body")
    nodes = [
        node("MatMul", "x w0", "h"),
        node("Scan", "h", "k", body=body, num_scan_inputs=1),
        node("MatMul", "k w2", "y"),
    ]
    weights = [tensor(f"w{i}", 4 * normal(8, 8, seed=i)) for i in range(3)]
    return model(nodes, {"x": ["n", 8]}, {"y": None}, weights)


def looped():
    """A Loop that multiplies with w1 twice; then a MatMul of the main graph does."""
    body = graph(
        [node("MatMul", "state w1", "next"), node("Identity", "go", "on")],
        {"i": (TensorProto.INT64, []), "go": (TensorProto.BOOL, []), "state": None},
        {"on": (TensorProto.BOOL, []), "next": None},
        name="body",
    )
    nodes = [
        node("MatMul", "x w0", "h"),
        node("Loop", "twice yes h", "k", body=body),
        node("MatMul", "k w1", "l"),
        node("MatMul", "l w2", "y"),
    ]
    weights = [tensor(f"w{i}", 4 * normal(8, 8, seed=i)) for i in range(3)]
    return model(
        nodes, {"x": ["n", 8]}, {"y": None}, [tensor("twice", np.array(2)), tensor("yes", np.array(True)), *weights]
    )


@pytest.mark.parametrize("make", [conditional, function_model, contributed, scanned, looped])
def test_what_is_read_out_of_sight_is_rounded_plainly_the_rest_by_its_inputs(make):
    net, x = from_proto(make()), 20 * normal(64, 8, seed=9)
    assert [layer.tensor for layer in layers.find_layers(made(make()))] == ["w0", "w2"]
    names = [weight.name for weight in net.tensors if weight.name.startswith("w")]
    steps = dict.fromkeys(names, 0.05)
    new = calibrate.quantize_layers(net, [{"x": x[:40]}, {"x": x[40:]}], steps)
    off = {name: np.abs(new[name] - 4 * normal(8, 8, seed=int(name[1]))).max() for name in names}
    assert off["w1"] < 0.03 and max(off.values()) < 0.3  # plain rounding leaves none but its own error
    (y,) = run(net.proto, x=x)
    (found,) = run(with_values(net, new), x=x)
    assert 0 < np.square(found - y).mean() < 0.1 * np.square(y).mean()
    curves = calibrate.measure_curves(net, [{"x": x}], ["w0", "w1", "w2"])
    assert all(each.distortion.min() > 0 for each in curves.values())
    assert allocate.steps_for_bits(curves, 4 * 192).keys() == {"w0", "w1", "w2"}


@pytest.mark.parametrize("where", PLACES)
def test_weights_in_every_corner_of_a_model_are_calibrated(where):
    net = from_proto(place(where))
    names = [
        weight.name for weight in net.tensors if weight.dtype.real and weight.shape[:1] != () and weight.nbytes > 512
    ]
    new = calibrate.quantize_layers(net, [{"x": INPUT}], dict.fromkeys(names, 0.02))
    (y,), (found,) = run(net.proto, x=INPUT), run(with_values(net, new), x=INPUT)
    assert new.keys() == set(names) and 0 < np.square(found - y).mean() < 0.2 * np.square(y).mean()


def test_sparse_tensors_are_constants_that_nobody_holds():
    weight = np.where(np.abs(normal(8, 8)) > 0.05, 4 * normal(8, 8), 0).astype(np.float32)
    proto = model([node("MatMul", "x s", "h"), node("MatMul", "h w", "y")], {"x": ["n", 8]}, {"y": None},
                  [tensor("w", normal(8, 8))])  # fmt: skip
    proto.graph.sparse_initializer.append(sparse("s", weight))
    net = from_proto(proto)
    new = calibrate.quantize_layers(net, [{"x": normal(16, 8)}], {"w": 0.02})
    assert new.keys() == {"w"}
    prog = made(proto)
    assert [group.values for group in layer_groups(prog, layers.find_layers(prog))] == [("h",)]


def test_text_goes_from_one_piece_of_the_network_to_the_next():
    nodes = [
        node("MatMul", "x w", "h"),
        node("Cast", "h", "t", to=TensorProto.STRING),
        node("MatMul", "h v", "k"),
        node("Cast", "t", "u", to=TensorProto.FLOAT),
        node("Add", "k u", "y"),
    ]
    proto = model(nodes, {"x": ["n", 8]}, {"y": None}, [tensor("w", normal(8, 8)), tensor("v", normal(8, 8, seed=1))])
    new = calibrate.quantize_layers(from_proto(proto), [{"x": normal(16, 8)}], {"w": 0.02, "v": 0.02})
    assert new.keys() == {"w", "v"}
    words = np.array([["a"], ["bcd"]])
    piece = extract_subgraph(model([node("Identity", "s", "o")], {}, {"o": None}), {"s": words}, ["o"])
    assert piece.graph.input[0].type.tensor_type.elem_type == TensorProto.STRING


def test_values_that_no_file_holds_are_refused_with_a_remedy():
    """A sequence that is made before a layer, and read after it; and a type that numpy has not."""
    nodes = [
        node("SequenceConstruct", "x x", "s"),
        node("MatMul", "x w", "h"),
        node("SequenceInsert", "s h", "r"),
        node("ConcatFromSequence", "r", "y", axis=0),
    ]
    proto = model(nodes, {"x": ["n", 8]}, {"y": None}, [tensor("w", normal(8, 8))])
    with pytest.raises(UnsuitableModel, match="value 's'.* a list .*without --calibrate"):
        calibrate.quantize_layers(from_proto(proto), [{"x": normal(16, 8)}], {"w": 0.02})
    nodes = [
        node("Cast", "x", "b", to=TensorProto.BFLOAT16),
        node("MatMul", "x w", "h"),
        node("CastLike", "h b", "c"),
        node("Cast", "c", "y", to=TensorProto.FLOAT),
    ]
    proto = model(nodes, {"x": ["n", 8]}, {"y": None}, [tensor("w", normal(8, 8))])
    with pytest.raises(UnsuitableModel, match="bfloat16; calibration looks at 'b': .*without --calibrate"):
        calibrate.quantize_layers(from_proto(proto), [{"x": normal(16, 8)}], {"w": 0.02})


def test_constants_of_any_type_are_no_obstacle():
    odd = onnx.TensorProto(name="odd", data_type=TensorProto.FLOAT8E4M3FN, dims=[2], raw_data=b"\x38\x40")
    words = helper.make_node("Constant", [], ["words"], value_string="a")
    nodes = [words, node("Cast", "odd", "f", to=TensorProto.FLOAT), node("MatMul", "x w", "y")]
    found = made(model(nodes, {"x": ["n", 8]}, {"y": None}, [odd, tensor("w", normal(8, 8))]))
    assert found.constants["odd"].shape == (2,) and found.constants["words"] == "a"
    assert [layer.tensor for layer in layers.find_layers(found)] == ["w"]


def test_a_function_of_the_model_by_an_operators_name_is_no_layer():
    body = helper.make_function(
        "", "MatMul", ["a", "b"], ["c"], [node("Add", "a b", "c")], [helper.make_opsetid("", 19)]
    )
    proto = model([node("MatMul", "x w", "y")], {"x": [8, 8]}, {"y": None}, [tensor("w", normal(8, 8))], [body])
    assert layers.find_layers(made(proto)) == []
