"""`dcz retrain` as a user meets it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest

import dcz
from tests import ROOT
from tests.networks import perceptron

pytest.importorskip("torch")

from tests.train.samples import clusters

TWO = ["--sparsity", "0.9", "--bits", "3", "--epochs", "2", "--share-epochs", "1", "--threads", "1"]
ASKED = [*TWO, "--learning-rate", "0.01"]  # which is looked for otherwise, by runs that take longer than these
LEARN = ["net.onnx", "--data", "train.npz", "--labels", "y", *ASKED]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with net.onnx, train.npz (x, y) and test.npz."""
    monkeypatch.chdir(tmp_path)
    onnx.save(perceptron(), "net.onnx")
    for name, seed in (("train.npz", 0), ("test.npz", 1)):
        x, y = clusters(300, seed)
        np.savez(name, x=x, y=y, other=np.zeros(3))
    return tmp_path


@pytest.fixture
def run(run, folder):
    """Run `dcz retrain` in the folder."""
    return partial(run, "retrain")


def test_it_says_what_came_of_it(run):
    code, out, err = run(*LEARN[:5], *TWO, "--keep-idle", "-v")
    assert code == 0 and "net.dcz" in out and "times smaller" in out and "fc1.weight" in out
    assert all(len(line) <= 100 for line in out.splitlines())
    told = " ".join(out.split())
    assert re.search(r"90\.\d\d% of the pruned tensors' weights are zero; validation loss .* error ", told)
    assert re.search(r"\S+% before, \S+% pruned, \S+% in the file \(95% interval \S+% to \S+%, of 30 answers\)", told)
    doubt, *lines = (line for line in err.splitlines() if not line.startswith("retraining "))  # after ten seconds
    assert "no more than chance" in doubt and "an untrained model is like that" in doubt
    assert [line.split()[:2] for line in lines] == [["prune", "1/2"], ["prune", "2/2"], ["share", "1/1"]]
    assert re.search(r"loss \S+  validation \S+  error \S+%  zero \S+%  about \S+ k?B", lines[0])
    assert not Path("net.dcz.checkpoint").exists()


def test_of_a_file_made_without_training_nothing_of_the_training_is_said():
    from dcz.cli.retrain_told import text as _text
    from dcz.train import Retrained

    made = Retrained(
        "net.dcz", 10, 100, 0.3, (0.0, None), (0.4, None), (), (), (0.3, None), (0.25, None), is_plain=True
    )
    assert _text(made) == "made by compress, without training; validation loss 0.0000 before, 0.2500 in the file"


def test_json_has_everything_and_is_alone_on_stdout(run):
    code, out, _ = run(*LEARN, "--validation", "test.npz", "--json", "-o", "small.dcz")
    found = json.loads(out)
    assert code == 0 and found["path"] == "small.dcz" and found["file_bytes"] == Path("small.dcz").stat().st_size
    assert [epoch["phase"] for epoch in found["epochs"]] == ["prune", "prune", "share"] and "report" in found
    assert round(found["after"][1] * 300) == dcz.evaluate("small.dcz", "test.npz", "y").errors


def test_without_labels_it_distills(run):
    code, out, _ = run("net.onnx", "--data", "train.npz", *ASKED, "-q")
    assert code == 0 and "validation loss" in out and "error" not in out and "fc1.weight" not in out
    assert run(*LEARN, "--distill", "-f", "-q")[0] == 0


def test_strict_fails_where_the_error_rises_by_more_than_is_allowed(run):
    spoil = ["--learning-rate", "1e-9", "--share-epochs", "0", "--max-drop", "1%", "-f", "-q", "-o", "strict.dcz"]
    assert run(*LEARN, "-f", "-q", "--max-drop", "1%", "--strict")[0] == 0
    import dcz

    dcz.decompress("net.dcz", "trained.onnx")
    asked = ["trained.onnx", "--data", "train.npz", "--labels", "y", "--sparsity", "99.5%", "--epochs", "1", *spoil]
    code, out, err = run(*asked)
    assert code == 0 and "points, more than the 1 that are allowed" in err
    assert run(*asked, "--strict")[0] == 1
    code, _, err = run(*LEARN, "--strict")
    assert code == 2 and "give --max-drop too" in err


