"""Calibrated values held against the file that no samples helped to make: the better one is kept.

    better = find_better(session, model, best, split, max_bytes, criterion)    ->   None, or DataFree(plan, trial)

Samples are few, and a layer's outputs are not the network's: calibration can do worse than the rule that knows no
samples. That file takes seconds.
"""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import model as onnx_model
from ..calibrate import Divergence
from ..compression.executors import open_pool
from ..compression.jobs import settings_of
from ..compression.measured_file import measured
from ..compression.size_search import DECIBELS_PER_E, SizeTrial, at_quality
from ..compression.target_size import plan_for_size
from ..errors import InvalidArgument
from ..evaluation import runtime
from ..evaluation.batches import SampleBatches, evenly_spaced
from ..plan import BEST_QUALITY, WORST_QUALITY, Plan
from ..text import counted
from .criteria import Criterion
from .session import MAX_BATCH, TuningSession
from .split import SampleSplit
from .trials import CalibratedTrial, CalibratedValues, judged

if TYPE_CHECKING:
    from onnx import ModelProto

NOT_TAKEN = MappingProxyType({"calibration": "not taken: the file without it is better"})  # in the file's metadata
MAX_JUDGING, ENOUGH_ANSWERS = 64, 1 << 16  # samples that judge; answers, of which fewer samples have enough
DECIBELS_DOWN = 1.5  # from one quality to the next, while a drop holds
MAX_DOWN = 6  # such steps
DECIBELS_PER_BIT, BITS_AT_0 = 6.0, 0.5  # of a weight, where all tensors have one quality: about
MIN_UP, MAX_LARGER = 0.5, 3  # decibels, and trials, to a file that is larger than allowed
QUALITIES = (34.0, 40.0, 46.0, 52.0, 60.0, BEST_QUALITY)  # decibels that are tried where no calibrated file will do


@dataclass(frozen=True)
class DataFree:
    """The plan of a file made without samples, its figures as those of a trial, and why it is the better one."""

    plan: Plan
    trial: CalibratedTrial
    reason: str


def find_better(
    session: TuningSession,
    model: "str | os.PathLike[str] | ModelProto",
    best: CalibratedValues,
    split: SampleSplit,
    max_bytes: float,
    criterion: Criterion | None = None,
    max_drop: float | None = None,
) -> DataFree | None:
    """The file of `model` without calibration, where it is better than that of `best`; None where it is not.

    For a size (no `max_drop`): the file of at most `max_bytes` whose answers to the samples that were held out are
    nearer to the original's (by their Divergence). For a drop: the smallest file that meets it on all samples, none of
    which helped to make it, by `criterion`, if it is smaller than the calibrated one. Where all stayed exact, nothing
    is better.
    """
    if not best.values:
        return None
    session.predictor.close()
    runtime.give_back_memory()
    source = onnx_model.SurveyedModel(model if session.source.outside else session.original)
    judging = evenly_spaced(split.held_out.indices, MAX_JUDGING)
    larger = _larger_plan(session, source, best, max_bytes)
    if larger is not None and criterion is not None and max_drop is not None:
        figures = judged(CalibratedTrial(0, 0), criterion, _scores(criterion, split, _quantized(session, larger)))
        if figures.known_drop > max_drop:
            return None
    elif larger is not None:
        calibrated, data_free = _distances(session, best, larger, judging)
        if calibrated < data_free:
            return None
    try:
        with open_pool(session.threads) as pool:
            plan, size = plan_for_size(source, max_bytes, session.plan, pool, metadata=NOT_TAKEN)
    except InvalidArgument:  # no quality makes so small a file
        return None
    found = DataFree(plan, _trial(session, size), "")
    if criterion is None or max_drop is None:
        return _nearer(session, best, found, judging, criterion)
    return _smaller(session, source, best, found, split, criterion, max_drop)


def _larger_plan(
    session: TuningSession,
    source: onnx_model.SurveyedModel,
    best: CalibratedValues,
    max_bytes: float,
) -> Plan | None:
    """The plan of a file without calibration that is a little larger than `max_bytes`, where few trials find one.

    Where that one is no better than the calibrated one, no smaller one is, and it takes many more trials to find.
    """
    quality = DECIBELS_PER_BIT * (best.trial.bits - BITS_AT_0)
    for _ in range(MAX_LARGER):
        if not WORST_QUALITY <= quality <= BEST_QUALITY:
            return None
        plan = at_quality(session.plan, quality)
        with open_pool(session.threads) as pool:
            nbytes = measured(source, plan, pool, metadata=NOT_TAKEN).nbytes
        if nbytes > max_bytes:
            return plan
        quality += MIN_UP + DECIBELS_PER_E * math.log(max_bytes / nbytes)
    return None


