"""An ONNX graph for code that executes or analyses it: plain Python values and numpy arrays, no onnx types.

    read_program(load("net.onnx"), "net.onnx").nodes[0]
    ->  Node("conv1", "Conv", "", inputs=("x", "conv1.weight", ""), outputs=("y",), attributes={"pads": [1, 1, 1, 1]})

Tensors of initializers and of Constant nodes alike are `constants`, by the name of the value that they give; `weights`
says which `ModelTensor` each of them is, for `replace.with_values`.

Opaque nodes. An operator that is more than its name and inputs (it has a subgraph or a sparse tensor, or is a function
or of another domain) cannot be executed here. With `opaque=True` it stays in the program as a black box: a node of a
domain that is not ONNX's, without attributes, whose inputs include the values that its subgraphs read. That is enough
to see what depends on what, as calibration does, while onnxruntime runs the model itself.

    read_program(model, path, opaque=True).nodes[3]
    ->  Node("If_0", "If", "dcz.opaque", inputs=("cond", "h"), outputs=("y",), attributes={})     its branches read h
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from ..errors import UnsuitableModel
from ..tensor import DTYPES
from .model_file import Model
from .nodes import ONNX_DOMAINS, implicit_inputs, is_constant, opset_version, subgraphs
from .tensors import ModelTensor, Recent, tensor_from_proto

MAX_NAMED = 8  # refused nodes that a message names
OPAQUE_DOMAIN = "dcz.opaque"  # of opaque nodes whose operators are ONNX's own
Shape = tuple[int | str | None, ...]
_SINGLE = {AttributeProto.FLOAT: "f", AttributeProto.INT: "i"}
_SEVERAL = {AttributeProto.FLOATS: "floats", AttributeProto.INTS: "ints"}


@dataclass(frozen=True, eq=False)
class Node:
    """One operator at work. `name` is its first output's where it has none; an input that is left out is "".

    `domain` is "" for the operators that ONNX defines, something else for opaque nodes (see the module).
    """

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Input:
    """An input of a program: the name of its element type, and its dims: a number, an open dim's name, or None.

    `shape` is None where even the number of dims is open.
    """

    name: str
    dtype: str
    shape: Shape | None


@dataclass(frozen=True, eq=False)
class Program:
    """A graph without its container.

    `nodes` are in the model's order, which ONNX wants to be one in which they can run. `constants` by value name:
    float16 and bfloat16 as float32, others in their own type. `weights`: value name -> name of its ModelTensor. `place`
    is the model's path, for messages. `output_shapes` by name are as an Input's shape.
    """

    opset: int
    nodes: tuple[Node, ...]
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    constants: dict[str, np.ndarray]
    weights: dict[str, str]
    place: str
    output_shapes: dict[str, Shape | None] = field(default_factory=dict)


def read_program(model: Model, path: str | os.PathLike[str], opaque: bool = False) -> Program:
    """The main graph of `model`; `path` is what messages call it.

    Raises UnsuitableModel, naming every node, for subgraphs (If, Loop, Scan), functions, operators of other domains,
    sparse tensors, and tensors of types that numpy does not have. With `opaque` these are allowed: opaque nodes (see
    the module; a sparse initializer is one that reads nothing), and constants of any type, text as objects.
    """
    proto, label = model.proto, os.fspath(path)
    unknown = {number for number, _ in _opaque_nodes(proto)}
    if not opaque:
        _refuse_opaque(proto, label)
    graph = proto.graph
    constants, weights = {}, {}
    tensors = tensors_by_value(model)
    for name, stored in _stored_constants(proto):
        tensor = tensors.get(name)
        if tensor is not None:
            weights[name] = tensor.name
        elif isinstance(stored, TensorProto) and stored.HasField("raw_data") and stored.raw_data in model.apart:
            found = tensor_from_proto(name, stored, None, label, model.apart)  # which the caller has left out
            tensor = found and replace(found, recent=Recent(model.apart))
        constants[name] = _array(name, stored, tensor, label, opaque)
    inputs = tuple(_input(info, label, opaque) for info in graph.input if info.name not in constants)
    sparse = [sparse.values.name for sparse in graph.sparse_initializer]
    nodes = [Node(name, "Constant", OPAQUE_DOMAIN, (), (name,), {}) for name in sparse]
    nodes += [
        _opaque_node(node) if number in unknown else _node(node)
        for number, node in enumerate(graph.node)
        if not is_constant(node)
    ]
    outputs = tuple(info.name for info in graph.output)
    shapes = {info.name: _shape(info) for info in graph.output}
    return Program(opset_version(proto), tuple(nodes), inputs, outputs, constants, weights, label, shapes)


def _opaque_nodes(proto: ModelProto) -> Iterator[tuple[int, str]]:
    """The numbers of the nodes that are more than an operator of ONNX with its inputs, and why."""
    functions = {(function.domain, function.name) for function in proto.functions}
    for number, node in enumerate(proto.graph.node):
        if any(subgraphs(attribute) for attribute in node.attribute):
            yield number, "holds a graph of its own"
        elif (node.domain, node.op_type) in functions:
            yield number, "is a function of the model"
        elif node.domain not in ONNX_DOMAINS:
            yield number, "is not of ONNX's own domain"
        elif any(attribute.HasField("sparse_tensor") or attribute.sparse_tensors for attribute in node.attribute):
            yield number, "holds a sparse tensor"


def _refuse_opaque(proto: ModelProto, label: str) -> None:
    refused = []
    for number, reason in _opaque_nodes(proto):
        node = proto.graph.node[number]
        kind = node.op_type if node.domain in ONNX_DOMAINS else f"{node.domain}.{node.op_type}"
        refused.append(f"node {_name(node)!r}: operator {kind} {reason}")
    refused += [f"tensor {sparse.values.name!r} is sparse" for sparse in proto.graph.sparse_initializer]
    if refused:
        more = f"; and {len(refused) - MAX_NAMED} more" if len(refused) > MAX_NAMED else ""
        why = "; ".join(refused[:MAX_NAMED]) + more
        raise UnsuitableModel(f"{label}: dcz can compress this model, but not train it: {why}")


def tensors_by_value(model: Model) -> dict[str, ModelTensor]:
    """The main graph's tensors, by value name."""
    tensors, graph = {id(tensor.proto): tensor for tensor in model.tensors}, model.proto.graph
    stored = [*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]
    named: list[tuple[str, TensorProto | AttributeProto]] = [(proto.name, proto) for proto in stored]
    for node in graph.node:
        if node.op_type == "Constant":
            name = node.output[0] if node.output else node.name
            for attribute in node.attribute:
                named += [(name, attribute.t), (name, attribute), (name, attribute.sparse_tensor.values)]
    return {name: tensor for name, proto in named if (tensor := tensors.get(id(proto))) is not None}


