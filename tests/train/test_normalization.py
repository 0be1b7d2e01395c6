"""BatchNormalization in training: by the batch, with estimates that follow, and exact ones in the end."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import helper

import dcz
from dcz import model as onnx_model
from dcz.plan import Plan
from tests.models import arrays, model, normal, tensor
from tests.train.samples import convolutional

torch = pytest.importorskip("torch")

from dcz.train import Network, Recipe, folding, normalization, retrain

X = np.random.default_rng(0).normal(3.0, 2.0, (40, 2, 4, 4)).astype(np.float32)
MEAN, VARIANCE = np.float32([0.5, -1]), np.float32([1, 4])


def normalized(epsilon: float = 1e-3, momentum: float = 0.75, mean: str = "mean"):
    """x [n, 2, 4, 4] -> BatchNormalization -> Conv (w) -> BatchNormalization (s2, b2, m2, v2) -> Relu -> y"""
    nodes = [
        helper.make_node("BatchNormalization", ["x", "s", "b", mean, "v"], ["n"], epsilon=epsilon, momentum=momentum),
        helper.make_node("Conv", ["n", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "s2", "b2", "m2", "v2"], ["n2"]),
        helper.make_node("Relu", ["n2"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    held = {"s": np.float32([2, 3]), "b": np.float32([0, 1]), mean: MEAN, "v": VARIANCE, "w": 4 * normal(20, 2, 3, 3)}
    held |= {"s2": 1 + normal(20, seed=1), "b2": normal(20, seed=2), "m2": normal(20, seed=3)}
    held |= {"v2": np.full(20, 2, np.float32)}
    return model(nodes, {"x": ["n", 2, 4, 4]}, {"y": ["n", 20]}, [tensor(k, v) for k, v in held.items()])


def of_first(network, x):
    """What the first normalization makes of x."""
    seen = {}
    network(x, lambda node, operands, results: seen.setdefault(node.outputs[0], results[0].detach().numpy()))
    return seen["n"]


def by(x, mean, variance, epsilon=1e-3):
    scale, shift, mean, variance = (np.reshape(v, (1, 2, 1, 1)) for v in ([2, 3], [0, 1], mean, variance))
    return (x - mean) / np.sqrt(variance + epsilon) * scale + shift


def test_a_network_is_as_the_model_until_it_is_told_to_train():
    network = Network(normalized())
    assert not network.training and len(network.batchnorms) == 2
    np.testing.assert_allclose(of_first(network, X), by(X, MEAN, VARIANCE), rtol=1e-5, atol=1e-5)
    network.train()
    batch = X[:8].astype(np.float64)
    mean, variance = batch.mean((0, 2, 3)), batch.var((0, 2, 3))
    np.testing.assert_allclose(of_first(network, X[:8]), by(X[:8], mean, variance), rtol=1e-4, atol=1e-4)
    network.eval()
    # ONNX's momentum is that of what was there; the variance that follows is the unbiased one
    mean, variance = 0.75 * MEAN + 0.25 * mean, 0.75 * VARIANCE + 0.25 * variance * 128 / 127
    np.testing.assert_allclose(of_first(network, X), by(X, mean, variance), rtol=1e-4, atol=1e-4)
    held = arrays(network.to_proto())
    np.testing.assert_allclose(held["mean"], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(held["v"], variance, rtol=1e-5)


@pytest.mark.parametrize("by_batch", [True, False])
def test_estimates_are_the_moments_of_all_samples(by_batch):
    network = Network(normalized())
    batches = [(X[:13], None), (X[13:14], None), (X[14:], None)]
    normalization.estimate_statistics(network, batches, by_batch)
    held = arrays(network.to_proto())
    np.testing.assert_allclose(held["mean"], X.mean((0, 2, 3), np.float64), rtol=1e-5)
    np.testing.assert_allclose(held["v"], X.var((0, 2, 3), np.float64), rtol=1e-5)
    assert not network.training and not np.array_equal(held["m2"], arrays(normalized())["m2"])


def test_one_value_a_channel_is_normalized_by_the_estimates():
    proto = model(
        [helper.make_node("BatchNormalization", [*"xsbmv"], ["n"]), helper.make_node("Relu", ["n"], ["y"])],
        {"x": ["n", 2]}, {"y": ["n", 2]},
        [tensor(k, np.float32(v)) for k, v in {"s": [2, 3], "b": [0, 1], "m": [1, 2], "v": [4, 9]}.items()],
    )  # fmt: skip
    network = Network(proto).train()
    x = np.float32([[3, 5]])
    np.testing.assert_allclose(network(x)["y"].detach(), [[2, 4]], rtol=1e-4)
    assert arrays(network.to_proto())["m"].tolist() == [1, 2]
    normalization.estimate_statistics(network, [(x, None)])
    assert arrays(network.to_proto())["m"].tolist() == [1, 2]


def test_statistics_are_part_of_a_state():
    network = Network(normalized())
    before = network.state()
    network.train()
    network(X)
    changed = arrays(network.to_proto())["mean"]
    network.restore(before)
    assert np.array_equal(arrays(network.to_proto())["mean"], MEAN) and not np.array_equal(changed, MEAN)
    with pytest.raises(ValueError, match="other weights"):
        network.restore({name: state for name, state in before.items() if name != "mean"})
    with pytest.raises(ValueError, match="mean"):
        network.restore(before | {"mean": {"mean": torch.zeros(3), "variance": torch.zeros(3)}})


def test_statistics_that_something_else_reads_and_those_that_are_frozen_stay():
    tied = normalized(mean="b")  # its bias is its mean
    assert [norm.output for norm in Network(tied).batchnorms] == ["n2"]
    assert [norm.output for norm in Network(normalized(), lambda name: name == "v2").batchnorms] == ["n"]


# -- normalizations for the time of training ---------------------------------------------------------------------------


def virtual(proto):
    """The network with a normalization behind each layer that has none, and the weights of these layers."""
    normalizations = folding.Normalizations(Plan(), lambda name: False)
    return normalizations.add(onnx_model.open_model(proto)), normalizations.added


def test_normalizations_that_are_added_change_nothing_and_can_be_folded_again():
    proto, x = convolutional(), np.random.default_rng(1).normal(size=(30, 1, 6, 6)).astype(np.float32)
    expected = Network(proto)(x)["y"].detach()
    added, weights = virtual(proto)
    onnx.checker.check_model(added)
    assert weights == {"w1", "w2"}  # not the last one, whose output is the model's
    network = Network(added)
    torch.testing.assert_close(network(x)["y"].detach(), expected, rtol=1e-4, atol=1e-4)
    folding.start(network, weights, [(x[:11], None), (x[11:], None)])
    torch.testing.assert_close(network(x)["y"].detach(), expected, rtol=1e-4, atol=1e-4)
    network.train()  # all samples are one batch: now the batch's own statistics change nothing either
    torch.testing.assert_close(network(x)["y"].detach(), expected, rtol=1e-3, atol=1e-3)
    network.eval()
    rows = network["w2"].numpy().reshape(5, -1)
    np.testing.assert_allclose(np.sqrt(np.square(rows).mean(1)), np.sqrt(2 / 36), rtol=1e-4)
    network["w2"].prune(torch.arange(180) % 3 == 0)
    pruned = network(x)["y"].detach()
    assert folding.fold(network, lambda weight, others: True) == 2
    assert {weight.name for weight in network} == {"w1", "b1", "w2", "b2", "w3", "b3"}
    torch.testing.assert_close(network(x)["y"].detach(), pruned, rtol=1e-4, atol=1e-4)
    assert np.array_equal(network["w2"].mask, np.arange(180) % 3 == 0) and network["w1"].mask is None


def images(count: int, seed: int = 0):
    """Images of two channels that differ in their contrast and place by class."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, count)
    x = random.normal(size=(count, 2, 4, 4)) * (0.5 + labels[:, None, None, None]) + labels[:, None, None, None]
    return x.astype(np.float32), labels


