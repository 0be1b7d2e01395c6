"""im2col matrices, against onnxruntime's own outputs."""

import numpy as np
import pytest
from onnx import helper

from dcz.calibrate import im2col, layers
from tests.calibrate.cases import layer_of
from tests.models import model, normal, run, tensor


def outputs_by_im2col(layer: layers.Layer, weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """[groups, rows, positions]"""
    matrices = layer.to_matrices(weight.astype(np.float64))
    assert layer.in_features == matrices.shape[2]
    blocks = [block.reshape(*block.shape[:2], -1) for block in layer.uses[0][1].blocks(x)]
    return np.concatenate([matrices @ block for block in blocks], 2)


CONVS = [
    dict(),
    dict(strides=[2, 2]),
    dict(pads=[1, 0, 2, 1]),
    dict(dilations=[2, 3]),
    dict(strides=[2, 3], pads=[2, 1, 0, 3], dilations=[1, 2]),
    dict(auto_pad="SAME_UPPER", strides=[2, 2]),
    dict(auto_pad="SAME_LOWER", strides=[3, 2]),
    dict(auto_pad="SAME_LOWER"),
    dict(auto_pad="VALID", strides=[2, 1]),
]


@pytest.mark.parametrize("block", [1 << 23, 700])
@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("attributes", CONVS)
def test_im2col_of_a_conv_gives_its_outputs(attributes, group, block, monkeypatch):
    monkeypatch.setattr(im2col, "BLOCK", block)
    weight, x = normal(8, 4 // group, 3, 2), normal(3, 4, 11, 9, seed=1)
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=group, **attributes)
    proto = model([node], {"x": [3, 4, 11, 9]}, {"y": None}, [tensor("w", weight)])
    (y,) = run(proto, x=x)
    layer = layer_of(proto)
    found = outputs_by_im2col(layer, weight, x)
    wanted = np.moveaxis(y.reshape(3, group, 8 // group, -1), 0, 2).reshape(group, 8 // group, -1)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_array_equal(layer.from_matrices(layer.to_matrices(weight)), weight)


def test_of_many_positions_some_are_taken():
    """A sample of 12 lines gives every fourth of them, the next sample others."""
    x = np.arange(4 * 120, dtype=np.float32).reshape(4, 1, 12, 10)
    taken = np.concatenate([b[0, 0].ravel() for b in im2col.conv_patches({}, (1, 1, 1, 1)).blocks(x, 30)])
    assert sorted(set(taken // 10)) == [*range(0, 12, 4), *range(13, 24, 4), *range(26, 36, 4), *range(39, 48, 4)]


@pytest.mark.parametrize("shape, kernel", [((2, 3, 17), (4,)), ((2, 3, 5, 6, 7), (2, 3, 1))])
def test_convs_have_any_number_of_axes(shape, kernel):
    weight, x = normal(5, 3, *kernel), normal(*shape, seed=1)
    proto = model([helper.make_node("Conv", ["x", "w"], ["y"])], {"x": list(shape)}, {"y": None}, [tensor("w", weight)])
    (y,) = run(proto, x=x)
    wanted = np.moveaxis(y.reshape(2, 5, -1), 0, 1).reshape(1, 5, -1)
    np.testing.assert_allclose(outputs_by_im2col(layer_of(proto), weight, x), wanted, atol=1e-5)


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize(
    "attributes",
    [
        dict(),
        dict(strides=[2, 3]),
        dict(strides=[2, 2], pads=[1, 0, 2, 1], output_padding=[1, 0]),
        dict(dilations=[2, 1], pads=[3, 2, 3, 2]),
        dict(auto_pad="VALID", strides=[2, 1]),
    ],
)
def test_im2col_of_a_transposed_conv_gives_its_outputs(attributes, group):
    weight, x = normal(4, 3, 3, 2), normal(2, 4, 6, 5, seed=1)
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=group, **attributes)
    proto = model([node], {"x": [2, 4, 6, 5]}, {"y": None}, [tensor("w", weight)])
    (y,) = run(proto, x=x)
    layer = layer_of(proto)
    wanted = np.moveaxis(y.reshape(2, group, 3, -1), 0, 2).reshape(group, 3, -1)
    np.testing.assert_allclose(outputs_by_im2col(layer, weight, x), wanted, atol=1e-5)
    np.testing.assert_array_equal(layer.from_matrices(layer.to_matrices(weight)), weight)


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("other_transposed", [0, 1])
@pytest.mark.parametrize("index", [0, 1])
def test_im2col_of_a_gemm_gives_its_outputs(index, other_transposed, transposed):
    shape, other = [((4, 6), (6, 5)), ((6, 5), (4, 6))][index]  # A is 4 x 6, B is 6 x 5
    weight = normal(*(shape[::-1] if transposed else shape))
    x = normal(*(other[::-1] if other_transposed else other), seed=1)
    mine, its = ("transB", "transA") if index else ("transA", "transB")
    node = helper.make_node(
        "Gemm", ["x", "w"] if index else ["w", "x"], ["y"], **{mine: transposed, its: other_transposed}
    )
    proto = model([node], {"x": list(x.shape)}, {"y": None}, [tensor("w", weight)])
    (y,) = run(proto, x=x)
    found = outputs_by_im2col(layer_of(proto), weight, x)[0]
    np.testing.assert_allclose(found, y.T if index else y, atol=1e-6)
    np.testing.assert_array_equal(layer_of(proto).from_matrices(layer_of(proto).to_matrices(weight)), weight)


@pytest.mark.parametrize("block", [1 << 23, 20])
def test_im2col_of_a_matmul_gives_its_outputs(block, monkeypatch):
    monkeypatch.setattr(im2col, "BLOCK", block)
    weight, x = normal(6, 5), normal(2, 3, 4, 6, seed=1)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    right = model([node], {"x": list(x.shape)}, {"y": None}, [tensor("w", weight)])
    found = outputs_by_im2col(layer_of(right), weight, x)[0]
    np.testing.assert_allclose(found, run(right, x=x)[0].reshape(-1, 5).T, atol=1e-6)
    x = normal(3, 5, 7, seed=1)
    node = helper.make_node("MatMul", ["w", "x"], ["y"])
    left = model([node], {"x": list(x.shape)}, {"y": None}, [tensor("w", weight)])
    found = outputs_by_im2col(layer_of(left), weight, x)[0]
    np.testing.assert_allclose(found, np.moveaxis(run(left, x=x)[0], 1, 0).reshape(6, -1), atol=1e-6)
