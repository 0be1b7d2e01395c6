"""What a change of the weights costs on held-out samples: by the answers that change, or by labels.

    AgreementCriterion(predictor, held_out)(changed)                ->  {"agreement": 0.98, "drop": 0.02, ...}
    AccuracyCriterion(predictor, held_out, "y", samples)(changed)   ->  {"accuracy": 0.71, "drop": 0.005}
    criterion.over([(held_out, changed), (others, other)])          ->  the same over samples of several sessions

`changed` is an onnxruntime session of the same model with other weights. A drop is a share of the samples, 0 to 1: of
changed answers, or of right answers fewer than before. More right answers than before are a drop of 0.

Of top classes the drop that is expected on other samples is told too, by the margins of the answers
(evaluation.margins) instead of by how many happen to flip, with the interval that covers it.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..calibrate import Padding
from ..errors import InvalidArgument
from ..evaluation import runtime
from ..evaluation.batches import SampleBatches
from ..evaluation.differences import DifferenceSums, first_samples
from ..evaluation.margins import Flips, as_if_unseen, expected_flips, margins
from ..evaluation.metrics import (
    COSINE,
    TOP_CLASS,
    Measure,
    answer_output,
    class_rows,
    has_top_class,
    holds_classes,
    top_class,
)
from ..evaluation.predictor import Predictor
from ..evaluation.samples import Samples, read_labels
from ..evaluation.suited_measures import suited

MAX_ORIGINALS = 1 << 26  # bytes of the original's answers that are kept from one trial to the next

Part: TypeAlias = tuple[SampleBatches, runtime.Session]
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
        self._originals: dict[bytes, Any] = {}  # the original's answers, by the numbers of their samples
        self._room = MAX_ORIGINALS
        self._measure = measure
        self.measure: str | None = self._measure.name

    @property
    def counts_answers(self) -> bool:
        """Whether a drop is a share of answers, which so many samples can tell no finer than one of them."""
        return Measure(self.measure or "").is_share

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
        for batches, changed in parts:
            for pair in self._answers(batches, changed):
                sums.add(*pair)
                are_classes = are_classes and all(holds_classes(each) for each in pair)
                if are_classes:
                    found_margins.append(margins(*map(class_rows, pair)))
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
        for batches in (self.held_out, *([self._others] if self._others is not None else [])):
            for answers, same in self._answers(batches, self.predictor.session):
                sums.add(answers, same)
        if sums.most_common:
            return (sums.answers - sums.most_common) / sums.answers
        found = sums.difference(self._name)
        if found.varies or not found.samples or not sums.signal:
            return None
        distance = sums.variation / sums.signal  # of the squares; a cosine is missing half of it to 1
        return distance / 2 if self._measure.name == COSINE.name else distance**0.5

    def _answers(self, batches: SampleBatches, changed: runtime.Session) -> Iterator[tuple[Any, Any]]:
        """The answers of the original and of a changed session, batch by batch."""
        for number, batch in enumerate(batches):
            indices = batches.indices_of(number)
            before = self._originals.get(key := indices.tobytes())
            if before is None:
                before = self._answer(self.predictor.session, batch, batches, number)
                self._room -= getattr(before, "nbytes", MAX_ORIGINALS)
                if self._room >= 0:
                    self._originals[key] = before
            is_same = changed is self.predictor.session
            yield before, before if is_same else self._answer(changed, batch, batches, number)

    def _answer(self, session: runtime.Session, batch: runtime.Inputs, batches: SampleBatches, number: int) -> Any:
        """The output that is judged, without what fills up a fixed batch, and without padding."""
        count = len(batches.indices_of(number))
        answers = first_samples(runtime.run(session, batch)[self._output], count, batches.size_of(number))
        if self._padding is None:
            return answers
        return self._padding.without(self._padding.mask_of(batch)[:count], self._name, answers)

    def _expected_flips(self, found: Sequence[MarginPair], calibrated: runtime.Session | None) -> Flips | None:
        """The answers that are expected to flip, by the margins of all samples."""
        before, after = _joined(found)
        if calibrated is not None and self._others is not None:
            others = (margins(*map(class_rows, pair)) for pair in self._answers(self._others, calibrated))
            margin, moved = _joined(list(others))
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


class AccuracyCriterion:
    """How often the top class is the sample's label. `over`, `counts_answers`: as AgreementCriterion's.

    `labels`: the name of an array of `samples` (all arrays of the data file), or the path of an .npy or .npz file; see
    samples.read_labels. `original_accuracy`: top-1 accuracy of the unchanged model, a share. Raises InvalidArgument for
    labels that do not fit the samples or the classes, or on which the model itself does no better than by guessing.
    """

    def __init__(
        self, predictor: Predictor, held_out: SampleBatches, labels: str | os.PathLike[str], samples: Samples
    ) -> None:
        self.predictor, self.held_out = predictor, held_out
        self.measure: str | None = None
        classes = predictor.rows(held_out.indices_of(0)).shape[1]
        self.labels = read_labels(labels, samples, predictor.count, classes)
        self.original_right = self._count_right(predictor, held_out)
        self.original_accuracy = self.original_right / len(held_out.indices)
        if self.original_accuracy <= 1 / classes:
            raise InvalidArgument(
                f"{samples.path}, labels {os.fspath(labels)!r}: {predictor.path} itself is right on "
                f"{self.original_right} of the {len(held_out.indices)} held-out samples, no more than by guessing among"
                f" {classes} classes; give the number of each sample's class, counted from 0"
            )

    @property
    def counts_answers(self) -> bool:
        """As AgreementCriterion's."""
        return True

    def __call__(self, changed: runtime.Session) -> dict[str, float]:
        """`accuracy` (top 1, a share) and `drop` (how much less it is than the original's, 0 or more)."""
        return self.over([(self.held_out, changed)])

    def over(self, parts: Iterable[Part]) -> dict[str, float]:
        """The same over the samples of some parts, each judged by its own session."""
        was, right, original, count = self.predictor, 0, 0, 0
        for batches, changed in parts:
            predictor = Predictor(was.path, changed, was.samples, was.output, was.kinds)
            right += self._count_right(predictor, batches)
            is_held_out = batches is self.held_out
            original += self.original_right if is_held_out else self._count_right(self.predictor, batches)
            count += len(batches.indices)
        return {"accuracy": right / count, "original_accuracy": original / count,
                "drop": max(0, original - right) / count}  # fmt: skip

    def majority_drop(self) -> float:
        """The drop (0 to 1) of a model that gave the commonest label to everything."""
        labels = self.labels[self.held_out.indices]
        _, counts = np.unique(labels, return_counts=True)
        return max(0, self.original_right - int(counts.max())) / len(labels)

    def describe(self, drop: float) -> str:
        """A drop in words, for messages."""
        return (
            f"{100 * drop:z.2f} points of top-1 accuracy are lost on the {len(self.held_out.indices)} held-out samples"
        )

    def _count_right(self, predictor: Predictor, batches: SampleBatches) -> int:
        right = 0
        for number in range(len(batches)):
            indices = batches.indices_of(number)
            rows = predictor.rows(indices)
            right += int(((top_class(rows) == self.labels[indices]) & has_top_class(rows)).sum())
        return right


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
