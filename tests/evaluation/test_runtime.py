"""Outputs compared by onnxruntime."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dcz.errors import BadPlan, FileAccess, UnsuitableModel
from dcz.evaluation import runtime
from dcz.evaluation.compare import compare as compare_models
from dcz.evaluation.differences import DifferenceSums
from dcz.evaluation.samples import Samples, open_samples
from tests.networks import perceptron


def compare(first, second, arrays=None):
    return compare_models(first, second, None if arrays is None else Samples("x.npz", arrays)).outputs


CHOICE = helper.make_node("ArgMax", ["y"], ["choice"], axis=1)  # nobody reads it, but it says that y holds classes


def graph(path, nodes, shape, outputs, tensors=(), dtype=TensorProto.FLOAT):
    """Save a model of input x."""
    inputs = [helper.make_tensor_value_info("x", dtype, shape)]
    outputs = [helper.make_tensor_value_info(name, dtype, dims) for name, dims in outputs.items()]
    made = helper.make_graph(nodes, "net", inputs, outputs, [numpy_helper.from_array(a, n) for n, a in tensors])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture
def net(tmp_path):
    onnx.save(perceptron(), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_a_model_agrees_with_itself_on_a_batch_of_random_inputs(net):
    (found,) = compare(net, net)
    assert (found.decibels, found.largest, found.agreement, found.samples) == (np.inf, 0.0, 1.0, runtime.BATCH)


def test_known_differences_are_measured(tmp_path):
    x = np.array([[1, 2, 3], [3, 2, 1]], np.float32)
    nodes = [helper.make_node("Add", ["x", "b"], ["y"]), CHOICE]
    same = graph(tmp_path / "a.onnx", nodes, ["n", 3], {"y": ["n", 3]}, [("b", np.zeros(3, np.float32))])
    other = graph(tmp_path / "b.onnx", nodes, ["n", 3], {"y": ["n", 3]}, [("b", np.array([0, 0, -2.5], np.float32))])
    (found,) = compare(same, other, {"x": x})
    assert found.decibels == pytest.approx(10 * np.log10(28 / 12.5)) and found.largest == 2.5
    assert found.agreement == 0.5 and found.samples == 2


def test_equal_infinities_are_equal(tmp_path):
    nodes = [helper.make_node("Log", ["x"], ["y"])]
    net = graph(tmp_path / "a.onnx", nodes, ["n", 2], {"y": ["n", 2]})
    (found,) = compare(net, net, {"x": np.array([[0, 1], [-1, 2]], np.float32)})  # -inf and NaN
    assert found.decibels == np.inf and found.largest == 0


def test_trailing_axes_of_one_do_not_hide_the_classes(tmp_path):
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["y"]), CHOICE]
    net = graph(tmp_path / "a.onnx", nodes, ["n", 10, 4, 4], {"y": ["n", 10, 1, 1]})
    (found,) = compare(net, net)
    assert found.agreement == 1.0 and found.samples == runtime.BATCH


def test_a_fixed_batch_is_filled_piece_by_piece(tmp_path):
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    net = graph(tmp_path / "a.onnx", nodes, [2, 3], {"y": [2, 3]})
    x = np.arange(18, dtype=np.float32).reshape(6, 3)
    assert compare(net, net, {"x": x})[0].samples == 6
    assert compare(net, net, {"x": x[:5]})[0].samples == 5  # and filled up where samples are missing


def test_inputs_that_do_not_fit_are_refused_by_name(net):
    with pytest.raises(BadPlan, match="x.npz: has no array for the input 'x': it has 'y'"):
        compare(net, net, {"y": np.zeros((1, 64), np.float32)})
    for shape in ([1, 63], [63], [1, 1, 64]):
        with pytest.raises(BadPlan, match=r"x.npz: input 'x' of .* wants the shape .*, the samples have"):
            compare(net, net, {"x": np.zeros(shape, np.float32)})
    with pytest.raises(BadPlan, match="x.npz: holds no samples"):
        compare(net, net, {"x": np.zeros((0, 64), np.float32)})


def test_nothing_to_compare_is_not_equal():
    found = DifferenceSums().difference("y")
    assert found.samples == 0 and np.isnan(found.decibels) and found.agreement is None


def test_a_number_on_one_side_and_none_on_the_other_is_infinitely_far(tmp_path):
    log = graph(tmp_path / "a.onnx", [helper.make_node("Log", ["x"], ["y"])], ["n", 2], {"y": ["n", 2]})
    same = graph(tmp_path / "b.onnx", [helper.make_node("Identity", ["x"], ["y"])], ["n", 2], {"y": ["n", 2]})
    (found,) = compare(log, same, {"x": np.array([[-1, 2]], np.float32)})
    assert found.decibels == -np.inf and found.largest == np.inf


def test_a_scalar_input_belongs_to_every_batch(tmp_path):
    nodes = [helper.make_node("Mul", ["x", "s"], ["y"])]
    net = graph(tmp_path / "a.onnx", nodes, ["n", 3], {"y": ["n", 3]})
    proto = onnx.load(net)
    proto.graph.input.append(helper.make_tensor_value_info("s", TensorProto.FLOAT, []))
    onnx.save(proto, net)
    inputs = {"x": np.ones((70, 3), np.float32), "s": np.array(2, np.float32)}
    assert compare(net, net, inputs)[0].samples == 70


def test_strings_are_compared_and_not_taken_for_equal(tmp_path):
    nodes = [
        helper.make_node("Greater", ["x", "b"], ["g"]),
        helper.make_node("Cast", ["g"], ["y"], to=TensorProto.STRING),
    ]

    def net(name, bias):
        path = graph(tmp_path / name, nodes, ["n", 2], {"y": ["n", 2]}, [("b", np.array(bias, np.float32))])
        proto = onnx.load(path)
        proto.graph.output[0].type.tensor_type.elem_type = TensorProto.STRING
        onnx.save(proto, path)
        return path

    x = {"x": np.zeros((4, 2), np.float32)}
    assert compare(net("a.onnx", [1, 1]), net("b.onnx", [2, 2]), x)[0].decibels == np.inf
    assert compare(net("a.onnx", [1, 1]), net("b.onnx", [-2, 2]), x)[0].agreement == 0.5


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY\x01\x00"])
def test_a_damaged_npz_is_refused(tmp_path, damage):
    (tmp_path / "x.npz").write_bytes(damage)
    with pytest.raises(BadPlan, match="x.npz"):
        open_samples(tmp_path / "x.npz")
    with pytest.raises(FileAccess):
        open_samples(tmp_path / "missing.npz")


def test_a_model_that_onnxruntime_cannot_load_is_refused(tmp_path):
    nodes = [helper.make_node("NoSuchOperator", ["x"], ["y"])]
    with pytest.raises(UnsuitableModel, match="cannot load"):
        runtime.session(graph(tmp_path / "a.onnx", nodes, [1], {"y": [1]}))


@pytest.mark.parametrize("keys", [{"classlabels_ints": [3, 5, 8]}, {"classlabels_strings": ["ant", "bee", "cat"]}])
def test_a_classifier_with_maps_is_compared_by_its_keys_and_labels(tmp_path, keys):
    x = np.random.default_rng(0).normal(size=(70, 4)).astype(np.float32)
    zip_keys = {name.replace("ints", "int64s"): values for name, values in keys.items()}

    def net(name, weights):
        options = {"coefficients": weights, "intercepts": [0.0] * 3, "post_transform": "SOFTMAX", **keys}
        nodes = [
            helper.make_node("LinearClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml", **options),
            helper.make_node("ZipMap", ["scores"], ["maps"], domain="ai.onnx.ml", **zip_keys),
        ]
        kind = TensorProto.INT64 if "classlabels_ints" in keys else TensorProto.STRING
        label = helper.make_tensor_value_info("label", kind, ["n"])
        value = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
        maps = helper.make_value_info("maps", helper.make_sequence_type_proto(helper.make_map_type_proto(kind, value)))
        scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])]
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 1)]
        made = helper.make_graph(nodes, "net", inputs, [label, maps, scores])
        onnx.save(helper.make_model(made, opset_imports=opsets, ir_version=8), tmp_path / name)
        return tmp_path / name

    weights = np.random.default_rng(1).normal(size=(3, 4))
    other = weights + np.random.default_rng(2).normal(size=(3, 4))
    same = (x @ weights.T).argmax(1) == (x @ other.T).argmax(1)
    found = compare(net("a.onnx", weights.ravel()), net("b.onnx", other.ravel()), {"x": x})
    assert [(each.measure, each.samples) for each in found] == [("label", 70), ("top key", 70), ("top class", 70)]
    assert {each.agreement for each in found} == {same.mean()} and 0.3 < same.mean() < 0.95
    assert found[1].decibels == pytest.approx(found[2].decibels)
