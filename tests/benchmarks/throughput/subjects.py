"""What is measured: VGG-16's exact layers with drawn weights, at the paper's densities, and dense at 8 bits.

write(folder, divisor=1)      folder/model.onnx, sparse.dcz, sparse.npy
plan(KINDS["sparse"])                        how dcz compresses it
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import dcz
from dcz.format.container import Archive
from dcz.reading.decompress import decode_all
from examples.large import sources
from examples.large.networks import VGG_16, Network

KINDS = {
    "sparse": "pruned to the paper's densities, shared with the paper's bits",
    "dense": "every weight kept, shared among 256 values",
    "default": "every weight kept, dcz's own default (34 dB)",
}
SLICE = 1 << 22  # weights of the layer that slow coders are timed on
LAYER = "fc7.weight"


def network(divisor: int = 1) -> Network:
    """VGG-16, or the same with so many times fewer units a layer."""
    return VGG_16 if divisor == 1 else VGG_16.scaled(divisor)


def plan(kind: str) -> dcz.Plan:
    """The settings of a kind."""
    if kind == "default":
        return dcz.Plan()
    if kind == "dense":
        return dcz.Plan(dcz.Settings(bits=8))
    stated = VGG_16.paper.layers
    rules = [
        dcz.Rule((f"{name}.weight",), dcz.Settings(sparsity=1 - stated[name].kept, bits=stated[name].bits))
        for name in VGG_16.weights
    ]
    return dcz.Plan(dcz.Settings(lossless=True), tuple(rules))


def write(folder: Path, divisor: int = 1) -> None:
    """The network with Laplacian weights, drawn from a seed, as `folder`/model.onnx."""
    net, tensors = network(divisor), {}
    for number, (name, shape) in enumerate(net.weights.items()):
        tensors[f"{name}.weight"] = _laplacian(np.random.default_rng((0, number)), shape)
        tensors[f"{name}.bias"] = sources.biases(shape[0], (0, number, 1))
    onnx.save(net.model(tensors), folder / "model.onnx")


def _laplacian(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Weights (float32) of variance 2 / inputs, none of them zero: a trained weight hardly ever is."""
    weights = random.standard_exponential(shape, np.float32)
    np.maximum(weights, np.float32(1e-6), out=weights)
    sign = random.integers(0, 2, weights.size, np.uint8).reshape(shape)
    weights *= np.array([-1, 1], np.float32)[sign]
    weights *= np.float32(1 / np.sqrt(np.prod(shape[1:])))
    return weights


def parameters(folder: Path) -> bytes:
    """The bytes of the model's tensors, one behind the other."""
    model = onnx.load(folder / "model.onnx")
    return b"".join(tensor.raw_data for tensor in model.graph.initializer)


def drawn(folder: Path) -> np.ndarray:
    """The model's own LAYER."""
    model = onnx.load(folder / "model.onnx")
    return next(numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == LAYER)


def decoded(path: Path) -> bytes:
    """The bytes of all tensors of a .dcz file, one behind the other."""
    with Archive(path) as archive:
        return b"".join(data.tobytes() for _, data in decode_all(archive))


def layer(weights: np.ndarray) -> np.ndarray:
    """The first rows of a layer (float32, two axes), at most SLICE weights."""
    return weights[: max(1, SLICE // weights.shape[1])]
