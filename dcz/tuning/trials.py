"""Calibrated values at some number of bits a weight, and what their file takes and costs.

split = split_samples(session, HELD_OUT_SHARE)          three quarters calibrate, one is held out
trials = Trials(session, split, criterion, survey)
trials.run(4.0).trial                                   CalibratedTrial(4.0, 671_331, agreement=0.98, drop=0.02)
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .. import calibrate
from ..calibrate import allocate
from ..compression.measured_file import MeasuredFile
from ..errors import InvalidArgument
from ..evaluation import runtime
from ..evaluation.batches import SampleBatches
from ..evaluation.given import Labels, with_labels
from ..text import counted
from .criteria import AccuracyCriterion, AgreementCriterion, Criterion
from .result_file import CALIBRATED, drop_metadata, measure_file
from .session import MAX_BATCH, TuningSession

HELD_OUT_SHARE = 0.25  # of the samples, where a drop is judged or training is
JUDGING_SHARE = 0.125  # of the samples, where they only tell what a file of some size is worth
MIN_SAMPLES = 8  # to calibrate with
CAUTION = 0.4  # of the way from an expected drop to the end of its interval
MAX_BITS = 7.5  # a weight: beyond, 256 values are no nearer
MAX_FINE_BITS = 12.0  # the same where codebooks may be fine: beyond, errors do not show


@dataclass(frozen=True)
class CalibratedTrial:
    """One setting that was tried: `bits` a weight, as estimated, and `nbytes` of the file.

    Where a drop was asked for, shares of the held-out samples: without labels `agreement`, how many keep their answer,
    by `measure` (see criteria.AgreementCriterion); with labels `accuracy`, how many have the right one; `drop`, how
    much less that is than of the original. Of top classes, `expected_drop`: the share that is expected to change on
    other samples, by the margins of all (evaluation.margins), and the interval that covers it.
    """

    bits: float
    nbytes: int
    agreement: float | None = None
    accuracy: float | None = None
    drop: float | None = None
    measure: str | None = None
    expected_drop: float | None = None
    drop_low: float | None = None
    drop_high: float | None = None

    @property
    def judged_drop(self) -> float | None:
        """The drop that the search goes by: where it is known the expected one, and some more for its doubt, as the
        search takes the trial that looks best."""
        if self.expected_drop is None or self.drop_high is None:
            return self.drop
        return self.expected_drop + CAUTION * (self.drop_high - self.expected_drop)

    def shows(self, max_drop: float) -> bool:
        """Whether the drop is at most `max_drop`, and so is the end of its interval, where there is one."""
        reached = self.drop if self.drop_high is None else self.drop_high
        return reached is not None and reached <= max_drop


@dataclass(frozen=True, eq=False)
class CalibratedValues:
    """New values by tensor, none where all stay exact, and their trial; `settings` is what the file's metadata says.

    `file`: the bytes of its file, where they were measured; `told`: what more its metadata says.
    """

    trial: CalibratedTrial
    values: Mapping[str, np.ndarray]
    settings: str = CALIBRATED
    file: MeasuredFile | None = None
    told: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class SampleSplit:
    """The samples that calibrate, and those that are held out."""

    calibration: SampleBatches
    held_out: SampleBatches


def split_samples(session: TuningSession, share: float) -> SampleSplit:
    """Hold that share of the samples out, from all over them."""
    indices, every = np.arange(session.sample_count), round(1 / share)
    is_held_out = indices % every == every - 1
    calibration, held_out = indices[~is_held_out], indices[is_held_out]
    return SampleSplit(
        SampleBatches(session.predictor, calibration, MAX_BATCH), SampleBatches(session.predictor, held_out, MAX_BATCH)
    )


def check_sample_count(session: TuningSession) -> None:
    """Raise InvalidArgument where there are too few samples to calibrate with."""
    if session.sample_count < MIN_SAMPLES:
        raise InvalidArgument(
            f"{session.predictor.samples.path}: {counted(session.sample_count, 'sample')}; calibration wants "
            f"{MIN_SAMPLES} at least, better hundreds"
        )


def make_criterion(session: TuningSession, split: SampleSplit, labels: Labels | None) -> Criterion:
    """What a drop is measured by: agreement without labels, else accuracy. For `labels` see dcz.tune."""
    held_out = split.held_out
    if labels is None:
        return AgreementCriterion(session.predictor, held_out, split.calibration, session.padding)
    if isinstance(labels, (str, os.PathLike)):
        return AccuracyCriterion(session.predictor, held_out, labels, session.samples)
    samples, name = with_labels(session.samples, labels)
    return AccuracyCriterion(session.predictor, held_out, name or "", samples)


def judged(trial: CalibratedTrial, criterion: Criterion, changed: runtime.Session) -> CalibratedTrial:
    """The trial with what the criterion finds of the changed model."""
    scores: dict[str, Any] = criterion(changed)
    measure = criterion.measure if isinstance(criterion, AgreementCriterion) else None
    return replace(trial, measure=measure, **scores)


@dataclass(frozen=True, eq=False)
class Trials:
    """What all trials of a run share.

    `criterion` is None where no drop is asked for. `progress` gets a tensor's name, how many are done, and how many
    there are, anew in each walk through the network; `on_trial` gets each trial.
    """

    session: TuningSession
    split: SampleSplit
    criterion: Criterion | None
    survey: calibrate.Survey
    progress: Callable[[str, int, int], None] = lambda name, done, total: None
    on_trial: Callable[[CalibratedTrial], None] = lambda trial: None

    @property
    def curves(self) -> Mapping[str, allocate.Curve]:
        """What a bit buys in each tensor."""
        return self.survey.curves

    @property
    def max_bits(self) -> float:
        """The most bits a weight that are worth a trial."""
        return MAX_FINE_BITS if self.session.fine else MAX_BITS

    def steps(self, bits: float, exact: frozenset[str] = frozenset()) -> dict[str, float]:
        """The steps of equal slope at so many bits a weight, without the tensors named in `exact`."""
        steps = allocate.steps_for_bits(self.curves, bits * self.session.weight_count)
        return {name: step for name, step in steps.items() if name not in exact}

    def bits(self, steps: Mapping[str, float]) -> float:
        """The bits a weight at these steps, as estimated."""
        return sum(self.curves[name].bits_at(step) for name, step in steps.items()) / self.session.weight_count

    def quick(self, steps: Mapping[str, float]) -> dict[str, np.ndarray]:
        """Values rounded by what the survey kept, without running the network: for about the bytes that they take.

        Raises InvalidArgument for samples that lead to NaN or infinities.
        """
        with self.session.numerics_guard():
            return self._finite(self.survey.round(steps))

    def run(
        self, bits: float, exact: frozenset[str] = frozenset(), steering: calibrate.Steering | None = None
    ) -> CalibratedValues:
        """Calibrate at this many bits a weight, without the tensors named in `exact`, and measure what comes of it;
        `steering` may change the steps.

        Raises InvalidArgument for samples that lead to NaN or infinities.
        """
        session, steps, batches = self.session, self.steps(bits, exact), self.split.calibration
        options = calibrate.Options(threads=session.threads)
        with session.numerics_guard():
            values = calibrate.quantize_layers(
                session.calibration_model, batches, steps, options, self.progress, session.fine, steering,
                session.padding,
            )  # fmt: skip
        bits = bits if steering is None else self.bits(steering.steps(steps))
        candidate = self.candidate(bits, self._finite(values), CALIBRATED)
        self.on_trial(candidate.trial)
        return candidate

    def _finite(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if not all(np.isfinite(array).all() for array in values.values()):
            raise self.session.numerics_error()
        return values

    def candidate(self, bits: float, values: Mapping[str, np.ndarray], settings: str) -> CalibratedValues:
        """These values with the figures of their trial."""
        scores = {} if self.criterion is None else self.criterion(self.session.run_with(values))
        told = drop_metadata(scores, 0 if self.criterion is None else len(self.split.held_out.indices))
        file = measure_file(self.session, values, settings, told)
        measure = self.criterion.measure if isinstance(self.criterion, AgreementCriterion) else None
        trial = CalibratedTrial(bits, file.nbytes, measure=measure, **scores)
        return CalibratedValues(trial, values, settings, file, told)
