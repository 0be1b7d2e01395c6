"""Calibrated values made better by training, where inputs that had no part in it bear that out.

    values, verdict = distill(sampled, new, training, held, fits)
    ->  {name: new values} or None, Distilled(before=0.0515, after=0.0480, ...)

Whatever training does, nothing worse comes out: the trained values are taken only if on the held-out samples, by
onnxruntime, the answers are clearly nearer to those of the original network, no fewer of them are the same, and the
budget, of bytes or of answers, is kept.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .. import train
from ..calibrate import Divergence
from ..errors import UnsuitableModel
from ..evaluation import runtime
from ..evaluation.batches import SampleBatches
from ..evaluation.metrics import class_rows
from .session import TuningSession

PARTS = 8  # of the held-out samples, by whose differences a gain is told from chance
ERRORS = 2.0  # standard errors: what a gain must be more than
LEAST = 0.01  # of the divergence: a smaller gain is not worth other values
PATIENCE = 2  # epochs in a row that bring nothing
BATCH = 8  # samples, where the network leaves that open


@dataclass(frozen=True)
class Distilled:
    """What came of it: the divergence from the original's answers on `held_out` samples (nats, for classes), and the
    share of their answers that are the same, before and after; and in words why the values were not taken, or ""."""

    before: float
    after: float
    same_before: float
    same_after: float
    held_out: int
    refused: str = ""


def check(sampled: TuningSession) -> None:
    """Raise, before calibration takes its time, MissingBackend without PyTorch, and UnsuitableModel or BadPlan where
    the network cannot be trained."""
    with train.torch_threads(sampled.threads):
        _trainee(sampled, {}).check(sampled.batches(1)[0])


def distill(
    sampled: TuningSession,
    new: Mapping[str, np.ndarray],
    training: SampleBatches,
    held: SampleBatches,
    fits: Callable[[Mapping[str, np.ndarray]], bool],
    schedule: train.Schedule = train.Schedule(),
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> tuple[dict[str, np.ndarray] | None, Distilled]:
    """Train the calibrated values `new` on the samples of `training`: better values, or None, and what `held` says.

    `fits` tells whether a file with such values keeps within the budget. The same arguments give the same values on one
    machine. Raises as `check` does.
    """
    judge = _Judge(sampled, held)
    before = best = judge(new)
    values, stale, refused = None, 0, "training brought no gain"

    def shuffled(epoch: int) -> SampleBatches:
        order = np.random.default_rng([seed, epoch]).permutation(training.indices)
        return SampleBatches(sampled.network, order, BATCH)

    try:
        with train.torch_threads(sampled.threads):
            for trained in _trainee(sampled, new).epochs(shuffled, schedule, progress):
                found = {**new, **trained}
                score = judge(found) if fits(found) else None
                refused = "the trained values would miss the budget" if score is None else refused
                if score is not None and score.mean < best.mean and score.same >= before.same:
                    values, best, stale = found, score, 0
                elif (stale := stale + 1) == PATIENCE:
                    break
    except UnsuitableModel as error:  # what `check` could not foresee shall not cost what calibration has found
        refused = f"training failed: {error}"
    refused = refused if values is None else _doubt(before, best)
    verdict = Distilled(before.mean, best.mean, before.same, best.same, len(held.indices), refused)
    return (None if refused else values), verdict


def _trainee(sampled: TuningSession, new: Mapping[str, np.ndarray]) -> train.Trainee:
    plan, tensors = sampled.plan, sampled.tensors

    def frozen(name: str) -> bool:
        """What the plan names, and weights that stay exact."""
        return plan.excludes(name) or plan.rule(name) is not None or (tensors[name].is_weight and name not in new)

    if not new:  # only to know whether it can be trained
        return train.Trainee(sampled.source, sampled.calibration_model, {}, (), lambda name: name not in sampled.names)
    return train.Trainee(sampled.source, sampled.calibration_model, new, sampled.names, frozen)


@dataclass(frozen=True)
class _Score:
    """Divergences of the parts (float64), and the share of answers that are the same."""

    parts: np.ndarray
    same: float

    @property
    def mean(self) -> float:
        return float(self.parts.mean())


class _Judge:
    """Tells how far the answers on held-out samples are from the original network's."""

    def __init__(self, sampled: TuningSession, held: SampleBatches):
        rows = np.array_split(held.indices, min(PARTS, len(held.indices)))
        self.sampled, self.parts = sampled, [SampleBatches(sampled.network, each) for each in rows]

    def __call__(self, new: Mapping[str, np.ndarray]) -> _Score:
        changed = self.sampled.run_with(new)
        found, same, answers = [], 0, 0
        for part in self.parts:
            divergence = Divergence()
            for batch in part:
                for x, y in zip(runtime.run(self.sampled.session, batch), runtime.run(changed, batch)):
                    divergence.add(x, y)
                    if isinstance(x, np.ndarray) and x.dtype.kind == "f" and class_rows(x).shape[1] > 1:
                        chosen = [class_rows(each).argmax(1) for each in (x, y)]
                        same += int((chosen[0] == chosen[1]).sum())
                        answers += len(chosen[0])
            found.append(divergence.mean)
        return _Score(np.array(found), same / answers if answers else 1.0)


def _doubt(before: _Score, after: _Score) -> str:
    """Why the second is not clearly better than the first, or ""."""
    gains = before.parts - after.parts
    chance = float(gains.std(ddof=1)) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf
    if float(gains.mean()) <= max(ERRORS * chance, LEAST * before.mean):
        return "the gain is not clear"
    return "fewer answers are the same" if after.same < before.same else ""
