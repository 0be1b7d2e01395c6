"""What limits a tensor, and that the commands which would mend a miss do mend it."""

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import dcz
from dcz import cli
from tests import models


def dcz_runs(command: str, monkeypatch) -> None:
    words = shlex.split(command)
    assert words[0] == "dcz"
    monkeypatch.setattr(sys, "argv", words)
    assert cli._run() == 0, command


def missed(path, **limits):
    return next(budget for budget in dcz.check(path, **limits).budgets if not budget.holds)


@pytest.mark.parametrize("limits", [
    {"max_size": 6000}, {"min_ratio": 7}, {"max_tensor_size": 5000}, {"max_exact": "0.5%"},
    {"max_growth": "2%", "baseline": "old.dcz"}, {"max_growth": 600, "baseline": "old.dcz"},
    {"min_agreement": 0.8, "against": "net.onnx", "data": "x.npz"},
    {"min_top1": 0.8, "labels": "y", "data": "x.npz"},
])  # fmt: skip
def test_the_command_under_a_miss_mends_it(folder, monkeypatch, limits):
    monkeypatch.setattr("dcz.tuning.drop_search.MAX_WALKS", 4)
    dcz.compress("net.onnx", "old.dcz", dcz.Settings(bits=4), force=True)
    if {"min_agreement", "min_top1"} & limits.keys():
        dcz.compress("net.onnx", "net.dcz", dcz.Settings(bits=1), force=True)
    budget = missed("net.dcz", **limits)
    remedy = budget.remedies[0]
    if "plan.toml" in remedy.command:
        Path("plan.toml").write_text(remedy.what.split("\n", 1)[1])
    dcz_runs(remedy.command, monkeypatch)
    assert dcz.check("net.dcz", **limits)


def test_a_model_is_mended_by_a_file_beside_it(folder, monkeypatch):
    Path("net.dcz").unlink()
    budget = missed("net.onnx", max_size=9000)
    dcz_runs(budget.remedies[0].command, monkeypatch)
    assert dcz.check("net.dcz", max_size=9000)


def test_quotes_in_names_of_files_and_tensors(folder, monkeypatch):
    name = "it's a [w*] $(touch x)"
    onnx.save(models.bag(models.tensor(name, models.normal(64, 64))), "my net.onnx")
    dcz.compress("my net.onnx", "my net.dcz", force=True)
    budget = missed("my net.dcz", max_exact="0%")
    assert budget.reasons[0].name == name
    dcz_runs(budget.remedies[0].command, monkeypatch)
    assert dcz.check("my net.dcz", max_exact="0%")
    budget = missed("my net.dcz", max_tensor_size=500)
    Path("plan.toml").write_text(budget.remedies[0].what.split("\n", 1)[1])
    dcz_runs(budget.remedies[0].command, monkeypatch)
    assert dcz.check("my net.dcz", max_tensor_size=500)


def test_the_source_is_named_only_where_it_is_that_to_the_bit(folder):
    def source():
        return missed("net.dcz", max_size=5000).remedies[0].command.split()[3]

    assert source() == "net.onnx"
    with open("net.onnx", "ab") as file:
        file.write(b"\x12\x00")
    assert source() == "MODEL.onnx"
    Path("net.onnx").unlink()
    assert source() == "MODEL.onnx"


def limited(path, name, **limits):
    return next(r.limited_by for r in missed(path, **limits or {"max_size": 1}).reasons if r.name == name)


def test_what_limits_each_encoding(folder):
    assert limited("net.onnx", "fc1.weight") == "float32 weights of Gemm, not compressed yet"
    assert limited("net.onnx", "fc1.bias") == "would stay exact: no weight of a layer, read by Gemm"
    row = next(row for row in dcz.inspect("net.dcz").rows if row.name == "fc1.weight")
    bits = f"{8 * row.huffman / row.elements:.2f} bits a weight"
    assert limited("net.dcz", "fc1.weight").startswith(bits) and "shared values" in limited("net.dcz", "fc1.weight")
    assert limited("net.dcz", "fc1.bias") == "exact, being no weight of a layer: read by Gemm"
    dcz.compress("net.onnx", "sparse.dcz", dcz.Settings(sparsity=0.9, bits=3), force=True)
    assert "10.0% kept: " in limited("sparse.dcz", "fc1.weight")
    dcz.compress("net.onnx", "pruned.dcz", dcz.Settings(sparsity=0.9), force=True)
    assert "10.0% kept, with all bits of their float32" in limited("pruned.dcz", "fc1.weight")
    dcz.compress("net.onnx", "exact.dcz", dcz.Plan(exclude=("fc1.*",)), force=True)
    assert "weights of Gemm, exact: a plan" in limited("exact.dcz", "fc1.weight")
    dcz.compress("net.onnx", "lossless.dcz", dcz.PRESETS["lossless"], force=True)
    assert "weights of Gemm, exact as everything is (--lossless)" in limited("lossless.dcz", "fc1.weight")


