"""The layers of a graph whose rounding can be compensated: what they read, and their weights as matrices.

Conv  x, weight [64, 3, 3, 3], bias   ->   Layer(site, uses=(("x", Windows(...)),), bias="conv1.bias", ...)
"""

import math
from dataclasses import dataclass

import numpy as np

from ..model import Program
from . import biases, im2col
from .biases import Bias, Rows
from .operands import Operands, Use, View

RECURRENT = ("LSTM", "GRU", "RNN")


@dataclass(frozen=True)
class Layer:
    """One weight tensor, by the name of its site.

    `view`: the tensor as its nodes see it. `form`: how that becomes matrices [groups, rows, k] with y = matrix @
    columns. `uses`: (value, columns) of each node that it serves. `bias`: the site of a constant with one number a row
    that shifts what the layer gives and nothing else, by 1 for each `factor` of it; None where there is none.
    """

    site: str
    form: str
    groups: int
    view: View
    uses: tuple[tuple[str, im2col.Columns], ...]
    bias: str | None = None
    factor: float = 1.0

    @property
    def length(self) -> int:
        """k, the numbers of a column."""
        shape = self.view.shape
        rows = shape[0] if self.form == "rows" else shape[1] * self.groups
        return math.prod(shape) // rows

    def matrices(self, weights: np.ndarray) -> np.ndarray:
        """The tensor as [groups, rows, k]."""
        weights = self.view.of(weights)
        if self.form == "transposed":  # [channels, m / groups, *kernel], kernels backwards
            backwards = np.flip(weights, tuple(range(2, weights.ndim)))
            grouped = backwards.reshape(self.groups, -1, *weights.shape[1:])
            return np.swapaxes(grouped, 1, 2).reshape(self.groups, weights.shape[1], -1)
        if self.form == "columns":  # [k, rows]
            return weights.T[None]
        return weights.reshape(self.groups, weights.shape[0] // self.groups, -1)

    def tensor(self, matrices: np.ndarray) -> np.ndarray:
        """`matrices` undone."""
        shape = self.view.shape
        if self.form == "transposed":
            channels, rows, *kernel = shape
            grouped = matrices.reshape(self.groups, rows, channels // self.groups, *kernel)
            return self.view.undo(np.flip(np.swapaxes(grouped, 1, 2).reshape(shape), tuple(range(2, len(shape)))))
        return self.view.undo(matrices[0].T if self.form == "columns" else matrices.reshape(shape))


def find(program: Program) -> list[Layer]:
    """The layers of a program in the order in which they run: each weight tensor once, whoever uses it.

    A tensor of which one use is something else (an embedding that is also the last layer's weights, an operand of a
    loop's body) is none: the inputs that are seen would not tell what its errors do.
    """
    operands = Operands(program)
    found = []
    for site, uses in operands.uses.items():
        layers = [] if site in operands.shown else [_layer(use, site, operands) for use in uses]
        kinds = {None if each is None else (each.form, each.groups, each.view) for each in layers}
        if len(kinds) == 1 and None not in kinds:
            found.append(layers[0] if len(layers) == 1 else _merged(layers))
    return found


def _merged(layers: list[Layer]) -> Layer:
    """One layer for the nodes of all, without a bias: each would have its own."""
    first = layers[0]
    uses = tuple(use for layer in layers for use in layer.uses)
    return Layer(first.site, first.form, first.groups, first.view, uses)


def _layer(use: Use, site: str, operands: Operands) -> Layer | None:
    """The layer that a node makes of one of its operands, or None where that is none of its weights."""
    node, place, view = use.node, use.place, operands.moved[use.value].view
    if node.domain or len(node.inputs) < 2:
        return None
    if node.op in ("Conv", "ConvTranspose") and place == 1 and len(view.shape) > 2:
        return _conv(use, site, operands)
    if node.inputs[1 - place if place < 2 else 0] in operands.fixed:  # no input of the model is seen there
        return None
    if node.op in RECURRENT and len(view.shape) == 3:
        return _recurrent(use, site, view)
    if node.op == "Gemm" and place < 2 and len(view.shape) == 2:
        return _gemm(use, site, operands)
    if node.op == "MatMul" and place < 2 and len(view.shape) == 2:
        form, axis, rows = ("columns", -1, view.shape[1]) if place else ("rows", -2, view.shape[0])
        bias = biases.after(Rows(node.outputs[0], rows, axis, None), operands)
        return _made(use, site, form, 1, view, im2col.Dense(axis), bias)
    return None


def _conv(use: Use, site: str, operands: Operands) -> Layer | None:
    node, view = use.node, operands.moved[use.value].view
    plain = node.op == "Conv"
    windows = (im2col.of_conv if plain else im2col.of_transposed)(node.attributes, view.shape)
    if windows is None or node.inputs[0] in operands.fixed:
        return None
    rows, rank = view.shape[0] if plain else view.shape[1] * windows.groups, len(view.shape)
    own = biases.operand(node, 2, rows, operands)
    bias = Bias(own, 1.0) if own else biases.after(Rows(node.outputs[0], rows, 1 - rank, rank), operands)
    return _made(use, site, "rows" if plain else "transposed", windows.groups, view, windows, bias)


def _gemm(use: Use, site: str, operands: Operands) -> Layer:
    """A is weights [rows, k] or, turned, [k, rows], and B the other way round."""
    node, place, view = use.node, use.place, operands.moved[use.value].view
    alpha, beta = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)
    turned = bool(node.attributes.get("transB" if place else "transA", 0))
    other_turned = bool(node.attributes.get("transA" if place else "transB", 0))
    form = "rows" if turned == bool(place) else "columns"
    axis = (-2 if other_turned else -1) if place else (-1 if other_turned else -2)
    rows = view.shape[0] if form == "rows" else view.shape[1]
    own = biases.operand(node, 2, rows, operands) if place and beta else None
    bias = Bias(own, 1 / beta) if own else biases.after(Rows(node.outputs[0], rows, -1 if place else -2, 2), operands)
    bias = None if bias is None else Bias(bias.site, alpha * bias.factor)
    return _made(use, site, form, 1, view, im2col.Dense(axis), bias)


def _recurrent(use: Use, site: str, view: View) -> Layer | None:
    """W [directions, gates, k] meets the inputs, R the outputs of the step before, if the model asks for these."""
    node, (directions, gates, size) = use.node, view.shape
    view = view.reshaped((directions * gates, size))
    if use.place == 1:
        return _made(use, site, "rows", 1, view, im2col.Dense(), None)
    reset = node.op == "GRU" and not node.attributes.get("linear_before_reset", 0)  # what R meets there is not seen
    if use.place != 2 or reset or not (node.outputs and node.outputs[0]):
        return None
    states = im2col.RecurrentStates(node.attributes.get("layout", 0))
    return Layer(site, "rows", directions, view, ((node.outputs[0], states),))


def _made(use: Use, site: str, form: str, groups: int, view: View, what: im2col.Columns, bias: Bias | None) -> Layer:
    data = use.node.inputs[1 - use.place]
    given = (None, 1.0) if bias is None else (bias.site, bias.factor)
    return Layer(site, form, groups, view, ((data, what),), *given)
