"""The main graph of a model, as outputs and inputs are told by it: which node makes a value, and its constants.

graph = MainGraph(model.proto)
graph.makers["logits"].op_type    ->   "Gemm"
graph.shapes["fc.weight"]         ->   (10, 64)
"""

import math
from typing import TYPE_CHECKING

from ..model.nodes import opset_version
from ..model.tensors import tensor_from_proto

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

MAX_STEPS = 64  # nodes walked from a value toward its source
SAME = {"Identity", "Cast", "Dropout", "QuantizeLinear", "DequantizeLinear"}  # entries stay in their places
AFFINE = {"Add", "Sub", "Mul", "Div"}  # with a constant
RESHAPING = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}


class MainGraph:
    """`makers`: the node that makes a value, by name; `inputs`: the names of the inputs that are none of the constants;
    `shapes`: of constants; `integers`: the value of those that are one integer, 0 for other constants."""

    def __init__(self, proto: "ModelProto"):
        self.opset, self.nodes = opset_version(proto), proto.graph.node
        self.makers = {name: node for node in self.nodes for name in node.output if name}
        constants = {tensor.name: tensor for tensor in proto.graph.initializer}
        self.inputs = {info.name for info in proto.graph.input} - constants.keys()
        self.shapes = {name: tuple(tensor.dims) for name, tensor in constants.items()}
        for node in self.nodes:
            for attribute in node.attribute if node.op_type == "Constant" and node.output else ():
                self.shapes[node.output[0]] = tuple(attribute.t.dims) if attribute.HasField("t") else ()
                if attribute.HasField("t"):
                    constants[node.output[0]] = attribute.t
        self.integers = {name: _integer(tensor) for name, tensor in constants.items()}


def _integer(tensor: "TensorProto") -> int:
    """The value of a constant that is one integer; 0 for others."""
    is_external = tensor.data_location == 1  # TensorProto.EXTERNAL
    if math.prod(tensor.dims) != 1 or tensor.data_type not in (6, 7) or is_external:  # int32, int64
        return 0
    held = tensor_from_proto(tensor.name, tensor, None, "the model")
    return 0 if held is None else int(held.read().view(held.dtype.name)[0])
