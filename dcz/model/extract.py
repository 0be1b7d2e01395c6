"""A piece of a model, from some of its values to others.

cut(proto, {"pool1": pool1}, ["conv10"])  ->  the model that computes conv10 from pool1
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper


def cut(proto: ModelProto, given: Mapping[str, np.ndarray], wanted: Sequence[str]) -> ModelProto:
    """The nodes of the main graph that lie between the values `given` (arrays show their types and ranks) and those
    `wanted`, as a model of its own; constants come along, and inputs of the model that are needed are an error of the
    caller's, unless given."""
    makers = {output: node for node in proto.graph.node for output in node.output if output}
    needed, waiting, seen = set(), [name for name in wanted if name not in given], set()
    while waiting:
        name = waiting.pop()
        if name in seen or name in given:
            continue
        seen.add(name)
        if name in makers:
            needed.add(id(makers[name]))
            waiting += reads(makers[name])
    piece = ModelProto()
    piece.ir_version = proto.ir_version
    piece.opset_import.extend(proto.opset_import)
    piece.functions.extend(proto.functions)
    graph = piece.graph
    graph.name = proto.graph.name or "piece"
    graph.node.extend(node for node in proto.graph.node if id(node) in needed)
    graph.initializer.extend(tensor for tensor in proto.graph.initializer if tensor.name in seen)
    graph.sparse_initializer.extend(s for s in proto.graph.sparse_initializer if s.values.name in seen)
    for name, array in given.items():
        text = array.dtype.kind in "OU"
        kind = TensorProto.STRING if text else helper.np_dtype_to_tensor_dtype(array.dtype)
        graph.input.append(helper.make_tensor_value_info(name, kind, [None] * array.ndim))
    declared = {info.name: info for info in proto.graph.output}
    for name in wanted:
        graph.output.append(declared[name] if name in declared else helper.make_empty_tensor_value_info(name))
    return piece


def reads(node: NodeProto) -> Iterator[str]:
    """The values that a node reads, those that its subgraphs take from around them too; a value perhaps twice."""
    yield from (name for name in node.input if name)
    yield from captured(node)


def captured(node: NodeProto) -> Iterator[str]:
    """The values that a node's subgraphs take from around them."""
    for attribute in node.attribute:
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            inside = {each.name for each in (*graph.input, *graph.initializer)}
            inside.update(sparse.values.name for sparse in graph.sparse_initializer)
            inside.update(name for inner in graph.node for name in inner.output)
            read = [info.name for info in graph.output] + [name for inner in graph.node for name in reads(inner)]
            yield from (name for name in read if name not in inside)