def _stored_constants(proto: ModelProto) -> Iterator[tuple[str, TensorProto | AttributeProto]]:
    yield from ((tensor.name, tensor) for tensor in proto.graph.initializer)
    for node in proto.graph.node:
        if is_constant(node):
            (attribute,) = node.attribute
            yield node.output[0], attribute.t if attribute.HasField("t") else attribute


def _array(
    name: str, stored: TensorProto | AttributeProto, tensor: ModelTensor | None, label: str, opaque: bool
) -> np.ndarray:
    if tensor is not None and tensor.dtype.real:
        return tensor.values()
    if isinstance(stored, AttributeProto):
        value = _attribute_value(stored)
        is_float = stored.type in (AttributeProto.FLOAT, AttributeProto.FLOATS)
        if is_float or stored.type in (AttributeProto.INT, AttributeProto.INTS):
            return np.array(value, np.float32 if is_float else np.int64)
        if opaque:
            return np.array(value, object)
        raise UnsuitableModel(f"{label}: tensor {name!r} holds text, which dcz cannot train")
    if tensor is not None and tensor.dtype.bits >= 8 and hasattr(np, tensor.dtype.name):
        return tensor.read().view(tensor.dtype.name).reshape(tensor.shape)
    kind = DTYPES[stored.data_type].name if stored.data_type in DTYPES else f"of type {stored.data_type}"
    if not hasattr(np, kind) and kind != "bfloat16" and not opaque:
        raise UnsuitableModel(f"{label}: tensor {name!r} is {kind}, which dcz cannot train")
    try:
        array = numpy_helper.to_array(stored)
    except (ValueError, TypeError) as error:
        raise UnsuitableModel(f"{label}: tensor {name!r} cannot be read: {error}") from error
    return array.astype(np.float32) if kind in ("float16", "bfloat16") else array


def _input(info: ValueInfoProto, label: str, opaque: bool) -> Input:
    if opaque and not info.type.HasField("tensor_type"):
        return Input(info.name, "", None)
    if not info.type.HasField("tensor_type"):
        raise UnsuitableModel(f"{label}: input {info.name!r} is no tensor, which dcz cannot train")
    kind = info.type.tensor_type
    dtype = DTYPES[kind.elem_type].name if kind.elem_type in DTYPES else str(kind.elem_type)
    return Input(info.name, dtype, _shape(info))


def _shape(info: ValueInfoProto) -> Shape | None:
    """The dims of a tensor; None where even their number is open, and for what is no tensor."""
    if not info.type.HasField("tensor_type") or not info.type.tensor_type.HasField("shape"):
        return None
    dims = info.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in dims)


def _node(node: NodeProto) -> Node:
    attributes = {attribute.name: _attribute_value(attribute) for attribute in node.attribute}
    return Node(_name(node), node.op_type, "", tuple(node.input), tuple(node.output), attributes)


def _opaque_node(node: NodeProto) -> Node:
    implicit = dict.fromkeys(implicit_inputs(node))
    domain = node.domain if node.domain not in ONNX_DOMAINS else OPAQUE_DOMAIN
    return Node(_name(node), node.op_type, domain, (*node.input, *implicit), tuple(node.output), {})


def _attribute_value(attribute: AttributeProto) -> Any:
    if attribute.type in _SINGLE:
        return getattr(attribute, _SINGLE[attribute.type])
    if attribute.type in _SEVERAL:
        return list(getattr(attribute, _SEVERAL[attribute.type]))
    if attribute.type == AttributeProto.STRING:
        return attribute.s.decode(errors="backslashreplace")
    if attribute.type == AttributeProto.STRINGS:
        return [text.decode(errors="backslashreplace") for text in attribute.strings]
    if attribute.type == AttributeProto.TENSOR:
        return numpy_helper.to_array(attribute.t)
    return None


def _name(node: NodeProto) -> str:
    return node.name or (node.output[0] if node.output else node.op_type)
