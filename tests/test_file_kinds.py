"""Files that are taken for models by mistake: what they are is told, and the command that makes the right one works."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import dcz
from dcz import file_kinds
from dcz.errors import CorruptFile, InvalidArgument, UnsuitableModel
from dcz.file_kinds import signatures
from dcz.model import source
from tests import models

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 123456789\n"
HEADER = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()


def archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name in names:
            made.writestr(name, b"content")
    return file.getvalue()


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        made.addfile(tarfile.TarInfo("model.onnx"))
    return file.getvalue()


def arrays() -> bytes:
    file = io.BytesIO()
    np.savez(file, x=np.ones(3))
    return file.getvalue()


MODEL = models.dense(models.WEIGHT).SerializeToString()
# Written by the libraries themselves where they are there, else by the formats' documents.
KINDS = {
    "net.pt": (archive("net/data.pkl", "net/data/0", "net/version"), "a PyTorch file", "torch.onnx.export("),
    "script.pt": (archive("net/code/__torch__.py", "net/constants.pkl"), "a PyTorch file", "torch.onnx.export("),
    "old.pth": (pickle.dumps(0x1950A86A20F9469CFC6C, 2), "a PyTorch file", "torch.onnx.export("),
    "bare.pt": (b"PK\x03\x04" + bytes(200), "a zip archive, as `torch.save`", "torch.onnx.export("),
    "net.pkl": (pickle.dumps({"a": 1}), "a Python pickle", "skl2onnx.to_onnx"),
    "net.safetensors": (struct.pack("<Q", len(HEADER)) + HEADER + bytes(4), "a safetensors file", "optimum-cli export"),
    "net.tflite": (struct.pack("<I", 28) + b"TFL3" + bytes(100), "TensorFlow Lite", "tf2onnx.convert --tflite net."),
    "net.gguf": (b"GGUF\3\0\0\0" + bytes(64), "llama.cpp", "optimum-cli export onnx"),
    "net.ort": (struct.pack("<I", 24) + b"ORTM" + bytes(100), "ONNX Runtime's own format", "python -c"),
    "net.pte": (struct.pack("<I", 24) + b"ET12" + bytes(100), "an ExecuTorch program", "torch.onnx.export("),
    "net.keras": (archive("metadata.json", "config.json", "model.weights.h5"), "a Keras model", "model.export('net.o"),
    "net.h5": (b"\x89HDF\r\n\x1a\n" + bytes(80), "an HDF5 file", "model.export('net.onnx'"),
    "saved_model.pb": (b"\x08\x01\x12\xd2\x05\x0a\x10" + bytes(8), "SavedModel", "tf2onnx.convert --saved-model ."),
    "net.engine": (b"ftrt" + bytes(80), "a TensorRT engine", "built from"),
    "net.xml": (b'<?xml version="1.0"?>\n<net name="x" version="11">', "an OpenVINO model", "converted from"),
    "net.gz": (gzip.compress(MODEL, mtime=0), "packed by gzip", "gunzip -c net.gz > net"),
    "net.xz": (lzma.compress(MODEL), "packed by xz", "xz -dc net.xz > net"),
    "net.bz2": (bz2.compress(MODEL), "packed by bzip2", "bunzip2 -c net.bz2 > net"),
    "net.zst": (b"\x28\xb5\x2f\xfd" + bytes(20), "packed by zstd", "zstd -d net.zst -o net"),
    "net.zip": (archive("folder/net.onnx"), "a zip archive with an ONNX model", "unzip net.zip"),
    "net.tar": (tar(), "a tar archive", "tar -xf net.tar"),
    "x.npz": (arrays(), "an archive of numpy arrays", "--data"),
    "page.onnx": (b"\n<!DOCTYPE html><html><body>Entry not found</body></html>", "a web page", "curl -fL -o page.onnx"),
    "lfs.onnx": (POINTER, "a git-lfs pointer", "git -C . lfs pull --include lfs.onnx"),
    "empty.onnx": (b"", "an empty file", "download it"),
    "error.onnx": (b"Entry not found {}", "text, which starts with 'Entry not found {}'", "the .onnx file itself"),
    "text.onnx": (onnx.printer.to_text(onnx.ModelProto.FromString(MODEL)).encode(), "ONNX's text form", "python -c"),
    "a b.txt": (str(onnx.ModelProto.FromString(MODEL)).encode(), "protobuf's text form", "'a b.txt', 'textproto'"),
    "net.json": (b'{"irVersion": "8", "graph": {}}', "a model as JSON", "python -c"),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_what_a_file_is_and_what_to_do_is_told(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, what, remedy = KINDS[name]
    Path(name).write_bytes(data)
    with pytest.raises(UnsuitableModel) as caught:
        dcz.compress(name, "net.dcz")
    told = str(caught.value)
    assert told.startswith(f"{name}: not an ONNX model but ") and what in told and remedy in told
    assert "\n" not in told and not re.search(r"\{\w+\}", told)  # one sentence, and every name filled in
    with pytest.raises(CorruptFile) as refused:
        dcz.load(name)
    assert refused.value.reason == "not-dcz" and what in str(refused.value) and remedy in str(refused.value)


@pytest.mark.parametrize("name", [name for name in KINDS if not name.endswith((".npz", ".dcz"))])
def test_models_are_none_of_these(name):
    """A true model is refused by no signature, though it may hold the same bytes further on."""
    proto = models.dense(models.WEIGHT)
    proto.doc_string = KINDS[name][0].decode("latin-1")
    data = proto.SerializeToString()
    assert file_kinds.is_onnx(data) and signatures.kind_of(data) is None


def test_a_model_of_the_first_version_is_none_either():
    proto = models.dense(models.WEIGHT)
    proto.ir_version, proto.producer_name = 1, "pytorch"
    assert signatures.kind_of(proto.SerializeToString()) is None


def command(path: str) -> str:
    """The command that a refusal names."""
    with pytest.raises(UnsuitableModel) as caught:
        dcz.compress(path, "net.dcz")
    return re.search("`(.*)`", str(caught.value))[1]


def run_as_told(path: str) -> None:
    words = command(path).replace("python -c", f"{sys.executable} -c", 1)
    subprocess.run(words, shell=True, check=True, capture_output=True)


@pytest.mark.parametrize("form", ["onnxtxt", "textproto", "json"])
def test_the_command_for_a_text_makes_the_model(form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = models.dense(models.WEIGHT)
    Path("net it's.txt").write_bytes(onnx._get_serializer(form).serialize_proto(model))
    run_as_told("net it's.txt")
    made = onnx.load("net it's.onnx")
    weights = [onnx.numpy_helper.to_array(each.graph.initializer[0]) for each in (made, model)]
    np.testing.assert_allclose(*weights, rtol=1e-5)  # the text has six digits
    assert [node.input for node in made.graph.node] == [node.input for node in model.graph.node]


def test_the_command_for_an_ort_file_makes_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = "net.ort"
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(MODEL, options)
    run_as_told("net.ort")
    (weight,) = [each for each in onnx.load("net.onnx").graph.initializer if each.dims == list(models.WEIGHT.shape)]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(weight), models.WEIGHT)


@pytest.mark.parametrize("name, tool", [("net.gz", "gunzip"), ("net.xz", "xz"), ("net.bz2", "bunzip2")])
def test_the_command_for_a_packed_file_unpacks_it(name, tool, tmp_path, monkeypatch):
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} here")
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(KINDS[name][0])
    run_as_told(name)
    assert Path("net").read_bytes() == MODEL


def test_a_model_that_is_cut_off_is_called_so(tmp_path):
    path = tmp_path / "cut.onnx"
    path.write_bytes(MODEL[: len(MODEL) // 2])
    with pytest.raises(UnsuitableModel, match="starts as an ONNX model does, but is cut off or damaged"):
        dcz.compress(path, tmp_path / "net.dcz")


def test_a_file_beyond_the_limit_of_protobuf_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "big.onnx"
    path.write_bytes(MODEL)
    monkeypatch.setattr(source, "PROTOBUF_LIMIT", len(MODEL) - 1)
    with pytest.raises(UnsuitableModel, match="save it with external data"):
        dcz.compress(path, tmp_path / "net.dcz")


def test_an_onnx_model_is_no_dcz_file(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(MODEL)
    with pytest.raises(CorruptFile, match=r"not a .dcz file but an ONNX model: `dcz compress .*net.onnx` makes"):
        dcz.load(path)


@pytest.mark.parametrize(
    "data, told",
    [
        (POINTER, "a git-lfs pointer, .*`git -C .* lfs pull --include weights.bin` fetches the file"),
        (b"<html>Not found</html>", "a web page"),
        (gzip.compress(bytes(100), mtime=0), "packed by gzip: `gunzip"),
        (b"", "an empty file: download it"),
    ],
)
def test_what_lies_in_the_place_of_external_data_is_told(data, told, tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(models.dense(models.WEIGHT), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").write_bytes(data)
    with pytest.raises(UnsuitableModel, match=f"its external data 'weights.bin' is not there, but {told}"):
        dcz.compress(path, tmp_path / "net.dcz")


def test_a_pointer_that_is_longer_than_the_data_is_no_data_either(tmp_path):
    path = tmp_path / "net.onnx"
    small = models.dense(np.ones((4, 2), np.float32))
    onnx.save(small, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert os.path.getsize(tmp_path / "weights.bin") < len(POINTER)
    (tmp_path / "weights.bin").write_bytes(POINTER)
    with pytest.raises(UnsuitableModel, match="a git-lfs pointer"):
        dcz.compress(path, tmp_path / "net.dcz")


def test_data_that_is_cut_off_is_to_be_fetched_again(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(models.dense(models.WEIGHT), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    os.truncate(tmp_path / "weights.bin", 100)
    with pytest.raises(UnsuitableModel, match="fetch or export the file again"):
        dcz.compress(path, tmp_path / "net.dcz")


def test_evaluating_and_samples_tell_it_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("lfs.onnx").write_bytes(POINTER)
    np.savez("x.npz", x=np.ones((4, models.WEIGHT.shape[0]), np.float32))
    with pytest.raises(UnsuitableModel, match="a git-lfs pointer"):
        dcz.evaluate("lfs.onnx", "x.npz", against="lfs.onnx")
    Path("net.onnx").write_bytes(MODEL)
    with pytest.raises(
        InvalidArgument, match=r"lfs.onnx: not a whole .npz or .npy file of plain arrays but a git-lfs pointer"
    ):
        dcz.evaluate("net.onnx", "lfs.onnx", against="net.onnx")
