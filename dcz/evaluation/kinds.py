"""What a graph says of its outputs and inputs: which outputs hold classes or embeddings, and what integers may be.

    graph = GraphKinds(model.proto)
    graph.measures(["logits"], [array], 32)      ->  [Measure("top class")]
    graph.index_limits                           ->  {"input_ids": 30522}

An output holds classes where it comes from a Softmax (LogSoftmax, Hardmax, a classifier of ai.onnx.ml), or where one
of these or an ArgMax reads it; or where it is what a layer (Gemm, MatMul, Conv) adds up, reached without a
nonlinearity, and no other output has a better or an equal claim (of a convolution: only next to a pooling).
Behind a normalization, a pooling or a division by a norm it is an embedding. What is neither is judged by its relative
error: an ArgMax of it would mean nothing.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..model.nodes import int_attributes, opset_version
from ..model.tensors import tensor_from_proto
from . import metrics
from .metrics import Measure

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

MAX_STEPS = 64  # nodes walked from an output toward its source
CLASSIFIERS = {"LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier"}  # of ai.onnx.ml: label, scores
SOFTMAXES = {"Softmax", "LogSoftmax", "Hardmax"}
SAME = {"Identity", "Cast", "Dropout", "QuantizeLinear", "DequantizeLinear"}  # entries stay in their places
AFFINE = {"Add", "Sub", "Mul", "Div"}  # with a constant
RESHAPING = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}
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
# Operators that read rows of a table: (operand of the indices, operand of the table)
TABLE_READERS = {"Gather": [(1, 0)], "GatherElements": [(1, 0)], "EmbedLayerNormalization": [(0, 2), (1, 4)]}
FROM_CONSTANTS = SAME | {"Transpose", "Reshape", "Gather", "Mul"}  # operators that weights are computed by
INTEGER_LAYERS = {"MatMulInteger", "ConvInteger"}  # their sums are multiplied by a scale that is computed
COPYING = SAME | RESHAPING | {"Expand", "Transpose", "Clip", "Slice", "Tile"}  # of their first input
MIXING = {"Add", "Sub", "Mul", "Where", "Max", "Min", "Concat"}  # of all: negative indices are counted from the end


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


class GraphKinds:
    """What the main graph of a model says of its outputs (`measures`) and of its inputs. The graph is not kept.

    `index_limits`: how many rows the smallest table has that an input chooses from, for inputs that choose.
    `compared`: a number that the graph compares an input with.
    """

    def __init__(self, proto: "ModelProto"):
        graph, names = _Graph(proto), [info.name for info in proto.graph.output]
        self.index_limits, self.compared = graph.integer_uses([info.name for info in proto.graph.input])
        self._answers_labels = any(graph.is_label(name) for name in names)
        self._copies = {name for name in names if graph.is_copy(name)}
        self._meanings = {name: graph.meaning(name) for name in names}

    @property
    def embeddings(self) -> frozenset[str]:
        """The names of the outputs that are embeddings, where their shapes are those of vectors."""
        return frozenset(
            name for name, meaning in self._meanings.items() if meaning is not None and not meaning.classes
        )

    @property
    def copies(self) -> frozenset[str]:
        """The names of the outputs that are inputs, as they came or in another shape."""
        return frozenset(self._copies)

    def measures(self, names: Sequence[str], outputs: Sequence[object], samples: int | None = None) -> list[Measure]:
        """The measure of each output, from the graph and from its values for one batch of `samples`."""
        found: list[Measure] = []
        candidates = []
        for number, (name, output) in enumerate(zip(names, outputs, strict=True)):
            meaning = self._meanings.get(name)
            measure = self._measure(meaning, output)
            if measure is not None and meaning is not None and not meaning.certain:
                candidates.append((number, measure))
                measure = None
            is_copy = name in self._copies
            found.append(metrics.COPY if is_copy else measure or metrics.measure_of(output, samples))
        answers = {metrics.TOP_CLASS.name, metrics.TOP_TOKEN.name, metrics.TOP_KEY.name}
        is_answered = any(measure.name in answers for measure in found) or self._answers_labels
        if len(candidates) == 1 and not is_answered:
            number, found[number] = candidates[0]
        return found

    def _measure(self, meaning: Meaning | None, output: object) -> Measure | None:
        """What the graph's meaning comes to for this array; None where it does not fit."""
        if meaning is None or not isinstance(output, np.ndarray) or output.dtype.kind != "f" or output.ndim < 2:
            return None
        dims = len(np.trim_zeros([dim - 1 for dim in output.shape[2:]], "b"))  # behind the second, without those of 1
        if not meaning.classes:
            return metrics.COSINE if dims < 2 and metrics.class_rows(output).shape[1] > 1 else None
        axis = _axis_of_sums(output, meaning.logarithms) if meaning.moved else meaning.axis
        if axis is None or not -output.ndim <= axis < output.ndim:
            axis = None if meaning.moved else -1
        if axis is None:
            return None
        axis %= output.ndim
        while axis > 1 and output.shape[axis] == 1:  # [n, 1000, 1, 1]
            axis -= 1
        if axis == 0 or output.shape[axis] < 2 or meaning.width not in (None, output.shape[axis]):
            return None
        places = [dim for number, dim in enumerate(output.shape[1:], 1) if number != axis and dim != 1]
        if places and not meaning.places:
            return None
        return replace(metrics.TOP_TOKEN if places else metrics.TOP_CLASS, axis=axis - output.ndim)


