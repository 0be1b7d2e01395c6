"""`dcz evaluate` as a user meets it."""

import json
import re
import sys
from functools import partial

import numpy as np
import onnx
import pytest

import dcz
from tests.networks import perceptron


@pytest.fixture
def run(run, monkeypatch, tmp_path):
    """Run `dcz evaluate` in a folder with net.onnx, net.dcz and test.npz (200 samples, y wrong for three)."""
    monkeypatch.chdir(tmp_path)
    onnx.save(perceptron(), "net.onnx")
    dcz.compress("net.onnx", "net.dcz", dcz.Settings(bits=2))
    x = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
    y = _answers(x)
    y[[3, 50, 199]] = (y[[3, 50, 199]] + 1) % 10
    np.savez("test.npz", x=x, y=y)
    return partial(run, "evaluate")


def _answers(x):
    fc1, bias1, fc2, bias2 = (onnx.numpy_helper.to_array(tensor) for tensor in perceptron().graph.initializer)
    return (np.maximum(x @ fc1 + bias1, 0) @ fc2 + bias2).argmax(1)


def test_errors_on_labelled_samples(run, monkeypatch):
    monkeypatch.setattr("dcz.display.work.EVERY", 0.0)
    code, out, err = run("net.onnx", "--data", "test.npz", "--labels", "y")
    assert code == 0 and "200 samples, output y of 10 classes" in out and "top 1       98.50 %, 3 errors" in out
    assert "top 5" in out and "nats" in out and "agreement" not in out
    assert "evaluating 100 %" in err and "net.onnx" in err


def test_json_has_every_figure_and_nothing_else_is_on_stdout(run):
    _, out, _ = run("net.dcz", "--data", "test.npz", "--labels", "y", "--against", "net.onnx", "--json")
    found, wanted = json.loads(out), dcz.evaluate("net.dcz", "test.npz", "y", "net.onnx")
    assert found == wanted.to_dict() and found["samples"] == 200 and found["equal"] is False
    assert {"top1", "top5", "loss", "agreement", "divergence", "decibels", "errors", "disagreements"} <= found.keys()


def test_agreement_of_two_files(run):
    code, out, _ = run("net.dcz", "--data", "test.npz", "--against", "net.onnx")
    assert code == 0 and "differ from net.onnx" in out and " dB" in out and "top 1" not in out
    code, out, _ = run("net.dcz", "--data", "test.npz", "--against", "net.dcz", "--min-agreement", "1")
    assert code == 0 and "100.00 %, 0 differ from net.dcz" in out and "equal" in out


def test_a_missed_minimum_is_exit_code_1(run):
    arguments = ["net.onnx", "--data", "test.npz", "--labels", "y", "--min-top1"]
    assert run(*arguments, "0.985")[0] == run(*arguments, "98.5%")[0] == 0  # met exactly
    code, out, err = run(*arguments, "0.9851", "--json")
    assert code == 1 and "top1 98.5% is below 98.51%" in err and json.loads(out)["errors"] == 3
    code, _, err = run("net.dcz", "--data", "test.npz", "--against", "net.onnx", "--min-agreement", "1.0")
    assert code == 1 and re.search(r"agreement \d\d(\.\d+)?% is below 100%", err)
    both = ["--labels", "y", "--min-top1", "1", "--against", "net.onnx", "--min-agreement", "1"]
    code, _, err = run("net.dcz", "--data", "test.npz", *both)
    assert code == 1 and "top1" in err and "agreement" in err


@pytest.mark.parametrize("arguments, code, words", [
    (["net.onnx", "--labels", "y"], 2, "--data"),
    (["net.onnx", "--data", "test.npz"], 2, "give --labels, --against, or both"),
    (["net.onnx", "--data", "test.npz", "--labels", "z"], 2, "'x', 'y'"),
    (["net.onnx", "--data", "test.npz", "--labels", "x"], 2, "whole numbers, not float32"),
    (["net.onnx", "--data", "test.npz", "--labels", "y", "--output", "z"], 2, "no output 'z'"),
    (["net.onnx", "--data", "test.npz", "--labels", "y", "--batch-size", "0"], 2, "--batch-size"),
    (["net.onnx", "--data", "test.npz", "--labels", "y", "--min-top1", "98.5"], 2, "share from 0 to 1"),
    (["net.onnx", "--data", "test.npz", "--labels", "y", "--min-top1", "nan"], 2, "share from 0 to 1"),
    (["net.onnx", "--data", "test.npz", "--labels", "y", "--min-top1", "101%"], 2, "from 0% to 100%"),
    (["net.onnx", "--data", "test.npz", "--labels", "y", "--min-agreement", "0.9"], 2, "--against"),
    (["net.onnx", "--data", "test.npz", "--against", "net.dcz", "--min-top1", "0.9"], 2, "--labels"),
    (["net.onnx", "--data", "missing.npz", "--labels", "y"], 6, "missing.npz"),
    (["missing.onnx", "--data", "test.npz", "--labels", "y"], 6, "missing.onnx"),
    (["test.npz", "--data", "test.npz", "--labels", "y"], 3, "test.npz"),
    (["net.onnx", "--data", "net.onnx", "--labels", "y"], 2, "net.onnx: not a whole .npz or .npy"),
    (["-", "--data", "test.npz", "--labels", "y"], 2, "./-"),
])  # fmt: skip
def test_every_failure_has_its_code_and_says_why(refuses, arguments, code, words):
    refuses(arguments, code, words)


def test_a_damaged_dcz_is_refused(run, tmp_path):
    content = bytearray((tmp_path / "net.dcz").read_bytes())
    content[-3] ^= 1
    (tmp_path / "net.dcz").write_bytes(content)
    code, out, err = run("net.dcz", "--data", "test.npz", "--labels", "y")
    assert (code, out) == (4, "") and "net.dcz" in err


def test_answers_that_are_no_numbers_are_told(run):
    x = np.zeros((4, 64), np.float32)
    x[1] = np.nan
    np.savez("nan.npz", x=x, y=_answers(x))
    code, out, err = run("net.onnx", "--data", "nan.npz", "--labels", "y", "--json")
    found = json.loads(out)
    assert code == 0 and found["errors"] == 1 and found["loss"] is None
    assert "warning: net.onnx: no finite answer for 1 of 4 samples" in err


def test_progress_on_a_terminal_leaves_no_trace(run, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert run("net.onnx", "--data", "test.npz", "--labels", "y", "--batch-size", "10")[0] == 0


def test_names_cannot_command_the_terminal(run):
    proto = perceptron()
    proto.graph.output[0].name = proto.graph.node[2].output[0] = "\x1b[31my"
    onnx.save(proto, "net.onnx")
    code, out, err = run("net.onnx", "--data", "test.npz", "--labels", "y")
    assert code == 0 and "\x1b" not in out + err and "x1b[31my" in out
