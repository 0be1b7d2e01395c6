"""How far the outputs of two models are apart, output by output, added up over runs.

sums = DifferenceSums(); sums.add(x, y); sums.difference("logits")     ->   OutputDifference
"""

import math
from collections import Counter
from typing import Any

import numpy as np

from .channel_groups import ChannelSums
from .metrics import (
    COPY,
    COSINE,
    RELATIVE,
    ROWS,
    TOP_CLASS,
    TOP_KEY,
    TOP_TOKEN,
    Measure,
    class_rows,
    cosines,
    has_top_class,
    measure_of,
    sqnr,
    top_class,
)
from .output_difference import OutputDifference

ROW_TOLERANCE = 0.05  # of a row's length: nearer ones are the same row, where outputs have no fixed number of them
MAX_ROWS = 4096  # of an output without a fixed number of them that are compared: each with all others
MAX_COMMON_ANSWER = 0.75  # of the answers: where one answer makes up more, they tell nothing on drawn inputs
MIN_VARIATION = 1e-4  # of the answers' squares: where they differ by less from sample to sample, the same


def joined(runs: list[Any]) -> list[Any]:
    """The outputs of several runs as one where they are lists, or arrays that fit, else as they are."""
    if all(isinstance(run, list) for run in runs):
        return [[each for run in runs for each in run]]
    arrays = all(isinstance(run, np.ndarray) and run.ndim for run in runs)
    same = arrays and len({(run.dtype, run.shape[1:]) for run in runs}) == 1
    return [np.concatenate(runs)] if same else runs


