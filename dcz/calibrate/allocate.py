"""How to spend bits over the tensors of a model, by what their errors do to its answers.

by_bits({"fc1": curve(weights, 0.1, divergence=0.02), ...}, bits=500_000)   ->   {"fc1": 0.07, ...}, a step for each
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..codec.stages import grid
from ..codec.stages.histogram import Histogram

PER_OCTAVE, FINEST, COARSEST = 16, 96, 80  # steps of a curve: how many an octave, and how far from the one tried


@dataclass(frozen=True, eq=False)
class Curve:
    """What a tensor of so many `elements` costs at each of its `steps` (float64, ascending): `bits` in all, and `harm`
    to the answers."""

    steps: np.ndarray
    bits: np.ndarray
    harm: np.ndarray
    elements: int

    def at(self, slope: float) -> int:
        """The place of the step with the least harm + slope * bits."""
        return int(np.argmin(self.harm + slope * self.bits))


def curve(weights: np.ndarray, trial: float, divergence: float, finest: float = 0.0) -> Curve:
    """The curve of a tensor (flat, float) whose rounding at the step `trial` moved the answers by `divergence`.

    Bits are the entropy of the codes; harm grows with the square of the step. No step is less than `finest`.
    """
    histogram = Histogram(np.asarray(weights, np.float64))
    steps = trial * np.exp2(np.arange(-FINEST, COARSEST + 1) / PER_OCTAVE)
    steps = steps[steps >= finest]
    if not len(steps):
        steps = np.array([trial])
    bits = np.array([grid.bits_per_weight(histogram, step) for step in steps]) * len(weights)
    return Curve(steps, bits, max(divergence, 1e-30) * (steps / trial) ** 2, len(weights))


def by_slope(curves: Mapping[str, Curve], slope: float) -> dict[str, float]:
    """The step of each tensor at which a bit more or less changes the answers by `slope`, the same for all."""
    return {name: float(each.steps[each.at(slope)]) for name, each in curves.items()}


def by_bits(curves: Mapping[str, Curve], bits: float) -> dict[str, float]:
    """The steps of equal slope at which all tensors together take about `bits`, or the nearest there is."""
    low, high = -100.0, 100.0  # the logarithm of the slope
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _bits(curves, math.exp(middle)) > bits else (low, middle)
    steps = by_slope(curves, math.exp(high))
    # The curves' steps are a few percent apart: what they leave over makes all of them a little finer. Half the step is
    # a bit more for each weight that is not zero; at most the way to the next one.
    spare = (bits - _bits(curves, math.exp(high))) / max(1, sum(each.elements for each in curves.values()))
    finer = 2 ** -min(1 / PER_OCTAVE, max(0.0, spare))
    return {name: step * finer for name, step in steps.items()}


def _bits(curves: Mapping[str, Curve], slope: float) -> float:
    return sum(float(each.bits[each.at(slope)]) for each in curves.values())
