"""How to spend error over the tensors of a model.

Without data, nothing tells which tensor's errors the answers feel. Equal absolute error everywhere takes the fewest
bits for an error of all weights together, and ruins layers whose weights are small; relative error in proportion to a
tensor's size would be right if every layer's relative error harmed alike, and spoils large layers. Between the two lies
what was best on average on four networks: see `by_size`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .histogram import Histogram
from .stages import share

# The step of a tensor's grid is in proportion to (root mean square of its weights)^MAGNITUDE * (their number)^COUNT.
# 0, 0 is equal absolute error; 1, 0.5 relative error by size. Of a dozen pairs, on SqueezeNet, magika and two PP-OCR
# networks at 2.5 to 4.6 bits a weight, this one moved the answers least on average; the best of each was near it.
MAGNITUDE, COUNT = 0.75, 0.4
# A tensor is coded at most so many decibels more finely or coarsely than the average: the reckoning is rough.
FINER, COARSER = 24.0, 9.0
PER_OCTAVE, FINEST, COARSEST = 16, 96, 80  # steps of a curve: how many an octave, and how far from the one tried


def by_size(sizes: Sequence[int], squares: Sequence[float], quality: float) -> list[float]:
    """Decibels of weight error for tensors of these `sizes` (elements) and mean `squares`, so that the mean of the
    relative squared error over all weights is `quality` decibels below 1.

    The relative squared error of a tensor is in proportion to size^(2 COUNT) * square^(MAGNITUDE - 1), within FINER and
    COARSER of what it is on average. A tensor of zeros has no error.
    """
    coarser = [
        10 * math.log10(size ** (2 * COUNT) * square ** (MAGNITUDE - 1)) if square > 0 else 0.0
        for size, square in zip(sizes, squares, strict=True)
    ]
    weights = sum(size for size, square in zip(sizes, squares) if square > 0)
    if not weights:
        return [quality for _ in sizes]

    def mean(terms) -> float:
        return math.fsum(size * term for size, term, square in zip(sizes, terms, squares) if square > 0) / weights

    middle = mean(coarser)
    coarser = [min(COARSER, max(-FINER, each - middle)) for each in coarser]
    shift = 10 * math.log10(mean([10 ** (each / 10) for each in coarser]))
    gains = (shift - each for each in coarser)
    return [min(quality + gain, max(quality, _worth_sharing(size))) for gain, size in zip(gains, sizes)]


def _worth_sharing(size: int) -> float:
    """The quality at which a tensor of `size` normally distributed weights has about one level for two weights.

    Any finer, and sharing saves nothing. They span about 5.8 deviations, a level takes sqrt(12) * 10^(-quality / 20).
    """
    return 20 * math.log10(size) - 9


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
    bits = np.array([share.grid_bits(histogram, step) for step in steps]) * len(weights)
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
