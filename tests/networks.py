"""Networks with the names and shapes that the tests of the commands expect."""

import functools
import math
import tempfile
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

import dcz
from tests.models import model, normal, tensor

INPUTS, CLASSES = 64, 10


def perceptron(hidden: int = 128, seed: int = 0) -> ModelProto:
    """x [n, 64] -> fc1 (64 x hidden) -> Relu -> fc2 (hidden x 10) -> y, with a bias each."""
    random = np.random.default_rng(seed)
    shapes = {
        "fc1.weight": (INPUTS, hidden),
        "fc1.bias": (hidden,),
        "fc2.weight": (hidden, CLASSES),
        "fc2.bias": (CLASSES,),
    }
    weights = [
        numpy_helper.from_array(random.normal(0, 0.1, shape).astype(np.float32), name) for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "fc1.weight", "fc1.bias"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "fc2.weight", "fc2.bias"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "perceptron",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", CLASSES])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@functools.cache
def packed_perceptron(settings: dcz.Settings | None = None) -> bytes:
    """The .dcz file of perceptron(), with which many tests begin; that of its ONNX file has the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        return dcz.compress(perceptron(), Path(folder, "net.dcz"), settings).read_bytes()


def separable(channels: int = 48, spread: float = 300.0) -> ModelProto:
    """x [n, 8, 8, 8] -> 1 x 1 -> ReLU -> depthwise 3 x 3 -> ReLU -> 1 x 1 -> mean -> y [n, 10].

    The rows of the first two weights are up to `spread` times smaller than others, as normalizations leave them that
    were folded; what they make small, the layer that follows makes large again.
    """
    order = np.random.default_rng(5).permutation(channels)
    sizes = np.geomspace(1, 1 / spread, channels)[order].astype(np.float32)
    others = np.geomspace(1, 1 / spread, channels).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "expand", "b0"], ["h0"]),
        helper.make_node("Relu", ["h0"], ["r0"]),
        helper.make_node("Conv", ["r0", "depthwise", "b1"], ["h1"], pads=[1, 1, 1, 1], group=channels),
        helper.make_node("Relu", ["h1"], ["r1"]),
        helper.make_node("Conv", ["r1", "project", "b2"], ["h2"]),
        helper.make_node("Relu", ["h2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "classes"], ["y"]),
    ]
    weights = {
        "expand": normal(channels, 8, 1, 1) * sizes[:, None, None, None],
        "depthwise": normal(channels, 1, 3, 3, seed=1) * (others / sizes)[:, None, None, None],
        "project": normal(64, channels, 1, 1, seed=2) / others[None, :, None, None],
        "classes": normal(64, 10, seed=3),
        "b0": normal(channels, seed=4) * sizes,
        "b1": normal(channels, seed=5) * others,
        "b2": normal(64, seed=6),
    }
    tensors = [tensor(name, array.astype(np.float32)) for name, array in weights.items()]
    return model(nodes, {"x": ["n", 8, 8, 8]}, {"y": ["n", 10]}, tensors)


def correlated(count: int = 64, shape: tuple[int, ...] = (64,), seed: int = 0) -> np.ndarray:
    """Samples that lie near a space of six dimensions, as real ones do."""
    random = np.random.default_rng(seed)
    size = math.prod(shape)
    basis = np.random.default_rng(99).normal(size=(6, size))
    found = random.normal(size=(count, 6)) @ basis + 0.05 * random.normal(size=(count, size))
    return found.reshape(count, *shape).astype(np.float32)
