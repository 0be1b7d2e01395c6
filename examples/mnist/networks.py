"""The two networks of the paper's MNIST rows as ONNX graphs, with seeded weights, and factored by SVD.

    networks.LENET_5.make(seed=0)       onnx.ModelProto, 431,080 parameters

Names are short, for they are in every file: tensors are numbered in the order of their use, weights odd, biases even.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

CLASSES = 10


@dataclass(frozen=True)
class Architecture:
    """A network: the input's shape, the layer of each tensor, and what the paper reached (error in percent, ratio).

    `frozen` names tensors that stay zero in training: biases that the next layer's bias makes superfluous.
    """

    name: str
    title: str
    shape: tuple[int, ...]
    make: Callable[[int], ModelProto]
    layers: dict[str, str]
    paper: tuple[float, int]
    frozen: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(int(np.prod(tensor.dims)) for tensor in self.make(0).graph.initializer)


def _lenet_300_100(seed: int) -> ModelProto:
    """784 -> 300 -> 100 -> 10, ReLU between."""
    nodes = [
        helper.make_node("Gemm", ["x", "1", "2"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Gemm", ["b", "3", "4"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "5", "6"], ["y"]),
    ]
    return _model(nodes, (784,), _weights([(784, 300), (300, 100), (100, CLASSES)], seed))


def _lenet_5(seed: int) -> ModelProto:
    """Caffe's: 20 and 50 kernels of 5 x 5, each followed by 2 x 2 max-pooling alone; 500 units with ReLU; 10."""
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["x", "1", "2"], ["a"]),
        helper.make_node("MaxPool", ["a"], ["b"], **pool),
        helper.make_node("Conv", ["b", "3", "4"], ["c"]),
        helper.make_node("MaxPool", ["c"], ["d"], **pool),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("Gemm", ["e", "5", "6"], ["f"]),
        helper.make_node("Relu", ["f"], ["g"]),
        helper.make_node("Gemm", ["g", "7", "8"], ["y"]),
    ]
    return _model(nodes, (1, 28, 28), _weights([(20, 1, 5, 5), (50, 20, 5, 5), (800, 500), (500, CLASSES)], seed))


def _weights(shapes: list[tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """Normal weights of variance 2 / inputs (He et al., "Delving deep into rectifiers", 2015), zero biases."""
    random = np.random.default_rng(seed)
    tensors = {}
    for layer, shape in enumerate(shapes):
        inputs, units = (np.prod(shape[1:]), shape[0]) if len(shape) == 4 else shape
        tensors[str(2 * layer + 1)] = random.normal(0, np.sqrt(2 / inputs), shape).astype(np.float32)
        tensors[str(2 * layer + 2)] = np.zeros(units, np.float32)
    return tensors


def _model(nodes: list, shape: tuple[int, ...], tensors: dict[str, np.ndarray]) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def masked(model: ModelProto) -> ModelProto:
    """A copy of `model` for training with dropout: what its last layer reads is multiplied by another input, m."""
    copy = ModelProto()
    copy.CopyFrom(model)
    last = copy.graph.node[-1]
    width = next(tensor.dims[0] for tensor in model.graph.initializer if tensor.name == last.input[1])
    copy.graph.node.insert(len(copy.graph.node) - 1, helper.make_node("Mul", [last.input[0], "m"], ["dropped"]))
    copy.graph.node[-1].input[0] = "dropped"
    copy.graph.input.append(helper.make_tensor_value_info("m", TensorProto.FLOAT, ["n", width]))
    return copy


def filled(model: ModelProto, trained: ModelProto) -> ModelProto:
    """A copy of `model` with the tensors of `trained`, which has the same ones."""
    tensors = {tensor.name: tensor for tensor in trained.graph.initializer}
    copy = ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        tensor.CopyFrom(tensors[tensor.name])
    return copy


def factored(model: ModelProto, share: float) -> ModelProto:
    """A copy of `model` in which every Gemm's weights are two factors, where that saves weights: the best approximation
    by `share` of their full rank, one at least (Denton et al., "Exploiting linear structure", 2014)."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        name = node.input[1] if node.op_type == "Gemm" else None
        if name is None:
            nodes.append(node)
            continue
        left, sizes, right = np.linalg.svd(tensors[name].astype(np.float64), full_matrices=False)
        rank = max(1, round(share * len(sizes)))
        if rank * (len(left) + right.shape[1]) >= tensors[name].size:
            nodes.append(node)
            continue
        root = np.sqrt(sizes[:rank])
        del tensors[name]
        tensors[f"{name}u"] = (left[:, :rank] * root).astype(np.float32)
        tensors[f"{name}v"] = (root[:, None] * right[:rank]).astype(np.float32)
        nodes.append(helper.make_node("Gemm", [node.input[0], f"{name}u"], [f"{name}h"]))
        nodes.append(helper.make_node("Gemm", [f"{name}h", f"{name}v", node.input[2]], list(node.output)))
    return _model(nodes, _shape(model), tensors)


def _shape(model: ModelProto) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:])


LENET_300_100 = Architecture(
    "lenet-300-100",
    "LeNet-300-100",
    (784,),
    _lenet_300_100,
    {"1": "fc1", "2": "fc1 bias", "3": "fc2", "4": "fc2 bias", "5": "fc3", "6": "fc3 bias"},
    (1.58, 40),
)
LENET_5 = Architecture(
    "lenet-5",
    "LeNet-5",
    (1, 28, 28),
    _lenet_5,
    {"1": "conv1", "2": "conv1 bias", "3": "conv2", "4": "conv2 bias"}
    | {"5": "fc1", "6": "fc1 bias", "7": "fc2", "8": "fc2 bias"},
    (0.74, 39),
    frozen=("2", "4"),  # a constant passes through max-pooling, and there is no ReLU: the next bias can hold it
)
ARCHITECTURES = {each.name: each for each in (LENET_300_100, LENET_5)}


def of_file(path: Path) -> Architecture | None:
    """The network of a file that is named after it."""
    return next((each for each in ARCHITECTURES.values() if path.name.startswith(each.name)), None)


def layers(path: Path) -> dict[str, str]:
    """The layer of each tensor of a file that is named after its network."""
    network = of_file(path)
    return network.layers if network else {}
