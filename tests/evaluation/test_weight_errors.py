"""How near weights are, where some are no numbers."""

import math

import numpy as np
import pytest
from onnx import helper

import dcz
from dcz.evaluation.weight_errors import WeightError, weight_error
from tests.models import model, normal, save, tensor


def network(path, *weights):
    nodes = [helper.make_node("MatMul", ["x", f"w{i}"], [f"y{i}"]) for i in range(len(weights))]
    initializers = [tensor(f"w{i}", each) for i, each in enumerate(weights)]
    save(model(nodes, {"x": [1, 64]}, {f"y{i}": None for i in range(len(weights))}, initializers), path)
    return path


@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan])
def test_infinities_and_nan_that_stay_are_no_errors(special, tmp_path):
    few = np.where(normal(64, 200) > 0, np.float32(special), np.float32(0.5))  # shared, as its values are two
    alone, both = network(tmp_path / "a.onnx", few), network(tmp_path / "b.onnx", few, normal(64, 200, seed=1))
    numbers = network(tmp_path / "c.onnx", np.where(np.isfinite(few), few, 0), normal(64, 200, seed=1))
    for path in (alone, both, numbers):
        dcz.compress(path, path.with_suffix(".dcz"))
    assert weight_error(alone.with_suffix(".dcz"), alone) == WeightError(math.inf, math.inf, 1, 1)
    found = weight_error(both.with_suffix(".dcz"), both)
    assert found == weight_error(numbers.with_suffix(".dcz"), numbers)
    assert 30 < found.worst < found.decibels < 60 and (found.tensors, found.equal) == (2, 1)
    for file, other in ((both, numbers), (numbers, both)):  # and where they do not stay, nothing is worse
        found = weight_error(file.with_suffix(".dcz"), other)
        assert found.decibels == found.worst == -math.inf and found.equal == 0


def test_weights_that_are_rounded_and_stored_count_and_are_told_apart(tmp_path):
    """Such as rows that repeat themselves, of which deflate makes less than codes would take."""
    repeated = np.tile(normal(16, 64), (64, 1))
    path = network(tmp_path / "net.onnx", repeated, normal(1024, 200, seed=1))
    dcz.compress(path, tmp_path / "net.dcz")
    assert {row.name: row.encoding for row in dcz.inspect(tmp_path / "net.dcz").rows}["w0"] == "stored"
    with dcz.open(tmp_path / "net.dcz") as restored:
        assert not np.array_equal(restored["w0"], repeated)
    found = weight_error(tmp_path / "net.dcz", path)
    assert found.rounded == {"w0"} and (found.tensors, found.equal) == (2, 0) and found.worst < found.decibels
