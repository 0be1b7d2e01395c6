"""What a layer's inputs are on average, channel by channel, as far as the network's own numbers tell (see moments).

    expected_inputs(model)    ->    {"conv7.weight": array of shape (1, 64), ...}

An error of a weight shifts the output by the error times the mean of the input that it meets. Rounding can make these
shifts cancel in each row, if the means are known (codec.stages.balance).

The walk is over the main graph, in its order. What is not known of a value stays unknown: its readers' weights have no
entry, and neither do those of layers whose inputs are all alike, such as depthwise convolutions.
"""

import functools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from onnx import AttributeProto, NodeProto, numpy_helper

from . import moments
from .model_file import Model
from .moments import Moments
from .nodes import ONNX_DOMAINS, all_inputs, float_attributes, int_attributes, is_constant
from .program import tensors_by_value
from .tensors import ModelTensor

_LAYERS = ("Conv", "Gemm", "MatMul")
# Operators whose output has the channels of operand 0, with about the same means.
_SAME = frozenset([
    "Identity", "Dropout", "AveragePool", "GlobalAveragePool", "MaxPool", "Resize", "Upsample", "Pad", "Cast",
])  # fmt: skip
_GATES = ("Sigmoid", "HardSigmoid", "Tanh")  # x times such a function of x is a function of x
_ARITHMETIC = ("Add", "Sub", "Mul", "Div")
MAX_CONSTANT = 1 << 16  # elements of a constant of arithmetic: one for each channel, or one


def expected_inputs(model: Model) -> dict[str, np.ndarray]:
    """The mean of the inputs of each weight tensor, by the tensor's name: float64[groups, channels], where it is known.

    Each of the `groups` of rows of the weight reads the mean of `channels` inputs, each of which stands for the places
    of a kernel or of a map that was made flat. Raises UnsuitableModel, FileAccess for tensors that cannot be read.
    """
    with np.errstate(all="ignore"):  # what is not finite counts as unknown
        return _Walk(model).found()


class _Walk:
    """One pass over the nodes of the main graph."""

    def __init__(self, model: Model):
        graph = model.proto.graph
        self.nodes: Sequence[NodeProto] = graph.node
        functions = {(function.domain, function.name) for function in model.proto.functions}
        self.is_known = [
            node.domain in ONNX_DOMAINS and (node.domain, node.op_type) not in functions for node in self.nodes
        ]
        overridable = {info.name for info in graph.input}
        self.tensors: Mapping[str, ModelTensor] = {
            value: tensor
            for value, tensor in tensors_by_value(model).items()
            if tensor.dtype.real and value not in overridable
        }
        self.small = {tensor.name: tensor for tensor in graph.initializer if tensor.name not in overridable}
        self.small |= {
            node.output[0]: node.attribute[0].t
            for node in self.nodes
            if is_constant(node) and node.attribute[0].type == AttributeProto.TENSOR
        }
        self.reads = Counter(name for node in self.nodes for name in all_inputs(node))
        self.producers = {name: node for node in self.nodes for name in node.output if name}
        self.moments: dict[str, Moments] = {}
        self.means: dict[str, np.ndarray] = {}

    def found(self) -> dict[str, np.ndarray]:
        needed = self._needed()
        for node, is_known in zip(self.nodes, self.is_known, strict=True):
            if not is_known:
                continue
            if node.op_type in _LAYERS:
                self._note(node)
            if not needed.isdisjoint(node.output):
                self._pass(node)
        return self.means

    def _needed(self) -> set[str]:
        """The values of which moments are of use: those that layers read, and what these are computed from."""
        needed: set[str] = set()
        for node, is_known in zip(reversed(self.nodes), reversed(self.is_known), strict=True):
            if is_known and (node.op_type in _LAYERS or not needed.isdisjoint(node.output)):
                needed.update(node.input if node.op_type != "BatchNormalization" else ())
        return needed

    def _note(self, node: NodeProto) -> None:
        """Note the means of a layer's inputs for its weight, if they differ."""
        inputs, weight = self.moments.get(node.input[0]), self.tensors.get(node.input[1])
        if inputs is None or weight is None or self.reads[node.input[1]] != 1:
            return
        means = _by_group(node, weight.shape, inputs)
        if means is not None and means.shape[1] > 1 and means.any():
            self.means[weight.name] = moments.rounded(means)

    def _pass(self, node: NodeProto) -> None:
        """Find the moments of a node's output, if those of its inputs are known and it has a rule."""
        rule = _RULES.get(node.op_type)
        if node.op_type in moments.FUNCTIONS:
            rule = _function
        elif node.op_type in _SAME:
            rule = _same
        found = None if rule is None or not node.output else rule(self, node)
        if found is not None and np.isfinite(found.mean).all() and np.isfinite(found.variance).all():
            self.moments[node.output[0]] = found

    def input(self, node: NodeProto, index: int = 0) -> Moments | None:
        """The moments of an operand."""
        return self.moments.get(node.input[index]) if len(node.input) > index else None

    def constant(self, name: str) -> np.ndarray | None:
        """A constant of few elements, flat; None for others."""
        tensor = self.tensors.get(name)
        if tensor is not None:
            return tensor.values().astype(np.float64).ravel() if math.prod(tensor.shape) <= MAX_CONSTANT else None
        stored = self.small.get(name)
        if stored is None or stored.external_data or math.prod(stored.dims) > MAX_CONSTANT:
            return None
        try:
            return np.asarray(numpy_helper.to_array(stored), np.float64).ravel()
        except (ValueError, TypeError):
            return None


