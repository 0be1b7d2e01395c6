"""docs/terminal.md shows what a terminal of 80 and of 120 columns, a pipe, NO_COLOR and a locale without UTF-8 get."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import dcz
from tests import ROOT
from tests.cli.test_terminal import dcz_command, on_a_terminal, without_escapes

SQUEEZENET = Path(os.environ.get("DCZ_DATA", "/nowhere"), "nets", "squeezenet_v1.1.onnx")
PAGE = (ROOT / "docs" / "terminal.md").read_text()
CAPTURES = re.findall(r"<!-- (80|120|pipe)((?: \w+=\w+)*): dcz (.*?) -->\n```text\n(.*?)```", PAGE, flags=re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("captures")
    shutil.copy(SQUEEZENET, made / "model.onnx")
    dcz.compress(made / "model.onnx", made / "model.dcz")
    return made


def test_every_kind_of_output_is_shown():
    assert {where for where, *_ in CAPTURES} == {"80", "120", "pipe"}
    variables = " ".join(names for _, names, *_ in CAPTURES)
    assert "NO_COLOR=1" in variables and "LC_ALL=C" in variables


@pytest.mark.skipif(not SQUEEZENET.exists(), reason="DCZ_DATA has no nets/squeezenet_v1.1.onnx")
@pytest.mark.parametrize("where, variables, command, expected", CAPTURES)
def test_captures_are_what_is_printed(folder, monkeypatch, where, variables, command, expected):
    monkeypatch.chdir(folder)
    monkeypatch.delenv("COLUMNS", raising=False)
    for name, value in (each.split("=") for each in variables.split()):
        monkeypatch.setenv(name, value)
    if where == "pipe":
        ran = subprocess.run(dcz_command(*shlex.split(command)), capture_output=True, check=True, env=dict(os.environ))
        output = ran.stdout.decode("ascii" if "LC_ALL" in variables else "utf-8")
    else:
        output = on_a_terminal(int(where), *shlex.split(command))
        if "NO_COLOR" in variables:
            assert re.findall(r"\x1b\[(?!0m|1m|2m)[0-9;]*m", output) == []  # bold and faint are no colours
        output = without_escapes(output)
    assert expected in output
