"""Calibrated values at some number of bits a weight, and what their file takes and costs.

trials = Trials(session, split, criterion, survey)
trials.run(4.0).trial                                   CalibratedTrial(4.0, 671_331, agreement=0.98, drop=0.02)
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .. import calibrate
from ..calibrate import allocate
from ..codec.stages.scale import RowScales
from ..compression.measured_file import MeasuredFile
from ..evaluation import runtime
from ..evaluation.batches import SampleBatches
from .criteria import Criterion
from .result_file import CALIBRATED, drop_metadata, measure_file
from .session import TuningSession
from .split import HELD_OUT_SHARE, SampleSplit, other_turns

UPPER_QUARTILE = 0.4  # of the way from a normal distribution's mean to its quantile of 95 %, the end of an interval
MIN_BITS = 0.002  # a weight, as estimated: below, next to nothing is left
MAX_BITS = 7.5  # a weight: beyond, 256 values are no nearer
MAX_FINE_BITS = 12.0  # the same where codebooks may be fine: beyond, errors do not show


@dataclass(frozen=True)
class CalibratedTrial:
    """One setting that was tried: `bits` a weight, as estimated, and `nbytes` of the file.

    Where a drop was asked for, shares of the held-out samples: without labels `agreement`, how many keep their answer,
    by `measure` (see criteria.AgreementCriterion); with labels `accuracy`, how many have the right one; `drop`, how
    much less that is than of the original. Of top classes, `expected_drop`: the share that is expected to change on
    other samples, by the margins of all (evaluation.margins), and the interval that covers it. `cross_fitted`: judged
    by all samples, each by a calibration that left it out.
    """

    bits: float
    nbytes: int
    agreement: float | None = None
    accuracy: float | None = None
    original_accuracy: float | None = None
    drop: float | None = None
    measure: str | None = None
    expected_drop: float | None = None
    drop_low: float | None = None
    drop_high: float | None = None
    cross_fitted: bool = False

    @property
    def judged_drop(self) -> float | None:
        """The drop that the search goes by: where there is an interval, what three of four draws of samples would
        expect at most, as the search takes the trial that looks best."""
        if self.expected_drop is None or self.drop_high is None:
            return self.drop if self.expected_drop is None else self.expected_drop
        return self.expected_drop + UPPER_QUARTILE * (self.drop_high - self.expected_drop)

    @property
    def known_drop(self) -> float:
        """The same of a trial that was judged."""
        assert self.judged_drop is not None, "a criterion tells a drop"
        return self.judged_drop

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


def judged(trial: CalibratedTrial, criterion: Criterion, scores: Mapping[str, Any]) -> CalibratedTrial:
    """The trial with what the criterion has found."""
    return replace(trial, measure=criterion.measure, **scores)


@dataclass(frozen=True, eq=False)
class Trials:
    """What all trials of a run share.

    `criterion` is None where no drop is asked for. `cross_fits`: whether the samples that are held out may calibrate in
    other turns, and in the end. `progress` gets a tensor's name, how many are done, and how many
    there are, anew in each walk through the network; `on_trial` gets each trial.
    """

    session: TuningSession
    split: SampleSplit
    criterion: Criterion | None
    survey: calibrate.Survey
    progress: Callable[[str, int, int], None] = lambda name, done, total: None
    on_trial: Callable[[CalibratedTrial], None] = lambda trial: None
    cross_fits: bool = False

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

    def quick(self, steps: Mapping[str, float]) -> Mapping[str, np.ndarray]:
        """Values rounded by what the survey kept, without running the network: for about the bytes that they take.

        Raises InvalidArgument for samples that lead to NaN or infinities.
        """
        self.session.predictor.close()
        with self.session.numerics_guard():
            return self._finite(self.survey.round(steps))

    def quick_drop(self, bits: float) -> float:
        """The drop with values rounded so."""
        assert self.criterion is not None, "a drop is judged by a criterion"
        changed = self.session.run_with(self.quick(self.steps(bits)))
        return judged(CalibratedTrial(bits, 0), self.criterion, self.criterion(changed)).known_drop

    def run(
        self, bits: float, exact: frozenset[str] = frozenset(), steering: calibrate.Steering | None = None
    ) -> CalibratedValues:
        """Calibrate at this many bits a weight, without the tensors named in `exact`, and measure what comes of it;
        `steering` may change the steps.

        Raises InvalidArgument for samples that lead to NaN or infinities.
        """
        steps = self.steps(bits, exact)
        values = self._rounded(steps, self.split.calibration, steering)
        bits = bits if steering is None else self.bits(steering.steps(steps))
        candidate = self.candidate(bits, values, CALIBRATED)
        self.on_trial(candidate.trial)
        return candidate

    def cross_fit(self, candidate: CalibratedValues) -> CalibratedTrial:
        """The candidate's trial, judged by all samples: each by a calibration at its bits that has not seen it."""
        assert self.criterion is not None, "a drop is judged by a criterion"
        scores = self.criterion.over(self._turns(candidate))
        trial = replace(judged(candidate.trial, self.criterion, scores), cross_fitted=True)
        self.on_trial(trial)
        return trial

    def _turns(self, candidate: CalibratedValues) -> Iterator[tuple[SampleBatches, runtime.Session]]:
        yield self.split.held_out, self.session.run_with(candidate.values)
        steps = self.steps(candidate.trial.bits)
        for split in other_turns(self.session, HELD_OUT_SHARE):
            fine = self.session.fine_for(split.calibration)
            yield split.held_out, self.session.run_with(self._rounded(steps, split.calibration, fine=fine))

    def refit(self, trial: CalibratedTrial) -> CalibratedValues:
        """Calibrate at the bits of a trial by all samples, those that were held out too; its figures stay."""
        values = self._rounded(self.steps(trial.bits), self.session.batches(self.session.sample_count))
        told = drop_metadata(trial, self.session.sample_count)
        file = measure_file(self.session, values, CALIBRATED, told)
        return CalibratedValues(replace(trial, nbytes=file.nbytes), values, CALIBRATED, file, told)

    def _rounded(
        self,
        steps: Mapping[str, float],
        batches: SampleBatches,
        steering: calibrate.Steering | None = None,
        fine: Mapping[str, RowScales | None] | None = None,
    ) -> Mapping[str, np.ndarray]:
        session, options = self.session, calibrate.Options(threads=self.session.threads)
        session.predictor.close()
        with session.numerics_guard():
            values = calibrate.quantize_layers(
                session.calibration_model, batches, dict(steps), options, self.progress,
                session.fine if fine is None else fine, steering, session.padding,
            )  # fmt: skip
        return self._finite(values)

    def _finite(self, values: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        if not all(np.isfinite(array).all() for array in values.values()):
            raise self.session.numerics_error()
        return values

    def candidate(self, bits: float, values: Mapping[str, np.ndarray], settings: str) -> CalibratedValues:
        """These values with the figures of their trial."""
        trial = CalibratedTrial(bits, 0)
        if self.criterion is not None:
            trial = judged(trial, self.criterion, self.criterion(self.session.run_with(values)))
        told = drop_metadata(trial, len(self.split.held_out.indices))
        file = measure_file(self.session, values, settings, told)
        return CalibratedValues(replace(trial, nbytes=file.nbytes), values, settings, file, told)
