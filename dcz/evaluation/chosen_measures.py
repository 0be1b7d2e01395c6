"""What answers are judged by where a user says so: a measure's name, or a function of one's own.

    measure = chosen("nearest-neighbour")
    answers = Answers(measure); answers.add(wanted, found); answers.scores()      ->  float64 [n], or one number

`wanted` and `found` are the outputs of the original and of the other model, by name. A function gets those of all
samples, and returns a score from 0 to 1 for each sample, or one for all: 1 where nothing is lost.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ..errors import InvalidArgument, told
from ..text import counted, printable
from . import metrics
from .metrics import Measure

MIN_NEIGHBOURS = 3  # samples: of two, each is the other's nearest
ROUNDING = 1e-5  # beyond 0 and 1 that a score may be, as the float32 mean of cosines is

Outputs: TypeAlias = Mapping[str, Any]
MeasureFunction: TypeAlias = Callable[[Outputs, Outputs], Any]
AnyMeasure: TypeAlias = str | MeasureFunction

# Of one output, added up batch by batch: see metrics.Measure.
OF_OUTPUTS: dict[str, Measure] = {
    each.name.replace(" ", "-"): each
    for each in (metrics.TOP_CLASS, metrics.TOP_TOKEN, metrics.TOP_KEY, metrics.LABEL, metrics.ENTRIES, metrics.ROWS,
                 metrics.COSINE, metrics.RELATIVE)
}  # fmt: skip


@dataclass(frozen=True)
class OfAll:
    """A measure that wants the answers to all samples, in all outputs or, if it `looks_at_one`, in that of answers;
    `takes_lengths`: also where these have other shapes from run to run, as of samples of different lengths."""

    name: str
    function: Callable[..., Any]
    looks_at_one: bool = False
    takes_lengths: bool = False


ChosenMeasure: TypeAlias = Measure | OfAll


def chosen(measure: AnyMeasure) -> ChosenMeasure:
    """The measure of this name, or that a function is. Raises InvalidArgument for other names."""
    if callable(measure):
        name = getattr(measure, "__name__", None)
        return OfAll(printable(name) if isinstance(name, str) else "own measure", measure)
    if measure in OF_OUTPUTS:
        return OF_OUTPUTS[measure]
    if measure in OF_ALL:
        return OF_ALL[measure]
    raise InvalidArgument(
        f"there is no measure {measure!r}: give MODULE:FUNCTION, or one of {', '.join((*OF_OUTPUTS, *OF_ALL))}"
    )


def nearest_neighbour(wanted: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Of embeddings [n, ...], whether each sample's nearest other one, by the cosine, is the same: float64 [n]; 0 where
    one is no number. Raises InvalidArgument for fewer than three, of which the nearest is always the same."""
    if len(wanted) < MIN_NEIGHBOURS:
        raise InvalidArgument(
            f"measure nearest neighbour wants {MIN_NEIGHBOURS} samples at least, to tell the nearest other one, and "
            f"has {len(wanted)}: give more"
        )
    nearest, others = (_nearest(each) for each in (wanted, found))
    return np.asarray((nearest == others) & (nearest >= 0), np.float64)


def _nearest(embeddings: np.ndarray) -> np.ndarray:
    """The numbers of the nearest others; -1 of embeddings that are no finite numbers, which are no one's nearest."""
    rows = embeddings.reshape(len(embeddings), -1).astype(np.float64)
    known = np.isfinite(rows).all(1)
    rows[~known] = 0
    rows = rows / np.maximum(np.sqrt(np.square(rows).sum(1, keepdims=True)), np.finfo(np.float64).tiny)
    likeness = rows @ rows.T
    likeness[:, ~known] = -np.inf
    np.fill_diagonal(likeness, -np.inf)
    return np.where(known, likeness.argmax(1), -1)


def r_squared(wanted: np.ndarray, found: np.ndarray) -> float:
    """Of numbers [n, ...], the share of their variance over the samples that is kept, the coefficient of determination
    R2, 0 or more; 1 where both are the same. What is the same and no finite number, such as a mask, is left out."""
    wanted, found = (each.astype(np.float64) for each in (wanted, found))
    masked = ~np.isfinite(wanted) & ((wanted == found) | (np.isnan(wanted) & np.isnan(found)))
    wanted, found = (np.where(masked, 0, each) for each in (wanted, found))
    if not (np.isfinite(wanted).all() and np.isfinite(found).all()):
        return 0.0
    missed = float(np.square(wanted - found).sum())
    deviations = np.where(masked, 0, wanted - wanted.mean(0, keepdims=True))
    variance = float(np.square(deviations).sum())
    return 1.0 if missed == 0 else max(0.0, 1 - missed / variance) if variance else 0.0


