"""What a graph says of its outputs and inputs: which outputs hold classes or embeddings, and what integers may be.

    graph = GraphKinds(model.proto)
    graph.measures(["logits"], [array], 32)      ->  [Measure("top class")]
    graph.index_limits                           ->  {"input_ids": 30522}

An output holds classes where it comes from a Softmax (LogSoftmax, Hardmax, a classifier of ai.onnx.ml), or where one
of these or an ArgMax reads it; or where it is what a layer (Gemm, MatMul, Conv) adds up, reached without a
nonlinearity, and no other output has a better or an equal claim (of a convolution: only next to a pooling).
Behind a normalization, a pooling or a division by a norm it is an embedding, and where its name says so and no operator
that chooses among classes says otherwise. What is neither is judged by its relative error: an ArgMax of it would mean
nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from . import metrics
from .input_widths import input_widths
from .integer_inputs import integer_uses
from .main_graph import MainGraph
from .metrics import Measure
from .output_meanings import Meaning, OutputMeanings

if TYPE_CHECKING:
    from onnx import ModelProto


EMBEDDINGS = re.compile(r"embed|fingerprint|descriptor", re.IGNORECASE)  # names of outputs that are vectors


class GraphKinds:
    """What the main graph of a model says of its outputs (`measures`) and of its inputs. The graph is not kept.

    `index_limits`: how many rows the smallest table has that an input chooses from, for inputs that choose.
    `compared`: a number that the graph compares an input with. `widths`: the size of the last axis of an input, where
    the first layer tells it. `scalars`: the inputs that are one number.
    """

    def __init__(self, proto: "ModelProto"):
        graph, names = MainGraph(proto), [info.name for info in proto.graph.output]
        types = {info.name: info.type.tensor_type for info in proto.graph.input}
        self.scalars = frozenset(n for n, each in types.items() if each.HasField("shape") and not each.shape.dim)
        inputs = [info.name for info in proto.graph.input]
        self.index_limits, self.compared = integer_uses(graph, inputs)
        self.widths = input_widths(graph, [name for name in inputs if len(types[name].shape.dim) > 1])
        outputs = OutputMeanings(graph)
        self._answers_labels = any(outputs.is_label(name) for name in names)
        self._copies = {name for name in names if outputs.is_copy(name)}
        self._meanings = {name: _as_named(name, outputs.meaning(name)) for name in names}

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


def _as_named(name: str, meaning: Meaning | None) -> Meaning | None:
    """What an output is, where its name may say more than the graph: of the sums of a last layer nothing else tells
    whether they are classes."""
    is_open = meaning is None or (meaning.classes and not meaning.certain)
    return Meaning(False) if is_open and EMBEDDINGS.search(name) else meaning


def _axis_of_sums(output: np.ndarray, logarithms: bool) -> int | None:
    """The last axis, but for the first, along which entries, or their exponentials, sum to 1; None where none does."""
    with np.errstate(over="ignore", invalid="ignore"):
        parts = np.exp(output.astype(np.float64)) if logarithms else output.astype(np.float64)
    for axis in range(output.ndim - 1, 0, -1):
        if output.shape[axis] > 1 and (np.abs(parts.sum(axis) - 1) <= metrics.SUM_TOLERANCE).all():
            return axis
    return None
