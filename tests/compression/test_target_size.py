"""Files of a size that was asked for."""

import math
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import dcz
from dcz.compression import measured_file
from dcz.compression.executors import open_pool
from dcz.compression.records import Packing
from dcz.compression.size_search import SizeTrial, seek
from dcz.errors import BadPlan
from dcz.plan import BEST_QUALITY, WORST_QUALITY, Plan, Rule, Settings
from tests import models
from tests.networks import perceptron


def smooth(quality: float) -> SizeTrial:
    return SizeTrial(quality, round(1000 * 2 ** (quality / 6)))


@pytest.mark.parametrize("budget", [1200, 5_000, 33_333, 150_000])
def test_a_smooth_size_is_met_in_a_few_trials(budget):
    tried = []
    best = seek(lambda quality: tried.append(quality) or smooth(quality), budget)
    assert 0.99 * budget <= best.nbytes <= budget
    assert len(tried) <= 6


def test_a_size_with_steps_keeps_the_largest_that_fits():
    steps = [1000, 3000, 9000, 27000]
    best = seek(lambda quality: SizeTrial(quality, steps[min(3, int(quality / 11))]), 20_000)
    assert best.nbytes == 9000


def test_a_budget_that_the_best_quality_meets_takes_it():
    assert seek(smooth, 10**9).quality == BEST_QUALITY


def test_a_budget_that_no_quality_meets_is_refused_with_the_nearest():
    with pytest.raises(BadPlan, match=rf"at {WORST_QUALITY:g} dB it has 1,122"):
        seek(smooth, 1000)


@pytest.mark.parametrize("share", [0.05, 0.12, 0.2])
def test_budgets_are_met_in_bytes_of_the_file(share, tmp_path):
    model = perceptron(hidden=400)
    budget = int(share * len(model.SerializeToString()))
    found = dcz.compress_to_size(model, tmp_path / "net.dcz", budget)
    assert found.nbytes == os.path.getsize(tmp_path / "net.dcz")
    assert 0.99 * budget <= found.nbytes <= budget


def test_a_ratio_is_a_size(tmp_path):
    model = perceptron(hidden=800)
    found = dcz.compress_to_size(model, tmp_path / "net.dcz", ratio=8)
    assert 8 <= len(model.SerializeToString()) / found.nbytes <= 8.1


def test_a_budget_for_everything_keeps_everything(tmp_path):
    model = perceptron()
    found = dcz.compress_to_size(model, tmp_path / "net.dcz", 10**6)
    assert found.quality == math.inf
    assert dcz.load(tmp_path / "net.dcz").SerializeToString() == model.SerializeToString()


def test_a_budget_for_everything_is_answered_by_one_trial(tmp_path):
    path = models.save(models.dense(models.normal(300, 300), models.normal(300, 10)), tmp_path / "net.onnx")
    exact = dcz.compress(path, tmp_path / "exact.dcz", dcz.PRESETS["lossless"]).stat().st_size
    trials = []
    best = dcz.compress_to_size(path, tmp_path / "net.dcz", exact + 100, trial=trials.append)
    assert [(each.quality, each.nbytes) for each in trials] == [(math.inf, best.nbytes)] and best.quality == math.inf
    assert abs((tmp_path / "net.dcz").stat().st_size - exact) < 100


