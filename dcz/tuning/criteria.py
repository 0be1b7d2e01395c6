"""What a change of the weights costs on held-out samples: by answers that change, labels, or a chosen measure.

    criterion = make_criterion(session, split)
    criterion(changed)                                      ->  {"agreement": 0.98, "drop": 0.02, ...}
    criterion.over([(held_out, changed), (others, other)])  ->  the same over samples of several sessions

`changed` is an onnxruntime session of the same model with other weights. A drop is a share, 0 to 1: of changed answers,
or of right answers fewer than before.
"""

import os
from collections.abc import Iterable
from typing import Protocol

from ..errors import InvalidArgument
from ..evaluation import runtime
from ..evaluation.batches import SampleBatches
from ..evaluation.chosen_measures import AnyMeasure, OfAll, chosen
from ..evaluation.given import Labels, with_labels
from ..evaluation.predictor import Predictor
from .accuracy_criterion import AccuracyCriterion
from .agreement_criterion import AgreementCriterion
from .answer_pairs import Part
from .chosen_criterion import ChosenCriterion
from .session import TuningSession
from .split import SampleSplit


class Criterion(Protocol):
    """What is asked of a criterion; `measure`: the name of what agreement is measured by, None of accuracy."""

    measure: str | None
    predictor: Predictor
    held_out: SampleBatches

    @property
    def counts_answers(self) -> bool:
        """Whether a drop is a share of answers."""

    def __call__(self, changed: runtime.Session) -> dict[str, float]:
        """The scores of the held-out samples."""

    def over(self, parts: Iterable[Part]) -> dict[str, float]:
        """The scores of all samples of some parts."""

    def majority_drop(self) -> float | None:
        """The drop of a model that heeds no input, where it is known."""

    def describe(self, drop: float) -> str:
        """A drop in words, for messages."""


def make_criterion(
    session: TuningSession,
    split: SampleSplit,
    labels: Labels | None = None,
    measure: AnyMeasure | None = None,
    of_all: bool = True,
) -> Criterion:
    """What a drop is measured by: agreement without labels, else accuracy. For `labels` and `measure` see dcz.tune.

    `of_all`: the margins of the samples that calibrate count as well.
    """
    held_out = split.held_out
    own = None if measure is None else chosen(measure)
    if isinstance(own, OfAll):
        return ChosenCriterion(session.predictor, held_out, own)
    if labels is None:
        others = split.calibration if of_all else None
        return AgreementCriterion(session.predictor, held_out, others, session.padding, own)
    if isinstance(labels, (str, os.PathLike)):
        return AccuracyCriterion(session.predictor, held_out, labels, session.samples)
    samples, name = with_labels(session.samples, labels)
    return AccuracyCriterion(session.predictor, held_out, name or "", samples)


def check_telling(criterion: Criterion, max_drop: float) -> None:
    """Raise InvalidArgument where a model that heeds no input would hold the drop: the search would end at one."""
    least = criterion.majority_drop()
    if least is not None and least <= max_drop:
        smaller, others = "a smaller drop, " if least else "", "of more classes"
        if not criterion.counts_answers:
            others = "whose answers differ more"
        raise InvalidArgument(
            f"{criterion.predictor.samples.path}: a model that gave one answer to everything would have a drop of "
            f"{least:.2%} on these samples, and {max_drop:.2%} may be lost: give samples {others}, or ask for "
            f"{smaller}a size or a ratio"
        )
