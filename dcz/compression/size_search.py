"""The quality whose file comes nearest to a size: trials between two qualities, in steps that sizes suggest.

    seek(measure, 1_500_000)    ->   SizeTrial(quality=31.27, nbytes=1496112)

6 dB take about one bit a weight: that gives the first trials, until one fits and one does not, and regula falsi on the
logarithm of the size takes four or five more.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..errors import InvalidArgument
from ..plan import BEST_QUALITY, WORST_QUALITY, Plan, overlay

TOLERANCE = 0.01  # of the budget, which may be left unused
MAX_TRIALS = 20
MIN_DIFFERENCE = 1e-3  # decibels: nearer qualities are taken for the same
REMEDY = "prune it too (--sparsity), retrain it (dcz retrain), or allow more"
DECIBELS_PER_E = 16.0  # for e times the bytes, at 3 bits a weight: only a first step


@dataclass(frozen=True)
class SizeTrial:
    """A quality (decibels) and the bytes of its file."""

    quality: float
    nbytes: int


def seek(
    measure: Callable[[float], SizeTrial],
    max_bytes: float,
    first: float = (WORST_QUALITY + BEST_QUALITY) / 2,
    remedy: str = REMEDY,
) -> SizeTrial:
    """The trial of the most bytes within `max_bytes`, of qualities between WORST_QUALITY and BEST_QUALITY.

    `first` is a guess. Raises InvalidArgument, with the smallest size and the `remedy`, where none fits.
    """
    low, high = _bracket(measure, max_bytes, min(BEST_QUALITY, max(WORST_QUALITY, first)), remedy)
    if high is None:
        return low
    goal = math.log(max_bytes * (1 - TOLERANCE / 3))
    side = 0
    weight_low = weight_high = 1.0
    for _ in range(MAX_TRIALS):
        if low.nbytes >= (1 - TOLERANCE) * max_bytes or high.quality - low.quality < MIN_DIFFERENCE:
            break
        # Regula falsi in the Illinois variant (Dowell and Jarratt, 1971): the end that stays is given half the weight.
        below, above = weight_low * (goal - math.log(low.nbytes)), weight_high * (math.log(high.nbytes) - goal)
        fraction = below / (below + above) if below + above > 0 else 0.5
        fraction = min(0.95, max(0.05, fraction))
        middle = measure(round(low.quality + fraction * (high.quality - low.quality), 5))
        if middle.nbytes <= max_bytes:
            low, weight_low, weight_high = middle, 1.0, weight_high / 2 if side < 0 else 1.0
            side = -1
        else:
            high, weight_high, weight_low = middle, 1.0, weight_low / 2 if side > 0 else 1.0
            side = 1
    return low


def _bracket(
    measure: Callable[[float], SizeTrial], max_bytes: float, quality: float, remedy: str
) -> tuple[SizeTrial, SizeTrial | None]:
    """Two trials, one that fits and one that does not; where BEST_QUALITY fits, that one and None."""
    last, step = measure(quality), 0.0
    while True:
        fits = last.nbytes <= max_bytes
        close = fits and last.nbytes >= (1 - TOLERANCE) * max_bytes
        if close or (fits and last.quality == BEST_QUALITY):
            return last, None
        if not fits and last.quality == WORST_QUALITY:
            raise InvalidArgument(
                f"no quality makes the file as small as {max_bytes:,.0f} bytes: at {WORST_QUALITY:g} dB it has "
                f"{last.nbytes:,}; {remedy}"
            )
        # 6 dB a bit: what is missing, a little more so that the goal comes between, and more each time.
        step = max(2 * step, 1.5 + 1.2 * abs(DECIBELS_PER_E * math.log(max(1, max_bytes) / last.nbytes)))
        next_quality = last.quality + step if fits else last.quality - step
        before, last = last, measure(min(BEST_QUALITY, max(WORST_QUALITY, next_quality)))
        if fits != (last.nbytes <= max_bytes):
            return (before, last) if fits else (last, before)


def at_quality(plan: Plan, quality: float) -> Plan:
    """`plan` with this default quality."""
    return replace(plan, default=overlay(plan.default, {"quality": quality}))
