"""Files as small, or as good, as unlabelled inputs advise."""

import hashlib
import math
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import dcz
from dcz import calibrate
from dcz.compression import journal
from dcz.errors import BadPlan, FileAccess, UnsuitableModel
from dcz.evaluation import runtime
from dcz.plan import SAFE_QUALITY, Plan, Rule, Settings
from dcz.tuning import criteria, data_free, drop_search
from dcz.tuning import tune as tuning
from dcz.tuning.agreement_criterion import AgreementCriterion
from dcz.tuning.session import TuningSession
from tests import models
from tests.models import model, normal, tensor
from tests.networks import correlated, perceptron, separable


def cnn() -> onnx.ModelProto:
    """x [n, 3, 8, 8] -> conv with bias -> Relu -> conv, two groups -> Relu -> mean -> Gemm -> y [n, 10]."""
    nodes = [
        helper.make_node("Conv", ["x", "c1", "b1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["ra"]),
        helper.make_node("Conv", ["ra", "c2"], ["b"], pads=[1, 1, 1, 1], strides=[2, 2], group=2),
        helper.make_node("Relu", ["b"], ["rb"]),
        helper.make_node("GlobalAveragePool", ["rb"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b3"], ["y"], transB=1),
    ]
    arrays = {"c1": (48, 3, 3, 3), "b1": (48,), "c2": (96, 24, 3, 3), "w": (10, 96), "b3": (10,)}
    tensors = [tensor(name, normal(*shape, seed=n)) for n, (name, shape) in enumerate(arrays.items())]
    return model(nodes, {"x": ["n", 3, 8, 8]}, {"y": ["n", 10]}, tensors)


def two_layers(width: int | str = "n", outputs=("y",), kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """x [width, 64] -> MatMul -> Relu -> MatMul -> y [width, 10]"""
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w1"], ["y"]),
        helper.make_node("ArgMax", ["y"], ["label"], axis=1, keepdims=0),
    ]
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    weights = [tensor("w0", normal(64, 40).astype(dtype)), tensor("w1", normal(40, 10, seed=1).astype(dtype))]
    shapes = {"y": (kind, [width, 10]), "label": (TensorProto.INT64, [width])}
    return model(nodes, {"x": (kind, [width, 64])}, {name: shapes[name] for name in outputs}, weights)


def arrays(source) -> dict[str, np.ndarray]:
    proto = source if isinstance(source, onnx.ModelProto) else dcz.load(source)
    return {each.name: numpy_helper.to_array(each) for each in proto.graph.initializer}


def tune(source, path, x, **goal) -> tuning.Tuned:
    return dcz.tune(source, path, {"x": x}, threads=1, force=True, **goal)


# -- budgets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_budgets_are_met_in_bytes_of_the_file(ratio, tmp_path):
    source = perceptron(hidden=200)
    budget = int(len(source.SerializeToString()) / ratio)
    found = tune(source, tmp_path / "net.dcz", correlated(), max_bytes=budget)
    assert found.kept.nbytes == os.path.getsize(tmp_path / "net.dcz")
    assert 0.99 * budget <= found.kept.nbytes <= budget


def test_the_writing_of_the_file_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    partial, begun = tmp_path / "net.dcz.partial", []
    honest_add, honest_begin = journal.Records.add, journal.Records.begin

    def add(self, record):
        honest_add(self, record)
        raise KeyboardInterrupt

    def begin(self, *what):
        begun.append(honest_begin(self, *what))
        return begun[-1]

    monkeypatch.setattr(journal.Records, "begin", begin)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(journal.Records, "add", add)
        tune(perceptron(), tmp_path / "net.dcz", correlated(), ratio=6, resume=True)
    assert partial.exists()
    tune(perceptron(), tmp_path / "net.dcz", correlated(), ratio=6, resume=True)
    tune(perceptron(), tmp_path / "whole.dcz", correlated(), ratio=6)
    assert [len(there) for there in begun] == [0, 1, 0] and not partial.exists()
    assert (tmp_path / "net.dcz").read_bytes() == (tmp_path / "whole.dcz").read_bytes()


@pytest.mark.parametrize("ratio", [pytest.param(6, marks=pytest.mark.slow), 14])
def test_a_network_of_convolutions_meets_its_ratio(ratio, tmp_path):
    tried = []
    found = tune(cnn(), tmp_path / "net.dcz", correlated(40, (3, 8, 8)), ratio=ratio, trial=tried.append)
    assert ratio <= len(cnn().SerializeToString()) / found.kept.nbytes <= 1.0102 * ratio
    assert found.kept.nbytes in {each.nbytes for each in tried}
    assert len({each.bits for each in tried}) == len(tried) <= 6
    assert (found.calibrated_on, found.held_out) == (35, 5)


def test_a_size_is_judged_by_samples_that_did_not_calibrate(tmp_path):
    source, x = perceptron(), correlated(400)
    found = tune(source, tmp_path / "net.dcz", x, ratio=20)
    (before,), (after,) = (models.run(net, x=x[7::8]) for net in (source, dcz.load(tmp_path / "net.dcz")))
    assert (found.calibrated_on, found.held_out, found.kept.measure) == (350, 50, "top class")
    assert found.kept.agreement == (before.argmax(1) == after.argmax(1)).mean() < 1


def test_a_budget_for_everything_keeps_everything(tmp_path):
    found = tune(perceptron(), tmp_path / "net.dcz", correlated(), ratio=1.0)
    assert found.kept.bits == math.inf
    assert dcz.load(tmp_path / "net.dcz").SerializeToString() == perceptron().SerializeToString()


def test_what_the_most_bits_leave_is_filled_with_exact_tensors(tmp_path):
    weights = [normal(64, 64, seed=n) for n in range(8)]
    source = models.dense(*weights)
    found = tune(source, tmp_path / "net.dcz", correlated(), ratio=2.2)
    budget = int(len(source.SerializeToString()) / 2.2)
    exact = sum(np.array_equal(array, arrays(source)[name]) for name, array in arrays(tmp_path / "net.dcz").items())
    assert 0.9 * budget <= found.kept.nbytes == os.path.getsize(tmp_path / "net.dcz") <= budget
    assert 0 < exact < 8


def test_an_impossible_budget_names_the_least_and_keeps_the_old_file(tmp_path):
    old, tried = tmp_path / "net.dcz", []
    old.write_bytes(b"old")
    with pytest.raises(BadPlan, match="as coarsely as 0.002 bits a weight, the file still takes") as caught:
        tune(perceptron(), old, correlated(), max_bytes=600, trial=tried.append)
    assert f"{min(each.nbytes for each in tried):,} bytes" in str(caught.value)
    assert old.read_bytes() == b"old"


# -- drops -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source, size", [
    (perceptron(hidden=40), 64), (two_layers(outputs=("label",)), 64), (two_layers(outputs=("label", "y")), 64),
    (two_layers(8), 43), (two_layers(1), 43), (two_layers(128), 43), (two_layers(kind=TensorProto.FLOAT16), 64),
])  # fmt: skip
def test_a_drop_is_judged_by_calibrations_that_left_the_sample_out(source, size, tmp_path, monkeypatch):
    monkeypatch.setattr(drop_search, "MAX_WALKS", 4)  # some that hold, and some that do not
    x, tried, calibrated_on = correlated(size), [], []
    quantize_layers = calibrate.quantize_layers

    def seen(model, batches, *arguments):
        calibrated_on.append(set(batches.indices))
        return quantize_layers(model, batches, *arguments)

    monkeypatch.setattr(calibrate, "quantize_layers", seen)
    found = tune(source, tmp_path / "net.dcz", x, max_drop=0.1, trial=tried.append)
    everything = set(range(size))
    assert (found.calibrated_on, found.held_out) == (size, size) and calibrated_on[-1] == everything
    left_out = {frozenset(everything - each) for each in calibrated_on} - {frozenset()}
    assert everything - calibrated_on[0] == set(range(3, size, 4)) and len(left_out) == 4
    assert sorted(number for each in left_out for number in each) == [*range(size)]
    fitted = [each for each in tried if each.cross_fitted]
    assert found.kept.judged_drop <= 0.1 and found.kept.bits == min(n.bits for n in fitted if n.judged_drop <= 0.1)
    unseen = correlated(size, seed=5)
    before, after = (answers_of(net, unseen) for net in (source, dcz.load(tmp_path / "net.dcz")))
    assert (before == after).mean() >= 0.7


def answers_of(net, x: np.ndarray) -> np.ndarray:
    """The class of each sample, whatever the model's batch and type are."""
    kind, dims = net.graph.input[0].type.tensor_type.elem_type, net.graph.input[0].type.tensor_type.shape.dim
    x = x.astype(np.float16) if kind == TensorProto.FLOAT16 else x
    size, count = dims[0].dim_value or len(x), len(x)
    x = np.concatenate([x, np.zeros((-count % size, 64), x.dtype)])
    found = np.concatenate([models.run(net, x=x[n : n + size])[-1] for n in range(0, len(x), size)])[:count]
    return found.argmax(1) if found.ndim > 1 else found


def test_a_larger_drop_gives_a_smaller_file_in_few_trials(tmp_path):
    sizes = []
    for drop in (0.1, 0.3):
        tried = []
        kept = tune(perceptron(hidden=40), tmp_path / "net.dcz", correlated(80), max_drop=drop, trial=tried.append).kept
        walked = [each.bits for each in tried if not each.cross_fitted]
        assert len(set(walked)) == len(walked) <= drop_search.MAX_WALKS + 1
        assert kept.judged_drop <= drop
        sizes.append(kept.nbytes)
    assert sizes[0] > sizes[1]


def test_a_drop_that_so_few_samples_cannot_show_is_said(tmp_path):
    said = []
    kept = tune(perceptron(hidden=40), tmp_path / "net.dcz", correlated(24), max_drop=0.08, warn=said.append).kept
    assert kept.expected_drop <= 0.08 < kept.drop_high and not kept.shows(0.08)
    assert [each.split(" samples or so")[0] for each in said] == [
        f"a drop of {kept.expected_drop:.2%} is expected, and on other samples it may be up to {kept.drop_high:.2%}: "
        + said[0].split(": ")[1].split(" samples")[0]
    ]
    told = dcz.inspect(tmp_path / "net.dcz").metadata["drop"]
    assert told == (
        f"{kept.expected_drop:.2%} expected, {kept.drop_low:.2%} to {kept.drop_high:.2%} by 24 samples, cross-fitted"
    )


def test_a_drop_of_labels_that_so_few_samples_cannot_tell_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(drop_search, "MAX_WALKS", 2)
    source, said = two_layers(outputs=("label",)), []
    tune(source, tmp_path / "net.dcz", correlated(40), max_drop=0.02, warn=said.append)
    assert "40 held-out samples tell no drop below 2.5%, so there may be none" in said


class Never(AgreementCriterion):
    """Finds that half of the answers change, whatever the weights."""

    def _scores(self, parts, calibrated=None) -> dict[str, float]:
        return {"agreement": 0.5, "drop": 0.5}


class Late(AgreementCriterion):
    """Finds that half of the answers change, until it was asked eight times: of five quick trials, a walk, and two
    files that no sample helped to make."""

    asked = 0

    def _scores(self, parts, calibrated=None) -> dict[str, float]:
        self.asked += 1
        return {"agreement": 0.5, "drop": 0.5} if self.asked <= 8 else {"agreement": 1.0, "drop": 0.0}


@pytest.mark.parametrize(
    "criterion, quality, kept, words",
    [(Never, 72.0, 0.5, "72 dB has 50.00%, the least that was reached"), (Late, 46.0, 0.0, "46 dB holds it")],
)
def test_a_drop_that_no_trial_meets_keeps_a_file_without_calibration(criterion, quality, kept, words, tmp_path):
    source, tried, said = perceptron(), [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(criteria, "AgreementCriterion", criterion)
        tuned = tune(source, tmp_path / "net.dcz", correlated(40), max_drop=0.01, warn=said.append, trial=tried.append)
    assert [each.bits for each in tried] == [12.0]
    assert "even calibrated at 12.0 bits a weight more than 1.00% of the 10 held-out" in tuned.data_free
    assert words in tuned.data_free and tuned.data_free in said and tuned.kept.drop == kept
    plain = dcz.compress(source, tmp_path / "plain.dcz", Settings(quality=quality))
    assert tuned.kept.nbytes == (tmp_path / "net.dcz").stat().st_size
    assert all(np.array_equal(arrays(plain)[name], array) for name, array in arrays(tmp_path / "net.dcz").items())


def test_the_drop_of_numbers_that_are_no_classes_is_their_relative_error(tmp_path):
    source, x = models.dense(normal(64, 64), normal(64, 1)), correlated()
    kept = tune(source, tmp_path / "net.dcz", x, max_drop=0.1).kept
    unseen = correlated(1000, seed=5)
    before, after = (models.run(net, x=unseen)[0] for net in (source, dcz.load(tmp_path / "net.dcz")))
    assert 0.6 * kept.drop < np.sqrt(((before - after) ** 2).sum() / (before**2).sum()) < 1.6 * kept.drop <= 0.16
    assert 0 < kept.drop <= 0.1 and kept.agreement == 1 - kept.drop
    assert 0.9 < tune(source, tmp_path / "net.dcz", correlated(), ratio=6).kept.agreement < 1


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x, words", [
    (correlated(0), "no samples"), (correlated(7), "7 samples; calibration wants 8"),
    (correlated(20, (63,)), r"wants the shape \[n, 64\], the samples have \[20, 63\]"),
    (correlated().astype(str), "wants tensor"),
    (np.where(np.arange(64) == 3, np.nan, correlated()), "input 'x' holds NaN in samples 0 to 15"),
    (np.where(np.arange(len(correlated()))[:, None] == 3, np.nan, correlated()), "input 'x' holds NaN in sample 3:"),
    (np.where(np.arange(64) == 3, np.inf, correlated()), "infinities or NaN"),
])  # fmt: skip
def test_samples_that_tell_nothing_are_refused(x, words, tmp_path):
    with pytest.raises(BadPlan, match=words):
        tune(perceptron(), tmp_path / "net.dcz", x, ratio=6)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [np.inf, 3e38])
