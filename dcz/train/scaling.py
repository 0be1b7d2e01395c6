"""Normalizations that become scales of shared weights (spec, section 8.1): what a folded one multiplies rows with.

    layers = scalable(network, {"conv.weight"})      which rows of which weights a normalization scales
    fix(layers)                                      its factors are those that a file has: before weights are shared
    found = factors(layers); ...; scale(weight, bias, found[...])      once the normalizations are folded

Rows before a normalization are of the size that training gave them. Folded, they differ by what the normalization
multiplies them with, and one codebook for all of them keeps little of the small ones. So the codebook is found and
trained beside the normalization, whose factors, one byte each, are in the file.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from ..codec.stages import scale as rows
from ..model import Node
from .network import Network
from .normalization import BatchNorm
from .pytorch import torch
from .weight import Weight

MIN_SCALE = 8.0  # of a file
MIN_FACTOR = 2.0**-12  # of the largest: smaller ones, and those that are not above zero, are of rows that do nothing
MIN_DEVIATION = 2.0**-100
# What an error of a bias costs is relative to its output's deviation. At 1/32, it has 1/110 of that at most: -41 dB,
# where weights that share 8 values come to -20 or so.
BIAS_STEP = 1 / 32
MANTISSA = 2.0**20  # numbers of 20 bits times scales of 4 are float32s


@dataclass(frozen=True)
class ScalableLayer:
    """A layer, along whose weight's `axis` the normalization behind it scales; its own bias counts `beta` times."""

    norm: BatchNorm
    weight: Weight
    axis: int
    bias: Weight | None
    beta: float
    gain: Weight  # of the normalization, which ONNX calls its scale
    shift: Weight

    @property
    def others(self) -> tuple[Weight, ...]:
        """The tensors that become one bias when the normalization is folded."""
        return (self.gain, self.shift, *([self.bias] if self.bias is not None else []))


@dataclass(frozen=True)
class Factors:
    """What a normalization multiplies the places along an axis with (float64), and the mean of what it multiplies."""

    axis: int
    factors: np.ndarray
    means: np.ndarray
    deviations: np.ndarray  # of its outputs, standard ones


def scalable(network: Network, names: Collection[str]) -> list[ScalableLayer]:
    """The layers among those of the weights in `names` whose normalization scales them along one axis."""
    producers = {output: node for node in network.program.nodes for output in node.outputs}
    layers = []
    for norm in network.batchnorms:
        node = producers[norm.output]
        layer = producers.get(node.inputs[0])
        weight = None if layer is None or len(layer.inputs) < 2 else network.weight_of(layer.inputs[1])
        gain, shift = (network.weight_of(name) for name in node.inputs[1:3])
        if layer is None or weight is None or gain is None or shift is None or weight.name not in names:
            continue
        axis, has_bias = _axis(layer), len(layer.inputs) > 2 and bool(layer.inputs[2])
        bias = network.weight_of(layer.inputs[2]) if has_bias else None
        if axis is None or weight.shape[axis] != gain.count or (has_bias and bias is None):
            continue
        parts = (weight, gain, shift, *([bias] if bias is not None else []))
        if weight.dtype == "float32" and all(network.uses(part) == 1 for part in parts):
            beta = layer.attributes.get("beta", 1.0)
            layers.append(ScalableLayer(norm, weight, axis, bias, beta, gain, shift))
    return layers


def _axis(layer: Node) -> int | None:
    """The axis of a layer's weight along which its outputs lie, where these are all of it."""
    if layer.op == "Conv":
        return 0
    if layer.op == "ConvTranspose" and layer.attributes.get("group", 1) == 1:
        return 1
    if layer.op == "Gemm":
        return 0 if layer.attributes.get("transB", 0) else 1
    return None