def _by_group(node: NodeProto, shape: tuple[int, ...], inputs: Moments) -> np.ndarray | None:
    """The means of a layer's inputs (float64[groups, channels]), None where they do not fit a weight of this shape."""
    flags = int_attributes(node)
    if node.op_type == "Conv":
        group = flags.get("group", 1)
        is_fitting = len(shape) > 2 and group > 0 and shape[0] % group == 0 and len(inputs) == group * shape[1]
        return inputs.mean.reshape(group, -1) if is_fitting and len(inputs) else None
    if len(shape) != 2 or flags.get("transA") or not inputs.is_flat:
        return None
    count = shape[1] if flags.get("transB") else shape[0]
    if not count or count % len(inputs):
        return None
    return np.repeat(inputs.mean, count // len(inputs))[None]  # the places of each channel of a map, one after another


def _batchnorm(walk: _Walk, node: NodeProto) -> Moments | None:
    scale, shift = (walk.constant(name) for name in node.input[1:3])
    if scale is None or shift is None or scale.shape != shift.shape:
        return None
    return Moments(shift, np.square(scale))


def _function(walk: _Walk, node: NodeProto) -> Moments | None:
    inputs = walk.input(node)
    if inputs is None:
        return None
    function, options = moments.FUNCTIONS[node.op_type], float_attributes(node)
    return moments.of_function(inputs, lambda x: function(x, **options))


def _same(walk: _Walk, node: NodeProto) -> Moments | None:
    return walk.input(node)


def _clip(walk: _Walk, node: NodeProto) -> Moments | None:
    inputs, limits = walk.input(node), float_attributes(node)
    low, high = limits.get("min", -math.inf), limits.get("max", math.inf)
    for index, name in enumerate(node.input[1:3]):
        if name:
            bound = walk.constant(name)
            if bound is None or len(bound) != 1:
                return None
            low, high = (float(bound[0]), high) if index == 0 else (low, float(bound[0]))
    return None if inputs is None else moments.of_function(inputs, lambda x: np.clip(x, low, high))


def _prelu(walk: _Walk, node: NodeProto) -> Moments | None:
    inputs, slope = walk.input(node), walk.constant(node.input[1])
    if inputs is None or slope is None or len(slope) not in (1, len(inputs)):
        return None
    return moments.of_function(inputs, lambda x: np.where(x < 0, slope[:, None] * x, x))


def _arithmetic(walk: _Walk, node: NodeProto) -> Moments | None:
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
    constant = walk.constant(other)
    if known is None or constant is None or len(constant) not in (1, len(known)):
        return None
    if node.op_type == "Mul":
        return known.scaled(constant)
    if node.op_type == "Div":
        return known.scaled(1 / constant) if known is first else None
    if node.op_type == "Add":
        return known.scaled(1.0, constant)
    return known.scaled(1.0, -constant) if known is first else known.scaled(-1.0, constant)


def _gate(walk: _Walk, node: NodeProto) -> Moments | None:
    for value, gate in ((0, 1), (1, 0)):
        producer = walk.producers.get(node.input[gate])
        if producer is not None and producer.op_type in _GATES and producer.input[0] == node.input[value]:
            gated = functools.partial(_gated, moments.FUNCTIONS[producer.op_type], float_attributes(producer))
            return moments.of_function(walk.moments[node.input[value]], gated)
    return None


def _gated(gate: moments.Function, options: dict[str, float], x: np.ndarray) -> np.ndarray:
    product: np.ndarray = x * gate(x, **options)
    return product


def _concat(walk: _Walk, node: NodeProto) -> Moments | None:
    parts = [part for part in map(walk.moments.get, node.input) if part is not None]
    if int_attributes(node).get("axis") != 1 or len(parts) != len(node.input):
        return None
    return moments.concatenated(parts)


def _flatten(walk: _Walk, node: NodeProto) -> Moments | None:
    """A map made flat, of as many numbers as the layer that reads it says, which is the one thing known of them."""
    inputs = walk.input(node)
    if inputs is None or int_attributes(node).get("axis", 1) != 1:
        return None
    return replace(inputs, is_flat=True)


def _reshape(walk: _Walk, node: NodeProto) -> Moments | None:
    inputs, shape = walk.input(node), walk.constant(node.input[1]) if len(node.input) > 1 else None
    if inputs is None or shape is None or len(shape) != 2:
        return None
    return replace(inputs, is_flat=True)


def _squeeze(walk: _Walk, node: NodeProto) -> Moments | None:
    """All axes of places left out: the channels are the last axis then."""
    inputs = walk.input(node)
    axes = walk.constant(node.input[1]) if len(node.input) > 1 and node.input[1] else _axes(node)
    if inputs is None or axes is None or sorted(int(axis) % 4 for axis in axes) != [2, 3]:
        return None
    return replace(inputs, is_flat=True)


def _reduce_mean(walk: _Walk, node: NodeProto) -> Moments | None:
    inputs = walk.input(node)
    axes = walk.constant(node.input[1]) if len(node.input) > 1 and node.input[1] else _axes(node)
    if inputs is None or axes is None or sorted(int(axis) % 4 for axis in axes) != [2, 3]:
        return None
    return replace(inputs, is_flat=not int_attributes(node).get("keepdims", 1))


def _axes(node: NodeProto) -> list[int] | None:
    return next((list(attribute.ints) for attribute in node.attribute if attribute.name == "axes"), None)


_RULES: dict[str, Callable[[_Walk, NodeProto], Moments | None]] = {
    **dict.fromkeys(_ARITHMETIC, _arithmetic),
    "BatchNormalization": _batchnorm, "Clip": _clip, "PRelu": _prelu, "Concat": _concat, "Flatten": _flatten,
    "Reshape": _reshape, "Squeeze": _squeeze, "ReduceMean": _reduce_mean,
}  # fmt: skip