def test_samples_that_the_original_answers_with_infinities_are_left_out(number, tmp_path):
    """One alone would outweigh all others in what the layers see."""
    x, told = correlated(), []
    clean = tune(perceptron(), tmp_path / "clean.dcz", x, ratio=6)
    with_odd = np.insert(x, [5, 40], np.full(64, number, np.float32), axis=0)
    found = tune(perceptron(), tmp_path / "net.dcz", with_odd, ratio=6, warn=told.append)
    assert told == [
        "the samples: samples 5, 41 are left out: infinities go into the model, or infinities or NaN come out"
    ]
    assert (found.calibrated_on + found.held_out, found.data_free) == (len(x), None)
    files = (tmp_path / name for name in ("net.dcz", "clean.dcz"))
    assert len({file.read_bytes() for file in files}) == 1 and clean.held_out == found.held_out


def test_samples_of_one_class_are_refused_for_a_drop_and_do_for_a_size(tmp_path):
    """Weights of nothing at all would keep their answers."""
    x = correlated(400)
    answers = models.run(perceptron(), x=x)[0].argmax(1)
    alike = x[answers == np.bincount(answers).argmax()][:40]
    with pytest.raises(BadPlan, match=r"gave one answer to everything would have a drop of 0.00% on these samples"):
        tune(perceptron(), tmp_path / "net.dcz", alike, max_drop=0.0)
    assert not list(tmp_path.iterdir())
    assert tune(perceptron(), tmp_path / "net.dcz", alike, ratio=6).kept.agreement == 1


