"""Training of calibrated values, taken only where held-out samples show a gain.

    values, outcome = distill(session, calibrated, training, held_out, fits)
    ->  {name: new values} or None, Distilled(before=0.0515, after=0.0480, ...)

Whatever training does, nothing worse comes out: the trained values are taken only if on the held-out samples, by
onnxruntime, the answers are clearly nearer to those of the original network, no fewer of them are the same, and the
limit on bytes, or on the drop, is kept.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .. import train
from ..calibrate import Divergence
from ..encoded import MAX_ENTRIES
from ..errors import UnsuitableModel
from ..evaluation import runtime
from ..evaluation.batches import SampleBatches
from ..evaluation.differences import DifferenceSums
from ..evaluation.output_difference import judged
from .session import TuningSession

HELD_OUT_PARTS = 8  # of the held-out samples: a gain must exceed the spread of their differences
MIN_STANDARD_ERRORS = 2.0  # of the mean gain over the parts: what it must be more than
MIN_RELATIVE_GAIN = 0.01  # of the divergence: a smaller gain is not worth other values
PATIENCE = 2  # epochs in a row without a gain
BATCH = 8  # samples, where the network leaves that open
DEFAULT_SCHEDULE = train.Schedule()


@dataclass(frozen=True)
class Distilled:
    """What came of training: the divergence from the original's answers on `held_out` samples (nats, for classes), and
    the share of their answers that are the same, before and after; `refused` says why the values were not taken, or
    "" where they were."""

    before: float
    after: float
    same_before: float
    same_after: float
    held_out: int
    refused: str = ""


def check_trainable(session: TuningSession) -> None:
    """Raise, before calibration takes its time, MissingBackend without PyTorch, and UnsuitableModel or InvalidArgument
    where the network cannot be trained."""
    with train.torch_threads(session.threads):
        _trainee(session, {}).check(session.batches(1)[0])


def distill(
    session: TuningSession,
    calibrated: Mapping[str, np.ndarray],
    training: SampleBatches,
    held_out: SampleBatches,
    fits: Callable[[Mapping[str, np.ndarray]], bool],
    schedule: train.Schedule = DEFAULT_SCHEDULE,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> tuple[dict[str, np.ndarray] | None, Distilled]:
    """Train the calibrated values on the samples of `training`: better values, or None, and what `held_out` shows.

    `fits`: whether a file with such values keeps within the limits. The same arguments give the same values on one
    machine. Raises as `check_trainable` does.
    """
    parts = _parts(session, held_out)
    before = best = _score(session, parts, calibrated)
    best_values, epochs_without_gain, refused = None, 0, "training brought no gain"

    def shuffled(epoch: int) -> SampleBatches:
        order = np.random.default_rng([seed, epoch]).permutation(training.indices)
        return SampleBatches(session.predictor, order, BATCH)

    try:
        with train.torch_threads(session.threads):
            for trained in _trainee(session, calibrated).epochs(shuffled, schedule, progress):
                values = {**calibrated, **trained}
                score = _score(session, parts, values) if fits(values) else None
                if score is None:
                    refused = "the trained values would miss the budget"
                if score is not None and score.mean < best.mean and score.agreement >= before.agreement:
                    best_values, best, epochs_without_gain = values, score, 0
                elif (epochs_without_gain := epochs_without_gain + 1) == PATIENCE:
                    break
    except UnsuitableModel as error:  # what `check_trainable` cannot foresee must not cost the calibrated values
        refused = f"training failed: {error}"
    refused = refused if best_values is None else _refusal(before, best)
    outcome = Distilled(before.mean, best.mean, before.agreement, best.agreement, len(held_out.indices), refused)
    return (None if refused else best_values), outcome


def _trainee(session: TuningSession, calibrated: Mapping[str, np.ndarray]) -> train.Trainee:
    """The network to train; without calibrated values, one that only shows whether it can be trained."""
    names = session.weight_names

    def is_frozen(name: str) -> bool:
        """Whether the plan names a tensor, or it is a weight that stays exact or on its grid, having no codebook."""
        is_exact = session.tensors[name].is_weight and name not in calibrated
        return session.plan.excludes(name) or session.plan.rule(name) is not None or is_exact or is_on_grid(name)

    def is_on_grid(name: str) -> bool:
        if name not in calibrated or name not in session.fine:
            return False
        return session.fine[name] is not None or len(np.unique(calibrated[name])) > MAX_ENTRIES

    if not calibrated:
        return train.Trainee(session.source, session.calibration_model, {}, (), lambda name: name not in names)
    return train.Trainee(session.source, session.calibration_model, calibrated, names, is_frozen)


@dataclass(frozen=True)
class _Score:
    """Divergences of the parts of the held-out samples (float64), and the share of answers that are the same."""

    parts: np.ndarray
    agreement: float

    @property
    def mean(self) -> float:
        return float(self.parts.mean())


def _parts(session: TuningSession, held_out: SampleBatches) -> list[SampleBatches]:
    indices = np.array_split(held_out.indices, min(HELD_OUT_PARTS, len(held_out.indices)))
    return [SampleBatches(session.predictor, part) for part in indices]


def _score(session: TuningSession, parts: Sequence[SampleBatches], values: Mapping[str, np.ndarray]) -> _Score:
    """How far the answers with these values are from the original network's."""
    original, changed = session.predictor.session, session.run_with(values)
    names = [output.name for output in original.get_outputs()]
    divergences: list[float] = []
    sums: list[DifferenceSums] = []
    for part in parts:
        divergence = Divergence()
        for batch in part:
            outputs = runtime.run(original, batch), runtime.run(changed, batch)
            sums = sums or [DifferenceSums(each) for each in session.predictor.measures(outputs[0], part.size_of(0))]
            for name, x, y in zip(names, *outputs, strict=True):
                divergence.add(name, x, y)
            for output, x, y in zip(sums, *outputs, strict=True):
                output.add(x, y)
        divergences.append(divergence.mean)
    scores = [each.score for each in judged([output.difference("") for output in sums]) if each.score is not None]
    return _Score(np.array(divergences), min(scores, default=1.0))


def _refusal(before: _Score, after: _Score) -> str:
    """Why the second is not clearly better than the first, or ""."""
    gains = before.parts - after.parts
    error = float(gains.std(ddof=1)) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf
    if float(gains.mean()) <= max(MIN_STANDARD_ERRORS * error, MIN_RELATIVE_GAIN * before.mean):
        return "the gain is not clear"
    return "fewer answers are the same" if after.agreement < before.agreement else ""
