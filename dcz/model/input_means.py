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
from onnx import AttributeProto, NodeProto, TensorProto, numpy_helper

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
MAX_CHANNELS = 1 << 22  # of all values together that are looked at, to bound the work
_LEAST_OPERANDS = {"BatchNormalization": 5, "PRelu": 2, **dict.fromkeys((*_LAYERS, *_ARITHMETIC), 2)}  # others: 1


def expected_inputs(model: Model) -> dict[str, np.ndarray]:
    """The mean of the inputs of each weight tensor, by the tensor's name: float64[groups, channels], where it is known.

    Each of the `groups` of rows of the weight reads the mean of `channels` inputs, each of which stands for the places
    of a kernel or of a map that was made flat. Raises UnsuitableModel, FileAccess for tensors that cannot be read.
    """
    if not any(node.op_type == "BatchNormalization" for node in model.proto.graph.node):
        return {}  # nothing else tells, and the walk need not begin
    with np.errstate(all="ignore"):  # what is not finite counts as unknown
        return _Walk(model).found()


class _Walk:
    """One pass over the nodes of the main graph."""

    def __init__(self, model: Model):
        graph = model.proto.graph
        self.nodes: Sequence[NodeProto] = graph.node
        functions = {(function.domain, function.name) for function in model.proto.functions}
        self.is_known = [
            node.domain in ONNX_DOMAINS
            and (node.domain, node.op_type) not in functions
            and len(node.input) >= _LEAST_OPERANDS.get(node.op_type, 1)
            for node in self.nodes
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
        self.channels_left = MAX_CHANNELS
        self.means: dict[str, np.ndarray] = {}

    def found(self) -> dict[str, np.ndarray]:
        needed = self._needed()
        for node, is_known in zip(self.nodes, self.is_known, strict=True):
            if not is_known or self.channels_left < 0:
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
            self.channels_left -= len(found)

    def input(self, node: NodeProto, index: int = 0) -> Moments | None:
        """The moments of an operand."""
        return self.moments.get(node.input[index]) if len(node.input) > index else None

    def constant(self, name: str) -> np.ndarray | None:
        """A constant of few elements, all finite (float64, in its shape); None for others."""
        tensor, stored = self.tensors.get(name), self.small.get(name)
        if tensor is not None:
            numbers = tensor.values() if math.prod(tensor.shape) <= MAX_CONSTANT else None
        elif stored is None or stored.data_location == TensorProto.EXTERNAL or math.prod(stored.dims) > MAX_CONSTANT:
            numbers = None
        else:
            try:
                numbers = numpy_helper.to_array(stored).astype(np.float64)
            except (ValueError, TypeError, LookupError, RuntimeError):
                numbers = None
        return None if numbers is None or not np.isfinite(numbers).all() else numbers.astype(np.float64)

    def by_channel(self, name: str, inputs: Moments) -> np.ndarray | None:
        """A constant that is one number, or has one for each channel of `inputs`, flat; None for others.

        Where the value has places, axes of length 1 follow the channels' in the constant.
        """
        numbers = self.constant(name)
        if numbers is None or numbers.size == 1:
            return numbers if numbers is None else numbers.ravel()
        long = [axis - numbers.ndim for axis, dim in enumerate(numbers.shape) if dim != 1]
        is_fitting = numbers.size == len(inputs) and len(long) == 1 and (long[0] == -1) == inputs.is_flat
        return numbers.ravel() if is_fitting else None


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
    if scale is None or shift is None or scale.shape != shift.shape or scale.ndim != 1:
        return None
    return Moments(shift, np.square(scale))


def _function(walk: _Walk, node: NodeProto) -> Moments | None:
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


def _same(walk: _Walk, node: NodeProto) -> Moments | None:
    return walk.input(node)


def _clip(walk: _Walk, node: NodeProto) -> Moments | None:
    inputs, limits = walk.input(node), float_attributes(node)
    low, high = limits.get("min", -math.inf), limits.get("max", math.inf)
    for index, name in enumerate(node.input[1:3]):
        if name:
            bound = walk.constant(name)
            if bound is None or bound.size != 1:
                return None
            low, high = (bound.item(), high) if index == 0 else (low, bound.item())
    return None if inputs is None else moments.of_function(inputs, lambda x: np.clip(x, low, high))


def _prelu(walk: _Walk, node: NodeProto) -> Moments | None:
    inputs = walk.input(node)
    slope = None if inputs is None else walk.by_channel(node.input[1], inputs)
    if inputs is None or slope is None:
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


def _gate(walk: _Walk, node: NodeProto) -> Moments | None:
    for value, gate in ((0, 1), (1, 0)):
        producer = walk.producers.get(node.input[gate])
        if producer is not None and producer.op_type in _GATES and list(producer.input) == [node.input[value]]:
            gated = functools.partial(_gated, moments.FUNCTIONS[producer.op_type], _options(producer))
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
    if inputs is None or shape is None or shape.shape != (2,):
        return None
    return replace(inputs, is_flat=True)


def _squeeze(walk: _Walk, node: NodeProto) -> Moments | None:
    """All axes of places left out: the channels are the last axis then."""
    inputs = walk.input(node)
    return replace(inputs, is_flat=True) if inputs is not None and _names_places(walk, node) else None


def _reduce_mean(walk: _Walk, node: NodeProto) -> Moments | None:
    inputs = walk.input(node)
    if inputs is None or not _names_places(walk, node):
        return None
    return replace(inputs, is_flat=not int_attributes(node).get("keepdims", 1))


def _names_places(walk: _Walk, node: NodeProto) -> bool:
    """Whether the axes that a node names are the two of the places of an image."""
    axes = next((list(attribute.ints) for attribute in node.attribute if attribute.name == "axes"), None)
    if len(node.input) > 1 and node.input[1]:
        named = walk.constant(node.input[1])
        axes = None if named is None else [int(axis) for axis in named.ravel()]
    return axes is not None and sorted(axis % 4 for axis in axes) == [2, 3]


_RULES: dict[str, Callable[[_Walk, NodeProto], Moments | None]] = {
    **dict.fromkeys(_ARITHMETIC, _arithmetic),
    "BatchNormalization": _batchnorm, "Clip": _clip, "PRelu": _prelu, "Concat": _concat, "Flatten": _flatten,
    "Reshape": _reshape, "Squeeze": _squeeze, "ReduceMean": _reduce_mean,
}  # fmt: skip
