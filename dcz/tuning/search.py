"""Search for the number of bits a weight: by the bytes of the file, or by the drop on held-out samples.

search_by_size(trials, 500_000)         the largest file of at most 500,000 bytes that the trials find
search_by_drop(trials, 0.01, print)     the smallest file with a drop of at most 0.01
"""

import math
from collections.abc import Callable

import numpy as np

from ..compression.exact_tensors import fitting
from ..compression.measured_file import MeasuredFile
from ..compression.size_search import TOLERANCE
from ..errors import InvalidArgument
from ..text import counted
from .result_file import measure_file
from .steering import SizeSteering
from .trials import HELD_OUT_SHARE, CalibratedTrial, CalibratedValues, Trials

MIN_BITS = 0.05  # a weight: below, nothing is left
FIRST_BITS = 4.0  # a weight, in the first trial for a drop
MAX_QUICK_TRIALS = 4  # before the first walk through the network
NEAR = 0.04  # of a size (its logarithm): from there, steps that are corrected on the way meet it
MAX_WALKS = 4  # to meet a size
MAX_FILL_ROUNDS = 4  # in which exact tensors are added
MAX_DROP_TRIALS = 10  # six down from FIRST_BITS to a third of a bit, the others between
DECREASE, INCREASE = 1.5, 1.4  # of the bits from one trial to the next, until one drop is small enough and one is not
MIN_INCREASE = 1.1  # the least step of the bits then
NEAR_DROP = 0.75  # of the drop that is allowed: an expected drop of so much is near enough
LEAST_DROP = 1e-4  # is told from none
MIN_BITS_RATIO = 1.03  # of bits that hold the drop to bits that do not: dozens of samples do not tell closer ones apart


class NoneHolds(InvalidArgument):
    """No calibrated trial holds a drop; the message says what the least was."""


def search_by_size(trials: Trials, max_bytes: float) -> CalibratedValues:
    """The candidate of the most bits whose file has at most `max_bytes`; where there is room, tensors stay exact.

    Quick trials come near the size, and a walk through the network, with steps that follow the bytes of the records so
    far, meets it. Raises InvalidArgument where even the fewest bits take more.
    """
    bits = _first_bits(trials, max_bytes)
    if bits == trials.max_bits and (exact_bytes := measure_file(trials.session, {}).nbytes) <= max_bytes:
        return CalibratedValues(CalibratedTrial(math.inf, exact_bytes), {})
    bits, estimate = _near_size(trials, bits, max_bytes)
    if bits == trials.max_bits and estimate.nbytes < (1 - TOLERANCE) * max_bytes:
        candidate = trials.run(bits)
        if candidate.trial.nbytes <= max_bytes:
            return _fill_with_exact(trials, candidate, max_bytes)
        estimate = candidate.file or estimate
    best, steps = None, trials.steps(bits)
    for _ in range(MAX_WALKS if bits > MIN_BITS or estimate.nbytes <= max_bytes else 0):
        steering = SizeSteering(trials.session, trials.curves, steps, estimate, max_bytes)
        candidate = trials.run(bits, steering=steering)
        best = _larger_fitting(best, candidate, max_bytes)
        steps, estimate = steering.steps(steps), candidate.file or estimate
        if best is not None and (best.trial.nbytes >= (1 - TOLERANCE) * max_bytes or candidate is not best):
            break
    if best is None:
        candidate = trials.run(MIN_BITS)
        best = _larger_fitting(best, candidate, max_bytes)
    if best is None:
        raise InvalidArgument(
            f"calibrated as coarsely as {candidate.trial.bits:.2f} bits a weight, the file still takes "
            f"{candidate.trial.nbytes:,} bytes, more than {max_bytes:,.0f}: allow more, or retrain it (dcz retrain)"
        )
    return best