def test_a_model_without_weights_is_packed_once(tmp_path, monkeypatch):
    """Of trees, say: the file that is measured is the one that is written, if it fits."""
    path = models.save(models.trees(20_000), tmp_path / "net.onnx")
    exact = dcz.compress(path, tmp_path / "exact.dcz", dcz.PRESETS["lossless"])
    packed, trials, warned, pack = [], [], [], Packing.pack
    monkeypatch.setattr(Packing, "pack", lambda *args, **named: packed.append(pack(*args, **named)) or packed[-1])
    best = dcz.compress_to_size(path, tmp_path / "net.dcz", exact.file_bytes, trial=trials.append, warn=warned.append)
    assert best.file.path.read_bytes() == exact.read_bytes() and len(packed) == 1
    assert (
        [(each.quality, each.nbytes) for each in trials] == [(math.inf, best.nbytes)] == [(math.inf, exact.file_bytes)]
    )
    assert tuple(warned) == best.file.notes == exact.notes and best.file.measured == {"quality (dB)": "exact"}
    with pytest.raises(dcz.InvalidArgument, match="and exactly it takes [0-9,]+; allow so many"):
        dcz.compress_to_size(path, tmp_path / "net.dcz", exact.file_bytes // 2, force=True)
    assert best.file.path.read_bytes() == exact.read_bytes() and not list(tmp_path.glob("*.partial"))


def test_pruning_and_rules_stay_what_the_plan_says(tmp_path):
    rules = (Rule(("fc2.weight",), Settings(lossless=True)),)
    plan = Plan(Settings(sparsity=0.5, quality=Plan().default.quality), rules)
    model = perceptron(hidden=800)
    dcz.compress_to_size(model, tmp_path / "net.dcz", 48_000, plan)
    rows = {row.name: row for row in dcz.inspect(tmp_path / "net.dcz").rows}
    assert rows["fc2.weight"].encoding == "stored"
    with dcz.open(tmp_path / "net.dcz") as tensors:
        assert np.count_nonzero(tensors["fc1.weight"]) <= 25_600


@pytest.mark.parametrize("settings, named", [
    (Settings(bits=4), "bits"), (Settings(lossless=True), "lossless"), (Settings(rate=3), "rate"),
    (Settings(quality=20), "quality"), (Settings(share=False), "share"),
])  # fmt: skip
def test_a_plan_that_says_how_to_share_contradicts_a_size(settings, named, tmp_path):
    with pytest.raises(BadPlan, match=named):
        dcz.compress_to_size(perceptron(), tmp_path / "net.dcz", 10_000, settings)


@pytest.mark.parametrize("arguments", [{}, {"max_bytes": 1, "ratio": 2}, {"ratio": 0}, {"ratio": math.nan}])
def test_one_budget_is_wanted(arguments, tmp_path):
    with pytest.raises(BadPlan):
        dcz.compress_to_size(perceptron(), tmp_path / "net.dcz", **arguments)


def test_an_older_file_stays_where_no_size_fits(tmp_path):
    old = tmp_path / "net.dcz"
    old.write_bytes(b"old")
    with pytest.raises(BadPlan, match="no quality"):
        dcz.compress_to_size(perceptron(), old, 100, force=True)
    assert old.read_bytes() == b"old"


def test_whole_numbers_that_no_size_shrinks_are_named(tmp_path):
    """As of a model that was quantized but for some layers."""
    nodes = [
        helper.make_node("Cast", ["bytes"], ["large"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "large"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["y"]),
    ]
    codes = np.random.default_rng(0).integers(0, 256, (64, 256)).astype(np.uint8)
    weights = [models.tensor("bytes", codes), models.tensor("w", models.normal(256, 8))]
    proto = models.model(nodes, {"x": ["n", 64]}, {"y": ["n", 8]}, weights)
    with pytest.raises(BadPlan, match=r"16.4 kB of the model's 24.6 kB are whole numbers.*: allow more"):
        dcz.compress_to_size(proto, tmp_path / "net.dcz", 5_000)


@pytest.mark.parametrize("begin", [-5, 1, 20, 44, 99])
def test_where_a_search_begins_does_not_matter(begin):
    assert 0.99 * 5_000 <= seek(smooth, 5_000, begin).nbytes <= 5_000


def chain(count: int) -> onnx.ModelProto:
    """MatMuls of random weights, 16 x 16 to 64 x 64; their names have brackets and stars."""
    random = np.random.default_rng(1)
    sides = [16 * (1 + n % 4) for n in range(count + 1)]
    names = [f"w[{n}]*" for n in range(count)]
    nodes = [helper.make_node("MatMul", [f"x{n}", name], [f"x{n + 1}"]) for n, name in enumerate(names)]
    arrays = [random.normal(size=shape).astype(np.float32) for shape in zip(sides, sides[1:])]
    tensors = [numpy_helper.from_array(array, name) for array, name in zip(arrays, names)]
    ends = [helper.make_tensor_value_info(f"x{n}", TensorProto.FLOAT, [1, sides[n]]) for n in (0, count)]
    return helper.make_model(helper.make_graph(nodes, "chain", ends[:1], ends[1:], tensors))


def test_what_the_best_quality_leaves_is_filled_with_exact_tensors(tmp_path):
    model = chain(32)
    found = dcz.compress_to_size(model, tmp_path / "net.dcz", ratio=1.6)
    budget = int(len(model.SerializeToString()) / 1.6)
    assert found.quality == BEST_QUALITY
    assert 0.99 * budget <= os.path.getsize(tmp_path / "net.dcz") == found.nbytes <= budget
    before = {tensor.name: tensor.raw_data for tensor in model.graph.initializer}
    after = {tensor.name: tensor.raw_data for tensor in dcz.load(tmp_path / "net.dcz").graph.initializer}
    assert 0 < sum(before[name] == after[name] for name in before) < len(before)


def test_a_measured_file_has_the_bytes_of_the_written_one_and_of_each_record(tmp_path):
    model, plan = models.dense(models.normal(64, 96), models.normal(96, 32, seed=1)), Plan()
    with open_pool(1) as pool:
        found = measured_file.measured(model, plan, pool)
    path = dcz.compress(model, tmp_path / "net.dcz", plan)
    assert found.nbytes == path.stat().st_size
    assert found.tensor_bytes == {entry.name: entry.info.length for entry in models.entries(path)}
    with pytest.raises(ValueError, match="cannot be written"):
        measured_file.NoRecords().copy(None)
