"""What training makes small."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from dcz.errors import BadPlan
from tests.models import model, normal, tensor
from tests.train.samples import clusters, perceptron, transformer

torch = pytest.importorskip("torch")

from torch.nn import functional

from dcz.train import (
    CrossEntropy,
    Distillation,
    LabelledOutputs,
    Network,
    ValueLoss,
    cosine_distance,
    mean_squared_error,
)
from dcz.train.targets import count_wrong


def network_of(last=(), width: int = 5) -> Network:
    """x [n, 8] -> MatMul -> `last` nodes from m to y."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), *(last or [helper.make_node("Identity", ["m"], ["y"])])]
    return Network(model(nodes, {"x": ["n", 8]}, {"y": None}, [tensor("w", normal(8, width))]))


def loss_of(network: Network, outputs, labels, kind=CrossEntropy) -> float:
    labels = None if labels is None else torch.as_tensor(labels)
    return float(kind(network)({"y": torch.as_tensor(outputs)}, {}, labels))


SOFTMAX = helper.make_node("Softmax", ["m"], ["y"])


# -- cross-entropy -----------------------------------------------------------------------------------------------------


def test_cross_entropy_of_rows_whatever_their_shape():
    rows = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    expected = float(functional.cross_entropy(rows, labels))
    network = network_of()
    assert loss_of(network, rows, labels) == pytest.approx(expected)
    assert loss_of(network, rows, labels[:, None].to(torch.uint8)) == pytest.approx(expected)
    assert loss_of(network, rows.reshape(6, 5, 1, 1), labels) == pytest.approx(expected)
    assert loss_of(network, rows.reshape(2, 3, 5), labels.reshape(2, 3)) == pytest.approx(expected)


@pytest.mark.parametrize("last", [
    [SOFTMAX],
    [helper.make_node("Softmax", ["m"], ["p"]), helper.make_node("Identity", ["p"], ["y"])],
    [helper.make_node("Softmax", ["m"], ["p"]), helper.make_node("Cast", ["p"], ["y"], to=TensorProto.FLOAT)],
])  # fmt: skip
def test_what_softmax_makes_are_probabilities(last):
    rows, labels = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 5
    expected = float(functional.cross_entropy(rows, labels))
    assert loss_of(network_of(last), rows.softmax(1), labels) == pytest.approx(expected, rel=1e-5)
    certain = torch.eye(5)
    assert loss_of(network_of(last), certain, [1, 2, 3, 4, 0]) < 30  # of a probability of 0 too, it is a number


@pytest.mark.parametrize("outputs, labels, words", [
    (torch.zeros(4, 5), None, "wants labels"),
    (torch.zeros(4, 5), [0, 1, 2], "3 labels for 4 rows"),
    (torch.zeros(4, 5), [0, 1, 2, 5], "label 5 is no class: the output has the classes 0 to 4"),
    (torch.zeros(4, 5), [0, -1, 2, 3], "label -1"),
    (torch.zeros(4, 5), [0.5, 1, 2, 3], "whole numbers"),
    (torch.zeros(4), [0, 1, 2, 3], "has no classes"),
    (torch.zeros(4, 3, 5), [0, 1, 2, 3], "4 labels for 12 rows"),
])  # fmt: skip
def test_labels_that_do_not_fit_are_refused(outputs, labels, words):
    with pytest.raises(BadPlan, match=words):
        loss_of(network_of(), outputs, labels)


def test_an_output_that_is_not_there_is_refused():
    with pytest.raises(BadPlan, match="no output 'z'; the model has y"):
        CrossEntropy(network_of(), "z")


def test_labels_of_minus_100_are_left_out():
    rows = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, -100, 2, -100, 4, 0])
    expected = float(functional.cross_entropy(rows[[0, 2, 4, 5]], labels[[0, 2, 4, 5]]))
    assert loss_of(network_of(), rows, labels) == pytest.approx(expected)
    assert loss_of(network_of(), rows, [-100] * 6) == 0
    assert count_wrong(network_of(), {"y": 10 * torch.eye(5)}, torch.tensor([0, -100, 2, 4, -100])) == (1, 3)


# -- distillation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [perceptron, transformer])
def test_distillation_is_zero_for_equal_networks(make):
    student, teacher = Network(make()), Network(make())
    inputs = student.as_inputs(clusters(20)[0] if make is perceptron else np.arange(24).reshape(4, 6))
    assert float(Distillation(student, teacher)(student(inputs), inputs, None).detach()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("weight", [1.0, 0.9, 0.0])
def test_distillation_is_t_squared_times_the_divergence_and_some_cross_entropy(temperature, weight):
    network, x = Network(perceptron()), torch.from_numpy(clusters(7)[0])
    wanted = network(x)["y"].detach()
    found = torch.randn(7, 10, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(7)
    p, q = (wanted / temperature).softmax(1), (found / temperature).softmax(1)
    divergence = temperature**2 * float((p * (p / q).log()).sum(1).mean())
    loss = Distillation(network, Network(perceptron()), temperature, weight)
    assert float(loss({"y": found}, {"x": x}, None)) == pytest.approx(divergence, rel=1e-4)
    both = weight * divergence + (1 - weight) * float(functional.cross_entropy(found, labels))
    assert float(loss({"y": found}, {"x": x}, labels)) == pytest.approx(both, rel=1e-4)


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 3, 4)])
def test_outputs_that_are_no_classes_are_compared_by_squares(shape):
    network = network_of()
    wanted = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    loss = Distillation(network, lambda inputs: {"y": wanted})
    assert float(loss({"y": wanted}, {}, None)) == 0
    assert float(loss({"y": wanted * 1.5}, {}, None)) == pytest.approx(0.25)


