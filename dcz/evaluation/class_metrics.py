"""Figures of rows of classes over all samples: against labels, and against another model's rows.

metrics = LabelMetrics(labels); metrics.add(rows, indices); metrics.figures(100)    ->  {"errors": 2, "loss": 0.1, ...}
"""

import itertools
from collections import defaultdict
from typing import Any

import numpy as np

from ..errors import InvalidArgument
from ..text import counted
from . import metrics
from .differences import DifferenceSums
from .predictor import Predictor

TOP = 5  # the paper's second measure; it says nothing where there are no more classes than that


class _LogitsOrProbabilities:
    """How rows of one model may still be read: as logits, and as probabilities until one shows that they are none.

    Sums are kept for both readings, so that neither the batch nor the order of the samples decides.
    """

    def __init__(self) -> None:
        self.probabilities = True

    def log_probabilities(self, rows: np.ndarray) -> dict[bool, np.ndarray]:
        """The logarithms of the rows in each reading; keys: whether they are probabilities."""
        self.probabilities = self.probabilities and metrics.are_probabilities(rows)
        return {reading: metrics.log_probabilities(rows, reading) for reading in {False, self.probabilities}}


class LabelMetrics:
    """Errors and loss against labels, int64 [samples]."""

    def __init__(self, labels: np.ndarray):
        self.labels = labels
        self.errors = self.top5_errors = self.classes = 0
        self.reading = _LogitsOrProbabilities()
        self.loss: dict[bool, float] = defaultdict(float)

    def add(self, rows: np.ndarray, indices: np.ndarray) -> None:
        """The answers for the samples at `indices`."""
        labels, unanswered = self.labels[indices], ~metrics.has_top_class(rows)
        rank = metrics.label_rank(rows, labels)
        self.errors += int((unanswered | (rank > 0)).sum())
        self.top5_errors += int((unanswered | (rank >= TOP)).sum())
        self.classes = rows.shape[1]
        for reading, logs in self.reading.log_probabilities(rows).items():
            self.loss[reading] -= float(np.take_along_axis(logs, labels[:, None], 1).sum())

    def figures(self, samples: int) -> dict[str, Any]:
        """The fields of an Evaluation."""
        top5 = self.top5_errors if self.classes > TOP else None
        return {"errors": self.errors, "top5_errors": top5, "loss": self.loss[self.reading.probabilities] / samples}


class AgreementMetrics:
    """Disagreements and divergence from another model's answers."""

    def __init__(self, predictor: Predictor, reference: Predictor):
        self.predictor, self.reference = predictor, reference
        self.reading, self.reference_reading = _LogitsOrProbabilities(), _LogitsOrProbabilities()
        self.divergence: dict[tuple[bool, bool], float] = defaultdict(float)
        self.disagreements, self.sums = 0, DifferenceSums()

    def add(self, rows: np.ndarray, reference_rows: np.ndarray) -> None:
        """Both models' answers for the same samples; raises InvalidArgument where their classes differ in number."""
        if rows.shape != reference_rows.shape:
            raise InvalidArgument(
                f"{self.predictor.path} has {counted(rows.shape[1], 'class', 'classes')} in output "
                f"{self.predictor.output!r}, {self.reference.path} {reference_rows.shape[1]} in "
                f"{self.reference.output!r}; give two models of the same classes, or name an output"
            )
        answered = metrics.has_top_class(rows) & metrics.has_top_class(reference_rows)
        self.disagreements += int((~(metrics.same_top_class(rows, reference_rows) & answered)).sum())
        log_q = self.reading.log_probabilities(rows)
        log_p = self.reference_reading.log_probabilities(reference_rows)
        for of_rows, of_reference in itertools.product(log_q, log_p):
            divergence = np.maximum(metrics.kl_divergence(log_p[of_reference], log_q[of_rows]), 0)
            self.divergence[of_rows, of_reference] += float(divergence.sum())
        self.sums.add(reference_rows, rows)

    def figures(self, samples: int) -> dict[str, Any]:
        """The fields of an Evaluation."""
        readings = self.reading.probabilities, self.reference_reading.probabilities
        return {
            "against": self.reference.path,
            "disagreements": self.disagreements,
            "score": (samples - self.disagreements) / samples,
            "divergence": self.divergence[readings] / samples,
            "decibels": self.sums.difference(str(self.predictor.output)).decibels,
        }
