"""Calibrated values at some number of bits a weight, and what their file takes and costs.

split = split_samples(session, hold_out=True)           three quarters calibrate, one is held out
trials = Trials(session, split, criterion, curves)
trials.run(4.0).trial                                   CalibratedTrial(4.0, 671_331, agreement=0.98, drop=0.02)
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .. import calibrate
from ..calibrate import allocate
from ..errors import InvalidArgument
from ..evaluation.batches import SampleBatches, evenly_spaced
from ..evaluation.given import Labels, with_labels
from ..text import counted
from .criteria import AccuracyCriterion, AgreementCriterion, Criterion
from .result_file import CALIBRATED, measure_file
from .session import TuningSession

HELD_OUT_SHARE = 0.25  # of the samples, where a criterion wants some
MIN_SAMPLES = 8  # to calibrate with
MAX_BITS = 7.5  # a weight: beyond, 256 values are no nearer
MAX_FINE_BITS = 12.0  # the same where codebooks may be fine: beyond, errors do not show
MAX_CURVE_SAMPLES = 128  # by which tensors are compared


@dataclass(frozen=True)
class CalibratedTrial:
    """One setting that was tried: `bits` a weight, as estimated, and `nbytes` of the file.

    Where a drop was asked for, shares of the held-out samples: without labels `agreement`, how many keep their answer,
    by `measure` (see criteria.AgreementCriterion); with labels `accuracy`, how many have the right one; `drop`, how
    much less that is than of the original.
    """

    bits: float
    nbytes: int
    agreement: float | None = None
    accuracy: float | None = None
    drop: float | None = None
    measure: str | None = None


@dataclass(frozen=True, eq=False)
class CalibratedValues:
    """New values by tensor, none where all stay exact, and their trial; `settings` is what the file's metadata says."""

    trial: CalibratedTrial
    values: Mapping[str, np.ndarray]
    settings: str = CALIBRATED


@dataclass(frozen=True, eq=False)
class SampleSplit:
    """The samples that calibrate, and those that are held out."""

    calibration: SampleBatches
    held_out: SampleBatches


def split_samples(session: TuningSession, hold_out: bool) -> SampleSplit:
    """Hold every fourth sample out, or none."""
    indices, every = np.arange(session.sample_count), round(1 / HELD_OUT_SHARE)
    is_held_out = hold_out & (indices % every == every - 1)
    calibration, held_out = indices[~is_held_out], indices[is_held_out]
    return SampleSplit(SampleBatches(session.predictor, calibration), SampleBatches(session.predictor, held_out))


def check_sample_count(session: TuningSession) -> None:
    """Raise InvalidArgument where there are too few samples to calibrate with."""
    if session.sample_count < MIN_SAMPLES:
        raise InvalidArgument(
            f"{session.predictor.samples.path}: {counted(session.sample_count, 'sample')}; calibration wants "
            f"{MIN_SAMPLES} at least, better hundreds"
        )


def make_criterion(session: TuningSession, held_out: SampleBatches, labels: Labels | None) -> Criterion:
    """What a drop is measured by: agreement without labels, else accuracy. For `labels` see dcz.tune."""
    if labels is None:
        return AgreementCriterion(session.predictor, held_out)
    if isinstance(labels, (str, os.PathLike)):
        return AccuracyCriterion(session.predictor, held_out, labels, session.samples)
    samples, name = with_labels(session.samples, labels)
    return AccuracyCriterion(session.predictor, held_out, name or "", samples)


def measure_curves(session: TuningSession, split: SampleSplit) -> dict[str, allocate.Curve]:
    """What a bit buys in each tensor, on at most 128 of the samples that calibrate."""
    indices = evenly_spaced(split.calibration.indices, MAX_CURVE_SAMPLES)
    return session.curves(SampleBatches(session.predictor, indices), session.fine)


@dataclass(frozen=True, eq=False)
class Trials:
    """What all trials of a run share.

    `criterion` is None where no drop is asked for. `progress` gets a tensor's name, how many are done, and how many
    there are, anew in each trial; `on_trial` gets each trial.
    """

    session: TuningSession
    split: SampleSplit
    criterion: Criterion | None
    curves: Mapping[str, allocate.Curve]
    progress: Callable[[str, int, int], None] = lambda name, done, total: None
    on_trial: Callable[[CalibratedTrial], None] = lambda trial: None

    @property
    def max_bits(self) -> float:
        """The most bits a weight that are worth a trial."""
        return MAX_FINE_BITS if self.session.fine else MAX_BITS

    def run(self, bits: float, exact: frozenset[str] = frozenset()) -> CalibratedValues:
        """Calibrate at this many bits a weight, without the tensors named in `exact`, and measure what comes of it.

        Raises InvalidArgument for samples that lead to NaN or infinities.
        """
        session = self.session
        steps = allocate.steps_for_bits(self.curves, bits * session.weight_count)
        steps = {name: step for name, step in steps.items() if name not in exact}
        options = calibrate.Options(threads=session.threads)
        with session.numerics_guard():
            values = calibrate.quantize_layers(
                session.calibration_model, self.split.calibration, steps, options, self.progress, session.fine
            )
        if not all(np.isfinite(array).all() for array in values.values()):
            raise session.numerics_error()
        candidate = self.candidate(bits, values, CALIBRATED)
        self.on_trial(candidate.trial)
        return candidate

    def candidate(self, bits: float, values: Mapping[str, np.ndarray], settings: str) -> CalibratedValues:
        """These values with the figures of their trial."""
        scores = {} if self.criterion is None else self.criterion(self.session.run_with(values))
        nbytes = measure_file(self.session, values, settings).nbytes
        measure = self.criterion.measure if isinstance(self.criterion, AgreementCriterion) else None
        return CalibratedValues(CalibratedTrial(bits, nbytes, measure=measure, **scores), values, settings)
