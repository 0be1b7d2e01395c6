"""The smallest file at equal answers, judged by unlabelled samples; or the best answers within a size.

    tune("net.onnx", "net.dcz", "samples.npz", max_bytes=500_000)

One run over the samples measures what a bit buys in each tensor (calibrate.survey). Then, for some number of
bits in all, every tensor gets the step at which a bit buys the same everywhere (allocate.steps_for_bits), and is
rounded so that its layer's outputs change least (calibrate.quantize_layers). The number of bits is searched for: by the
bytes of the file for a size; for a drop, by the answers on samples that were held out of the calibration: how many
stay, or, with labels, how many are right (criteria).
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from ..arguments import as_percent, check_flag, check_ratio, is_number, parse_limit, parse_share, size_at_ratio
from ..compression.compress import compress
from ..compression.options import AnyPlan, Notes, PlanOptions, as_plan
from ..display.progress import Progress, Report, shown
from ..errors import InvalidArgument
from ..evaluation import runtime
from ..evaluation.chosen_measures import AnyMeasure, chosen
from ..evaluation.given import BatchAxis, Data, Labels
from ..evaluation.runtime import Ops
from ..file_kinds import check_onnx
from ..files import check_output
from ..parallel import thread_count
from ..plan import DROPS, PRUNING, SAFE_QUALITY, SHARING, Plan
from ..reading.written import OfFile, WrittenFile, written
from .criteria import check_telling
from .data_free import NOT_TAKEN, find_better, find_holding
from .drop_search import NoneHolds, search_by_drop
from .result_file import DISTILLED, count_moved, measure_file, write_file
from .session import TuningSession
from .size_search import search_by_size
from .trials import (
    HELD_OUT_SHARE,
    JUDGING_SHARE,
    CalibratedTrial,
    CalibratedValues,
    Trials,
    check_sample_count,
    judged,
    make_criterion,
    split_samples,
)

if TYPE_CHECKING:
    from onnx import ModelProto

    from .distill import Distilled

DEFAULT_MAX_DROP = 0.01  # where no goal is named
DISTILLED_ROOM = 0.01  # of a size, left for what training adds
DISTILLED_GROWTH = 0.002  # of the file: how much larger better answers may make it where no size was asked for


@dataclass(frozen=True, repr=False)
class Tuned(OfFile):
    """A finished run.

    `kept`: the trial that was kept; its bits are inf where all stayed exact. `calibrated_on`, `held_out`: numbers of
    samples, all of them each where the drop was cross-fitted (see CalibratedTrial). `accuracy`: with labels, the
    original's top-1 accuracy on those held out, a share. `biases`, `means`: how
    many biases, and means of BatchNormalizations, were moved to take mean errors. `distilled`: what came of distilling,
    if asked for. `data_free`: why the file was made without calibration after all, which was the better; its bits are
    those of the whole file for each weight, and its metadata say so under "calibration". `file`: its sizes and tensors.
    """

    path: str
    kept: CalibratedTrial
    calibrated_on: int
    held_out: int
    accuracy: float | None = None
    biases: int = 0
    means: int = 0
    distilled: "Distilled | None" = None
    data_free: str | None = None
    file: WrittenFile | None = None


def tune(
    model: "str | os.PathLike[str] | ModelProto",
    output: str | os.PathLike[str],
    inputs: Data,
    *,
    batch_axis: BatchAxis | None = None,
    ops: Ops = (),
    max_bytes: float | str | None = None,
    ratio: float | None = None,
    max_drop: float | str | None = None,
    labels: Labels | None = None,
    measure: AnyMeasure | None = None,
    distill: bool = False,
    plan: AnyPlan = None,
    threads: int | None = None,
    progress: Progress = None,
    trial: Callable[[CalibratedTrial], None] | None = None,
    warn: Callable[[str], None] | None = None,
    force: bool = False,
    resume: bool | None = None,
    **options: Unpack[PlanOptions],
) -> Tuned:
    """Compress `model` (a path or a ModelProto) into the file `output` by what its own `inputs` show.

    `inputs`: the path of an .npz with an array for each input (or an .npy), or of a folder of these, the arrays, or
    batches, a few hundred samples being enough; for these, `batch_axis` and `ops` see dcz.evaluate. One of `max_bytes`,
    `ratio` (how many times smaller) and `max_drop`: the share of samples whose top class may change, by default 0.01;
    as text in percent, "1%". It is judged by cross-fitting: each sample by a calibration on three quarters of them that
    leaves it out; in the end all calibrate. A `preset` is such a drop: "safe" 0.005, "balanced" 0.01, "small" 0.05.
    With `labels` it is top-1 accuracy that may fall by so much (0.01: by a percentage point); these are the name of an
    array of `inputs`, the path of an .npy or .npz file, or whole numbers [n], and the model never sees them. `measure`
    judges agreement in place of what fits the output: see dcz.evaluate. The plan's rules and exclusions hold bit for
    bit; what its default applies to is calibrated, and so are the biases of those layers. A default that says how
    finely to share is refused. `distill` then trains the values toward the original's answers, and takes what is
    clearly better (distill): it wants PyTorch, and holds a quarter of the samples out to the
    end. For a size an eighth is held out, and tells the agreement. Where the file that no calibration made is better,
    that one is kept, and `warn` told: at the size, nearer to the original's answers to the held-out samples; or
    smaller, and meeting the drop; or meeting it, or nearest to it, where no trial does. `progress` gets a tensor's
    name, how many are done, and how many there are, anew in each walk through the network, and bytes when the file is
    written; `trial` gets each trial. For the rest see dcz.compress; what `resume` continues is the writing of the file
    at the end. Raises InvalidArgument where a size cannot be met, saying what could; an older `output` stays as it was.
    """
    max_bytes, max_drop = parse_limit(max_bytes), _drop(max_drop, options.pop("preset", None), max_bytes, ratio)
    check_flag(resume, "resume")
    _check(max_bytes, ratio, max_drop, labels, measure)
    check_onnx(model)
    check_output(output, force, inputs=_existing_files(model, inputs, labels))
    with runtime.custom_ops(ops), shown(progress, "calibrating") as report:
        settings = _check_default(as_plan(plan, options))
        session = TuningSession(model, inputs, settings, thread_count(threads), batch_axis)
        goal = _Goal(max_bytes, ratio, max_drop, labels, measure, distill)
        return _tuned(session, model, output, goal, report, trial or (lambda trial: None), Notes(warn), force, resume)


@dataclass(frozen=True, eq=False)
class _Goal:
    """What tune was asked for; see there."""

    max_bytes: float | None
    ratio: float | None
    max_drop: float | None
    labels: Labels | None
    measure: AnyMeasure | None
    distill: bool


def _tuned(
    session: TuningSession,
    model: "str | os.PathLike[str] | ModelProto",
    output: str | os.PathLike[str],
    goal: _Goal,
    progress: Report,
    trial: Callable[[CalibratedTrial], None],
    warn: Notes,
    force: bool,
    resume: bool | None,
) -> Tuned:
    """See tune."""
    max_bytes, max_drop, distill = goal.max_bytes, goal.max_drop, goal.distill
    check_sample_count(session)
    check_output(output, force, inputs=[tensor.external[0] for tensor in session.source.tensors if tensor.external])
    if distill:
        from .distill import check_trainable

        check_trainable(session)  # before the long work
    if goal.ratio is not None:
        max_bytes = size_at_ratio(session.source.source_bytes, goal.ratio)
    split = split_samples(session, HELD_OUT_SHARE if distill or max_bytes is None else JUDGING_SHARE)
    criterion = make_criterion(session, split, goal.labels, goal.measure) if max_bytes is None else None
    drop = None if criterion is None else DEFAULT_MAX_DROP if max_drop is None else max_drop
    if criterion is not None and drop is not None:
        check_telling(criterion, drop)
    distilled = better = None
    with session.survey(split.calibration, session.fine, progress) as survey:
        trials = Trials(session, split, criterion, survey, progress, trial, cross_fits=not distill)
        try:
            room = DISTILLED_ROOM if distill else 0.0
            if drop is not None:
                best = search_by_drop(trials, drop, warn)
            else:
                assert max_bytes is not None, "what is no drop is a size"
                best = search_by_size(trials, (1 - room) * max_bytes)
        except NoneHolds as error:
            assert criterion is not None and drop is not None, "a drop has a criterion"
            better = find_holding(session, model, criterion, split, drop, str(error))
            best = CalibratedValues(better.trial, {})
        if distill and better is None:
            limit = int((1 + DISTILLED_GROWTH) * best.trial.nbytes) if max_bytes is None else max_bytes
            best, distilled = _distill(trials, best, limit)
    size = best.trial.nbytes if max_bytes is None else max_bytes
    judge = criterion or make_criterion(session, split, measure=goal.measure, of_all=False)
    better = better or find_better(session, model, best, split, size, judge, drop)
    if better is None and criterion is None:
        best = replace(best, trial=judged(best.trial, judge, judge(session.run_with(best.values))))
    if better is None:
        write_file(
            session, best.values, best.settings, output, warn=warn, force=force, resume=resume, progress=progress,
            told=best.told,
        )  # fmt: skip
    else:
        warn(better.reason)
        best = CalibratedValues(better.trial, {})
        compress(
            model, output, better.plan, threads=session.threads, warn=warn, force=force, resume=resume,
            metadata=NOT_TAKEN, progress=progress,
        )  # fmt: skip
    counts = len(split.calibration.indices), len(split.held_out.indices)
    if trials.cross_fits and criterion is not None:
        counts = session.sample_count, session.sample_count
    moved = count_moved(session, best.values)
    reason = None if better is None else better.reason
    file = written(output, tuple(warn.told), _measured(best.trial))
    accuracy = best.trial.original_accuracy
    return Tuned(os.fspath(output), best.trial, *counts, accuracy, *moved, distilled, reason, file)


def _measured(trial: CalibratedTrial) -> dict[str, float | str]:
    """The figures of the trial that was kept, by name."""
    shares = {
        f"agreement ({trial.measure})": trial.agreement,
        "top-1 accuracy": trial.accuracy,
        "top-1 accuracy of the original": trial.original_accuracy,
        "drop": trial.drop,
        "drop expected": trial.expected_drop,
        "drop at most (95%)": trial.drop_high,
    }
    return {name: as_percent(share) for name, share in shares.items() if share is not None}


def _drop(
    max_drop: float | str | None, preset: str | None, max_bytes: float | None, ratio: float | None
) -> float | None:
    """The drop that is allowed, from a number, a text in percent, or a preset; raises InvalidArgument."""
    if isinstance(max_drop, str):
        max_drop = parse_share(max_drop, bare_is_percent=True)
    if preset is None:
        return max_drop
    if preset not in DROPS:
        raise InvalidArgument(f"of inputs the preset is one of {', '.join(DROPS)}, not {preset!r}")
    if (max_drop, max_bytes, ratio) != (None, None, None):
        raise InvalidArgument(f"the preset {preset!r} says what may be lost: leave it or the other goal out")
    return DROPS[preset]


def _existing_files(*arguments: Any) -> list[str | os.PathLike[str]]:
    """Those arguments that are the paths of files."""
    return [each for each in arguments if isinstance(each, (str, os.PathLike)) and os.path.exists(each)]


def _check(
    max_bytes: float | None,
    ratio: float | None,
    max_drop: float | None,
    labels: Labels | None,
    measure: AnyMeasure | None,
) -> None:
    """Raise InvalidArgument for goals that are out of range, or contradict each other."""
    if measure is not None:
        chosen(measure)
        if labels is not None:
            raise InvalidArgument("labels judge a drop by accuracy, and a measure by itself: leave one of them out")
    goals = [goal for goal in (max_bytes, ratio, max_drop) if goal is not None]
    if len(goals) > 1:
        raise InvalidArgument("give one of a size, a ratio and a drop")
    check_ratio(ratio)
    if max_drop is not None and not (is_number(max_drop, 0, 1) and max_drop != 1):
        raise InvalidArgument(f"a drop is a share of samples from 0 to below 1, not {max_drop!r}")
    if labels is not None and len(goals) > 0 and max_drop is None:
        raise InvalidArgument("labels judge a drop, which a size or a ratio does not ask for: leave one of them out")


def _check_default(plan: Plan) -> Plan:
    """The plan; raises InvalidArgument where its default says what calibration decides."""
    default = plan.default
    decided = [name for name in (*PRUNING, *SHARING) if getattr(default, name) is not None and name != "quality"]
    decided += [] if default.quality in (None, SAFE_QUALITY) else ["quality"]
    decided += ["lossless"] if default.lossless else [] if default.share else ["share = false"]
    decided += [] if default.codebook == "auto" else ["codebook"]
    if decided:
        raise InvalidArgument(
            f"calibration decides how finely weights are shared, and which become zero: leave {decided[0]} out, "
            "or give it in a rule for some tensors"
        )
    return plan


def _distill(
    trials: Trials, candidate: CalibratedValues, max_bytes: float
) -> "tuple[CalibratedValues, Distilled | None]":
    """Train the candidate's values: the better candidate, in `max_bytes` at most, and what came of training.

    None came of it where all tensors stay exact.
    """
    from .distill import distill

    if not candidate.values:
        return candidate, None
    session, split, criterion, max_drop = trials.session, trials.split, trials.criterion, candidate.trial.drop

    def fits(values: Mapping[str, np.ndarray]) -> bool:
        if criterion is not None and max_drop is not None and criterion(session.run_with(values))["drop"] > max_drop:
            return False
        return measure_file(session, values, DISTILLED).nbytes <= max_bytes

    values, outcome = distill(
        session, candidate.values, split.calibration, split.held_out, fits, progress=trials.progress
    )
    if values is None:
        return candidate, outcome
    return trials.candidate(candidate.trial.bits, values, DISTILLED), outcome
