"""Weights that change no output go, and the outputs stay."""

import numpy as np
import pytest
from onnx import helper

from tests.models import model, normal, tensor
from tests.train.samples import clusters, convolutional, layers

torch = pytest.importorskip("torch")

from dcz import train
from dcz.train import Network, drop_dead_units


def prune(network: Network, name: str, gone) -> None:
    """Prune a slice of a tensor."""
    mask = np.ones(network[name].shape, bool)
    mask[gone] = False
    network[name].prune(mask)


def dropped(network: Network, x: np.ndarray, names=None) -> int:
    """Drop dead units; the outputs on the data must stay what they are."""
    names = {weight.name for weight in network if weight.is_weight} if names is None else names
    before = network(x)["y"].detach()
    count = drop_dead_units(network, lambda: [(x[start : start + 50], None) for start in range(0, len(x), 50)], names)
    after = network(x)["y"].detach()
    assert torch.allclose(before, after, rtol=0, atol=1e-5 * float(before.abs().max()))
    return count


def test_the_earlier_name_is_the_same_function():
    assert train.drop_idle is drop_dead_units


@pytest.mark.parametrize("operator, transposed", [("Gemm", 0), ("Gemm", 1), ("MatMul", 0)])
def test_dead_units_and_constant_inputs_go(operator, transposed):
    x, _ = clusters(150)
    x[:, 5], x[:, 9] = 0, 0.75
    network = Network(layers(operator=operator, transposed=transposed))
    turn = (lambda *place: place[::-1]) if transposed else (lambda *place: place)
    prune(network, "w2", turn(slice(None), 3))  # a unit without incoming weights: a constant
    prune(network, "w2", turn(7, slice(None)))  # a unit that nobody reads
    dropped(network, x)
    w1, w2, w3 = ((network[n].numpy().T if transposed else network[n].numpy()) for n in ("w1", "w2", "w3"))
    assert (w1[5] == 0).all() and (w1[:, 7] == 0).all() and network["b1"].numpy()[7] == 0
    if operator == "Gemm":  # the bias takes what a constant gives; a MatMul has none
        assert (w1[9] == 0).all() and (w3[3] == 0).all()
    assert (w1 != 0).mean() > 0.8 and (w3 != 0).mean() > 0.8


def test_removals_make_room_for_others_through_three_layers():
    x, _ = clusters(150)
    network = Network(layers())
    prune(network, "w3", np.s_[4, :])  # nobody reads unit 4 of the second layer
    prune(network, "w2", np.s_[6, :4])
    prune(network, "w2", np.s_[6, 5:])  # and only that reads unit 6 of the first
    prune(network, "w1", np.s_[:, 2])  # unit 2 of the first layer is a constant,
    prune(network, "w2", np.s_[:2, 9])
    prune(network, "w2", np.s_[3:, 9])  # and all that unit 9 of the second reads
    dropped(network, x)
    w1, w2, w3 = (network[name].numpy() for name in ("w1", "w2", "w3"))
    assert (w2[:, 4] == 0).all() and (w1[:, 6] == 0).all() and (w2[2] == 0).all() and (w3[9] == 0).all()


def test_units_that_are_never_active_on_the_data_go():
    x, _ = clusters(150)
    network = Network(layers())
    with torch.no_grad():
        network["b1"].values[8] = -1000
        network["b2"].values[3] = -1000
    assert dropped(network, x) > 64 + 48
    assert (network["w1"].numpy()[:, 8] == 0).all() and (network["w3"].numpy()[3] == 0).all()


def test_a_unit_that_only_a_flat_place_hides_stays():
    """h = Relu(x w + b) is 0 on the data, and added to something: without w it would be b."""
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["g"]),
        helper.make_node("Relu", ["g"], ["h"]),
        helper.make_node("Gemm", ["x", "v", "c"], ["k"]),
        helper.make_node("Add", ["h", "k"], ["y"]),
    ]
    arrays = {"w": -np.ones((8, 20)), "b": np.ones(20), "v": normal(8, 20), "c": normal(20)}
    weights = [tensor(name, array.astype(np.float32)) for name, array in arrays.items()]
    network = Network(model(nodes, {"x": ["n", 8]}, {"y": ["n", 20]}, weights))
    dropped(network, np.random.default_rng(0).uniform(1, 2, (100, 8)).astype(np.float32))
    assert network["w"].kept == 160


