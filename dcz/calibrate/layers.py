"""The layers of a graph whose rounding can be compensated: what they read, and their weights as matrices.

Conv  x, weight [64, 3, 3, 3], bias   ->   Layer("weight", uses=(("x", ConvPatches(...)),), bias="bias", ...)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..model import Program
from . import im2col
from .biases import Bias, OutputRows, bias_after, bias_operand
from .operands import Operands, Use, View, find_operands

RECURRENT_OPS = ("LSTM", "GRU", "RNN")


@dataclass(frozen=True)
class Layer:
    """One weight tensor, by its name (that of a ModelTensor), and the nodes that multiply with it.

    `view`: the tensor as its nodes see it. `layout`: how that becomes matrices [groups, rows, k] with y = matrix @
    im2col matrix: "rows" [groups * rows, *k], "columns" [k, rows], or "transposed", as of a ConvTranspose. `uses`:
    (value, lowering) of each node. `bias`: the name of a tensor with one number a row that shifts what the layer gives
    and nothing else, and `bias_factor`: see biases.Bias; None where there is none.
    """

    tensor: str
    layout: str
    groups: int
    view: View
    uses: tuple[tuple[str, im2col.Lowering], ...]
    bias: str | None = None
    bias_factor: float = 1.0

    @property
    def in_features(self) -> int:
        """k, the inputs that each output of a group depends on."""
        shape = self.view.shape
        rows = shape[0] if self.layout == "rows" else shape[1] * self.groups
        return math.prod(shape) // rows

    def to_matrices(self, weights: np.ndarray) -> np.ndarray:
        """The tensor as [groups, rows, k]."""
        weights = self.view.apply(weights)
        if self.layout == "transposed":  # [channels, m / groups, *kernel], kernels flipped
            flipped = np.flip(weights, tuple(range(2, weights.ndim)))
            grouped = flipped.reshape(self.groups, -1, *weights.shape[1:])
            return np.swapaxes(grouped, 1, 2).reshape(self.groups, weights.shape[1], -1)
        if self.layout == "columns":
            return weights.T[None]
        return weights.reshape(self.groups, weights.shape[0] // self.groups, -1)

    def from_matrices(self, matrices: np.ndarray) -> np.ndarray:
        """`to_matrices` undone."""
        shape = self.view.shape
        if self.layout == "transposed":
            channels, rows, *kernel = shape
            grouped = matrices.reshape(self.groups, rows, channels // self.groups, *kernel)
            flipped = np.swapaxes(grouped, 1, 2).reshape(shape)
            return self.view.undo(np.flip(flipped, tuple(range(2, len(shape)))))
        return self.view.undo(matrices[0].T if self.layout == "columns" else matrices.reshape(shape))


def find_layers(program: Program) -> list[Layer]:
    """The layers of a program in the order in which they run: each weight tensor once, whatever nodes use it.

    A tensor of which one use is something else (an embedding that is also the last layer's weights, an operand of a
    loop's body) is none: the inputs that are seen would not show what its errors do.
    """
    operands = find_operands(program)
    layers = []
    for tensor, uses in operands.uses.items():
        if tensor in operands.output_tensors:
            continue
        candidates = [_layer_of(use, tensor, operands) for use in uses]
        same = [layer for layer in candidates if layer is not None]
        if len(same) == len(candidates) and len({(layer.layout, layer.groups, layer.view) for layer in same}) == 1:
            layers.append(same[0] if len(same) == 1 else _merged(same))
    return layers


def _merged(layers: Sequence[Layer]) -> Layer:
    """One layer for the nodes of all, without a bias: each would have its own."""
    first = layers[0]
    uses = tuple(use for layer in layers for use in layer.uses)
    return Layer(first.tensor, first.layout, first.groups, first.view, uses)


def _layer_of(use: Use, tensor: str, operands: Operands) -> Layer | None:
    """The layer that a node makes of one of its operands; None where that is not its weights, or its inputs unknown."""
    node, index, view = use.node, use.index, operands.aliases[use.value].view
    if node.domain or len(node.inputs) < 2:
        return None
    if node.op in ("Conv", "ConvTranspose") and index == 1 and len(view.shape) > 2:
        return _conv(use, tensor, operands)
    if node.inputs[1 - index if index < 2 else 0] in operands.foldable:  # no input of the model is seen there
        return None
    if node.op in RECURRENT_OPS and len(view.shape) == 3:
        return _recurrent(use, tensor, view)
    if node.op == "Gemm" and index < 2 and len(view.shape) == 2:
        return _gemm(use, tensor, operands)
    if node.op == "MatMul" and index < 2 and len(view.shape) == 2:
        layout, axis, rows = ("columns", -1, view.shape[1]) if index else ("rows", -2, view.shape[0])
        bias = bias_after(OutputRows(node.outputs[0], rows, axis, None), operands)
        return _layer(use, tensor, layout, 1, view, im2col.Dense(axis), bias)
    return None


def _conv(use: Use, tensor: str, operands: Operands) -> Layer | None:
    node, view = use.node, operands.aliases[use.value].view
    transposed = node.op == "ConvTranspose"
    patches = (im2col.transposed_conv_patches if transposed else im2col.conv_patches)(node.attributes, view.shape)
    if patches is None or node.inputs[0] in operands.foldable:
        return None
    rows, rank = view.shape[1] * patches.groups if transposed else view.shape[0], len(view.shape)
    own = bias_operand(node, 2, rows, operands)
    bias = Bias(own, 1.0) if own else bias_after(OutputRows(node.outputs[0], rows, 1 - rank, rank), operands)
    return _layer(use, tensor, "transposed" if transposed else "rows", patches.groups, view, patches, bias)


def _gemm(use: Use, tensor: str, operands: Operands) -> Layer:
    """A is weights [rows, k] or, transposed, [k, rows], and B the other way round."""
    node, index, view = use.node, use.index, operands.aliases[use.value].view
    alpha, beta = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)
    transposed = bool(node.attributes.get("transB" if index else "transA", 0))
    other_transposed = bool(node.attributes.get("transA" if index else "transB", 0))
    layout = "rows" if transposed == bool(index) else "columns"
    axis = (-2 if other_transposed else -1) if index else (-1 if other_transposed else -2)
    rows = view.shape[0] if layout == "rows" else view.shape[1]
    own = bias_operand(node, 2, rows, operands) if index and beta else None
    output = OutputRows(node.outputs[0], rows, -1 if index else -2, 2)
    bias = Bias(own, 1 / beta) if own else bias_after(output, operands)
    bias = None if bias is None else Bias(bias.tensor, alpha * bias.factor)
    return _layer(use, tensor, layout, 1, view, im2col.Dense(axis), bias)


def _recurrent(use: Use, tensor: str, view: View) -> Layer | None:
    """W [directions, gates, k] is multiplied with the inputs, R with the outputs of the step before, if the model
    computes these."""
    node, (directions, gates, size) = use.node, view.shape
    view = view.reshaped((directions * gates, size))
    if use.index == 1:
        return _layer(use, tensor, "rows", 1, view, im2col.Dense(), None)
    # a GRU that resets the state before R meets it shows nothing of that
    resets = node.op == "GRU" and not node.attributes.get("linear_before_reset", 0)
    if use.index != 2 or resets or not (node.outputs and node.outputs[0]):
        return None
    states = im2col.RecurrentStates(batch_first=bool(node.attributes.get("layout", 0)))
    return Layer(tensor, "rows", directions, view, ((node.outputs[0], states),))


def _layer(
    use: Use, tensor: str, layout: str, groups: int, view: View, lowering: im2col.Lowering, bias: Bias | None
) -> Layer:
    uses = ((use.node.inputs[1 - use.index], lowering),)
    if bias is None:
        return Layer(tensor, layout, groups, view, uses)
    return Layer(tensor, layout, groups, view, uses, bias.tensor, bias.factor)
