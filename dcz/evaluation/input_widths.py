"""How long the last axis of an input is, by the first layer that reads it.

input_widths(MainGraph(proto), ["features"])     ->   {"features": 236}, where an LSTM of that width comes first
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..model.nodes import int_attributes
from .main_graph import AFFINE, SAME, MainGraph

if TYPE_CHECKING:
    from onnx import NodeProto

ELEMENTWISE = SAME | {"Relu", "Sigmoid", "Tanh", "Abs", "Neg", "Sqrt", "Log", "Exp", "Clip", "Pow"}
RECURRENT = {"RNN", "GRU", "LSTM"}


def input_widths(graph: MainGraph, inputs: Sequence[str]) -> dict[str, int]:
    """The size of the last axis of those of `inputs` (of two axes or more) for which a layer's weights tell it: an
    RNN, GRU or LSTM, a MatMul or a Gemm, behind steps that leave that axis as it is."""
    sources = {name: name for name in inputs if name not in graph.shapes}  # of values with the same last axis
    widths: dict[str, int] = {}
    for node in graph.nodes:
        source = sources.get(node.input[0]) if node.input else None
        if source is None:
            continue
        if (width := _width_of_layer(graph, node)) is not None:
            widths.setdefault(source, width)
        elif node.output and _keeps_last_axis(graph, node):
            sources[node.output[0]] = source
    return widths


def _width_of_layer(graph: MainGraph, node: "NodeProto") -> int | None:
    """The size that a layer's weights want of the last axis of its first input; None for what is no such layer."""
    shape = graph.shapes.get(node.input[1]) if len(node.input) > 1 else None
    if not shape or len(shape) < 2:
        return None
    if node.op_type in RECURRENT and len(shape) == 3:  # [directions, gates * hidden, width]
        return shape[2] or None
    if node.op_type == "MatMul":
        return shape[-2] or None
    if node.op_type == "Gemm" and not int_attributes(node).get("transA", 0):
        return shape[1 if int_attributes(node).get("transB", 0) else 0] or None
    return None


def _keeps_last_axis(graph: MainGraph, node: "NodeProto") -> bool:
    """Whether the first output has the last axis of the first input, in its place."""
    if node.op_type in ELEMENTWISE:
        return True
    if node.op_type in AFFINE:
        return len(node.input) == 2 and node.input[1] in graph.shapes  # a constant
    if node.op_type not in {"Unsqueeze", "Squeeze"}:
        return False
    if len(node.input) > 1:
        axes = [graph.integers[node.input[1]]] if math.prod(graph.shapes.get(node.input[1], (0,))) == 1 else []
    else:
        axes = [axis for each in node.attribute if each.name == "axes" for axis in each.ints]
    return len(axes) == 1 and axes[0] in (0, 1)
