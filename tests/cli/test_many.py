"""`dcz compress` of several models."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import dcz
from tests.networks import correlated, perceptron


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch) -> None:
    """Two models, and a file that is none."""
    monkeypatch.chdir(tmp_path)
    for name, hidden in (("one", 48), ("two", 64)):
        onnx.save(perceptron(hidden=hidden), f"{name}.onnx")
    Path("text.onnx").write_text("no model\n" * 50)


def test_the_table_has_sizes_and_the_errors_are_told(run):
    code, out, err = run("compress", "one.onnx", "text.onnx", "two.onnx", "--output-dir", "out", "--preset", "small")
    assert code == 3
    assert "dcz: error: text.onnx: not an ONNX model" in err
    for name in ("one", "two"):
        before, after = Path(f"{name}.onnx").stat().st_size, Path(f"out/{name}.dcz").stat().st_size
        assert f"{before:,}" in out and f"{after:,}" in out and f"{before / after:.2f}" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["text.onnx", "failed"] in rows and "2 of 3 models compressed" in out  # why is on stderr, in full


def test_json_has_every_model_and_quiet_one_line(run):
    code, out, _ = run("compress", "one.onnx", "text.onnx", "missing.onnx", "--output-dir", "out", "--json")
    said = json.loads(out)
    assert code == said["exit_code"] == 8
    assert [row["exit_code"] for row in said["models"]] == [0, 3, 6]
    assert said["models"][0]["after"] == Path("out/one.dcz").stat().st_size and said["models"][0]["error"] is None
    code, out, err = run("compress", "one.onnx", "two.onnx", "--quiet")
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert Path("one.dcz").exists() and Path("two.dcz").exists()


def test_old_files_stay_without_force_and_the_others_are_made(run):
    assert run("compress", "one.onnx", "--output-dir", "out", "--bits", "4")[0] == 0
    old = Path("out/one.dcz").read_bytes()
    code, _, err = run("compress", "one.onnx", "two.onnx", "--output-dir", "out")
    assert code == 6 and "--force" in err
    assert Path("out/one.dcz").read_bytes() == old and Path("out/two.dcz").exists()
    assert run("compress", "one.onnx", "two.onnx", "--output-dir", "out", "--force")[0] == 0
    assert Path("out/one.dcz").read_bytes() != old


def test_budgets_and_samples_are_for_each(run):
    assert run("compress", "one.onnx", "two.onnx", "--output-dir", "out", "--ratio", "4")[0] == 0
    for name in ("one", "two"):
        assert dcz.inspect(f"out/{name}.dcz").ratio >= 4
    np.savez("x.npz", x=correlated(40))
    code, _, err = run("compress", "one.onnx", "two.onnx", "-f", "--ratio", "4", "--calibrate", "x.npz")
    assert code == 0 and err.count("calibrated on") == 2


def test_one_name_for_several_is_refused(refuses):
    refuses(["compress", "one.onnx", "two.onnx", "-o", "x.dcz"], 2, "--output-dir")
    refuses(["compress", "one.onnx", "-o", "x.dcz", "--output-dir", "out"], 2, "--output-dir")
    assert not Path("x.dcz").exists() and not Path("out").exists()