def test_an_input_without_samples_is_named(tmp_path):
    with pytest.raises(BadPlan, match="no array for the input 'x'"):
        dcz.tune(perceptron(), tmp_path / "net.dcz", {"z": correlated()}, ratio=6)


@pytest.mark.parametrize("goal", [
    {"max_bytes": 10_000, "ratio": 6}, {"ratio": 6, "max_drop": 0.1}, {"ratio": 0}, {"ratio": math.nan},
    {"max_drop": 1.0}, {"max_drop": -0.1}, {"max_drop": math.nan},
])  # fmt: skip
def test_one_goal_within_range_is_wanted_before_any_work(goal, tmp_path):
    with pytest.raises(BadPlan):
        dcz.tune("missing.onnx", tmp_path / "net.dcz", "missing.npz", **goal)


@pytest.mark.parametrize("settings, named", [
    (Settings(bits=4), "bits"), (Settings(lossless=True), "lossless"), (Settings(rate=3), "rate"),
    (Settings(quality=20), "quality"), (Settings(share=False), "share"), (Settings(sparsity=0.5), "sparsity"),
    (Settings(threshold=1), "threshold"), (Settings(quality=SAFE_QUALITY, codebook="float16"), "codebook"),
])  # fmt: skip
def test_a_default_that_says_how_to_share_contradicts_calibration(settings, named, tmp_path):
    with pytest.raises(BadPlan, match=f"calibration decides how finely weights are shared, .*: leave {named}"):
        tune(perceptron(), tmp_path / "net.dcz", correlated(), ratio=6, plan=settings)


