"""Search for the number of bits a weight by the bytes of the file.

search_by_size(trials, 500_000)         the largest file of at most 500,000 bytes that the trials find
"""

import math

import numpy as np

from ..compression.exact_tensors import fitting
from ..compression.measured_file import MeasuredFile
from ..compression.size_search import TOLERANCE
from ..errors import InvalidArgument
from .result_file import measure_file
from .steering import SizeSteering
from .trials import MIN_BITS, CalibratedTrial, CalibratedValues, Trials

MAX_QUICK_TRIALS = 4  # before the first walk through the network
NEAR = 0.04  # of a size (its logarithm): from there, steps that are corrected on the way meet it
MAX_WALKS = 4  # to meet a size
MAX_FILL_ROUNDS = 4  # in which exact tensors are added


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
            f"calibrated as coarsely as {candidate.trial.bits:.2g} bits a weight, the file still takes "
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
