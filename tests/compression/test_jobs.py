"""What stays exact, why, and what then compresses it: in one sentence that is true."""

import re
import shlex

import numpy as np
import onnx
import pytest
from onnx import helper

import dcz
from dcz import InvalidArgument
from dcz.codec import quality
from dcz.compression import jobs
from dcz.files import ranges
from dcz.model import load
from dcz.plan import LOSSLESS, PRESETS, SAFE_QUALITY, Plan, Rule, Settings
from dcz.reading.why import limits
from tests import models


def chain(count: int, operator: str = "Mul"):
    """x @ (w0 * s), tanh, and so on: `count` times, each tensor small beside the rest. s is computed."""
    tensors = [models.tensor(f"w{i}", models.normal(64, 64, seed=i)) for i in range(count)]
    nodes, value = [helper.make_node("ReduceMax", ["x"], ["s"])], "x"
    for i in range(count):
        nodes += [
            helper.make_node(operator, [f"w{i}", "s"], [f"d{i}"]),
            helper.make_node("MatMul", [value, f"d{i}"], [f"h{i}"]),
        ]
        value = f"h{i}"
    return models.model(nodes, {"x": [2, 64]}, {value: [2, 64]}, tensors)


def warnings_of(proto, tmp_path, plan=None) -> list[str]:
    warnings = []
    dcz.compress(proto, tmp_path / "net.dcz", plan, warn=warnings.append, force=True)
    return warnings


def test_many_small_tensors_that_stay_exact_are_said_in_one_sentence(tmp_path):
    (warning,) = warnings_of(chain(30), tmp_path)
    assert warning.startswith("30 tensors, 100% of the bytes, stay exact: used by Mul (30); --include 'w*'")


@pytest.mark.parametrize("count", [1, 2, 3, 30])
def test_the_option_that_is_named_compresses_them(count, tmp_path):
    (warning,) = warnings_of(chain(count), tmp_path)
    options = shlex.split(re.search(r"; (--include .*) compresses", warning)[1])
    assert warnings_of(chain(count), tmp_path, Plan(include=tuple(options[1::2]))) == []
    with dcz.open(tmp_path / "net.dcz") as tensors:
        assert not any(np.array_equal(tensors[name], models.normal(64, 64, seed=int(name[1:]))) for name in tensors)


def test_attributes_are_used_by_the_operator_that_has_them(tmp_path):
    """As the thresholds of trees are."""
    splits = models.tensor("splits", models.normal(40, 50))
    node = helper.make_node("TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", nodes_splits=splits)
    (warning,) = warnings_of(models.model([node], {"x": [2, 64]}, {"y": [2, 1]}), tmp_path)
    assert "stay exact, being used by ai.onnx.ml.TreeEnsemble" in warning
    assert "read by ai.onnx.ml.TreeEnsemble" in limits(tmp_path / "net.dcz")[0].reason


def test_where_no_pattern_names_them_alone_the_largest_are_named(tmp_path):
    proto = chain(5)
    proto.graph.initializer.append(models.tensor("wide", models.normal(400, 400)))
    proto.graph.node.append(helper.make_node("MatMul", ["x", "wide"], ["more"]))
    (warning,) = warnings_of(proto, tmp_path)
    assert "5 tensors, 11% of the bytes" in warning and warning.endswith("compresses the 3 largest")


def test_an_option_is_not_named_for_what_is_little(tmp_path):
    proto = chain(5)
    proto.graph.initializer.append(models.tensor("bias", models.normal(300)))
    proto.graph.node.append(helper.make_node("Add", ["x", "bias"], ["more"]))
    (warning,) = warnings_of(proto, tmp_path)
    assert warning.startswith("5 tensors, 99% of the bytes") and "bias" not in warning


def test_what_a_plan_keeps_exact_is_not_pointed_out(tmp_path):
    for plan in (LOSSLESS, Plan(exclude=("w*",)), Plan(rules=(dcz.Rule(("w*",), LOSSLESS),))):
        assert warnings_of(chain(5), tmp_path, plan) == []


def whole_numbers(table: bool = False):
    """x, of integers, times integers; with a `table` that a layer uses, 0.2 % of the bytes."""
    random = np.random.default_rng(0)
    tensors = [models.tensor(f"w{i}", random.integers(-90, 90, (400, 400)).astype(np.int8)) for i in range(2)]
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["q", "w0"], ["h"]),
        helper.make_node("MatMulInteger", ["q", "w1"], ["g"]),
        helper.make_node("Add", ["h", "g"], ["s"]),
        helper.make_node("Cast", ["s"], ["f"], to=1),
        helper.make_node("MatMul", ["f", "t"] if table else ["f", "x"], ["y"]),
    ]
    if table:
        tensors.append(models.tensor("t", models.normal(400, 1, seed=1)))
    return models.model(nodes, {"x": [400, 400]}, {"y": None}, tensors)


def test_integers_are_said_to_stay_exact(tmp_path):
    (warning,) = warnings_of(whole_numbers(), tmp_path)
    assert warning == "2 tensors, 100% of the bytes, stay exact: int8, used by MatMulInteger (2)"


def test_a_model_of_integers_is_not_made_inexact_for_one_small_table(tmp_path):
    proto = whole_numbers(table=True)
    warnings_of(proto, tmp_path)
    assert dcz.load(tmp_path / "net.dcz") == proto
    assert "int8" in warnings_of(proto, tmp_path, Plan(include=("t",)))[0]
    assert dcz.load(tmp_path / "net.dcz") != proto
    warnings_of(proto, tmp_path, Settings(bits=2))
    assert dcz.load(tmp_path / "net.dcz") != proto, "it was asked for"


