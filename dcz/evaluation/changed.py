"""Which samples a model answers differently than another, and how.

    changed_samples("net.dcz", "net.onnx", "test.npz").changed[0]   ->   Change(17, "class 3, 61.2 %", "class 5, 48 %")

Samples whose answer is another come first; of outputs that are numbers, those that are furthest off.
"""

import contextlib
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InvalidArgument
from . import metrics
from .differences import joined
from .given import BatchAxis, Data, as_samples
from .metrics import TOP_CLASS
from .predictor import Predictor, open_predictor
from .runtime import BATCH
from .samples import Samples

MOST = 60  # samples that are listed


@dataclass(frozen=True)
class Change:
    """A sample (its number from 0) whose answer changed, both answers in words, and how much: the share of its places
    with another answer, or its relative error."""

    sample: int
    before: str
    after: str
    amount: float


@dataclass(frozen=True)
class Changes:
    """Of `samples` samples `count` have another answer in `output`, by `measure`; `changed` are the first of them, or
    where answers are numbers, those that are furthest off."""

    output: str
    measure: str
    samples: int
    count: int
    changed: tuple[Change, ...]


def changed_samples(
    model: str | os.PathLike[str],
    against: str | os.PathLike[str],
    data: Data | Samples,
    *,
    batch_axis: BatchAxis | None = None,
    output: str | None = None,
    threads: int | None = None,
    max_bytes: float | str | None = None,
) -> Changes | None:
    """Run both models on all samples, and list those whose answers differ.

    For the files and the output see evaluate. None where an output is no array with an axis of samples. Raises
    DczError.
    """
    samples = as_samples(data, batch_axis)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(open_predictor(against, samples, output, threads, max_bytes))
        second = stack.enter_context(open_predictor(model, samples, output, threads, max_bytes))
        count = first.count
        measure = first.choose_output(min(BATCH, count))
        second.output = first.output
        found: list[Change] = []
        for indices in first.runs(np.arange(count), BATCH):
            pair = [_answers(predictor, indices) for predictor in (first, second)]
            if any(each is None for each in pair) or pair[0].shape != pair[1].shape:
                return None
            found += _changes(pair[0], pair[1], indices, measure)
    found.sort(key=lambda change: (0.0 if measure.is_share else -change.amount, change.sample))
    return Changes(str(first.output), measure.name, count, len(found), tuple(found[:MOST]))


def _answers(predictor: Predictor, indices: np.ndarray) -> Any:
    """The output for the samples at `indices`, [samples, ...]; None where it is no such array."""
    try:
        runs = joined(predictor.answers(indices))
    except InvalidArgument:
        return None
    is_array = len(runs) == 1 and isinstance(runs[0], np.ndarray) and runs[0].shape[:1] == (len(indices),)
    return runs[0] if is_array else None


def _changes(before: np.ndarray, after: np.ndarray, numbers: np.ndarray, measure: metrics.Measure) -> list[Change]:
    """The samples of one batch, of these `numbers`, whose answers differ."""
    if measure.name == TOP_CLASS.name:
        rows, others = (metrics.class_rows(each.astype(np.float64)) for each in (before, after))
        if len(rows) == len(before):
            return _other_classes(rows, others, numbers)
    if measure.name == metrics.TOP_TOKEN.name:
        before, after = before.argmax(measure.axis), after.argmax(measure.axis)
    flat, other = (each.reshape(len(each), -1) for each in (before, after))
    if before.dtype.kind == "f":
        return _other_numbers(flat.astype(np.float64), other.astype(np.float64), numbers)
    differs = flat != other
    return [
        Change(int(numbers[row]), _words(flat[row], differs[row]), _words(other[row], differs[row]), float(share))
        for row, share in enumerate(differs.mean(1) if differs.size else [])
        if share
    ]


def _other_classes(rows: np.ndarray, others: np.ndarray, numbers: np.ndarray) -> list[Change]:
    """Rows of classes with another top class, and how sure both answers are."""
    top, other_top = metrics.top_class(rows), metrics.top_class(others)
    sure, other_sure = (_probabilities(each) for each in (rows, others))
    return [
        Change(
            int(numbers[row]),
            f"class {top[row]}, {100 * sure[row, top[row]]:.1f} %",
            f"class {other_top[row]}, {100 * other_sure[row, other_top[row]]:.1f} %",
            float(abs(sure[row, top[row]] - other_sure[row, top[row]])),
        )
        for row in np.flatnonzero(top != other_top).tolist()
    ]


def _probabilities(rows: np.ndarray) -> np.ndarray:
    """Rows as probabilities: as they are, or by a softmax."""
    if metrics.are_probabilities(rows):
        return rows
    with np.errstate(over="ignore", invalid="ignore"):
        powers = np.exp(rows - rows.max(1, keepdims=True))
        shares: np.ndarray = powers / powers.sum(1, keepdims=True)
    return shares


def _other_numbers(rows: np.ndarray, others: np.ndarray, numbers: np.ndarray) -> list[Change]:
    """Rows of numbers that differ, by their relative error."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        error = np.sqrt(np.square(rows - others).sum(1) / np.square(rows).sum(1))
    return [
        Change(int(numbers[row]), _first_numbers(rows[row]), _first_numbers(others[row]), float(error[row]))
        for row in np.flatnonzero((rows != others).any(1)).tolist()
    ]


def _first_numbers(row: np.ndarray) -> str:
    more = ", ..." if len(row) > 3 else ""
    return ", ".join(f"{number:.4g}" for number in row[:3].tolist()) + more


def _words(row: np.ndarray, differs: np.ndarray) -> str:
    """The first entries that differ."""
    entries = row[differs].tolist()
    return ", ".join(map(str, entries[:3])) + (f", ... ({len(entries)} of {len(row)})" if len(entries) > 3 else "")
