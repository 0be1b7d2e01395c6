"""Search for the fewest bits a weight that hold a drop on samples that did not calibrate.

search_by_drop(trials, 0.01)     the smallest file with a drop of at most 0.01

Three quarters of the samples calibrate a trial, and the others judge it. Of some trials that which looks best is
taken, so it looks better than it is: cross-fitting calibrates it three times more, each time without another quarter,
and judges every sample by the calibration that left it out. Where the drop turns out larger than allowed, or much
smaller, the search goes on with what was learnt. The file is calibrated on all samples in the end, and is better than
what was judged, or as good: its drop was .83 of that of two LeNets, in the mean, and the same of a ResNet-32.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..errors import InvalidArgument
from ..evaluation.metrics import ENTRIES, ROWS, TOP_TOKEN
from ..text import counted
from .trials import MIN_BITS, CalibratedTrial, CalibratedValues, Trials

FIRST_BITS = 4.0  # a weight, in the first quick trial
MAX_QUICK_TRIALS = 12  # eleven down from FIRST_BITS to the fewest, or fewer and others between
QUICK_DROP = 1.3  # times the drop of a walk is that of a quick trial, about
NEAR_QUICK = 1.3  # factor between drops that are near enough to begin walks with
MAX_WALKS = 6  # through the network, besides those of cross-fitting
MAX_CROSS_FITS = 3
DECREASE, INCREASE = 2.0, 1.4  # of the bits from one trial to the next, until one drop is small enough and one is not
MIN_INCREASE = 1.1  # the least step of the bits then
NEAR_DROP = 0.8  # of the drop that is allowed: an expected drop of so much is near enough
MUCH_SMALLER = 0.95  # of a file's bytes: for less, three more calibrations are not worth their time
LEAST_DROP = 1e-4  # is told from none
MIN_BITS_RATIO = 1.06  # of bits that hold the drop to bits that do not: dozens of samples do not tell closer ones apart

OF_PLACES = {TOP_TOKEN.name, ENTRIES.name, ROWS.name}  # several answers a sample

Point = tuple[float, float]  # bits a weight, and the drop there


class NoneHolds(InvalidArgument):
    """No calibrated trial holds a drop; the message says what the least was."""


@dataclass
class _Walked:
    """What was walked so far. `cross_fitted`: what cross-fitting found, by bits. `scale`: the drop by the last
    cross-fitting over the one by the held-out quarter alone."""

    candidates: list[CalibratedValues] = field(default_factory=list)
    cross_fitted: dict[float, CalibratedTrial] = field(default_factory=dict)
    scale: float = 1.0

    def drop(self, trial: CalibratedTrial) -> float:
        """The drop of a trial as far as is known."""
        known = self.cross_fitted.get(trial.bits)
        return trial.known_drop * self.scale if known is None else known.known_drop

    def points(self) -> list[Point]:
        """Bits and drops of all trials."""
        return [(each.trial.bits, self.drop(each.trial)) for each in self.candidates]

    def smallest(self, max_drop: float) -> CalibratedValues | None:
        """The smallest file of those that hold the drop."""
        holding = [each for each in self.candidates if self.drop(each.trial) <= max_drop]
        return min(holding, key=lambda each: each.trial.nbytes, default=None)

    def smallest_cross_fitted(self, max_drop: float) -> CalibratedValues | None:
        """The smallest of those that hold it by cross-fitting."""
        fitted = [each for each in self.candidates if each.trial.bits in self.cross_fitted]
        return _Walked(fitted, self.cross_fitted).smallest(max_drop)


def search_by_drop(trials: Trials, max_drop: float) -> CalibratedValues:
    """The candidate of the fewest bits whose drop (CalibratedTrial.judged_drop) is at most `max_drop`.

    It is calibrated on all samples, and has the figures of cross-fitting; but where training wants samples that were
    held out (`trials.cross_fits` is false), three quarters have calibrated it.

    Errors halve with a bit, and so do expected drops: that gives the next bits, and between one that holds and one
    that does not the logarithm of the drop is taken for a line. Raises NoneHolds where no trial holds the drop.
    """
    walked, bits = _Walked(), _quick_bits(trials, max_drop)
    for _ in range(MAX_WALKS):
        walked.candidates.append(trials.run(bits))
        best = walked.smallest(max_drop)
        following = _following(walked.points(), bits, max_drop, trials.max_bits)
        if following is None and best is not None and _cross_fit(trials, walked, best):
            following = _following(walked.points(), best.trial.bits, max_drop, trials.max_bits)
        if following is None:
            break
        bits = following
    return _chosen(trials, walked, max_drop)


def _quick_bits(trials: Trials, max_drop: float) -> float:
    """Bits at which rounding by what the survey kept, without walking through the network, has about such a drop."""
    goal, bits, points = QUICK_DROP * max_drop, FIRST_BITS, list[Point]()
    for _ in range(MAX_QUICK_TRIALS):
        points.append((bits, trials.quick_drop(bits)))
        if goal / NEAR_QUICK <= points[-1][1] <= goal * NEAR_QUICK:
            break
        following = _following(points, bits, goal, trials.max_bits)
        if following is None:
            break
        bits = following
    distances = {at: math.log(max(drop, LEAST_DROP) / max(goal, LEAST_DROP)) for at, drop in points}
    return min(distances, key=lambda at: (abs(distances[at]), at if distances[at] <= 0 else -at))


def _cross_fit(trials: Trials, walked: _Walked, best: CalibratedValues) -> bool:
    """Judge a candidate anew, and all others by what that shows of the quarter that judged them; False where there is
    no more to be judged."""
    if not trials.cross_fits or best.trial.bits in walked.cross_fitted or len(walked.cross_fitted) == MAX_CROSS_FITS:
        return False
    found = trials.cross_fit(best)
    walked.cross_fitted[best.trial.bits] = found
    least = 0.25 / max(1, trials.session.sample_count)  # a drop of less is not told from none
    walked.scale = (found.known_drop + least) / (best.trial.known_drop + least)
    return True


def _chosen(trials: Trials, walked: _Walked, max_drop: float) -> CalibratedValues:
    """Of what was walked the smallest that holds the drop, by cross-fitting where that may be, calibrated on all
    samples; where it holds nowhere, more bits are tried."""
    while (likely := walked.smallest(max_drop)) is not None:  # walks may have ended below what was cross-fitted
        known = walked.smallest_cross_fitted(max_drop)
        is_worth = known is None or likely.trial.nbytes < MUCH_SMALLER * known.trial.nbytes
        if not is_worth or not _cross_fit(trials, walked, likely):
            break
    best = walked.smallest_cross_fitted(max_drop) if trials.cross_fits else walked.smallest(max_drop)
    bits = max(each.trial.bits for each in walked.candidates)
    while best is None and trials.cross_fits:
        if (likely := walked.smallest(max_drop)) is not None:
            walked.cross_fitted[likely.trial.bits] = trials.cross_fit(likely)
            best = walked.smallest_cross_fitted(max_drop)
        elif bits < trials.max_bits:
            bits = min(trials.max_bits, bits * INCREASE)
            walked.candidates.append(trials.run(bits))
        else:
            break
    if best is None:
        least = min((each.trial for each in walked.candidates), key=walked.drop)
        raise NoneHolds(_missed(trials, max_drop, walked.cross_fitted.get(least.bits, least)))
    trial = walked.cross_fitted.get(best.trial.bits, best.trial)
    return trials.refit(trial) if trials.cross_fits else best


def doubt(trials: Trials, trial: CalibratedTrial, max_drop: float, judging: int) -> str | None:
    """In words, that the `judging` samples that judged the kept trial are too few to tell such a drop; None where they
    are not, or where it does not hold the drop anyway."""
    if trial.known_drop > max_drop:
        return None
    if trial.expected_drop is None:
        counted_each = trials.criterion is None or trials.criterion.counts_answers
        if 0 < max_drop < 1 / judging and counted_each and trial.measure not in OF_PLACES:
            return f"{judging} held-out samples tell no drop below {1 / judging:.1%}, so there may be none"
    elif not trial.shows(max_drop) and trial.drop_high is not None and max_drop:
        count = _samples_that_show(trial, max_drop, trials.session.sample_count)
        return (
            f"a drop of {trial.expected_drop:z.2%} is expected, and on other samples it may be up to "
            f"{trial.drop_high:.2%}: {count:,} samples or so would show one of {_percent(max_drop)}"
        )
    return None


def _missed(trials: Trials, max_drop: float, least: CalibratedTrial) -> str:
    """That no trial holds a drop, in words, and what the least was."""
    reached = f"the least was {least.known_drop:.2%}, at {least.bits:.1f} bits"
    tried = f"even calibrated at {trials.max_bits:.1f} bits a weight"
    if least.expected_drop is None:
        return f"{tried} more than {'' if trials.criterion is None else trials.criterion.describe(max_drop)}; {reached}"
    samples = counted(trials.session.sample_count, "sample")
    return (
        f"{tried} the drop on other samples may be above {_percent(max_drop)}, as far as {samples} can tell; {reached}"
    )


def _percent(share: float) -> str:
    """With two decimals, or as many as a small one wants."""
    return f"{share:.2%}" if share == 0 or share >= 5e-5 else f"{100 * share:g}%"


def _following(points: Iterable[Point], bits: float, max_drop: float, max_bits: float) -> float | None:
    """The bits to try after `bits`, or None where these are near enough to the fewest that hold the drop."""
    drops = dict(points)
    holding = min((at for at, drop in drops.items() if drop <= max_drop), default=None)
    failing = max((at for at, drop in drops.items() if drop > max_drop), default=None)
    if holding == MIN_BITS or (holding is None and bits == max_bits):
        return None
    if holding is not None and failing is not None and holding / failing < MIN_BITS_RATIO:
        return None
    if NEAR_DROP * max_drop <= drops[bits] <= max_drop and max_drop:
        return None
    floor = max(max_drop, LEAST_DROP) / 16
    goal = math.log2(max(max_drop * (1 + NEAR_DROP) / 2, LEAST_DROP))
    if holding is not None and failing is not None:
        ends = [math.log2(max(drops[each], floor)) for each in (failing, holding)]
        share = (ends[0] - goal) / (ends[0] - ends[1]) if ends[0] > ends[1] else 0.5
        return failing + min(0.8, max(0.2, share)) * (holding - failing)
    missing = math.log2(max(drops[bits], floor)) - goal  # bits, where a bit halves the drop
    ratio = (bits + missing) / bits
    if holding is None:
        return min(max_bits, bits * min(INCREASE, max(MIN_INCREASE, ratio)))
    return max(MIN_BITS, bits / min(DECREASE, max(MIN_INCREASE, 1 / max(ratio, 0.1))))


def _samples_that_show(trial: CalibratedTrial, max_drop: float, count: int) -> int:
    """About how many samples the interval's end would be below `max_drop` with, as it goes with the root of their
    number; at least twice as many as there are."""
    assert trial.expected_drop is not None and trial.drop_high is not None, "there is an interval"
    room = max(max_drop - trial.expected_drop, 0.2 * max_drop)
    factor = min(1e4, max(2.0, ((trial.drop_high - trial.expected_drop) / room) ** 2))
    digits: int = 10 ** max(0, math.floor(math.log10(factor * count)) - 1)
    return math.ceil(factor * count / digits) * digits
