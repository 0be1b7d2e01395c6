"""How good a model's outputs are, and by what measure two models' outputs are compared: on arrays alone.

    top_class(class_rows(logits))                      ->  int64 [rows]
    kl_divergence(log_softmax(x), log_softmax(y))      ->  nats of each row
    sqnr(28.0, 12.5)                                   ->  3.5 decibels

Rows [n, classes] hold logits or probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SUM_TOLERANCE = 1e-3  # of a row of probabilities: float16 outputs stay within it
UNDERFLOW = float(np.finfo(np.float32).tiny)  # a probability of 0 counts as this: at most 87.3 nats of loss a sample


# -- rows of classes ---------------------------------------------------------------------------------------------------


def class_rows(output: np.ndarray) -> np.ndarray:
    """An output as rows of classes along its last axis: trailing axes of length 1 are set aside, as of [n, 1000, 1, 1].

    An output of less than two axes is one number a sample, and so rows of one.
    """
    shape = list(output.shape)
    while len(shape) > 2 and shape[-1] == 1:
        shape.pop()
    return output.reshape(-1, shape[-1] if len(shape) > 1 else 1)


def row_per_sample(output: object, samples: int) -> np.ndarray | None:
    """An output as [samples, classes], two classes or more, without axes of length 1; None where it is no such rows."""
    if not isinstance(output, np.ndarray) or output.dtype.kind != "f" or output.shape[:1] != (samples,):
        return None
    classes = [dim for dim in output.shape[1:] if dim != 1]
    return output.reshape(samples, classes[0]) if len(classes) == 1 and classes[0] else None


def holds_classes(output: object) -> bool:
    """Whether an output is an array of floats with two or more classes a row: see class_rows."""
    return isinstance(output, np.ndarray) and output.dtype.kind == "f" and class_rows(output).shape[1] > 1


def dtype_and_shape(output: object) -> str:
    """What an output is, in words: float32[64, 10]."""
    return f"{output.dtype}{list(output.shape)}" if isinstance(output, np.ndarray) else type(output).__name__


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


def distance(decibels: float) -> str:
    """How far answers are from others, in words."""
    if np.isnan(decibels):
        return "no numbers to compare"
    return f"{decibels:.1f} dB" if np.isfinite(decibels) else "equal" if decibels > 0 else "other shapes or no numbers"


@dataclass(frozen=True)
class Measure:
    """What a kind of output is judged by: a name for people and JSON, and for classes the axis along which they lie.

    Shares of equal answers: `top class` of a sample, `top token` of each place of a sequence or map, `top key` of a
    map, `label` (one integer or text a sample), `entries` (integers of any other shape), `rows` (of outputs of open
    length: those in both, over the mean of both numbers of rows). `cosine`: the mean over vectors, for embeddings.
    `relative error`: root mean square of the difference over that of the original, for everything else. `copy of an
    input` is no answer: nothing is judged by it.
    """

    name: str
    axis: int = -1

    @property
    def is_share(self) -> bool:
        """Whether it counts equal answers."""
        return self.name in _SHARES


TOP_CLASS, TOP_TOKEN, TOP_KEY = Measure("top class"), Measure("top token"), Measure("top key")
LABEL, ENTRIES, ROWS = Measure("label"), Measure("entries"), Measure("rows")
COSINE, RELATIVE, COPY = Measure("cosine"), Measure("relative error"), Measure("copy of an input")
_SHARES = {each.name for each in (TOP_CLASS, TOP_TOKEN, TOP_KEY, LABEL, ENTRIES, ROWS)}
_BEST_FIRST = [each.name for each in (TOP_CLASS, TOP_KEY, TOP_TOKEN, LABEL, ENTRIES, ROWS, COSINE, RELATIVE, COPY)]


def answer_output(measures: Sequence[Measure]) -> int:
    """The position of the output that holds a model's answers: the first of the measure that says most of them."""
    return min(range(len(measures)), key=lambda number: _BEST_FIRST.index(measures[number].name))


def measure_of(output: object, samples: int | None = None) -> Measure:
    """The measure for an output of whose meaning the graph says nothing: what its type, shape and sums tell.

    `samples`: how many are in the batch, where that is known. Floats are classes only where they are probabilities.
    """
    if isinstance(output, dict) or (isinstance(output, list) and output and isinstance(output[0], dict)):
        return TOP_KEY
    if not isinstance(output, np.ndarray):
        return RELATIVE
    if output.dtype.kind in "iubOUS":
        if output.ndim and output.size == len(output):
            return LABEL
        return ROWS if output.ndim > 1 and samples and len(output) != samples else ENTRIES
    if output.ndim == 2 and samples and samples > 1 and len(output) % samples:
        return ROWS
    rows = row_per_sample(output, len(output)) if output.ndim else None
    return TOP_CLASS if rows is not None and len(rows) and are_probabilities(rows) else RELATIVE


def cosines(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The cosine of the angle between each two rows, float64 [n]: 1 of two zeros, 0 where one is zero or no number."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        lengths = np.sqrt(np.square(rows).sum(1) * np.square(others).sum(1))
        found = np.where((rows == others).all(1), 1.0, (rows * others).sum(1) / lengths)
    return np.where(np.isfinite(found), np.clip(found, -1, 1), 0.0)
