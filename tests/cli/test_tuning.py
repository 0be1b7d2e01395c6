"""`dcz compress --calibrate` and `dcz sensitivity` as a user meets them."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest

from tests import ROOT, models
from tests.networks import correlated, perceptron


@pytest.fixture
def run(run, monkeypatch, tmp_path):
    """Run one command line in a folder with net.onnx and x.npz; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    onnx.save(perceptron(), "net.onnx")
    x = correlated(48)
    y = models.run(perceptron(), x=x)[0].argmax(1)
    y[3] = (y[3] + 1) % 10  # one of those that are held out
    np.savez("x.npz", x=x, y=y)
    return run


@pytest.mark.parametrize("goal, most", [(["--ratio", 7], 5_600), (["--max-size", "5kB"], 5_000)])
def test_a_budget_is_met_and_its_trials_are_told(run, tmp_path, goal, most):
    code, out, err = run("compress", "net.onnx", "--calibrate", "x.npz", "--json", "-v", "--threads", 1, *goal)
    assert code == 0 and json.loads(out)["file_bytes"] == (tmp_path / "net.dcz").stat().st_size <= most
    assert "bits a weight: " in err and "calibrated on 42 samples; 6 were held out\n" in err


@pytest.fixture
def few(monkeypatch):
    """A few trials for a drop, where it is not their number that counts."""
    monkeypatch.setattr("dcz.tuning.drop_search.MAX_WALKS", 3)


def test_a_drop_is_in_percent_and_tells_how_it_was_judged(run):
    code, _, err = run("compress", "net.onnx", "--calibrate", "x.npz", "--max-drop", 20, "--threads", 1, "-v")
    words = "calibrated on 48 samples; judged by each of them, by calibrations on three quarters that leave it out\n"
    assert code == 0 and words in err and re.search(r"agreement \d+\.\d\d% by cross-fitting, by top class", err)
    assert (
        re.search(
            r"bytes, agreement \d+\.\d\d% on held-out samples, by top class, \d+\.\d\d% expected to change, ", err
        )
        and "accuracy" not in err
    )


def test_the_progress_of_a_drop_is_what_the_search_goes_by(run, few, monkeypatch):
    monkeypatch.setattr("dcz.display.work.EVERY", 0.0)
    _, _, err = run("compress", "net.onnx", "--calibrate", "x.npz", "--max-drop", 20, "--threads", 1)
    assert re.search(r"trial \d, \d+\.\d % expected at \d+\.\d kB", err)


def test_a_drop_in_doubt_keeps_the_file_and_its_interval_and_strict_tells_of_it(run, few, tmp_path, monkeypatch):
    monkeypatch.setattr("dcz.tuning.trials.UPPER_QUARTILE", 0.0)  # as if the search heeded no doubt
    options = ["compress", "net.onnx", "--calibrate", "x.npz", "--max-drop", 6, "--threads", 1, "--json"]
    code, out, err = run(*options)
    measured = json.loads(out)["measured"]
    low, high = measured["drop_interval"]
    assert code == 0 and low <= measured["expected_drop"] <= 0.06 < high
    assert f"it may be up to {high:.2%}: " in err and " samples or so would show one of 6.00%" in err
    assert run(*options, "-f", "--strict")[:2] == (1, out)
    monkeypatch.setattr("dcz.tuning.trials.UPPER_QUARTILE", 1.0)  # as if it allowed none
    assert run(*options[:5], 20, "-f", "-q", "--strict", "--threads", 1)[0] == 0


def test_a_preset_is_a_drop(run, few, tmp_path):
    options = ["--calibrate", "x.npz", "--threads", 1, "-q"]
    for name, goal in (("a.dcz", ["--preset", "small"]), ("b.dcz", ["--max-drop", 5]), ("c.dcz", ["--max-drop", "5%"])):
        assert run("compress", "net.onnx", *options, *goal, "-o", name)[0] == 0
    assert len({(tmp_path / name).read_bytes() for name in ("a.dcz", "b.dcz", "c.dcz")}) == 1


def test_with_labels_a_drop_is_in_points_of_accuracy(run):
    options = ["--calibrate", "x.npz", "--labels", "y", "--max-drop", 10, "--threads", 1, "-v"]
    code, _, err = run("compress", "net.onnx", *options)
    assert code == 0 and "that leave it out, top-1 accuracy of the original on these 97.92%\n" in err
    assert re.search(r"top-1 accuracy \d+\.\d\d% on held-out samples, \d+\.\d\d points lost\n", err)
    assert "agreement" not in err


