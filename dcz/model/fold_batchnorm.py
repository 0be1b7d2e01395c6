"""BatchNormalizations folded into the layers before them.

    fold_batchnorms(model)      y = BatchNormalization(Conv(x, W))    ->    y = Conv(x, W', c')

The arithmetic is in batchnorm_arithmetic.

Two tensors are left of six. A normalisation also scales each row of a weight tensor by its own factor; once that is
folded in, equal errors of the weights are equal errors at the layer's output, which compression relies on as long as
all it knows of weights is their size. Outputs stay the same but for the rounding of the new tensors to their type, or,
of biases, to short numbers.

Folded is a BatchNormalization of the main graph that alone reads the output of a Conv, ConvTranspose or Gemm. A MatMul
has no input for a bias, and stays as it is; so do tensors that callers may override (inputs with default values), that
several nodes share, or whose data is outside the model file.
"""

from collections import Counter
from collections.abc import Callable

from onnx import ModelProto, NodeProto, TensorProto, helper

from .batchnorm_arithmetic import LayerAndNorm, channel_view, folded_parameters
from .model_file import Model
from .nodes import ONNX_DOMAINS, all_inputs, int_attributes, opset_version
from .program import tensors_by_value
from .replace import replace_data
from .tensors import ModelTensor

_FOLDED_TYPES = ("float32", "float16", "float64")
_INPUTS_OPTIONAL = 4  # the first IR version in which an initializer need not be an input of the graph too


def fold_batchnorms(
    model: Model,
    may_fold: Callable[[ModelTensor, tuple[str, ...]], bool] = lambda weight, other_tensors: True,
    folded_like: ModelProto | None = None,
    rounds_biases: bool = False,
) -> int:
    """Change `model`: fold every BatchNormalization that can be folded, and return how many were.

    The caller must own `model`: its proto is edited, and its tensors are found again. `may_fold` decides about each
    normalisation, by the layer's weight and the names of all other tensors that would change, go or come. What the
    model `folded_like`, folded before, still normalises stays. `rounds_biases`: new biases are short numbers, which
    deflate (see batchnorm_arithmetic); with `folded_like` they always are, as compressing makes them so. A folded
    layer's output takes the name of the normalisation's output; a new bias takes the name of the normalisation's bias,
    if that is free. Raises UnsuitableModel for tensors that cannot be read.
    """
    norms = [node for node in model.proto.graph.node if _is_batchnorm(node)]
    if not norms or model.proto.training_info:  # whose graphs may train the tensors that folding removes
        return 0
    folding = _Folding(model, rounds_biases or folded_like is not None)
    kept = (
        {node.output[0] for node in folded_like.graph.node if _is_batchnorm(node)} if folded_like is not None else set()
    )
    count = 0
    for norm in [node for node in norms if node.output[0] not in kept]:
        pair = folding.find_layer(norm)
        if pair is not None and may_fold(pair.weight, pair.other_tensors()) and folding.fold(pair):
            count += 1
    if count:
        folding.finish()
        model.refresh()
    return count


def _is_batchnorm(node: NodeProto) -> bool:
    """Whether a node normalises by statistics that are its inputs, and has no output but the result."""
    return (
        node.op_type == "BatchNormalization" and node.domain in ONNX_DOMAINS and len(node.input) == 5
        and len(node.output) > 0 and [name for name in node.output if name] == [node.output[0]]
    )  # fmt: skip


