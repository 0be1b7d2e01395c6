"""Disks that are full or broken: whichever call fails, the old output stays, and nothing else is left."""

import errno
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import dcz
from dcz import cli
from dcz.files import temporaries
from dcz.model import raw_data
from tests import models
from tests.evaluation import test_text_samples as texts
from tests.hostile.faults import ERRORS, Faults

OLD = b"the old output"
# A command, its outputs, and what a fault may leave: a journal is there to go on from.
COMMANDS = {
    "compress": ("compress net.onnx -o out.dcz -f", ["out.dcz"], []),
    "resume": ("compress net.onnx -o out.dcz -f --resume", ["out.dcz"], ["out.dcz.partial"]),
    "size": ("compress net.onnx -o out.dcz -f --max-size 14kB", ["out.dcz"], []),
    "folder": ("compress net.onnx -f --output-dir .", ["net.dcz"], []),
    "decompress": ("decompress in.dcz -o out.onnx -f", ["out.onnx"], []),
    "outside": ("decompress in.dcz -o out.onnx -f --external-data always", ["out.onnx"], []),
    "named": ("decompress in.dcz -o out.onnx -f --data-name out.bin", ["out.onnx", "out.bin"], []),
    "calibrated": ("compress net.onnx -o out.dcz -f --calibrate x.npz --ratio 4 --no-resume", ["out.dcz"], []),
    "retrain": (
        "retrain net.onnx -o out.dcz -f --data x.npz --bits 3 --share-epochs 1 --learning-rate 0.01",
        ["out.dcz"],
        ["out.dcz.checkpoint"],
    ),
    "gather": ("decompress in.dcz -o out.onnx -f --as gather", ["out.onnx"], []),
    "qdq": ("decompress in.dcz -o out.onnx -f --as qdq", ["out.onnx"], []),
    "answers": ("run in.dcz --data x.npz -o out.npz -f", ["out.npz"], []),
    "samples": ("samples words.txt --for words.onnx --tokenizer words.json -o out.npz -f", ["out.npz"], []),
    "report": ("report in.dcz -o out.html -f", ["out.html"], []),
    "baseline": ("check in.dcz --baseline out.json --update-baseline", ["out.json"], []),
    "sensitivity": ("sensitivity net.onnx --data x.npz -o out.toml --force", ["out.toml"], []),
    "formats": ("check in.dcz --max-size 1MB --format json=out.json", ["out.json"], []),
}
NEEDED = ("write", "truncate", "fsync", "link", "replace")  # without these there is no new output


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A model and its file, and old outputs of their kinds."""
    folder = tmp_path_factory.mktemp("sources")
    weights = [models.tensor(f"w{i}", models.normal(40, 50, seed=i)) for i in range(3)]
    nodes = [helper.make_node("MatMul", ["x", f"w{i}"], [f"y{i}"]) for i in range(3)]
    models.save(models.model(nodes, {"x": [1, 40]}, {"y0": [1, 50]}, weights), folder / "net.onnx")
    dcz.compress(folder / "net.onnx", folder / "in.dcz", quality=30)
    np.savez(folder / "x.npz", x=models.normal(12, 40))
    texts.network(folder / "words.onnx")
    texts.tokenizer(folder / "words.json")
    (folder / "words.txt").write_text("the cat sat\non a mat\n")
    return folder


def prepared(sources: Path, folder: Path, outputs: list[str]) -> None:
    for path in folder.iterdir():
        path.unlink()
    for path in sources.iterdir():
        shutil.copy(path, folder)
    for name in outputs:
        old = b'{"version": 1, "files": {}}' if name.endswith(".json") else OLD
        (folder / name).write_bytes(old)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


NO_THREADS = ("baseline", "formats", "samples")  # they have no such option
WANTED = {"retrain": "torch", "samples": "tokenizers"}
SLOW = ("size", "sensitivity", "calibrated", "retrain")  # `make crash` has them


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in COMMANDS]
)
def test_whichever_call_fails_the_old_output_stays(name, sources, tmp_path, monkeypatch, capsys):
    command, outputs, may_stay = COMMANDS[name]
    if name in WANTED:
        pytest.importorskip(WANTED[name])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(temporaries, "IN_MEMORY", 1000)  # so that what is spooled reaches the disk
    monkeypatch.setattr(raw_data, "LARGE", 1000)  # so that tensors do not pass through protobuf
    monkeypatch.setattr(sys, "argv", ["dcz", *command.split(), *([] if name in NO_THREADS else ["--threads=1"])])

    def run(faults: Faults) -> tuple[int, str]:
        with faults:
            code = cli._run()
        return code, capsys.readouterr().err

    if name in WANTED:  # what is imported when it is needed makes files of its own the first time
        prepared(sources, tmp_path, outputs)
        run(Faults())
    prepared(sources, tmp_path, outputs)
    code, err = run(counted := Faults())
    assert code == 0, err
    new, points = contents(tmp_path), len(counted.calls)
    assert {"write", "fsync", "replace"} <= set(counted.calls)
    for number in range(1, points + 1):
        prepared(sources, tmp_path, outputs)
        old = contents(tmp_path)
        code, err = run(faults := Faults(number, ERRORS[number % 2]))
        assert faults.hit is not None and "Traceback" not in err, (faults.hit, err)
        found = {each: data for each, data in contents(tmp_path).items() if each not in may_stay}
        if code == 0:
            assert faults.hit not in NEEDED and found == new, (number, faults.calls)
        else:
            assert code == dcz.FileAccess.exit_code, err
            is_gone = name == "named" and "out.onnx" not in found  # rather than one with the weights of another
            assert found == old or is_gone, (number, faults.calls, found.keys() ^ old.keys())
        if number in (2, points // 2):  # and the next one finds nothing in its way
            assert run(Faults())[0] == 0 and contents(tmp_path) == new


def test_samples_that_cannot_be_written_leave_the_old_ones(sources, tmp_path, monkeypatch):
    from dcz.evaluation.samples import Samples, write_samples

    path = tmp_path / "x.npz"
    made = Samples("", {"x": np.zeros((30, 4000), np.float32)})
    with Faults() as counted:
        write_samples(path, made)
    for number in range(1, len(counted.calls) + 1):
        path.write_bytes(OLD)
        with Faults(number, errno.EIO) as faults:
            try:
                write_samples(path, made, force=True)
                assert faults.hit not in NEEDED
            except dcz.FileAccess:
                assert path.read_bytes() == OLD
        assert os.listdir(tmp_path) == ["x.npz"]