def test_whole_numbers_have_no_remedy(folder):
    ids, more = np.random.default_rng(0).integers(0, 1 << 60, 500), np.arange(9000) ** 3 % 9973
    for tensors, has_record in (([("ids", ids)], False), ([("ids", more), ("w", models.normal(90, 90))], True)):
        onnx.save(models.bag(*(models.tensor(*each) for each in tensors)), "ids.onnx")
        dcz.compress("ids.onnx", "ids.dcz", dcz.Plan(include=("w*",)) if has_record else None, force=True)
        assert ("ids" in {row.name for row in dcz.inspect("ids.dcz").rows}) == has_record
        for limits in ({"max_tensor_size": 100}, {"max_exact": "1%"}):
            budget = missed("ids.dcz", **limits)
            assert budget.reasons[0].name == "ids"
            if limits.keys() == {"max_exact"} or not has_record:
                assert budget.remedies[0].command == "" and "int64" in budget.remedies[0].what
    assert "int64 of no operator: whole numbers stay exact" in limited("ids.dcz", "ids")


def test_what_lies_in_the_graph_counts_as_exact_and_by_its_size(folder):
    """A model that deflates better as a whole has no records."""
    ids = np.random.default_rng(0).integers(0, 1 << 60, 500)
    onnx.save(models.bag(models.tensor("ids", ids)), "ids.onnx")
    dcz.compress("ids.onnx", "ids.dcz", force=True)
    assert missed("ids.dcz", max_exact="99%").figure == 1
    assert missed("ids.dcz", max_tensor_size=100).figure == ids.nbytes


def test_no_more_than_five_tensors_are_named_the_largest_first(folder):
    weights = [models.tensor(f"w{n}", models.normal(20 + n, 64, seed=n)) for n in range(9)]
    onnx.save(models.bag(*weights), "many.onnx")
    reasons = missed("many.onnx", max_size=1).reasons
    assert [reason.name for reason in reasons] == ["w8", "w7", "w6", "w5", "w4"]
    assert reasons[0].bytes == 4 * 28 * 64


@pytest.mark.parametrize("name", ["-dash [w*]", "line\nbreak \x1b", "it's `ls` \\", "op:MatMul"])
def test_remedies_of_names_that_a_shell_would_misread_work(folder, monkeypatch, name):
    tensors = [models.tensor(name, models.normal(64, 64)), models.tensor("w", models.normal(64, 64, seed=1))]
    onnx.save(models.bag(*tensors), "-net.onnx")
    dcz.compress("-net.onnx", "-net.dcz", dcz.Plan(include=("w",)), force=True)
    budget = missed("-net.dcz", max_exact="1%")
    assert [reason.name for reason in budget.reasons] == [name]
    words = in_bash(budget.remedies[0].command)
    monkeypatch.setattr(sys, "argv", words)
    assert cli._run() == 0, words
    assert next(row for row in dcz.inspect("-net.dcz").rows if row.name == name).compressed


def in_bash(command: str) -> list[str]:
    script = "import sys; sys.stdout.write(chr(0).join(sys.argv[1:]))"
    line = f'"{sys.executable}" -c "{script}" {command}'
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout.split("\0")


@pytest.mark.parametrize("limits", [{"max_size": 900}, {"min_ratio": 100}, {"max_growth": 0, "baseline": "tiny.onnx"}])
def test_no_size_is_proposed_that_no_quality_reaches(folder, limits):
    onnx.save(models.bag(models.tensor("w", models.normal(4, 4))), "tiny.onnx")
    for file in ("net.dcz", "net.onnx") if "max_size" in limits else ("net.dcz",):
        (remedy, *_) = missed(file, **limits).remedies
        assert remedy.command == "" and "none by rounding alone" in remedy.what and "dcz retrain" in remedy.what


def test_numbers_that_are_not_finite_get_no_advice(folder, monkeypatch):
    bad = models.normal(64, 64)
    bad[3, 3] = np.nan
    tensors = [models.tensor("bad", bad), models.tensor("w", models.normal(64, 64, seed=1))]
    onnx.save(models.bag(*tensors), "nan.onnx")
    dcz.compress("nan.onnx", "nan.dcz", dcz.Plan(include=("w",)))
    budget = missed("nan.dcz", max_exact="1%")
    assert "not all of them are finite" in budget.reasons[0].limited_by
    assert budget.remedies[0].command == "" and "not finite" in budget.remedies[0].what
    assert missed("nan.dcz", max_tensor_size=6000).remedies[0].command == ""
    dcz.compress("nan.onnx", "none.dcz", dcz.Plan(include=("*",)), force=True)  # indeed no option helps
    assert not next(row for row in dcz.inspect("none.dcz").rows if row.name == "bad").compressed
