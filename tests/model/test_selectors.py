"""Tensors named by operator, node and layer."""

import numpy as np
import onnx
import pytest
from onnx import helper

import dcz
from dcz import model as onnx_model
from dcz.errors import InvalidArgument
from dcz.plan import Plan, Rule, Settings
from tests import models

FOUR, EXACT = Settings(bits=4), Settings(lossless=True)


def network() -> onnx.ModelProto:
    """A table, two layers with biases, and a tensor that only an Add reads; exporters name tensors as they like."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"], name="/embed/Gather"),
        helper.make_node("MatMul", ["e", "onnx::MatMul_1"], ["h"], name="/encoder/layer.0/query/MatMul"),
        helper.make_node("Add", ["h", "encoder.layer.0.query.bias"], ["i"], name="/encoder/layer.0/query/Add"),
        helper.make_node("MatMul", ["i", "onnx::MatMul_2"], ["j"], name="/encoder/layer.10/query/MatMul"),
        helper.make_node("Add", ["j", "shift"], ["y"]),
    ]
    tensors = {
        "table": models.normal(50, 32),
        "onnx::MatMul_1": models.normal(32, 32, seed=1),
        "encoder.layer.0.query.bias": models.normal(32, seed=2),
        "onnx::MatMul_2": models.normal(32, 32, seed=3),
        "shift": models.normal(40, 32, seed=4),
    }
    inputs, outputs = {"ids": (onnx.TensorProto.INT64, ["n", 40])}, {"y": ["n", 40, 32]}
    return models.model(nodes, inputs, outputs, [models.tensor(name, array) for name, array in tensors.items()])


def settings(plan: Plan) -> dict[str, Settings]:
    tensors = onnx_model.open_model(network()).tensors
    named = onnx_model.by_name(plan, tensors)
    return {t.name: named.settings(t.name, t.is_weight, int(np.prod(t.shape))) for t in tensors}


@pytest.mark.parametrize(
    "pattern, names",
    [
        ("op:Gather", {"table"}),
        ("op:MatMul", {"onnx::MatMul_1", "onnx::MatMul_2"}),
        ("op:*", {"table", "onnx::MatMul_1", "onnx::MatMul_2"}),
        ("node:/encoder/layer.0/query/MatMul", {"onnx::MatMul_1"}),
        ("node:/encoder/*", {"onnx::MatMul_1", "onnx::MatMul_2"}),
        ("layer:encoder.layer.0", {"onnx::MatMul_1"}),
        ("layer:/encoder/layer.10/", {"onnx::MatMul_2"}),
        ("layer:encoder.layer.1?", {"onnx::MatMul_2"}),
        ("layer:encoder", {"onnx::MatMul_1", "onnx::MatMul_2"}),
        ("layer:embed.Gather", {"table"}),
    ],
)
def test_a_rule_means_the_weights_of_what_it_names(pattern, names):
    found = settings(Plan(rules=(Rule((pattern,), FOUR),)))
    assert {name for name, chosen in found.items() if chosen == FOUR} == names


def test_excluding_means_every_tensor_and_including_every_one_of_real_numbers():
    tensors = onnx_model.open_model(network()).tensors
    excluded = onnx_model.by_name(Plan(exclude=("layer:encoder.layer.0",)), tensors)
    assert excluded.exclude == ("onnx::MatMul_1", "encoder.layer.0.query.bias")
    chosen = settings(Plan(FOUR, include=("op:Add",)))
    assert chosen["shift"] == chosen["encoder.layer.0.query.bias"] == FOUR
    assert settings(Plan(FOUR, include=("node:y",)))["shift"] == FOUR  # a node without a name goes by its output


def test_small_weights_are_not_meant_by_a_rule():
    found = settings(Plan(rules=(Rule(("op:*",), FOUR),), min_weights=1100))
    assert {name for name, chosen in found.items() if chosen == FOUR} == {"table"}


@pytest.mark.parametrize(
    "pattern, hint",
    [
        ("op:Conv", "means no weight of the model; operators with tensors are Add, Gather, MatMul"),
        ("node:nothing", "nodes with tensors are called '/embed/Gather', .* ..."),
        ("layer:encoder.layer.1", "means no weight"),  # which is not layer.10
        ("op:Add", "means no weight"),
    ],
)
def test_what_means_nothing_is_refused_with_what_there_is(pattern, hint):
    with pytest.raises(InvalidArgument, match=hint):
        settings(Plan(rules=(Rule((pattern,), FOUR),)))


def test_a_tensor_that_is_called_so_is_meant_itself(tmp_path):
    proto = models.dense(models.WEIGHT)
    proto.graph.initializer[0].name = proto.graph.node[0].input[1] = "op:w"
    path = dcz.compress(proto, tmp_path / "net.dcz", Plan(exclude=("op:w",)))
    assert dcz.load(path) == proto


def test_names_with_wildcards_in_them_are_taken_as_they_are():
    proto = network()
    proto.graph.initializer[0].name = proto.graph.node[0].input[0] = "tab[l]*"
    tensors = onnx_model.open_model(proto).tensors
    named = onnx_model.by_name(Plan(rules=(Rule(("op:Gather",), FOUR),)), tensors)
    assert named.rule("tab[l]*") is not None and named.rule("tabl1") is None


@pytest.mark.parametrize("how", ["compress", "size", "calibrate", "plan.toml"])
def test_every_way_of_compressing_takes_them(how, tmp_path):
    path, plan = tmp_path / "net.dcz", Plan(exclude=("op:Gather",))
    if how == "compress":
        dcz.compress(network(), path, plan)
    elif how == "size":
        dcz.compress_to_size(network(), path, 12_000, plan)
    elif how == "calibrate":
        ids = np.arange(40 * 12).reshape(12, 40) % 50
        dcz.tune(network(), path, {"ids": ids}, ratio=1.5, plan=plan)
    else:
        (tmp_path / "plan.toml").write_text('[[rule]]\nmatch = "op:Gather"\nlossless = true')
        dcz.compress(network(), path, tmp_path / "plan.toml")
    with dcz.open(path) as tensors:
        assert np.array_equal(tensors["table"], models.normal(50, 32))
        assert not np.array_equal(tensors["onnx::MatMul_1"], models.normal(32, 32, seed=1))


def test_training_takes_them(tmp_path):
    pytest.importorskip("torch")
    from tests.networks import perceptron

    x = models.normal(40, 64)
    y = models.run(perceptron(), x=x)[0].argmax(1)
    (first,) = next(t.nodes for t in onnx_model.open_model(perceptron()).tensors if t.name == "fc1.weight")
    plan = Plan(rules=(Rule((f"node:{first}",), EXACT),))
    made = dcz.retrain(perceptron(), tmp_path / "net.dcz", x, labels=y, recipe=dcz.Recipe(bits=2, epochs=1), plan=plan)
    with dcz.open(made.path) as tensors:
        assert np.array_equal(tensors["fc1.weight"], models.arrays(perceptron())["fc1.weight"])
        assert len(np.unique(tensors["fc2.weight"])) <= 4
