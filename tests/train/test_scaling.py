"""Shared weights beside a normalization, which becomes the scales of their rows."""

import numpy as np
import pytest
from onnx import helper

import dcz
from tests.models import arrays, model, normal, tensor

torch = pytest.importorskip("torch")

from dcz.train import Network, estimate_statistics, folding, save_network, scaling, share_weights

X = np.random.default_rng(0).normal(size=(48, 24, 5, 5)).astype(np.float32)
GAIN = np.float32([0.5, -2, 0.01, 30, 1, -1, 0, 3])


def layers(op="Conv", weight=(8, 24, 3, 3), **attributes):
    """x -> op(w, c) -> BatchNormalization (s, b, m, v) -> y; the gains are far apart, two below 0, and one is 0."""
    shape = ["n", *X.shape[1:]] if op != "Gemm" else ["n", 24]
    nodes = [
        helper.make_node(op, ["x", "w", "c"], ["h"], **attributes),
        helper.make_node("BatchNormalization", ["h", "s", "b", "m", "v"], ["y"]),
    ]
    held = {"w": normal(*weight), "c": normal(8, seed=1), "s": GAIN, "b": normal(8, seed=2), "m": normal(8, seed=3)}
    held["v"] = np.exp(normal(8, seed=4))
    return model(nodes, {"x": shape}, {"y": None}, [tensor(k, v) for k, v in held.items()])


CASES = {
    "Conv": {},
    "ConvTranspose": {"weight": (24, 8, 3, 3)},
    "Gemm": {"weight": (24, 8), "beta": 0.5},
    "Gemm transB": {"weight": (8, 24), "transB": 1},
}


def shared_beside_its_norm(case, fixed=True):
    """A network whose statistics are right and whose weight is shared, its factors fixed before; and its inputs."""
    x = X if "Conv" in case else X[:, :, 0, 0]
    network = Network(layers(case.split()[0], **CASES[case]))
    estimate_statistics(network, [(x, None)])
    before = network(x)["y"].detach()
    if fixed:
        scaling.fix(scaling.scalable(network, {"w"}))
        alive = torch.from_numpy(GAIN != 0)  # the others have a factor next to nothing now
        for is_training in (False, True):
            network.train(is_training)
            found = network(x)["y"].detach()
            torch.testing.assert_close(found[:, alive], before[:, alive], rtol=1e-3, atol=1e-2 if is_training else 1e-3)
            assert (found - before).abs().max() < 0.05
        network.eval()
    network["w"].prune(torch.arange(network["w"].count) % 3 != 0)
    share_weights(network["w"], dcz.Settings(bits=3))
    estimate_statistics(network, [(x, None)])
    return network, x


@pytest.mark.parametrize("case", CASES)
def test_a_normalization_becomes_scales_of_the_rows_before_it(case):
    network, x = shared_beside_its_norm(case)
    expected, codes = network(x)["y"].detach(), network["w"].codes
    assert folding.fold(network, lambda weight, others: True) == 1
    weight = network["w"]
    assert weight.shared and torch.equal(weight.codes, codes) and len(weight.values) <= 8 and not network.batchnorms
    found, axes = network(x)["y"].detach(), [0, 2, 3] if x.ndim == 4 else [0]
    deviation = expected.std(axes, keepdim=True)
    torch.testing.assert_close(found.mean(axes), expected.mean(axes), rtol=1e-3, atol=1e-3)
    is_alive = deviation.ravel() > 0.001 * deviation.max()
    ratio = (found.std(axes) / expected.std(axes))[is_alive]
    assert is_alive.sum() >= 6 and ((ratio - 1).abs() < 1e-3).all()


def test_factors_that_are_not_fixed_are_rounded():
    network, x = shared_beside_its_norm("Conv", fixed=False)
    with torch.no_grad():
        network["s"].values.abs_()
    expected = network(x)["y"].detach()
    folding.fold(network, lambda weight, others: True)
    found, axes = network(x)["y"].detach(), [0, 2, 3]
    torch.testing.assert_close(found.mean(axes), expected.mean(axes), rtol=1e-3, atol=1e-3)
    ratio = (found.std(axes) / expected.std(axes))[np.abs(GAIN) > 0.1]
    assert ((ratio - 1).abs() < 1 / 14).all() and ((ratio - 1).abs() > 0.01).any()


@pytest.mark.parametrize("case", CASES)
def test_the_file_has_the_codebook_once_and_a_scale_for_each_row(case, tmp_path):
    network, _ = shared_beside_its_norm(case)
    folding.fold(network, lambda weight, others: True)
    save_network(network, tmp_path / "net.dcz")
    np.testing.assert_array_equal(arrays(dcz.load(tmp_path / "net.dcz"))["w"], network["w"].numpy())
    (record,) = dcz.inspect(tmp_path / "net.dcz").rows
    assert record.scales == 8 and record.entries <= 9


def test_biases_are_rounded_by_what_their_outputs_vary():
    exact, rounded = (shared_beside_its_norm("Conv")[0] for _ in range(2))
    folding.fold(exact, lambda weight, others: True)
    folding.fold(rounded, lambda weight, others: True, rounds_biases=True)
    error, gain = np.abs(rounded["c"].numpy() - exact["c"].numpy()), np.abs(GAIN)
    assert (error <= np.maximum(gain, gain.max() / 4096) / 64 * 1.07 + 1e-6).all() and error.any()
    steps = np.exp2(np.floor(np.log2(gain[gain > 0] / 64)))
    assert not (rounded["c"].numpy()[gain > 0] % steps).any()


def test_rows_that_a_normalization_does_not_scale_one_by_one_are_none():
    grouped = Network(layers("ConvTranspose", weight=(24, 4, 3, 3), group=2))
    assert not scaling.scalable(grouped, {"w"})
    assert not scaling.scalable(Network(layers()), {"c"})


def test_scales_fit_the_axis_and_a_weight_that_is_shared():
    network = Network(layers())
    with pytest.raises(dcz.errors.InvalidArgument, match="share and bind"):
        network["w"].scale(np.ones(8), 0)
    share_weights(network["w"], dcz.Settings(bits=2))
    for scales in (np.ones(4), np.zeros(8)):
        with pytest.raises(dcz.errors.InvalidArgument, match="above 0"):
            network["w"].scale(scales, 0)
    before = network["w"].numpy()
    network["w"].scale(np.arange(8, 16), 0)
    np.testing.assert_allclose(network["w"].numpy(), before * np.arange(8, 16).reshape(8, 1, 1, 1), rtol=1e-6)
    state = network.state()
    network.restore(state)
    np.testing.assert_allclose(network["w"].numpy(), before * np.arange(8, 16).reshape(8, 1, 1, 1), rtol=1e-6)
