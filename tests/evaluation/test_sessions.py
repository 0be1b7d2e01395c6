"""Sessions straight from `.dcz` files: the answers of the decoded model, from every kind of source, without a file."""

import io
import os
import tempfile

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import dcz
from dcz.errors import CorruptFile, FileAccess, InvalidArgument, UnsuitableModel
from dcz.evaluation import runtime
from dcz.tensor import DTYPES
from tests import models
from tests.networks import perceptron, separable

X = models.normal(5, 64)


@pytest.fixture
def packed(tmp_path):
    return dcz.compress(perceptron(), tmp_path / "net.dcz").path


def answers(session, **feeds) -> list[np.ndarray]:
    return session.run(None, feeds)


@pytest.fixture(params=["by a pipe", "in memory"])
def way(request, monkeypatch):
    """How weights come to onnxruntime: what the system allows, and what remains for others."""
    if request.param == "in memory":
        monkeypatch.setattr(runtime, "reads_pipes", lambda providers: False)
    elif not runtime.reads_pipes():
        pytest.skip("onnxruntime reads no pipes here")


@pytest.mark.parametrize("place", models.PLACES)
def test_weights_of_every_corner_of_a_model_arrive(place, way, tmp_path):
    dcz.compress(models.place(place), tmp_path / "net.dcz")
    (expected,) = models.run(dcz.load(tmp_path / "net.dcz"), x=models.INPUT)
    (found,) = answers(dcz.session(tmp_path / "net.dcz"), x=models.INPUT)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("make", [perceptron, separable])
def test_answers_are_those_of_the_decoded_model_to_the_bit(make, way, tmp_path):
    dcz.compress(make(), tmp_path / "net.dcz")
    session = dcz.session(tmp_path / "net.dcz", threads=1)
    x = models.normal(5, *session.get_inputs()[0].shape[1:])
    (expected,) = models.run(dcz.load(tmp_path / "net.dcz"), x=x)
    assert np.array_equal(answers(session, x=x)[0], expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int64, np.int8])
def test_tensors_of_other_types_arrive_too(dtype, way, tmp_path):
    table = (models.normal(64, 32) * 100).astype(dtype)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    node = helper.make_node("Gather", ["table", "x"], ["y"])
    inputs, outputs = {"x": (TensorProto.INT64, ["n"])}, {"y": (kind, ["n", 32])}
    dcz.compress(models.model([node], inputs, outputs, [models.tensor("table", table)]), tmp_path / "net.dcz",
                 lossless=True)  # fmt: skip
    assert np.array_equal(answers(dcz.session(tmp_path / "net.dcz"), x=np.array([3, 60]))[0], table[[3, 60]])


def test_what_numpy_has_no_type_for_comes_inside_the_model(way, tmp_path):
    halves = models.patterns("halves", DTYPES[16], [40, 20], models.normal(40, 20).view(np.uint16)[:, 1::2])
    node = helper.make_node("Gather", ["halves", "x"], ["y"])
    inputs, outputs = {"x": (TensorProto.INT64, ["n"])}, {"y": (TensorProto.BFLOAT16, ["n", 20])}
    dcz.compress(models.model([node], inputs, outputs, [halves]), tmp_path / "net.dcz", lossless=True)
    assert not runtime.is_numeric(DTYPES[16])
    assert dcz.session(tmp_path / "net.dcz").get_outputs()[0].type == "tensor(bfloat16)"


def test_one_record_of_two_tensors_and_a_transpose(tmp_path):
    weight = models.normal(64, 48)
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("MatMul", ["h", "b"], ["i"]),
        helper.make_node("MatMul", ["i", "c"], ["y"]),
    ]
    tensors = [models.tensor(name, array) for name, array in (("a", weight), ("b", weight.T), ("c", weight))]
    dcz.compress(models.model(nodes, {"x": ["n", 64]}, {"y": ["n", 48]}, tensors), tmp_path / "net.dcz")
    assert len(models.entries(tmp_path / "net.dcz")) == 1
    (expected,) = models.run(dcz.load(tmp_path / "net.dcz"), x=X)
    assert np.array_equal(answers(dcz.session(tmp_path / "net.dcz", threads=1), x=X)[0], expected)


def test_initializers_that_are_inputs_as_old_models_have_them(tmp_path):
    proto = perceptron()
    proto.ir_version = 3
    for tensor in proto.graph.initializer:
        proto.graph.input.add().CopyFrom(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims))
    dcz.compress(proto, tmp_path / "net.dcz")
    (expected,) = models.run(dcz.load(tmp_path / "net.dcz"), x=X)
    assert np.array_equal(answers(dcz.session(tmp_path / "net.dcz", threads=1), x=X)[0], expected)


# -- sources -----------------------------------------------------------------------------------------------------------


def test_paths_bytes_and_open_files_are_read_alike(packed):
    data = packed.read_bytes()
    (expected,) = answers(dcz.session(packed), x=X)
    with open(packed, "rb") as file, open(packed, "rb", buffering=0) as raw, tempfile.SpooledTemporaryFile() as spool:
        spool.write(data)
        for source in (str(packed), data, bytearray(data), memoryview(data), io.BytesIO(data), file, raw, spool):
            assert np.array_equal(answers(dcz.session(source), x=X)[0], expected)
            assert dcz.load(source) == dcz.load(packed)
            assert dcz.inspect(source).rows == dcz.inspect(packed).rows
            with dcz.open(source) as tensors, dcz.open(packed) as others:
                assert np.array_equal(tensors["fc1.weight"], others["fc1.weight"])
        assert not file.closed and not raw.closed and not spool.closed
        assert dcz.inspect(file).path == str(packed)


