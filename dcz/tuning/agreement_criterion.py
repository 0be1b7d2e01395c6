"""What a change of the weights costs on held-out samples, by the answers that change.

AgreementCriterion(predictor, held_out)(changed)                ->  {"agreement": 0.98, "drop": 0.02, ...}

Of top classes the drop that is expected on other samples is told too, by the margins of the answers
(evaluation.margins) instead of by how many happen to flip, with the interval that covers it.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..calibrate import Padding
from ..evaluation import runtime
from ..evaluation.batches import SampleBatches
from ..evaluation.differences import DifferenceSums, first_samples
from ..evaluation.margins import Flips, as_if_unseen, expected_flips, margins
from ..evaluation.metrics import COSINE, TOP_CLASS, Measure, answer_output, class_rows, holds_classes
from ..evaluation.predictor import Predictor
from ..evaluation.suited_measures import suited
from .answer_pairs import AnswerPairs, Part

MarginPair: TypeAlias = tuple[np.ndarray, np.ndarray]


class AgreementCriterion:
    """How often the answer stays, in the output that holds the model's answers, by the measure that fits it (see
    metrics.Measure): of embeddings it is the mean cosine, of other numbers 1 less the relative error.

    `others`: samples that calibrated, whose margins count too. `padding`: what does not count. `measure`: its name, at
    first as the original's answers to the first samples show it.
    """

    def __init__(
        self,
        predictor: Predictor,
        held_out: SampleBatches,
        others: SampleBatches | None = None,
        padding: Padding | None = None,
        chosen: Measure | None = None,
    ):
        self.predictor, self.held_out, self._others, self._padding = predictor, held_out, others, padding
        outputs = runtime.run(predictor.session, held_out[0])
        measures = predictor.measures(outputs, held_out.size_of(0))
        self._output = answer_output(measures)
        self._name, measure = predictor.session.get_outputs()[self._output].name, measures[self._output]
        if chosen is not None:
            own = suited(chosen, measure, self._name, outputs[self._output], predictor.path)
            assert isinstance(own, Measure), "it stays what it is"
            measure = own
        self._pairs = AnswerPairs(predictor, self._take)
        self._pairs.prepare(self._samples)
        self._measure = measure
        self.measure: str | None = self._measure.name

    @property
    def counts_answers(self) -> bool:
        """Whether a drop is a share of answers, which so many samples can tell no finer than one of them."""
        return Measure(self.measure or "").is_share

    @property
    def _samples(self) -> list[SampleBatches]:
        """All that are looked at."""
        return [self.held_out] if self._others is None else [self.held_out, self._others]

    def __call__(self, changed: runtime.Session) -> dict[str, float]:
        """`agreement` (the share of equal answers, or the score that fits) and `drop` (what is missing to 1) of the
        held-out samples; of top classes `expected_drop`, `drop_low` and `drop_high` too."""
        return self._scores([(self.held_out, changed)], changed if self._others is not None else None)

    def over(self, parts: Iterable[Part]) -> dict[str, float]:
        """The same of all samples of some parts, each judged by a session that has seen none of the part."""
        return self._scores(parts)

    def _scores(self, parts: Iterable[Part], calibrated: runtime.Session | None = None) -> dict[str, float]:
        """The scores; `calibrated` has seen the other samples, whose margins count too."""
        sums, found_margins, are_classes = DifferenceSums(self._measure), [], self._measure.name == TOP_CLASS.name
        for before, after, _ in self._pairs.of(parts):
            sums.add(before, after)
            are_classes = are_classes and holds_classes(before) and holds_classes(after)
            if are_classes:
                found_margins.append(margins(class_rows(before), class_rows(after)))
        found = sums.difference("")
        if found.score is None or not found.samples:
            return {"agreement": 1.0, "drop": 0.0}
        self.measure = found.measure
        if found.agreement is None:
            return {"agreement": found.score, "drop": 1 - found.score}
        same = round(found.score * found.samples)
        scores = {"agreement": same / found.samples, "drop": (found.samples - same) / found.samples}
        flips = self._expected_flips(found_margins, calibrated) if are_classes else None
        if flips is not None:
            scores |= {"expected_drop": flips.share, "drop_low": flips.low, "drop_high": flips.high}
        return scores

    def majority_drop(self) -> float | None:
        """The drop (0 to 1) of a model that gave the original's commonest answer to everything; where answers are not
        counted, about that of one that gave the first answer, if the others are as good as equal to it, else None."""
        sums = DifferenceSums(self._measure)
        for answers in self._pairs.originals(self._samples):
            sums.add(answers, answers)
        if sums.most_common:
            return (sums.answers - sums.most_common) / sums.answers
        found = sums.difference(self._name)
        if found.varies or not found.samples or not sums.signal:
            return None
        distance = sums.variation / sums.signal  # of the squares; a cosine is missing half of it to 1
        return distance / 2 if self._measure.name == COSINE.name else distance**0.5

    def _take(self, outputs: list[Any], batch: runtime.Inputs, count: int, size: int) -> Any:
        """The output that is judged, without what fills up a fixed batch, and without padding."""
        answers = first_samples(outputs[self._output], count, size)
        if self._padding is None:
            return answers
        return self._padding.without(self._padding.mask_of(batch)[:count], self._name, answers)

    def _expected_flips(self, found: Sequence[MarginPair], calibrated: runtime.Session | None) -> Flips | None:
        """The answers that are expected to flip, by the margins of all samples."""
        before, after = _joined(found)
        if calibrated is not None and self._others is not None:
            pairs = self._pairs.of([(self._others, calibrated)])
            margin, moved = _joined([margins(class_rows(one), class_rows(other)) for one, other, _ in pairs])
            moved = margin + as_if_unseen(moved - margin, after - before)
            before, after = np.concatenate([before, margin]), np.concatenate([after, moved])
        return expected_flips(before, after)

    def describe(self, drop: float) -> str:
        """A drop in words, for messages."""
        where = f"the {len(self.held_out.indices)} held-out samples"
        if self.counts_answers:
            return f"{drop:z.2%} of {where} change their {self.measure}"
        return f"a drop of {drop:z.2%} by {self.measure} on {where}"


def _joined(found: Sequence[MarginPair]) -> MarginPair:
    """Margins of several batches as one: see margins.margins."""
    before, after = (np.concatenate([np.empty(0), *each]) for each in ([pair[0] for pair in found],
                                                                       [pair[1] for pair in found]))  # fmt: skip
    return before, after
