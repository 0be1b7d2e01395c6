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

from ..arguments import as_percent, check_flag
from ..compression.compress import compress
from ..compression.options import AnyPlan, Notes, PlanOptions, as_plan
from ..display.progress import Progress, Report, shown
from ..evaluation import runtime
from ..evaluation.chosen_measures import AnyMeasure
from ..evaluation.given import BatchAxis, Data, Labels, existing_files
from ..evaluation.runtime import Ops
from ..file_kinds import check_onnx
from ..files import check_output
from ..parallel import thread_count
from ..reading.written import OfFile, WrittenFile, written
from .criteria import check_telling, make_criterion
from .data_free import NOT_TAKEN, DataFree, find_better, find_holding
from .drop_search import NoneHolds, doubt, search_by_drop
from .goal import Goal, check_default
from .result_file import DISTILLED, count_moved, measure_file, write_file
from .session import TuningSession
from .size_search import search_by_size
from .split import HELD_OUT_SHARE, JUDGING_SHARE, check_sample_count, split_samples
from .trials import CalibratedTrial, CalibratedValues, Trials, judged

if TYPE_CHECKING:
    from onnx import ModelProto

    from .distill import Distilled

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
    check_flag(resume, "resume")
    goal = Goal.of(max_bytes, ratio, max_drop, options.pop("preset", None), labels, measure, distill)
    check_onnx(model)
    check_output(output, force, inputs=existing_files(model, inputs, labels))
    with runtime.custom_ops(ops), shown(progress, "calibrating") as report:
        settings = check_default(as_plan(plan, options))
        session = TuningSession(model, inputs, settings, thread_count(threads), batch_axis)
        goal, notes = goal.for_model(session.source.source_bytes), Notes(warn)
        for note in session.notes:
            notes(note)
        return _tuned(session, model, output, goal, report, trial or (lambda trial: None), notes, force, resume)


def _tuned(
    session: TuningSession,
    model: "str | os.PathLike[str] | ModelProto",
    output: str | os.PathLike[str],
    goal: Goal,
    progress: Report,
    trial: Callable[[CalibratedTrial], None],
    warn: Notes,
    force: bool,
    resume: bool | None,
) -> Tuned:
    """See tune."""
    check_sample_count(session)
    check_output(output, force, inputs=session.source.outside)
    if goal.distill:
        from .distill import check_trainable

        check_trainable(session)  # before the long work
    share = HELD_OUT_SHARE if goal.distill or goal.max_bytes is None else JUDGING_SHARE
    split = split_samples(session, share)
    criterion = make_criterion(session, split, goal.labels, goal.measure) if goal.max_drop is not None else None
    if criterion is not None and goal.max_drop is not None:
        check_telling(criterion, goal.max_drop)
    session.count_lookups(split.calibration)
    with session.survey(split.calibration, session.fine, progress) as survey:
        trials = Trials(session, split, criterion, survey, progress, trial, cross_fits=not goal.distill)
        found = _compared(trials, model, goal, _searched(trials, model, goal))
    best, better = found.best, found.better
    if goal.max_drop is not None:
        judging = session.sample_count if trials.cross_fits or better is not None else len(split.held_out.indices)
        if (told := doubt(trials, best.trial, goal.max_drop, judging)) is not None:
            warn(told)
    write_options: dict[str, Any] = {"warn": warn, "force": force, "resume": resume, "progress": progress}
    if better is None:
        write_file(session, best.values, best.settings, output, told=best.told, **write_options)
    else:
        warn(better.reason)
        compress(model, output, better.plan, threads=session.threads, metadata=NOT_TAKEN, **write_options)
    cross_fitted = criterion is not None and trials.cross_fits
    judged_by = [split.calibration, split.held_out] if not cross_fitted else [session.batches(session.sample_count)] * 2
    counts = [len(batches.indices) for batches in judged_by]
    moved = count_moved(session, best.values)
    file = written(output, tuple(warn.told), _measured(best.trial))
    reason = None if better is None else better.reason
    accuracy = best.trial.original_accuracy
    return Tuned(os.fspath(output), best.trial, counts[0], counts[1], accuracy, *moved, found.distilled, reason, file)


@dataclass(frozen=True, eq=False)
class _Found:
    """The `best` values; a file that no sample helped to make where that one is `better`, whose trial the values then
    have; what came of distilling."""

    best: CalibratedValues
    better: DataFree | None = None
    distilled: "Distilled | None" = None


def _searched(trials: Trials, model: "str | os.PathLike[str] | ModelProto", goal: Goal) -> _Found:
    """The best calibrated values for the goal, trained where that was asked for."""
    try:
        if goal.max_drop is not None:
            best = search_by_drop(trials, goal.max_drop)
        else:
            assert goal.max_bytes is not None, "what is no drop is a size"
            best = search_by_size(trials, (1 - (DISTILLED_ROOM if goal.distill else 0.0)) * goal.max_bytes)
    except NoneHolds as error:
        assert trials.criterion is not None and goal.max_drop is not None, "a drop has a criterion"
        better = find_holding(trials.session, model, trials.criterion, trials.split, goal.max_drop, str(error))
        return _Found(CalibratedValues(better.trial, {}), better)
    if not goal.distill:
        return _Found(best)
    limit = int((1 + DISTILLED_GROWTH) * best.trial.nbytes) if goal.max_bytes is None else goal.max_bytes
    best, distilled = _distill(trials, best, limit)
    return _Found(best, distilled=distilled)


def _compared(trials: Trials, model: "str | os.PathLike[str] | ModelProto", goal: Goal, found: _Found) -> _Found:
    """The same, or the file that no sample helped to make where that one is better; with the figures of its trial."""
    if found.better is not None:
        return found
    session, split, best = trials.session, trials.split, found.best
    size = best.trial.nbytes if goal.max_bytes is None else goal.max_bytes
    judge = trials.criterion or make_criterion(session, split, measure=goal.measure, of_all=False)
    better = find_better(session, model, best, split, size, judge, goal.max_drop)
    if better is not None:
        return replace(found, best=CalibratedValues(better.trial, {}), better=better)
    if trials.criterion is None:
        best = replace(best, trial=judged(best.trial, judge, judge(session.run_with(best.values))))
    return replace(found, best=best)


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
    return {name: as_percent(round(share, 4)) for name, share in shares.items() if share is not None}


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