def first_samples(output: Any, count: int | None, size: int | None) -> Any:
    """The answers to the first `count` of `size` samples; all where an output has no axis of samples."""
    if count is None or size is None or count == size or isinstance(output, dict):
        return output
    if not hasattr(output, "__len__") or getattr(output, "ndim", 1) == 0:
        return output
    return output[: len(output) // size * count] if len(output) % size == 0 else output


class DifferenceSums:
    """Adds up, batch by batch, how one output of two models differs, by `measure`, or by the one that fits the first
    batch (see measure_of)."""

    def __init__(self, measure: Measure | None = None) -> None:
        self.measure = measure
        self.signal = self.noise = self.largest = 0.0
        self.score, self.answers = 0.0, 0  # the sum of shares or cosines, and how many
        self.unanswered = 0  # of the answers, those that the original does not give
        self.matched, self.rows = 0, 0.0  # rows in both, and the mean number of rows
        self.reshaped = False  # whether some output had another shape
        self.variation = 0.0  # sum of squares of the answers' distance from the first one
        self.first: np.ndarray | None = None
        self.answer_counts: Counter[Any] = Counter()
        self.channels = ChannelSums()
        self.entries, self.numbers = 0, 0  # that were compared, and those that are numbers in one model at least

    def add(self, x: Any, y: Any, samples: int | None = None) -> None:
        """Outputs of both models for one batch: arrays of any type, or the sequences and maps that some models give.

        `samples`: how many the batch holds, where that is known; else as many as the first axis has entries.
        """
        if self.measure is None:
            self.measure = measure_of(x, samples)
        if self.measure == TOP_KEY:
            self._add_maps(*(output if isinstance(output, list) else [output] for output in (x, y)))
        elif isinstance(x, list) and isinstance(y, list) and len(x) == len(y):
            for a, b in zip(x, y, strict=True):
                self.add(a, b)
        elif not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray) or x.dtype.kind not in "fiub":
            self._add_texts(x, y)
        elif x.shape != y.shape or self.measure == ROWS:
            self._add_rows(x, y)
        elif x.size:
            self._add_numbers(x, y, samples)

    def _add_numbers(self, x: np.ndarray, y: np.ndarray, samples: int | None) -> None:
        x, y = x.astype(np.float64), y.astype(np.float64)
        distance = self._add_distance(x, y)
        assert self.measure is not None  # `add` has set it
        if self.measure.name in (TOP_CLASS.name, TOP_TOKEN.name):
            moved = (np.moveaxis(each, self.measure.axis, -1) for each in (x, y))
            rows, others = (each.reshape(-1, each.shape[-1]) for each in moved)
            answers, other_answers = top_class(rows), top_class(others)
            other_answers[~(has_top_class(rows) & has_top_class(others))] = -1  # what is no answer agrees with nothing
            blank = np.isneginf(rows).all(1) & np.isneginf(others).all(1)  # but a place that both mask out is none
            self._add_answers(answers[~blank], other_answers[~blank])
            self.unanswered += int((~has_top_class(rows) & ~blank).sum())
        elif self.measure.is_share:
            self._add_answers(x.reshape(-1), y.reshape(-1))
        elif self.measure == COSINE:
            similar = cosines(class_rows(x), class_rows(y))
            self.score, self.answers = self.score + float(similar.sum()), self.answers + len(similar)
        else:
            self.answers += samples or (len(x) if x.ndim else 1)
            self.channels.add(x, distance)
            self._count_near_rows(np.atleast_2d(x), np.atleast_2d(distance))  # as if its length were open
        self._add_variation(x)

    def _add_distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Add to the sums of squares; how far each entry of float64 arrays is from the other's."""
        blank = np.isnan(x) & np.isnan(y)
        equal = (x == y) | blank
        self.entries, self.numbers = self.entries + x.size, self.numbers + x.size - int(blank.sum())
        distance = np.zeros(x.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            distance[~equal] = np.abs(x[~equal] - y[~equal])
            distance[np.isnan(distance)] = np.inf  # a number on one side, none on the other
            self.signal += float(np.square(x[np.isfinite(x)]).sum())
            self.noise += float(np.square(distance).sum())
        self.largest = max(self.largest, float(distance.max(initial=0)))
        return distance

    def _add_answers(self, answers: np.ndarray, others: np.ndarray) -> None:
        same = (answers == others) | ((answers != answers) & (others != others))
        self.score += int(same.sum())
        self.answers += len(answers)
        self.answer_counts.update(answers.tolist())

    def _count_near_rows(self, x: np.ndarray, distance: np.ndarray) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            self.matched += int((np.square(distance).sum(-1) <= ROW_TOLERANCE**2 * np.square(x).sum(-1)).sum())
        self.rows += math.prod(x.shape[:-1])

    def _add_variation(self, x: np.ndarray) -> None:
        samples = x if x.ndim else x[None]
        if self.first is None:
            self.first = samples[0]
        if samples[0].shape == self.first.shape:
            with np.errstate(over="ignore", invalid="ignore"):
                distance = samples - self.first
                self.variation += float(np.square(distance[np.isfinite(distance)]).sum())
        else:  # they have not even one shape
            self.variation = np.inf

    def _add_texts(self, x: Any, y: Any) -> None:
        """Text entry by entry; what is no array at all is equal or not."""
        x, y = (np.asarray(each, object) for each in (x, y))
        if x.shape == y.shape:
            self._add_answers(x.reshape(-1), y.reshape(-1))
            equal = bool((x == y).all())
        else:
            equal = False
            self.answers += 1
        if not equal:
            self.noise = self.largest = np.inf

    def _add_rows(self, x: np.ndarray, y: np.ndarray) -> None:
        """Outputs of open length: rows that both have, in any order, for whole numbers equal, for others within
        ROW_TOLERANCE."""
        if x.shape == y.shape:
            self._add_distance(x.astype(np.float64), y.astype(np.float64))
        else:
            self.reshaped, self.noise, self.largest = True, np.inf, np.inf
        if len(x):
            self._add_variation(x.astype(np.float64))
        width = x.shape[-1] if x.ndim > 1 else 1
        rows, others = (each.reshape(-1, width).astype(np.float64) if width and each.size % width == 0 else
                        np.zeros((0, max(width, 1))) for each in (x, y))  # fmt: skip
        if x.dtype.kind != "f":
            self.matched += (Counter(map(bytes, rows)) & Counter(map(bytes, others))).total()
            self.rows += (len(rows) + len(others)) / 2
            return
        rows, others = rows[:MAX_ROWS], others[:MAX_ROWS]
        free = np.ones(len(others), bool)
        for row in rows:
            if not free.any():
                break
            with np.errstate(over="ignore", invalid="ignore"):  # of -inf on both sides
                distance = np.where(free, np.sqrt(np.square(others - row).sum(1)), np.inf)
            nearest = int(distance.argmin())
            if distance[nearest] <= ROW_TOLERANCE * np.sqrt(np.square(row).sum()):
                self.matched, free[nearest] = self.matched + 1, False
        self.rows += (len(rows) + len(others)) / 2

    def _add_maps(self, x: list[dict[Any, Any]], y: list[dict[Any, Any]]) -> None:
        """Maps from keys to numbers, one a sample: by key; a key that only one of the two has is NaN in the other."""
        if len(x) != len(y):
            self.reshaped, self.noise, self.largest = True, np.inf, np.inf
            return
        for one, other in zip(x, y, strict=True):
            keys = [*one, *(key for key in other if key not in one)]
            values, others = (np.array([each.get(key, np.nan) for key in keys], np.float64) for each in (one, other))
            if keys:
                self._add_distance(values, others)
                best, other_best = (keys[int(np.where(np.isnan(each), -np.inf, each).argmax())]
                                    for each in (values, others))  # fmt: skip
                self._add_answers(np.array([best], object), np.array([other_best], object))
                self._add_variation(values[None])

    def difference(self, output: str, drawn: bool = False) -> OutputDifference:
        """The figures for the output of this name; without scores where the inputs were `drawn` and say nothing."""
        if not self.answers and not self.rows and not self.reshaped:
            return OutputDifference(output, np.nan, np.nan, None, 0)
        measure = self.measure or RELATIVE
        are_numbers = not self.entries or self.numbers > 0
        decibels, worst = sqnr(self.signal, self.noise) if are_numbers else np.nan, None
        if self.reshaped or measure == ROWS:
            measure, samples = ROWS, round(self.rows)
            score = self.matched / self.rows if self.rows else 0.0
        elif measure in (RELATIVE, COPY):
            worst = self.channels.worst() if measure == RELATIVE else None
            lowest = decibels if worst is None else worst.decibels
            samples, score = self.answers, max(0.0, 1 - 10 ** (-lowest / 20)) if are_numbers else 0.0
        else:
            samples, score = self.answers, self.score / self.answers
        varies = self._varies(measure)
        tells_nothing = (drawn and not varies) or (0 < self.unanswered == samples)
        known = None if tells_nothing else score
        agreement = known if measure.is_share else None
        return OutputDifference(
            output, decibels, self.largest, agreement, samples, measure.name, known, varies, worst,
            unanswered=self.unanswered,
        )  # fmt: skip

    @property
    def most_common(self) -> int:
        """How many of the original's answers are the commonest one; 0 where answers are not counted."""
        return max(self.answer_counts.values(), default=0)

    def _varies(self, measure: Measure) -> bool:
        """Whether the original's answers differ from sample to sample."""
        if measure.is_share and self.answer_counts:
            return self.most_common <= MAX_COMMON_ANSWER * self.answers
        return self.variation > MIN_VARIATION * self.signal
