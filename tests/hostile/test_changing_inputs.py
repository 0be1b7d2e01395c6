"""Files that change while they are read: told in a sentence, and the old output stays."""

import os

import numpy as np
import pytest
from onnx import helper

import dcz
from dcz.model import model_file
from tests import models
from tests.hostile.limits import QUICK, run_limited

OLD = b"the old output"
WAYS = {"plain": {"threads": 1}, "resume": {"threads": 1, "resume": True}, "workers": {"threads": 2, "workers": 2}}
LOSSLESS = dcz.PRESETS["lossless"]
NUMBERS = [{"offset": "1_0"}, {"offset": " 4"}, {"offset": "\u0663"}, {"length": "+16384"}, {"offset": "-1"}]


@pytest.fixture
def model(tmp_path):
    """A model of two layers whose data lies in net.data."""
    weights = [models.tensor(name, models.normal(64, 64, seed=seed)) for seed, name in enumerate("ab")]
    nodes = [helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("MatMul", ["h", "b"], ["y"])]
    proto = models.model(nodes, {"x": [1, 64]}, {"y": [1, 64]}, weights)
    (tmp_path / "net.dcz").write_bytes(OLD)
    return models.save(proto, tmp_path / "net.onnx", location="net.data")


def truncate(data):
    os.truncate(data, 4096)


def remove(data):
    data.unlink()


def rewrite(data):
    with open(data, "r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(bytes(100))


def replace(data):
    other = data.with_name("other")
    other.write_bytes(data.read_bytes())
    other.replace(data)


@pytest.mark.parametrize("change", [truncate, remove, rewrite, replace])
@pytest.mark.parametrize(
    "more", [{}, {"resume": True}, {"workers": 2, "threads": 2}], ids=["plain", "resume", "workers"]
)
def test_external_data_that_changes_is_no_crash_and_no_mixture(change, more, model):
    done = []

    def progress(name, *_):
        if not done:
            change(model.with_name("net.data"))
        done.append(name)

    with pytest.raises(dcz.FileAccess, match="net.data"):
        dcz.compress(model, model.with_name("net.dcz"), LOSSLESS, progress=progress, force=True, **more)
    assert model.with_name("net.dcz").read_bytes() == OLD
    assert not [name for name in os.listdir(model.parent) if name.endswith(".part")]


def test_a_model_that_changes_while_it_is_read_is_told(model, monkeypatch):
    fstat = os.fstat

    def changing(descriptor):
        status = fstat(descriptor)
        with open(model, "ab") as file:
            file.write(b"more")
        return status

    monkeypatch.setattr(model_file.os, "fstat", changing)
    with pytest.raises(dcz.FileAccess, match="changed while it was read"):
        dcz.compress(model, model.with_name("net.dcz"), force=True)


@pytest.mark.parametrize("entries", NUMBERS)
def test_numbers_are_the_digits_that_every_reader_takes(entries, model):
    import onnx

    proto = onnx.load(model, load_external_data=False)
    tensor = proto.graph.initializer[0]
    kept = {entry.key: entry.value for entry in tensor.external_data} | entries
    del tensor.external_data[:]
    for key, value in kept.items():
        tensor.external_data.add(key=key, value=value)
    model.write_bytes(proto.SerializeToString())
    with pytest.raises(dcz.UnsuitableModel, match="malformed location, offset or length"):
        dcz.compress(model, model.with_name("net.dcz"), force=True)


@pytest.mark.parametrize("command", [["compress", "-o", "out"], ["inspect"], ["verify"], ["decompress", "-o", "out"]])
def test_a_device_without_an_end_is_refused(command, tmp_path):
    used = run_limited(["-m", "dcz", *command, "/dev/zero"], cwd=tmp_path, address_space=2 << 30)
    assert used.code in (3, 4, 6) and "/dev/zero" in used.err and used.seconds < QUICK
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_an_output_that_is_no_file_is_refused_before_any_work(command, model, tmp_path):
    source = model if command == "compress" else dcz.compress(model, tmp_path / "in.dcz")
    used = run_limited(["-m", "dcz", command, source, "-o", "/dev/stdout"], cwd=tmp_path)
    assert used.code == 6 and "/dev/stdout" in used.err and used.out == ""


def test_data_is_what_was_there_when_nothing_changes(model):
    packed = dcz.compress(model, model.with_name("net.dcz"), LOSSLESS, force=True)
    assert np.array_equal(models.arrays(dcz.load(packed))["a"], models.normal(64, 64, seed=0))


def test_external_data_with_another_name_is_refused(model, tmp_path):
    """A hard link may be a file from anywhere."""
    os.link(model.with_name("net.data"), tmp_path / "other")
    with pytest.raises(dcz.UnsuitableModel, match="is a hard link.*`cp .* && mv "):
        dcz.compress(model, model.with_name("net.dcz"), force=True)


def test_what_a_checked_name_comes_to_mean_is_not_read(model, tmp_path):
    """A link to a file outside takes the place of the data after it was found to be good, and is gone in the end."""
    from dcz.model import open_model

    data, secret, kept = model.with_name("net.data"), tmp_path.parent / "secret", tmp_path / "kept"
    secret.write_bytes(bytes(data.stat().st_size))
    tensor = open_model(model).tensors[0]
    data.rename(kept)
    data.symlink_to(secret)
    with pytest.raises(dcz.FileAccess, match="has changed since it was found"):
        tensor.read()
    data.unlink()
    kept.rename(data)
    assert tensor.read().any()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("command", ["inspect", "verify", "decompress", "report"])
def test_a_pipe_is_refused_at_once_where_a_file_is_read_from_several_places(command, tmp_path):
    """Also one that nobody writes into."""
    os.mkfifo(tmp_path / "net.dcz")
    used = run_limited(["-m", "dcz", command, "net.dcz"], cwd=tmp_path)
    assert used.code == 6 and "net.dcz: is a pipe" in used.err
    assert os.listdir(tmp_path) == ["net.dcz"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_diff_refuses_a_pipe_on_either_side(model, tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    for pair in (["net.onnx", "pipe.onnx"], ["pipe.onnx", "net.onnx"]):
        used = run_limited(["-m", "dcz", "diff", *pair], cwd=tmp_path)
        assert used.code == 6 and "pipe.onnx: is a pipe" in used.err
