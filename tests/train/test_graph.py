"""Whole graphs: real models as onnxruntime runs them, gradients, ties, what is watched, freed and refused."""

import os
import weakref
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from dcz.errors import BadPlan, UnsuitableModel
from dcz.evaluation import runtime
from dcz.model import from_proto, load, read_program, with_values
from tests import ROOT
from tests.models import constant, dense, model, normal, tensor

torch = pytest.importorskip("torch")

from dcz.train.graph import Graph

DATA = Path(os.environ.get("DCZ_DATA", ROOT.parent / "shared" / "data"))


def graph_of(proto) -> Graph:
    return Graph(read_program(from_proto(proto), "net.onnx"))


def lenet():
    """A small convolutional network, biases and all."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Tanh", ["c"], ["t"]),
        helper.make_node("AveragePool", ["t"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["y"], "last", transB=1),
    ]
    arrays = {"w1": normal(3, 1, 3, 3), "b1": normal(3, seed=1), "w2": normal(5, 27, seed=2), "b2": normal(5, seed=3)}
    return model(nodes, {"x": ["n", 1, 6, 6]}, {"y": ["n", 5]}, [tensor(name, x * 8) for name, x in arrays.items()])


def leaves(graph: Graph, dtype=torch.float32) -> dict[str, torch.Tensor]:
    """Every constant that may be trained, as a leaf."""
    real = {n: x for n, x in graph.program.constants.items() if x.dtype == np.float32 and n not in graph.fixed}
    return {name: torch.tensor(x, dtype=dtype, requires_grad=True) for name, x in real.items()}


# -- gradients ---------------------------------------------------------------------------------------------------------


def test_gradients_of_all_weights_are_the_limits_of_differences():
    graph = graph_of(lenet())
    x = torch.from_numpy(normal(2, 1, 6, 6, seed=9) * 20).double()
    tensors = leaves(graph, torch.float64)
    names = sorted(tensors)
    assert names == ["b1", "b2", "w1", "w2"]

    def of_weights(*given):
        return graph({"x": x}, dict(zip(names, given)))["y"]

    assert torch.autograd.gradcheck(of_weights, [tensors[name] for name in names])


def test_a_few_steps_of_descent_lessen_the_loss_and_the_written_model_agrees(tmp_path):
    loaded = from_proto(lenet())
    graph = Graph(read_program(loaded, "net.onnx"))
    inputs, labels = normal(32, 1, 6, 6, seed=9) * 20, torch.arange(32) % 5
    tensors = leaves(graph)
    optimizer = torch.optim.Adam(tensors.values(), lr=0.01)
    losses = []
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(graph({"x": torch.from_numpy(inputs)}, tensors)["y"], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] * 0.8
    weights = {graph.program.weights[name]: leaf.detach().numpy() for name, leaf in tensors.items()}
    (tmp_path / "net.onnx").write_bytes(with_values(loaded, weights).SerializeToString())
    (expected,) = runtime.run(runtime.session(tmp_path / "net.onnx", 1), {"x": inputs})
    found = graph({"x": torch.from_numpy(inputs)}, tensors)["y"].detach().numpy()
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_tied_weight_gets_the_sum_of_its_uses_gradients():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["y"])]
    weight = normal(6, 6)
    graph = graph_of(model(nodes, {"x": [2, 6]}, {"y": [2, 6]}, [tensor("w", weight)]))
    x, leaf = torch.ones(2, 6), torch.tensor(weight, requires_grad=True)
    graph({"x": x}, {"w": leaf})["y"].sum().backward()
    first, second = (torch.tensor(weight, requires_grad=True) for _ in range(2))
    (x @ first @ second).sum().backward()
    assert torch.allclose(leaf.grad, first.grad + second.grad)


@pytest.mark.parametrize("value", [normal(6, 4), [0.5, 0.25, -1.0]])
def test_a_constant_nodes_tensor_is_trained_like_an_initializer(value):
    operator = "MatMul" if isinstance(value, np.ndarray) else "Mul"
    nodes = [constant("w", value), helper.make_node(operator, ["x", "w"], ["y"])]
    loaded = from_proto(model(nodes, {"x": None}, {"y": None}))
    graph = Graph(read_program(loaded, "net.onnx"))
    assert graph.program.weights == {"w": "w"}
    leaf = leaves(graph)["w"]
    x = torch.ones(3, 6 if operator == "MatMul" else 3)
    graph({"x": x}, {"w": leaf})["y"].sum().backward()
    assert torch.allclose(leaf.grad, torch.full(leaf.shape, 3.0))
    changed = with_values(loaded, {"w": leaf.detach().numpy() * 2})
    assert torch.allclose(graph_of(changed)({"x": x})["y"], graph({"x": x})["y"] * 2)


def test_a_weight_behind_a_cast_and_a_transpose_is_trained():
    nodes = [
        helper.make_node("Cast", ["w"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["c"], ["t"]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    graph = graph_of(model(nodes, {"x": [2, 6]}, {"y": [2, 4]}, [tensor("w", normal(4, 6).astype(np.float16))]))
    leaf = leaves(graph)["w"]
    graph({"x": torch.ones(2, 6)}, {"w": leaf})["y"].sum().backward()
    assert torch.allclose(leaf.grad, torch.full((4, 6), 2.0))


# -- how it runs -------------------------------------------------------------------------------------------------------


def test_an_observer_sees_every_node_with_its_operands_and_results():
    graph, seen = graph_of(lenet()), []
    x = torch.from_numpy(normal(2, 1, 6, 6))
    outputs = graph({"x": x}, observe=lambda node, operands, results: seen.append((node, operands, results)))
    assert [node.op for node, _, _ in seen] == ["Conv", "Tanh", "AveragePool", "Flatten", "Gemm"]
    assert seen[0][1][0] is x and torch.equal(seen[0][1][1], torch.tensor(graph.program.constants["w1"]))
    assert seen[-1][0].name == "last" and seen[-1][2][0] is outputs["y"]


def test_an_observer_sees_an_operand_left_out_as_none():
    node = helper.make_node("Clip", ["x", "", "high"], ["y"])
    graph = graph_of(model([node], {"x": [2], "high": []}, {"y": [2]}))
    seen = []
    graph({"x": torch.ones(2), "high": torch.tensor(0.5)}, observe=lambda *each: seen.append(each[1]))
    assert seen[0][1] is None and seen[0][2] == 0.5


def test_a_value_is_freed_after_its_last_use():
    graph = graph_of(dense(*[normal(4, 4, seed=i) for i in range(4)]))
    alive, most = [], 0

    def watch(node, operands, results):
        nonlocal most
        alive.append(weakref.ref(results[0]))
        most = max(most, sum(each() is not None for each in alive))

    with torch.no_grad():
        graph({"x": torch.ones(1, 4)}, observe=watch)
    assert len(alive) == 4 and most == 2


def test_whole_numbers_that_are_known_are_computed_once():
    """Shapes put together from constants take no time when the model runs, and their parts cannot be replaced."""
    nodes = [
        helper.make_node("Concat", ["a", "b"], ["s"], axis=0),
        helper.make_node("Reshape", ["x", "s"], ["y"]),
    ]
    parts = [tensor("a", np.array([2])), tensor("b", np.array([-1]))]
    graph, seen = graph_of(model(nodes, {"x": [2, 2, 3]}, {"y": [2, 6]}, parts)), []
    assert graph({"x": torch.ones(2, 2, 3)}, observe=lambda node, *_: seen.append(node.op))["y"].shape == (2, 6)
    assert seen == ["Reshape"] and graph.fixed == {"a", "b"}
    with pytest.raises(BadPlan, match="tensor 'a' takes no new values: it shapes the graph"):
        graph({"x": torch.ones(2, 2, 3)}, {"a": torch.tensor([3])})


def test_shapes_may_depend_on_the_inputs():
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axes"], ["first"]),
        helper.make_node("Concat", ["first", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["y"]),
    ]
    known = [tensor("zero", np.array(0)), tensor("axes", np.array([0])), tensor("rest", np.array([-1]))]
    graph = graph_of(model(nodes, {"x": ["n", 2, 3]}, {"y": ["n", 6]}, known))
    for n in (1, 5):
        assert graph({"x": torch.ones(n, 2, 3)})["y"].shape == (n, 6)


def test_outputs_may_be_inputs_constants_or_used_further():
    nodes = [helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Neg", ["h"], ["y"])]
    graph = graph_of(model(nodes, {"x": [2]}, {"x": [2], "w": [3], "h": [2], "y": [2]}, [tensor("w", normal(3))]))
    found = graph({"x": torch.tensor([1.0, -1.0])})
    assert {name: each.tolist() for name, each in found.items() if name != "w"} == {
        "x": [1, -1], "h": [1, 0], "y": [-1, 0],
    }  # fmt: skip
    assert torch.equal(found["w"], torch.from_numpy(normal(3)))


def test_half_inputs_are_computed_in_single():
    graph = graph_of(model([helper.make_node("Exp", ["x"], ["y"])], {"x": (TensorProto.FLOAT16, [2])}, {"y": None}))
    assert graph({"x": torch.ones(2, dtype=torch.float16)})["y"].dtype == torch.float32


def test_running_changes_nothing():
    graph = graph_of(lenet())
    x = torch.from_numpy(normal(2, 1, 6, 6))
    before = {name: array.copy() for name, array in graph.program.constants.items()}
    first = graph({"x": x})["y"]
    graph({"x": x}, leaves(graph))
    assert torch.equal(first, graph({"x": x})["y"])
    assert all((graph.program.constants[name] == array).all() for name, array in before.items())


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_every_unknown_operator_is_named_when_the_graph_is_made():
    kinds = ["Det", "Relu", "Det", "StringNormalizer"]
    nodes = [helper.make_node(kind, ["x"], [f"h{i}"], f"n{i}") for i, kind in enumerate(kinds)]
    with pytest.raises(UnsuitableModel) as error:
        graph_of(model(nodes, {"x": [2, 2]}, {"h0": None}))
    message = "net.onnx: node 'n0': operator Det (ai.onnx) is not one that dcz can train"
    assert str(error.value) == f"{message}; nor are: StringNormalizer (ai.onnx), node 'n3'"


@pytest.mark.parametrize("opset", [6, 99])
def test_opsets_beyond_those_known_are_refused(opset):
    proto = lenet()
    proto.opset_import[0].version = opset
    with pytest.raises(UnsuitableModel, match=f"net.onnx: opset {opset}; those that dcz can train are 7 to"):
        graph_of(proto)


def test_inputs_and_tensors_that_are_not_the_models_are_refused():
    graph, x = graph_of(lenet()), torch.ones(1, 1, 6, 6)
    with pytest.raises(BadPlan, match="no values for its inputs: x"):
        graph({})
    with pytest.raises(BadPlan, match="no input is called z; its inputs are x"):
        graph({"x": x, "z": x})
    with pytest.raises(BadPlan, match="tensor 'nowhere' takes no new values: it is not there"):
        graph({"x": x}, {"nowhere": x})
    with pytest.raises(BadPlan, match=r"tensor 'b2' is \(5,\), not \(1,\)"):
        graph({"x": x}, {"b2": torch.ones(1)})


def test_values_that_nothing_makes_are_refused():
    nodes = [helper.make_node("Relu", ["h"], ["y"], "late"), helper.make_node("Relu", ["x"], ["h"])]
    with pytest.raises(UnsuitableModel, match="net.onnx: node 'late' reads 'h', which nothing before it makes"):
        graph_of(model(nodes, {"x": [2]}, {"y": [2]}))
    with pytest.raises(UnsuitableModel, match="net.onnx: nothing makes its output 'z'"):
        graph_of(model(nodes[1:], {"x": [2]}, {"z": [2]}))


def test_shapes_that_do_not_fit_name_the_node():
    match = r"net.onnx: node 'last': operator Gemm does not take operands of shapes \(1, 48\), \(5, 27\), \(5,\): "
    with pytest.raises(UnsuitableModel, match=match):
        graph_of(lenet())({"x": torch.ones(1, 1, 8, 8)})


# -- real models -------------------------------------------------------------------------------------------------------


def same_answers(path: Path, inputs: dict[str, np.ndarray]) -> None:
    """The graph and onnxruntime agree to 1e-4 of the largest answer; a gradient reaches every weight."""
    loaded = load(path)
    graph = Graph(read_program(loaded, path.name))
    expected = runtime.run(runtime.session(path, 1), inputs)
    tensors = leaves(graph)
    found = graph({name: torch.from_numpy(x) for name, x in inputs.items()}, tensors)
    for result, wanted in zip(found.values(), expected, strict=True):
        assert np.abs(result.detach().numpy() - wanted).max() <= 1e-4 * np.abs(wanted).max()
    sum((each * each).sum() for each in found.values()).backward()
    weights = {weight.name for weight in loaded.tensors if weight.is_weight and weight.dtype.real}
    trained = {graph.program.weights[name] for name, leaf in tensors.items() if leaf.grad is not None}
    assert weights and weights <= trained


def test_squeezenet():
    path = DATA / "nets" / "squeezenet_v1.1.onnx"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    (given,) = runtime.session(path).get_inputs()
    same_answers(path, {given.name: normal(2, 3, 227, 227) * 20})


def test_magika():
    magika = pytest.importorskip("magika")
    (path,) = Path(magika.__file__).parent.glob("models/standard_v3_3/model.onnx")
    (given,) = runtime.session(path).get_inputs()
    tokens = np.random.default_rng(0).integers(0, 257, (4, 2048)).astype(np.int32)
    same_answers(path, {given.name: tokens})