def text(wanted: np.ndarray | list[np.ndarray], found: np.ndarray | list[np.ndarray]) -> np.ndarray:
    """Of scores of tokens [n, places, tokens], or several of those of different lengths, whether the text of
    connectionist temporal classification is the same: the best token of each place, repetitions once, blanks left out.
    float64 [n]. The blank is the original's commonest token."""
    best = [[run.argmax(-1) for run in (side if isinstance(side, list) else [side])] for side in (wanted, found)]
    blank = int(np.bincount(np.concatenate([run.ravel() for run in best[0]])).argmax())
    texts = [[_collapsed(row, blank) for run in runs for row in run] for runs in best]
    return np.array([one == other for one, other in zip(*texts, strict=True)], np.float64)


def _collapsed(tokens: np.ndarray, blank: int) -> list[int]:
    starts = np.concatenate([[True], tokens[1:] != tokens[:-1]])
    return [int(token) for token in tokens[starts] if token != blank]


class Answers:
    """The outputs of two models to all samples, batch by batch, and what a measure makes of them."""

    def __init__(self, measure: OfAll, output: str | None = None):
        self.measure, self._output = measure, output
        self._batches: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.count = 0

    def add(self, wanted: Outputs, found: Outputs, samples: int) -> None:
        """The outputs of one run to so many samples."""
        names = [self._output] if self.measure.looks_at_one and self._output is not None else list(wanted)
        self._batches.append(({name: wanted[name] for name in names}, {name: found[name] for name in names}))
        self.count += samples

    def scores(self) -> np.ndarray:
        """The measure's scores: float64 [samples], or [1] where it gives one. Raises InvalidArgument where it fails, or
        gives anything else."""
        sides = [_joined([batch[side] for batch in self._batches]) for side in (0, 1)]
        one = None if not self.measure.looks_at_one or self._output is None else sides[0][self._output]
        if isinstance(one, list) and not self.measure.takes_lengths:
            raise InvalidArgument(
                f"measure {self.measure.name}: output {self._output!r} has another shape for other samples, such as "
                "one for each length: choose another measure, or give a function of your own"
            )
        arguments = [side[self._output] for side in sides] if self.measure.looks_at_one and self._output else sides
        with told(f"measure {self.measure.name}"):
            result = self.measure.function(*arguments)
        return self._scores(result)

    def _scores(self, result: Any) -> np.ndarray:
        wanted = f"{self.count} samples: give a score from 0 to 1 for each, or one for all"
        with told(f"measure {self.measure.name}: gives a {type(result).__name__} for {wanted}"):
            given = np.asarray(result)
            if given.dtype.kind not in "biufO":
                raise TypeError("these are no real numbers")
            found = given.astype(np.float64).reshape(-1)
        within = np.clip(found, 0, 1)
        if found.size not in (1, self.count) or not (np.abs(found - within) <= ROUNDING).all():
            ends = (found.min(), found.max()) if found.size else (0, 0)
            raise InvalidArgument(
                f"measure {self.measure.name}: gives {counted(found.size, 'number')} from {ends[0]:g} to {ends[1]:g} "
                f"for {wanted}"
            )
        return within


def _joined(batches: list[dict[str, Any]]) -> dict[str, Any]:
    """Outputs of all samples: arrays where those of the runs fit together, else a list of what each run gave. Arrays
    are copies, which a function of someone's own may change."""
    joined: dict[str, Any] = {}
    for name in batches[0] if batches else ():
        runs = [batch[name] for batch in batches]
        fit = all(isinstance(run, np.ndarray) and run.ndim and run.shape[1:] == runs[0].shape[1:] for run in runs)
        joined[name] = np.concatenate(runs) if fit else [copy.copy(run) for run in runs]
    return joined


OF_ALL = {
    "nearest-neighbour": OfAll("nearest neighbour", nearest_neighbour, looks_at_one=True),
    "r2": OfAll("R2", r_squared, looks_at_one=True),
    "text": OfAll("text", text, looks_at_one=True, takes_lengths=True),
}
