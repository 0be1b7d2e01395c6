"""Weights that are dense, pruned or shared, and the network that is a function of them."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import dcz
from dcz.codec.stages.share import SharedWeights
from dcz.errors import BadPlan, UnsuitableModel
from tests.models import arrays, model, normal, tensor
from tests.train.samples import clusters, convolutional, perceptron, transformer

torch = pytest.importorskip("torch")

from dcz.train import (
    Network,
    Weight,
    save_network,
)


def weight_of(count: int = 12, dtype=np.float64) -> Weight:
    return Weight("w", np.random.default_rng(0).normal(size=(count // 4, 4)).astype(dtype), True)


def some_mask(count: int = 12) -> np.ndarray:
    return np.arange(count) % 3 != 0


# -- one weight --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [None, some_mask()])
@pytest.mark.parametrize("movable", [False, True])
def test_the_gradient_of_a_centroid_is_the_limit_of_differences(mask, movable):
    weight = weight_of()
    if mask is not None:
        weight.prune(mask)
    codes = np.arange(weight.kept, dtype=np.uint8) % 3
    weight.share(SharedWeights(np.array([-0.5, 0.1, 0.7]), codes), movable)
    factors = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def of_centroids(values):
        with torch.no_grad():
            weight.values.copy_(values)
            return float(((weight() * factors) ** 2).sum())

    start = weight.values.detach().clone()
    ((weight() * factors) ** 2).sum().backward()
    for i in range(3):
        step = torch.zeros(3, dtype=torch.float64)
        step[i] = 1e-6
        slope = (of_centroids(start + step) - of_centroids(start - step)) / 2e-6
        assert abs(slope - float(weight.values.grad[i])) < 1e-7
    if movable:  # each weight's own gradient, at its centroid's value
        dense = torch.zeros(12, dtype=torch.float64)
        dense[weight.places] = start[weight.codes]
        expected = (2 * factors.ravel() ** 2 * dense)[weight.places]
        assert torch.allclose(weight.latent.grad, expected)


def test_the_gradient_of_a_centroid_is_the_sum_of_those_of_its_weights():
    dense, shared = weight_of(), weight_of()
    with torch.no_grad():
        dense.values.copy_(torch.tensor([0.5, -0.5] * 6))
    shared.share(SharedWeights(np.array([-0.5, 0.5]), np.array([1, 0] * 6, np.uint8)))
    for weight in (dense, shared):
        (weight() ** 3).sum().backward()
    assert torch.allclose(
        shared.values.grad, torch.stack([dense.values.grad[1::2].sum(), dense.values.grad[::2].sum()])
    )


@pytest.mark.parametrize("regrow", [False, True])
def test_pruned_weights_are_zero_and_move_only_if_they_may_regrow(regrow):
    weight = weight_of()
    weight.regrow = regrow
    weight.prune(some_mask())
    weight().sum().backward()
    assert (weight().detach().ravel()[~some_mask()] == 0).all() and weight.kept == 8
    assert torch.equal(weight.values.grad, torch.ones(12) if regrow else torch.tensor(some_mask()).double())


def test_masks_hold_under_adams_momentum():
    weight = weight_of()
    optimizer = torch.optim.Adam([weight.values], 0.1)
    for step in range(20):
        optimizer.zero_grad()
        ((weight() - 3) ** 2).sum().backward()
        optimizer.step()
        if step == 5:
            weight.prune(some_mask())
            still = weight.values.detach().clone()
    assert not torch.equal(still, weight.values) and (weight.numpy().ravel()[~some_mask()] == 0).all()
    assert not np.signbit(weight.numpy().ravel()[~some_mask()]).any()  # -0.0 would be a value to code


@pytest.mark.parametrize("regrow", [False, True])
def test_a_later_mask_brings_nothing_back_unless_asked(regrow):
    weight = weight_of()
    weight.regrow = regrow
    weight.prune(some_mask())
    weight.prune(np.ones(12, bool))
    assert weight.kept == (12 if regrow else 8)


def test_masks_and_codes_that_do_not_fit_are_refused():
    weight = weight_of()
    with pytest.raises(BadPlan, match="12 places"):
        weight.prune(np.ones(5, bool))
    with pytest.raises(BadPlan, match="codes for the 12 kept weights, not 5"):
        weight.share(SharedWeights(np.zeros(1), np.zeros(5, np.uint8)))
    weight.share(SharedWeights(np.zeros(1), np.zeros(12, np.uint8)))
    with pytest.raises(BadPlan, match="prune before that"):
        weight.prune(np.ones(12, bool))
    with pytest.raises(BadPlan, match="shared already"):
        weight.share(SharedWeights(np.zeros(1), np.zeros(12, np.uint8)))


def test_a_state_brings_everything_back():
    weight = weight_of()
    weight.prune(some_mask())
    pruned, before = weight.state(), weight.numpy()
    weight.share(SharedWeights(np.array([0.25, 0.5]), np.arange(8, dtype=np.uint8) % 2), movable=True)
    shared, centroids = weight.state(), weight.numpy()
    weight.restore(pruned)
    assert np.array_equal(weight.numpy(), before) and weight.kept == 8 and not weight.shared
    assert [name for name, _ in weight.named_parameters()] == ["values"]
    weight.restore(shared)
    assert np.array_equal(weight.numpy(), centroids) and weight.latent is not None


# -- a network ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [perceptron, convolutional])
def test_weights_and_biases_are_found_by_name(make):
    network = Network(make())
    assert {weight.name: weight.shape for weight in network} == {n: a.shape for n, a in arrays(make()).items()}
    assert all(weight.is_weight == (len(weight.shape) > 1) for weight in network)


def test_masks_of_attention_and_constants_of_arithmetic_are_not_trained():
    network = Network(transformer())
    names = {weight.name for weight in network}
    assert names == {"table", "wq", "wk", "wv", "scale", "shift", "w", "b"}
    assert network["w"].is_weight and not network["scale"].is_weight


def test_constants_that_shape_the_graph_are_not_trained():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Clip", ["m", "low", "high"], ["c"]),
        helper.make_node("Add", ["c", "b"], ["y"]),
    ]
    bounds = [tensor("low", np.float32(-1)), tensor("high", np.float32(1))]
    weights = [tensor("w", normal(20, 20)), tensor("b", normal(20)), tensor("nothing", np.zeros((0, 20), np.float32))]
    made = model(nodes, {"x": ["n", 20]}, {"y": ["n", 20]}, weights + bounds)
    assert {weight.name for weight in Network(made)} == {"w", "b"}


def test_a_bias_behind_an_add_of_two_constants_is_trained():
    nodes = [
        helper.make_node("Add", ["a", "b"], ["ab"]),
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "ab"], ["y"]),
    ]
    weights = [tensor("w", normal(20, 20)), tensor("a", normal(20)), tensor("b", normal(20, seed=1))]
    network = Network(model(nodes, {"x": ["n", 20]}, {"y": ["n", 20]}, weights))
    network(np.ones((3, 20), np.float32))["y"].sum().backward()
    assert torch.equal(network["a"].values.grad, torch.full((20,), 3.0)) and network["b"].values.grad is not None


def test_a_model_without_trainable_weights_is_unsuitable():
    relu = model([helper.make_node("Relu", ["x"], ["y"])], {"x": ["n", 4]}, {"y": ["n", 4]})
    with pytest.raises(UnsuitableModel, match="no weights that could be trained"):
        Network(relu)
    with pytest.raises(UnsuitableModel, match="no weights"):
        Network(perceptron(), frozen=lambda name: True)


@pytest.mark.parametrize("given", [
    np.full((3, 64), 7, np.uint8), np.full((3, 64), 7.0), np.full((3, 64), 7, np.float16), torch.full((3, 64), 7),
    np.full((3, 64), 7, ">f4"), [[7] * 64] * 3, {"x": np.full((3, 64), 7, np.int64), "more": None},
])  # fmt: skip
def test_any_numbers_may_stand_for_floats(given):
    network = Network(perceptron())
    expected = network(np.full((3, 64), 7, np.float32))["y"]
    assert torch.equal(network(given)["y"], expected)


def test_arrays_that_may_not_be_written_are_taken():
    x = np.ones((3, 64), np.float32)
    x.flags.writeable = False
    assert Network(perceptron())(x)["y"].shape == (3, 10)


@pytest.mark.parametrize("proto, given, words", [
    (perceptron, np.ones((3, 63), np.float32), r"'x' is \[3, 63\]; the model wants \[n, 64\], samples along"),
    (perceptron, np.ones(64, np.float32), "the model wants"),
    (perceptron, {"z": np.ones((3, 64))}, "lacks the input 'x'"),
    (perceptron, np.array([["a"] * 64]), "array of numbers"),
    (perceptron, [[1], [1, 2]], "no array"),
    (transformer, np.full((2, 6), 0.5), r"'tokens' wants int64, .* float64 \[2, 6\], such as 0.5: give whole numbers"),
])  # fmt: skip
def test_inputs_that_do_not_fit_are_named(proto, given, words):
    with pytest.raises(BadPlan, match=words):
        Network(proto())(given)


def test_names_that_are_not_there_are_answered_with_those_that_are():
    with pytest.raises(BadPlan, match="no trainable tensor 'fc9'; there are fc1.weight"):
        Network(perceptron())["fc9"]


def test_a_tied_tensor_is_one_weight_with_two_uses():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["y"])]
    network = Network(model(nodes, {"x": ["n", 20]}, {"y": ["n", 20]}, [tensor("w", normal(20, 20))]))
    assert len(list(network)) == 1 and network.uses(network["w"]) == 2


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_types_are_computed_and_come_back_in_their_own(dtype, tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    made = model(nodes, {"x": (kind, ["n", 20])}, {"y": (kind, ["n", 30])}, [tensor("w", normal(20, 30, dtype=dtype))])
    network = Network(made)
    network(np.ones((2, 20), np.float32))["y"].sum().backward()
    assert network["w"].dtype == np.dtype(dtype).name and network["w"].values.grad is not None
    network["w"].prune(np.arange(600) % 2 == 0)
    loaded = dcz.load(save_network(network, tmp_path / "net.dcz", force=True))
    found = numpy_helper.to_array(loaded.graph.initializer[0])
    kept = np.where(np.arange(600) % 2, 0, normal(600, dtype=dtype)).reshape(20, 30)
    assert found.dtype == dtype and np.array_equal(found, kept)


# -- what is written ---------------------------------------------------------------------------------------------------


def test_a_network_is_written_exactly_as_it_is(tmp_path):
    onnx.save(perceptron(), tmp_path / "net.onnx")
    network = Network(tmp_path / "net.onnx")
    network["fc1.weight"].prune(np.random.default_rng(0).random(64 * 128) < 0.1)
    network["fc2.weight"].share(
        SharedWeights(np.array([-0.125, 0.0, 0.25]), np.random.default_rng(1).integers(0, 3, 1280))
    )
    save_network(network, tmp_path / "net.dcz", {"settings": "by hand"}, force=True)
    found, wanted = arrays(dcz.load(tmp_path / "net.dcz")), arrays(network.to_proto())
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    report = dcz.inspect(tmp_path / "net.dcz")
    rows = {row.name: row for row in report.rows}
    assert rows["fc1.weight"].encoding == "pruned" and rows["fc1.weight"].kept == network["fc1.weight"].kept
    assert rows["fc2.weight"].entries in (2, 3)
    x, _ = clusters(5)
    assert np.allclose(network(x)["y"].detach().numpy(), _run(tmp_path / "net.dcz", x), atol=1e-5)


def _run(path, x):
    import onnxruntime

    session = onnxruntime.InferenceSession(dcz.load(path).SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("form", ["gather", "qdq"])
def test_a_small_onnx_file_is_trained_as_the_model_that_it_stands_for(form, tmp_path):
    packed = dcz.compress(perceptron(), tmp_path / "net.dcz", step=0.2).path
    small = dcz.decompress(packed, tmp_path / "small.onnx", form=form)
    found, expected = Network(small), Network(dcz.load(packed))
    assert {weight.name for weight in found} == {weight.name for weight in expected}
    dcz.train.retrain(small, tmp_path / "again.dcz", *clusters(100)[:1], recipe=dcz.Recipe(sparsity=0.5, epochs=1))
    assert {row.name for row in dcz.inspect(tmp_path / "again.dcz").rows} <= set(arrays(perceptron()))