def test_a_model_in_bytes_is_inspected_as_well():
    data = perceptron().SerializeToString()
    assert dcz.inspect(data).kind == "onnx" and dcz.inspect(io.BytesIO(data)).rows == dcz.inspect(data).rows
    with pytest.raises(UnsuitableModel, match="the bytes given: not an ONNX model"):
        dcz.inspect(b"<html>no</html>")


class Pipe(io.RawIOBase):
    def readable(self):
        return True


def test_what_is_no_source_is_refused(packed, way):
    closed = open(packed, "rb")
    closed.close()
    with open(packed, encoding="latin1") as text:
        for source in (text, Pipe(), closed, 7, None):
            with pytest.raises(InvalidArgument, match=r"a file is a path, bytes, or an open binary file"):
                dcz.session(source)
    with pytest.raises(FileAccess, match=r"missing\.dcz: cannot be opened"):
        dcz.session("missing.dcz")
    with pytest.raises(CorruptFile, match="the bytes given: not a .dcz file"):
        dcz.session(b"")
    damaged = bytearray(packed.read_bytes())
    damaged[-1] ^= 1
    with pytest.raises(CorruptFile, match="the bytes given: tensor"):
        dcz.session(damaged)


# -- settings ----------------------------------------------------------------------------------------------------------


def test_no_file_is_written_and_no_folder_asked_for(packed, way, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    before = set(os.listdir(tmp_path))
    dcz.session(packed)
    assert set(os.listdir(tmp_path)) == before


def test_limits_are_those_of_other_readers(packed, way):
    with pytest.raises(UnsuitableModel, match="decodes to .* more than the limit"):
        dcz.session(packed, max_bytes="1kB")
    with pytest.raises(InvalidArgument, match="threads is a whole number"):
        dcz.session(packed, threads=0)


def test_options_and_providers_are_onnxruntimes_own(packed, way):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = dcz.session(packed, options=options, providers=["CPUExecutionProvider"])
    assert session.get_session_options().graph_optimization_level == options.graph_optimization_level
    assert np.allclose(answers(session, x=X)[0], answers(dcz.session(packed), x=X)[0], atol=1e-5)
    with pytest.raises(InvalidArgument, match="onnxruntime has no provider 'NoSuchProvider' here, but .*CPU"):
        dcz.session(packed, providers=["NoSuchProvider"])


def test_a_model_that_onnxruntime_refuses_is_named(way, tmp_path):
    proto = perceptron()
    proto.graph.node[1].op_type = "Mystery"
    onnx.save(proto, tmp_path / "net.onnx")
    dcz.compress(tmp_path / "net.onnx", tmp_path / "net.dcz")
    with pytest.raises(UnsuitableModel, match=r"net\.dcz: onnxruntime cannot load it"):
        dcz.session(tmp_path / "net.dcz")


def test_a_session_outlives_all_that_it_was_made_from(packed, way):
    import gc

    (expected,) = models.run(dcz.load(packed), x=X)
    session = dcz.session(packed, threads=1)
    gc.collect()
    [np.full((128, 64), np.nan) for _ in range(50)]  # over memory that was given back, had any been
    assert np.array_equal(answers(session, x=X)[0], expected)


@pytest.mark.skipif(not runtime.reads_pipes(), reason="onnxruntime reads no pipes here")
def test_memory_holds_the_weights_once(tmp_path):
    """In a process of its own: 3 matrices of 36 MB, of which no second copy is left.

    Beyond 32 MB glibc gives a freed block back to the system at once; below, that depends on what was freed before.
    """
    import subprocess
    import sys

    weights = [models.tensor(f"w{number}", np.full((3072, 3072), number, np.float32)) for number in range(3)]
    nodes = [helper.make_node("MatMul", [f"x{number}", f"w{number}"], [f"x{number + 1}"]) for number in range(3)]
    shape = (TensorProto.FLOAT, [1, 3072])
    dcz.compress(models.model(nodes, {"x0": shape}, {"x3": shape}, weights), tmp_path / "net.dcz")
    dcz.compress(perceptron(), tmp_path / "small.dcz")
    code = """
import dcz
def taken():
    return int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0]) * 1024
dcz.session("small.dcz")
before = taken()
session = dcz.session("net.dcz", max_bytes=1 << 28)
print(taken() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1.5 * 3 * 3072 * 3072 * 4


def test_a_session_of_a_pipe_is_not_made_again_from_another_file(packed):
    if not runtime.reads_pipes():
        pytest.skip("onnxruntime reads no pipes here")
    with pytest.raises(Exception, match=r"net\.dcz"):
        dcz.session(packed).set_providers(["CPUExecutionProvider"])


def test_old_versions_and_other_providers_read_no_pipes(monkeypatch):
    monkeypatch.setattr(runtime.sys, "platform", "linux")
    for version, is_read in (
        ("1.17.3", False),
        ("1.30.0", False),
        ("1.31.0", True),
        ("1.33.0.dev2", True),
        ("2.0", True),
    ):
        monkeypatch.setattr(runtime.onnxruntime, "__version__", version)
        assert runtime.reads_pipes() == is_read == runtime.reads_pipes(["CPUExecutionProvider"])
        assert not runtime.reads_pipes(["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(runtime.sys, "platform", "win32")
    assert not runtime.reads_pipes()
