"""An ONNX graph as those who execute it want it: plain Python values and numpy arrays, no onnx types.

    program(load("net.onnx"), "net.onnx").nodes[0]
    ->  Node("conv1", "Conv", inputs=("x", "conv1.weight", ""), outputs=("y",), attributes={"pads": [1, 1, 1, 1]})

Tensors of initializers and of Constant nodes alike are `constants`, by the name of the value that they give; `weights`
tells which `ModelTensor` each of them is, so that new values find their way back (`replace.with_values`).

    program(model, path, opaque=True).nodes[3]
    ->  Node("If_0", "If", inputs=("cond", "h"), outputs=("y",), attributes={})     its branches read h
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from ..errors import UnsuitableModel
from ..tensor import DTYPES
from .extract import captured
from .tensors import Model, ModelTensor
from .uses import TensorUses, named

MOST_NAMED = 8  # refused nodes that a message names
OPAQUE = "dcz.opaque"  # the domain of nodes of ONNX's own that are not what their name says alone
HOME = ("", "ai.onnx")
_SINGLE = {AttributeProto.FLOAT: "f", AttributeProto.INT: "i"}
_SEVERAL = {AttributeProto.FLOATS: "floats", AttributeProto.INTS: "ints"}


@dataclass(frozen=True, eq=False)
class Node:
    """One operator at work. `name` is its first output's where it has none; an operand left out is called "".

    Opaque ones have a `domain` other than "", no attributes, and as further inputs what their subgraphs read.
    """

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Input:
    """What a program is given: the name of its element type, and its dims: a number, an open dim's name, or None.

    `shape` is None where even the number of dims is open.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True, eq=False)
class Program:
    """A graph without its container.

    `nodes` are in an order in which they can run. `constants` by value name: float16 and bfloat16 as float32, others in
    their own type. `weights`: value name -> name of the Site that holds it. `place` is the model's path, for messages.
    """

    opset: int
    nodes: tuple[Node, ...]
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    constants: dict[str, np.ndarray]
    weights: dict[str, str]
    place: str


def program(model: Model, path: str | os.PathLike, opaque: bool = False) -> Program:
    """The main graph of `model`; `path` is what messages call it.

    Raises UnsuitableModel, naming every node, for subgraphs (If, Loop, Scan), functions, operators of other domains,
    sparse tensors, and tensors of types that numpy has not. Where those who ask run no node themselves, all this may
    be `opaque`: nodes of which nothing is known but what they read (sparse tensors are nodes that read nothing), and
    constants of any type, text as objects.
    """
    proto, place = model.proto, os.fspath(path)
    unknown = {number for number, _ in _unknown(proto)}
    if not opaque:
        _refuse(proto, place)
    graph = proto.graph
    constants, weights = {}, {}
    model_tensors = tensors_by_value(model)
    for name, tensor in _tensors(proto):
        model_tensor = model_tensors.get(name)
        if model_tensor is not None:
            weights[name] = model_tensor.name
        constants[name] = _array(name, tensor, model_tensor, place, opaque)
    inputs = tuple(_input(info, place, opaque) for info in graph.input if info.name not in constants)
    sparse = [sparse.values.name for sparse in graph.sparse_initializer]
    nodes = [Node(name, "Constant", OPAQUE, (), (name,), {}) for name in sparse]
    nodes += [
        _opaque(node) if number in unknown else _node(node)
        for number, node in enumerate(graph.node)
        if not _is_constant(node)
    ]
    outputs = tuple(info.name for info in graph.output)
    opset = next((entry.version for entry in proto.opset_import if entry.domain in HOME), 1)
    return Program(opset, tuple(nodes), inputs, outputs, constants, weights, place)


def _unknown(proto: ModelProto) -> Iterator[tuple[int, str]]:
    """The numbers of the nodes that are more than an operator of ONNX's own with its operands, and what they are."""
    functions = {(function.domain, function.name) for function in proto.functions}
    for number, node in enumerate(proto.graph.node):
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            yield number, "holds a graph of its own"
        elif (node.domain, node.op_type) in functions:
            yield number, "is a function of the model"
        elif node.domain not in HOME:
            yield number, "is not of ONNX's own domain"
        elif any(attribute.HasField("sparse_tensor") or attribute.sparse_tensors for attribute in node.attribute):
            yield number, "holds a sparse tensor"


