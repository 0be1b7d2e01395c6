"""A graph without onnx's types, and new values for its tensors."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dcz.errors import BadPlan, UnsuitableModel
from dcz.model import from_proto, load, read_program, serialize, with_values
from tests.models import WEIGHT, bag, constant, matmul, model, normal, place, sparse, tensor, typed

X = {"x": [1, 128]}
Y = {"y": [1, 64]}


def made(proto):
    return read_program(from_proto(proto), "net.onnx")


def array_of(proto: onnx.ModelProto, name: str) -> np.ndarray:
    """The value of an initializer or a Constant, as onnx itself reads it."""
    found = {each.name: each for each in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            found[node.output[0]] = node.attribute[0].t
        elif node.op_type == "Constant":
            return np.array(node.attribute[0].floats, np.float32)
    return numpy_helper.to_array(found[name])


# -- programs ----------------------------------------------------------------------------------------------------------


def test_nodes_inputs_and_outputs_are_plain_values():
    conv = helper.make_node("Conv", ["x", "w", ""], ["h"], "first", pads=[1, 1, 1, 1], auto_pad="NOTSET")
    leaky = helper.make_node("LeakyRelu", ["h"], ["y"], alpha=0.5)
    proto = model([conv, leaky], {"x": ["n", 3, None, 8]}, {"y": ["n", 4, None, 8]}, [tensor("w", normal(4, 3, 3, 3))])
    found = made(proto)
    assert (found.opset, found.outputs, found.place) == (19, ("y",), "net.onnx")
    (given,) = found.inputs
    assert (given.name, given.dtype, given.shape) == ("x", "float32", ("n", 3, None, 8))
    first, second = found.nodes
    assert (first.name, first.op, first.inputs, first.outputs) == ("first", "Conv", ("x", "w", ""), ("h",))
    assert first.attributes == {"pads": [1, 1, 1, 1], "auto_pad": "NOTSET"}
    assert (second.name, second.attributes) == ("y", {"alpha": 0.5})  # without a name it has its output's
    assert found.weights == {"w": "w"} and (found.constants["w"] == normal(4, 3, 3, 3)).all()


@pytest.mark.parametrize("make", [tensor, typed])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int64, np.int32])
def test_initializers_are_constants_the_halves_as_float32(make, dtype):
    array = (normal(16, 8) * 100).astype(dtype)
    found = made(bag(make("w", array))).constants["w"]
    wide = np.float32 if array.dtype.itemsize == 2 else dtype
    assert found.dtype == wide and (found == array.astype(wide)).all()


@pytest.mark.parametrize(
    "array", [np.array(True), np.array([], np.int8), np.array(3.5, np.float32), np.uint8([[1], [255]])]
)
def test_small_odd_tensors_are_constants_too(array):
    found = made(bag(tensor("w", array))).constants["w"]
    assert found.dtype == array.dtype and found.shape == array.shape and (found == array).all()


def test_nan_weights_have_no_site_where_they_are_typed_but_are_there():
    array = np.array([1, np.nan], np.float32)
    found = made(bag(typed("w", array)))
    assert found.weights == {} and np.array_equal(found.constants["w"], array, equal_nan=True)


@pytest.mark.parametrize(
    "attribute, value, expected",
    [
        ("value", tensor("", WEIGHT), WEIGHT),
        ("value_floats", [0.5, 2.0], np.array([0.5, 2.0], np.float32)),
        ("value_float", 0.5, np.float32(0.5)),
        ("value_ints", [3, -1], np.array([3, -1])),
        ("value_int", 7, np.int64(7)),
    ],
)
def test_constant_nodes_are_constants_and_no_nodes(attribute, value, expected):
    node = helper.make_node("Constant", [], ["w"], **{attribute: value})
    found = made(model([node, helper.make_node("Identity", ["w"], ["y"])], {}, Y))
    assert [node.op for node in found.nodes] == ["Identity"]
    assert found.constants["w"].dtype == expected.dtype and np.array_equal(found.constants["w"], expected)
    assert found.weights == ({"w": "w"} if attribute in ("value", "value_floats") else {})


def test_a_constant_is_linked_with_its_site_whatever_the_names_are():
    """An initializer and a Constant of an unused function share a name; the initializer is the main graph's."""
    function = helper.make_function("local", "f", ["a"], ["b"], [constant("w", WEIGHT), matmul("w", "b")], [])
    proto = model([matmul()], X, Y, [tensor("w", WEIGHT * 2)], [function], ["local"])
    loaded = from_proto(proto)
    assert sorted(weight.name for weight in loaded.tensors) == ["w", "w~2"]
    found = read_program(loaded, "net.onnx")
    assert found.weights == {"w": "w"} and (found.constants["w"] == WEIGHT * 2).all()


def test_initializers_that_are_inputs_too_are_no_inputs():
    found = made(model([matmul()], {"x": [1, 128], "w": [128, 64]}, Y, [tensor("w", WEIGHT)]))
    assert [each.name for each in found.inputs] == ["x"]


def test_external_data_is_read(tmp_path):
    onnx.save(bag(tensor("w", WEIGHT)), tmp_path / "net.onnx", save_as_external_data=True, size_threshold=0)
    assert (read_program(load(tmp_path / "net.onnx"), "net.onnx").constants["w"] == WEIGHT).all()


