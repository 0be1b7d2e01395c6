"""What a change of the weights costs on held-out samples: by the answers that change, or by labels.

    AgreementCriterion(predictor, held_out)(changed)                ->  {"agreement": 0.98, "drop": 0.02}
    AccuracyCriterion(predictor, held_out, "y", samples)(changed)   ->  {"accuracy": 0.71, "drop": 0.005}

`changed` is an onnxruntime session of the same model with other weights. A drop is a share of the samples, 0 to 1: of
changed answers, or of right answers fewer than before. More right answers than before are a drop of 0.
"""

import math
import os

import numpy as np

from ..errors import InvalidArgument
from ..evaluation import runtime
from ..evaluation.batches import SampleBatches
from ..evaluation.metrics import class_rows, has_top_class, top_class
from ..evaluation.predictor import Predictor
from ..evaluation.samples import Samples, read_labels


class AgreementCriterion:
    """How often the answer stays: the top class in the first output that holds classes, or, without one, the integers
    of the first output of integers."""

    def __init__(self, predictor: Predictor, held_out: SampleBatches):
        self.predictor, self.held_out = predictor, held_out

    def __call__(self, changed: runtime.Session) -> dict[str, float]:
        """`agreement` (the share of equal answers) and `drop` (of the others).

        Raises InvalidArgument where no output holds classes.
        """
        position, same, total = None, 0, 0
        for number, batch in enumerate(self.held_out):
            before, after = runtime.run(self.predictor.session, batch), runtime.run(changed, batch)
            if position is None:
                position = _answer_output(before)
            count, size = len(self.held_out.indices_of(number)), self.held_out.size
            x, y = (_answers(outputs[position], count, size) for outputs in (before, after))
            same, total = same + int((x == y).sum()), total + x.size
        return {"agreement": same / total, "drop": (total - same) / total} if total else {"agreement": 1.0, "drop": 0.0}

    def describe(self, drop: float) -> str:
        """A drop in words, for messages."""
        return f"{drop:.2%} of the {len(self.held_out.indices)} held-out samples change their top class"


class AccuracyCriterion:
    """How often the top class is the sample's label.

    `labels`: the name of an array of `samples` (all arrays of the data file), or the path of an .npy or .npz file; see
    samples.read_labels. `original_accuracy`: top-1 accuracy of the unchanged model, a share. Raises InvalidArgument for
    labels that do not fit the samples or the classes, or on which the model itself does no better than by guessing.
    """

    def __init__(
        self, predictor: Predictor, held_out: SampleBatches, labels: str | os.PathLike[str], samples: Samples
    ) -> None:
        self.predictor, self.held_out = predictor, held_out
        classes = predictor.rows(held_out.indices_of(0)).shape[1]
        self.labels = read_labels(labels, samples, predictor.samples.count, classes)
        self.original_right = self._count_right(predictor)
        self.original_accuracy = self.original_right / len(held_out.indices)
        if self.original_accuracy <= 1 / classes:
            raise InvalidArgument(
                f"{samples.path}, labels {os.fspath(labels)!r}: {predictor.path} itself is right on "
                f"{self.original_right} of the {len(held_out.indices)} held-out samples, no more than by guessing among"
                f" {classes} classes; give the number of each sample's class, counted from 0"
            )

    def __call__(self, changed: runtime.Session) -> dict[str, float]:
        """`accuracy` (top 1, a share) and `drop` (how much less it is than the original's, 0 or more)."""
        predictor = Predictor(self.predictor.path, changed, self.predictor.samples, self.predictor.output)
        right, count = self._count_right(predictor), len(self.held_out.indices)
        return {"accuracy": right / count, "drop": max(0, self.original_right - right) / count}

    def describe(self, drop: float) -> str:
        """A drop in words, for messages."""
        return (
            f"{100 * drop:.2f} points of top-1 accuracy are lost on the {len(self.held_out.indices)} held-out samples"
        )

    def _count_right(self, predictor: Predictor) -> int:
        right = 0
        for number in range(len(self.held_out)):
            indices = self.held_out.indices_of(number)
            rows = predictor.rows(indices)
            right += int(((top_class(rows) == self.labels[indices]) & has_top_class(rows)).sum())
        return right


Criterion = AgreementCriterion | AccuracyCriterion


def _answer_output(outputs: list[np.ndarray]) -> int:
    """The position of the output that holds the model's answers; raises InvalidArgument where none does."""
    arrays = [(n, output) for n, output in enumerate(outputs) if isinstance(output, np.ndarray) and output.ndim]
    classes = [n for n, array in arrays if array.dtype.kind == "f" and math.prod(array.shape[1:]) > 1]
    integers = [n for n, array in arrays if array.dtype.kind in "iub"]
    if not classes and not integers:
        raise InvalidArgument("no output holds classes, so that no drop can be told: give a size or a ratio")
    return (classes or integers)[0]


def _answers(output: np.ndarray, count: int, size: int) -> np.ndarray:
    """The answers of the first `count` of `size` samples: the output's integers, or a top class for each of its rows.

    An output without an axis of samples gives all its answers.
    """
    if len(output) % size == 0:
        output = output[: len(output) // size * count]
    return output if output.dtype.kind != "f" else top_class(class_rows(output))
