"""Folders of models as input, of every command that takes several files."""

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest

import dcz
from tests.networks import perceptron


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch) -> None:
    """models/one.onnx, models/deep/two.onnx, and packed/ with both as .dcz, in the current folder."""
    monkeypatch.chdir(tmp_path)
    os.makedirs("models/deep")
    for name, hidden in (("one", 48), ("deep/two", 64)):
        onnx.save(perceptron(hidden=hidden), f"models/{name}.onnx")
    Path("models/readme.txt").write_text("no model")
    dcz.compress_all(["models"], "packed", recursive=True)


def test_inspect(run):
    code, out, _ = run("inspect", "packed", "-r", "-q")
    assert code == 0 and out.splitlines()[0].startswith("packed/one.dcz: ") and "packed/deep/two.dcz: " in out
    assert run("inspect", "packed", "-q")[1].count("\n") == 1
    code, out, _ = run("inspect", "models", "packed/one.dcz", "-r", "--json")
    assert [each["path"] for each in json.loads(out)["files"]] == [
        "models/one.onnx", "models/deep/two.onnx", "packed/one.dcz"
    ]  # fmt: skip


def test_check_looks_at_dcz_files_or_where_there_are_none_at_models(run):
    code, out, _ = run("check", "packed", "-r", "--max-size", "1MB")
    assert code == 0 and "file packed/deep/two.dcz" in out and "2 of 2 within budget" in out
    assert run("check", "packed", "-r", "--max-size", "1kB")[0] == 1
    assert "file models/one.onnx" in run("check", "models", "--max-size", "1MB")[1]
    dcz.compress("models/one.onnx", "models/one.dcz")
    assert "models/one.onnx" not in run("check", "models", "--max-size", "1MB")[1]


def test_verify(run):
    code, out, _ = run("verify", "packed", "-r")
    assert code == 0 and out.count("intact") == 2 and out.endswith("2 of 2 files verified\n")
    code, out, _ = run("verify", "packed", "-r", "--against", "models")
    assert code == 0 and "signal to error" not in out
    worst = dcz.verify("packed/one.dcz", against="models/one.onnx").worst_first[0]
    assert (
        out.count("; worst, ") == 2 and f"; worst, {min(worst.decibels, worst.typical):.1f} dB: {worst.name}\n" in out
    )
    assert run("verify", "packed", "-r", "--against", "models", "-v")[1].count("signal to error") == 2
    assert "signal to error" in run("verify", "packed/one.dcz", "--against", "models/one.onnx")[1]
    code, out, _ = run("verify", "packed", "-r", "--against", "models", "--json")
    files = json.loads(out)["files"]
    assert code == 0 and [each["path"] for each in files] == ["packed/one.dcz", "packed/deep/two.dcz"]
    assert all(each["outputs"] and each["tensors"] for each in files)


def test_verify_of_one_that_fails_looks_at_the_others(run):
    Path("packed/bad.dcz").write_bytes(Path("packed/one.dcz").read_bytes()[:-9])
    code, out, err = run("verify", "packed", "-r")
    assert code == 4 and out.count("intact") == 2 and "dcz: error: packed/bad.dcz" in err
    assert "2 of 3 files verified" in out
    code, out, _ = run("verify", "packed", "-r", "--json")
    assert code == 4 and "error" in json.loads(out)["files"][0]
    np.savez("x.npz", x=np.zeros((20, 64), np.float32))
    code, _, err = run("verify", "packed", "-r", "--against", "models")  # there is no models/bad.onnx either
    assert code == 4 and "packed/bad.dcz" in err


def test_decompress(run):
    code, out, _ = run("decompress", "packed", "-r", "--output-dir", "out")
    assert code == 0 and "2 of 2 models decoded" in out and "times larger" in out
    for name in ("one", "deep/two"):
        assert onnx.load(f"out/{name}.onnx") == dcz.load(f"packed/{name}.dcz")
    assert run("decompress", "packed", "-r", "--output-dir", "out")[0] == 6  # they are there
    code, out, _ = run("decompress", "packed/one.dcz", "packed/deep/two.dcz", "--output-dir", "flat", "--json")
    assert code == 0 and [each["output"] for each in json.loads(out)["models"]] == ["flat/one.onnx", "flat/two.onnx"]


def test_decompress_of_one_that_fails_decodes_the_others(run):
    Path("packed/bad.dcz").write_text("no file of ours")
    code, out, err = run("decompress", "packed", "-r", "--output-dir", "out")
    assert code == 4 and "2 of 3 models decoded" in out and "packed/bad.dcz" in err
    assert Path("out/deep/two.onnx").exists() and not Path("out/bad.onnx").exists()


@pytest.mark.parametrize("command, folder", [
    ("compress", "models"), ("inspect", "models"), ("verify", "packed"), ("decompress", "packed"), ("check", "packed"),
])  # fmt: skip
def test_subfolders_that_are_left_out_are_told(run, command, folder):
    more = {"check": ["--max-size", "1MB"], "compress": ["--output-dir", "out"], "decompress": ["--output-dir", "out"]}
    told = f"dcz: warning: {folder}: its subfolders hold "
    code, _, err = run(command, folder, *more.get(command, []))
    assert code == 0 and err.count(told) == 1 and "files, too, which -r includes" in err
    more = more | {name: ["--output-dir", "all"] for name in ("compress", "decompress")}
    code, _, err = run(command, folder, "-r", *more.get(command, []))
    assert code == 0 and told not in err
    code, _, err = run(command, f"{folder}/deep", *more.get(command, []), *(["-f"] if command in more else []))
    assert told not in err


@pytest.mark.parametrize("arguments, words", [
    (["decompress", "packed", "-o", "x.onnx"], "--output names one file"),
    (["decompress", "packed", "--data-name", "x.data"], "--data-name names one file"),
    (["verify", "packed", "--sha256", "0" * 64], "--sha256 is that of one file"),
    (["inspect", "empty"], "empty: this folder holds no .dcz or .onnx file"),
    (["check", "empty", "--max-size", "1MB"], "empty: this folder holds no .dcz or .onnx file"),
    (["verify", "models"], "models: this folder holds no .dcz file"),
    (["decompress", "models"], "models: this folder holds no .dcz file"),
    (["inspect", "above"], "above: this folder holds no .dcz or .onnx file; -r looks into its subfolders, too"),
])  # fmt: skip
def test_what_makes_no_sense_of_a_folder_is_refused(refuses, arguments, words):
    os.mkdir("empty")
    os.makedirs("above/below")
    onnx.save(perceptron(), "above/below/net.onnx")
    refuses(arguments, 2, words)
