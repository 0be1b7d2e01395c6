"""Scales of rows read from what nodes of a small ONNX file multiply with."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from dcz.encoded import step_scales
from dcz.model.code_arithmetic import CodeArray, Room, compute

STEPS = np.array([3, 17, 80, 3, 9], np.uint8)


def grid_of(scales: np.ndarray):
    codes = CodeArray(TensorProto.INT8, np.ones((5, 7), np.int8))
    node = helper.make_node("DequantizeLinear", ["codes", "scale"], ["w"], axis=0)
    return compute(node, [codes, CodeArray(TensorProto.FLOAT, scales)], Room("net", 1)).grid


@pytest.mark.parametrize("steps", [STEPS, STEPS * 0, STEPS // 8 * 8 + 5], ids=["uneven", "equal", "powers of two"])
@pytest.mark.parametrize("unit", [1.0, 0.0123, 7.0, 2.0**-20])
def test_scales_are_known_to_a_factor(unit, steps):
    scales = (unit * step_scales(steps)).astype(np.float32)
    found = grid_of(scales)
    assert (found.axis, found.binds) == (0, False) and np.array_equal(found.scales, step_scales(found.steps))
    assert np.allclose(found.scales / found.scales[0], scales / scales[0], rtol=2.0**-22)


@pytest.mark.parametrize("scales", [[1, 2, 3, 4.1, 5], [1, 2, 0, 4, 5], [1, 2, -2, 4, 5], [1, 2, 4, np.inf, 8]])
def test_scales_of_others_are_not(scales):
    assert grid_of(np.float32(scales)) is None
