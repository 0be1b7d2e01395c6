"""Which tensor hurts, and the plan that follows from it."""

import json

import numpy as np
import pytest
from onnx import helper

import dcz
from dcz import plan as plans
from dcz.errors import BadPlan, FileAccess
from dcz.plan import LOSSLESS, Plan, Rule, Settings
from dcz.tuning import sensitivity
from tests.models import dense, model, normal, tensor
from tests.networks import perceptron


def samples(count: int = 40) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).normal(size=(count, 64)).astype(np.float32)}


def measure(source, **options) -> sensitivity.Sensitivity:
    return sensitivity.measure(source, samples(), threads=1, **options)


@pytest.fixture(scope="module")
def measured() -> tuple[sensitivity.Sensitivity, list]:
    """What is found of a perceptron by default, and what was told on the way."""
    told = []
    return measure(perceptron(), progress=lambda *each: told.append(each)), told


def test_fewer_bits_and_more_zeros_hurt_more(measured):
    found, _ = measured
    assert [row.name for row in found.rows] == ["fc1.weight", "fc2.weight"] and found.samples == 40
    for row in found.rows:
        for moved in (list(row.by_bits.values()), list(row.by_sparsity.values())[::-1]):
            assert moved == sorted(moved, reverse=True) and moved[-1] > 0


def test_the_tensor_that_hardly_reaches_the_answers_hurts_least_and_gets_fewest_bits():
    nodes = [
        helper.make_node(*each)
        for each in (
            ("MatMul", ["x", "strong"], ["a"]), ("MatMul", ["x", "weak"], ["b"]), ("Mul", ["b", "little"], ["c"]),
            ("Add", ["a", "c"], ["y"]),
        )
    ]  # fmt: skip
    tensors = [tensor("strong", normal(64, 64)), tensor("weak", normal(64, 64)), tensor("little", np.float32([1e-2]))]
    found = measure(model(nodes, {"x": ["n", 64]}, {"y": ["n", 64]}, tensors))
    rows = {row.name: row for row in found.rows}
    assert rows["weak"].by_bits[2] < rows["strong"].by_bits[2] / 1000
    assert rows["weak"].bits_suggested < rows["strong"].bits_suggested - 2
    assert rows["weak"].step > 4 * rows["strong"].step


@pytest.mark.parametrize("rate", [3.0, 5.0])
def test_the_plan_round_trips_and_spends_the_rate(rate, tmp_path):
    source = perceptron(hidden=500)
    found = measure(source, rate=rate, bits=[], sparsities=[])
    found.write(tmp_path / "plan.toml")
    loaded = plans.load(tmp_path / "plan.toml")
    assert [rule.match for rule in loaded.rules] == [("fc1.weight",), ("fc2.weight",)]
    assert [rule.settings.step for rule in loaded.rules] == [pytest.approx(row.step, 1e-4) for row in found.rows]
    dcz.compress(source, tmp_path / "net.dcz", loaded)
    report = dcz.inspect(tmp_path / "net.dcz")
    spent = sum(row.huffman for row in report.rows if "weight" in row.name) * 8 / 37_000
    assert rate - 0.3 < spent < rate + 0.3


def test_a_weight_that_is_mostly_zero_gets_the_step_that_compress_means(tmp_path):
    """Steps are in deviations of the weights that are not zero."""
    weight = normal(64, 256) * (np.random.default_rng(1).random((64, 256)) < 0.2)
    source = dense(weight.astype(np.float32), normal(256, 10))
    found = measure(source, rate=2.0, bits=[], sparsities=[])
    deviation = weight[weight != 0].std()
    found.write(tmp_path / "plan.toml")
    dcz.compress(source, tmp_path / "net.dcz", tmp_path / "plan.toml")
    with dcz.open(tmp_path / "net.dcz") as tensors:
        error = np.abs(tensors["w0"] - weight).max()
    assert error <= 1.6 * found.rows[0].step * deviation


def test_the_written_plan_keeps_what_the_given_one_says(tmp_path):
    rules = (
        Rule(("fc1.*",), Settings(sparsity=0.5, bits=3)), Rule(('a"b', "fc1.bias"), LOSSLESS),
        Rule(("fc1.weight",), Settings()),
    )  # fmt: skip
    source = perceptron(hidden=64)
    source.graph.initializer.append(tensor('a"b', normal(20, 20)))
    found = measure(source, plan=Plan(rules=rules, exclude=("fc2.bias",), min_weights=300), bits=[2])
    assert [row.name for row in found.rows] == ["fc2.weight"]
    found.write(tmp_path / "plan.toml")
    loaded = plans.load(tmp_path / "plan.toml")
    assert (loaded.exclude, loaded.min_weights) == (("fc2.bias",), 300)
    assert [rule.match for rule in loaded.rules[:3]] == [rule.match for rule in rules]
    assert [rule.settings for rule in loaded.rules[:2]] == [rule.settings for rule in rules[:2]]
    assert loaded.rules[2].settings == Settings(share=False)  # the same as Settings()


@pytest.mark.parametrize("name", ['w["1"]', "w*", "w\\", "w\n\x7f\x01", "gewöhnlich \U0001f600", "'''"])
def test_names_of_any_kind_reach_the_plan(name, tmp_path):
    source = dense(normal(64, 64), normal(64, 64, seed=1))
    source.graph.initializer[0].name = source.graph.node[0].input[1] = name
    source.graph.initializer[1].name = source.graph.node[1].input[1] = "w1"
    found = measure(source, bits=[2], sparsities=[])
    found.write(tmp_path / "plan.toml")
    loaded = plans.load(tmp_path / "plan.toml")
    for row in found.rows:
        assert loaded.rule(row.name).settings.step == pytest.approx(row.step, 1e-4)
    assert loaded.rule("w0") is None


def test_figures_become_json(measured):
    plain = json.loads(json.dumps(measured[0].to_dict()))
    assert plain.keys() == {"path", "samples", "rate", "rows", "note"}
    row = plain["rows"][0]
    assert row["name"] == "fc1.weight" and row["by_bits"].keys() == {"2", "3", "4", "6"}


def test_progress_counts_every_trial(measured):
    assert [each[1:] for each in measured[1]] == [(n, 14) for n in range(1, 15)]  # 4 bits and 3 sparsities, 2 tensors


@pytest.mark.parametrize("options", [
    {"bits": [9]}, {"sparsities": [1.0]}, {"samples": 0}, {"rate": 0}, {"rate": float("nan")}, {"rate": 9},
])  # fmt: skip
def test_settings_that_do_not_exist_are_refused(options):
    with pytest.raises(BadPlan):
        measure(perceptron(), **options)


def test_an_older_plan_stays_without_force(tmp_path):
    (tmp_path / "plan.toml").write_text("# mine")
    with pytest.raises(FileAccess, match="--force"):
        measure(perceptron(), bits=[2], sparsities=[]).write(tmp_path / "plan.toml", force=False)
    assert (tmp_path / "plan.toml").read_text() == "# mine"
