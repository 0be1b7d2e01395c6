"""What a stranger stumbles over at first: wrong files, empty values, missing folders, answers that are none."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

import dcz
from dcz import cli
from tests import models
from tests.networks import packed_perceptron, perceptron


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """net.onnx and net.dcz, in the current folder."""
    monkeypatch.chdir(tmp_path)
    onnx.save(perceptron(), "net.onnx")
    Path("net.dcz").write_bytes(packed_perceptron())
    return tmp_path


# -- help --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_fits_eighty_columns(run, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run(command, "--help")
    assert code == 0 and max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("command", [name for name in cli.COMMANDS if name not in cli.GROUPS["Help"]])
def test_every_command_groups_its_options(run, command):
    out = run(command, "--help")[1]
    headings = [line for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert len(headings) >= 3 and headings[-1] == "Output:" and "Options:" not in headings
    assert len([line for line in out.splitlines() if line.lstrip().startswith("--json")]) <= 1


# -- what is given -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [
    ["compress", "net.onnx", "--include", ""], ["compress", "net.onnx", "-o", ""], ["compress", ""],
    ["compress", "net.onnx", "--output-dir", ""], ["decompress", "net.dcz", "-o", ""], ["inspect", ""],
    ["check", "net.dcz", "--max-size", ""], ["check", "net.dcz", "--max-growth", "1%", "--baseline", ""],
    ["evaluate", "net.dcz", "--data", "x.npz", "--labels", ""], ["verify", "net.dcz", "--sha256", ""],
    ["diff", "net.dcz", ""], ["report", "net.dcz", "-o", ""], ["sensitivity", "net.onnx", "--data", ""],
    ["samples", "net.onnx", "--for", ""], ["retrain", "net.onnx", "--data", "x.npz", "--labels", ""],
])  # fmt: skip
def test_a_value_that_is_empty_is_wrong_usage(refuses, arguments):
    refuses(arguments, 2, "is empty")


def test_a_file_that_is_compressed_already_is_told_so_first(refuses):
    for arguments in (["net.dcz"], ["net.dcz", "-o", "new.dcz"], ["net.dcz", "-f"], ["net.dcz", "--max-size", "1kB"]):
        words = "net.dcz: not an ONNX model but a .dcz file already: `dcz decompress net.dcz`"
        refuses(["compress", *arguments], 3, words)


@pytest.mark.parametrize("digest", ["abc", "g" * 64, "a" * 63, "a" * 65])
def test_what_is_no_sha256_is_wrong_usage(refuses, digest):
    refuses(["verify", "net.dcz", "--sha256", digest], 2, "64 hexadecimal digits")


def test_a_sha256_of_another_file_is_no_wrong_usage(run):
    assert run("verify", "net.dcz", "--sha256", "A" * 64)[0] == 1


# -- folders -----------------------------------------------------------------------------------------------------------


def test_samples_of_a_folder_that_is_not_there_are_a_missing_file(refuses):
    refuses(["samples", "nowhere", "--for", "net.onnx"], 6, "nowhere: cannot be read: No such file or directory")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_cannot_be_read_is_told(refuses):
    os.mkdir("closed", 0)
    refuses(["check", "closed/*.dcz", "--max-size", "1MB"], 6, "closed: this folder cannot be read")


def test_a_folder_that_fails_is_not_an_empty_one(refuses, monkeypatch):
    os.mkdir("closed")

    def fail(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("dcz.budget.config.os.scandir", fail)
    refuses(["check", "closed/*.dcz", "--max-size", "1MB"], 6, "closed: this folder cannot be read: Permission denied")


# -- what is said ------------------------------------------------------------------------------------------------------


def test_answers_that_are_no_numbers_are_not_called_equal(run):
    nodes = [onnx.helper.make_node("MatMul", ["x", "w"], ["h"]), onnx.helper.make_node("Log", ["h"], ["y"])]
    weight = models.tensor("w", -np.abs(models.normal(64, 10)))
    onnx.save(models.model(nodes, {"x": ["n", 64]}, {"y": ["n", 10]}, [weight]), "nan.onnx")
    dcz.compress("nan.onnx", "nan.dcz")
    np.savez("x.npz", x=np.abs(models.normal(8, 64)), y=np.zeros(8, np.int64))
    _, out, err = run("evaluate", "nan.dcz", "--data", "x.npz", "--against", "nan.onnx", "--labels", "y")
    assert "no figure, for some answers are no numbers" in out and "difference  no numbers to compare" in out
    assert "equal" not in out and "nan nats" not in out and "no finite answer for 8 of 8 samples" in err
    _, out, _ = run("verify", "nan.dcz", "--data", "x.npz", "--against", "nan.onnx")
    assert "output y: no numbers to compare" in out
    _, out, _ = run("diff", "nan.onnx", "nan.dcz", "--data", "x.npz")
    assert "no numbers to compare" in out.splitlines()[-1]


def test_a_file_that_grew_is_said_to_be_larger(run):
    onnx.save(models.bag(models.tensor("w", models.normal(2, 2))), "tiny.onnx")
    os.mkdir("out")
    code, out, _ = run("compress", "tiny.onnx", "--output-dir", "out")
    assert code == 0 and "1 of 1 model compressed" in out and "times larger" in out and "smaller" not in out


def test_why_of_a_file_without_records_says_so(run):
    onnx.save(models.bag(models.tensor("w", models.normal(2, 2))), "tiny.onnx")
    dcz.compress("tiny.onnx", "tiny.dcz")
    assert run("inspect", "--why", "tiny.dcz")[1].startswith("tiny.dcz: no tensor has a record of its own")


def test_one_of_a_kind_is_said_in_the_singular(run):
    onnx.save(models.bag(models.tensor("w", models.normal(64, 64))), "one.onnx")
    dcz.compress("one.onnx", "one.dcz", dcz.Plan(include=("w",)))
    for arguments in (["inspect", "one.dcz"], ["inspect", "one.dcz", "-q"], ["verify", "one.dcz"],
                      ["diff", "one.onnx", "one.dcz"], ["compress", "one.onnx", "-f", "--include", "w"]):  # fmt: skip
        out = run(*arguments)[1]
        assert "1 tensors" not in out and "1 records" not in out and "1 others" not in out