def test_it_is_told_how_many_biases_and_means_took_errors(tmp_path):
    norm = helper.make_node("BatchNormalization", ["b", "s", "z", "mean", "s"], ["n"])
    net = cnn()
    net.graph.node.insert(3, norm)
    net.graph.node[4].input[0] = "n"
    net.graph.initializer.extend(tensor(name, np.full(96, value, np.float32)) for name, value in (
        ("s", 1), ("z", 0.1), ("mean", 0.5),
    ))  # fmt: skip
    tuned = tune(net, tmp_path / "net.dcz", correlated(40, (3, 8, 8), seed=1), ratio=6, plan=Plan(fold=False))
    assert (tuned.biases, tuned.means) == (2, 1)
    old, new = arrays(net), arrays(tmp_path / "net.dcz")
    assert {name for name in ("b1", "b3", "mean", "s", "z") if (old[name] != new[name]).any()} == {"b1", "b3", "mean"}


@pytest.mark.parametrize("place", ["nested_if", "function"])
def test_models_with_graphs_of_their_own_are_calibrated(place, tmp_path):
    """Their weights are those of no layer that is seen, and rounded at steps from the harm that was measured."""
    net, x = models.place(place), correlated(40, (128,))
    kept = tune(net, tmp_path / "net.dcz", x, ratio=5).kept
    assert kept.nbytes <= len(net.SerializeToString()) / 5
    (y,), (found,) = (models.run(each, x=x[:1]) for each in (net, dcz.load(tmp_path / "net.dcz")))
    assert np.square(found - y).mean() < 0.01 * np.square(y).mean()


