"""The moments of what a node computes from those of its operands, by operator.

    RULES["Conv"](walk, node)     ->    Moments of its output, None where they cannot be told

Each rule looks operands up in the walk over the graph that calls it (see input_means).
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
from onnx import NodeProto

from . import moments
from .moments import Moments
from .nodes import float_attributes, int_attributes
from .tensors import ModelTensor

# Operators whose output has the channels of operand 0, with about the same means.
_SAME = ("Identity", "Dropout", "AveragePool", "GlobalAveragePool", "MaxPool", "Resize", "Upsample", "Pad", "Cast")
_GATES = ("Sigmoid", "HardSigmoid", "Tanh")  # x times such a function of x is a function of x
_ARITHMETIC = ("Add", "Sub", "Mul", "Div")
# What a layer that sees an image is taken to read, of each channel: bright and dark about alike.
_IMAGE_CHANNELS, _IMAGE_VARIANCE = (1, 3, 4), 0.1
# The correlation of neighbouring places of a channel: with 0.5 the means of MobileNetV1 and EfficientNet-Lite0 are as
# near the truth, with 0 or 1 a little less. (For roundings stages.kernels takes 0.5, where more was worse.)
_ALIKE = 0.8
_MAX_WEIGHTS = 1 << 24  # of a layer: depthwise networks have no larger ones


class Walk(Protocol):
    """What rules ask of a walk: the `moments` of values by name, the weights, and the node that makes a value."""

    moments: dict[str, Moments]
    producers: dict[str, NodeProto]
    tensors: Mapping[str, ModelTensor]

    def input(self, node: NodeProto, index: int = 0) -> Moments | None:
        """The moments of an operand."""

    def constant(self, name: str) -> np.ndarray | None:
        """A constant of few elements, all finite (float64, in its shape); None for others."""

    def by_channel(self, name: str, inputs: Moments) -> np.ndarray | None:
        """A constant that is one number, or has one for each channel of `inputs`, flat; None for others."""


def _batchnorm(walk: Walk, node: NodeProto) -> Moments | None:
    scale, shift = (walk.constant(name) for name in node.input[1:3])
    if scale is None or shift is None or scale.shape != shift.shape or scale.ndim != 1:
        return None
    return Moments(shift, np.square(scale))


def _conv(walk: Walk, node: NodeProto) -> Moments | None:
    """Sums of inputs: neighbouring places of a channel are about alike, and channels independent.

    Where normalizations were folded into the layers, the biases tell most: an image of a thousand times the variance,
    or of a hundredth, gives much the same.
    """
    weight, group = walk.tensors.get(node.input[1]), int_attributes(node).get("group", 1)
    bias = walk.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
    if weight is None or bias is None or len(weight.shape) < 3 or group < 1 or weight.shape[0] % group:
        return None
    if not 0 < math.prod(weight.shape) <= _MAX_WEIGHTS:
        return None
    rows, channels = weight.shape[:2]
    inputs = walk.input(node)
    if inputs is None and group == 1 and channels in _IMAGE_CHANNELS:
        inputs = Moments(np.zeros(channels), np.full(channels, _IMAGE_VARIANCE))
    if inputs is None or len(inputs) != group * channels or bias.shape not in ((rows,), (1,)):
        return None
    kernels = weight.values().astype(np.float64).reshape(group, rows // group, channels, -1)
    sums = kernels.sum(axis=3)
    powers = (1 - _ALIKE) * np.square(kernels).sum(axis=3) + _ALIKE * np.square(sums)
    mean, variance = (
        (matrix @ each.reshape(group, channels, 1)).ravel()
        for matrix, each in ((sums, inputs.mean), (powers, inputs.variance))
    )
    return Moments(mean + bias, variance)


def _function(walk: Walk, node: NodeProto) -> Moments | None:
    inputs = walk.input(node)
    if inputs is None:
        return None
    return moments.of_function(inputs, functools.partial(moments.FUNCTIONS[node.op_type], **_options(node)))


def _options(node: NodeProto) -> dict[str, float]:
    """The attributes of a node that its function takes."""
    return {
        name: value
        for name, value in float_attributes(node).items()
        if name in moments.OPTIONS.get(node.op_type, ()) and math.isfinite(value)
    }


def _same(walk: Walk, node: NodeProto) -> Moments | None:
    return walk.input(node)


def _clip(walk: Walk, node: NodeProto) -> Moments | None:
    inputs, limits = walk.input(node), float_attributes(node)
    low, high = limits.get("min", -math.inf), limits.get("max", math.inf)
    for index, name in enumerate(node.input[1:3]):
        if name:
            bound = walk.constant(name)
            if bound is None or bound.size != 1:
                return None
            low, high = (bound.item(), high) if index == 0 else (low, bound.item())
    return None if inputs is None else moments.of_function(inputs, lambda x: np.clip(x, low, high))


def _prelu(walk: Walk, node: NodeProto) -> Moments | None:
    inputs = walk.input(node)
    slope = None if inputs is None else walk.by_channel(node.input[1], inputs)
    if inputs is None or slope is None:
        return None
    return moments.of_function(inputs, lambda x: np.where(x < 0, slope[:, None] * x, x))


def _arithmetic(walk: Walk, node: NodeProto) -> Moments | None:
    """Add, Sub, Mul and Div, of two values or of a value and a constant; x times a gate of x is a function of x."""
    first, second = walk.input(node, 0), walk.input(node, 1)
    if first is not None and second is not None:
        if node.op_type == "Mul" and (gate := _gate(walk, node)) is not None:
            return gate
        if len(first) != len(second) or node.op_type == "Div":
            return None
        if node.op_type == "Mul":
            return moments.of_product(first, second)
        return moments.of_sum(first, second if node.op_type == "Add" else second.scaled(-1.0))
    known, other = (first, node.input[1]) if first is not None else (second, node.input[0])
    constant = None if known is None else walk.by_channel(other, known)
    if known is None or constant is None:
        return None
    if node.op_type == "Mul":
        return known.scaled(constant)
    if node.op_type == "Div":
        return known.scaled(1 / constant) if known is first else None
    if node.op_type == "Add":
        return known.scaled(1.0, constant)
    return known.scaled(1.0, -constant) if known is first else known.scaled(-1.0, constant)


def _gate(walk: Walk, node: NodeProto) -> Moments | None:
    for value, gate in ((0, 1), (1, 0)):
        producer = walk.producers.get(node.input[gate])
        if producer is not None and producer.op_type in _GATES and list(producer.input) == [node.input[value]]:
            gated = functools.partial(_gated, moments.FUNCTIONS[producer.op_type], _options(producer))
            return moments.of_function(walk.moments[node.input[value]], gated)
    return None


def _gated(gate: moments.Function, options: dict[str, float], x: np.ndarray) -> np.ndarray:
    product: np.ndarray = x * gate(x, **options)
    return product


def _concat(walk: Walk, node: NodeProto) -> Moments | None:
    parts = [part for part in map(walk.moments.get, node.input) if part is not None]
    if int_attributes(node).get("axis") != 1 or len(parts) != len(node.input):
        return None
    return moments.concatenated(parts)


def _flatten(walk: Walk, node: NodeProto) -> Moments | None:
    """A map made flat, of as many numbers as the layer that reads it says, which is the one thing known of them."""
    inputs = walk.input(node)
    if inputs is None or int_attributes(node).get("axis", 1) != 1:
        return None
    return replace(inputs, is_flat=True)


def _reshape(walk: Walk, node: NodeProto) -> Moments | None:
    inputs, shape = walk.input(node), walk.constant(node.input[1]) if len(node.input) > 1 else None
    if inputs is None or shape is None or shape.shape != (2,):
        return None
    return replace(inputs, is_flat=True)


def _squeeze(walk: Walk, node: NodeProto) -> Moments | None:
    """All axes of places left out: the channels are the last axis then."""
    inputs = walk.input(node)
    return replace(inputs, is_flat=True) if inputs is not None and _names_places(walk, node) else None


def _reduce_mean(walk: Walk, node: NodeProto) -> Moments | None:
    inputs = walk.input(node)
    if inputs is None or not _names_places(walk, node):
        return None
    return replace(inputs, is_flat=not int_attributes(node).get("keepdims", 1))


def _names_places(walk: Walk, node: NodeProto) -> bool:
    """Whether the axes that a node names are the two of the places of an image."""
    axes = next((list(attribute.ints) for attribute in node.attribute if attribute.name == "axes"), None)
    if len(node.input) > 1 and node.input[1]:
        named = walk.constant(node.input[1])
        axes = None if named is None else [int(axis) for axis in named.ravel()]
    return axes is not None and sorted(axis % 4 for axis in axes) == [2, 3]


RULES: dict[str, Callable[[Walk, NodeProto], Moments | None]] = {
    **dict.fromkeys(moments.FUNCTIONS, _function), **dict.fromkeys(_SAME, _same),
    **dict.fromkeys(_ARITHMETIC, _arithmetic), "BatchNormalization": _batchnorm, "Conv": _conv,
    "Clip": _clip, "PRelu": _prelu, "Concat": _concat, "Flatten": _flatten,
    "Reshape": _reshape, "Squeeze": _squeeze, "ReduceMean": _reduce_mean,
}  # fmt: skip