def find_holding(
    session: TuningSession,
    model: "str | os.PathLike[str] | ModelProto",
    criterion: Criterion,
    split: SampleSplit,
    max_drop: float,
    failure: str,
) -> DataFree:
    """The coarsest file of `model` without calibration, of QUALITIES, that holds a drop, where no calibrated one does
    (`failure` says so); where none holds it, the finest."""
    for quality in QUALITIES:
        plan = at_quality(session.plan, quality)
        scores = _scores(criterion, split, _quantized(session, plan))
        drop = judged(CalibratedTrial(0, 0), criterion, scores).known_drop
        if drop <= max_drop:
            break
    with open_pool(session.threads) as pool:
        nbytes = measured(model, plan, pool, metadata=NOT_TAKEN).nbytes
    trial = judged(_trial(session, SizeTrial(quality, nbytes)), criterion, scores)
    has = "has" if trial.expected_drop is None else "may have"
    holds = "holds it" if drop <= max_drop else f"{has} {drop:.2%}, the least that was reached"
    return DataFree(plan, trial, f"{failure}; without calibration, the file of {quality:g} dB {holds}, and was kept")


def _nearer(
    session: TuningSession,
    best: CalibratedValues,
    found: DataFree,
    indices: np.ndarray,
    criterion: Criterion | None,
) -> DataFree | None:
    calibrated, data_free = _distances(session, best, found.plan, indices)
    if data_free >= calibrated:
        return None
    trial = (
        found.trial if criterion is None else judged(found.trial, criterion, criterion(_quantized(session, found.plan)))
    )
    held_out = counted(len(indices), "held-out sample")
    return replace(
        found,
        trial=trial,
        reason=f"without calibration the answers to {held_out} are nearer to the original's "
        f"(divergence {data_free:.3g}, calibrated {calibrated:.3g}): that file was kept",
    )


def _smaller(
    session: TuningSession,
    source: onnx_model.SurveyedModel,
    best: CalibratedValues,
    found: DataFree,
    split: SampleSplit,
    criterion: Criterion,
    max_drop: float,
) -> DataFree | None:
    smallest: DataFree | None = None
    for _ in range(MAX_DOWN):
        figures = judged(found.trial, criterion, _scores(criterion, split, _quantized(session, found.plan)))
        if figures.known_drop > max_drop:
            break
        if figures.nbytes < best.trial.nbytes:
            smallest = replace(found, trial=figures)
        quality = found.plan.default.quality
        if quality is None or quality - DECIBELS_DOWN < WORST_QUALITY:
            break
        plan = at_quality(found.plan, quality - DECIBELS_DOWN)
        with open_pool(session.threads) as pool:
            nbytes = measured(source, plan, pool, metadata=NOT_TAKEN).nbytes
        found = DataFree(plan, _trial(session, SizeTrial(quality - DECIBELS_DOWN, nbytes)), "")
    if smallest is None:
        return None
    return replace(
        smallest,
        reason=f"without calibration {smallest.trial.nbytes:,} bytes meet the drop, calibrated {best.trial.nbytes:,}: "
        "the smaller file was kept",
    )


def _scores(criterion: Criterion, split: SampleSplit, changed: runtime.Session) -> dict[str, float]:
    """The scores of a file that no sample helped to make, on all of them."""
    return criterion.over([(split.held_out, changed), (split.calibration, changed)])


def _trial(session: TuningSession, size: SizeTrial) -> CalibratedTrial:
    return CalibratedTrial(8 * size.nbytes / session.weight_count, size.nbytes)


def _quantized(session: TuningSession, plan: Plan) -> runtime.Session:
    """An onnxruntime session of the model as it is after compression by a plan that folds as the session's does."""
    tensors, copy = session.source.tensors, onnx_model.WorkingCopy(session.source)
    for tensor, settings in zip(tensors, settings_of(tensors, plan), strict=True):
        if not settings.lossless:
            copy.put({tensor.name: session.compressed_values(tensor.name, settings)})
    return session.session_of(copy)


def _distances(session: TuningSession, best: CalibratedValues, plan: Plan, indices: np.ndarray) -> tuple[float, float]:
    """How far answers to these samples are from the original's: with the calibrated values, and without, by a plan."""
    batches = SampleBatches(session.predictor, indices, MAX_BATCH)
    calibrated, data_free = _divergences(
        session, [lambda: session.run_with(best.values), lambda: _quantized(session, plan)], batches
    )
    return calibrated, data_free


def _divergences(
    session: TuningSession, changed: Sequence[Callable[[], runtime.Session]], batches: SampleBatches
) -> list[float]:
    """The mean divergence of the answers of each changed model, one of which is open at a time; infinite where they are
    no numbers."""
    predictor, padding = session.predictor, session.padding
    names = [output.name for output in predictor.session.get_outputs()]
    answers, counted_answers = list[list[Any]](), Divergence()

    def add(total: Divergence, batch: runtime.Inputs, before: list[Any], after: list[Any]) -> None:
        for name, answer, other in zip(names, before, after, strict=True):
            if padding is not None:
                mask = padding.mask_of(batch)
                answer, other = (padding.without(mask, name, each) for each in (answer, other))
            total.add(name, answer, other)

    for batch in batches:
        answers.append(runtime.run(predictor.session, batch))
        add(counted_answers, batch, answers[-1], answers[-1])
        if counted_answers.positions >= ENOUGH_ANSWERS:
            break
    predictor.close()
    totals = []
    for open_changed in changed:
        total, opened = Divergence(), open_changed()
        for batch, before in zip(batches, answers, strict=False):
            add(total, batch, before, runtime.run(opened, batch))
        totals.append(total.mean if math.isfinite(total.mean) else math.inf)
        del opened  # before the next one
        runtime.give_back_memory()
    return totals
