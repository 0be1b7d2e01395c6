"""`dcz samples`: what it writes, prints and warns of."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from dcz.cli import samples as command
from dcz.evaluation.preprocessing import PRESETS
from dcz.evaluation.samples import open_samples
from tests.evaluation.test_image_samples import COLOURS, classifier

pytest.importorskip("PIL", reason="the extra `images` brings Pillow")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """net.onnx, and images of four colours in images/."""
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    classifier("net.onnx")
    for name, colour in COLOURS.items():
        Path("images", name).mkdir(parents=True)
        for number in range(4):
            Image.fromarray(np.full((20 + number, 30, 3), colour, np.uint8)).save(f"images/{name}/{number}.jpg")
    return tmp_path


def test_samples_are_written_and_their_ranges_shown(run, folder):
    code, out, err = run("samples", "images", "--for", "net.onnx", "--preset", "0..1")
    assert code == 0 and "warning" not in err
    assert out.startswith("samples.npz: 16 samples of 'x', float32 3 x 16 x 16, 49.2 kB")
    assert [line.split()[0] for line in out.splitlines()[1:5]] == ["channel", "red", "green", "blue"]
    assert "mean confidence 100%, 25% of one class" in out
    assert set(open_samples("samples.npz").arrays) == {"x", "class"}
    assert run("evaluate", "net.onnx", "--data", "samples.npz", "--labels", "class")[0] == 0


def test_what_the_answers_speak_against_is_warned_of(run, folder):
    code, out, err = run("samples", "images", "--for", "net.onnx", "--preset", "0..255", "-o", "x.npz", "-q")
    assert code == 0 and out.count("\n") == 1
    assert "warning: with --preset" in err and "nats instead of" in err


def test_json_has_all_of_it(run, folder):
    _, out, _ = run("samples", "images", "--for", "net.onnx", "--mean", "0.5", "--bgr", "--limit", "4", "--json")
    found = json.loads(out)
    assert found["shape"] == [4, 3, 16, 16] and found["arrays"] == ["x", "class"] and len(found["files"]) == 4
    assert found["preprocessing"]["mean"] == [0.5] and found["preprocessing"]["bgr"] is True
    assert len(found["channels"]) == 3 and "chosen" in found["answers"]


@pytest.mark.parametrize(
    "options, code, words",
    [
        (["--range", "0..2"], 2, "a range of pixels is one of"),
        (["--mean", "a"], 2, "'a' is no number"),
        (["--crop", "99"], 2, "takes images of 16x16, not 99x99"),
        (["--resize", "0"], 2, "'0' is no size"),
        (["-o", "net.onnx"], 6, "is the input itself"),
    ],
)
def test_what_cannot_be_is_refused(options, code, words, run, folder):
    found, out, err = run("samples", "images", "--for", "net.onnx", *options)
    assert (found, out) == (code, "") and words in err and not Path("samples.npz").exists()


def test_an_input_of_whole_numbers_gets_pixels_whatever_their_size(run, folder):
    classifier("net.onnx", "nhwc", kind=2)  # uint8
    _, out, _ = run("samples", "images", "--for", "net.onnx", "--resize", "24", "--json")
    found = json.loads(out)
    assert (found["preprocessing"]["range"], found["dtype"]) == ("0..255", "uint8")


@pytest.mark.parametrize("command", [["samples", "images", "--for", "none.onnx", "-o", "old.npz"],
                                     ["run", "none.onnx", "--data", "x.npz", "-o", "old.npz"],
                                     ["run", "net.onnx", "--data", "none.npz", "-o", "old.npz"]])  # fmt: skip
def test_of_files_that_are_missing_the_input_is_told_and_not_the_output(command, run, folder):
    for name in ("old.npz", "x.npz"):
        np.savez(name, x=np.zeros((2, 3, 16, 16), np.float32))
    code, _, err = run(*command, "--force")
    assert code == 6 and re.search(r"none\.\w+: cannot be (read|opened): No such file", err) and "old.npz" not in err


def test_an_older_file_stays_without_force(run, folder):
    Path("samples.npz").write_bytes(b"mine")
    assert run("samples", "images", "--for", "net.onnx")[0] == 6 and Path("samples.npz").read_bytes() == b"mine"
    assert run("samples", "images", "--for", "net.onnx", "-f")[0] == 0


def test_the_command_knows_the_presets():
    assert list(PRESETS) == list(command.PRESETS)


def test_sounds_become_samples(run, tmp_path, monkeypatch):
    from tests.evaluation.test_sound_samples import TONE, model, write

    monkeypatch.chdir(tmp_path)
    write(Path("sounds/a.wav"), TONE)
    model(Path("net.onnx"))
    code, out, _ = run("samples", "sounds", "--for", "net.onnx")
    assert code == 0 and "2 samples of 'x', float32 100" in out and "windows of 0.0125 s, 8000 numbers a second" in out
    code, out, _ = run("samples", "sounds", "--for", "net.onnx", "-f", "--json")
    assert json.loads(out)["arrays"] == {"x": [2, 100]}
    code, _, err = run("samples", "sounds", "--for", "net.onnx", "--crop", "3", "-f")
    assert code == 2 and "--crop is for another kind of samples than sounds" in err


def test_text_becomes_samples(run, tmp_path, monkeypatch):
    pytest.importorskip("tokenizers")
    from tests.evaluation.test_text_samples import network, tokenizer

    monkeypatch.chdir(tmp_path)
    Path("lines.txt").write_text("the cat sat\non the mat dog\n")
    network(Path("net.onnx"))
    tokenizer(Path("t.json"))
    code, out, err = run("samples", "lines.txt", "--for", "net.onnx", "--tokenizer", "t.json")
    assert code == 0 and "2 samples of 'input_ids', int64 4" in out and "3.5 of 4 tokens a line" in out
    assert "does not know 14% of the tokens" in err
