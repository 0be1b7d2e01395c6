"""How alike two networks' answers are, each kind in its own measure.

F1_BOXES.score(answers, others)  ->  0 to 1; 1.0: the same
decibels.by_output()  ->  the signal to noise ratio of every output, after decibels.add(...) of every run
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..edits import edits

IOU = 0.5  # from where on two boxes are one (PASCAL VOC)
ONSET = 0.05  # seconds within which two notes begin together (mir_eval)
LEVEL = 1.0  # decibels within which two levels are alike


@dataclass(frozen=True)
class Measure:
    """A measure of likeness: `compare` gives, for one sample, how much is alike, and of how much.

    `extra` gives further figures over all samples, by name.
    """

    name: str
    compare: Callable[[Any, Any], tuple[float, float]]
    extra: Callable[[list, list], dict[str, float]] = lambda answers, others: {}

    def score(self, answers: list, others: list) -> float | None:
        """What is alike in all samples together, 0 to 1; None where the answers say nothing."""
        pairs = [self.compare(a, b) for a, b in zip(answers, others, strict=True)]
        alike, of = (sum(float(value) for value in column) for column in zip(*pairs, strict=True))
        return alike / of if of else None


def _same(a: Any, b: Any) -> tuple[float, float]:
    return float(a == b), 1


def _characters(a: str, b: str) -> tuple[float, float]:
    longest = max(len(a), len(b))
    return longest - edits(a, b), longest


def _same_texts(answers: list, others: list) -> dict[str, float]:
    return {"same text": float(np.mean([a == b for a, b in zip(answers, others, strict=True)]))}


def _elements(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    return np.count_nonzero(a == b), a.size


def _found(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """What is found (not 0), and the same in both, of all that either finds (F1)."""
    return 2 * np.count_nonzero((a == b) & (a != 0)), np.count_nonzero(a) + np.count_nonzero(b)


def _overlap(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    return np.count_nonzero(a & b), np.count_nonzero(a | b)


def _cosine(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return (float(a.ravel() @ b.ravel()) / norms if norms else 0.0), 1


def _explained(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """The share of the variance that is explained (R squared), where a sample is a whole set of values."""
    return max(0.0, 1 - float(((a - b) ** 2).sum() / ((a - a.mean()) ** 2).sum())), 1


def _levels(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    return np.count_nonzero(np.abs(a - b) <= LEVEL), a.size


def _worst_level(answers: list, others: list) -> dict[str, float]:
    return {"worst level error, dB": max(float(np.abs(a - b).max()) for a, b in zip(answers, others, strict=True))}


def _neighbours(answers: list, others: list) -> dict[str, float]:
    """How often a sample's nearest other sample, by cosine, is the same."""

    def nearest(rows: list) -> np.ndarray:
        unit = np.stack([row.ravel() / np.linalg.norm(row) for row in rows])
        likeness = unit @ unit.T
        np.fill_diagonal(likeness, -np.inf)
        return likeness.argmax(1)

    return {"same nearest neighbour": float(np.mean(nearest(answers) == nearest(others)))}


def ious(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box (x1, y1, x2, y2) with each of others, [n, 4]."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    inter = np.clip(high - low, 0, None).prod(1)
    return inter / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - inter + 1e-9)


def _boxes(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Boxes [n, 6] (class, score, x1, y1, x2, y2) that pair up one to one, best scores first."""
    free, pairs = np.ones(len(b), bool), 0
    for box in a[np.argsort(-a[:, 1], kind="stable")]:
        overlap = np.where(free & (b[:, 0] == box[0]), ious(box[2:], b[:, 2:]), 0) if len(b) else np.zeros(1)
        best = int(overlap.argmax())
        if overlap[best] >= IOU:
            free[best], pairs = False, pairs + 1
    return 2 * pairs, len(a) + len(b)


def _notes(a: list[tuple[float, int]], b: list[tuple[float, int]]) -> tuple[float, float]:
    """Notes (onset in seconds, pitch) that pair up one to one, in the order of their onsets."""
    free, pairs = sorted(b), 0
    for onset, pitch in sorted(a):
        found = next((note for note in free if note[1] == pitch and abs(note[0] - onset) <= ONSET), None)
        if found:
            free.remove(found)
            pairs += 1
    return 2 * pairs, len(a) + len(b)


CLASS = Measure("same class", _same)
TEXT = Measure("characters alike, by edits", _characters, _same_texts)
WORD = Measure("same cuts of a word", _same)
TAGS = Measure("same tag of a token", _elements)
DECISIONS = Measure("same decision", _elements)
FOUND = Measure("F1 of what is found", _found)
MASK = Measure("IoU of masks", _overlap)
F1_BOXES = Measure(f"F1 of boxes, IoU {IOU:g}", _boxes)
F1_NOTES = Measure(f"F1 of notes, onsets within {ONSET * 1000:g} ms", _notes)
LEVELS = Measure(f"levels within {LEVEL:g} dB", _levels, _worst_level)
COSINE = Measure("cosine", _cosine)
EMBEDDING = Measure("cosine", _cosine, _neighbours)
REGRESSION = Measure("R squared", _explained)


@dataclass
class Decibels:
    """Signal to noise ratio of each float output over many runs: 10 log10(sum of squares / sum of squared errors)."""

    signal: dict[str, float] = field(default_factory=dict)
    noise: dict[str, float] = field(default_factory=dict)

    def add(self, names: list[str], outputs: list[np.ndarray], others: list[np.ndarray]) -> None:
        """The outputs of a run by two networks. Values that are not finite in the first one count where they differ."""
        for name, a, b in zip(names, outputs, others, strict=True):
            if a.dtype.kind != "f":
                continue
            a, b = a.astype(np.float64), b.astype(np.float64)
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            self.signal[name] = self.signal.get(name, 0.0) + float((a[np.isfinite(a)] ** 2).sum())
            with np.errstate(invalid="ignore"):
                self.noise[name] = self.noise.get(name, 0.0) + float((np.where(same, 0, a - b) ** 2).sum())

    def by_output(self) -> dict[str, float]:
        """Decibels by output; infinite for one that is the same, minus infinite for one that is no number."""
        return {name: _decibels(signal, self.noise[name]) for name, signal in self.signal.items()}


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal and math.isfinite(noise) else -math.inf
