"""What a layer's inputs are on average, channel by channel, as far as the network's own numbers tell (see moments).

    expected_inputs(model)    ->    {"conv7.weight": array of shape (1, 64), ...}

An error of a weight shifts the output by the error times the mean of the input that it meets. Rounding can make these
shifts cancel in each row, if the means are known (codec.stages.balance).

The walk is over the main graph, in its order. What is not known of a value stays unknown: its readers' weights have no
entry, and neither do those of layers whose inputs are all alike, such as depthwise convolutions.

Where normalizations were folded into the layers, as most exporters do, no scale and shift is left to tell. A network
with depthwise layers had some, or it would not have trained, so that its layers' outputs are of one size: their means
are carried on from layer to layer, from those of the inputs and the biases.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from onnx import AttributeProto, NodeProto, TensorProto, numpy_helper

from . import moments
from .model_file import Model
from .moment_rules import RULES
from .moments import Moments
from .nodes import ONNX_DOMAINS, all_inputs, int_attributes, is_constant
from .program import tensors_by_value
from .tensors import ModelTensor

_LAYERS = ("Conv", "Gemm", "MatMul")
_POOLS = ("GlobalAveragePool", "ReduceMean")
MAX_CONSTANT = 1 << 16  # elements of a constant of arithmetic: one for each channel, or one
MAX_CHANNELS = 1 << 22  # of all values together that are looked at, to bound the work
_LEAST_OPERANDS = {
    "BatchNormalization": 5, "PRelu": 2, **dict.fromkeys((*_LAYERS, "Add", "Sub", "Mul", "Div"), 2),
}  # others: 1  # fmt: skip
# Of the mean over all channels, how much is added to means that were carried on through layers: what is wrong with them
# differs from channel to channel.
CARRIED_EVEN = 0.5


def expected_inputs(model: Model) -> dict[str, np.ndarray]:
    """The mean of the inputs of each weight tensor, by the tensor's name: float64[groups, channels], where it is known.

    Each of the `groups` of rows of the weight reads the mean of `channels` inputs, each of which stands for the places
    of a kernel or of a map that was made flat. Raises UnsuitableModel, FileAccess for tensors that cannot be read.
    """
    if not any(_is_norm(node) or _may_be_depthwise(node) for node in model.proto.graph.node):
        return {}  # nothing else tells
    walk = _Walk(model)
    if not walk.has_norms and not walk.carries:
        return {}
    with np.errstate(all="ignore"):  # what is not finite counts as unknown
        return walk.found()


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
        self.has_norms = any(map(_is_norm, self.nodes))
        self.carries = not self.has_norms and self._has_depthwise_layers()
        self.moments: dict[str, Moments] = {}
        self.carried: set[str] = set()  # values whose moments were carried on through a layer
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

    def _has_depthwise_layers(self) -> bool:
        """Whether layers are depthwise: such a network does not train without normalizations."""
        return any(
            is_known
            and _may_be_depthwise(node)
            and (tensor := self.tensors.get(node.input[1])) is not None
            and len(tensor.shape) > 2
            and int_attributes(node).get("group", 1) == tensor.shape[0] > 1
            for node, is_known in zip(self.nodes, self.is_known, strict=True)
        )

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
        if means is not None and node.input[0] in self.carried:
            means = means + CARRIED_EVEN * means.mean(axis=1, keepdims=True)
        if means is not None and means.shape[1] > 1 and means.any():
            self.means[weight.name] = moments.rounded(means)

    def _pass(self, node: NodeProto) -> None:
        """Find the moments of a node's output, if those of its inputs are known and it has a rule."""
        rule = RULES.get(node.op_type)
        is_layer = node.op_type in _LAYERS
        is_carried = is_layer or not self.carried.isdisjoint(node.input)
        if rule is None or not node.output or (is_layer and not self._carries_on(node)):
            return
        if is_carried and node.op_type in _POOLS:
            return  # the features at the end are sparse: nothing that was carried so far tells their means
        found = rule(self, node)
        if found is not None and np.isfinite(found.mean).all() and np.isfinite(found.variance).all():
            self.moments[node.output[0]] = found
            self.channels_left -= len(found)
            self.carried.update(node.output[:1] if is_carried else ())

    def _carries_on(self, node: NodeProto) -> bool:
        """Whether means are carried on through a layer: its weights are read for that, so none twice."""
        return self.carries and self.reads[node.input[1]] == 1

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


def _is_norm(node: NodeProto) -> bool:
    return node.op_type == "BatchNormalization"


def _may_be_depthwise(node: NodeProto) -> bool:
    return node.op_type == "Conv" and int_attributes(node).get("group", 1) > 1


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