@pytest.mark.parametrize(
    "weight", [normal(5, 10), np.zeros((64, 64), np.float32), np.full((64, 64), np.inf, np.float32)]
)
def test_models_without_weights_to_calibrate_are_refused(weight, tmp_path):
    with pytest.raises(UnsuitableModel, match="no weights that could be calibrated"):
        tune(models.dense(weight), tmp_path / "net.dcz", correlated(40, (len(weight),)), ratio=6)


@pytest.mark.parametrize("goal", [{"ratio": 6}, {"max_drop": 0.1}])
def test_a_model_without_outputs_is_refused(goal, tmp_path):
    with pytest.raises(UnsuitableModel, match="has no output, so samples tell nothing of it: compress it without any"):
        tune(two_layers(outputs=()), tmp_path / "net.dcz", correlated(), **goal)


def test_neither_the_model_nor_the_samples_are_overwritten(tmp_path):
    onnx.save(perceptron(), tmp_path / "net.onnx")
    np.savez(tmp_path / "x.npz", x=correlated())
    for output in ("net.onnx", "x.npz"):
        with pytest.raises(FileAccess, match="is the input itself"):
            dcz.tune(tmp_path / "net.onnx", tmp_path / output, tmp_path / "x.npz", ratio=6, force=True)
    models.save(perceptron(), tmp_path / "big.onnx", location="big.data")
    with pytest.raises(FileAccess, match="is the input itself"):
        dcz.tune(tmp_path / "big.onnx", tmp_path / "big.data", tmp_path / "x.npz", ratio=6, force=True)