def _near_size(trials: Trials, bits: float, max_bytes: float) -> tuple[float, MeasuredFile]:
    """Bits at which a quick trial's file is within a few percent of `max_bytes`, and that file's bytes; the nearest of
    few trials."""
    fitting_trial = larger_trial = previous = None
    tried: list[tuple[float, float, MeasuredFile]] = []
    for _ in range(MAX_QUICK_TRIALS):
        file = measure_file(trials.session, trials.quick(trials.steps(bits)))
        trial = CalibratedTrial(bits, file.nbytes)
        tried.append((abs(math.log(file.nbytes / max(max_bytes, 1))), bits, file))
        if tried[-1][0] <= NEAR or (previous is not None and trial.nbytes == previous.nbytes):
            break
        if trial.nbytes <= max_bytes:
            fitting_trial = trial
        else:
            larger_trial = trial
        target = (1 - TOLERANCE / 2) * max_bytes
        next_bits = _next_bits(trial, previous, fitting_trial, larger_trial, target, trials)
        if next_bits == bits:
            break
        bits, previous = next_bits, trial
    _, bits, file = min(tried, key=lambda each: each[0])
    return bits, file


def _larger_fitting(
    best: CalibratedValues | None, candidate: CalibratedValues, max_bytes: float
) -> CalibratedValues | None:
    """The candidate, if its file fits and is larger than that of the best one; else the best one."""
    fits = candidate.trial.nbytes <= max_bytes
    return candidate if fits and (best is None or candidate.trial.nbytes > best.trial.nbytes) else best


def _first_bits(trials: Trials, max_bytes: float) -> float:
    """Bits a weight, from the bytes of the file with all weights zero."""
    session = trials.session
    zeros = {name: np.zeros(session.tensors[name].shape, np.float32) for name in session.weight_names}
    besides = measure_file(session, zeros).nbytes
    return min(trials.max_bits, max(MIN_BITS, 8 * (max_bytes - besides) / session.weight_count))


def _next_bits(
    trial: CalibratedTrial,
    previous: CalibratedTrial | None,
    fitting_trial: CalibratedTrial | None,
    larger_trial: CalibratedTrial | None,
    target: float,
    trials: Trials,
) -> float:
    """The bits to try for a file of `target` bytes; `trial` is the last one, `previous` the one before it."""
    if fitting_trial is not None and larger_trial is not None:  # within the middle nine tenths
        share = (target - fitting_trial.nbytes) / (larger_trial.nbytes - fitting_trial.nbytes)
        gap = larger_trial.bits - fitting_trial.bits
        return fitting_trial.bits + min(0.95, max(0.05, share)) * gap if gap > 1e-4 else trial.bits
    weight_count = trials.session.weight_count
    # The file grows by about as many bits as it is given. Slopes far from that are not trusted, nor are less than half
    # of the bits that were tried.
    slope = 1.0
    if previous is not None:
        slope = 8 * (trial.nbytes - previous.nbytes) / weight_count / (trial.bits - previous.bits)
    bits = trial.bits + 8 * (target - trial.nbytes) / weight_count / min(2.0, max(0.5, slope))
    return min(trials.max_bits, max(trial.bits / 2, MIN_BITS, bits))


def _fill_with_exact(trials: Trials, best: CalibratedValues, max_bytes: float) -> CalibratedValues:
    """Beyond the most bits: leave as many tensors exact as there is room for, the largest first."""
    session = trials.session
    exact_file, exact = measure_file(session, {}), frozenset[str]()
    for _ in range(MAX_FILL_ROUNDS):
        if best.trial.nbytes >= (1 - TOLERANCE) * max_bytes:
            return best
        room = fitting(exact_file, measure_file(session, best.values), max_bytes)
        more = {name for name in room if name in session.weight_names}
        exact |= more
        if not more or len(exact) == len(session.weight_names):
            return best
        best = _larger_fitting(best, trials.run(best.trial.bits, exact), max_bytes) or best
    return best