class _Folding:
    """A graph while it is edited: its values' producers, how often each value is read, and what is no longer used."""

    def __init__(self, model: Model, rounds_biases: bool):
        self.rounds_biases = rounds_biases
        self.proto, self.graph = model.proto, model.proto.graph
        self.opset = opset_version(self.proto)
        self.functions = {(function.domain, function.name) for function in self.proto.functions}
        self.producers = {name: node for node in self.graph.node for name in node.output if name}
        self.read_counts = Counter(name for node in self.graph.node for name in all_inputs(node))
        self.read_counts.update(info.name for info in self.graph.output)
        for annotation in self.graph.quantization_annotation:
            parameters = [entry.value for entry in annotation.quant_parameter_tensor_names]
            self.read_counts.update([annotation.tensor_name, *parameters])
        sparse = {sparse.values.name for sparse in self.graph.sparse_initializer}
        fixed = {info.name for info in self.graph.input} | sparse
        self.tensors = {
            value: tensor
            for value, tensor in tensors_by_value(model).items()
            if value not in fixed and tensor.external is None and tensor.dtype.name in _FOLDED_TYPES
        }
        self.taken = {*self.producers, *fixed, *self.tensors, *(tensor.name for tensor in self.graph.initializer)}
        self.taken.update(self.read_counts)
        self.unused: set[str] = set()  # values that nothing reads any more
        self.new_biases: list[TensorProto] = []

    def find_layer(self, norm: NodeProto) -> LayerAndNorm | None:
        """A normalisation and its layer, or None where they cannot be folded."""
        layer = self.producers.get(norm.input[0])
        if layer is None or not self._is_inference(norm) or not self._is_standard(layer, norm):
            return None
        if len(layer.output) != 1 or self.read_counts[norm.input[0]] != 1:
            return None
        weight, bias = self._exclusive_input(layer, 1), self._exclusive_input(layer, 2)
        has_bias = len(layer.input) > 2 and bool(layer.input[2])
        view = channel_view(layer, weight.shape) if weight is not None else None
        if weight is None or view is None or (has_bias and bias is None):
            return None
        channels = view[0] * view[2]
        vectors = tuple(self.tensors[name] for name in norm.input[1:] if name in self.tensors)
        if len(vectors) != 4 or any(vector.shape != (channels,) for vector in vectors):
            return None
        if bias is not None and (bias.shape not in ((channels,), (1, channels)) or bias.dtype != weight.dtype):
            return None
        name = layer.input[2] if has_bias else self._new_bias_name(norm.input[2], layer.input[1])
        return LayerAndNorm(layer, norm, weight, view, bias, vectors, name)

    def _is_inference(self, norm: NodeProto) -> bool:
        """Whether a normalisation uses the statistics that it is given, one for each channel."""
        modes = int_attributes(norm)
        if modes.get("training_mode", 0) or not modes.get("spatial", 1):
            return False
        return self.opset >= 7 or bool(modes.get("is_test"))

    def _is_standard(self, layer: NodeProto, norm: NodeProto) -> bool:
        """Whether both are ONNX's own operators, and not functions of the model under their names."""
        if layer.domain not in ONNX_DOMAINS:
            return False
        return not {(layer.domain, layer.op_type), (norm.domain, norm.op_type)} & self.functions

    def _exclusive_input(self, node: NodeProto, number: int) -> ModelTensor | None:
        """The tensor that is an input of this node and nothing else."""
        name = node.input[number] if len(node.input) > number else ""
        return self.tensors.get(name) if self.read_counts[name] == 1 else None

    def _new_bias_name(self, norm_bias: str, weight: str) -> str:
        """The name of a layer's new bias: that of the normalisation's, unless something else reads it."""
        if self.read_counts[norm_bias] == 1:
            return norm_bias
        name, number = f"{weight}.bias", 2
        while name in self.taken:
            name, number = f"{weight}.bias{number}", number + 1
        return name

    def fold(self, pair: LayerAndNorm) -> bool:
        """Change the graph: fold a pair, and return whether its numbers allowed it. `finish` removes what is unused."""
        parameters = folded_parameters(pair, self.rounds_biases)
        if parameters is None:
            return False
        weight, bias = parameters
        layer, norm = pair.layer, pair.norm
        replace_data(pair.weight.proto, pair.weight, weight)
        for name in norm.input:
            self.read_counts[name] -= 1
        self.unused.update(name for name in norm.input if not self.read_counts[name])
        if pair.bias is not None:
            replace_data(pair.bias.proto, pair.bias, bias)
        else:
            code, dims = pair.weight.dtype.code, [pair.channels]
            self.new_biases.append(TensorProto(name=pair.bias_name, data_type=code, dims=dims, raw_data=bias.tobytes()))
            self.taken.add(pair.bias_name)
            self.read_counts[pair.bias_name] += 1
            self.tensors.pop(pair.bias_name, None)  # it has the old numbers: no second normalisation is folded into it
            del layer.input[2:]
            layer.input.append(pair.bias_name)
        for attribute in layer.attribute:
            if layer.op_type == "Gemm" and attribute.name == "beta":
                attribute.f = 1.0
        layer.output[0] = norm.output[0]
        self.producers[norm.output[0]] = layer
        return True

    def finish(self) -> None:
        """Change the graph: remove folded normalisations and what nothing reads any more, and add the new biases."""
        graph = self.graph
        for number in range(len(graph.node) - 1, -1, -1):
            node = graph.node[number]
            is_unused = node.op_type == "Constant" and self.unused.issuperset(node.output)
            if is_unused or (_is_batchnorm(node) and not _is_batchnorm(self.producers[node.output[0]])):
                del graph.node[number]
        for named in (graph.initializer, graph.value_info):
            for number in range(len(named) - 1, -1, -1):
                if named[number].name in self.unused:
                    del named[number]
        if self.proto.ir_version < _INPUTS_OPTIONAL:
            for tensor in reversed(self.new_biases):
                graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
        else:
            graph.initializer.extend(self.new_biases)
