"""Statistics of layers' inputs against onnxruntime's own outputs, rounding against what it must not be worse than."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from dcz import calibrate
from dcz.calibrate import allocate, gptq, hessian, im2col, layers, layerwise
from dcz.calibrate import levels as quantization_levels
from dcz.calibrate.divergence import Divergence
from dcz.calibrate.schedule import ActivationCache, layer_groups
from dcz.errors import FileAccess, UnsuitableModel
from dcz.model import from_proto, program, with_values
from tests.models import model, normal, run, tensor


def layer_of(proto):
    (found,) = layers.find_layers(program(from_proto(proto), "net.onnx"))
    return found


def outputs_by_columns(layer: layers.Layer, weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """[groups, rows, places]"""
    matrices = layer.to_matrices(weight.astype(np.float64))
    assert layer.in_features == matrices.shape[2]
    blocks = [block.reshape(*block.shape[:2], -1) for block in layer.uses[0][1].blocks(x)]
    return np.concatenate([matrices @ block for block in blocks], 2)


# -- columns -----------------------------------------------------------------------------------------------------------

CONVS = [
    dict(),
    dict(strides=[2, 2]),
    dict(pads=[1, 0, 2, 1]),
    dict(dilations=[2, 3]),
    dict(strides=[2, 3], pads=[2, 1, 0, 3], dilations=[1, 2]),
    dict(auto_pad="SAME_UPPER", strides=[2, 2]),
    dict(auto_pad="SAME_LOWER", strides=[3, 2]),
    dict(auto_pad="SAME_LOWER"),
    dict(auto_pad="VALID", strides=[2, 1]),
]


@pytest.mark.parametrize("block", [1 << 23, 700])
@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("attributes", CONVS)
def test_the_columns_of_a_conv_give_its_outputs(attributes, group, block, monkeypatch):
    monkeypatch.setattr(im2col, "BLOCK", block)
    weight, x = normal(8, 4 // group, 3, 2), normal(3, 4, 11, 9, seed=1)
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=group, **attributes)
    proto = model([node], {"x": [3, 4, 11, 9]}, {"y": None}, [tensor("w", weight)])
    (y,) = run(proto, x=x)
    layer = layer_of(proto)
    found = outputs_by_columns(layer, weight, x)
    wanted = np.moveaxis(y.reshape(3, group, 8 // group, -1), 0, 2).reshape(group, 8 // group, -1)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_array_equal(layer.from_matrices(layer.to_matrices(weight)), weight)


def test_of_many_places_some_are_looked_at():
    """A sample of 12 lines gives every fourth of them, the next sample others."""
    x = np.arange(4 * 120, dtype=np.float32).reshape(4, 1, 12, 10)
    looked_at = np.concatenate([b[0, 0].ravel() for b in im2col.conv_patches({}, (1, 1, 1, 1)).blocks(x, 30)])
    assert sorted(set(looked_at // 10)) == [*range(0, 12, 4), *range(13, 24, 4), *range(26, 36, 4), *range(39, 48, 4)]


@pytest.mark.parametrize("shape, kernel", [((2, 3, 17), (4,)), ((2, 3, 5, 6, 7), (2, 3, 1))])
def test_convs_have_any_number_of_axes(shape, kernel):
    weight, x = normal(5, 3, *kernel), normal(*shape, seed=1)
    proto = model([helper.make_node("Conv", ["x", "w"], ["y"])], {"x": list(shape)}, {"y": None}, [tensor("w", weight)])
    (y,) = run(proto, x=x)
    wanted = np.moveaxis(y.reshape(2, 5, -1), 0, 1).reshape(1, 5, -1)
    np.testing.assert_allclose(outputs_by_columns(layer_of(proto), weight, x), wanted, atol=1e-5)


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize(
    "attributes",
    [
        dict(),
        dict(strides=[2, 3]),
        dict(strides=[2, 2], pads=[1, 0, 2, 1], output_padding=[1, 0]),
        dict(dilations=[2, 1], pads=[3, 2, 3, 2]),
        dict(auto_pad="VALID", strides=[2, 1]),
    ],
)
def test_the_columns_of_a_transposed_conv_give_its_outputs(attributes, group):
    weight, x = normal(4, 3, 3, 2), normal(2, 4, 6, 5, seed=1)
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=group, **attributes)
    proto = model([node], {"x": [2, 4, 6, 5]}, {"y": None}, [tensor("w", weight)])
    (y,) = run(proto, x=x)
    layer = layer_of(proto)
    wanted = np.moveaxis(y.reshape(2, group, 3, -1), 0, 2).reshape(group, 3, -1)
    np.testing.assert_allclose(outputs_by_columns(layer, weight, x), wanted, atol=1e-5)
    np.testing.assert_array_equal(layer.from_matrices(layer.to_matrices(weight)), weight)


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("other_turned", [0, 1])
@pytest.mark.parametrize("place", [0, 1])
def test_the_columns_of_a_gemm_give_its_outputs(place, other_turned, turned):
    shape, other = [((4, 6), (6, 5)), ((6, 5), (4, 6))][place]  # A is 4 x 6, B is 6 x 5
    weight = normal(*(shape[::-1] if turned else shape))
    x = normal(*(other[::-1] if other_turned else other), seed=1)
    mine, its = ("transB", "transA") if place else ("transA", "transB")
    node = helper.make_node("Gemm", ["x", "w"] if place else ["w", "x"], ["y"], **{mine: turned, its: other_turned})
    proto = model([node], {"x": list(x.shape)}, {"y": None}, [tensor("w", weight)])
    (y,) = run(proto, x=x)
    found = outputs_by_columns(layer_of(proto), weight, x)[0]
    np.testing.assert_allclose(found, y.T if place else y, atol=1e-6)
    np.testing.assert_array_equal(layer_of(proto).from_matrices(layer_of(proto).to_matrices(weight)), weight)


@pytest.mark.parametrize("block", [1 << 23, 20])
def test_the_columns_of_a_matmul_give_its_outputs(block, monkeypatch):
    monkeypatch.setattr(im2col, "BLOCK", block)
    weight, x = normal(6, 5), normal(2, 3, 4, 6, seed=1)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    right = model([node], {"x": list(x.shape)}, {"y": None}, [tensor("w", weight)])
    found = outputs_by_columns(layer_of(right), weight, x)[0]
    np.testing.assert_allclose(found, run(right, x=x)[0].reshape(-1, 5).T, atol=1e-6)
    x = normal(3, 5, 7, seed=1)
    node = helper.make_node("MatMul", ["w", "x"], ["y"])
    left = model([node], {"x": list(x.shape)}, {"y": None}, [tensor("w", weight)])
    found = outputs_by_columns(layer_of(left), weight, x)[0]
    np.testing.assert_allclose(found, np.moveaxis(run(left, x=x)[0], 1, 0).reshape(6, -1), atol=1e-6)


# -- layers ------------------------------------------------------------------------------------------------------------


def biased(nodes, bias, shape=(2, 4, 6, 6), weight=(5, 4, 3, 3), more=()):
    initializers = [tensor("w", normal(*weight)), tensor("b", bias), *more]
    return model(nodes, {"x": list(shape)}, {"y": None}, initializers)


@pytest.mark.parametrize(
    "nodes, bias, found",
    [
        ([("Conv", ["x", "w", "b"], ["y"])], (5,), "b"),
        ([("Conv", ["x", "w"], ["h"]), ("Add", ["h", "b"], ["y"])], (5, 1, 1), "b"),
        ([("Conv", ["x", "w"], ["h"]), ("Add", ["b", "h"], ["y"])], (1, 5, 1, 1), "b"),
        ([("Conv", ["x", "w"], ["h"]), ("Add", ["h", "b"], ["y"])], (4,), None),  # along the last axis
        ([("Conv", ["x", "w", "b"], ["h"]), ("Mul", ["h", "b"], ["y"])], (1,), None),
        ([("Conv", ["x", "w"], ["h"]), ("Mul", ["h", "b"], ["y"])], (5, 1, 1), None),
    ],
)
def test_a_bias_is_what_is_added_to_one_layer_alone(nodes, bias, found):
    proto = biased([helper.make_node(*node) for node in nodes], normal(*bias))
    assert layer_of(proto).bias == found


def test_weights_that_serve_several_nodes_are_one_layer():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["y"])]
    proto = model(nodes, {"x": [3, 4]}, {"y": [3, 4]}, [tensor("w", normal(4, 4))])
    layer = layer_of(proto)
    assert [value for value, _ in layer.uses] == ["x", "h"]
    (group,) = layer_groups(program(from_proto(proto), ""), [layer])
    assert group.values == ("x",)


# -- statistics of inputs ----------------------------------------------------------------------------------------------


def statistics_of(batches, originals=None) -> hessian.InputStatistics:
    """Of the inputs [samples, k] of a dense layer."""
    accumulator = hessian.Accumulator(1, batches[0].shape[1], originals is not None)
    for index, batch in enumerate(batches):
        accumulator.add(batch, im2col.Dense(), original=None if originals is None else originals[index])
    return accumulator.statistics()


@pytest.mark.parametrize("largest", [4096, 7])
def test_statistics_are_those_of_all_inputs_however_they_come(largest, monkeypatch):
    monkeypatch.setattr(hessian, "MAX_FEATURES", largest)
    x = normal(40, 20, seed=3) + 0.1
    whole = statistics_of([x])
    parts = statistics_of([x[start : start + 9] for start in range(0, 40, 9)])
    np.testing.assert_allclose(whole.hessian(True), parts.hessian(True), atol=1e-8)
    square = x.T.astype(np.float64) @ x / 40
    mean = x.mean(0, dtype=np.float64)
    if largest > 20:
        np.testing.assert_allclose(whole.hessian(False)[0], square, atol=1e-6)
        np.testing.assert_allclose(whole.hessian(True)[0], square - np.outer(mean, mean), atol=1e-6)
    else:  # three blocks of seven, the last filled up
        np.testing.assert_allclose(whole.hessian(False)[1], square[7:14, 7:14], atol=1e-6)
        np.testing.assert_allclose(whole.hessian(False)[2][:6, :6], square[14:, 14:], atol=1e-6)


def test_the_target_makes_good_what_earlier_layers_did_wrong():
    random = np.random.default_rng(0)
    original = random.normal(size=(2000, 6)).astype(np.float32) + 1
    present = (original @ np.diag([0.5, 1, 1, 2, 1, 1]) + 0.01 * random.normal(size=(2000, 6))).astype(np.float32)
    found = statistics_of([present], [original])
    weights = random.normal(size=(1, 3, 6))
    target = found.asymmetric_target(weights, True, 1.0)
    np.testing.assert_allclose(target[0] * [0.5, 1, 1, 2, 1, 1], weights[0], atol=0.1)
    np.testing.assert_allclose(found.asymmetric_target(weights, True, 1e-9), weights, atol=1e-6)


def test_splitting_is_undone():
    array = normal(2, 3, 10)
    for parts in (1, 2, 3, 4):
        assert hessian.split_features(array, parts, 2).shape == (2 * parts, 3, -(-10 // parts))
        np.testing.assert_array_equal(
            hessian.join_features(hessian.split_features(array, parts, 2), parts, 10, 2), array
        )


# -- rounding ----------------------------------------------------------------------------------------------------------


def problem(seed: int, groups=1, rows=40, size=30):
    """Weights, and H of inputs that are correlated as those of networks are."""
    random = np.random.default_rng(seed)
    mix = random.normal(size=(groups, size, size)) * np.exp(random.normal(size=(groups, 1, size)))
    x = np.maximum(mix @ random.normal(size=(groups, size, 200)), 0)
    return random.normal(size=(groups, rows, size)), x @ np.swapaxes(x, 1, 2) / 200


def loss(errors, h):
    return float(np.einsum("grk,gkj,grj->", errors, hessian.damp(h), errors))


@pytest.mark.parametrize("groups, rows, size", [(1, 40, 30), (1, 20, 150), (8, 1, 9)])
@pytest.mark.parametrize("seed", range(3))
def test_compensation_is_never_worse_than_rounding_to_the_nearest(seed, groups, rows, size):
    weights, h = problem(seed, groups, rows, size)
    plain = np.rint(weights / 0.5) * 0.5
    found = gptq.quantize(weights, h, 0.5, rate_weight=0, sweeps=0, fit=False)
    swept = gptq.quantize(weights, h, 0.5, rate_weight=0, sweeps=3, fit=False)
    fitted = gptq.quantize(weights, h, 0.5, rate_weight=0, sweeps=0, fit=True)
    assert found.loss == pytest.approx(loss(weights - found.values, h))
    assert found.loss < 0.9 * loss(weights - plain, h)
    assert swept.loss <= found.loss
    assert fitted.loss <= found.loss
    assert np.isin(found.values, found.levels).all()


@pytest.mark.parametrize("seed", range(3))
def test_codes_that_count_their_bits_buy_more(seed):
    """At as many bits, less loss than finer steps of nearest rounding."""
    weights, h = problem(seed, rows=200)
    eager = gptq.quantize(weights, h, 0.8)
    steps = np.geomspace(0.8, 3, 30)
    nearest = [gptq.quantize(weights, h, s, rate_weight=0, sweeps=0, fit=False) for s in steps]
    assert eager.loss < min(n.loss for n in nearest if n.bits <= eager.bits)


def test_the_fit_is_that_of_least_squares():
    weights, h = problem(0)
    w, h = np.swapaxes(weights, 1, 2), hessian.damp(h)
    levels = np.arange(-4, 5) * 0.9
    codes = np.clip(np.rint(w / 0.9), -4, 4).astype(int) + 4
    fitted, renumbered = quantization_levels.fit_levels(w, h, codes, levels, 0.0)
    best = quantization_levels.output_loss(w - fitted[renumbered], h)
    assert best < quantization_levels.output_loss(w - levels[codes], h)
    assert (fitted == 0).any() and (np.diff(fitted) > 0).all()
    for place in np.flatnonzero(fitted):  # moving any level either way makes it worse
        for move in (-0.02, 0.02):
            moved = fitted.copy()
            moved[place] += move
            assert quantization_levels.output_loss(w - moved[renumbered], h) > best


def test_a_weight_far_out_does_not_keep_the_others_coarse():
    weights = np.random.default_rng(0).normal(size=40_000)
    weights[0] = 60.0
    steps = {}
    for bits in (4.0, 6.5):
        curve = allocate.estimate_curve(weights, 1.0, 1.0, quantization_levels.min_step(weights))
        steps[bits] = allocate.steps_for_bits({"w": curve}, bits * weights.size)["w"]
        found = gptq.quantize(weights.reshape(1, 200, 200), np.eye(200)[None], steps[bits], sweeps=0, fit=False)
        assert found.bits / weights.size == pytest.approx(bits, abs=0.15)
        assert len(np.unique(found.values)) <= 256
    assert steps[6.5] < (weights.max() - weights.min()) / 256


@pytest.mark.parametrize("step", [1e-4, 1e-2, 0.3, 10.0])
@pytest.mark.parametrize("outlier", [0.0, 30.0, 1e6])
def test_no_more_values_than_a_codebook_holds(step, outlier):
    weights, h = problem(1, rows=400)
    weights[0, 0, 0] += outlier
    found = gptq.quantize(weights, h, step)
    assert len(np.unique(found.values)) <= len(found.levels) <= 256
    if outlier and step < 1:
        assert found.values[0, 0, 0] == pytest.approx(weights[0, 0, 0], rel=0.1)


def test_weights_far_from_zero_and_close_together_are_told_apart():
    weights, h = problem(1, rows=400)
    found = gptq.quantize(1000 + weights, h, 0.05, fit=False)
    assert len(np.unique(found.values)) <= 256 and np.abs(found.values - 1000 - weights).mean() < 0.1


def test_inputs_that_are_never_there_cost_nothing():
    weights, h = problem(2)
    h[:, 5], h[:, :, 5] = 0, 0
    found = gptq.quantize(weights, h, 0.5)
    assert np.count_nonzero(found.values[:, :, 5]) < np.count_nonzero(found.values[:, :, 6])
    assert np.isfinite(gptq.quantize(weights, 0 * h, 0.5).values).all()
    assert not gptq.quantize(0 * weights, h, 0.5).values.any()


# -- whole networks ----------------------------------------------------------------------------------------------------


def network():
    """Two convolutions, one in groups, a pool and a dense layer."""
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["h0"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["h0"], ["r0"]),
        helper.make_node("Conv", ["r0", "w1"], ["h1"], group=4),
        helper.make_node("Relu", ["h1"], ["r1"]),
        helper.make_node("GlobalAveragePool", ["r1"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w2"], ["m"]),
        helper.make_node("Add", ["m", "b2"], ["y"]),
    ]
    shapes = {"w0": (16, 3, 3, 3), "b0": (16,), "w1": (32, 4, 3, 3), "w2": (32, 10), "b2": (10,)}
    initializers = [tensor(name, 4 * normal(*shape, seed=i)) for i, (name, shape) in enumerate(shapes.items())]
    return from_proto(model(nodes, {"x": ["n", 3, 8, 8]}, {"y": ["n", 10]}, initializers))


def batches(samples=64, size=16):
    x = normal(samples, 3, 8, 8, seed=9) * 20 + 0.3
    return [{"x": x[start : start + size]} for start in range(0, samples, size)]


STEPS = {"w0": 0.15, "w1": 0.15, "w2": 0.15}


def test_a_calibrated_network_errs_less_than_a_rounded_one():
    net, inputs = network(), batches()
    x = np.concatenate([batch["x"] for batch in inputs])
    new = calibrate.quantize_layers(net, inputs, STEPS, calibrate.Options(rate_weight=0, sweeps=1, asymmetry=0.5))
    assert new.keys() == {"w0", "b0", "w1", "w2", "b2"}
    assert all(len(np.unique(array)) <= 256 for array in new.values())
    (y,) = run(net.proto, x=x)
    (found,) = run(with_values(net, new), x=x)
    old = program(net, "").constants
    (plain,) = run(with_values(net, {name: np.rint(old[name] / step) * step for name, step in STEPS.items()}), x=x)
    assert np.square(found - y).mean() < 0.5 * np.square(plain - y).mean()


def test_biases_take_the_mean_error():
    net, inputs = network(), batches()
    new = calibrate.quantize_layers(net, inputs, {"w2": 0.4}, calibrate.Options(round_biases=False))
    x = np.concatenate([batch["x"] for batch in inputs])
    off = run(with_values(net, new), x=x)[0] - run(net.proto, x=x)[0]
    assert np.abs(off.mean(0)).max() < 1e-4 < np.abs(off).mean()


@pytest.mark.parametrize("each, places", [(256, 36), (1, 9), (0, 9)])
def test_groups_are_told_by_fewer_places(each, places, monkeypatch):
    monkeypatch.setattr(layerwise, "MIN_SAMPLE_POSITIONS", 8)
    monkeypatch.setattr(layerwise, "POSITIONS_PER_FEATURE", each)
    found = layers.find_layers(program(network(), "net.onnx"))[:2]
    given = [{"x": normal(16, 3, 8, 8), "r0": normal(16, 16, 8, 8, seed=1)}]
    gathered = layerwise.gather_statistics(found, given, None, 16)
    assert [gathered[layer.tensor].count for layer in found] == [16 * 64, 16 * places]


def test_batches_of_any_size_give_the_same():
    net = network()
    one, other = (calibrate.quantize_layers(net, batches(size=size), STEPS) for size in (64, 7))
    for name, array in one.items():
        assert np.mean(array == other[name]) > 0.98  # sums in another order


def test_layers_are_met_in_order_on_what_was_decided_before():
    net = network()
    prog = program(net, "")
    found = layer_groups(prog, layers.find_layers(prog))
    assert [[layer.tensor for layer in group.layers] for group in found] == [["w0"], ["w1"], ["w2"]]
    assert [group.values for group in found] == [("x",), ("r0",), ("f",)]
    with ActivationCache(batches()) as cache:
        cache.advance(net.proto, ("r0",))
        cache.advance(with_values(net, {"w1": 0 * prog.constants["w1"]}), ("f",))
        assert all(set(batch) == {"f"} and not batch["f"].any() for batch in cache)
        assert len(cache) == 4


def test_values_of_any_dtype_and_shape_lie_in_the_file():
    held = {"b": np.array([True]), "s": np.float32(2.5), "none": np.zeros((0, 3)), "half": normal(2, 3).T.astype("e")}
    with ActivationCache([{name: np.asarray(array) for name, array in held.items()}]) as cache:
        (found,) = cache
    for name, array in held.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
    with pytest.raises(UnsuitableModel, match="computes text, 't'"):
        ActivationCache([{"t": np.array(["a"], object)}])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("samples", [4, 4000])  # some that a buffer holds, and many
def test_a_full_disk_names_the_temporary_folder_and_says_what_to_free(monkeypatch, tmp_path, samples):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "w+b"))
    given = [{"x": np.zeros((samples, 250), np.float32)}] * 10
    with pytest.raises(FileAccess, match=f"{tmp_path}: .*No space left.*; free {samples / 100:.1f} MB .*set TMPDIR"):
        ActivationCache(given)


def test_without_a_temporary_folder_it_is_named(tmp_path, monkeypatch):
    with pytest.raises(FileAccess, match=f"{tmp_path}/gone: .*No such file or directory; set TMPDIR to a folder"):
        ActivationCache(batches(), folder=f"{tmp_path}/gone")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", "gone")
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [f"{tmp_path}/gone"])
    with pytest.raises(FileAccess, match="^gone: temporary files cannot be written: No usable temporary directory"):
        ActivationCache(batches())


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


# -- answers and steps -------------------------------------------------------------------------------------------------


def test_divergence_of_probabilities_and_of_their_scores_are_the_same():
    scores, others = normal(20, 5) * 30, normal(20, 5, seed=1) * 30
    rows = [np.exp(s) / np.exp(s).sum(1, keepdims=True) for s in (scores, others)]
    of_rows, of_scores = Divergence(), Divergence()
    of_rows.add(*rows)
    of_scores.add(scores[:12], others[:12])
    of_scores.add(scores[12:], others[12:])
    assert of_rows.mean == pytest.approx(of_scores.mean, rel=1e-4) and of_rows.mean > 0
    of_maps = Divergence()
    of_maps.add(normal(2, 3, 4, 4), normal(2, 3, 4, 4))
    of_maps.add(np.arange(3), np.arange(3) + 1)
    assert of_maps.mean == 0


def test_the_tensor_that_hurts_is_rounded_more_finely():
    """Twice the same matrix, but the answers hang on only a thousandth of what the first gives."""
    w, thin = normal(32, 32), np.full((32, 32), 1e-3, np.float32)
    nodes = [helper.make_node(op, inputs, [y]) for op, inputs, y in [
        ("MatMul", ["x", "w0"], "a"), ("Mul", ["a", "thin"], "b"),
        ("MatMul", ["x", "w1"], "c"), ("Add", ["b", "c"], "y"),
    ]]  # fmt: skip
    more = [tensor("w0", w), tensor("w1", w), tensor("thin", thin[:1])]
    net = from_proto(model(nodes, {"x": ["n", 32]}, {"y": ["n", 32]}, more))
    found = calibrate.measure_curves(net, [{"x": normal(64, 32, seed=5) * 20}], ["w0", "w1"], 4)
    steps = allocate.steps_for_bits(found, 2048 * 4)
    assert steps["w0"] > 4 * steps["w1"]


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


def test_an_output_that_is_known_early_is_not_forgotten():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["first"]),
        helper.make_node("Relu", ["first"], ["early"]),
        helper.make_node("MatMul", ["early", "v"], ["late"]),
    ]
    proto = model(
        nodes, {"x": [None, 8]}, {"early": None, "late": None}, [tensor("w", normal(8, 8)), tensor("v", normal(8, 4))]
    )
    found = calibrate.measure_curves(from_proto(proto), [{"x": normal(16, 8)}], ["w", "v"])
    assert set(found) == {"w", "v"} and all((each.distortion > 0).all() for each in found.values())
