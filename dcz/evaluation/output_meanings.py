"""What an output holds by the nodes that it comes from or that read it: classes, an embedding, a label, a copy.

    OutputMeanings(MainGraph(proto)).meaning("logits")    ->   Meaning(classes=True, certain=False, width=10)

Which operators say so is told in kinds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..model.nodes import int_attributes
from .main_graph import AFFINE, MAX_STEPS, RESHAPING, SAME, MainGraph

if TYPE_CHECKING:
    from onnx import NodeProto

CLASSIFIERS = {"LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier"}  # of ai.onnx.ml: label, scores
SOFTMAXES = {"Softmax", "LogSoftmax", "Hardmax"}
SELECTING = {"Gather", "Slice"}  # places of a sequence: the last token's, the first's
POOLING = {"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "AveragePool", "ReduceMean", "ReduceMax", "ReduceSum"}
NORMS = {
    "LpNormalization", "Normalizer", "LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization",
    "SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "EmbedLayerNormalization", "BatchNormalization",
    "InstanceNormalization", "GroupNormalization", "MeanVarianceNormalization",
}  # fmt: skip
REDUCTIONS = {"ReduceL2", "ReduceL1", "ReduceSum", "ReduceSumSquare", "ReduceMean"}
# Layers: the operand that is the weight, and the axis of the weight that numbers the outputs; None: not to be told.
LAYERS = {
    "Gemm": (1, 1), "MatMul": (1, -1), "FusedMatMul": (1, None), "FusedGemm": (1, None), "MatMulInteger": (1, -1),
    "QLinearMatMul": (3, -1), "QGemm": (3, None), "Conv": (1, 0), "QLinearConv": (3, 0), "ConvInteger": (1, 0),
    "DynamicQuantizeMatMul": (1, -1), "MatMulIntegerToFloat": (1, -1), "MatMulNBits": (1, None), "FusedConv": (1, 0),
}  # fmt: skip
CONVOLUTIONS = {"Conv", "QLinearConv", "ConvInteger", "FusedConv"}
FROM_CONSTANTS = SAME | {"Transpose", "Reshape", "Gather", "Mul"}  # operators that weights are computed by
INTEGER_LAYERS = {"MatMulInteger", "ConvInteger"}  # their sums are multiplied by a scale that is computed


@dataclass(frozen=True)
class Meaning:
    """What an output is by the graph: `classes` along an axis, or an embedding.

    `certain`: classes by an operator that chooses among them; else what a layer adds up, of `width` outputs (None: not
    known). `axis`: None for the last but for axes of 1. `moved`: it is the one along which probabilities, or the
    exponentials of `logarithms`, sum to 1. `places`: whether there may be several answers a sample.
    """

    classes: bool
    certain: bool = True
    axis: int | None = None
    width: int | None = None
    moved: bool = False
    logarithms: bool = False
    places: bool = True


class OutputMeanings:
    """What the outputs of a graph are."""

    def __init__(self, graph: MainGraph):
        self._graph = graph
        self._chosen_from = {
            source: axis
            for node in self._graph.nodes
            if (node.op_type in SOFTMAXES or node.op_type == "ArgMax") and node.input
            for source, axis in self._same_places(node.input[0], self._axis(node))
        }

    def meaning(self, output: str) -> Meaning | None:
        """What an output is by the nodes that read it or that it comes from."""
        for name, axis in self._same_places(output, -1):
            if name in self._chosen_from:
                return Meaning(True, axis=self._chosen_from[name] if axis is not None else None)
        kept, turned, pooled, name = True, False, False, output  # axes as they were; the last no longer last
        for _ in range(MAX_STEPS):
            node = self._graph.makers.get(name)
            if node is None:
                return None
            op = node.op_type
            if op in SOFTMAXES:
                moved = not kept and op != "Hardmax"
                return Meaning(True, axis=self._axis(node) if kept else None, moved=moved, logarithms=op[0] == "L")
            if op in CLASSIFIERS:
                return Meaning(True) if name in node.output[1:] else None
            if op == "Relu" and pooled and node.input and self._is_layer(node.input[0], CONVOLUTIONS):
                node = self._graph.makers[node.input[0]]  # classes of a network without a dense layer
                op = node.op_type
            if op in LAYERS and self._has_constant_weight(node):
                return None if turned else self._layer(node, pooled)
            if op in NORMS:
                return Meaning(False)
            scaled = [each for each in node.input if self._is_layer(each, INTEGER_LAYERS)] if op == "Mul" else []
            if scaled:
                name = scaled[0]
                continue
            if op in AFFINE and not self._has_constant(node):
                return self._quotient(node, pooled)
            if op in POOLING:
                pooled, kept = True, False
            elif op in RESHAPING or op in SELECTING:
                kept = False
            elif op == "Transpose":
                perm = next((list(attribute.ints) for attribute in node.attribute if attribute.name == "perm"), [])
                kept, turned = False, turned or not perm or perm[-1] != len(perm) - 1
            elif not _keeps_places(node) and op not in AFFINE:
                return Meaning(False) if pooled else None
            name = next((source for source in node.input if source and source not in self._graph.shapes), "")
        return None

    def _is_layer(self, name: str, layers: set[str]) -> bool:
        """Whether a value, or what it is a Cast of, is the sums of such a layer."""
        node = self._graph.makers.get(name)
        if node is not None and node.op_type == "Cast" and node.input:
            node = self._graph.makers.get(node.input[0])
        return node is not None and node.op_type in layers and self._has_constant_weight(node)

    def _layer(self, node: "NodeProto", pooled: bool) -> Meaning | None:
        """What the sums of a layer are, where nothing but pooling and changes of shape come after it."""
        operand, weight_axis = LAYERS[node.op_type]
        if node.op_type == "Gemm" and int_attributes(node).get("transB"):
            weight_axis = 0
        shape = self._graph.shapes.get(node.input[operand])
        width = None
        if shape and weight_axis is not None and -len(shape) <= weight_axis < len(shape):
            width = shape[weight_axis]
        if node.op_type in CONVOLUTIONS:
            is_head = pooled or any(each.op_type in POOLING for each in self._ancestors(node.input[0], 4))
            return Meaning(True, False, None, width, places=False) if is_head else None
        return Meaning(False) if pooled else Meaning(True, False, None, width)

    def _quotient(self, node: "NodeProto", pooled: bool) -> Meaning | None:
        """What comes of two values that are both computed: an embedding where one is divided by the other's norm."""
        if node.op_type == "Div" and len(node.input) == 2:
            dividend = self._graph.makers.get(node.input[0])
            if dividend is not None and dividend.op_type == "Exp":  # a Softmax in pieces
                return Meaning(True, moved=True)
            if any(each.op_type in REDUCTIONS for each in self._ancestors(node.input[1], 6)):
                return Meaning(False)
        return Meaning(False) if pooled else None

    def _ancestors(self, name: str, steps: int) -> Iterator["NodeProto"]:
        """The nodes behind a value, along first inputs."""
        for _ in range(steps):
            node = self._graph.makers.get(name)
            if node is None:
                return
            yield node
            name = next((source for source in node.input if source and source not in self._graph.shapes), "")

    def _same_places(self, name: str, axis: int | None) -> Iterator[tuple[str, int | None]]:
        """A value and those that it is a copy of, or an increasing function of."""
        for _ in range(MAX_STEPS):
            yield name, axis
            node = self._graph.makers.get(name)
            if node is None or not (_keeps_places(node) or node.op_type in RESHAPING) or not node.input:
                return
            if node.op_type in RESHAPING:
                axis = None
            name = node.input[0]

    def is_copy(self, output: str) -> bool:
        """Whether an output is an input, as it came or in another shape."""
        *_, (source, _) = self._same_places(output, None)
        return source in self._graph.inputs

    def _axis(self, node: "NodeProto") -> int | None:
        """The axis along which a node chooses; None for the last of a value that it takes for a matrix."""
        default = {"ArgMax": 0, "LpNormalization": -1}.get(node.op_type, -1 if self._graph.opset >= 13 else None)
        axis = int_attributes(node).get("axis", default)
        return axis if node.op_type not in SOFTMAXES or self._graph.opset >= 13 or axis != 1 else None

    def _has_constant_weight(self, node: "NodeProto") -> bool:
        """Whether a layer's weight is a constant, or made of constants."""
        operand = LAYERS[node.op_type][0]
        if len(node.input) <= operand:
            return False
        name = node.input[operand]
        for _ in range(4):
            if name in self._graph.shapes:
                return True
            maker = self._graph.makers.get(name)
            if maker is None or not maker.input or maker.op_type not in FROM_CONSTANTS:
                return False
            name = maker.input[0]
        return False

    def _has_constant(self, node: "NodeProto") -> bool:
        return any(name in self._graph.shapes for name in node.input)

    def is_label(self, name: str) -> bool:
        """Whether an output is the number, or the name, of a class that the graph itself chooses."""
        for _ in range(MAX_STEPS):
            node = self._graph.makers.get(name)
            if node is None or node.op_type not in SAME | RESHAPING or not node.input:
                break
            name = node.input[0]
        return node is not None and (
            node.op_type == "ArgMax" or (node.op_type in CLASSIFIERS and name == node.output[0])
        )


def _keeps_places(node: "NodeProto") -> bool:
    """Whether the entries of an output are those of its only input: of a Concat too, if it is of one value."""
    return node.op_type in SAME or (node.op_type == "Concat" and len(node.input) == 1)
