"""The smallest file at equal answers, by what unlabelled inputs tell; or the best answers for a budget of bytes.

    tune("net.onnx", "net.dcz", "inputs.npz", max_bytes=500_000)

One run over the samples measures what a bit buys in each tensor (calibrate.curves). Then, for some number of bits in
all, every tensor gets the step at which a bit buys the same everywhere (allocate.by_bits), and is rounded so that its
layer's outputs change least (calibrate.calibrated). The number of bits is what is sought: for a size by the bytes of
the file, for a drop by the answers on samples that were held out of the calibration: how many stay, or, with labels,
how many are right (judging).
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..compression.compress import as_plan
from ..compression.target_size import TOLERANCE, fitting
from ..errors import BadPlan
from ..files import check_output
from ..parallel import thread_count
from ..plan import PRUNING, SAFE_QUALITY, SHARING, Plan, Settings
from .criteria import Accuracy
from .trials import Trial, Trials

if TYPE_CHECKING:
    from .distill import Distilled

DROP = 0.01  # where no goal is named
MOST_BITS, LEAST_BITS = 7.5, 0.05  # a weight: beyond, 256 values are no nearer; below, nothing is left
FIRST = 4.0  # bits a weight, the first to be judged by its answers
FILLINGS = 4  # rounds in which exact tensors are added
TRIALS = 8
NARROW = 1.03  # between bits that hold and bits that do not: nearer ones are not told apart by some dozens of samples
FALL, RISE = 1.5, 1.4  # from one trial to the next, until one holds and one does not
SLACK = 0.002  # of the file, by which it may grow for better answers where no size was asked for
PASSES = 10  # trials for a drop: six down from FIRST to a third of a bit, the others between


@dataclass(frozen=True)
class Tuned:
    """A finished run: the trial that was kept (its bits are inf where all stayed exact), how many samples calibrated,
    how many were held out, and, with labels, the original's top-1 accuracy on these (a share); how many biases, and
    means of BatchNormalizations, were moved to take mean errors; and what came of distilling, if asked for."""

    path: str
    kept: Trial
    calibrated_on: int
    held_out: int
    accuracy: float | None = None
    biases: int = 0
    means: int = 0
    distilled: "Distilled | None" = None


def tune(
    model,
    output: str | os.PathLike,
    inputs: str | os.PathLike | Mapping[str, np.ndarray],
    *,
    max_bytes: int | None = None,
    ratio: float | None = None,
    max_drop: float | None = None,
    labels: str | os.PathLike | np.ndarray | None = None,
    distill: bool = False,
    plan: Plan | Settings | str | os.PathLike | None = None,
    threads: int | None = None,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    trial: Callable[[Trial], None] = lambda trial: None,
    warn: Callable[[str], None] = lambda message: None,
    force: bool = True,
    resume: bool | None = None,
) -> Tuned:
    """Compress `model` (a path or a ModelProto) into the file `output` as its own `inputs` advise.

    `inputs`: the path of an .npz with an array for each input (or an .npy), or the arrays; samples along the first
    axis, a few hundred being enough. One of `max_bytes`, `ratio` (how many times smaller) and `max_drop`: the share of
    samples whose top class may change, judged by a quarter of them, which are not calibrated on; by default 0.01. With
    `labels` it is top-1 accuracy that may fall by so much (0.01: by a percentage point); these are the name of an array
    of `inputs`, the path of an .npy or .npz file, or whole numbers [n], and the model never sees them. The
    plan's rules and exclusions hold bit for bit; what its default goes for is calibrated, and so are the biases of
    those layers. A default that says how finely to share is a BadPlan. `distill` then trains the values toward the
    original's answers, and takes what is clearly better (distill): it wants PyTorch, and holds a quarter of
    the samples out. `progress` is told a tensor's name, how many are done, and how many there are, anew in each trial;
    `trial` is told of each trial. For the rest see dcz.compress; what `resume` goes on with is the writing of the
    file in the end.
    Raises BadPlan where the budget cannot be met, saying what could; an older `output` stays as it was.
    """
    _check(max_bytes, ratio, max_drop, labels)
    named = [given for given in (model, inputs, labels) if isinstance(given, (str, os.PathLike))]
    check_output(output, force, inputs=[path for path in named if os.path.exists(path)])
    plan = _undecided(as_plan(plan))
    run = Trials(model, inputs, labels, plan, thread_count(threads), progress, trial)
    check_output(output, force, inputs=[tensor.external[0] for tensor in run.source.tensors if tensor.external])
    if distill:
        from .distill import check

        check(run)  # before all that takes long
    if ratio is not None:
        max_bytes = int(run.source.source_bytes / ratio)
    if max_bytes is None:
        _to_drop(run, DROP if max_drop is None else max_drop, warn)
    else:
        _to_size(run, max_bytes, held=distill)
    verdict = _distill(run, int((1 + SLACK) * run.best.nbytes) if max_bytes is None else max_bytes) if distill else None
    run.write(output, warn=warn, force=force, resume=resume)
    before = run.judge.before if isinstance(run.judge, Accuracy) else None
    counts = len(run.samples.indices), len(run.held.indices)
    return Tuned(os.fspath(output), run.best, *counts, before, *run.moved(), verdict)


def _check(max_bytes: int | None, ratio: float | None, max_drop: float | None, labels) -> None:
    """Raise BadPlan for goals that are none, or that go against each other."""
    goals = [goal for goal in (max_bytes, ratio, max_drop) if goal is not None]
    if len(goals) > 1:
        raise BadPlan("give one of a size, a ratio and a drop")
    if ratio is not None and not 0 < ratio < math.inf:
        raise BadPlan(f"a ratio is how many times smaller the file shall be, above 0, not {ratio!r}")
    if max_drop is not None and not 0 <= max_drop < 1:
        raise BadPlan(f"a drop is a share of samples from 0 to below 1, not {max_drop!r}")
    if labels is not None and len(goals) > 0 and max_drop is None:
        raise BadPlan("labels judge a drop, which a size or a ratio does not ask for: leave one of them out")


def _undecided(plan: Plan) -> Plan:
    """The plan, if its default leaves to calibration what calibration decides."""
    default = plan.default
    given = [name for name in (*PRUNING, *SHARING) if getattr(default, name) is not None and name != "quality"]
    given += [] if default.quality in (None, SAFE_QUALITY) else ["quality"]
    given += ["lossless"] if default.lossless else [] if default.share else ["share = false"]
    given += [] if default.codebook == "auto" else ["codebook"]
    if given:
        raise BadPlan(
            f"calibration decides how finely weights are shared, and which become zero: leave {given[0]} out, "
            "or give it in a rule for some tensors"
        )
    return plan


def _to_size(run: Trials, max_bytes: int, held: bool) -> None:
    """Keep the most bits whose file has `max_bytes` at most; where there is room for more, tensors stay exact."""
    run.divide(held)
    low = high = before = None  # the nearest trials that fit and do not, and the last one
    bits = _guess(run, max_bytes)
    if bits == MOST_BITS and (whole := run.file({}).nbytes) <= max_bytes:
        run.keep(Trial(math.inf, whole), {})
        return
    for _ in range(TRIALS):
        found = _try_size(run, bits, max_bytes)
        low, high = (found, high) if found.nbytes <= max_bytes else (low, found)
        if low is not None and low.nbytes >= (1 - TOLERANCE) * max_bytes:
            break
        if before is not None and found.nbytes == before.nbytes:  # more bits find no use
            break
        further = _nearer(found, before, low, high, (1 - TOLERANCE / 2) * max_bytes, run.weights)
        if further == bits:
            break
        bits, before = further, found
    if low is None and bits > LEAST_BITS:
        found = _try_size(run, LEAST_BITS, max_bytes)
    if run.best is None:
        raise BadPlan(
            f"calibrated as coarsely as {found.bits:.2f} bits a weight, the file still takes {found.nbytes:,} "
            f"bytes, more than {max_bytes:,}: allow more, or retrain it (dcz retrain)"
        )
    if high is None:
        _fill(run, max_bytes)


def _try_size(run: Trials, bits: float, max_bytes: int, exact: tuple[str, ...] = ()) -> Trial:
    """A trial, kept where it fits and leaves less of the budget than what was kept."""
    found, new = run.attempt(bits, exact=exact)
    if found.nbytes <= max_bytes and (run.best is None or found.nbytes > run.best.nbytes):
        run.keep(found, new)
    return found


def _guess(run: Trials, max_bytes: int) -> float:
    """Bits a weight, by what the file takes besides."""
    besides = run.file({name: np.zeros(run.tensors[name].shape, np.float32) for name in run.names}).nbytes
    return min(MOST_BITS, max(LEAST_BITS, 8 * (max_bytes - besides) / run.weights))


def _fill(run: Trials, max_bytes: int) -> None:
    """Beyond the most bits: leave as many tensors exact as the budget has room for, the largest first."""
    whole, exact = run.file({}), ()
    for _ in range(FILLINGS):
        if run.best.nbytes >= (1 - TOLERANCE) * max_bytes:
            return
        room = fitting(whole, run.file(run.values_of_best), max_bytes)
        more = tuple(name for name in room if name in run.names)
        exact = tuple({*exact, *more})
        if not more or len(exact) == len(run.names):
            return
        _try_size(run, run.best.bits, max_bytes, exact)


def _to_drop(run: Trials, drop: float, warn: Callable[[str], None]) -> None:
    """Keep the fewest bits at which the judge finds no more than `drop` lost on the held-out samples."""
    run.divide(held=True)
    count = len(run.held.indices)
    if 0 < drop < 1 / count:
        warn(f"{count} held-out samples tell no drop below {1 / count:.1%}, so there may be none")
    low = high = nearest = None  # the most bits that do not hold, the fewest that do
    bits = FIRST
    for _ in range(PASSES):
        found, new = run.attempt(bits, judged=True)
        if found.drop <= drop and (run.best is None or found.nbytes < run.best.nbytes):
            run.keep(found, new)
        low, high = (low, bits) if found.drop <= drop else (bits, high)
        nearest = min(nearest or found, found, key=lambda each: each.drop)
        if bits == (MOST_BITS if high is None else LEAST_BITS) or (low and high and high / low < NARROW):
            break
        if high is None:
            bits = min(MOST_BITS, bits * RISE)
        else:
            bits = max(LEAST_BITS, high / FALL) if low is None else math.sqrt(low * high)
    if run.best is None:
        raise BadPlan(
            f"even at {bits:.1f} bits a weight more than {run.judge.lost(drop)}; the least was "
            f"{nearest.drop:.2%}, at {nearest.bits:.1f} bits: allow more, or compress without calibration"
        )


def _distill(run: Trials, max_bytes: int) -> "Distilled | None":
    """Train the best trial's values, and keep what is better, in `max_bytes` at most; None where all are exact."""
    from .distill import distill

    kept, new = run.best, run.values_of_best
    if not new:
        return None
    judged = kept.drop is not None
    run.made_by = "distilled"  # as the file will say, whose bytes are counted here

    def fits(values: Mapping[str, np.ndarray]) -> bool:
        lost = judged and run.judge(run.run_with(values))["drop"] > kept.drop
        return not lost and run.file(values).nbytes <= max_bytes

    better, verdict = distill(run, new, run.samples, run.held, fits, progress=run.progress)
    if better is None:
        run.made_by = "calibrated"
    else:
        judgement = run.judge(run.run_with(better)) if judged else {}
        run.keep(Trial(kept.bits, run.file(better).nbytes, **judgement), better)
    return verdict


def _nearer(
    found: Trial, before: Trial | None, low: Trial | None, high: Trial | None, aim: float, weights: int
) -> float:
    """The bits to try next for a file of `aim` bytes, `found` being the last trial and `before` the one before it."""
    if low is not None and high is not None:  # within the middle nine tenths
        share = min(0.95, max(0.05, (aim - low.nbytes) / (high.nbytes - low.nbytes)))
        return low.bits + share * (high.bits - low.bits) if high.bits - low.bits > 1e-4 else found.bits
    # The file grows by about as many bits as it is given; less than half of what was tried is not believed.
    rise = 1.0 if before is None else 8 * (found.nbytes - before.nbytes) / weights / (found.bits - before.bits)
    further = found.bits + 8 * (aim - found.nbytes) / weights / min(2.0, max(0.5, rise))
    return min(MOST_BITS, max(found.bits / 2, LEAST_BITS, further))
