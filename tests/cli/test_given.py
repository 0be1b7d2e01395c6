"""Samples as people have them, by the command: folders, other axes."""

import json
import os

import numpy as np
import onnx
import pytest
from onnx import helper

from tests import models
from tests.evaluation.test_feed import LABELS, SENTENCES, STATE, X, language, recurrent


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(language(), "net.onnx")
    os.makedirs("folder")
    for number, sentence in enumerate(SENTENCES):
        np.savez(f"folder/{number}.npz", ids=sentence, labels=LABELS[number])


def test_every_command_takes_a_folder(run):
    assert run("compress", "net.onnx", "--calibrate", "folder", "--ratio", "2", "-o", "a.dcz")[0] == 0
    for command in (
        ("run", "a.dcz", "--data", "folder", "-o", "y.npz"),
        ("evaluate", "a.dcz", "--data", "folder", "--labels", "labels", "--against", "net.onnx"),
        ("verify", "a.dcz", "--against", "net.onnx", "--data", "folder"),
        ("sensitivity", "net.onnx", "--data", "folder", "--bits", "3", "--sparsity", "50%"),
        ("report", "a.dcz", "--against", "net.onnx", "--data", "folder"),
    ):
        code, _, err = run(*command)
        assert code == 0, err
    with np.load("y.npz") as found:
        assert found["z/3"].shape == (5, 5) and found["p"].shape == (10, 5)


def test_the_axis_is_told_by_an_option(run):
    onnx.save(recurrent((None, None), (None, None, None)), "net.onnx")
    np.savez("x.npz", x=X, state=STATE, rate=0)
    code, _, err = run("run", "net.onnx", "--data", "x.npz")
    assert code == 2 and "50 samples of 'x' and 2 of 'state'" in err
    code, out, err = run("run", "net.onnx", "--data", "x.npz", "--batch-axis", "state=1", "--json", "-o", "y.npz")
    assert code == 0, err
    assert [each["shape"] for each in json.loads(out)["outputs"]] == [[50, 3], [2, 50, 3]]
    with np.load("y.npz") as found:
        assert np.allclose(found["y"], X + STATE.sum(0), atol=1e-5) and np.array_equal(found["out"], -STATE)


@pytest.mark.parametrize("value", ["h0", "=1", "h0=", "h0=one", "h0=1.5"])
def test_wrong_words_for_an_axis_are_refused(value, run):
    code, _, err = run("run", "net.onnx", "--data", "folder", "--batch-axis", value)
    assert code == 2 and "--batch-axis is NAME=AXIS, such as h0=1" in err


def test_an_axis_without_samples_is_refused(run):
    for command in (("compress", "net.onnx"), ("verify", "net.dcz"), ("report", "net.onnx")):
        code, _, err = run(*command, "--batch-axis", "x=1")
        assert code == 2 and "--batch-axis says how samples lie: give these too" in err


def test_a_library_that_does_not_load_is_told(run):
    open("lib.so", "w").close()
    for command in ("run", "evaluate", "sensitivity"):
        code, _, err = run(command, "net.onnx", "--data", "folder", "--ops", "lib.so")
        assert code == 2 and "lib.so: onnxruntime" in err and "cannot load it as a library of custom operators" in err
    code, _, err = run("compress", "net.onnx", "--ops", "missing.so", "--calibrate", "folder")
    assert code == 6 and "missing.so: cannot be read: there is no such library of custom operators" in err


def test_the_command_that_comes_next_has_the_same_options(run):
    weights = models.tensor("w", models.normal(64, 64))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    onnx.save(models.model(nodes, {"x": [None, None, 64]}, {"y": None}, [weights]), "net.onnx")
    np.save("x.npy", models.normal(3, 40, 64))
    code, out, err = run("compress", "net.onnx", "--calibrate", "x.npy", "--ratio", "4", "--batch-axis", "x=1")
    assert code == 0, err
    (line,) = (each for each in out.splitlines() if "dcz verify" in each)
    words = line.split("dcz ", 1)[1].split()
    assert words[-2:] == ["--batch-axis", "x=1"]
    assert run(*words)[0] == 0