# -- what a plan says --------------------------------------------------------------------------------------------------


def test_rules_and_exclusions_hold_bit_for_bit(tmp_path):
    rules = (Rule(("fc2.weight",), Settings(bits=3)),)
    plan = Plan(rules=rules, exclude=("fc1.bias", "fc2.bias"))
    source = perceptron(hidden=300)
    dcz.compress(source, tmp_path / "plain.dcz", plan)
    tune(source, tmp_path / "net.dcz", correlated(), ratio=7, plan=plan)
    before, plain, after = arrays(source), arrays(tmp_path / "plain.dcz"), arrays(tmp_path / "net.dcz")
    for name in ("fc1.bias", "fc2.bias"):
        assert before[name].tobytes() == after[name].tobytes()
    assert plain["fc2.weight"].tobytes() == after["fc2.weight"].tobytes()
    assert plain["fc1.weight"].tobytes() != after["fc1.weight"].tobytes()


def test_what_a_rule_does_counts_when_a_drop_is_judged(tmp_path):
    plan = Plan(rules=(Rule(("fc2.weight",), Settings(sparsity=0.99, bits=1)),))
    tuned = tune(perceptron(), tmp_path / "net.dcz", correlated(), max_drop=0, plan=plan)
    assert "the least that was reached" in tuned.data_free and tuned.kept.drop > 0


def test_names_with_quotes_and_brackets_stay_apart(tmp_path):
    source = models.dense(normal(64, 64), normal(64, 64, seed=1), normal(64, 64, seed=2))
    for number, name in enumerate(("w*", 'w["1"]', "w'2'")):
        source.graph.initializer[number].name = source.graph.node[number].input[1] = name
    plan = Plan(rules=(Rule(("w'2'",), Settings(bits=2)),))
    dcz.compress(source, tmp_path / "plain.dcz", plan)
    tune(source, tmp_path / "net.dcz", correlated(), ratio=6, plan=plan)
    assert arrays(tmp_path / "plain.dcz")["w'2'"].tobytes() == arrays(tmp_path / "net.dcz")["w'2'"].tobytes()


# -- how good ----------------------------------------------------------------------------------------------------------


def test_calibrated_beats_data_free_at_equal_bytes(tmp_path):
    source, unseen = perceptron(hidden=200), correlated(300, seed=7)
    tune(source, tmp_path / "tuned.dcz", correlated(200), ratio=10)
    dcz.compress_to_size(source, tmp_path / "plain.dcz", ratio=10)
    (wanted,) = models.run(source, x=unseen)
    errors = []
    for name in ("tuned", "plain"):
        (found,) = models.run(dcz.load(tmp_path / f"{name}.dcz"), x=unseen)
        errors.append(10 * math.log10(float(np.square(wanted).sum() / np.square(wanted - found).sum())))
    assert errors[0] > errors[1] + 6  # decibels


def decibels(source, found, x: np.ndarray) -> float:
    """How much stronger the answers are than what is wrong in them."""
    (wanted,), (y,) = models.run(source, x=x), models.run(found, x=x)
    return 10 * math.log10(float(np.square(wanted).sum() / np.square(wanted - y).sum()))


