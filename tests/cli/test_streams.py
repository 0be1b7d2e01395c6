"""`-` for standard input and output: what comes in is spooled, what goes out is whole, and nothing else goes there."""

import io
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest

import dcz
from tests import ROOT, models
from tests.networks import perceptron

X = models.normal(5, 64)


@pytest.fixture
def packed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(perceptron(), "net.onnx")
    return dcz.compress("net.onnx", "net.dcz").path


def piped(*arguments: str, given: bytes = b"") -> tuple[int, bytes, str]:
    """Run the command in a pipe of its own: exit code, standard output, standard error."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "dcz", *arguments], input=given, capture_output=True, env=environment)
    return done.returncode, done.stdout, done.stderr.decode()


def test_there_and_back_through_pipes(packed):
    code, out, err = piped("compress", "-", given=(packed.parent / "net.onnx").read_bytes())
    assert (code, out) == (0, packed.read_bytes()) and "standard output: " in err and "smaller" in err
    code, out, err = piped("decompress", "-", given=out)
    assert (code, out, err) == (0, dcz.load(packed).SerializeToString(deterministic=True), "")
    code, out, _ = piped("inspect", "-", "--json", given=packed.read_bytes())
    assert code == 0 and b'"path": "standard input"' in out


def test_one_end_may_be_a_file(packed, tmp_path):
    assert piped("compress", "net.onnx", "-o", "-")[1] == packed.read_bytes()
    code, out, _ = piped("compress", "-", "-o", "again.dcz", given=(tmp_path / "net.onnx").read_bytes())
    assert code == 0 and b"again.dcz: " in out and (tmp_path / "again.dcz").read_bytes() == packed.read_bytes()
    assert piped("decompress", "-", "-o", "again.onnx", "-q", given=packed.read_bytes())[:2] == (0, b"")
    assert (tmp_path / "again.onnx").read_bytes() == piped("decompress", "net.dcz", "-o", "-")[1]


def test_a_small_form_goes_to_standard_output_too(packed):
    code, out, err = piped("decompress", "net.dcz", "--as", "gather", "-o", "-")
    assert code == 0 and "answers on drawn inputs: equal to the dense model's, to the bit" in err
    assert np.array_equal(models.run(onnx.load_from_string(out), x=X)[0], models.run(dcz.load(packed), x=X)[0])


@pytest.mark.parametrize(
    "arguments, given, code, words",
    [
        (["decompress", "-"], b"junk", 4, "standard input: not a .dcz file"),
        (["compress", "-"], b"junk", 3, "standard input: not an ONNX model"),
        (["inspect", "-"], b"", 3, "standard input: not an ONNX model"),
        (["decompress", "net.dcz", "-o", "-", "--json"], b"", 2, "--json goes to standard output"),
        (["compress", "net.onnx", "-o", "-", "--json"], b"", 2, "--json goes to standard output"),
        (["decompress", "net.dcz", "-o", "-", "--data-name", "x"], b"", 2, "beside the model"),
        (["compress", "-", "net.onnx"], b"", 2, "- is for one model"),
        (["compress", "-", "--output-dir", "out"], b"", 2, "- is for one model"),
        (["inspect", "-", "-"], b"", 2, "standard input can be read once"),
        (["verify", "-"], b"", 2, "cannot be used here"),
        (["compress", "missing.onnx", "-o", "-"], b"", 6, "missing.onnx: cannot be read"),
    ],
)
def test_failures_are_named_and_nothing_comes_out(arguments, given, code, words, packed):
    found, out, err = piped(*arguments, given=given)
    assert (found, out) == (code, b"") and words in err and "dcz-stream" not in err and "Traceback" not in err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_terminals_get_and_give_no_binary(packed, run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Terminal())
    for command in ("compress", "decompress", "inspect"):
        code, out, err = run(command, "-", *(["-o", "x"] if command != "inspect" else []))
        assert (code, out) == (2, "") and "standard input is a terminal" in err
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    code, _, err = run("decompress", packed, "-o", "-")
    assert code == 2 and terminal.getvalue() == "" and "standard output is a terminal" in err


def test_temporary_files_go(packed, tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    assert piped("decompress", "-", given=packed.read_bytes())[0] == 0
    assert piped("decompress", "-", given=packed.read_bytes()[:-9])[0] == 4
    assert list(folder.iterdir()) == []
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    code, out, err = piped("decompress", "-", given=packed.read_bytes())
    assert code in (0, 6) and "Traceback" not in err  # tempfile looks for another folder, which may be there
    assert (code == 0) == (out != b"")
