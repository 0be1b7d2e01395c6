"""What the README says is run, word for word."""

import glob
import importlib.util
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import dcz
from dcz import cli
from dcz.plan import DROPS
from tests import ROOT, models
from tests.networks import perceptron

README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^(?:    |\$ )?(dcz [a-z].*?)(?:  +#.*)?$", README, flags=re.M)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with the files that the README's commands name."""
    monkeypatch.chdir(tmp_path)
    onnx.save(perceptron(), "model.onnx")
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 64)).astype(np.float32)
    np.savez("samples.npz", x=x, y=models.run(perceptron(), x=x)[0].argmax(1))
    Path("plan.toml").write_bytes((ROOT / "examples" / "03_plan.toml").read_bytes())
    return tmp_path


def test_the_readme_shows_every_command():
    shown = {shlex.split(command)[1] for command in COMMANDS}
    assert set(cli.COMMANDS) <= shown


def test_the_readmes_commands_run_in_their_order(folder, monkeypatch, capsys):
    monkeypatch.setattr("dcz.tuning.search.MAX_DROP_TRIALS", 4)  # of what they find, the tests of tuning speak
    for command in COMMANDS:
        if shlex.split(command)[1] == "retrain" and importlib.util.find_spec("torch") is None:
            continue  # the extra `train` brings it
        words = [glob.glob(word) or [word] for word in shlex.split(command)]  # as a shell does
        monkeypatch.setattr(sys, "argv", [each for found in words for each in found])
        assert cli._run() == 0, f"{command}: {capsys.readouterr().err}"


def test_the_readmes_python_runs(folder):
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_presets_are_told_with_what_was_measured(capsys, monkeypatch):
    """The README and the help have the figures that the benchmarks wrote down."""
    monkeypatch.setattr(sys, "argv", ["dcz", "compress", "--help"])
    cli._run()
    told, results = capsys.readouterr().out, (ROOT / "tests" / "benchmarks" / "RESULTS.md").read_text()
    for name in ("safe", "balanced", "small"):
        quality, drop = f"{dcz.PRESETS[name].quality:g} dB", f"{100 * DROPS[name]:g}"
        ratio, agreement = re.search(rf"\| preset {name} \| .* \| (\S+) \| (\S+) \|\n", results).groups()
        (other,) = re.findall(rf"\| quality {quality} \| .* \| (\S+) \|\n", results)
        agreement, other = (f"{100 * float(share):.2f} %" for share in (agreement, other))
        row = rf"`{name}` \| {quality}.* \| {ratio} \| {agreement} \| {other} \| .*{drop}%` \|"
        assert re.search(row, README), name
        assert re.search(f"{name} +{quality}.*: {ratio} times smaller, .* {agreement}", told), name
        assert re.search(rf"--max-drop: .*{name} {drop}%", told)


def test_the_make_targets_exist():
    targets = set(re.findall(r"^make (\w[\w-]*)", README, flags=re.M))
    assert {"demo", "test"} <= targets <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.M))


def test_ci_runs_the_readmes_test_command():
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("make test")


def test_versions_agree():
    assert f"## {dcz.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_changelog_and_readme_name_nothing_that_is_gone():
    for name in re.findall(r"`dcz\.(\w+)`", README):
        assert name in dcz.__all__ or importlib.util.find_spec(f"dcz.{name}"), name
