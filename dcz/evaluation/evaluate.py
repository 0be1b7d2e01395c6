"""How good a model's answers are: on labelled samples, or against another model's; by onnxruntime, batch by batch.

evaluate("net.dcz", "test.npz", labels="y").errors                  ->  150, of 10,000: 1.50 %
evaluate("net.dcz", "test.npz", against="net.onnx").agreement       ->  0.9987

Outputs are rows of classes: probabilities where no row has a negative entry and all sum to 1 within 1e-3, else logits.
"""

import contextlib
import dataclasses
import itertools
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import BadPlan
from ..parallel import thread_count
from . import runtime
from .predictor import Predictor, open_predictor
from .samples import open_samples as open_data
from .samples import read_labels

TOP = 5  # the paper's second measure; it says nothing where there are no more classes than that
SUM_TOLERANCE = 1e-3  # of a row of probabilities: float16 outputs stay within it
UNDERFLOW = float(np.finfo(np.float32).tiny)  # a probability of 0 counts as this: at most 87.3 nats of loss a sample


@dataclass(frozen=True)
class Evaluation:
    """What was counted. Figures that compare with labels are None without labels, those with `against` without that.

    `errors`: samples whose largest entry is not their label's (of equal ones the first counts); `top5_errors`: whose
    label is not among the five largest, None for up to five classes. `loss`: mean cross-entropy, in nats.
    `disagreements`: samples of which the two models' top classes differ. `divergence`: mean Kullback-Leibler
    divergence of `path`'s probabilities from those of `against`, in nats. `decibels`: as runtime.Difference's.
    `unanswered`: samples for which the model's outputs hold NaN or +inf, or -inf alone: they count as errors and as
    disagreements, and the means are NaN.
    """

    path: str
    output: str
    samples: int
    classes: int
    unanswered: int = 0
    errors: int | None = None
    top5_errors: int | None = None
    loss: float | None = None
    against: str | None = None
    disagreements: int | None = None
    divergence: float | None = None
    decibels: float | None = None

    @property
    def top1(self) -> float | None:
        """The share of samples whose top class is their label."""
        return self._share(self.errors)

    @property
    def top5(self) -> float | None:
        """The share of samples whose label is among their five top classes; None for up to five classes."""
        return self._share(self.top5_errors)

    @property
    def agreement(self) -> float | None:
        """The share of samples for which both models have the same top class."""
        return self._share(self.disagreements)

    def _share(self, others: int | None) -> float | None:
        return None if others is None else (self.samples - others) / self.samples

    def to_dict(self) -> dict:
        """Plain values, for JSON; means are null where no finite number; `equal` says that decibels are infinite."""
        plain = dataclasses.asdict(self)
        plain |= {"top1": self.top1, "top5": self.top5, "agreement": self.agreement}
        plain["equal"] = None if self.against is None else self.decibels == np.inf
        for name in ("loss", "divergence", "decibels"):
            plain[name] = plain[name] if plain[name] is not None and np.isfinite(plain[name]) else None
        return plain


