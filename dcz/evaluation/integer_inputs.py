"""What the integers of an input may be, by the tables that they choose from and the numbers that they are held against.

integer_uses(MainGraph(proto), ["input_ids"])    ->   ({"input_ids": 30522}, {})
"""

import math
from collections.abc import Sequence

import numpy as np

from ..model.nodes import int_attributes
from .main_graph import AFFINE, MAX_STEPS, RESHAPING, SAME, MainGraph

# Operators that read rows of a table: (operand of the indices, operand of the table)
TABLE_READERS = {"Gather": [(1, 0)], "GatherElements": [(1, 0)], "EmbedLayerNormalization": [(0, 2), (1, 4)]}
COPYING = SAME | RESHAPING | {"Expand", "Transpose", "Clip", "Slice", "Tile"}  # of their first input
MIXING = {"Add", "Sub", "Mul", "Where", "Max", "Min", "Concat"}  # of all: negative indices are counted from the end


def integer_uses(graph: MainGraph, inputs: Sequence[str]) -> tuple[dict[str, int], dict[str, int]]:
    """How many rows the smallest table has that an input chooses from, and a number that an input is compared with: by
    the names of those of `inputs` for which there is such a table, or such a number."""
    sources = {name: {name} for name in inputs if name not in graph.shapes}  # of each value
    limits: dict[str, int] = {}
    compared: dict[str, int] = {}

    def limit(value: str, rows: int) -> None:
        for name in sources.get(value, ()):
            limits[name] = min(limits.get(name, rows), rows)

    for node in graph.nodes:
        for indices, table in TABLE_READERS.get(node.op_type, []):
            if max(indices, table) >= len(node.input):
                continue
            shape = _shape_of(graph, node.input[table])
            axis = int_attributes(node).get("axis", 0)
            if not shape or not -len(shape) <= axis < len(shape) or shape[axis] < 1:
                continue
            limit(node.input[indices], shape[axis])
        if node.op_type == "OneHot" and len(node.input) > 1 and (depth := graph.integers.get(node.input[1])):
            limit(node.input[0], depth)
        if node.op_type == "Equal" and len(node.input) == 2:
            for value, other in (node.input, reversed(node.input)):
                if (rows := math.prod(graph.shapes.get(other, ()))) > 2:  # a OneHot in pieces
                    limit(value, rows)
                elif number := graph.integers.get(other):
                    compared |= dict.fromkeys(sources.get(value, ()), number)
        if node.op_type in COPYING | MIXING:
            copied = node.input if node.op_type in MIXING else node.input[:1]
            each = [sources[name] for name in copied if name in sources]
            merged = each[0] if len(each) == 1 else set().union(*each)
            for name in node.output if merged else ():
                sources[name] = merged
    return limits, compared


def _shape_of(graph: MainGraph, name: str) -> tuple[int, ...] | None:
    """The shape of a constant table, through DequantizeLinear, Cast and multiplications."""
    for _ in range(MAX_STEPS):
        if name in graph.shapes:
            return graph.shapes[name]
        node = graph.makers.get(name)
        if node is None or node.op_type not in SAME | AFFINE or not node.input:
            return None
        sizes = [math.prod(graph.shapes.get(each, ())) for each in node.input]
        name = node.input[int(np.argmax(sizes))] if node.op_type in AFFINE else node.input[0]
    return None