def search_by_drop(trials: Trials, max_drop: float, warn: Callable[[str], None]) -> CalibratedValues:
    """The candidate of the fewest bits whose drop (CalibratedTrial.judged_drop) is at most `max_drop`.

    Errors halve with a bit, and so do expected drops: that gives the next bits, and between one that holds and one
    that does not the logarithm of the drop is taken for a line. Raises NoneHolds where no trial holds the drop. `warn`
    gets a message where so few samples tell no such drop.
    """
    count = len(trials.split.held_out.indices)
    best: CalibratedValues | None = None
    holding: CalibratedTrial | None = None  # of the fewest bits
    failing: CalibratedTrial | None = None  # of the most
    least = CalibratedTrial(math.nan, 0, drop=math.inf)
    bits = FIRST_BITS
    for _ in range(MAX_DROP_TRIALS):
        candidate = trials.run(bits)
        trial, drop = candidate.trial, _judged(candidate.trial)
        if drop < _judged(least):
            least = trial
        if drop <= max_drop:
            holding = trial if holding is None or bits < holding.bits else holding
            best = candidate if best is None or trial.nbytes < best.trial.nbytes else best
        elif failing is None or bits > failing.bits:
            failing = trial
        if bits == (trials.max_bits if holding is None else MIN_BITS) or _are_near(failing, holding):
            break
        if drop <= max_drop and drop >= NEAR_DROP * max_drop and trial.expected_drop is not None:
            break
        bits = _bits_for_drop(trial, holding, failing, max_drop, trials.max_bits)
    if best is None:
        raise NoneHolds(_missed(trials, bits, max_drop, least))
    if best.trial.expected_drop is None:
        if 0 < max_drop < 1 / count and (trials.criterion is None or trials.criterion.counts_answers):
            warn(f"{count} held-out samples tell no drop below {1 / count:.1%}, so there may be none")
    elif not best.trial.shows(max_drop) and best.trial.drop_high is not None and max_drop:
        warn(
            f"a drop of {best.trial.expected_drop:z.2%} is expected, and on other samples it may be up to "
            f"{best.trial.drop_high:.2%}: {_samples_that_show(best.trial, max_drop, count):,} samples or so would show "
            f"one of {max_drop:.2%}"
        )
    return best


def _missed(trials: Trials, bits: float, max_drop: float, least: CalibratedTrial) -> str:
    """That no trial up to so many bits holds a drop, in words, and what the least was."""
    reached = f"the least was {_judged(least):.2%}, at {least.bits:.1f} bits"
    if least.expected_drop is None:
        lost = "" if trials.criterion is None else trials.criterion.describe(max_drop)
        return f"even calibrated at {bits:.1f} bits a weight more than {lost}; {reached}"
    return (
        f"even calibrated at {bits:.1f} bits a weight the drop on other samples may be above {max_drop:.2%}, as far as "
        f"{counted(len(trials.split.held_out.indices), 'held-out sample')} can tell; {reached}"
    )


def _judged(trial: CalibratedTrial) -> float:
    assert trial.judged_drop is not None, "a search by drop has a criterion"
    return trial.judged_drop


def _are_near(failing: CalibratedTrial | None, holding: CalibratedTrial | None) -> bool:
    return failing is not None and holding is not None and holding.bits / failing.bits < MIN_BITS_RATIO


def _bits_for_drop(
    trial: CalibratedTrial,
    holding: CalibratedTrial | None,
    failing: CalibratedTrial | None,
    max_drop: float,
    max_bits: float,
) -> float:
    """The bits to try after `trial`."""
    floor = max(max_drop, LEAST_DROP) / 16
    goal = math.log2(max(max_drop * (1 + NEAR_DROP) / 2, LEAST_DROP))
    if holding is not None and failing is not None and holding.bits > failing.bits:
        ends = [math.log2(max(_judged(each), floor)) for each in (failing, holding)]
        share = (ends[0] - goal) / (ends[0] - ends[1]) if ends[0] > ends[1] else 0.5
        return failing.bits + min(0.8, max(0.2, share)) * (holding.bits - failing.bits)
    missing = math.log2(max(_judged(trial), floor)) - goal  # bits, where a bit halves the drop
    ratio = (trial.bits + missing) / trial.bits
    if holding is None:
        return min(max_bits, trial.bits * min(INCREASE, max(MIN_INCREASE, ratio)))
    return max(MIN_BITS, trial.bits / min(DECREASE, max(MIN_INCREASE, 1 / max(ratio, 0.1))))


def _samples_that_show(trial: CalibratedTrial, max_drop: float, count: int) -> int:
    """About how many held-out and calibrating samples the interval's end would be below `max_drop` with, as it goes
    with the root of their number; at least twice as many as there are."""
    assert trial.expected_drop is not None and trial.drop_high is not None, "there is an interval"
    room = max(max_drop - trial.expected_drop, 0.2 * max_drop)
    factor = min(1e4, max(2.0, ((trial.drop_high - trial.expected_drop) / room) ** 2))
    wanted = factor * count / HELD_OUT_SHARE
    digits: int = 10 ** max(0, math.floor(math.log10(wanted)) - 1)
    return math.ceil(wanted / digits) * digits
