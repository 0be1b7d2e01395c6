"""An ONNX graph as those who execute it want it: plain Python values and numpy arrays, no onnx types.

    program(load("net.onnx"), "net.onnx").nodes[0]
    ->  Node("conv1", "Conv", inputs=("x", "conv1.weight", ""), outputs=("y",), attributes={"pads": [1, 1, 1, 1]})

Tensors of initializers and of Constant nodes alike are `constants`, by the name of the value that they give; `weights`
tells which `Site` each of them is, so that new values find their way back (`replace.with_values`).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from ..errors import UnsuitableModel
from ..tensor import DTYPES, values
from .sites import Model, Site
from .survey import Survey, named

MOST_NAMED = 8  # refused nodes that a message names
_HOME = ("", "ai.onnx")
_SINGLE = {AttributeProto.FLOAT: "f", AttributeProto.INT: "i"}
_SEVERAL = {AttributeProto.FLOATS: "floats", AttributeProto.INTS: "ints"}


@dataclass(frozen=True, eq=False)
class Node:
    """One operator at work. `name` is its first output's where it has none; an operand left out is called ""."""

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


def program(model: Model, path: str | os.PathLike) -> Program:
    """The main graph of `model`; `path` is what messages call it.

    Raises UnsuitableModel, naming every node, for subgraphs (If, Loop, Scan), functions, operators of other domains,
    sparse tensors, and tensors of types that numpy has not.
    """
    proto, place = model.proto, os.fspath(path)
    _refuse(proto, place)
    graph = proto.graph
    constants, weights = {}, {}
    links = _links(model)
    for name, tensor in _tensors(proto):
        site = links.get(name)
        if site is not None:
            weights[name] = site.name
        constants[name] = _array(name, tensor, site, place)
    inputs = tuple(_input(info, place) for info in graph.input if info.name not in constants)
    nodes = tuple(_node(node) for node in graph.node if not _is_constant(node))
    outputs = tuple(info.name for info in graph.output)
    opset = next((entry.version for entry in proto.opset_import if entry.domain in _HOME), 1)
    return Program(opset, nodes, inputs, outputs, constants, weights, place)


def _refuse(proto: ModelProto, place: str) -> None:
    functions = {(function.domain, function.name) for function in proto.functions}
    found = []
    for node in proto.graph.node:
        kind = node.op_type if node.domain in _HOME else f"{node.domain}.{node.op_type}"
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            found.append(f"node {_name(node)!r}: operator {kind} holds a graph of its own")
        elif (node.domain, node.op_type) in functions:
            found.append(f"node {_name(node)!r}: operator {kind} is a function of the model")
        elif node.domain not in _HOME:
            found.append(f"node {_name(node)!r}: operator {kind} is not of ONNX's own domain")
        elif any(attribute.HasField("sparse_tensor") or attribute.sparse_tensors for attribute in node.attribute):
            found.append(f"node {_name(node)!r}: operator {kind} holds a sparse tensor")
    found += [f"tensor {sparse.values.name!r} is sparse" for sparse in proto.graph.sparse_initializer]
    if found:
        more = f"; and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        why = "; ".join(found[:MOST_NAMED]) + more
        raise UnsuitableModel(f"{place}: dcz can compress this model, but not train or calibrate it: {why}")


def _links(model: Model) -> dict[str, Site]:
    """The sites of the main graph's tensors, by value name."""
    sites = {site.name: site for site in model.sites}
    links: dict[str, Site] = {}
    for name, held in named(Survey(model.proto)):
        if held.value is not None and held.value[0].parent is None and name in sites:
            links.setdefault(held.value[1], sites[name])  # the main graph comes before any function
    return links


def _tensors(proto: ModelProto) -> Iterator[tuple[str, TensorProto | AttributeProto]]:
    yield from ((tensor.name, tensor) for tensor in proto.graph.initializer)
    for node in proto.graph.node:
        if _is_constant(node):
            (attribute,) = node.attribute
            yield node.output[0], attribute.t if attribute.HasField("t") else attribute


def _array(name: str, tensor: TensorProto | AttributeProto, site: Site | None, place: str) -> np.ndarray:
    if site is not None and site.dtype.real:
        return values(site.read().view(site.dtype.pattern), site.dtype).reshape(site.shape)
    if isinstance(tensor, AttributeProto):
        given = _value(tensor)
        floating = tensor.type in (AttributeProto.FLOAT, AttributeProto.FLOATS)
        if floating or tensor.type in (AttributeProto.INT, AttributeProto.INTS):
            return np.array(given, np.float32 if floating else np.int64)
        raise UnsuitableModel(f"{place}: tensor {name!r} holds text, which dcz cannot train")
    if site is not None and site.dtype.bits >= 8 and hasattr(np, site.dtype.name):
        return site.read().view(site.dtype.name).reshape(site.shape)
    kind = DTYPES[tensor.data_type].name if tensor.data_type in DTYPES else f"of type {tensor.data_type}"
    if not hasattr(np, kind) and kind != "bfloat16":
        raise UnsuitableModel(f"{place}: tensor {name!r} is {kind}, which dcz cannot train")
    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise UnsuitableModel(f"{place}: tensor {name!r} cannot be read: {error}") from error
    return array.astype(np.float32) if kind in ("float16", "bfloat16") else array


def _input(info: ValueInfoProto, place: str) -> Input:
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
    return node.op_type == "Constant" and node.domain in _HOME and len(node.attribute) == 1
