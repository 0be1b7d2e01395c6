"""A matrix that a model holds twice, once transposed, is written once."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import dcz
from dcz.plan import LOSSLESS, Plan, Rule, Settings
from tests import models


def tied(dtype=np.float32, head=None) -> onnx.ModelProto:
    """ids -> embedding -> MatMul -> MatMul by the transpose of the embedding (or `head`)."""
    embedding = models.normal(300, 32, seed=0).astype(dtype)
    nodes = [
        onnx.helper.make_node("Gather", ["embedding", "ids"], ["x"]),
        onnx.helper.make_node("MatMul", ["x", "w"], ["a"]),
        onnx.helper.make_node("MatMul", ["a", "head"], ["y"]),
    ]
    tensors = {
        "embedding": embedding,
        "w": models.normal(32, 32, seed=1).astype(dtype),
        "head": np.ascontiguousarray(embedding.T) if head is None else head,
    }
    return models.model(nodes, {"ids": ["n"]}, {"y": ["n", 300]}, [models.tensor(*each) for each in tensors.items()])


def decoded(path) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in dcz.load(path).graph.initializer}


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("settings", [None, LOSSLESS, Settings(bits=4), Settings(quality=30.0)], ids=str)
def test_a_transpose_takes_no_record(settings, dtype, tmp_path):
    path = dcz.compress(tied(dtype), tmp_path / "net.dcz", settings)
    assert [entry.name for entry in models.entries(path)] == ["embedding", "w"]
    assert dcz.inspect(path).version == "1.1"
    found = decoded(path)
    assert np.array_equal(found["embedding"].T, found["head"])
    with dcz.open(path) as tensors:
        assert np.array_equal(tensors["head"], found["head"])
    if settings is LOSSLESS:
        assert dcz.load(path) == tied(dtype)


def test_nearly_a_transpose_has_a_record_of_its_own(tmp_path):
    head = models.normal(300, 32, seed=0).T.copy()
    head[17, 250] += 1
    path = dcz.compress(tied(head=head), tmp_path / "net.dcz", LOSSLESS)
    assert [entry.name for entry in models.entries(path)] == ["embedding", "w", "head"]
    assert np.array_equal(decoded(path)["head"], head)


@pytest.mark.parametrize(
    "plan",
    [Plan(rules=(Rule(("head",), Settings(quality=50.0)),)), Plan(exclude=("embedding",))],
    ids=["a rule", "an exclusion"],
)
def test_what_a_plan_tells_apart_stays_apart(plan, tmp_path):
    path = dcz.compress(tied(), tmp_path / "net.dcz", plan)
    assert [entry.name for entry in models.entries(path)] == ["embedding", "w", "head"]


def test_resumed_and_in_processes_the_bytes_are_the_same(tmp_path):
    path = models.save(tied(), tmp_path / "net.onnx")
    once = dcz.compress(path, tmp_path / "a.dcz", resume=False).read_bytes()
    assert dcz.compress(path, tmp_path / "b.dcz", resume=True, workers=2).read_bytes() == once
