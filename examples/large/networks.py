"""AlexNet (Caffe's, in groups) and VGG-16 as ONNX graphs, for weights that come from elsewhere.

ALEXNET.weights        {"conv1": (96, 3, 11, 11), "conv2": (256, 48, 5, 5), ..., "fc8": (1000, 4096)}
ALEXNET.model(tensors) onnx.ModelProto with "conv1.weight", "conv1.bias", ...
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from . import paper


@dataclass(frozen=True)
class Layer:
    """A layer of so many units: a convolution with a `kernel`, else fully connected. ReLU follows all but the last,
    then, where asked for, normalisation across five channels (LRN), and max-pooling of `pool` x `pool` at stride 2."""

    name: str
    units: int
    kernel: int = 0
    stride: int = 1
    pad: int = 0
    group: int = 1
    lrn: bool = False
    pool: int = 0


@dataclass(frozen=True)
class Network:
    """Layers on an image of three channels and `size` x `size` pixels, and the paper's table of them."""

    name: str
    title: str
    size: int
    layers: tuple[Layer, ...]
    paper: paper.Paper

    @property
    def weights(self) -> dict[str, tuple[int, ...]]:
        """The shape of each layer's weights: units first, as in Caffe and in the paper's row-major index."""
        return dict(self._shapes())

    def _shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        channels, size = 3, self.size
        for layer in self.layers:
            if layer.kernel:
                yield layer.name, (layer.units, channels // layer.group, layer.kernel, layer.kernel)
                size = (size + 2 * layer.pad - layer.kernel) // layer.stride + 1
                size = (size - layer.pool) // 2 + 1 if layer.pool else size
            else:
                yield layer.name, (layer.units, channels * size * size)
                size = 1
            channels = layer.units

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(math.prod(shape) + shape[0] for shape in self.weights.values())

    def model(self, tensors: Mapping[str, np.ndarray]) -> ModelProto:
        """The network with these `tensors` (float32): a weight and a bias for each layer."""
        nodes = list(self._nodes())
        graph = helper.make_graph(
            nodes,
            self.name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, self.size, self.size])],
            [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, ["n", self.layers[-1].units])],
            [numpy_helper.from_array(array, name) for name, array in tensors.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)

    def _nodes(self) -> Iterator:
        last, flat = "x", False
        for layer in self.layers:
            operands = [f"{layer.name}.weight", f"{layer.name}.bias"]
            if not layer.kernel and not flat:
                yield helper.make_node("Flatten", [last], ["flat"])
                last, flat = "flat", True
            if layer.kernel:
                options = {"strides": [layer.stride] * 2, "pads": [layer.pad] * 4, "group": layer.group}
                yield helper.make_node(
                    "Conv", [last, *operands], [layer.name], kernel_shape=[layer.kernel] * 2, **options
                )
            else:
                yield helper.make_node("Gemm", [last, *operands], [layer.name], transB=1)
            last = layer.name
            if layer is not self.layers[-1]:
                yield helper.make_node("Relu", [last], [last := f"{layer.name}.relu"])
            if layer.lrn:
                yield helper.make_node("LRN", [last], [last := f"{layer.name}.lrn"], size=5, alpha=1e-4, beta=0.75)
            if layer.pool:
                shape = {"kernel_shape": [layer.pool] * 2, "strides": [2, 2]}
                yield helper.make_node("MaxPool", [last], [last := f"{layer.name}.pool"], **shape)

    def scaled(self, divisor: int) -> "Network":
        """The same with so many times fewer units a layer, but 64 at least, to see that everything runs."""
        layers = tuple(replace(layer, units=max(64, layer.units // divisor)) for layer in self.layers)
        return replace(self, layers=layers)


ALEXNET = Network(
    "alexnet",
    "AlexNet",
    227,
    (
        Layer("conv1", 96, 11, stride=4, lrn=True, pool=3),
        Layer("conv2", 256, 5, pad=2, group=2, lrn=True, pool=3),
        Layer("conv3", 384, 3, pad=1),
        Layer("conv4", 384, 3, pad=1, group=2),
        Layer("conv5", 256, 3, pad=1, group=2, pool=3),
        Layer("fc6", 4096),
        Layer("fc7", 4096),
        Layer("fc8", 1000),
    ),
    paper.ALEXNET,
)


def _blocks() -> Iterator[Layer]:
    """VGG-16's thirteen convolutions, in blocks that end in pooling."""
    for block, (count, units) in enumerate([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)], 1):
        for number in range(1, count + 1):
            yield Layer(f"conv{block}_{number}", units, 3, pad=1, pool=2 if number == count else 0)


VGG_16 = Network(
    "vgg-16",
    "VGG-16",
    224,
    (*_blocks(), Layer("fc6", 4096), Layer("fc7", 4096), Layer("fc8", 1000)),
    paper.VGG_16,
)
NETWORKS = {network.name: network for network in (ALEXNET, VGG_16)}
