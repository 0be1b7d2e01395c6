"""`dcz check` as a user and a CI meet it."""

import json
import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import onnx
import pytest

import dcz
from dcz.text import cells
from tests import models
from tests.networks import packed_perceptron, perceptron


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A repository with models/a.dcz, models/b.dcz, net.onnx, and samples."""
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    Path(".git").mkdir()
    Path("models").mkdir()
    onnx.save(perceptron(), "net.onnx")
    for name, bits in (("a", 6), ("b", 3)):
        Path(f"models/{name}.dcz").write_bytes(packed_perceptron(dcz.Settings(bits=bits)))
    x = np.random.default_rng(0).normal(size=(60, 64)).astype(np.float32)
    np.savez("x.npz", x=x, y=models.run(perceptron(), x=x)[0].argmax(1))
    return tmp_path


def config(text: str) -> None:
    Path("dcz.toml").write_text(text)


def size(path: str) -> int:
    return Path(path).stat().st_size


# -- files and limits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options, code", [
    (["--max-size", "1MB"], 0), (["--max-size", "1kB"], 1), (["--max-tensor-size", "9kB"], 0),
    (["--max-tensor-size", "1kB"], 1), (["--max-memory", "50kB"], 0), (["--max-memory", "9kB"], 1),
    (["--max-exact", "20%"], 0), (["--max-exact", "0.1%"], 1), (["--min-ratio", "3"], 0), (["--min-ratio", "300"], 1),
    (["--max-growth", "0%", "--baseline", "models/a.dcz"], 0),
    (["--max-growth", "2%", "--baseline", "models/b.dcz"], 1),
    (["--max-growth", "9kB", "--baseline", "models/b.dcz"], 0),
    (["--min-agreement", "0.6", "--against", "net.onnx", "--data", "x.npz"], 0),
    (["--min-agreement", "100%", "--against", "net.onnx", "--data", "x.npz"], 1),
    (["--min-top1", "60%", "--labels", "y", "--data", "x.npz"], 0),
    (["--min-top1", "100%", "--labels", "y", "--data", "x.npz"], 1),
    (["--max-size", "1MB", "--min-ratio", "300"], 1),
])  # fmt: skip
def test_every_limit_has_its_exit_code(run, folder, options, code):
    found, out, err = run("check", "models/a.dcz", *options)
    assert (found, err) == (code, "")
    assert ("MISSED" in out) == (code == 1)


def test_several_files_and_wildcards(run, folder):
    code, out, _ = run("check", "models/*.dcz", "net.onnx", "--max-size", "9kB")
    assert code == 1 and [f"file {name}:" in out for name in ("models/a.dcz", "models/b.dcz", "net.onnx")] == [True] * 3
    assert "2 of 3 within budget, 1 missed" in out


def test_a_file_that_cannot_be_read_stops_no_other(run, folder):
    code, out, err = run("check", "none.dcz", "models/a.dcz", "--max-size", "1kB")
    assert code == 6 and "max-size: MISSED" in out and err.startswith("dcz: error: none.dcz: cannot be opened")
    Path("bad.dcz").write_bytes(b"\x89DCZ\r\n\x1a\nxx")
    code, out, err = run("check", "none.dcz", "bad.dcz", "--max-size", "1kB")
    assert code == 8 and err.count("dcz: error:") == 2
    code, out, err = run("check", "bad.dcz", "--max-size", "1kB")
    assert (code, out) == (4, "")


def test_a_fault_of_dcz_is_told_and_its_traceback_for_those_who_ask(run, folder, monkeypatch):
    monkeypatch.setattr("dcz.budget.judge.inspect", lambda path: 1 // 0)
    code, _, err = run("check", "models/a.dcz", "--max-size", "1")
    assert code == 70 and "models/a.dcz: internal error, please report it" in err and "Traceback" not in err
    monkeypatch.setenv("DCZ_TRACEBACK", "1")
    assert "Traceback" in run("check", "models/a.dcz", "--max-size", "1")[2]


@pytest.mark.parametrize("arguments, words", [
    (["models/a.dcz"], "no budget given"), ([], "no budget given"), (["--max-size", "3"], "name the files"),
    (["models/a.dcz", "--max-growth", "2%"], "needs baseline"),
    (["models/a.dcz", "--max-growth", "2"], "2 of which?"),
    (["models/a.dcz", "--max-size", "9", "--baseline", "b.json"], "--baseline is for --max-growth"),
    (["models/a.dcz", "--max-size", "9", "--data", "x.npz"], "data is for"),
    (["models/a.dcz", "--max-size", "9", "--config", "dcz.toml"], "--config has limits of its own"),
    (["models/a.dcz", "--max-size", "9", "--format", "jnuit"], "did you mean junit?"),
    (["models/a.dcz", "--max-size", "9", "--format", "json", "--format", "junit"], "cannot both go to stdout"),
    (["models/a.dcz", "--max-exact", "120%"], "percentage from 0% to 100%"),
])  # fmt: skip
def test_wrong_usage_is_told(refuses, folder, arguments, words):
    refuses(["check", *arguments], 2, words)


@pytest.mark.parametrize("width", [80, 100])
def test_text_fits_the_window(run, folder, monkeypatch, width):
    monkeypatch.setattr("dcz.cli.check_output.width", lambda: width)
    _, out, _ = run("check", "models/a.dcz", "--max-size", "1kB", "--max-exact", "0.1%")
    assert all(cells(line) <= width for line in out.splitlines() if not line.strip().startswith("dcz "))


def test_quiet_prints_only_what_is_missed(run, folder):
    assert run("check", "models/a.dcz", "--max-size", "1MB", "-q") == (0, "", "")
    assert "MISSED" in run("check", "models/a.dcz", "--max-size", "1", "-q")[1]


# -- dcz.toml ----------------------------------------------------------------------------------------------------------


def test_dcz_check_alone_reads_the_config(run, folder, monkeypatch):
    config('[[check]]\npath = "models/*.dcz"\nmax-size = "8kB"\n[[check]]\npath = "net.onnx"\nmax-size = "1MB"\n')
    code, out, _ = run("check")
    assert code == (0 if size("models/a.dcz") <= 8000 else 1) and out.count("file ") == 3
    monkeypatch.chdir("models")
    code, out, _ = run("check")
    assert "file ../models/a.dcz" in out.replace(os.sep, "/") or "models/a.dcz" in out


def test_pyproject_works_as_well(run, folder):
    Path("pyproject.toml").write_text('[[tool.dcz.check]]\npath = "models/a.dcz"\nmax-size = 1\n')
    assert run("check")[0] == 1


def test_warnings_do_not_fail(run, folder):
    config('[[check]]\npath = "models/a.dcz"\nmax-size = {warn = 1, fail = "1MB"}\n')
    code, out, _ = run("check")
    assert code == 0 and "max-size: warning:" in out and "max-size: holds:" in out and "to mend it:" in out


def test_named_files_get_the_budgets_that_name_them(run, folder):
    config('[[check]]\npath = "models/a*"\nmax-size = 1\n')
    code, out, _ = run("check", "models/b.dcz", "net.onnx")
    assert code == 0 and out.count("no limits") == 2
    assert run("check", "models/b.dcz", "models/a.dcz")[0] == 1


def test_options_with_files_leave_the_config_aside(run, folder):
    config("nonsense = [")
    assert run("check", "models/a.dcz", "--max-size", "1MB")[0] == 0
    assert run("check")[0] == 2


def test_a_pattern_without_files_is_an_error(run, folder):
    config('[[check]]\npath = "out/*.dcz"\nmax-size = 1\n')
    code, _, err = run("check")
    assert code == 6 and "matches no file" in err


# -- baselines ---------------------------------------------------------------------------------------------------------

GROWTH = 'baseline = "base.json"\n[[check]]\npath = "models/*.dcz"\nmax-growth = "2%"\n'


def test_the_life_of_a_baseline(run, folder):
    config(GROWTH)
    code, out, _ = run("check")
    assert code == 1 and out.count("not in the baseline") == 2 and "dcz check --update-baseline" in out
    code, out, err = run("check", "--update-baseline")
    assert code == 0 and "base.json: 2 files written" in err
    first = Path("base.json").read_text()
    assert run("check")[0] == 0 and run("check", "--update-baseline")[0] == 0
    assert Path("base.json").read_text() == first
    dcz.compress("net.onnx", "models/b.dcz", dcz.Settings(bits=5), force=True)
    code, out, _ = run("check")
    assert code == 1 and "max-growth: MISSED: +" in out and "tensors that grew:" in out and "fc1.weight" in out
    assert f"--max-size {int(json.loads(first)['files']['models/b.dcz']['bytes'] * 1.02)}" in out
    assert run("check", "--update-baseline")[0] == 0 and run("check")[0] == 0
    assert list(json.loads(Path("base.json").read_text())["files"]) == ["models/a.dcz", "models/b.dcz"]
    Path("models/a.dcz").unlink()
    assert run("check", "--update-baseline")[0] == 0
    assert list(json.loads(Path("base.json").read_text())["files"]) == ["models/b.dcz"]


def test_a_baseline_without_a_config(run, folder):
    arguments = ["models/a.dcz", "--baseline", "base.json"]
    assert run("check", *arguments, "--update-baseline")[0] == 0
    assert run("check", *arguments, "--max-growth", "0%")[0] == 0
    assert run("check", "models/b.dcz", "--baseline", "base.json", "--update-baseline")[0] == 0
    assert len(json.loads(Path("base.json").read_text())["files"]) == 2  # others stay


def test_updating_still_judges_the_other_limits(run, folder):
    config(GROWTH + "max-size = 1\n")
    code, out, _ = run("check", "--update-baseline")
    assert code == 1 and Path("base.json").exists() and "max-growth" not in out


def test_a_file_that_cannot_be_read_keeps_its_old_weight(run, folder):
    config(GROWTH)
    run("check", "--update-baseline")
    old = Path("base.json").read_text()
    Path("models/a.dcz").write_bytes(b"\x89DCZ")
    assert run("check", "--update-baseline")[0] == 4
    assert Path("base.json").read_text() == old


def test_a_baseline_has_to_be_named_and_to_be_none_of_the_models(refuses, run, folder):
    config('[[check]]\npath = "models/*.dcz"\nmax-size = 1\n')
    code, _, err = run("check", "--update-baseline")
    assert code == 2 and 'baseline = "dcz-baseline.json"' in err
    code, _, err = run("check", "models/a.dcz", "--baseline", "models/b.dcz", "--update-baseline")
    assert code == 2 and "is a model" in err and size("models/b.dcz")


# -- formats -----------------------------------------------------------------------------------------------------------


def test_json_of_one_file_is_that_file_and_of_more_a_list(run, folder):
    _, out, _ = run("check", "models/a.dcz", "--max-size", "1", "--json")
    assert json.loads(out)["path"] == "models/a.dcz"
    code, out, _ = run("check", "models/*.dcz", "none.dcz", "--max-size", "1MB", "--format", "json")
    found = json.loads(out)
    assert (
        code == 6
        and found["holds"] is False
        and [file["status"] for file in found["files"]] == ["holds"] * 2 + ["error"]
    )


def test_formats_into_files_beside_text(run, folder):
    names = {"json": "o.json", "junit": "o.xml", "sarif": "o.sarif", "markdown": "o.md", "metrics": "o.txt"}
    options = [word for name, file in names.items() for word in ("--format", f"{name}={file}")]
    code, out, _ = run("check", "models/a.dcz", "--max-size", "1", *options)
    assert code == 1 and out.startswith("file models/a.dcz")
    assert ET.parse("o.xml").find(".//failure") is not None
    assert json.loads(Path("o.sarif").read_text())["runs"] and json.loads(Path("o.json").read_text())["budgets"]
    assert Path("o.md").read_text().startswith("### dcz check") and Path("o.txt").read_text().endswith("# EOF\n")


def test_a_report_that_cannot_be_written_is_told_first(refuses, run, folder):
    refuses(["check", "models/a.dcz", "--max-size", "1", "--format", "json=no/o.json"], 6, "does not exist")


def test_every_result_is_published_where_one_cannot_be(run, folder, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder))  # a folder
    code, out, err = run("check", "models/a.dcz", "--max-size", "1", "--format", "junit=o.xml")
    assert code == 6 and "MISSED" in out and "::error" in err and Path("o.xml").exists() and "summary" in err


# -- GitHub ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def github(folder, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(folder))
    Path("summary.md").write_text("before\n")
    return folder


@pytest.mark.parametrize("limit, code", [("1MB", 0), ("1", 1)])
def test_a_workflow_gets_annotations_and_a_summary(run, github, limit, code):
    found, out, err = run("check", "models/a.dcz", "--max-size", limit)
    assert found == code and err.count("::error file=models/a.dcz,line=1,") == code and "::" not in out
    summary = Path("summary.md").read_text()
    assert summary.startswith("before\n### dcz check") and ("missed" in summary) == (code == 1)
    run("check", "models/a.dcz", "--max-size", limit)
    assert Path("summary.md").read_text().count("### dcz check") == 2


def test_the_line_of_the_budget_is_annotated(run, github):
    config('\n\n[[check]]\npath = "models/a.dcz"\nmax-size = { warn = 1, fail = 2 }\n')
    code, _, err = run("check")
    assert code == 1 and re.findall(r"^::(\w+) file=dcz.toml,line=4,", err, flags=re.M) == ["warning", "error"]


def test_json_on_stdout_stays_json_in_a_workflow(run, github):
    _, out, err = run("check", "models/a.dcz", "none.dcz", "--max-size", "1", "--json")
    assert json.loads(out)["holds"] is False and err.count("::error ") == 2


def test_annotations_on_stdout_are_not_told_twice(run, github):
    _, out, err = run("check", "models/a.dcz", "--max-size", "1", "--format", "github")
    assert out.startswith("::error ") and "::error" not in err


def test_no_summary_and_no_annotations_outside_of_a_workflow(run, folder, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    _, out, err = run("check", "models/a.dcz", "--max-size", "1")
    assert "::" not in out + err and not Path("summary.md").exists()


def test_a_summary_that_github_would_refuse_is_one_sentence(run, github, monkeypatch):
    monkeypatch.setattr("dcz.cli.check_output.MAX_SUMMARY", 100)
    run("check", "models/a.dcz", "--max-size", "1")
    assert "0 of 1 within budget, 1 missed; the log has the rest" in Path("summary.md").read_text()
