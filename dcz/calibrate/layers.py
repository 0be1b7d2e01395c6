"""The layers of a graph whose rounding can be compensated: what they read, and their weights as matrices.

Conv  x, weight [64, 3, 3, 3], bias   ->   Layer(site, uses=(("x", Windows(...)),), bias="conv1.bias", ...)
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ..model import Node, Program
from . import columns


@dataclass(frozen=True)
class Layer:
    """One weight tensor, by the name of its site.

    `form`: how the tensor becomes matrices [groups, rows, k] with y = matrix @ columns. `uses`: (value, columns) of
    each node that it serves. `nodes`: their names. `bias`: the site of a constant with one number a row that is added
    to what the layer gives and to nothing else, `factor` of which is added for each 1 of it; None where there is none.
    """

    site: str
    form: str
    groups: int
    shape: tuple[int, ...]
    uses: tuple[tuple[str, columns.Columns], ...]
    nodes: tuple[str, ...]
    bias: str | None = None
    factor: float = 1.0

    def matrices(self, weights: np.ndarray) -> np.ndarray:
        """The tensor as [groups, rows, k]."""
        if self.form == "transposed":  # [channels, m / groups, *kernel], kernels backwards
            backwards = np.flip(weights, tuple(range(2, weights.ndim)))
            grouped = backwards.reshape(self.groups, -1, *weights.shape[1:])
            return np.swapaxes(grouped, 1, 2).reshape(self.groups, weights.shape[1], -1)
        if self.form == "columns":  # [k, rows]
            return weights.T[None]
        return weights.reshape(self.groups, weights.shape[0] // self.groups, -1)

    def tensor(self, matrices: np.ndarray) -> np.ndarray:
        """`matrices` undone."""
        if self.form == "transposed":
            channels, rows, *kernel = self.shape
            grouped = matrices.reshape(self.groups, rows, channels // self.groups, *kernel)
            return np.flip(np.swapaxes(grouped, 1, 2).reshape(self.shape), tuple(range(2, len(self.shape))))
        return matrices[0].T if self.form == "columns" else matrices.reshape(self.shape)


def find(program: Program) -> list[Layer]:
    """The layers of a program in the order in which they run: each weight tensor once, whoever uses it."""
    readers = Counter(name for node in program.nodes for name in node.inputs)
    readers.update(program.outputs)
    found: dict[str, Layer] = {}
    refused = set()
    for node in program.nodes:
        operands = [name for name in node.inputs if name in program.weights]
        for operand in operands:
            site = program.weights[operand]
            layer = _layer(node, operand, program, readers)
            if layer is None:
                continue
            before = found.get(site)
            if before is None:
                found[site] = layer
            elif (before.form, before.groups) == (layer.form, layer.groups):
                merged = (*before.uses, *layer.uses), (*before.nodes, *layer.nodes)
                found[site] = Layer(site, layer.form, layer.groups, layer.shape, *merged)
            else:
                refused.add(site)
    return [layer for site, layer in found.items() if site not in refused]


def _layer(node: Node, operand: str, program: Program, readers: Counter) -> Layer | None:
    """The layer that `node` makes of one of its operands, or None where that is none of its weights."""
    if node.inputs.count(operand) > 1:
        return None
    place, shape = node.inputs.index(operand), program.constants[operand].shape
    site = program.weights[operand]
    if node.op in ("Conv", "ConvTranspose") and place == 1 and len(shape) > 2:
        conv = node.op == "Conv"
        windows = (columns.of_conv if conv else columns.of_transposed)(node.attributes, shape)
        if windows is None:
            return None
        bias = _operand(node, 2) or _added(node, program, readers, 1, len(shape))
        form, groups = "rows" if conv else "transposed", windows.groups
        rows = shape[0] if conv else shape[1] * groups
        uses = ((node.inputs[0], windows),)
        return Layer(site, form, groups, shape, uses, (node.name,), _bias(bias, rows, program, readers))
    if node.op == "Gemm" and place in (0, 1) and len(shape) == 2:
        alpha, beta = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)
        turned = bool(node.attributes.get("transB" if place else "transA", 0))
        other_turned = bool(node.attributes.get("transA" if place else "transB", 0))
        form = "rows" if turned == bool(place) else "columns"
        axis = (-2 if other_turned else -1) if place else (-1 if other_turned else -2)
        rows = shape[0] if form == "rows" else shape[1]
        uses = ((node.inputs[1 - place], columns.Dense(axis)),)
        bias = _bias(_operand(node, 2), rows, program, readers) if place and beta else None
        return Layer(site, form, 1, shape, uses, (node.name,), bias, alpha / beta if beta else 1.0)
    if node.op == "MatMul" and len(shape) == 2:
        form, axis = ("columns", -1) if place else ("rows", -2)
        rows = shape[1] if place else shape[0]
        uses = ((node.inputs[1 - place], columns.Dense(axis)),)
        bias = _bias(_added(node, program, readers, -1), rows, program, readers) if place else None
        return Layer(site, form, 1, shape, uses, (node.name,), bias)
    return None


def _operand(node: Node, place: int) -> str | None:
    return node.inputs[place] or None if len(node.inputs) > place else None


def _added(node: Node, program: Program, readers: Counter, axis: int, dims: int = 0) -> str | None:
    """The constant that the only reader of a node's output adds to it along `axis`."""
    if readers[node.outputs[0]] != 1:
        return None
    reader = next((n for n in program.nodes if node.outputs[0] in n.inputs), None)
    if reader is None or reader.op != "Add":
        return None
    other = reader.inputs[1 - reader.inputs.index(node.outputs[0])]
    shape = program.constants[other].shape if other in program.constants else ()
    long = [place for place, dim in enumerate(shape) if dim != 1]
    wanted = (len(shape) - 1) if axis == -1 else len(shape) - dims + axis
    return other if long == [wanted] else None


def _bias(name: str | None, rows: int, program: Program, readers: Counter) -> str | None:
    """The site of a constant of `rows` numbers, if nobody else reads it."""
    if name is None or readers[name] != 1 or name not in program.weights:
        return None
    return program.weights[name] if program.constants[name].size == rows else None
