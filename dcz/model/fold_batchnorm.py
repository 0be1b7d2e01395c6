"""BatchNormalizations folded into the layers before them.

    fold(model)      y = s * (W x + c - m) / sqrt(v + e) + b    ->    y = W' x + c'

Two tensors are left of six. And a normalisation scales the rows of a weight tensor each by its own factor: folded, they
err alike at the layer's output, which compression relies on as long as it knows weights by their sizes alone. Answers
stay the same but for the rounding of the new tensors to their type.

Folded is what normalises the output of a Conv, ConvTranspose or Gemm in the main graph and nothing else reads. A MatMul
has no operand for a bias, and stays as it is; so does what callers may override (inputs with default values), what
several nodes share, and data outside the model file.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper

from ..tensor import round_to, values
from .extract import reads
from .program import HOME, tensors_by_value
from .replace import put
from .tensors import Model, ModelTensor

_FOLDED = ("float32", "float16", "float64")
_WITHOUT_INPUTS = 4  # the IR version since which an initializer need not be an input too


@dataclass(frozen=True, eq=False)
class _Pair:
    """A layer and what normalises it.

    The weight, seen as `view`, has the output channels along its axes 0 and 2: those of a group along the latter.
    `bias` is the layer's own, if any, which counts `beta` times; `vectors` are scale, bias, mean and variance of the
    normalisation; `name` is what the new bias will be called.
    """

    layer: NodeProto
    norm: NodeProto
    weight: ModelTensor
    view: tuple[int, int, int, int]
    bias: ModelTensor | None
    beta: float
    vectors: tuple[ModelTensor, ...]
    epsilon: float
    name: str


def fold(
    model: Model,
    wanted: Callable[[ModelTensor, tuple[str, ...]], bool] = lambda weight, names: True,
    like: ModelProto | None = None,
) -> int:
    """Fold every BatchNormalization of `model`, in place, that can be, and return how many.

    `wanted` is asked of each: it is told the layer's weight, and the names of all other tensors that would change, go
    or come. `like` is a model that was folded before: what it still normalises stays. A layer gives its output the name
    that the normalisation's had; a new bias takes the name of the one that goes, if that is free.
    """
    if model.proto.training_info:  # whose graphs may train what would go
        return 0
    work = _Work(model)
    stay = {node.output[0] for node in like.graph.node if _is_norm(node)} if like is not None else set()
    count = 0
    for norm in [node for node in model.proto.graph.node if _is_norm(node) and node.output[0] not in stay]:
        pair = work.pair(norm)
        if pair is not None and wanted(pair.weight, work.names(pair)) and work.fold(pair):
            count += 1
    if count:
        work.clear()
        model.refresh()
    return count


def _is_norm(node: NodeProto) -> bool:
    """Whether a node normalises by statistics that it is given, and gives nothing but that."""
    return (
        node.op_type == "BatchNormalization" and node.domain in HOME and len(node.input) == 5
        and len(node.output) > 0 and [name for name in node.output if name] == [node.output[0]]
    )  # fmt: skip


class _Work:
    """A graph while it is folded: who makes and reads its values (by number), and what has lost its use."""

    def __init__(self, model: Model):
        self.proto, self.graph = model.proto, model.proto.graph
        self.opset = next((entry.version for entry in self.proto.opset_import if entry.domain in HOME), 1)
        self.functions = {(function.domain, function.name) for function in self.proto.functions}
        self.makers = {name: node for node in self.graph.node for name in node.output if name}
        self.reads = Counter(name for node in self.graph.node for name in reads(node))
        self.reads.update(info.name for info in self.graph.output)
        for annotation in self.graph.quantization_annotation:
            self.reads.update([annotation.tensor_name, *(e.value for e in annotation.quant_parameter_tensor_names)])
        sparse = {sparse.values.name for sparse in self.graph.sparse_initializer}
        given = {info.name for info in self.graph.input} | sparse
        self.tensors = {
            value: model_tensor
            for value, model_tensor in tensors_by_value(model).items()
            if value not in given and model_tensor.external is None and model_tensor.dtype.name in _FOLDED
        }
        self.taken = {*self.makers, *given, *self.tensors, *(tensor.name for tensor in self.graph.initializer)}
        self.taken.update(self.reads)
        self.gone: set[str] = set()  # values that nobody reads any more
        self.new: list[TensorProto] = []

    def pair(self, norm: NodeProto) -> _Pair | None:
        """A normalisation and its layer, or None where they cannot be folded."""
        layer, modes = self.makers.get(norm.input[0]), _whole(norm)
        if (
            modes.get("training_mode", 0)
            or not modes.get("spatial", 1)
            or not (self.opset >= 7 or modes.get("is_test"))
        ):
            return None
        if layer is None or layer.domain not in HOME or len(layer.output) != 1:
            return None
        if {(layer.domain, layer.op_type), (norm.domain, norm.op_type)} & self.functions:
            return None
        weight = self._own(layer, 1)
        bias = self._own(layer, 2)
        has_bias = len(layer.input) > 2 and bool(layer.input[2])
        vectors = [self.tensors.get(name) for name in norm.input[1:]]
        if self.reads[norm.input[0]] != 1 or weight is None or None in vectors or (has_bias and bias is None):
            return None
        view = _view(layer, weight.shape)
        channels = view[0] * view[2] if view else -1
        if any(vector.shape != (channels,) for vector in vectors):
            return None
        beta = _real(layer).get("beta", 1.0) if layer.op_type == "Gemm" else 1.0
        if bias is not None and (bias.shape not in ((channels,), (1, channels)) or bias.dtype != weight.dtype):
            return None
        name = layer.input[2] if has_bias else self._name(norm.input[2], layer.input[1])
        epsilon = _real(norm).get("epsilon", 1e-5)
        return _Pair(layer, norm, weight, view, bias, beta, tuple(vectors), epsilon, name)

    def _own(self, node: NodeProto, operand: int) -> ModelTensor | None:
        """The tensor that is an operand of this node alone."""
        name = node.input[operand] if len(node.input) > operand else ""
        return self.tensors.get(name) if self.reads[name] == 1 else None

    def _name(self, bias: str, weight: str) -> str:
        """What to call a layer's new bias: as the normalisation's, if that is read by nothing else."""
        if self.reads[bias] == 1:
            return bias
        name, number = f"{weight}.bias", 2
        while name in self.taken:
            name, number = f"{weight}.bias{number}", number + 1
        return name

    def names(self, pair: _Pair) -> tuple[str, ...]:
        """The names of all tensors of a pair but the weight, and that of the new bias."""
        model_tensors = [*pair.vectors, *([pair.bias] if pair.bias else [])]
        return (*dict.fromkeys([*(model_tensor.name for model_tensor in model_tensors), pair.name]),)

    def fold(self, pair: _Pair) -> bool:
        """Fold a pair, unless its numbers do not allow it."""
        found = _folded(pair)
        if found is None:
            return False
        weight, bias = found
        layer, norm = pair.layer, pair.norm
        put(pair.weight.proto, pair.weight, weight)
        for name in norm.input:
            self.reads[name] -= 1
        self.gone.update(name for name in norm.input if not self.reads[name])
        if pair.bias is not None:
            put(pair.bias.proto, pair.bias, bias)
        else:
            kind = pair.weight.dtype.code
            shape = [pair.view[0] * pair.view[2]]
            self.new.append(TensorProto(name=pair.name, data_type=kind, dims=shape, raw_data=bias.tobytes()))
            self.taken.add(pair.name)
            self.reads[pair.name] += 1
            self.tensors.pop(pair.name, None)  # whose numbers are the old ones: no second normalisation is folded in
            del layer.input[2:]
            layer.input.append(pair.name)
        for attribute in layer.attribute:
            if layer.op_type == "Gemm" and attribute.name == "beta":
                attribute.f = 1.0
        layer.output[0] = norm.output[0]
        self.makers[norm.output[0]] = layer
        return True

    def clear(self) -> None:
        """Take out of the graph what has lost its use, and bring in the new biases."""
        graph = self.graph
        for number in range(len(graph.node) - 1, -1, -1):
            node = graph.node[number]
            constant = node.op_type == "Constant" and self.gone.issuperset(node.output)
            if constant or (_is_norm(node) and not _is_norm(self.makers[node.output[0]])):
                del graph.node[number]
        for tensors in (graph.initializer, graph.value_info):
            for number in range(len(tensors) - 1, -1, -1):
                if tensors[number].name in self.gone:
                    del tensors[number]
        if self.proto.ir_version < _WITHOUT_INPUTS:  # an initializer would have to be an input
            for tensor in reversed(self.new):
                graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
        else:
            graph.initializer.extend(self.new)


def _view(layer: NodeProto, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """See _Pair; None for other layers, and weights that do not fit."""
    attributes = _whole(layer)
    if not all(shape):
        return None
    if layer.op_type == "Conv" and len(shape) > 2:
        return 1, 1, shape[0], math.prod(shape[1:])
    group = attributes.get("group", 1)
    if layer.op_type == "ConvTranspose" and len(shape) > 2 and group > 0 and shape[0] % group == 0:
        return group, shape[0] // group, shape[1], math.prod(shape[2:])
    if layer.op_type == "Gemm" and len(shape) == 2:
        return (1, 1, *shape) if attributes.get("transB") else (1, *shape, 1)
    return None


def _folded(pair: _Pair) -> tuple[np.ndarray, np.ndarray] | None:
    """The bytes of the new weight and bias, reckoned in float64; None where a number is none, or too large."""
    dtype = pair.weight.dtype
    scale, shift, mean, variance = map(_numbers, pair.vectors)
    with np.errstate(all="ignore"):  # what becomes infinite or NaN is found below
        if not (variance + pair.epsilon > 0).all():
            return None
        scale = scale / np.sqrt(variance + pair.epsilon)
        factor = scale.reshape(pair.view[0], 1, pair.view[2], 1)
        weight = (_numbers(pair.weight).reshape(pair.view) * factor).ravel() + 0.0  # -0.0 becomes 0.0
        bias = 0.0 if pair.bias is None else pair.beta * _numbers(pair.bias).ravel()
        bias = (bias - mean) * scale + shift
        patterns = [round_to(array, dtype) for array in (weight, bias)]
    if not all(np.isfinite(values(array, dtype)).all() for array in patterns):
        return None
    return patterns[0].view(np.uint8), patterns[1].view(np.uint8)


def _numbers(model_tensor: ModelTensor) -> np.ndarray:
    return model_tensor.values().astype(np.float64)


def _whole(node: NodeProto) -> dict[str, int]:
    return {each.name: each.i for each in node.attribute if each.type == AttributeProto.INT}


def _real(node: NodeProto) -> dict[str, float]:
    return {each.name: each.f for each in node.attribute if each.type == AttributeProto.FLOAT}