def fix(layers: list[ScalableLayer]) -> None:
    """Change the layers so that their normalizations multiply them by scales that a file has, times a number, from now
    on; the network's outputs stay. What the scales are off by, signs among it, goes to the rows of the weights.

    (A factor that is trained, and rounded in the end, is up to 6 % off: a ResNet-32 lost 0.03 nats by that.)
    """
    for layer in layers:
        with torch.no_grad():
            gain = layer.gain().detach().cpu().double().numpy()
            exact = gain / np.sqrt(layer.norm.variance.cpu().double().numpy() + layer.norm.epsilon)
            scales, unit = _rounded(np.abs(exact), layer.axis, layer.weight.shape)
            is_small = np.abs(exact) < MIN_FACTOR * np.abs(exact).max()
            signs = np.where(exact < 0, -1.0, 1.0)
            ratio = torch.from_numpy(np.where(is_small, signs, exact / (scales * unit))).to(layer.weight.values)
            shape = [-1 if axis == layer.axis else 1 for axis in range(len(layer.weight.shape))]
            weights = layer.weight.values.view(layer.weight.shape)
            layer.weight.values.copy_((weights * ratio.view(shape)).reshape(-1))
            layer.norm.mean.mul_(ratio)
            variance = (layer.norm.variance + layer.norm.epsilon) * ratio.square() - layer.norm.epsilon
            layer.norm.variance.copy_(variance.clamp_min(0))
            layer.norm.factor = torch.from_numpy(scales * unit).to(layer.norm.mean)
            if layer.bias is not None:
                layer.bias.values.mul_(ratio)


def _rounded(wanted: np.ndarray, axis: int, shape: tuple[int, ...]) -> tuple[np.ndarray, float]:
    """(scales of a file, number) whose products are nearest to the factors that are wanted."""
    wanted = np.maximum(wanted, max(float(wanted.max()), MIN_DEVIATION) * MIN_FACTOR)
    unit = float(wanted.min()) / MIN_SCALE
    return rows.of_steps(rows.nearest_steps(wanted / unit), axis, shape).scales, unit


def factors(layers: list[ScalableLayer]) -> dict[str, Factors]:
    """What the normalizations multiply their layers' shared weights with, by the norm's output; the tensors of fixed
    ones become what they are fixed to."""
    found = {}
    for layer in layers:
        if layer.weight.shared:
            if (fixed := layer.norm.scale()) is not None:  # which folding takes from the tensor
                with torch.no_grad():
                    layer.gain.values.copy_(fixed)
            gain, mean, variance = (
                part.detach().cpu().double().numpy() for part in (layer.gain(), layer.norm.mean, layer.norm.variance)
            )
            own = 0.0 if layer.bias is None else layer.beta * layer.bias.numpy().astype(np.float64).ravel()
            factor = gain / np.sqrt(variance + layer.norm.epsilon)
            found[layer.norm.output] = Factors(layer.axis, factor, mean - own, np.abs(gain))
    return found


def scale(weight: Weight, bias: Weight, found: Factors, rounds_bias: bool) -> None:
    """Change a shared weight, and the bias of its layer, that has taken up a normalization of these factors.

    Factors are rounded to scales of a file, and the bias keeps each output's mean where it is. `rounds_bias`: to a
    multiple of a power of two, at most BIAS_STEP of the output's standard deviation.
    """
    rounded, unit = _rounded(found.factors, found.axis, weight.shape)
    with torch.no_grad():
        moved = found.means * (found.factors - rounded * unit)
        offsets = bias.values.cpu().double().numpy() + moved
        if rounds_bias:
            deviations = np.maximum(found.deviations, max(found.deviations.max(), MIN_DEVIATION) * MIN_FACTOR)
            steps = np.exp2(np.floor(np.log2(BIAS_STEP * deviations)))
            offsets = np.rint(offsets / steps) * steps
        bias.values.copy_(torch.from_numpy(offsets).to(bias.values))
        mantissa, exponent = np.frexp(weight.values.cpu().double().numpy() * unit)
        entries = np.ldexp(np.rint(mantissa * MANTISSA) / MANTISSA, exponent)
        weight.values.copy_(torch.from_numpy(entries).to(weight.values))
    weight.scale(rounded, found.axis)
