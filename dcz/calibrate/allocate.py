"""Bit allocation: a step for each tensor, so that a bit buys as much everywhere.

    steps_for_bits({"fc1": estimate_curve(weights, 0.1, divergence=0.02), ...}, bits=500_000)   ->   {"fc1": 0.07, ...}

Of all choices of steps with as many bits, that of least total distortion has the same slope on every tensor's
rate-distortion curve (Shoham and Gersho, "Efficient bit allocation for an arbitrary set of quantizers", 1988; of
Gaussian sources: reverse water-filling, Cover and Thomas, "Elements of information theory", section 10.3.3).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..codec.stages import grid
from ..codec.stages.histogram import Histogram

STEPS_PER_OCTAVE = 8
FINER_STEPS, COARSER_STEPS = 64, 40  # of a curve, on either side of the step that was tried
FINEST = 2.0**-20  # of a tensor's range, the same as in levels: a grid's levels are held in memory
MIN_DIVERGENCE = 1e-30


@dataclass(frozen=True, eq=False)
class Curve:
    """The rate-distortion curve of a tensor of `elements` weights: at each of its `steps` (float64, ascending), the
    `bits` of the whole tensor and the `distortion` of the network's answers (a Divergence)."""

    steps: np.ndarray
    bits: np.ndarray
    distortion: np.ndarray
    elements: int

    def at(self, slope: float) -> int:
        """The index of the step with the least distortion + slope * bits."""
        return int(np.argmin(self.distortion + slope * self.bits))

    def bits_at(self, step: float) -> float:
        """The bits at a step (between the curve's own by the logarithm), or at the curve's end that is nearer."""
        return float(np.interp(math.log(step), np.log(self.steps), self.bits))

    def measured(self, step: float, divergence: float) -> "Curve":
        """The curve, where rounding at `step` was seen to change the answers by `divergence`."""
        return replace(self, distortion=max(divergence, MIN_DIVERGENCE) * (self.steps / step) ** 2)


def estimate_curve(weights: np.ndarray, trial_step: float, divergence: float, min_step: float = 0.0) -> Curve:
    """The curve of a tensor (flat, float) whose rounding at `trial_step` changes the answers by `divergence`.

    Bits are the entropy of the codes; distortion grows with the square of the step, as the error of fine uniform
    rounding does. No step is below `min_step`, nor so fine that
    an outlier would be more than a million levels away.
    """
    histogram = Histogram(weights)
    steps = trial_step * np.exp2(np.arange(-FINER_STEPS, COARSER_STEPS + 1) / STEPS_PER_OCTAVE)
    finest = max(min_step, float(np.ptp(weights)) * FINEST)
    steps = steps[steps >= finest]
    if not len(steps):
        steps = np.array([max(trial_step, finest)])
    bits = np.array([grid.bits_per_weight(histogram, step) for step in steps]) * len(weights)
    return Curve(steps, bits, max(divergence, MIN_DIVERGENCE) * (steps / trial_step) ** 2, len(weights))


def steps_at_slope(curves: Mapping[str, Curve], slope: float) -> dict[str, float]:
    """The step of each tensor at which a bit more or less changes the answers by `slope`, the same for all."""
    return {name: float(curve.steps[curve.at(slope)]) for name, curve in curves.items()}


def steps_for_bits(curves: Mapping[str, Curve], bits: float) -> dict[str, float]:
    """The steps of equal slope at which all tensors together take about `bits`, or the nearest number there is.

    By bisection of the slope's logarithm.
    """
    low, high = -100.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _total_bits(curves, math.exp(middle)) > bits else (low, middle)
    slope = math.exp(high)
    # The curves' steps are a few percent apart: the bits that this leaves over make all of them a little finer. Half
    # the step costs a bit for each weight that is not zero; at most the way to the next step.
    spare = (bits - _total_bits(curves, slope)) / max(1, sum(curve.elements for curve in curves.values()))
    finer = 2 ** -min(1 / STEPS_PER_OCTAVE, max(0.0, spare))
    return {name: step * finer for name, step in steps_at_slope(curves, slope).items()}


def _total_bits(curves: Mapping[str, Curve], slope: float) -> float:
    return sum(float(curve.bits[curve.at(slope)]) for curve in curves.values())