@pytest.mark.parametrize(
    "settings",
    [Settings(sparsity=0.5), Settings(bits=4), Settings(rate=2.0), Settings(quality=20.0), Settings(threshold=0.5)],
    ids=str,
)
def test_lossy_results_are_refused_where_nothing_could_lose(settings, tmp_path):
    with pytest.raises(InvalidArgument, match="acts on floating-point weights, .* have none: leave"):
        dcz.compress(whole_numbers(), tmp_path / "net.dcz", settings, force=True)
    assert not list(tmp_path.iterdir())
    for plan in (None, LOSSLESS, Settings(), Plan(settings, include=("w*",))):  # what is named is a choice
        dcz.compress(whole_numbers(), tmp_path / "net.dcz", plan, force=True)


def test_the_refusal_names_what_makes_a_weight_of_the_largest_tensor(tmp_path):
    nodes = [helper.make_node("Add", ["x", "bias"], ["y"])]
    bias = models.tensor("bias", models.normal(64, 64))
    proto = models.model(nodes, {"x": [64, 64]}, {"y": [64, 64]}, [bias])
    with pytest.raises(InvalidArgument, match="have none: .*; or --include bias makes a weight of that"):
        dcz.compress(proto, tmp_path / "net.dcz", Settings(bits=4), force=True)
    dcz.compress(proto, tmp_path / "net.dcz", Plan(Settings(bits=4), include=("bias",)), force=True)
    assert dcz.inspect(tmp_path / "net.dcz").rows[0].entries == 16


def test_a_size_that_integers_do_not_meet_is_refused_with_the_size_that_they_take(tmp_path):
    exactly = dcz.compress(whole_numbers(), tmp_path / "exact.dcz", LOSSLESS, force=True).stat().st_size
    with pytest.raises(InvalidArgument, match=rf"exactly it takes {exactly // 1000:,}[,\d]*; allow"):
        dcz.compress_to_size(whole_numbers(), tmp_path / "net.dcz", exactly - 100, force=True)
    trials = []
    dcz.compress_to_size(whole_numbers(), tmp_path / "net.dcz", exactly, trial=trials.append, force=True)
    assert (tmp_path / "net.dcz").stat().st_size == exactly and len(trials) == 1


def test_the_default_adapts_to_the_network_and_a_quality_that_is_given_does_not(tmp_path):
    net = np.random.default_rng(0).normal(0, 0.1, (4, 64, 64))
    initializers = [models.tensor(f"w{i}", net[i].astype(np.float32)) for i in range(4)]
    nodes = [helper.make_node("MatMul", ["x" if i == 0 else f"h{i - 1}", f"w{i}"], [f"h{i}"]) for i in range(4)]
    onnx.save(models.model(nodes, {"x": [2, 64]}, {"h3": [2, 64]}, initializers), tmp_path / "net.onnx")
    tensors = load(tmp_path / "net.onnx").tensors
    adapted = jobs.settings_of(tensors, Plan())
    given = jobs.settings_of(tensors, Plan(Settings(quality=SAFE_QUALITY)))
    margin = quality.margin([(64, 64)] * 4)
    assert margin > 5
    assert [each.quality for each in adapted] == pytest.approx([each.quality + margin for each in given])

    rules = (Rule(("w1",), PRESETS["small"]), Rule(("w2",), Settings(quality=26.0)))
    by_rule = jobs.settings_of(tensors, Plan(rules=rules))
    assert [by_rule[n].quality for n in (1, 2)] == pytest.approx([26 + margin, 26], abs=0.01)

    dcz.compress(tmp_path / "net.onnx", tmp_path / "net.dcz", force=True)
    said = dcz.inspect(tmp_path / "net.dcz").metadata["settings"]
    assert said == f"quality={round(SAFE_QUALITY + margin, 2)}"  # what it was made with


@pytest.mark.parametrize("settings", [Settings(bits=4), Settings(sparsity=0.5), Settings(quality=20.0)], ids=str)
def test_a_lossy_option_is_refused_where_a_model_has_no_tensors(settings, tmp_path):
    net = models.model([helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, {"y": [2]})
    with pytest.raises(InvalidArgument, match="acts on floating-point weights"):
        dcz.compress(net, tmp_path / "net.dcz", settings)
    assert dcz.load(dcz.compress(net, tmp_path / "net.dcz")) == net


def test_external_data_is_looked_at_in_parts_before_it_is_compressed(tmp_path, monkeypatch):
    """A whole look at a tensor of gigabytes would be a copy in a temporary file. What is found is the same."""
    weights = [models.normal(300, 300, seed=seed) for seed in (0, 1, 0)]  # two are equal
    inside = models.save(models.dense(*weights), tmp_path / "inside.onnx")
    outside = models.save(models.dense(*weights), tmp_path / "outside.onnx", location="net.data")
    tensors = [load(inside).tensors, load(outside).tensors]
    lengths, read_open = [], ranges.read_open
    monkeypatch.setattr(jobs, "READ", 1000)
    monkeypatch.setattr(ranges, "read_open", lambda file, *part: lengths.append(part[1]) or read_open(file, *part))
    found = [
        [(len(job.tensors), job.settings) for job in jobs.jobs(each, Plan(), lambda warning: None)] for each in tensors
    ]
    assert found[0] == found[1] and [count for count, _ in found[0]] == [2, 1]
    assert lengths and max(lengths) < weights[0].nbytes / 3
