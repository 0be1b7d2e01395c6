"""What a change of the weights costs on held-out samples, by labels.

AccuracyCriterion(predictor, held_out, "y", samples)(changed)   ->  {"accuracy": 0.71, "drop": 0.005, ...}

More right answers than before are a drop of 0.
"""

import os
from collections.abc import Iterable

import numpy as np

from ..errors import InvalidArgument
from ..evaluation import runtime
from ..evaluation.batches import SampleBatches
from ..evaluation.metrics import has_top_class, top_class
from ..evaluation.predictor import Predictor
from ..evaluation.samples import Samples, read_labels
from .answer_pairs import Part


class AccuracyCriterion:
    """How often the top class is the sample's label. For its methods see criteria.Criterion.

    `labels`: the name of an array of `samples` (all arrays of the data file), or the path of an .npy or .npz file; see
    samples.read_labels. `original_accuracy`: top-1 accuracy of the unchanged model, a share. Raises InvalidArgument for
    labels that do not fit the samples or the classes, or on which the model itself does no better than by guessing.
    """

    def __init__(
        self, predictor: Predictor, held_out: SampleBatches, labels: str | os.PathLike[str], samples: Samples
    ) -> None:
        self.predictor, self.held_out = predictor, held_out
        self.measure: str | None = None
        classes = predictor.rows(held_out.indices_of(0)).shape[1]
        self.labels = read_labels(labels, samples, predictor.count, classes)
        self.original_right = self._count_right(predictor, held_out)
        self.original_accuracy = self.original_right / len(held_out.indices)
        if self.original_accuracy <= 1 / classes:
            raise InvalidArgument(
                f"{samples.path}, labels {os.fspath(labels)!r}: {predictor.path} itself is right on "
                f"{self.original_right} of the {len(held_out.indices)} held-out samples, no more than by guessing among"
                f" {classes} classes; give the number of each sample's class, counted from 0"
            )

    @property
    def counts_answers(self) -> bool:
        """Right answers are counted."""
        return True

    def __call__(self, changed: runtime.Session) -> dict[str, float]:
        """`accuracy` (top 1, a share) and `drop` (how much less it is than the original's, 0 or more)."""
        return self.over([(self.held_out, changed)])

    def over(self, parts: Iterable[Part]) -> dict[str, float]:
        """The same over the samples of some parts, each judged by its own session."""
        was, right, original, count = self.predictor, 0, 0, 0
        for batches, changed in parts:
            predictor = Predictor(was.path, changed, was.samples, was.output, was.kinds)
            right += self._count_right(predictor, batches)
            is_held_out = batches is self.held_out
            original += self.original_right if is_held_out else self._count_right(self.predictor, batches)
            count += len(batches.indices)
        return {"accuracy": right / count, "original_accuracy": original / count,
                "drop": max(0, original - right) / count}  # fmt: skip

    def majority_drop(self) -> float:
        """The drop (0 to 1) of a model that gave the commonest label to everything."""
        labels = self.labels[self.held_out.indices]
        _, counts = np.unique(labels, return_counts=True)
        return max(0, self.original_right - int(counts.max())) / len(labels)

    def describe(self, drop: float) -> str:
        """A drop in words, for messages."""
        return (
            f"{100 * drop:z.2f} points of top-1 accuracy are lost on the {len(self.held_out.indices)} held-out samples"
        )

    def _count_right(self, predictor: Predictor, batches: SampleBatches) -> int:
        right = 0
        for number in range(len(batches)):
            indices = batches.indices_of(number)
            rows = predictor.rows(indices)
            right += int(((top_class(rows) == self.labels[indices]) & has_top_class(rows)).sum())
        return right