def test_the_same_command_gives_the_same_bytes(run):
    for name in ("a.dcz", "b.dcz"):
        assert run(*LEARN, "-q", "-o", name)[0] == 0
    assert Path("a.dcz").read_bytes() == Path("b.dcz").read_bytes()


def test_one_line_of_progress_on_a_terminal(run, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    code, _, err = run(*LEARN)
    assert code == 0 and "prune   1/2" not in err  # a line an epoch is for -v


def test_in_a_pipe_a_line_tells_the_phase(run, monkeypatch):
    monkeypatch.setattr("dcz.display.work.EVERY", 0.0)
    code, _, err = run(*LEARN)
    assert code == 0 and re.search(r"retraining \d+ %.*, prune 1 of 2, loss ", err)
    assert re.search(r"retraining 100 %, share 1 of 1, loss ", err)


@pytest.mark.parametrize("arguments, code, words", [
    ([*LEARN, "--sparsity", "1.5"], 2, "sparsity is a number from 0 to 0.9999"),
    ([*LEARN, "--bits", "9"], 2, "bits is a whole number from 1 to 8"),
    ([*LEARN, "--schedule", "linear"], 2, "cubic, steps"),
    ([*LEARN, "--labels", "z"], 2, "no array 'z'"),
    ([*LEARN, "--labels", "x"], 2, "whole numbers"),
    ([*LEARN, "--labels", "other"], 2, "other"),
    ([*LEARN, "--validation-labels", "y"], 2, "--validation"),
    ([*LEARN, "--checkpoint", "c", "--no-checkpoint"], 2, "not both"),
    ([*LEARN, "--temperature", "2"], 2, "those of --distill"),
    ([*ASKED, "net.onnx", "--data", "train.npz", "--label-share", "0.5"], 2, "that of --labels"),
    ([*LEARN, "--plan", "missing.toml"], 6, "missing.toml"),
    ([*LEARN, "--validation", "missing.npz"], 6, "missing.npz"),
    ([*LEARN, "-o", "train.npz", "-f"], 6, "input itself"),
    ([*LEARN, "-o", "no/net.dcz"], 6, "create it first"),
    (["net.onnx", "--labels", "y"], 2, "--data"),
    (["net.onnx", "--data", "train.npz", "--labels", "y"], 2, "nothing to do"),
    (["train.npz", "--data", "train.npz", "--bits", "3"], 3, "not an ONNX model"),
    (["missing.onnx", "--data", "train.npz", "--bits", "3"], 6, "missing.onnx"),
])  # fmt: skip
def test_every_failure_has_its_code_and_says_why(refuses, arguments, code, words):
    refuses(arguments, code, words)


def test_a_dcz_file_is_no_model_to_retrain(run):
    dcz.compress("net.onnx", "small.dcz")
    code, _, err = run("small.dcz", "--data", "train.npz", "--bits", "3", "-o", "out.dcz")
    assert code == 3 and "small.dcz: not an ONNX model but a .dcz file" in err and "decompress" in err


def test_few_samples_are_told_to_measure_nothing_and_idle_weights_may_stay(run):
    x, y = clusters(1)
    np.savez("one.npz", x=x, y=y)
    one = ["net.onnx", "--data", "one.npz", "--labels", "y", *ASKED, "-q"]
    code, out, err = run(*one)
    assert code == 0 and "nothing was measured" in out and "--keep-idle" in err
    code, out, err = run(*one, "-f", "--keep-idle")
    assert code == 0 and "90.00% of the pruned tensors' weights are zero; nothing was measured" in out and not err


def test_an_output_that_exists_wants_force(run):
    Path("net.dcz").write_bytes(b"old")
    code, _, err = run(*LEARN)
    assert code == 6 and "--force" in err and Path("net.dcz").read_bytes() == b"old"
    assert run(*LEARN, "--force", "-q")[0] == 0


def test_validation_wants_labels_of_its_own(run, folder):
    np.save("labels.npy", clusters(300)[1])
    arguments = ["net.onnx", "--data", "train.npz", "--labels", "labels.npy", *ASKED, "--validation", "test.npz", "-q"]
    code, _, err = run(*arguments)
    assert code == 2 and "labels of their own" in err
    assert run(*arguments, "--validation-labels", "y")[0] == 0


def test_the_help_has_all_options_under_headings(run):
    from dcz.cli.retrain import SECTIONS, command

    named = [name for names in SECTIONS.values() for name in names]
    options = {param.name for param in command.params if param.param_type_name == "option"}
    assert len(named) == len(set(named)) and {*options} - set(named) - {"quiet", "verbose"} == {"as_json"}
    code, out, _ = run("--help")
    assert code == 0 and all(f"{title}:" in out for title in [*SECTIONS, "Output", "Example"])


@pytest.mark.parametrize("missing", ["torch", "torch rich"])
def test_a_missing_torch_is_told_with_how_to_install_it(missing, folder):
    code = (
        f"import sys; sys.modules.update(dict.fromkeys('{missing}'.split())); import dcz.cli; "
        "sys.argv = ['dcz', 'retrain', 'net.onnx', '--data', 'train.npz', '--bits', '3']; dcz.cli.main()"
    )
    done = _process(["-c", code])
    _, err = done.communicate()
    assert done.returncode == 7 and "pip install 'dcz[train]'" in err and "Traceback" not in err


# -- runs that are stopped ---------------------------------------------------------------------------------------------


def _process(arguments) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=_heed_interrupts
    )


