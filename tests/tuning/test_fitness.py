"""Tensors that samples cannot help to round are told, and are not the samples' fault."""

import numpy as np
import pytest

import dcz
from tests import models
from tests.models import helper

LARGEST = float(np.finfo(np.float32).max)


def looked_up(row: object, rows: int = 300) -> models.ModelProto:
    """i [n, 4] -> rows of a table, the last of which is `row` -> their mean -> two layers."""
    random = np.random.default_rng(0)
    table, w, v = (random.normal(0, 0.1, shape).astype(np.float32) for shape in ((rows, 32), (32, 48), (48, 6)))
    table[-1] = row
    nodes = [
        helper.make_node("Gather", ["t", "i"], ["e"]),
        helper.make_node("ReduceMean", ["e"], ["m"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["y"]),
    ]
    tensors = [models.tensor(name, array) for name, array in zip("twv", (table, w, v), strict=True)]
    proto = models.model(nodes, {"i": ["n", 4]}, {"y": ["n", 6]}, tensors)
    proto.graph.input[0].type.tensor_type.elem_type = models.TensorProto.INT64
    proto.opset_import[0].version = 13  # of which a ReduceMean has axes
    return proto


def samples(last: int, rows: int = 300) -> dict[str, np.ndarray]:
    """Numbers of rows, of which the last one is read so often."""
    numbers = np.random.default_rng(1).integers(0, rows - 1, (32, 4))
    numbers[:last, 0] = rows - 1
    return {"i": numbers}


@pytest.mark.parametrize("row, words", [(np.nan, "infinities or NaN"), (-np.inf, "infinities or NaN"),
                                        (-LARGEST, "numbers of 3.4e+38, which steps would lead beyond")])  # fmt: skip
def test_what_stays_exact_is_told_once_and_stays(row, words, tmp_path):
    told = []
    dcz.tune(looked_up(row), tmp_path / "net.dcz", samples(0), ratio=1.2, warn=told.append)
    (note,) = (note for note in told if note.startswith("t: holds"))
    assert words in note and "stays exact" in note
    assert np.array_equal(models.arrays(dcz.load(tmp_path / "net.dcz"))["t"][-1], np.full(32, row, np.float32), True)
    assert dcz.sensitivity(looked_up(row), samples(0)).note.startswith("t: holds")


def test_numbers_that_calibration_cannot_compute_with_are_those_of_the_model(tmp_path):
    with pytest.raises(dcz.InvalidArgument, match=r"the model: t holds numbers of 1e\+20, and float32"):
        dcz.tune(looked_up(1e20), tmp_path / "net.dcz", samples(20), ratio=4)


def test_a_large_tensor_that_is_excluded_is_left_alone(tmp_path):
    """Its data is apart from the graph, where whoever reads the graph has to find it."""
    proto = looked_up(0.0, 9_000)  # more than a megabyte
    for more in ({}, {"include": "w"}):
        dcz.tune(proto, tmp_path / "net.dcz", samples(0, 9_000), max_bytes="1.2MB", exclude="t", force=True, **more)
        restored = models.arrays(dcz.load(tmp_path / "net.dcz"))
        assert np.array_equal(restored["t"], models.arrays(proto)["t"])
