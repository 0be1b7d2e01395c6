"""How good a model's outputs are, and how far two models' outputs are apart: on arrays alone.

    top_class(class_rows(logits))                      ->  int64 [rows]
    kl_divergence(log_softmax(x), log_softmax(y))      ->  nats of each row
    sqnr(28.0, 12.5)                                   ->  3.5 decibels

Rows [n, classes] hold logits or probabilities.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

SUM_TOLERANCE = 1e-3  # of a row of probabilities: float16 outputs stay within it
UNDERFLOW = float(np.finfo(np.float32).tiny)  # a probability of 0 counts as this: at most 87.3 nats of loss a sample


# -- rows of classes ---------------------------------------------------------------------------------------------------


def class_rows(output: np.ndarray) -> np.ndarray:
    """An output as rows of classes along its last axis: trailing axes of length 1 are set aside, as of [n, 1000, 1, 1].

    An output of less than two axes is one row.
    """
    shape = list(output.shape)
    while len(shape) > 2 and shape[-1] == 1:
        shape.pop()
    return output.reshape(-1, shape[-1]) if len(shape) > 1 else output.reshape(1, -1)


def row_per_sample(output: object, samples: int) -> np.ndarray | None:
    """An output as [samples, classes], two classes or more, without axes of length 1; None where it is no such rows."""
    if not isinstance(output, np.ndarray) or output.dtype.kind != "f" or output.shape[:1] != (samples,):
        return None
    classes = [dim for dim in output.shape[1:] if dim != 1]
    return output.reshape(samples, classes[0]) if len(classes) == 1 and classes[0] else None


def holds_classes(output: object) -> bool:
    """Whether an output is an array of floats with two or more classes a row: see class_rows."""
    return isinstance(output, np.ndarray) and output.dtype.kind == "f" and class_rows(output).shape[1] > 1


# -- top classes -------------------------------------------------------------------------------------------------------


def top_class(rows: np.ndarray) -> np.ndarray:
    """The largest entry of each row, of equal ones the first: int64 [n]."""
    return np.asarray(rows.argmax(1))


def has_top_class(rows: np.ndarray) -> np.ndarray:
    """Which rows have a top class: bool [n]; not those with NaN or +inf, nor of -inf alone."""
    return np.asarray(np.isfinite(rows.max(1)))


def same_top_class(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For which rows both have the same top class, whether or not it is finite: bool [n]."""
    return np.asarray(top_class(rows) == top_class(others))