def _heed_interrupts() -> None:
    """A shell without job control starts what it puts into the background with SIGINT ignored, and so these tests."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


LONG = [*LEARN, "--epochs", "40", "--share-epochs", "1"]


def _stopped(by: int) -> tuple[int, str]:
    """Start a long run, stop it once there is a checkpoint, and return its exit code and stderr."""
    process = _process(["-m", "dcz", "retrain", *LONG])
    while not Path("net.dcz.checkpoint").exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(by)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def test_a_run_that_is_asked_to_end_ends(folder):
    code, err = _stopped(signal.SIGTERM)  # it may fall into the writing of a checkpoint
    assert code == 143 and "net.dcz.checkpoint holds what is done" in err and "dcz: error" not in err


def test_a_run_killed_at_any_moment_goes_on_to_the_same_bytes(run):
    assert _stopped(signal.SIGKILL)[0] == -signal.SIGKILL
    assert Path("net.dcz.checkpoint").exists() and not Path("net.dcz").exists()
    code, _, err = run(*LONG, "-v")
    assert code == 0 and "going on from net.dcz.checkpoint" in err and "prune   1/40" not in err
    assert run(*LONG, "-q", "-o", "whole.dcz")[0] == 0
    assert Path("net.dcz").read_bytes() == Path("whole.dcz").read_bytes()


def test_an_interrupt_says_what_is_left(folder):
    code, err = _stopped(signal.SIGINT)
    assert code == 130 and "net.dcz.checkpoint holds what is done; the same command goes on from there" in err
    assert Path("net.dcz.checkpoint").exists() and "Traceback" not in err


def test_a_folder_of_samples_trains_and_validates(run):
    samples = np.load("train.npz")
    for folder, rows in (("train", range(200)), ("held", range(200, 300))):
        Path(folder).mkdir()
        for row in rows:
            np.savez(f"{folder}/{row}", x=samples["x"][row], y=samples["y"][row])
    options = ["--labels", "y", "--validation", "held", "--batch-axis", "x=0", *ASKED, "-q"]
    code, out, _ = run("net.onnx", "--data", "train", *options)
    assert code == 0 and "of 100 answers" in out
    code, _, err = run("net.onnx", "--data", "train", "--batch-axis", "z=1", *ASKED, "-f")
    assert code == 2 and "has no input 'z' for a batch axis: it has 'x'" in err
