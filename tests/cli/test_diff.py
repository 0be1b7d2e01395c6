"""`dcz diff` as a user meets it."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import dcz
from tests.networks import perceptron


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(perceptron(), "net.onnx")
    for name, bits in (("old", 5), ("new", 4)):
        dcz.compress("net.onnx", f"{name}.dcz", dcz.Settings(bits=bits), force=True)
    np.savez("x.npz", x=np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32))
    return tmp_path


def size(path: str) -> int:
    return Path(path).stat().st_size


@pytest.mark.parametrize("old, new", [
    ("old.dcz", "new.dcz"), ("net.onnx", "new.dcz"), ("new.dcz", "net.onnx"), ("net.onnx", "net.onnx"),
])  # fmt: skip
def test_any_mix_ends_with_the_total_and_exit_code_0(run, folder, old, new):
    code, out, err = run("diff", old, new, "-q")
    assert code == 0 and out.startswith(f"{old} -> {new}: {size(old):,} -> {size(new):,} bytes") and err == ""
    code, out, err = run("diff", old, new)
    total = next(line for line in out.splitlines() if line.endswith("TOTAL"))
    assert (f"{size(new) - size(old):+,}" in total or old == new) and "Traceback" not in err
    assert all(len(line) <= 100 for line in out.splitlines())


def test_in_a_pipe_it_is_as_narrow_as_columns_asks(run, folder, monkeypatch):
    wide = max(map(len, run("diff", "old.dcz", "new.dcz")[1].splitlines()))
    monkeypatch.setenv("COLUMNS", "72")
    assert max(map(len, run("diff", "old.dcz", "new.dcz")[1].splitlines())) <= 72 < wide


def test_exit_code_says_whether_anything_differs(run, folder):
    assert run("diff", "old.dcz", "new.dcz", "--exit-code")[0] == 1
    code, out, _ = run("diff", "old.dcz", "old.dcz", "--exit-code")
    assert code == 0 and "nothing differs" in out


def test_rows_are_as_many_as_asked_for(run, folder):
    _, out, _ = run("diff", "net.onnx", "new.dcz", "-n", "1")
    assert "4 others" in out and "fc1.weight" in out and "fc2.weight" not in out
    _, out, _ = run("diff", "net.onnx", "new.dcz", "-n", "0")
    assert "others" not in out and "fc2.bias" in out


def test_json_markdown_and_csv(run, folder):
    _, out, _ = run("diff", "old.dcz", "new.dcz", "--json")
    found = json.loads(out)
    assert found["new"]["file_bytes"] == size("new.dcz") and found["tensors"][0]["name"] == "fc1.weight"
    _, out, _ = run("diff", "old.dcz", "new.dcz", "--markdown")
    assert out.startswith("### `old.dcz`") and "| `fc1.weight` |" in out
    _, out, _ = run("diff", "old.dcz", "new.dcz", "--csv")
    assert {"fc1.weight", "TOTAL"} <= {row["tensor"] for row in csv.DictReader(io.StringIO(out))}


def test_answers_are_compared_on_samples(run, folder):
    _, out, _ = run("diff", "net.onnx", "new.dcz", "--data", "x.npz")
    assert "answers on 40 samples, output y: " in out and "agree by top class" in out
    _, out, _ = run("diff", "net.onnx", "new.dcz", "--data", "x.npz", "--json")
    assert json.loads(out)["answers"]["samples"] == 40


@pytest.mark.parametrize("arguments, code, words", [
    (["net.onnx", "none.dcz"], 6, "none.dcz"), (["net.onnx"], 2, "NEW"), (["net.onnx", "x.npz"], 3, "x.npz"),
    (["net.onnx", "new.dcz", "--data", "none.npz"], 6, "none.npz"),
])  # fmt: skip
def test_failures(refuses, folder, arguments, code, words):
    refuses(["diff", *arguments, "-q"], code, words)