@pytest.mark.parametrize("shape", [(6, 4), (6, 3, 4)])
def test_embeddings_are_compared_by_their_directions(shape):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("LpNormalization", ["m"], ["y"])]
    network = Network(model(nodes, {"x": [None] * len(shape)}, {"y": None}, [tensor("w", normal(4, 4))]))
    wanted, found = (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    loss = Distillation(network, lambda inputs: {"y": wanted})
    assert float(loss({"y": 3 * wanted}, {}, None)) == pytest.approx(0, abs=1e-6)
    expected = 1 - functional.cosine_similarity(found, wanted, dim=-1).mean()
    assert float(loss({"y": found}, {}, None)) == pytest.approx(float(expected))


def test_outputs_that_are_inputs_or_whole_numbers_do_not_count():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("ArgMax", ["y"], ["top"], axis=1),
    ]
    outputs = {"same": ["n", 8], "y": ["n", 5], "top": (TensorProto.INT64, None)}
    proto = model(nodes, {"x": ["n", 8]}, outputs, [tensor("w", normal(8, 5))])
    network, wanted = Network(proto), torch.tensor([[1.0, 0, 0, 0, 0]])
    answers = {"same": torch.ones(1, 8), "y": 0 * wanted, "top": torch.zeros(1, 1, dtype=torch.int64)}
    loss = Distillation(network, lambda inputs: answers | {"y": wanted})
    divergence = functional.kl_div(answers["y"].log_softmax(1), wanted.softmax(1), reduction="batchmean")
    assert float(loss(answers, {}, None)) == pytest.approx(float(divergence), rel=1e-5)


def two_outputs() -> Network:
    """x [n, 8] -> y [n, 5] and z [n, 3]."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("MatMul", ["x", "v"], ["z"])]
    weights = [tensor("w", normal(8, 5)), tensor("v", normal(8, 3))]
    return Network(model(nodes, {"x": ["n", 8]}, {"y": ["n", 5], "z": ["n", 3]}, weights))


def test_labels_are_those_of_the_first_output():
    network, inputs = two_outputs(), {"x": torch.ones(2, 8)}
    assert float(Distillation(network, two_outputs())(network(inputs), inputs, torch.tensor([4, 4])).detach()) > 0


@pytest.mark.parametrize("options", [{"temperature": 0}, {"weight": 1.5}, {"temperature": float("nan")}])
def test_bad_options_of_distillation_are_refused(options):
    with pytest.raises(BadPlan, match="temperature above 0"):
        Distillation(network_of(), network_of(), **options)


# -- soft labels, values, several outputs ------------------------------------------------------------------------------


def test_soft_labels_weight_the_logarithms():
    rows = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    soft = torch.rand(6, 5, generator=torch.Generator().manual_seed(1)).softmax(1)
    expected = float(functional.cross_entropy(rows, soft))
    assert loss_of(network_of(), rows, soft) == pytest.approx(expected)
    assert loss_of(network_of(), rows, soft.half()) == pytest.approx(expected, rel=1e-3)
    assert loss_of(network_of(), rows.reshape(2, 3, 5), soft.reshape(2, 3, 5)) == pytest.approx(expected)
    hard = torch.tensor([0, 1, 2, 3, 4, 0])
    one_hot = functional.one_hot(hard)
    assert loss_of(network_of(), rows, one_hot) == pytest.approx(loss_of(network_of(), rows, hard))


@pytest.mark.parametrize("soft", [torch.full((4, 5), 0.3), torch.tensor([[1.5, -0.5, 0, 0, 0]] * 4)])
def test_numbers_that_are_no_shares_are_no_soft_labels(soft):
    with pytest.raises(BadPlan, match="shares of all classes add up to 1"):
        loss_of(network_of(), torch.zeros(4, 5), soft)


@pytest.mark.parametrize("distance, expected", [
    (mean_squared_error, (9 + 16 + 0 + 1) / 4), (cosine_distance, 1 - (0.6 + 2**-0.5) / 2),
])  # fmt: skip
def test_values_are_held_against_labels_or_a_teacher(distance, expected):
    output, target = torch.tensor([[3.0, 4.0], [1.0, 1.0]]), torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    if distance is cosine_distance:
        target = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    network = network_of()
    assert float(ValueLoss(network, distance)({"y": output}, {}, target.double())) == pytest.approx(expected)
    taught = ValueLoss(network, distance, lambda inputs: {"y": target})
    assert float(taught({"y": output}, {}, None)) == pytest.approx(expected)
    with pytest.raises(BadPlan, match="wants labels, or the original"):
        ValueLoss(network, distance)({"y": output}, {}, None)


def test_weights_make_a_weighted_mean_of_the_outputs():
    outputs = {"y": torch.tensor([[1.0]]), "z": torch.tensor([[2.0]])}
    labels = {"y": torch.tensor([[0.0]]), "z": torch.tensor([[0.0]])}
    network = two_outputs()
    each = ValueLoss(network, mean_squared_error)
    for weights, expected in ((None, 2.5), ({"y": 3, "z": 1}, 1.75), ({"z": 2}, 4.0)):
        assert float(LabelledOutputs({"y": each, "z": each}, weights)(outputs, {}, labels)) == expected
        teacher = lambda inputs: labels  # noqa: E731
        assert float(ValueLoss(network, mean_squared_error, teacher, weights)(outputs, {}, None)) == expected
    with pytest.raises(BadPlan, match="a dict with those of y, z"):
        LabelledOutputs({"y": each, "z": each})(outputs, {}, {"y": labels["y"]})
