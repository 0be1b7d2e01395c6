"""Models and their external data behind symbolic links, as the caches of model hubs keep them."""

import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import dcz
from dcz.errors import UnsuitableModel
from tests import models
from tests.networks import perceptron


@pytest.fixture
def cached(tmp_path) -> Path:
    """snapshots/abc/model.onnx -> ../../blobs/1111, and the data beside it -> ../../blobs/2222."""
    snapshot, blobs = tmp_path / "hub" / "snapshots" / "abc", tmp_path / "hub" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    models.save(perceptron(), snapshot / "model.onnx", location="model.onnx_data")
    for name, blob in (("model.onnx", "1111"), ("model.onnx_data", "2222")):
        (snapshot / name).rename(blobs / blob)
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
    return snapshot / "model.onnx"


@pytest.fixture
def samples(tmp_path) -> Path:
    x = models.normal(40, 64)
    np.savez(tmp_path / "x.npz", x=x, y=models.run(perceptron(), x=x)[0].argmax(1))
    return tmp_path / "x.npz"


COMMANDS = [
    ("compress", "MODEL", "-f", "-o", "OUT"),
    ("compress", "MODEL", "-f", "-o", "OUT", "--max-size", "20kB"),
    ("compress", "MODEL", "-f", "-o", "OUT", "--calibrate", "DATA", "--ratio", "4"),
    ("inspect", "MODEL"),
    ("verify", "PACKED", "--against", "MODEL", "--data", "DATA"),
    ("evaluate", "MODEL", "--data", "DATA", "--labels", "y"),
    ("sensitivity", "MODEL", "--data", "DATA", "--bits", "3", "--sparsity", "50%"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_reads_a_model_of_a_cache(command, cached, samples, tmp_path, run):
    packed = dcz.compress(perceptron(), tmp_path / "packed.dcz")
    files = {"MODEL": cached, "OUT": tmp_path / "out.dcz", "DATA": samples, "PACKED": packed}
    code, _, err = run(*(str(files.get(word, word)) for word in command))
    assert code == 0, err


def test_training_reads_a_model_of_a_cache(cached, samples, tmp_path):
    pytest.importorskip("torch")
    made = dcz.retrain(cached, tmp_path / "out.dcz", samples, labels="y", recipe=dcz.Recipe(sparsity=0.5, epochs=1))
    assert os.path.getsize(made.path) == made.file_bytes


def test_the_tensors_are_those_of_the_model(cached, tmp_path):
    with dcz.open(dcz.compress(cached, tmp_path / "net.dcz", dcz.Settings(lossless=True))) as tensors:
        for name, array in models.arrays(perceptron()).items():
            np.testing.assert_array_equal(tensors[name], array)


def test_data_beside_the_file_that_a_link_leads_to_is_found(tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    models.save(perceptron(), store / "net.onnx", location="w.data")
    (tmp_path / "net.onnx").symlink_to(store / "net.onnx")
    x = models.normal(4, 64)
    np.savez(tmp_path / "x.npz", x=x)
    packed = dcz.compress(tmp_path / "net.onnx", tmp_path / "net.dcz", dcz.Settings(lossless=True))
    assert dcz.evaluate(packed, tmp_path / "x.npz", against=tmp_path / "net.onnx").agreement == 1


def test_a_runtime_that_refuses_links_gets_the_data_itself(cached, samples, monkeypatch):
    """As onnxruntime 1.24 does."""
    real = onnxruntime.InferenceSession

    def refusing(source, *options, **more):
        if isinstance(source, str):
            raise RuntimeError("External data path escapes the model's directory")
        return real(source, *options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", refusing)
    assert dcz.evaluate(cached, samples, labels="y").errors == 0


@pytest.mark.parametrize("location", ["../out.data", "/etc/hostname", "sub/../../out.data"])
def test_a_link_is_no_way_out_for_a_model(location, cached, tmp_path):
    """What a model names must lie in a folder of its own, whatever the folders are."""
    blob = cached.parent.parent.parent / "blobs" / "1111"
    proto = models.onnx.load(blob, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            entry.value = location if entry.key == "location" else entry.value
    blob.write_bytes(proto.SerializeToString())
    for folder in (cached.parent.parent, blob.parent.parent):
        (folder / "out.data").write_bytes(bytes(100_000))
    with pytest.raises(UnsuitableModel, match="lies outside the model's folder"):
        dcz.compress(cached, tmp_path / "net.dcz")


def test_data_that_is_a_link_to_elsewhere_is_called_so(tmp_path):
    (tmp_path / "model").mkdir()
    path = models.save(perceptron(), tmp_path / "model" / "net.onnx", location="net.data")
    (path.parent / "net.data").rename(tmp_path / "elsewhere")
    (path.parent / "net.data").symlink_to("../elsewhere")
    with pytest.raises(UnsuitableModel, match=r"'net.data' is a link to .*elsewhere, .*`cp (.*)`") as caught:
        dcz.compress(path, tmp_path / "net.dcz")
    assert os.system(str(caught.value).split("`")[1]) == 0  # what it says to do
    dcz.compress(path, tmp_path / "net.dcz")