@pytest.mark.parametrize("fold", [True, False])
def test_a_network_is_pruned_and_shared_with_its_normalizations(fold, tmp_path):
    x, y = images(300)
    quick = {"share_epochs": 1, "batch": 50, "threads": 1, "learning_rate": 0.01, "drop_idle": False}
    recipe = Recipe(sparsity=0.5, bits=3, epochs=4, **quick)
    found = retrain(
        normalized(), tmp_path / "net.dcz", x, labels=y, validation=images(200, 1), recipe=recipe,
        plan=Plan(dcz.train.BASE, fold=fold, min_weights=30), force=True,
    )  # fmt: skip
    assert found.after[1] < found.before[1] - 0.2
    proto = dcz.load(tmp_path / "net.dcz")
    norms = [node for node in proto.graph.node if node.op_type == "BatchNormalization"]
    assert len(norms) == (1 if fold else 2)  # the first one has no layer before it
    np.testing.assert_allclose(arrays(proto)["mean"], x.mean(), atol=0.3)  # it was 0.5 and -1
    report = dcz.inspect(tmp_path / "net.dcz")
    assert report.metadata.get("folded") == ("1" if fold else None)
    (weight,) = report.rows
    assert weight.entries <= 9 and weight.scales == (20 if fold else None)  # what the normalization became
    assert found.decoded == pytest.approx(found.after, rel=1e-4)