def evaluate(
    model: str | os.PathLike,
    data: str | os.PathLike,
    labels: str | os.PathLike | None = None,
    against: str | os.PathLike | None = None,
    *,
    output: str | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Evaluation:
    """Run a `.dcz` or `.onnx` model on all samples of a data file, and count.

    `data`: an .npz with an array for each input, by name, samples along the first axis, or an .npy for a model with one
    input. Numbers are cast where an input is of floats (uint8 pixels stay 0 to 255), and to integers where they fit;
    axes are never moved. `labels`: the name of an array in `data`, or the path of an .npy or .npz with one array.
    `against`: another `.dcz` or `.onnx`, fed from the same file. `output`: the one to look at; default: each model's
    first with one row of two or more floats a sample, axes of length 1 set aside. Where a model's batch is fixed, its
    last one is filled up with the last sample. `progress` is told the model's path, the samples done, and those in all.
    Raises DczError.
    """
    if labels is None and against is None:
        raise BadPlan("nothing to compare the answers with: give labels, another model in `against`, or both")
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise BadPlan(f"the batch size is a whole number, 1 or more, not {batch_size!r}")
    thread_count(threads)  # raises where it is none
    samples = open_data(data)
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(open_predictor(model, samples, output, threads))
        theirs = None if against is None else stack.enter_context(open_predictor(against, samples, output, threads))
        count = ours.samples.count
        if theirs is not None and theirs.samples.count != count:
            raise BadPlan(
                f"{samples.path}: has {count} samples for {ours.path}, and {theirs.samples.count} for {theirs.path}"
            )
        size, unanswered, truth, beside = batch_size or ours.fixed or runtime.BATCH, 0, None, None
        for start in range(0, count, size):
            stop = min(start + size, count)
            rows = ours.answers(start, stop)
            unanswered += int((~has_top_class(rows)).sum())
            if labels is not None:
                if truth is None:  # the first answers say how many classes there are
                    truth = _LabelMetrics(read_labels(labels, samples, count, rows.shape[1]))
                truth.add(rows, start, stop)
            if theirs is not None:
                beside = beside or _AgreementMetrics(ours, theirs)
                beside.add(rows, theirs.answers(start, stop))
            progress(ours.path, stop, count)
    compared = [each.figures(count) for each in (truth, beside) if each is not None]
    figures = {name: figure for found in compared for name, figure in found.items()}
    return Evaluation(ours.path, ours.output, count, rows.shape[1], unanswered, **figures)


def has_top_class(rows: np.ndarray) -> np.ndarray:
    """Which rows [n, classes] have a top class: bool [n]; not those with NaN or +inf, nor of -inf alone."""
    return np.isfinite(rows.max(1))


def are_probabilities(rows: np.ndarray) -> bool:
    """Whether all rows [n, classes] that are answered have no negative entry, and sums of 1 within 1e-3."""
    rows = rows[has_top_class(rows)]
    return bool((rows >= 0).all() and (np.abs(rows.sum(1) - 1) <= SUM_TOLERANCE).all())


def log_probabilities(rows: np.ndarray, probabilities: bool) -> np.ndarray:
    """Natural logarithms of what rows [n, classes] are, or of their softmax; NaN in rows that are not answered.

    A probability of 0 is taken for one that underflowed, 1.2e-38.
    """
    rows = np.where(has_top_class(rows)[:, None], rows, np.nan)
    if probabilities:
        return np.log(np.maximum(rows, UNDERFLOW))
    logs = rows - rows.max(1, keepdims=True)
    return logs - np.log(np.exp(logs).sum(1, keepdims=True))


class _LogitsOrProbabilities:
    """How rows of one model may still be read: as logits, and as probabilities until one shows that they are none.

    Sums are kept of both, so that neither the batch nor the order of the samples decides.
    """

    def __init__(self):
        self.probabilities = True

    def of(self, rows: np.ndarray) -> dict[bool, np.ndarray]:
        """The logarithms of the rows in each reading; keys: whether they are probabilities."""
        self.probabilities = self.probabilities and are_probabilities(rows)
        return {reading: log_probabilities(rows, reading) for reading in {False, self.probabilities}}


class _LabelMetrics:
    """What is counted against labels, int64 [samples]."""

    def __init__(self, labels: np.ndarray):
        self.labels = labels
        self.errors = self.top5_errors = 0
        self.reading, self.loss = _LogitsOrProbabilities(), Counter()

    def add(self, rows: np.ndarray, start: int, stop: int) -> None:
        """The answers for samples start to stop."""
        labels = self.labels[start:stop, None]
        own = np.take_along_axis(rows, labels, 1)
        before = (rows == own) & (np.arange(rows.shape[1]) < labels)  # of equal entries the first comes first
        rank = ((rows > own) | before).sum(1)
        self.errors += int((~has_top_class(rows) | (rank > 0)).sum())
        self.top5_errors += int((~has_top_class(rows) | (rank >= TOP)).sum())
        self.classes = rows.shape[1]
        for reading, logs in self.reading.of(rows).items():
            self.loss[reading] -= float(np.take_along_axis(logs, labels, 1).sum())

    def figures(self, samples: int) -> dict:
        """The fields of an Evaluation."""
        top5 = self.top5_errors if self.classes > TOP else None
        return {"errors": self.errors, "top5_errors": top5, "loss": self.loss[self.reading.probabilities] / samples}


class _AgreementMetrics:
    """What is counted against another model's answers."""

    def __init__(self, ours: Predictor, theirs: Predictor):
        self.ours, self.theirs = ours, theirs
        self.readings, self.divergence = (_LogitsOrProbabilities(), _LogitsOrProbabilities()), Counter()
        self.disagreements, self.sums = 0, runtime.DifferenceSums()

    def add(self, rows: np.ndarray, others: np.ndarray) -> None:
        """Both models' answers for the same samples; raises BadPlan where their classes differ in number."""
        if rows.shape != others.shape:
            raise BadPlan(
                f"{self.ours.path} has {rows.shape[1]} classes in output {self.ours.output!r}, {self.theirs.path} "
                f"{others.shape[1]} in {self.theirs.output!r}; give two models of the same classes, or name an output"
            )
        same = (rows.argmax(1) == others.argmax(1)) & has_top_class(rows) & has_top_class(others)
        self.disagreements += int((~same).sum())
        of_ours, of_theirs = (reading.of(x) for reading, x in zip(self.readings, (rows, others)))
        for one, other in itertools.product(of_ours, of_theirs):
            self.divergence[one, other] += _divergence(of_theirs[other], of_ours[one])
        self.sums.add(others, rows)

    def figures(self, samples: int) -> dict:
        """The fields of an Evaluation."""
        readings = tuple(reading.probabilities for reading in self.readings)
        return {
            "against": self.theirs.path,
            "disagreements": self.disagreements,
            "divergence": self.divergence[readings] / samples,
            "decibels": self.sums.difference(self.ours.output).decibels,
        }


def _divergence(wanted: np.ndarray, found: np.ndarray) -> float:
    """The sum over the rows of sum(p log(p / q)), from log p and log q."""
    with np.errstate(invalid="ignore"):  # of -inf - -inf, where p is 0
        terms = np.where(wanted == -np.inf, 0.0, np.exp(wanted) * (wanted - found))
    return float(np.maximum(terms.sum(1), 0).sum())  # rounding may leave a row a little below 0
