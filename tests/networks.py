"""Networks with the names and shapes that the tests of the commands expect."""

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

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
