"""A model as a stream: the same bytes as that of `load`, whatever comes late, and damage at its place."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import dcz
from dcz import model as onnx_model
from dcz.errors import CorruptFile, UnsuitableModel
from dcz.format.container import Archive
from dcz.reading import stream as streaming
from dcz.reading.stream import stream
from tests import models
from tests.networks import perceptron, separable


def whole(path, threads=2) -> bytes:
    with Archive(path) as archive:
        return b"".join(stream(archive, threads))


@pytest.fixture(params=[1, 1 << 14, 1 << 30])
def awaited(request, monkeypatch):
    """From how many bytes on tensors are decoded late: all, some, none."""
    monkeypatch.setattr(streaming, "AWAITED_BYTES", request.param)


@pytest.mark.parametrize("place", models.PLACES)
def test_a_stream_is_the_loaded_model_wherever_its_tensors_lie(place, awaited, tmp_path):
    dcz.compress(models.place(place), tmp_path / "net.dcz")
    assert onnx.ModelProto.FromString(whole(tmp_path / "net.dcz")) == dcz.load(tmp_path / "net.dcz")


@pytest.mark.parametrize("make", [perceptron, separable])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_stream_is_the_loaded_model(make, threads, awaited, tmp_path):
    dcz.compress(make(), tmp_path / "net.dcz")
    assert onnx.ModelProto.FromString(whole(tmp_path / "net.dcz", threads)) == dcz.load(tmp_path / "net.dcz")


def test_a_record_that_is_used_twice_comes_twice(awaited, tmp_path):
    table = models.normal(64, 64)
    weights = [models.tensor("a", table), models.tensor("b", table), models.tensor("c", table.T.copy())]
    nodes = [helper.make_node("MatMul", ["x", "a"], ["y"]), helper.make_node("MatMul", ["y", "b"], ["z"]),
             helper.make_node("MatMul", ["z", "c"], ["w"])]  # fmt: skip
    shape = (TensorProto.FLOAT, [5, 64])
    dcz.compress(models.model(nodes, {"x": shape}, {"w": shape}, weights), tmp_path / "net.dcz")
    with Archive(tmp_path / "net.dcz") as archive:
        assert len(archive.directory.entries) == 1
    found = onnx.ModelProto.FromString(whole(tmp_path / "net.dcz"))
    assert found == dcz.load(tmp_path / "net.dcz") and len({each.raw_data for each in found.graph.initializer}) == 2


def test_damage_is_raised_where_it_is_met(tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "AWAITED_BYTES", 1)
    data = bytearray(dcz.compress(perceptron(), tmp_path / "net.dcz").path.read_bytes())
    data[-1] ^= 1
    with Archive(bytes(data)) as archive:
        pieces = stream(archive, 1)
        assert len(next(pieces)) > 0
        with pytest.raises(CorruptFile, match="tensor"):
            list(pieces)


def test_limits_hold_before_anything_is_decoded(tmp_path, monkeypatch):
    path = dcz.compress(perceptron(), tmp_path / "net.dcz").path
    with Archive(path) as archive, pytest.raises(UnsuitableModel, match="more than the limit"):
        stream(archive, max_bytes="1kB")
    monkeypatch.setattr(onnx_model, "PROTOBUF_LIMIT", 1000)
    with Archive(path) as archive:
        assert stream(archive) is None


def test_few_tensors_are_decoded_ahead(tmp_path, monkeypatch):
    weights = [models.tensor(f"w{number}", models.normal(64, 64) + number) for number in range(20)]
    nodes = [helper.make_node("MatMul", [f"x{n}", f"w{n}"], [f"x{n + 1}"]) for n in range(20)]
    shape = (TensorProto.FLOAT, [5, 64])
    dcz.compress(models.model(nodes, {"x0": shape}, {"x20": shape}, weights), tmp_path / "net.dcz")
    decoded: list[str] = []
    decode = streaming.decode_tensor
    monkeypatch.setattr(streaming, "decode_tensor", lambda *given: decoded.append(given[1].name) or decode(*given))
    monkeypatch.setattr(streaming, "IN_FLIGHT", 3 * weights[0].ByteSize())
    with Archive(tmp_path / "net.dcz") as archive:
        pieces = stream(archive, 8)
        seen = 0
        for piece in pieces:
            seen += len(piece) == np.prod([64, 64, 4])
            assert len(decoded) <= seen + 4
    assert seen == 20 == len(decoded)