def label_rank(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The rank of the label's class by score, from 0, int64 [n]; ties go to the lower class. `labels`: int64 [n]."""
    labels = labels[:, None]
    own = np.take_along_axis(rows, labels, 1)
    equal_before = (rows == own) & (np.arange(rows.shape[1]) < labels)
    return np.asarray(((rows > own) | equal_before).sum(1))


# -- probabilities -----------------------------------------------------------------------------------------------------


def are_probabilities(rows: np.ndarray) -> bool:
    """Whether all rows that have a top class have no negative entry, and sums of 1 within 1e-3."""
    rows = rows[has_top_class(rows)]
    return bool((rows >= 0).all() and (np.abs(rows.sum(1) - 1) <= SUM_TOLERANCE).all())


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the probabilities of rows of logits; NaN in rows without a top class."""
    logs = logits - logits.max(1, keepdims=True)
    return np.asarray(logs - np.log(np.exp(logs).sum(1, keepdims=True)))


def log_probabilities(rows: np.ndarray, probabilities: bool, floor: float = UNDERFLOW) -> np.ndarray:
    """Logarithms of the probabilities in rows of logits or, if `probabilities`, of probabilities.

    Rows without a top class become NaN. A probability below `floor` counts as `floor`.
    """
    rows = np.where(has_top_class(rows)[:, None], rows, np.nan)
    return np.log(np.maximum(rows, floor)) if probabilities else log_softmax(rows)


def kl_divergence(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """The Kullback-Leibler divergence D(p || q), sum(p log(p / q)), of each row [n, classes], in nats: float [n].

    Here p are the answers of the original, q those of the compressed model. A class of probability 0 in
    p adds nothing. Rounding may leave a row a little below 0.
    """
    with np.errstate(invalid="ignore"):  # of -inf - -inf, where p is 0
        terms = np.where(log_p == -np.inf, 0.0, np.exp(log_p) * (log_p - log_q))
    return np.asarray(terms.sum(1))


def kl_of_probabilities(p: np.ndarray, q: np.ndarray, floor: float) -> np.ndarray:
    """The same from probabilities [..., classes] in their own dtype: float64 [...]; those below `floor` count as it."""
    p, q = (np.maximum(array, array.dtype.type(floor)) for array in (p, q))
    return np.asarray((p * np.log(p / q)).sum(-1, dtype=np.float64))


# -- differences -------------------------------------------------------------------------------------------------------


def sqnr(signal: float, noise: float) -> float:
    """The signal-to-quantization-noise ratio in decibels, from two sums of squares; inf without noise."""
    if noise == 0:
        return float("inf")
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(signal / noise))


@dataclass(frozen=True)
class OutputDifference:
    """How one output of two models differs over all samples.

    `decibels`: the mean square of the first over that of the difference; inf where equal, nan where there was nothing
    to compare. `largest`: the largest absolute difference. `agreement`: the share of samples (places along all but the
    last axis) with the same top class; None for outputs of one entry. Outputs that are no numbers, or differ in shape,
    agree where they are equal.
    """

    output: str
    decibels: float
    largest: float
    agreement: float | None
    samples: int


class DifferenceSums:
    """Adds up, batch by batch, how one output of two models differs."""

    def __init__(self) -> None:
        self.signal = self.noise = self.largest = 0.0
        self.agreeing = self.samples = 0
        self.has_agreement = False

    def add(self, x: Any, y: Any) -> None:
        """Outputs of both models for one batch: arrays of any type, or the sequences and maps that some models give."""
        is_numeric = isinstance(x, np.ndarray) and x.dtype.kind in "fiub"
        if not is_numeric or not isinstance(y, np.ndarray) or x.shape != y.shape:
            self._add_whole(x, y)
        elif x.size:
            self._add_numbers(x.astype(np.float64), y.astype(np.float64))

    def _add_numbers(self, x: np.ndarray, y: np.ndarray) -> None:
        equal = (x == y) | (np.isnan(x) & np.isnan(y))
        distance = np.zeros(x.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            distance[~equal] = np.abs(x[~equal] - y[~equal])
            distance[np.isnan(distance)] = np.inf  # a number on one side, none on the other
            self.signal += float(np.square(x[np.isfinite(x)]).sum())
            self.noise += float(np.square(distance).sum())
        self.largest = max(self.largest, float(distance.max()))
        rows, others = class_rows(x), class_rows(y)
        self.has_agreement |= rows.shape[1] > 1
        self.agreeing += int(same_top_class(rows, others).sum())
        self.samples += len(rows)

    def _add_whole(self, x: Any, y: Any) -> None:
        """Outputs that are no arrays of numbers, or differ in shape, are equal or not."""
        equal = np.shape(x) == np.shape(y) and bool(np.all(np.asarray(x, object) == np.asarray(y, object)))
        self.has_agreement = True
        self.agreeing += equal
        self.samples += bool(np.size(x) or np.size(y))
        if not equal:
            self.noise = self.largest = np.inf

    def difference(self, output: str) -> OutputDifference:
        """The figures for the output of this name."""
        if not self.samples:
            return OutputDifference(output, np.nan, np.nan, None, 0)
        agreement = self.agreeing / self.samples if self.has_agreement else None
        return OutputDifference(output, sqnr(self.signal, self.noise), self.largest, agreement, self.samples)
