"""`--measure` of `dcz evaluate` and `dcz compress --calibrate`."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest

import dcz
from tests.networks import correlated, perceptron


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a perceptron, its coarse copy, samples and a measure of one's own."""
    monkeypatch.chdir(tmp_path)
    onnx.save(perceptron(), "net.onnx")
    dcz.compress("net.onnx", "net.dcz", bits=3)
    np.savez("x.npz", x=correlated(64))
    Path("own.py").write_text("def near(wanted, found):\n    return abs(wanted['y'] - found['y']).max(1) < 1\n")


def test_evaluate_prints_the_measure_and_a_limit_is_for_it(folder, run):
    arguments = ["evaluate", "net.dcz", "--data", "x.npz", "--against", "net.onnx", "--measure"]
    code, out, _ = run(*arguments, "nearest-neighbour")
    assert code == 0 and "nearest neighbour" in out
    code, out, _ = run(*arguments, "own.py:near", "--min-agreement", "100%")
    assert code == 1 and "near " in out
    for wrong, words in (("cosines", "there is no measure 'cosines'"), ("own.py:far", "own.py has no far")):
        code, _, err = run(*arguments, wrong)
        assert code == 2 and words in err


def test_verify_has_a_line_for_the_measure_and_a_limit_is_for_it(folder, run):
    arguments = ["verify", "net.dcz", "--against", "net.onnx", "--data", "x.npz", "--measure"]
    code, out, _ = run(*arguments, "own.py:near")
    assert code == 0 and re.search(r"all outputs: near \d+\.\d\d % over 64", out)
    assert run(*arguments, "own.py:near", "--min-agreement", "99.9%")[0] == 1
    found = dcz.verify("net.dcz", against="net.onnx", inputs="x.npz", measure="r2").outputs
    by_hand = dcz.evaluate("net.dcz", "x.npz", against="net.onnx", measure="r2").score
    assert [each.measure for each in found] == ["top class", "R2"] and found[1].score == pytest.approx(by_hand)
    (cosine,) = dcz.verify("net.dcz", against="net.onnx", inputs="x.npz", measure="cosine").outputs
    assert (cosine.measure, cosine.chosen, cosine.output) == ("cosine", True, "y")
    assert run("verify", "net.dcz", "--against", "net.onnx", "--measure", "r2")[0] == 2


def test_compress_holds_a_drop_of_the_measure(folder, run):
    options = ["compress", "net.onnx", "-o", "small.dcz", "--calibrate", "x.npz", "--threads", 1, "--measure"]
    code, out, _ = run(*options, "own.py:near", "--max-drop", "20%")
    assert code == 0 and re.search(
        r"agreement \d+\.\d\d% of 64 samples, cross-fitted, by near exact", " ".join(out.split())
    )
    assert run(*options, "cosine", "--labels", "y", "-f")[0] == 2
    code, _, err = run("compress", "net.onnx", "--measure", "cosine")
    assert code == 2 and "--measure judges the answers to inputs of the model: give --calibrate too" in err


def test_what_is_no_function_or_ends_the_program_is_told_of_and_objects_have_their_names(folder, run):
    text = "import functools, sys\nlevel = 3\ndef leave(wanted, found):\n    sys.exit(0)\n"
    Path("more.py").write_text(text + "half = functools.partial(lambda value, wanted, found: value, 0.5)\n")
    arguments = ["evaluate", "net.dcz", "--data", "x.npz", "--against", "net.onnx", "--measure"]
    for name, words in (
        ("level", "more.py:level is of type int, and no function"),
        ("leave", "more.py:leave fails: SystemExit"),
    ):
        code, _, err = run(*arguments, f"more.py:{name}")
        assert code == 2 and words in err
    assert "half " in run(*arguments, "more.py:half")[1]
