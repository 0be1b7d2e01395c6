"""Layers whose rows differ in size, or read inputs of their own."""

import numpy as np
import pytest
from onnx import helper

from dcz import calibrate
from dcz.calibrate import allocate
from dcz.calibrate.levels import SCALED_BITS, choose_levels, min_step
from dcz.model import from_proto
from tests import models
from tests.models import normal, tensor
from tests.networks import separable


def separable_model():
    return from_proto(separable())


def batches() -> list[dict[str, np.ndarray]]:
    x = normal(48, 8, 8, 8, seed=9) * 20
    return [{"x": x[start : start + 16]} for start in range(0, 48, 16)]


def test_rows_of_different_size_have_scales_and_others_none():
    fine = calibrate.fine_rows(separable_model(), ["expand", "depthwise", "project", "classes"])
    assert {name for name, scales in fine.items() if scales is not None} == {"expand", "depthwise"}
    assert set(fine) == {"expand", "depthwise", "project", "classes"}
    assert np.ptp(np.log2(fine["depthwise"].scales)) > 5


def test_only_float32_and_only_layers_are_fine():
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    half = models.model(
        [node], {"x": (10, ["n", 64])}, {"y": (10, ["n", 10])}, [tensor("w", normal(64, 10).astype("f2"))]
    )
    assert calibrate.fine_rows(from_proto(half), ["w"]) == {}
    gather = helper.make_node("Gather", ["t", "x"], ["y"])
    table = models.model([gather], {"x": (7, ["n"])}, {"y": ["n", 32]}, [tensor("t", normal(80, 32))])
    assert calibrate.fine_rows(from_proto(table), ["t"]) == {}


@pytest.mark.parametrize("bits", [4.0, 9.0])
def test_small_rows_are_as_good_as_large_ones_and_steps_have_no_end(bits):
    model = separable_model()
    names = ["expand", "depthwise", "project", "classes"]
    fine = calibrate.fine_rows(model, names)
    curves = calibrate.measure_curves(model, batches(), names, fine=fine)
    weights = {each.name: each.values().astype(float) for each in model.tensors}
    steps = allocate.steps_for_bits(curves, bits * sum(weights[name].size for name in names))
    new = calibrate.quantize_layers(model, batches(), steps, fine=fine)
    errors = np.square(new["depthwise"] - weights["depthwise"]).sum((1, 2, 3))
    quality = 10 * np.log10(np.square(weights["depthwise"]).sum((1, 2, 3)) / errors)
    assert quality.min() > 4 * bits  # decibels; with one step for all rows the small ones are rounded to zero
    if bits > 8:
        assert len(np.unique(new["project"])) > 256


@pytest.mark.parametrize("finer, most", [(0.9, 256), (4, 10_000), (100, 60_002)])
def test_levels_times_any_scale_are_exact_in_float32(finer, most):
    weights = np.append(normal(4000, seed=3), [1.5, -0.9, 2.2]).astype(float)
    levels, step = choose_levels(weights, min_step(weights) / finer, SCALED_BITS)
    assert len(levels) <= most and (finer < 1 or len(levels) > 256) and 0 in levels
    assert np.abs(weights[:-3, None] - levels[np.searchsorted(levels, weights[:-3]) - 1][:, None]).max() < 2 * step
    for scale in (8.0, 9.0, 15.0 * 2**20):
        products = (levels * scale).astype(np.float32).astype(float)
        assert np.array_equal(products / scale, levels)
        assert np.array_equal(levels.astype(np.float32), levels)
