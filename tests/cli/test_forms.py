"""`dcz decompress --as`: what it writes, and what it says of it."""

import json

import numpy as np
import onnx
import pytest

import dcz
from tests import models
from tests.networks import perceptron, separable

X = models.normal(5, 64)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(perceptron(), "net.onnx")
    dcz.compress("net.onnx", "net.dcz", quality=30)


def test_a_small_model_and_how_far_its_answers_are(run):
    code, out, err = run("decompress", "net.dcz", "--as", "gather", "-o", "small.onnx")
    assert code == 0 and out.startswith("small.onnx: ")
    assert "answers on drawn inputs: equal to the dense model's, to the bit" in err
    assert np.array_equal(models.run("small.onnx", x=X)[0], models.run(dcz.load("net.dcz"), x=X)[0])
    assert run("decompress", "net.dcz", "--as", "gather", "-o", "small.onnx", "-f", "-q") == (0, "", "")


def test_differences_are_told_in_decibels_and_in_the_answers_own_measure(run):
    code, _, err = run("decompress", "net.dcz", "--as", "qdq", "-o", "small.onnx")
    assert code == 0
    told = [line for line in err.splitlines() if "answers on drawn inputs" in line]
    assert len(told) == 1 and ("to the bit" in told[0] or (" dB" in told[0] and "'y': top class" in told[0]))


def test_what_is_said_is_in_json_too(run):
    dcz.compress(separable(192), "separable.dcz", quality=20)
    code, out, _ = run("decompress", "separable.dcz", "--as", "qdq", "--json")
    found = json.loads(out)
    assert code == 0 and list(found["files"]) == ["separable.onnx"]
    assert "answers" in found["notes"][-1]
    assert json.loads(run("decompress", "net.dcz", "-o", "dense.onnx", "--json")[1])["notes"] == []


def test_strict_and_wrong_usage(run, refuses):
    dcz.compress("net.onnx", "shared.dcz", bits=4)
    refuses(["decompress", "shared.dcz", "--as", "qdq", "--strict", "-o", "x.onnx"], 3, "fc1.weight, fc2.weight")
    refuses(["decompress", "net.dcz", "--strict", "-o", "x.onnx"], 2, "strict is for the form qdq")
    refuses(["decompress", "net.dcz", "--as", "int8"], 2, "is not one of")


def test_a_model_that_takes_no_drawn_inputs_is_written_all_the_same(run):
    proto = perceptron()
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "Mystery", "com.example"
    proto.opset_import.add(domain="com.example", version=1)
    dcz.compress(proto, "odd.dcz")
    code, _, err = run("decompress", "odd.dcz", "--as", "gather")
    assert code == 0 and "answers were not compared: " in err
    assert "fc1.weight.codes" in {tensor.name for tensor in onnx.load("odd.onnx").graph.initializer}
