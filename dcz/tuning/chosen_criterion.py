"""What a change of the weights costs on held-out samples, by a measure that wants the answers to all of them.

ChosenCriterion(predictor, held_out, chosen("r2"))(changed)     ->  {"agreement": 0.95, "drop": 0.05, ...}
"""

from collections.abc import Iterable
from typing import Any

from ..evaluation import bootstrap, runtime
from ..evaluation.batches import SampleBatches
from ..evaluation.chosen_measures import Answers, OfAll
from ..evaluation.differences import first_samples
from ..evaluation.metrics import answer_output
from ..evaluation.predictor import Predictor
from ..evaluation.suited_measures import suited
from .answer_pairs import AnswerPairs, Part

DRAWS = 1000  # of the bootstrap


class ChosenCriterion:
    """A Criterion by such a measure: `agreement` is its mean, `drop` what is missing to 1. Where it scores each sample,
    `expected_drop` is the same, with the interval that covers nine tenths of bootstrap draws of the samples.

    Padding counts, as the measure gets the outputs as they are.
    """

    def __init__(self, predictor: Predictor, held_out: SampleBatches, measure: OfAll):
        self.predictor, self.held_out, self._chosen = predictor, held_out, measure
        self.measure: str | None = measure.name
        outputs = predictor.by_sample(runtime.run(predictor.session, held_out[0]))
        measures = predictor.measures(list(outputs.values()), held_out.size_of(0))
        at = answer_output(measures)
        self._output = list(outputs)[at]
        self._pairs = AnswerPairs(predictor, self._take)
        suited(measure, measures[at], self._output, outputs[self._output], predictor.path)
        self._pairs.prepare([held_out])

    @property
    def counts_answers(self) -> bool:
        """A mean of scores may be as fine as one likes."""
        return False

    def __call__(self, changed: runtime.Session) -> dict[str, float]:
        """The scores of the held-out samples."""
        return self.over([(self.held_out, changed)])

    def over(self, parts: Iterable[Part]) -> dict[str, float]:
        """The scores of all samples of some parts, each answered by its own session."""
        answers = Answers(self._chosen, self._output)
        for wanted, found, count in self._pairs.of(parts):
            answers.add(wanted, found, count)
        scores = answers.scores()
        drop = 1 - float(scores.mean())
        found_scores = {"agreement": 1 - drop, "drop": drop}
        if len(scores) > 1:
            low, high = bootstrap.interval(lambda drawn: 1 - float(scores[drawn].mean()), len(scores), DRAWS)
            found_scores |= {"expected_drop": drop, "drop_low": low, "drop_high": high}
        return found_scores

    def _take(self, outputs: list[Any], batch: runtime.Inputs, count: int, size: int) -> dict[str, Any]:
        """All outputs, samples first, without what fills up a fixed batch."""
        return {name: first_samples(output, count, size) for name, output in self.predictor.by_sample(outputs).items()}

    def majority_drop(self) -> None:
        """Not known of a measure of one's own."""

    def describe(self, drop: float) -> str:
        """A drop in words, for messages."""
        return f"a drop of {drop:z.2%} by {self._chosen.name} on the {len(self.held_out.indices)} held-out samples"
