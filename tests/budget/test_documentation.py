"""docs/budgets.md shows what dcz prints and what the examples hold, and leaves nothing out; tests/docs runs it."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from dcz import cli
from dcz.budget import config
from dcz.budget.limits import KINDS
from dcz.cli.check_output import FORMATS
from tests import ROOT

PAGE = (ROOT / "docs" / "budgets.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, flags=re.M | re.S)
SQUEEZENET = Path(os.environ.get("DCZ_DATA", "/nowhere"), "nets", "squeezenet_v1.1.onnx")


def run(command: str, monkeypatch) -> int:
    monkeypatch.setattr(sys, "argv", shlex.split(command, comments=True))
    return cli._run()


@pytest.mark.skipif(not SQUEEZENET.exists(), reason="DCZ_DATA has no nets/squeezenet_v1.1.onnx")
def test_the_outputs_are_those_of_squeezenet(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)  # which readline, that pytest loads, may have set
    shutil.copy(SQUEEZENET, "model.onnx")
    assert run("dcz compress -f model.onnx -o model.dcz", monkeypatch) == 0
    outputs = re.findall(r"<!-- output: (.*?) -->\n```text\n(.*?)```", PAGE, flags=re.S)
    assert outputs
    for command, expected in outputs:
        capsys.readouterr()
        run(command, monkeypatch)
        assert capsys.readouterr().out == expected


def test_ci_files_are_those_of_the_examples():
    shown = {re.match(r"# (\S+)\n", text)[1]: text for kind, text in BLOCKS if kind == "yaml"}
    files = {".github/workflows/models.yml": "github-workflow.yml", ".gitlab-ci.yml": "gitlab-ci.yml",
             ".pre-commit-config.yaml": "pre-commit-config.yaml"}  # fmt: skip
    assert shown == {name: (ROOT / "examples" / "ci" / file).read_text() for name, file in files.items()}


def test_the_reference_has_every_limit_key_format_and_option(monkeypatch, capsys):
    reference = PAGE.split("## Reference")[1]
    for name in (*KINDS, *FORMATS, *config._KEYS, *config._TOP):
        assert f"`{name}`" in reference, name
    run("dcz check --help", monkeypatch)
    options = set(re.findall(r"(--[a-z][a-z0-9-]+)", capsys.readouterr().out))
    told = {f"--{name}" for name in (*KINDS, *config._KEYS)} | set(re.findall(r"(--[a-z][a-z0-9-]+)", PAGE))
    assert options - told <= {"--threads", "--quiet", "--verbose", "--help"}