def test_distilling_says_what_came_of_it(run, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr("dcz.display.work.EVERY", 0.0)
    code, _, err = run("compress", "net.onnx", "--calibrate", "x.npz", "--ratio", 7, "--distill", "--threads", 1)
    assert code == 0 and "calibrated on 36 samples; 12 were held out" in err
    assert "distilling, epoch 1 of" in err
    assert err.count("distilled: ") == 1 and "on 12 held-out samples" in err


def test_distilling_without_pytorch_tells_how_to_install_it_before_calibration(run, tmp_path):
    code = "import sys; sys.modules['torch'] = None; import dcz.cli; sys.argv[0] = 'dcz'; sys.exit(dcz.cli._run())"
    arguments = ["compress", "net.onnx", "--calibrate", "x.npz", "--ratio", "7", "--distill"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 7 and "pip install 'dcz[train]'" in done.stderr and "%" not in done.stderr
    assert not (tmp_path / "net.dcz").exists()


def test_quiet_says_only_what_came_of_it(run):
    random = np.random.default_rng(0)
    np.savez("x.npz", x=(random.normal(size=(64, 12)) @ random.normal(size=(12, 64))).astype(np.float32))
    code, out, err = run("compress", "net.onnx", "--calibrate", "x.npz", "--ratio", 6, "-q", "--threads", 1)
    assert (code, err, out.count("\n")) == (0, "", 1)


@pytest.mark.parametrize("arguments, code, words", [
    (["compress", "net.onnx", "--max-drop", "1"], 2, "--calibrate"),
    (["compress", "net.onnx", "--labels", "y"], 2, "--calibrate"),
    (["compress", "net.onnx", "--strict"], 2, "--calibrate and --max-drop"),
    (["compress", "net.onnx", "--calibrate", "x.npz", "--ratio", "5", "--strict"], 2, "--calibrate and --max-drop"),
    (["compress", "net.onnx", "--calibrate", "x.npz", "--labels", "z"], 2, "no array 'z' for the labels"),
    (["compress", "net.onnx", "--calibrate", "x.npz", "--labels", "y", "--ratio", "5"], 2, "labels judge a drop"),
    (["compress", "net.onnx", "--distill"], 2, "--calibrate"),
    (["compress", "net.onnx", "--calibrate", "x.npz", "--max-drop", "100"], 2, "from 0 to below 100, not 100"),
    (["compress", "net.onnx", "--data", "x.npz", "--max-drop", "100%"], 2, "from 0 to below 100, not 100"),
    (["compress", "net.onnx", "--calibrate", "x.npz", "--ratio", "5", "--max-size", "5kB"], 2, "give one of"),
    (["compress", "net.onnx", "--calibrate", "x.npz", "--bits", "4"], 2, "leave bits out"),
    (["compress", "net.onnx", "--calibrate", "x.npz", "--lossless"], 2, "leave lossless out"),
    (["compress", "net.onnx", "--calibrate", "missing.npz"], 6, "missing.npz"),
    (["compress", "missing.onnx", "--calibrate", "x.npz"], 6, "missing.onnx"),
    (["compress", "net.onnx", "--calibrate", "x.npz", "-o", "net.onnx", "-f"], 6, "is the input itself"),
    (["compress", "net.onnx", "--calibrate", "x.npz", "--max-size", "500B"], 2, "as coarsely as"),
    (["sensitivity", "net.onnx"], 2, "--data"),
    (["sensitivity", "net.onnx", "--data", "x.npz", "--bits", "two"], 2, "'two' is no list of numbers"),
    (["sensitivity", "net.onnx", "--data", "x.npz", "--bits", "9"], 2, "bits"),
    (["sensitivity", "net.onnx", "--data", "x.npz", "-o", "x.npz"], 6, "x.npz"),
    (["sensitivity", "net.onnx", "--data", "x.npz", "--output", "no/plan.toml"], 6, "no/plan.toml"),
])  # fmt: skip
def test_every_failure_has_its_code_and_says_why(refuses, arguments, code, words):
    refuses(arguments, code, words)


def test_sensitivity_prints_a_table_and_writes_a_plan_that_compress_takes(run, tmp_path, monkeypatch):
    monkeypatch.setattr("dcz.display.work.EVERY", 0.0)
    options = ["--data", "x.npz", "--bits", "2,5", "--sparsity", "80%", "--threads", 1]
    code, out, err = run("sensitivity", "net.onnx", *options, "-o", "plan.toml", "--exclude", "fc1.bias")
    assert code == 0 and "measuring" in err
    for word in ("tensor", "2 bits", "5 bits", "80% zero", "bits of 4", "fc1.weight", "fc2.weight"):
        assert word in out
    assert run("compress", "net.onnx", "--plan", "plan.toml")[0] == 0
    code, _, err = run("sensitivity", "net.onnx", *options, "-o", "plan.toml")
    assert code == 6 and "--force" in err
    code, out, _ = run("sensitivity", "net.onnx", *options, "-o", "plan.toml", "-f", "--json")
    assert code == 0 and {row["name"] for row in json.loads(out)["rows"]} == {"fc1.weight", "fc2.weight"}


def test_the_older_spelling_of_the_plan_that_is_written_warns_and_replaces_nothing(run, tmp_path):
    options = ["--data", "x.npz", "--bits", "3", "--sparsity", "50%", "--samples", "8", "--threads", "1"]
    code, _, err = run("sensitivity", "net.onnx", *options, "--plan", "plan.toml")
    assert code == 0 and "dcz: warning: --plan is now -o; the plan to read is --config" in err
    before = (tmp_path / "plan.toml").read_bytes()
    code, _, err = run("sensitivity", "net.onnx", *options, "--plan", "plan.toml", "--force")
    assert code == 6 and "plan.toml: exists; read it by --config" in err
    assert (tmp_path / "plan.toml").read_bytes() == before
