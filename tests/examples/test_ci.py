"""The files for CI systems are run as far as a machine can: their scripts in bash, in the environment that they get."""

import os
import re
import stat
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import onnx
import pytest

import dcz
from tests import ROOT
from tests.networks import perceptron

yaml = pytest.importorskip("yaml")
CI = ROOT / "examples" / "ci"
STUB = {"dcz": '"{python}" -m dcz "$@"', "pip": 'echo "$@" >> pip.log', "python": 'echo "$@" >> pip.log'}


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A repository with a model within its budget and one beyond; dcz is on the path, and pip only writes a log."""
    monkeypatch.chdir(tmp_path)
    Path("bin").mkdir()
    for name, text in STUB.items():
        path = Path("bin", name)
        path.write_text(f"#!/bin/sh\n{text.format(python=sys.executable)}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    Path(".git").mkdir()
    onnx.save(perceptron(), "net.onnx")
    for name, bits in (("good", 2), ("bad", 8)):
        dcz.compress("net.onnx", f"{name}.dcz", dcz.Settings(bits=bits))
    Path("dcz.toml").write_text('[[check]]\npath = "*.dcz"\nmax-size = "6kB"\n')
    return tmp_path


SOURCE = "git+https://github.com/OWNER/dcz@v0.2.0"  # dcz is on no package index: whoever hosts it says where


def bash(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    everything = inherited | {"PATH": path, "PYTHONPATH": str(ROOT)} | environment
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=everything, capture_output=True, text=True)


# -- GitHub ------------------------------------------------------------------------------------------------------------


def run_action(folder: Path, **inputs: str) -> subprocess.CompletedProcess:
    """The steps of action.yml as the runner takes them, until one fails."""
    action = yaml.safe_load((CI / "action.yml").read_text())
    assert action["runs"]["using"] == "composite" and {"name", "description"} <= action.keys()
    assert inputs.keys() <= action["inputs"].keys()
    values = {name: inputs.get(name, each.get("default", "")) for name, each in action["inputs"].items()}

    def filled(text: str) -> str:
        return re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda found: values[found[1]], text)

    github = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GITHUB_WORKSPACE": str(folder),
    }
    for step in action["runs"]["steps"]:
        assert step["shell"] == "bash" and "${{" not in step["run"]  # what is given is never part of a script
        condition = step.get("if")
        assert condition in (None, "inputs.package != ''")
        if condition and not values["package"]:
            continue
        environment = {name: filled(value) for name, value in step.get("env", {}).items()}
        done = bash(step["run"], folder, **environment, **github)
        if done.returncode:
            break
    return done


def test_the_action_fails_annotates_and_reports(repository):
    done = run_action(repository, package="./dcz [x]")
    assert done.returncode == 1 and "bad.dcz" in done.stdout
    assert re.search(r"^::error file=dcz.toml,line=2,title=bad.dcz%3A max-size::", done.stderr, flags=re.M)
    assert "good.dcz" not in done.stderr
    assert "missed" in Path("summary.md").read_text() and len(ET.parse("dcz-check.xml").findall(".//failure")) == 1
    assert Path("pip.log").read_text() == "-m pip install --quiet ./dcz [x]\n"


def test_the_action_takes_files_and_options(repository):
    done = run_action(repository, files="good.dcz *o[o]d.dcz", options="--max-size 1MB", package="", junit="out.xml")
    assert done.returncode == 0, done.stderr
    assert len(ET.parse("out.xml").findall(".//testcase")) == 2 and not Path("pip.log").exists()


def test_what_is_given_to_the_action_is_not_run(repository):
    done = run_action(repository, files="$(touch hacked); touch hacked", options="`touch hacked`")
    assert done.returncode != 0 and not Path("hacked").exists()


def test_the_workflow_uses_the_action_and_uploads_its_report():
    workflow = yaml.safe_load((CI / "github-workflow.yml").read_text())
    steps = workflow["jobs"]["budget"]["steps"]
    action = yaml.safe_load((CI / "action.yml").read_text())
    (used,) = (step for step in steps if step["uses"] == "./.github/actions/dcz-check")
    assert used["with"].keys() <= action["inputs"].keys() and workflow["permissions"] == {"contents": "read"}
    assert used["with"]["package"] == SOURCE
    upload = steps[-1]
    assert upload["if"] == "always()" and upload["with"]["path"] == action["inputs"]["junit"]["default"]


# -- GitLab ------------------------------------------------------------------------------------------------------------


def test_the_gitlab_job_writes_the_reports_that_it_names(repository):
    job = yaml.safe_load((CI / "gitlab-ci.yml").read_text())["model-budget"]
    done = bash("\n".join(job["script"]), repository)
    assert done.returncode == 1 and "MISSED" in done.stdout and job["artifacts"]["when"] == "always"
    reports = job["artifacts"]["reports"]
    assert len(ET.parse(reports["junit"]).findall(".//testcase")) == 2
    assert f'dcz_file_bytes{{file="bad.dcz"}} {Path("bad.dcz").stat().st_size}' in Path(reports["metrics"]).read_text()
    assert Path("pip.log").read_text() == f"install --quiet {SOURCE}\n"


# -- pre-commit --------------------------------------------------------------------------------------------------------


HOOKS = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}


def run_hook(name: str, staged: list[str], folder: Path, args: str = "") -> subprocess.CompletedProcess | None:
    """What pre-commit does with a hook: nothing where no staged file matches, else entry, args and the files."""
    hook = HOOKS[name]
    matching = [file for file in staged if re.search(hook["files"], file)]
    if not matching:
        return None
    files = " ".join(matching) if hook.get("pass_filenames", True) else ""
    return bash(f"{hook['entry']} {args} {files}", folder)


def test_hooks_have_what_pre_commit_needs():
    for hook in HOOKS.values():
        assert {"id", "name", "entry", "language", "files"} <= hook.keys() and hook["language"] == "python"
    shown = yaml.safe_load((CI / "pre-commit-config.yaml").read_text())
    assert {hook["id"] for repo in shown["repos"] for hook in repo["hooks"]} <= HOOKS.keys()


@pytest.mark.parametrize("staged", ["a.dcz", "sub/net.onnx", "net.onnx.data", "dcz.toml", "x/pyproject.toml",
                                    "dcz-baseline.json"])  # fmt: skip
def test_all_models_are_checked_whenever_one_or_the_budgets_change(repository, staged):
    done = run_hook("dcz-check", [staged], repository)
    assert done.returncode == 1 and "file bad.dcz" in done.stdout and "good" not in done.stdout.split("within")[0]


@pytest.mark.parametrize("staged", ["a.py", "dcz", "adcz.toml", "net.onnx.txt", "README.md"])
def test_other_files_run_no_hook(repository, staged):
    assert run_hook("dcz-check", [staged], repository) is None


def test_the_other_hook_looks_at_the_files_of_a_commit(repository):
    assert run_hook("dcz-check-files", ["good.dcz", "net.onnx"], repository).returncode == 0
    assert run_hook("dcz-check-files", ["good.dcz", "bad.dcz"], repository).returncode == 1
    assert run_hook("dcz-check-files", ["bad.dcz"], repository, "--max-size 1MB").returncode == 0
    assert run_hook("dcz-check-files", ["dcz.toml"], repository) is None
