"""`dcz run`: what a model answers, at a glance."""

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import dcz
from dcz.evaluation.answers import look
from tests import models
from tests.networks import perceptron

X = models.normal(50, 64)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    proto = perceptron()
    proto.graph.node.append(helper.make_node("Softmax", ["y"], ["p"]))
    proto.graph.output.append(helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 10]))
    onnx.save(proto, "net.onnx")
    dcz.compress("net.onnx", "net.dcz")
    np.savez("x.npz", x=X)


def test_shapes_ranges_and_top_classes(run):
    code, out, err = run("run", "net.dcz", "--data", "x.npz")
    y, p = models.run(dcz.load("net.dcz"), x=X)
    lines = [line.split() for line in out.splitlines()]
    assert (code, err) == (0, "") and lines[0][:2] == ["50", "samples"]
    assert lines[2] == ["y", "float32", "50", "x", "10", *(f"{number:.4g}" for number in (y.min(), y.mean(), y.max())),
                        "top", "class"]  # fmt: skip
    assert f"  sample 0: {p[0].argmax()} ({p[0].max():.4g}), " in out and "sample 7: " in out and "sample 8" not in out


@pytest.mark.parametrize("model", ["net.dcz", "net.onnx"])
def test_the_outputs_are_those_of_the_model(model, run):
    code, out, _ = run("run", model, "--data", "x.npz", "-o", "y.npz")
    expected = models.run(dcz.load("net.dcz") if model == "net.dcz" else onnx.load("net.onnx"), x=X)
    with np.load("y.npz") as found:
        assert code == 0 and found.files == ["y", "p"] and "y.npz: " in out
        for name, array in zip(found.files, expected, strict=True):
            assert np.allclose(found[name], array, atol=1e-6)


def test_the_first_samples_alone_and_json(run):
    code, out, _ = run("run", "net.dcz", "--data", "x.npz", "--first", "3", "--json")
    found = json.loads(out)
    assert code == 0 and found["samples"] == 3 and found["outputs"][0]["shape"] == [3, 10]
    assert [len(each["top"]) for each in found["outputs"]] == [3, 3]
    assert found["outputs"][1]["top"][0][0][1] == pytest.approx(models.run(dcz.load("net.dcz"), x=X)[1][0].max())


def test_a_fixed_batch_is_filled_up_and_cut():
    proto = perceptron()
    for info in (*proto.graph.input, *proto.graph.output):
        info.type.tensor_type.shape.dim[0].dim_value = 8
    onnx.save(proto, "fixed.onnx")
    found = look("fixed.onnx", X[:19])
    assert found.arrays["y"].shape == (19, 10)
    assert np.allclose(found.arrays["y"], models.run(perceptron(), x=X[:19])[0], atol=1e-6)


def test_labels_text_and_numbers_that_are_none():
    nodes = [
        helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0),
        helper.make_node("Log", ["x"], ["logs/of x"]),
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
    ]
    proto = models.model(nodes, {"x": ["n", 64]}, {})
    for name, kind, shape in (("label", TensorProto.INT64, ["n"]), ("logs/of x", 1, ["n", 64]), ("sum", 1, [])):
        proto.graph.output.append(helper.make_tensor_value_info(name, kind, shape))
    onnx.save(proto, "odd.onnx")
    label, logs, total = look("odd.onnx", X).outputs
    assert label.labels == tuple(X.argmax(1)[:8].tolist()) and label.measure == "label" and label.top == ()
    assert logs.not_finite == int((X <= 0).sum()) and logs.low == pytest.approx(np.log(X[X > 0]).min(), rel=1e-5)
    assert total.shape == () and look("odd.onnx", X).arrays.keys() == {"label", "logs/of x"}


def test_wrong_usage_leaves_everything_as_it_is(run, refuses):
    before = Path("x.npz").read_bytes()
    refuses(["run", "net.dcz", "--data", "x.npz", "-o", "x.npz", "-f"], 6, "is the input itself")
    os.mkdir("folder")
    np.savez("folder/x.npz", x=X)
    refuses(["run", "net.dcz", "--data", "folder", "-o", "folder/x.npz", "-f"], 6, "is the input itself")
    refuses(["run", "net.dcz", "--data", "x.npz", "-o", "net.onnx"], 6, "exists already")
    refuses(["run", "net.dcz", "--data", "missing.npz"], 6, "missing.npz")
    refuses(["run", "net.dcz"], 2, "--data")
    refuses(["run", "net.dcz", "--data", "x.npz", "--max-bytes", "1kB"], 3, "more than the limit")
    np.savez("wrong.npz", x=X[:, :9])
    refuses(["run", "net.dcz", "--data", "wrong.npz"], 2, "wants the shape")
    assert Path("x.npz").read_bytes() == before
