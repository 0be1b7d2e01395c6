"""Whole networks quantized layer by layer, against onnxruntime's own outputs and plain rounding."""

import numpy as np
import pytest
from onnx import helper

from dcz import calibrate
from dcz.calibrate import gathering, layers
from dcz.model import from_proto, read_program, with_values
from tests.calibrate.cases import STEPS, batches, network
from tests.models import model, normal, run, tensor


def test_a_calibrated_network_errs_less_than_a_rounded_one():
    net, inputs = network(), batches()
    x = np.concatenate([batch["x"] for batch in inputs])
    new = calibrate.quantize_layers(net, inputs, STEPS, calibrate.Options(rate_weight=0, sweeps=1, asymmetry=0.5))
    assert new.keys() == {"w0", "b0", "w1", "w2", "b2"}
    assert all(len(np.unique(array)) <= 256 for array in new.values())
    (y,) = run(net.proto, x=x)
    (found,) = run(with_values(net, new), x=x)
    old = read_program(net, "").constants
    (plain,) = run(with_values(net, {name: np.rint(old[name] / step) * step for name, step in STEPS.items()}), x=x)
    assert np.square(found - y).mean() < 0.5 * np.square(plain - y).mean()


def test_biases_take_the_mean_error():
    net, inputs = network(), batches()
    new = calibrate.quantize_layers(net, inputs, {"w2": 0.4}, calibrate.Options(round_biases=False))
    x = np.concatenate([batch["x"] for batch in inputs])
    off = run(with_values(net, new), x=x)[0] - run(net.proto, x=x)[0]
    assert np.abs(off.mean(0)).max() < 1e-4 < np.abs(off).mean()


@pytest.mark.parametrize("per_feature, positions", [(256, 36), (1, 9), (0, 9)])
def test_groups_need_fewer_positions(per_feature, positions, monkeypatch):
    monkeypatch.setattr(gathering, "MIN_SAMPLE_POSITIONS", 8)
    monkeypatch.setattr(gathering, "GROUP_POSITIONS_PER_FEATURE", per_feature)
    found = layers.find_layers(read_program(network(), "net.onnx"))[:2]
    given = [{"x": normal(16, 3, 8, 8), "r0": normal(16, 16, 8, 8, seed=1)}]
    gathered = gathering.gather_statistics(found, given, None, 16)
    assert [gathered[layer.tensor].count for layer in found] == [16 * 64, 16 * positions]


@pytest.mark.parametrize("per_feature, least, positions", [(1, 1, 8), (1, 400, 32), (32, 1, 64)])
def test_statistics_are_from_as_many_positions_as_their_matrix_needs(per_feature, least, positions, monkeypatch):
    """Of 27 numbers x, and lines of 8 positions."""
    monkeypatch.setattr(gathering, "MIN_SAMPLE_POSITIONS", 1)
    monkeypatch.setattr(gathering, "MIN_POSITIONS", least)
    monkeypatch.setattr(gathering, "POSITIONS_PER_FEATURE", per_feature)
    found = layers.find_layers(read_program(network(), "net.onnx"))[:1]
    gathered = gathering.gather_statistics(found, [{"x": normal(8, 3, 8, 8)}, {"x": normal(8, 3, 8, 8)}], None, 16)
    assert gathered["w0"].count == 16 * positions


def test_batches_of_any_size_give_the_same():
    net = network()
    one, other = (calibrate.quantize_layers(net, batches(size=size), STEPS) for size in (64, 7))
    for name, array in one.items():
        assert np.mean(array == other[name]) > 0.98  # sums in another order


def test_only_one_batch_is_in_memory():
    """Batches are asked for one at a time, and what the network makes of them lies in a file."""
    alive = []

    def stream():
        import weakref

        for batch in batches(160, 16):
            assert sum(ref() is not None for ref in alive) <= 3  # looked at, computed ahead, still in hand
            copy = {"x": batch["x"].copy()}
            alive.append(weakref.ref(copy["x"]))
            yield copy
            del copy

    calibrate.quantize_layers(network(), stream(), STEPS)
    assert len(alive) == 10


def test_tensors_that_are_no_layers_are_rounded_all_the_same():
    table = normal(100, 8)
    nodes = [helper.make_node("Gather", ["t", "x"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["y"])]
    proto = model(nodes, {"x": (7, ["n"])}, {"y": ["n", 4]}, [tensor("t", table), tensor("w", normal(8, 4, seed=1))])
    new = calibrate.quantize_layers(from_proto(proto), [{"x": np.arange(100)}], {"t": 0.03, "w": 0.03})
    assert np.abs(new["t"] - table).max() < 0.03
    assert len(np.unique(new["t"])) < 20


def test_a_layer_whose_input_never_varies_is_rounded_all_the_same():
    """A zero state plus a constant: the covariance is zero, and the bias takes what there is."""
    nodes = [
        helper.make_node("Mul", ["x", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "one"], ["h"]),
        helper.make_node("Gemm", ["h", "w", "b"], ["y"]),
    ]
    tensors = [tensor("zero", np.zeros(1, np.float32)), tensor("one", np.full(8, 1.5, np.float32))]
    proto = model(nodes, {"x": [None, 8]}, {"y": None}, [*tensors, tensor("w", normal(8, 4)), tensor("b", normal(4))])
    source = from_proto(proto)
    x = normal(16, 8)
    new = calibrate.quantize_layers(source, [{"x": x}], {"w": 0.5})
    (before,), (after,) = run(proto, x=x), run(with_values(source, new), x=x)
    np.testing.assert_allclose(after, before, atol=0.05)


@pytest.mark.parametrize("threshold", [0.3, 1e9])
def test_positions_that_depend_on_values_are_no_obstacle(threshold):
    """Rows whose first sum is large go on: others in the rounded network than in the original, or none at all."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("ReduceSum", ["h", "axis"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "t"], ["chosen"]),
        helper.make_node("Compress", ["h", "chosen"], ["rows"], axis=0),
        helper.make_node("MatMul", ["rows", "v"], ["y"]),
    ]
    limits = [tensor("axis", np.array([1])), tensor("t", np.array(threshold, np.float32))]
    tensors = [tensor("w", normal(8, 8) * 4), tensor("v", normal(8, 4, seed=1)), *limits]
    net = from_proto(model(nodes, {"x": [None, 8]}, {"y": [None, 4]}, tensors))
    given = [{"x": normal(64, 8, seed=n) * 5} for n in range(3)]
    new = calibrate.quantize_layers(net, given, {"w": 0.3, "v": 0.02}, calibrate.Options(asymmetry=0.5))
    assert all(np.isfinite(array).all() for array in new.values())
    assert np.abs(new["w"] - net.tensors[0].values()).max() < 0.7