def test_a_network_that_is_sure_of_itself_loses_nothing():
    """Where probabilities round to 1, the loss has no gradient; the weights matter all the same."""
    made = layers()
    made.graph.node[-1].output[0] = "logits"
    made.graph.node.append(helper.make_node("Softmax", ["logits"], ["y"]))
    x, _ = clusters(100)
    network = Network(made)
    with torch.no_grad():
        network["w3"].values.mul_(1e4)
    classes = network(x)["y"].argmax(1)
    dropped(network, x)
    assert torch.equal(network(x)["y"].argmax(1), classes) and network["w1"].kept > 0


@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 1, 1, 1)])
def test_channels_of_convolutions_go(pads):
    x = np.random.default_rng(0).normal(size=(120, 1, 6, 6)).astype(np.float32)
    network = Network(convolutional(pads))
    prune(network, "w1", np.s_[1])  # channel 1 is a constant: above zero by its bias,
    with torch.no_grad():
        network["b1"].values[1] = 0.5
        network["b1"].values[2] = -1000  # and channel 2 is never active
    prune(network, "w3", np.s_[:, 0 : network["w3"].shape[1] // 5])  # nobody reads channel 0 of the second
    dropped(network, x)
    w1, w2 = network["w1"].numpy(), network["w2"].numpy()
    assert (w2[0] == 0).all() and (w2[:, 2] == 0).all() and (w1[2] == 0).all() and network["b2"].numpy()[0] == 0
    assert (w2[1:, 1] == 0).all() == (pads[0] == 0)  # a padded border sees zeros, not the constant


def test_tied_frozen_and_unlisted_tensors_are_left_alone():
    x = np.random.default_rng(0).normal(size=(60, 20)).astype(np.float32)
    x[:, 3] = 0
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["y"])]
    network = Network(model(nodes, {"x": ["n", 20]}, {"y": ["n", 20]}, [tensor("w", normal(20, 20))]))
    assert dropped(network, x) == 0 and network["w"].mask is None
    x, _ = clusters(60)
    x[:, 5] = 0
    network = Network(layers(), frozen=lambda name: name == "b1")
    dropped(network, x, {"w2"})
    assert network["w1"].mask is None and network["w2"].kept == network["w2"].count


def test_shared_and_regrowing_tensors_are_left_alone():
    from dcz import Settings
    from dcz.train import share_weights

    x, _ = clusters(60)
    x[:, 5] = 0
    network = Network(layers())
    share_weights(network["w1"], Settings(bits=3))
    network["w2"].regrow = True
    prune(network, "w2", np.s_[:, 3])
    dropped(network, x, {"w1", "w2"})
    assert network["w1"].shared and network["w2"].kept == 48 * 39


def test_a_network_without_dead_units_is_measured_on_some_batches():
    x = 20 * np.random.default_rng(0).normal(size=(2000, 64)).astype(np.float32)
    network, seen = Network(layers()), []

    def batches():
        for start in range(0, len(x), 50):
            seen.append(start)
            yield x[start : start + 50], None

    assert drop_dead_units(network, batches, {"w1", "w2", "w3"}) == 0
    assert len(seen) <= 9  # of 40, which were passed three times


def test_units_that_only_later_batches_use_stay():
    x = np.zeros((2000, 64), np.float32)
    x[-1] = 1  # all inputs are constant in all batches but the last
    network = Network(layers())
    before = network(x[-1:])["y"].detach()
    drop_dead_units(
        network, lambda: [(x[start : start + 50], None) for start in range(0, 2000, 50)], {"w1", "w2", "w3"}
    )
    torch.testing.assert_close(network(x[-1:])["y"].detach(), before, rtol=1e-5, atol=1e-5)