@pytest.mark.parametrize("ratio, gain", [(3.0, 6), pytest.param(5.0, 3, marks=pytest.mark.slow)])
def test_rows_of_different_size_and_depthwise_ones_are_no_worse_for_calibration(ratio, gain, tmp_path):
    """With one grid of 256 levels for all rows, the small ones were lost whatever the size."""
    source, unseen = separable(), normal(100, 8, 8, 8, seed=8) * 20
    found = tune(source, tmp_path / "tuned.dcz", normal(120, 8, 8, 8, seed=9) * 20, ratio=ratio)
    assert found.kept.nbytes == os.path.getsize(tmp_path / "tuned.dcz")
    dcz.compress_to_size(source, tmp_path / "plain.dcz", ratio=ratio)
    tuned, plain = (decibels(source, dcz.load(tmp_path / f"{name}.dcz"), unseen) for name in ("tuned", "plain"))
    assert tuned > plain + gain


@pytest.fixture
def spoilt(monkeypatch):
    """Calibration that does harm, and few trials of it."""
    calibrated = calibrate.quantize_layers

    def off(*arguments, **options):
        found = calibrated(*arguments, **options)
        return {name: array * (1.2 if name == "fc2.weight" else 1.0) + 0.03 for name, array in found.items()}

    monkeypatch.setattr(calibrate, "quantize_layers", off)
    monkeypatch.setattr(drop_search, "MAX_WALKS", 3)


def test_where_calibration_does_harm_the_file_without_it_is_kept_and_said(tmp_path, spoilt):
    source, said = perceptron(hidden=100), []
    found = tune(source, tmp_path / "net.dcz", correlated(), ratio=6, warn=said.append)
    dcz.compress_to_size(source, tmp_path / "plain.dcz", ratio=6)
    metadata = dcz.inspect(tmp_path / "net.dcz").metadata
    assert [found.data_free] == said and metadata["settings"].startswith("quality=")
    assert metadata["calibration"] == "not taken: the file without it is better"
    assert said[0].startswith("without calibration the answers to 8 held-out samples are nearer to the original's")
    assert found.kept.nbytes == os.path.getsize(tmp_path / "net.dcz") <= len(source.SerializeToString()) / 6
    assert (found.biases, found.means) == (0, 0)
    unseen = correlated(200, seed=7)
    errors = [decibels(source, dcz.load(tmp_path / f"{name}.dcz"), unseen) for name in ("net", "plain")]
    assert errors[0] > errors[1] - 1


def test_no_file_of_the_size_is_sought_where_a_larger_one_is_farther_already(tmp_path, monkeypatch):
    sought, larger = [], []
    plan_for_size, measured = data_free.plan_for_size, data_free.measured
    monkeypatch.setattr(data_free, "plan_for_size", lambda *a, **more: sought.append(a) or plan_for_size(*a, **more))
    monkeypatch.setattr(data_free, "measured", lambda *a, **more: larger.append(measured(*a, **more)) or larger[-1])
    found = tune(perceptron(hidden=100), tmp_path / "net.dcz", correlated(), ratio=6)
    assert found.data_free is None and not sought
    assert 1 <= len(larger) <= data_free.MAX_LARGER and larger[-1].nbytes > found.kept.nbytes


def test_the_smaller_file_that_meets_a_drop_is_kept(tmp_path, monkeypatch):
    """Here calibration is not let go as far down as it might."""
    monkeypatch.setattr(drop_search, "MIN_BITS", drop_search.FIRST_BITS)
    source, x, said = perceptron(hidden=100), correlated(120), []
    found = tune(source, tmp_path / "net.dcz", x, max_drop=0.4, warn=said.append)
    calibrated = int(said[0].split(" calibrated ")[1].split(":")[0].replace(",", ""))
    assert found.kept.nbytes == os.path.getsize(tmp_path / "net.dcz") < calibrated and not found.kept.cross_fitted
    (before,), (after,) = (models.run(net, x=x) for net in (source, dcz.load(tmp_path / "net.dcz")))
    assert found.kept.agreement == (before.argmax(1) == after.argmax(1)).mean() >= 0.6


