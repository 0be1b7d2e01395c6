"""A layer and the BatchNormalization of its output, and the parameters with which the layer does the work of both.

y = s * (W x + c - m) / sqrt(v + e) + b    ->    y = W' x + c'

W' = W * s / sqrt(v + e), by output channel;  c' = (c - m) * s / sqrt(v + e) + b
"""

import math
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from ..tensor import round_to, values
from .nodes import float_attributes, int_attributes
from .tensors import ModelTensor

BIAS_BITS = 12  # that a new bias keeps: its error is 2^-12 of it at most, -72 dB
# How much larger than the deviation of its output a bias may be before it keeps more bits.
MAX_BIAS = 4.0


@dataclass(frozen=True, eq=False)
class LayerAndNorm:
    """A Conv, ConvTranspose or Gemm, and the BatchNormalization `norm` that alone reads its output.

    `weight`, seen in the shape `view`, has the output channels along its axes 0 (groups) and 2 (channels of a group).
    `bias` is the layer's own, if any, which counts `beta` times; `vectors` are scale, bias, mean and variance of the
    normalisation; `bias_name` is the name of the new bias.
    """

    layer: NodeProto
    norm: NodeProto
    weight: ModelTensor
    view: tuple[int, int, int, int]
    bias: ModelTensor | None
    vectors: tuple[ModelTensor, ...]
    bias_name: str

    @property
    def channels(self) -> int:
        """Output channels of the layer."""
        return self.view[0] * self.view[2]

    @property
    def beta(self) -> float:
        """The factor of the layer's own bias, which only Gemm has."""
        return float_attributes(self.layer).get("beta", 1.0) if self.layer.op_type == "Gemm" else 1.0

    @property
    def epsilon(self) -> float:
        """What the normalisation adds to the variance."""
        return float_attributes(self.norm).get("epsilon", 1e-5)

    def other_tensors(self) -> tuple[str, ...]:
        """The names of all tensors that folding changes, removes or adds, but the weight."""
        tensors = [*self.vectors, *([self.bias] if self.bias else [])]
        return tuple(dict.fromkeys([*(tensor.name for tensor in tensors), self.bias_name]))


def channel_view(layer: NodeProto, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """The `view` (see LayerAndNorm) of a layer's weight of this shape; None for other layers and shapes.

    A Gemm's weight is its second input.
    """
    attributes = int_attributes(layer)
    if not all(shape):
        return None
    if layer.op_type == "Conv" and len(shape) > 2:
        return 1, 1, shape[0], math.prod(shape[1:])
    group = attributes.get("group", 1)
    if layer.op_type == "ConvTranspose" and len(shape) > 2 and group > 0 and shape[0] % group == 0:
        return group, shape[0] // group, shape[1], math.prod(shape[2:])
    if layer.op_type == "Gemm" and len(shape) == 2:
        return (1, 1, shape[0], shape[1]) if attributes.get("transB") else (1, shape[0], shape[1], 1)
    return None


def folded_parameters(pair: LayerAndNorm, rounds_bias: bool = False) -> tuple[np.ndarray, np.ndarray] | None:
    """The bytes (uint8, flat) of W' and c' in the weight's type, computed in float64.

    `rounds_bias`: c' to short numbers, see _short. None where a variance is negative, or a result is infinite or NaN in
    that type.
    """
    dtype = pair.weight.dtype
    scale, shift, mean, variance = map(_float64, pair.vectors)
    with np.errstate(all="ignore"):  # infinities and NaN are found below
        if not (variance + pair.epsilon > 0).all():
            return None
        deviations, scale = np.abs(scale), scale / np.sqrt(variance + pair.epsilon)
        factor = scale.reshape(pair.view[0], 1, pair.view[2], 1)
        weight = (_float64(pair.weight).reshape(pair.view) * factor).ravel() + 0.0  # -0.0 becomes 0.0
        bias = 0.0 if pair.bias is None else pair.beta * _float64(pair.bias).ravel()
        bias = (bias - mean) * scale + shift
        if rounds_bias:
            bias = _short(bias, deviations)
        patterns = [round_to(array, dtype) for array in (weight, bias)]
    if not all(np.isfinite(values(array, dtype)).all() for array in patterns):
        return None
    return patterns[0].view(np.uint8), patterns[1].view(np.uint8)


def _short(biases: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Biases (float64) rounded to BIAS_BITS, so that the zeros behind these deflate.

    A normalization gives its output the standard deviation `deviations`, its scale's size: where a bias is more than
    MAX_BIAS times as large, its bits count from there, so that the error is small beside what varies: at most 2^-10 of
    a deviation, -60 dB, where shared weights make errors of -50 dB and more.
    """
    sizes = np.minimum(np.abs(biases), MAX_BIAS * deviations)
    steps = np.ldexp(1.0, np.frexp(sizes)[1] - BIAS_BITS)
    # A bias so large beside the deviation that float64 has no numbers as fine as the step stays.
    can_round = (sizes > 0) & (steps > np.abs(biases) * 2.0**-52)
    rounded: np.ndarray = np.where(can_round, np.rint(biases / steps) * steps, biases)
    return rounded


def _float64(tensor: ModelTensor) -> np.ndarray:
    return tensor.values().astype(np.float64)