def test_a_killed_run_with_normalizations_resumes_to_the_same_bytes(tmp_path):
    x, y = images(120)
    recipe = Recipe(sparsity=0.5, bits=3, epochs=2, share_epochs=2, batch=30, threads=1, learning_rate=0.01)

    def run(name, stop=None):
        ends = itertools.count(1)

        def tell(state):
            if state.is_end and next(ends) == stop:
                raise KeyboardInterrupt

        retrain(
            normalized(), tmp_path / f"{name}.dcz", x, labels=y, recipe=recipe, checkpoint=tmp_path / f"{name}.ckpt",
            progress=tell, force=True,
        )  # fmt: skip
        return (tmp_path / f"{name}.dcz").read_bytes()

    whole = run("whole")
    for stop in (1, 2, 1):
        with pytest.raises(KeyboardInterrupt):
            run("killed", stop)
    assert run("killed") == whole


def test_normalizations_that_were_added_are_not_in_the_file(tmp_path):
    x = np.random.default_rng(0).normal(size=(200, 1, 6, 6)).astype(np.float32)
    proto, plan = convolutional(), Plan(dcz.train.BASE, min_weights=30, fold=False)
    recipe = Recipe(sparsity=0.5, bits=5, epochs=2, share_epochs=1, batch=20, threads=1)
    found = retrain(proto, tmp_path / "net.dcz", x, recipe=recipe, plan=plan, force=True)
    written = dcz.load(tmp_path / "net.dcz")
    assert [node.op_type for node in written.graph.node] == [node.op_type for node in proto.graph.node]
    assert {name: array.shape for name, array in arrays(written).items()} == {
        name: array.shape for name, array in arrays(proto).items()
    }
    report = dcz.inspect(tmp_path / "net.dcz")
    assert "folded" not in report.metadata and found.source_bytes == len(proto.SerializeToString())
    assert found.decoded[0] == pytest.approx(found.after[0], rel=1e-3, abs=1e-6)


def test_rows_of_channels_that_do_nothing_stay_small():
    proto = convolutional()
    next(each for each in proto.graph.initializer if each.name == "w1").CopyFrom(
        tensor("w1", 4 * normal(4, 1, 3, 3) * np.float32([1, 1, 1, 1e-6]).reshape(4, 1, 1, 1))
    )
    added, weights = virtual(proto)
    network = Network(added)
    x = np.random.default_rng(1).normal(size=(30, 1, 6, 6)).astype(np.float32)
    expected = Network(proto)(x)["y"].detach()
    folding.start(network, weights, [(x, None)])
    torch.testing.assert_close(network(x)["y"].detach(), expected, rtol=1e-4, atol=1e-4)
    sizes = np.sqrt(np.square(network["w1"].numpy()).mean((1, 2, 3)))
    assert sizes[3] < 1e-4 * sizes[0]


def test_what_is_added_is_trained_whatever_the_plan_says_of_all_tensors(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 1, 6, 6)).astype(np.float32)
    rules = (dcz.plan.Rule(("*scale", "*mean"), dcz.plan.LOSSLESS), dcz.plan.Rule(("w*",), dcz.Settings(sparsity=0.5)))
    with pytest.raises(dcz.errors.InvalidArgument, match="matches no tensor"):
        retrain(
            convolutional(),
            tmp_path / "n.dcz",
            x,
            recipe=Recipe(epochs=1),
            plan=Plan(dcz.train.BASE, rules),
            force=True,
        )
    recipe = Recipe(epochs=1, share_epochs=0, batch=20, threads=1, prune_biases=True)
    found = retrain(
        convolutional(), tmp_path / "n.dcz", x, recipe=recipe, plan=Plan(dcz.train.BASE, rules[1:]), force=True
    )
    assert found.decoded is not None


def test_layers_that_the_plan_or_the_recipe_leaves_alone_get_none(tmp_path):
    def added(recipe, **plan):
        data = np.zeros((20, 1, 6, 6), np.float32)
        task = dcz.train.task.TrainingTask(convolutional(), data, recipe=recipe, plan=Plan(dcz.train.BASE, **plan))
        return sorted(task.normalizations.added)

    found = Recipe(sparsity=0.5)
    assert added(found, min_weights=30) == ["w1", "w2"]
    assert added(found, min_weights=30, exclude=("w1",)) == ["w2"]
    assert added(found, min_weights=30, exclude=("b1",)) == ["w2"]
    assert added(Recipe(sparsity=0.5, normalize=False), min_weights=30) == []
    assert added(Recipe(sparsity=0.5, learning_rate=0.01), min_weights=30) == []
    assert added(Recipe(sparsity=0.5, learning_rate=0.01, normalize=True), min_weights=30) == ["w1", "w2"]
    assert added(Recipe(bits=3), min_weights=30) == []  # nothing is trained before weights are shared
