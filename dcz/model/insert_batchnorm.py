"""BatchNormalizations put behind layers that have none: the reverse of folding (fold_batchnorm).

    insert_batchnorms(model)      y = Conv(x, W, c)    ->    y = BatchNormalization(Conv(x, W), 1, c, 0, 1)

Most exporters fold normalizations away, and a deep network without them trains badly. An inserted one changes nothing
as it is made: its mean is 0, its variance and scale are 1, and the layer's bias has become its own, under its name.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper

from .batchnorm_arithmetic import channel_view
from .model_file import Model
from .nodes import ONNX_DOMAINS, all_inputs, float_attributes, opset_version
from .operators import PASS_THROUGH
from .program import tensors_by_value
from .tensors import ModelTensor

LAYERS = ("Conv", "ConvTranspose", "Gemm")
NORMALIZATIONS = frozenset([
    "BatchNormalization", "InstanceNormalization", "GroupNormalization", "LayerNormalization", "RMSNormalization",
    "LRN", "LpNormalization", "MeanVarianceNormalization",
])  # fmt: skip
ENDS = PASS_THROUGH | {"Softmax", "LogSoftmax", "Sigmoid", "ArgMax"}  # behind which an output is still a layer's
EPSILON = 1e-5
MIN_OPSET = 9  # of a BatchNormalization that has no further attributes


def insert_batchnorms(
    model: Model, may_insert: Callable[[ModelTensor, tuple[str, ...]], bool] = lambda weight, other_tensors: True
) -> list[str]:
    """Change `model`: normalize the outputs of layers; return the names of these layers' weights, in the graph's order.

    The caller must own `model`: its proto is edited, and its tensors are found again. Left as they are: a layer whose
    output a normalization reads or an output of the graph is, directly or behind a Softmax and the like; one of a
    single channel; and one whose weight, or bias, is not a float tensor of its own. `may_insert` decides about each, by
    its weight and the name of its bias.
    """
    graph = model.proto.graph
    if opset_version(model.proto) < MIN_OPSET or model.proto.training_info:
        return []
    functions = {(function.domain, function.name) for function in model.proto.functions}
    reads = Counter(name for node in graph.node for name in all_inputs(node))
    reads.update(info.name for info in graph.output)
    fixed = {info.name for info in graph.input}
    tensors = {
        name: tensor
        for name, tensor in tensors_by_value(model).items()
        if name not in fixed and reads[name] == 1 and tensor.external is None and tensor.dtype.name == "float32"
    }
    ends = _ends(graph)
    taken = {*reads, *fixed, *(name for node in graph.node for name in node.output)}
    made = []
    for number in range(len(graph.node) - 1, -1, -1):
        layer = graph.node[number]
        known = layer.domain in ONNX_DOMAINS and (layer.domain, layer.op_type) not in functions
        if not known or layer.op_type not in LAYERS or ends.get(layer.output[0], True):
            continue
        weight = tensors.get(layer.input[1])
        bias = layer.input[2] if len(layer.input) > 2 else ""
        view = channel_view(layer, weight.shape) if weight is not None else None
        if weight is None or view is None:
            continue
        channels = view[0] * view[2]
        if channels < 2 or (
            bias and (bias not in tensors or tensors[bias].shape != (channels,) or _scales_bias(layer))
        ):
            continue
        others = (tensors[bias].name,) if bias else ()
        if may_insert(weight, others):
            graph.node.insert(number + 1, _normalize(graph, layer, bias, channels, taken))
            made.append(weight.name)
    if made:
        model.refresh()
    return made[::-1]


def _scales_bias(layer: NodeProto) -> bool:
    return layer.op_type == "Gemm" and float_attributes(layer).get("beta", 1.0) != 1


def _ends(graph: GraphProto) -> dict[str, bool]:
    """Of each value that is read, whether all that reads it are normalizations, or lead to an output of the graph by
    operators that only move or scale values."""
    ends = {info.name: True for info in graph.output}
    for node in reversed(graph.node):
        leads = node.op_type in ENDS and all(ends.get(name, True) for name in node.output)
        for name in set(all_inputs(node)):
            ends[name] = ends.get(name, True) and (leads or node.op_type in NORMALIZATIONS)
    return ends


def _normalize(graph: GraphProto, layer: NodeProto, bias: str, channels: int, taken: set[str]) -> NodeProto:
    """A node that normalizes the layer's output, and takes its name and the layer's bias; its other tensors are added
    to the graph."""
    output = layer.output[0]
    layer.output[0] = _free(f"{output}.layer", taken)
    del layer.input[2:]
    values = {"scale": 1.0, "mean": 0.0, "variance": 1.0 - EPSILON} | ({} if bias else {"bias": 0.0})
    names = {part: _free(f"batchnorm.{layer.input[1]}.{part}", taken) for part in values} | (
        {"bias": bias} if bias else {}
    )
    for part, value in values.items():
        tensor = TensorProto(name=names[part], data_type=TensorProto.FLOAT, dims=[channels])
        tensor.raw_data = np.full(channels, value, "<f4").tobytes()
        graph.initializer.append(tensor)
    inputs = [layer.output[0], *(names[part] for part in ("scale", "bias", "mean", "variance"))]
    return helper.make_node("BatchNormalization", inputs, [output], epsilon=EPSILON)


def _free(name: str, taken: set[str]) -> str:
    """The name, or with a number where it is taken; taken from now on."""
    free, number = name, 2
    while free in taken:
        free, number = f"{name}{number}", number + 1
    taken.add(free)
    return free
