"""Calibrated values that training makes better, or leaves as they were."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import dcz
from dcz import calibrate
from dcz.codec.stages.grid import round_step
from dcz.errors import BadPlan, UnsuitableModel
from dcz.evaluation.batches import SampleBatches
from dcz.plan import Plan, Rule, Settings
from dcz.tuning import drop_search, size_search
from dcz.tuning import tune as tuning
from dcz.tuning.session import TuningSession
from tests.models import arrays, model, normal, tensor
from tests.train import samples

pytest.importorskip("torch")

from dcz.train import (
    Schedule,
    Trainee,
)
from dcz.tuning import distill as tuning_distill

LIVELY = Schedule(epochs=4, centroids=1.5, others=0.3)


def inputs(count: int = 96, shape=(64,)) -> np.ndarray:
    return normal(count, *shape, seed=3) * 20


def coarse(session: TuningSession, step: float = 0.7) -> dict[str, np.ndarray]:
    """Every weight rounded to multiples of `step` standard deviations, which then are moved at random."""
    new = {}
    for name in session.weight_names:
        numbers = session.values(name).astype(np.float64)
        levels, codes = np.unique(np.rint(numbers / numbers.std() / step), return_inverse=True)
        moved = levels * (1 + 0.5 * np.random.default_rng(5).normal(size=len(levels))) * numbers.std() * step
        new[name] = np.float16(moved)[codes].reshape(numbers.shape).astype(np.float64)
    return new


def distill(source, x, plan=Plan(), schedule=LIVELY, new=None, fits=lambda values: True, **options):
    """What comes of spoilt values: (session, the values before, those after or None, the verdict)."""
    session = TuningSession(source, {source.graph.input[0].name: x}, plan, 1)
    new = coarse(session) if new is None else new(session)
    indices = np.arange(len(x))
    is_held_out = indices % 4 == 3
    training, held_out = (SampleBatches(session.predictor, indices[part]) for part in (~is_held_out, is_held_out))
    return session, new, *tuning_distill.distill(session, new, training, held_out, fits, schedule, **options)


def normalised() -> onnx.ModelProto:
    """x [n, 3, 8, 8] -> Conv -> BatchNormalization -> Relu -> mean -> Gemm -> y [n, 10]"""
    norm = ["scale", "shift", "mean", "variance"]
    nodes = [
        helper.make_node("Conv", ["x", "c"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["a", *norm], ["b"]),
        helper.make_node("Relu", ["b"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "bias"], ["y"], transB=1),
    ]
    values = {"c": normal(48, 3, 3, 3), "w": 9 * normal(10, 48, seed=1), "bias": normal(10, seed=2)}
    values |= {"scale": 1 + normal(48, seed=4), "shift": normal(48, seed=5)}
    values |= {"mean": normal(48, seed=6), "variance": 1 + np.abs(normal(48, seed=7))}
    tensors = [tensor(name, array.astype(np.float32)) for name, array in values.items()]
    return model(nodes, {"x": ["n", 3, 8, 8]}, {"y": ["n", 10]}, tensors)


# -- what it makes better ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source, shape", [
    (samples.perceptron(), (64,)), (normalised(), (3, 8, 8)), (samples.convolutional(), (1, 6, 6)),
])  # fmt: skip
def test_spoilt_centroids_are_mended(source, shape):
    session, new, better, verdict = distill(source, inputs(shape=shape), Plan(min_weights=100))
    assert verdict.refused == "" and verdict.after < 0.7 * verdict.before
    assert verdict.same_after >= verdict.same_before and verdict.held_out == 24
    for name in new:
        assert np.array_equal(better[name] == 0, new[name] == 0)
        pairs = set(zip(new[name].ravel(), better[name].ravel()))
        assert len(pairs) == len(np.unique(new[name])) <= 256  # each weight goes where its centroid goes
        assert np.array_equal(better[name], better[name].astype(np.float16))


def test_a_grid_stays_a_grid():
    def even(session):
        step = {name: round_step(0.8 * float(session.values(name).std())) for name in session.weight_names}
        return {name: np.rint(session.values(name) / each) * round_step(1.5 * each) for name, each in step.items()}

    _, new, better, verdict = distill(samples.perceptron(), inputs(192), new=even, schedule=Schedule(4, 1.0, 0))
    assert verdict.after < verdict.before
    for name in new:
        levels, old = (np.unique(values[name]) for values in (better, new))
        assert len(levels) == len(old) > 3 and not np.array_equal(levels, old)
        steps = np.diff(levels)
        assert np.ptp(steps) == 0


def test_normalisations_and_biases_are_trained_and_the_rest_stays():
    _, new, better, _ = distill(normalised(), inputs(shape=(3, 8, 8)), Plan(fold=False))
    before = arrays(normalised())
    assert {"c", "scale", "shift", "bias"} <= better.keys() and not {"mean", "variance"} & better.keys()
    assert all(np.any(better[name] != before[name]) for name in ("scale", "shift", "bias"))


def test_short_numbers_stay_short():
    def rounded(session):
        return coarse(session) | {"fc1.bias": np.rint(session.values("fc1.bias") * 256) / 256}

    _, new, better, _ = distill(samples.perceptron(), inputs(), new=rounded)
    assert np.array_equal(better["fc1.bias"] * 256, np.rint(better["fc1.bias"] * 256))
    assert np.any(better["fc1.bias"] != new["fc1.bias"])


def test_weights_used_twice_are_trained_as_one():
    nodes = [helper.make_node("MatMul", [x, "w"], [y]) for x, y in (("x", "h"), ("h", "y"))]
    source = model(nodes, {"x": ["n", 64]}, {"y": ["n", 64]}, [tensor("w", 3 * normal(64, 64))])
    _, new, better, verdict = distill(source, inputs())
    assert better.keys() == {"w"} and verdict.after < verdict.before


def test_batches_of_one_and_of_many_serve_alike():
    source = samples.perceptron()
    source.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    source.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    *_, verdict = distill(source, inputs())
    assert verdict.refused == "" and verdict.after < 0.8 * verdict.before


def test_the_same_seed_gives_the_same_values():
    first, again, other = (distill(samples.perceptron(), inputs(), seed=seed)[2] for seed in (1, 1, 2))
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    assert any(first[name].tobytes() != other[name].tobytes() for name in first)


def test_progress_counts_batches():
    calls = []
    distill(samples.perceptron(), inputs(), progress=lambda *each: calls.append(each))
    assert calls[0] == ("distilling, epoch 1 of 4", 1, 36) and calls[-1] == ("distilling, epoch 4 of 4", 36, 36)


# -- what it leaves alone ----------------------------------------------------------------------------------------------


def test_what_a_plan_names_is_not_trained():
    plan = Plan(exclude=("fc1.bias",), rules=(Rule(("fc2.*",), Settings(bits=3)),))
    _, new, better, verdict = distill(samples.perceptron(), inputs(), plan)
    assert better.keys() == {"fc1.weight"} and verdict.refused == ""


@pytest.mark.parametrize("rate", [1e3, 1e30])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_training_that_goes_wrong_is_not_taken(rate, kind):
    weights = [tensor("w0", normal(64, 96).astype(kind)), tensor("w1", normal(96, 10, seed=1).astype(kind))]
    nodes = [helper.make_node("MatMul", ["x", "w0"], ["h"]), helper.make_node("MatMul", ["h", "w1"], ["y"])]
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    source = model(nodes, {"x": (element, ["n", 64])}, {"y": (element, ["n", 10])}, weights)
    *_, better, verdict = distill(source, inputs(), schedule=Schedule(3, rate, rate))
    assert better is None and verdict.refused == "training brought no gain"
    assert verdict.before == verdict.after and verdict.same_before == verdict.same_after


def test_training_that_fails_costs_nothing(monkeypatch):
    def fail(*arguments):
        raise UnsuitableModel("no")
        yield

    monkeypatch.setattr(Trainee, "epochs", fail)
    *_, better, verdict = distill(samples.perceptron(), inputs())
    assert better is None and verdict.refused == "training failed: no"


def test_values_that_miss_the_budget_are_not_taken():
    *_, better, verdict = distill(samples.perceptron(), inputs(), fits=lambda values: False)
    assert better is None and verdict.refused == "the trained values would miss the budget"


@pytest.mark.parametrize("gains, same, refused", [
    ([0.1] * 8, 0.9, ""), ([0.1] * 8, 0.8, "fewer answers are the same"),
    ([0.005] * 8, 0.9, "the gain is not clear"),  # less than a hundredth
    ([0.9, -0.3] * 4, 0.9, "the gain is not clear"),  # chance
    ([0.9], 0.9, "the gain is not clear"),
])  # fmt: skip
def test_a_gain_is_told_from_chance(gains, same, refused):
    before = tuning_distill._Score(np.ones(len(gains)), 0.9)
    after = tuning_distill._Score(1 - np.array(gains), same)
    assert tuning_distill._refusal(before, after) == refused


# -- in a whole run ----------------------------------------------------------------------------------------------------


@pytest.fixture
def spoilt(monkeypatch):
    """Calibration whose values are a little off, few trials of it, and nothing that it is held against."""
    monkeypatch.setattr(tuning, "find_better", lambda *arguments: None)
    calibrated = calibrate.quantize_layers

    def off(*arguments, **options):
        found = calibrated(*arguments, **options)
        return {name: array * (0.5 if array.ndim > 1 else 1.0) for name, array in found.items()}

    monkeypatch.setattr(calibrate, "quantize_layers", off)
    monkeypatch.setattr(drop_search, "MAX_WALKS", 3)
    monkeypatch.setattr(size_search, "MAX_WALKS", 3)


def tune(path, **options):
    return dcz.tune(samples.perceptron(), path, {"x": inputs(120)}, distill=True, threads=1, **options, force=True)


@pytest.mark.parametrize("goal", [{"ratio": 8}, {"max_drop": 0.5}])
def test_a_run_keeps_its_goal_and_says_what_came_of_it(goal, tmp_path, spoilt):
    tried = []
    found = tune(tmp_path / "net.dcz", trial=tried.append, **goal)
    size = os.path.getsize(tmp_path / "net.dcz")
    assert found.distilled.refused == "" and found.distilled.held_out == found.held_out == 30
    assert found.distilled.after < found.distilled.before
    assert dcz.inspect(tmp_path / "net.dcz").metadata["settings"] == "distilled"
    assert found.kept.nbytes == size
    if "ratio" in goal:
        assert size <= len(samples.perceptron().SerializeToString()) / 8
    else:
        assert found.kept.agreement >= 0.5 and size <= 1.002 * max(each.nbytes for each in tried)


def test_a_run_that_gains_nothing_gives_the_calibrated_file(tmp_path, spoilt, monkeypatch):
    monkeypatch.setattr(tuning_distill, "_refusal", lambda before, after: "no")
    assert tune(tmp_path / "net.dcz", ratio=8).distilled.refused == "no"
    monkeypatch.setattr(tuning, "_distill", lambda trials, candidate, max_bytes: (candidate, None))
    tune(tmp_path / "plain.dcz", ratio=8)
    assert (tmp_path / "net.dcz").read_bytes() == (tmp_path / "plain.dcz").read_bytes()


def test_where_all_stays_exact_there_is_nothing_to_distill(tmp_path):
    found = dcz.tune(
        samples.perceptron(), tmp_path / "net.dcz", {"x": inputs()}, ratio=1.0, distill=True, threads=1, force=True
    )
    assert found.distilled is None


def test_an_operator_that_cannot_be_trained_is_named_before_calibration(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Hardmax", ["h"], ["y"])]
    source = model(nodes, {"x": ["n", 64]}, {"y": ["n", 64]}, [tensor("w", normal(64, 64))])
    tried = []
    with pytest.raises(UnsuitableModel, match="operator Hardmax .* is not one that dcz can train"):
        dcz.tune(source, tmp_path / "net.dcz", {"x": inputs()}, ratio=5, distill=True, trial=tried.append, force=True)
    assert not tried and not list(tmp_path.iterdir())


def test_answers_without_a_gradient_are_refused_before_calibration(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("ArgMax", ["h"], ["y"], axis=1)]
    outputs = {"y": (TensorProto.INT64, ["n", 1])}
    source = model(nodes, {"x": ["n", 64]}, outputs, [tensor("w", normal(64, 64))])
    with pytest.raises(BadPlan, match="the model: its outputs are whole numbers.*without --distill"):
        dcz.tune(source, tmp_path / "net.dcz", {"x": inputs()}, ratio=5, distill=True, force=True)