def _refuse(proto: ModelProto, place: str) -> None:
    found = []
    for number, what in _unknown(proto):
        node = proto.graph.node[number]
        kind = node.op_type if node.domain in HOME else f"{node.domain}.{node.op_type}"
        found.append(f"node {_name(node)!r}: operator {kind} {what}")
    found += [f"tensor {sparse.values.name!r} is sparse" for sparse in proto.graph.sparse_initializer]
    if found:
        more = f"; and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        why = "; ".join(found[:MOST_NAMED]) + more
        raise UnsuitableModel(f"{place}: dcz can compress this model, but not train it: {why}")


def tensors_by_value(model: Model) -> dict[str, ModelTensor]:
    """The main graph's tensors, by value name."""
    model_tensors = {model_tensor.name: model_tensor for model_tensor in model.tensors}
    survey = TensorUses(model.proto)
    found = [(held.value[1], name) for name, held in named(survey) if held.value and held.value[0] is survey.main]
    return {value: model_tensors[name] for value, name in found if name in model_tensors}


def _tensors(proto: ModelProto) -> Iterator[tuple[str, TensorProto | AttributeProto]]:
    yield from ((tensor.name, tensor) for tensor in proto.graph.initializer)
    for node in proto.graph.node:
        if _is_constant(node):
            (attribute,) = node.attribute
            yield node.output[0], attribute.t if attribute.HasField("t") else attribute


def _array(
    name: str, tensor: TensorProto | AttributeProto, model_tensor: ModelTensor | None, place: str, opaque: bool
) -> np.ndarray:
    if model_tensor is not None and model_tensor.dtype.real:
        return model_tensor.values()
    if isinstance(tensor, AttributeProto):
        given = _value(tensor)
        floating = tensor.type in (AttributeProto.FLOAT, AttributeProto.FLOATS)
        if floating or tensor.type in (AttributeProto.INT, AttributeProto.INTS):
            return np.array(given, np.float32 if floating else np.int64)
        if opaque:
            return np.array(given, object)
        raise UnsuitableModel(f"{place}: tensor {name!r} holds text, which dcz cannot train")
    if model_tensor is not None and model_tensor.dtype.bits >= 8 and hasattr(np, model_tensor.dtype.name):
        return model_tensor.read().view(model_tensor.dtype.name).reshape(model_tensor.shape)
    kind = DTYPES[tensor.data_type].name if tensor.data_type in DTYPES else f"of type {tensor.data_type}"
    if not hasattr(np, kind) and kind != "bfloat16" and not opaque:
        raise UnsuitableModel(f"{place}: tensor {name!r} is {kind}, which dcz cannot train")
    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise UnsuitableModel(f"{place}: tensor {name!r} cannot be read: {error}") from error
    return array.astype(np.float32) if kind in ("float16", "bfloat16") else array


def _input(info: ValueInfoProto, place: str, opaque: bool) -> Input:
    if opaque and not info.type.HasField("tensor_type"):
        return Input(info.name, "", None)
    if not info.type.HasField("tensor_type"):
        raise UnsuitableModel(f"{place}: input {info.name!r} is no tensor, which dcz cannot train")
    kind = info.type.tensor_type
    dtype = DTYPES[kind.elem_type].name if kind.elem_type in DTYPES else str(kind.elem_type)
    if not kind.HasField("shape"):
        return Input(info.name, dtype, None)
    dims = (dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in kind.shape.dim)
    return Input(info.name, dtype, tuple(dims))


def _node(node: NodeProto) -> Node:
    attributes = {attribute.name: _value(attribute) for attribute in node.attribute}
    return Node(_name(node), node.op_type, "", tuple(node.input), tuple(node.output), attributes)


def _opaque(node: NodeProto) -> Node:
    inputs = dict.fromkeys(captured(node))
    domain = node.domain if node.domain not in HOME else OPAQUE
    return Node(_name(node), node.op_type, domain, (*node.input, *inputs), tuple(node.output), {})


def _value(attribute: AttributeProto) -> Any:
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


def _is_constant(node: NodeProto) -> bool:
    held = node.attribute[0] if len(node.attribute) == 1 else None
    return (
        node.op_type == "Constant" and node.domain in HOME and held is not None and not held.HasField("sparse_tensor")
    )