@pytest.mark.parametrize(
    "where, message",
    [
        ("if_branches", "operator If holds a graph of its own"),
        ("loop", "operator Loop holds a graph of its own"),
        ("scan", "operator Scan holds a graph of its own"),
        ("function", r"operator local\.\w+ is a function of the model"),
    ],
)
def test_subgraphs_and_functions_are_refused(where, message):
    refusal = "^net.onnx: dcz can compress this model, but not train it: "
    with pytest.raises(UnsuitableModel, match=f"{refusal}.*{message}"):
        made(place(where))


def test_all_that_is_refused_is_named_up_to_a_number():
    nodes = [helper.make_node("Foo", ["x"], [f"h{i}"], f"n{i}", domain="com.x") for i in range(10)]
    with pytest.raises(UnsuitableModel) as error:
        made(model(nodes, X, {"h0": None}, domains=["com.x"]))
    assert "node 'n0': operator com.x.Foo is not of ONNX's own domain; node 'n1'" in str(error.value)
    assert str(error.value).endswith("node 'n7': operator com.x.Foo is not of ONNX's own domain; and 2 more")


def test_sparse_tensors_are_refused():
    proto = model([matmul()], X, Y)
    proto.graph.sparse_initializer.append(sparse("w", np.where(np.abs(WEIGHT) > 0.1, WEIGHT, 0)))
    with pytest.raises(UnsuitableModel, match="tensor 'w' is sparse"):
        made(proto)
    with pytest.raises(UnsuitableModel, match="node 'w': operator Constant holds a sparse tensor"):
        made(model([constant("w", sparse("w", WEIGHT)), matmul()], X, Y))


def test_types_that_numpy_has_not_and_text_are_refused():
    odd = TensorProto(name="w", data_type=TensorProto.FLOAT8E4M3FN, dims=[2], raw_data=b"\0\1")
    with pytest.raises(UnsuitableModel, match="net.onnx: tensor 'w' is float8e4m3fn"):
        made(bag(odd))
    node = helper.make_node("Constant", [], ["w"], value_string="a")
    with pytest.raises(UnsuitableModel, match="tensor 'w' holds text"):
        made(model([node], {}, {"w": None}))


def test_an_input_that_is_no_tensor_is_refused():
    proto = model([helper.make_node("Identity", ["x"], ["y"])], {}, {"y": None})
    proto.graph.input.append(helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None))
    with pytest.raises(UnsuitableModel, match="input 'x' is no tensor"):
        made(proto)


# -- new values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [tensor, typed])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_new_values_are_rounded_to_the_tensors_type_in_the_field_that_they_had(make, dtype):
    new = np.random.default_rng(3).normal(size=(16, 8))
    proto = bag(make("w", normal(16, 8).astype(dtype)), tensor("other", WEIGHT))
    before = serialize(proto, "")
    changed = with_values(from_proto(proto), {"w": new})
    assert serialize(changed, "") == serialize(bag(make("w", new.astype(dtype)), tensor("other", WEIGHT)), "")
    assert serialize(proto, "") == before


@pytest.mark.parametrize("value", [WEIGHT, [0.5, 2.0, -1.0]])
def test_constants_take_new_values(value):
    old = np.asarray(value, np.float32)
    proto = model([constant("w", value), helper.make_node("Identity", ["w"], ["y"])], {}, Y)
    changed = with_values(from_proto(proto), {"w": old * 2})
    assert (array_of(changed, "w") == old * 2).all() and (array_of(proto, "w") == old).all()
    assert changed.graph.node[0].attribute[0].type == proto.graph.node[0].attribute[0].type


def test_the_models_own_values_change_nothing():
    loaded = from_proto(model([matmul()], X, Y, [tensor("w", WEIGHT)]))
    assert with_values(loaded, read_program(loaded, "net.onnx").constants) == loaded.proto
    assert with_values(loaded, {}) == loaded.proto


def test_a_tensor_that_many_use_stays_one():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["y"])]
    loaded = from_proto(model(nodes, {"x": [1, 64]}, Y, [tensor("w", normal(64, 64))]))
    changed = with_values(loaded, {"w": normal(64, 64, seed=5)})
    assert [each.name for each in changed.graph.initializer] == ["w"]
    assert (array_of(changed, "w") == normal(64, 64, seed=5)).all()


def test_external_data_comes_inside(tmp_path):
    onnx.save(
        bag(tensor("w", WEIGHT), tensor("v", WEIGHT)), tmp_path / "n.onnx", save_as_external_data=True, size_threshold=0
    )
    loaded = load(tmp_path / "n.onnx")
    changed = with_values(loaded, {"w": WEIGHT * 2})
    assert (array_of(changed, "w") == WEIGHT * 2).all() and (array_of(changed, "v") == WEIGHT).all()
    assert not any(each.external_data for each in changed.graph.initializer)
    assert all(weight.external for weight in loaded.tensors)  # the loaded model is as it was
    from_proto(changed)


@pytest.mark.parametrize(
    "name, array, error, message",
    [
        ("v", WEIGHT, BadPlan, "the model has no tensor 'v'"),
        ("w", WEIGHT[:1], BadPlan, r"has the shape \(128, 64\); the new values have \(1, 64\)"),
        ("n", np.zeros(200), BadPlan, "'n' is int64"),
        ("w", np.full(WEIGHT.shape, 7e4), UnsuitableModel, "70000 is too large for its type, float16"),
    ],
)
def test_values_that_do_not_fit_are_refused(name, array, error, message):
    proto = bag(tensor("w", WEIGHT.astype(np.float16)), tensor("n", np.arange(200)))
    with pytest.raises(error, match=message):
        with_values(from_proto(proto), {name: array})
