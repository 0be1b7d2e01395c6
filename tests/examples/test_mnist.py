"""The MNIST example: its parts on little data, and `reproduce --quick` where torch, matplotlib and the digits are."""

import gzip
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import dcz
from examples.mnist import augment, data, networks
from tests import ROOT


@pytest.fixture
def mnist(tmp_path, monkeypatch) -> Path:
    """A folder with four small files that pass for MNIST's; no other folder, and no network."""
    random = np.random.default_rng(0)
    for kind, count in (("train", 60), ("t10k", 10)):
        images = struct.pack(">4I", 0x803, count, 28, 28) + random.bytes(count * 784)
        labels = struct.pack(">2I", 0x801, count) + bytes(i % 10 for i in range(count))
        for name, content in ((f"{kind}-images-idx3-ubyte", images), (f"{kind}-labels-idx1-ubyte", labels)):
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
            monkeypatch.setitem(data.FILES, name, hashlib.md5(content).hexdigest())
    for name, count in (("TRAINING", 60), ("VALIDATION", 5), ("TEST", 10)):
        monkeypatch.setattr(data, name, count)
    monkeypatch.setattr(data, "ROOT", tmp_path / "nowhere" / "main")
    monkeypatch.setenv("DCZ_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(data.urllib.request, "urlopen", _refuse)
    return tmp_path


def _refuse(*arguments, **options):
    raise OSError("no network")


# -- the digits -------------------------------------------------------------------------------------------------------


def test_every_training_digit_trains_or_validates(mnist):
    training, validation = data.training_and_validation()
    images = np.concatenate([training.images, validation.images])
    whole = np.frombuffer(gzip.decompress((mnist / "train-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    assert (len(training), len(validation), len(data.test())) == (55, 5, 10)
    assert np.array_equal(np.sort(images.reshape(60, -1).sum(1)), np.sort(whole.reshape(60, -1).sum(1)))
    assert validation.labels.tolist() == (np.random.default_rng(0).permutation(60)[-5:] % 10).tolist()


def test_inputs_are_float32_from_0_to_1(mnist):
    inputs = data.test().inputs((1, 28, 28))
    assert inputs.dtype == np.float32 and inputs.shape == (10, 1, 28, 28)
    assert 0 <= inputs.min() and 0.99 < inputs.max() <= 1


def test_the_folder_mnist_of_dcz_data_serves_too(mnist, monkeypatch):
    (mnist / "mnist").mkdir()
    for path in list(mnist.glob("*.gz")):
        path.rename(mnist / "mnist" / path.name)
    assert data.local_folder() == mnist / "mnist" and len(data.test()) == 10


def test_other_digits_are_refused(mnist):
    (mnist / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(data.NoDigits, match="t10k-labels-idx1-ubyte.gz: not MNIST's"):
        data.test()


def test_a_cut_file_is_refused(mnist):
    path = mnist / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(data.NoDigits, match="cannot be read"):
        data.test()


def test_without_digits_and_network_it_says_what_to_do(mnist, monkeypatch):
    monkeypatch.setenv("DCZ_DATA", str(mnist / "empty"))
    with pytest.raises(data.NoDigits, match=r"no network.*set DCZ_DATA"):
        data.test()


def test_the_second_mirror_serves_where_the_first_sends_something_else(mnist, monkeypatch):
    sent = {mirror: mnist for mirror in data.MIRRORS}
    asked = []

    def urlopen(address, timeout):
        asked.append(address)
        name = address.rsplit("/", 1)[1]
        content = (sent[data.MIRRORS[1]] / name).read_bytes() if address.startswith(data.MIRRORS[1]) else b"<html>"
        return io.BytesIO(content)

    monkeypatch.setenv("DCZ_DATA", str(mnist / "empty"))
    monkeypatch.setattr(data.urllib.request, "urlopen", urlopen)
    assert len(data.test()) == 10 and len(asked) == 4
    data.test()
    assert len(asked) == 4  # the cache has them now


# -- copies -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def digits() -> data.Digits:
    images = np.zeros((50, 28, 28), np.uint8)
    images[:, 8:20, 10:18] = 255
    return data.Digits(images, np.arange(50) % 10)


def test_no_strength_changes_nothing(digits):
    assert np.array_equal(augment.warp(digits.images, 0.0, 0), digits.images)


def test_a_copy_is_seeded_differs_and_keeps_its_ink(digits):
    copy = augment.warp(digits.images, 1.0, 0)
    assert np.array_equal(copy, augment.warp(digits.images, 1.0, 0))
    assert not np.array_equal(copy, augment.warp(digits.images, 1.0, 1))
    assert (copy != digits.images).any((1, 2)).all()
    assert np.allclose(copy.sum((1, 2), int), digits.images.sum((1, 2), int), rtol=0.5)


def test_a_shift_moves_a_digit_by_so_many_pixels(digits):
    columns, rows = np.meshgrid(np.arange(28, dtype=np.float32), np.arange(28, dtype=np.float32))
    moved = augment._read_between(digits.images[:1], columns[None] + 2, rows[None] - 1)
    assert np.array_equal(moved[0], np.roll(digits.images[0], (1, -2), (0, 1)))


def test_an_epoch_has_every_digit_once(digits):
    copies = augment.Copies(digits, (784,), strengths=(1.0, 0.5), batch=16, seed=3)
    epoch = list(copies(0))
    assert len(epoch) == len(copies) == 4 and epoch[0][0]["x"].shape == (16, 784)
    assert sorted(np.concatenate([labels for _, labels in epoch])) == sorted(digits.labels)
    again, other = list(copies(0)), list(copies(1))
    assert all(np.array_equal(a["x"], b["x"]) for (a, _), (b, _) in zip(epoch, again))
    assert not np.array_equal(epoch[0][1], other[0][1])


def test_the_share_of_clean_digits_is_the_one_asked_for(digits):
    copies = augment.Copies(digits, (28, 28), strengths=(1.0,), clean=0.75, batch=50)
    clean = [
        (inputs["x"] == digits.inputs((28, 28))[0]).all((1, 2)).mean() for n in range(20) for inputs, _ in copies(n)
    ]
    assert abs(np.mean(clean) - 0.75) < 0.05


def test_a_mask_keeps_the_mean(digits):
    ((inputs, _),) = augment.Copies(digits, (784,), batch=50, mask=(400, 0.3))(0)
    assert set(np.unique(inputs["m"])) == {np.float32(0), np.float32(1 / 0.7)} and abs(inputs["m"].mean() - 1) < 0.03


# -- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network, parameters", [(networks.LENET_300_100, 266_610), (networks.LENET_5, 431_080)])
def test_networks_are_the_papers(network, parameters):
    model = network.make(0)
    onnx.checker.check_model(model, full_check=True)
    assert network.parameters == parameters
    assert network.layers.keys() == {tensor.name for tensor in model.graph.initializer}
    assert model == network.make(0) and model != network.make(1)
    assert run(model, x=np.zeros((3, *network.shape), np.float32)).shape == (3, 10)


@pytest.mark.parametrize("network", networks.ARCHITECTURES.values())
def test_a_mask_of_ones_changes_nothing(network):
    model, x = network.make(0), np.random.default_rng(0).random((4, *network.shape), np.float32)
    masked = networks.masked(model)
    units = masked.graph.input[1].type.tensor_type.shape.dim[1].dim_value
    assert np.array_equal(run(masked, x=x, m=np.ones((4, units), np.float32)), run(model, x=x))
    assert networks.filled(network.make(1), masked) == model


def test_more_factors_answer_more_alike_and_those_that_save_nothing_are_not_made():
    model = networks.LENET_300_100.make(0)
    x = np.random.default_rng(0).random((4, 784), np.float32)
    few, many, all_of_them = (networks.factored(model, share) for share in (0.05, 0.7, 1.0))
    off = [np.abs(run(each, x=x) - run(model, x=x)).mean() for each in (few, many)]
    assert off[1] < off[0] and len(few.graph.initializer) == 9
    assert all_of_them == model


def run(model: onnx.ModelProto, **inputs) -> np.ndarray:
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, inputs)[0]


# -- all of it --------------------------------------------------------------------------------------------------------


def test_a_quick_run_makes_files_tables_and_figures(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    if data.local_folder() is None:
        pytest.skip("the digits of MNIST are not on this machine: set DCZ_DATA")
    command = [sys.executable, "-m", "examples.mnist.reproduce", "--quick", "--jobs", "1", "--out", tmp_path]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "RESULTS.md").read_text()
    results = json.loads((tmp_path / "results.json").read_text())
    assert {result["network"] for result in results} == networks.ARCHITECTURES.keys()
    for result in results:
        report = dcz.inspect(tmp_path / result["file"])
        assert report.file_bytes == result["bytes"] and f"{result['bytes']:,}" in page
        assert result["judge"] == "validation" and 0 < result["errors"] < result["samples"]
        assert report.source_bytes == result["dense_bytes"] > 4 * result["parameters"]
    for name in ("tradeoff", "starts", "codebook", "streams", "storage"):
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size > 10_000 and f"figures/{name}.png" in page
        assert json.loads((tmp_path / "figures" / f"{name}.json").read_text())