class _Graph:
    """The main graph of a model: which node makes a value, and the shapes of constants."""

    def __init__(self, proto: "ModelProto"):
        self._opset, self._nodes = opset_version(proto), proto.graph.node
        self._makers = {name: node for node in self._nodes for name in node.output if name}
        constants = {tensor.name: tensor for tensor in proto.graph.initializer}
        self._inputs = {info.name for info in proto.graph.input} - constants.keys()
        self._shapes = {name: tuple(tensor.dims) for name, tensor in constants.items()}
        for node in self._nodes:
            for attribute in node.attribute if node.op_type == "Constant" and node.output else ():
                self._shapes[node.output[0]] = tuple(attribute.t.dims) if attribute.HasField("t") else ()
                if attribute.HasField("t"):
                    constants[node.output[0]] = attribute.t
        self._integers = {name: _integer(tensor) for name, tensor in constants.items()}  # of one element, else 0
        self._chosen_from = {
            source: axis
            for node in self._nodes
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
            node = self._makers.get(name)
            if node is None:
                return None
            op = node.op_type
            if op in SOFTMAXES:
                moved = not kept and op != "Hardmax"
                return Meaning(True, axis=self._axis(node) if kept else None, moved=moved, logarithms=op[0] == "L")
            if op in CLASSIFIERS:
                return Meaning(True) if name in node.output[1:] else None
            if op == "Relu" and pooled and node.input and self._is_layer(node.input[0], CONVOLUTIONS):
                node = self._makers[node.input[0]]  # classes of a network without a dense layer
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
            name = next((source for source in node.input if source and source not in self._shapes), "")
        return None

    def _is_layer(self, name: str, layers: set[str]) -> bool:
        """Whether a value, or what it is a Cast of, is the sums of such a layer."""
        node = self._makers.get(name)
        if node is not None and node.op_type == "Cast" and node.input:
            node = self._makers.get(node.input[0])
        return node is not None and node.op_type in layers and self._has_constant_weight(node)

    def _layer(self, node: "NodeProto", pooled: bool) -> Meaning | None:
        """What the sums of a layer are, where nothing but pooling and changes of shape come after it."""
        operand, weight_axis = LAYERS[node.op_type]
        if node.op_type == "Gemm" and int_attributes(node).get("transB"):
            weight_axis = 0
        shape = self._shapes.get(node.input[operand])
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
            dividend = self._makers.get(node.input[0])
            if dividend is not None and dividend.op_type == "Exp":  # a Softmax in pieces
                return Meaning(True, moved=True)
            if any(each.op_type in REDUCTIONS for each in self._ancestors(node.input[1], 6)):
                return Meaning(False)
        return Meaning(False) if pooled else None

    def _ancestors(self, name: str, steps: int) -> Iterator["NodeProto"]:
        """The nodes behind a value, along first inputs."""
        for _ in range(steps):
            node = self._makers.get(name)
            if node is None:
                return
            yield node
            name = next((source for source in node.input if source and source not in self._shapes), "")

    def _same_places(self, name: str, axis: int | None) -> Iterator[tuple[str, int | None]]:
        """A value and those that it is a copy of, or an increasing function of."""
        for _ in range(MAX_STEPS):
            yield name, axis
            node = self._makers.get(name)
            if node is None or not (_keeps_places(node) or node.op_type in RESHAPING) or not node.input:
                return
            if node.op_type in RESHAPING:
                axis = None
            name = node.input[0]

    def is_copy(self, output: str) -> bool:
        """Whether an output is an input, as it came or in another shape."""
        *_, (source, _) = self._same_places(output, None)
        return source in self._inputs

    def _axis(self, node: "NodeProto") -> int | None:
        """The axis along which a node chooses; None for the last of a value that it takes for a matrix."""
        default = {"ArgMax": 0, "LpNormalization": -1}.get(node.op_type, -1 if self._opset >= 13 else None)
        axis = int_attributes(node).get("axis", default)
        return axis if node.op_type not in SOFTMAXES or self._opset >= 13 or axis != 1 else None

    def _has_constant_weight(self, node: "NodeProto") -> bool:
        """Whether a layer's weight is a constant, or made of constants."""
        operand = LAYERS[node.op_type][0]
        if len(node.input) <= operand:
            return False
        name = node.input[operand]
        for _ in range(4):
            if name in self._shapes:
                return True
            maker = self._makers.get(name)
            if maker is None or not maker.input or maker.op_type not in FROM_CONSTANTS:
                return False
            name = maker.input[0]
        return False

    def _has_constant(self, node: "NodeProto") -> bool:
        return any(name in self._shapes for name in node.input)

    def is_label(self, name: str) -> bool:
        """Whether an output is the number, or the name, of a class that the graph itself chooses."""
        for _ in range(MAX_STEPS):
            node = self._makers.get(name)
            if node is None or node.op_type not in SAME | RESHAPING or not node.input:
                break
            name = node.input[0]
        return node is not None and (
            node.op_type == "ArgMax" or (node.op_type in CLASSIFIERS and name == node.output[0])
        )

    def integer_uses(self, inputs: Sequence[str]) -> tuple[dict[str, int], dict[str, int]]:
        """`index_limits` and `compared`."""
        sources = {name: {name} for name in inputs if name not in self._shapes}  # of each value
        limits: dict[str, int] = {}
        compared: dict[str, int] = {}

        def limit(value: str, rows: int) -> None:
            for name in sources.get(value, ()):
                limits[name] = min(limits.get(name, rows), rows)

        for node in self._nodes:
            for indices, table in TABLE_READERS.get(node.op_type, []):
                if max(indices, table) >= len(node.input):
                    continue
                shape = self._shape_of(node.input[table])
                axis = int_attributes(node).get("axis", 0)
                if not shape or not -len(shape) <= axis < len(shape) or shape[axis] < 1:
                    continue
                limit(node.input[indices], shape[axis])
            if node.op_type == "OneHot" and len(node.input) > 1 and (depth := self._integers.get(node.input[1])):
                limit(node.input[0], depth)
            if node.op_type == "Equal" and len(node.input) == 2:
                for value, other in (node.input, reversed(node.input)):
                    if (rows := math.prod(self._shapes.get(other, ()))) > 2:  # a OneHot in pieces
                        limit(value, rows)
                    elif number := self._integers.get(other):
                        compared |= dict.fromkeys(sources.get(value, ()), number)
            if node.op_type in COPYING | MIXING:
                copied = node.input if node.op_type in MIXING else node.input[:1]
                each = [sources[name] for name in copied if name in sources]
                merged = each[0] if len(each) == 1 else set().union(*each)
                for name in node.output if merged else ():
                    sources[name] = merged
        return limits, compared

    def _shape_of(self, name: str) -> tuple[int, ...] | None:
        """The shape of a constant table, through DequantizeLinear, Cast and multiplications."""
        for _ in range(MAX_STEPS):
            if name in self._shapes:
                return self._shapes[name]
            node = self._makers.get(name)
            if node is None or node.op_type not in SAME | AFFINE or not node.input:
                return None
            sizes = [math.prod(self._shapes.get(each, ())) for each in node.input]
            name = node.input[int(np.argmax(sizes))] if node.op_type in AFFINE else node.input[0]
        return None


def _keeps_places(node: "NodeProto") -> bool:
    """Whether the entries of an output are those of its only input: of a Concat too, if it is of one value."""
    return node.op_type in SAME or (node.op_type == "Concat" and len(node.input) == 1)


def _axis_of_sums(output: np.ndarray, logarithms: bool) -> int | None:
    """The last axis, but for the first, along which entries, or their exponentials, sum to 1; None where none does."""
    with np.errstate(over="ignore", invalid="ignore"):
        parts = np.exp(output.astype(np.float64)) if logarithms else output.astype(np.float64)
    for axis in range(output.ndim - 1, 0, -1):
        if output.shape[axis] > 1 and (np.abs(parts.sum(axis) - 1) <= metrics.SUM_TOLERANCE).all():
            return axis
    return None


def _integer(tensor: "TensorProto") -> int:
    """The value of a constant that is one integer; 0 for others."""
    is_external = tensor.data_location == 1  # TensorProto.EXTERNAL
    if math.prod(tensor.dims) != 1 or tensor.data_type not in (6, 7) or is_external:  # int32, int64
        return 0
    held = tensor_from_proto(tensor.name, tensor, None, "the model")
    return 0 if held is None else int(held.read().view(held.dtype.name)[0])