def test_where_calibration_helps_nothing_is_said(tmp_path):
    said = []
    for goal in ({"ratio": 8}, {"max_drop": 0.2}):
        found = tune(perceptron(hidden=100), tmp_path / "net.dcz", correlated(100), warn=said.append, **goal)
        assert found.data_free is None and "calibration" not in dcz.inspect(tmp_path / "net.dcz").metadata
    assert all(each.startswith(f"a drop of {found.kept.expected_drop:.2%} is expected") for each in said)  # if in doubt


def test_the_file_says_what_it_was_made_from(tmp_path):
    onnx.save(perceptron(), tmp_path / "net.onnx")
    np.save(tmp_path / "x.npy", correlated())
    dcz.tune(tmp_path / "net.onnx", tmp_path / "net.dcz", tmp_path / "x.npy", ratio=6)
    metadata = dcz.inspect(tmp_path / "net.dcz").metadata
    data = (tmp_path / "net.onnx").read_bytes()
    assert metadata["source-sha256"] == hashlib.sha256(data).hexdigest()
    assert metadata["source-bytes"] == str(len(data)) and metadata["settings"] == "calibrated"


def test_progress_counts_the_tensors_of_each_trial(tmp_path):
    told, tried = [], []
    tune(perceptron(), tmp_path / "net.dcz", correlated(), ratio=7, progress=lambda *each: told.append(each),
         trial=tried.append)  # fmt: skip
    trials = 2 * len(tried)
    assert told[:trials] == [("fc1.weight", 1, 2), ("fc2.weight", 2, 2)] * len(tried)
    assert told[trials:] and told[-1][1] == told[-1][2]  # bytes, while the file is written


def test_external_data_and_the_same_inputs_give_the_same_bytes(tmp_path):
    source = perceptron(hidden=40)
    inside = models.save(source, tmp_path / "inside.onnx")
    outside = models.save(source, tmp_path / "outside.onnx", location="data.bin")
    size = int(len(source.SerializeToString()) / 4)
    for path in (inside, outside):
        tune(path, path.with_suffix(".dcz"), correlated(), max_bytes=size)
        tune(path, path.with_suffix(".again"), correlated(), max_bytes=size)
        assert path.with_suffix(".dcz").read_bytes() == path.with_suffix(".again").read_bytes()
    for name, array in arrays(inside.with_suffix(".dcz")).items():
        np.testing.assert_allclose(array, arrays(outside.with_suffix(".dcz"))[name], atol=0.05)


def test_a_model_without_layers_is_rounded_without_regard_to_its_inputs(tmp_path):
    node = helper.make_node("Gather", ["table", "ids"], ["y"])
    source = model([node], {"ids": (TensorProto.INT64, ["n"])}, {"y": ["n", 32]}, [tensor("table", normal(80, 32))])
    found = dcz.tune(source, tmp_path / "net.dcz", {"ids": np.arange(60)}, ratio=7)
    assert 7 <= len(source.SerializeToString()) / found.kept.nbytes <= 7.2


def test_weights_used_twice_are_calibrated_once(tmp_path):
    nodes = [helper.make_node("MatMul", [x, "w"], [y]) for x, y in (("x", "h"), ("h", "y"))]
    source = model(nodes, {"x": ["n", 64]}, {"y": ["n", 64]}, [tensor("w", normal(64, 64))])
    assert tune(source, tmp_path / "net.dcz", correlated(), max_drop=0.2).kept.agreement >= 0.8


def test_the_original_network_answers_the_same_after_it_was_closed():
    session = TuningSession(perceptron(), correlated(), None, 1)
    before = session.predictor.session
    (one,) = runtime.run(before, session.batches(8)[0])
    session.predictor.close()
    assert session.predictor.session is not before
    assert np.array_equal(runtime.run(session.predictor.session, session.batches(8)[0])[0], one)
