"""A part of a model, from some of its values to others.

extract_subgraph(proto, {"pool1": pool1}, ["conv10"])  ->  the model that computes conv10 from pool1
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from onnx import ModelProto, TensorProto, helper

from .nodes import all_inputs


class Described(Protocol):
    """What has the type and the rank of an array, such as an array."""

    @property
    def dtype(self) -> np.dtype:
        """Of its elements."""

    @property
    def ndim(self) -> int:
        """The number of its axes."""


def extract_subgraph(proto: ModelProto, inputs: Mapping[str, Described], outputs: Sequence[str]) -> ModelProto:
    """The nodes of the main graph that compute the values `outputs` from the values `inputs`, as a new model.

    Of the arrays in `inputs` only types and ranks are taken. Constants come along. `inputs` must cover the inputs of
    the model that are needed; others come out undeclared.
    """
    producers = {output: node for node in proto.graph.node for output in node.output if output}
    needed, read, waiting = set(), set(), [name for name in outputs if name not in inputs]
    while waiting:
        name = waiting.pop()
        if name in read or name in inputs:
            continue
        read.add(name)
        if name in producers:
            needed.add(id(producers[name]))
            waiting += all_inputs(producers[name])
    part = ModelProto()
    part.ir_version = proto.ir_version
    part.opset_import.extend(proto.opset_import)
    part.functions.extend(proto.functions)
    graph = part.graph
    graph.name = proto.graph.name or "piece"
    graph.node.extend(node for node in proto.graph.node if id(node) in needed)
    graph.initializer.extend(tensor for tensor in proto.graph.initializer if tensor.name in read)
    graph.sparse_initializer.extend(s for s in proto.graph.sparse_initializer if s.values.name in read)
    for name, array in inputs.items():
        is_text = array.dtype.kind in "OU"
        elem_type = TensorProto.STRING if is_text else helper.np_dtype_to_tensor_dtype(array.dtype)
        graph.input.append(helper.make_tensor_value_info(name, elem_type, [None] * array.ndim))
    declared = {info.name: info for info in proto.graph.output}
    for name in outputs:
        graph.output.append(declared[name] if name in declared else helper.make_empty_tensor_value_info(name))
    return part
