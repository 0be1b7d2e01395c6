"""How good a model's answers are: on labelled samples, or against another model's; by onnxruntime, batch by batch.

evaluate("net.dcz", "test.npz", labels="y").errors                  ->  150, of 10,000: 1.50 %
evaluate("net.dcz", "test.npz", against="net.onnx").agreement       ->  0.9987

Rows of classes are probabilities where no row has a negative entry and all sum to 1 within 1e-3, else logits. Without
labels, outputs of other kinds are compared by the measure that fits them: see metrics.Measure.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..display.progress import Progress, shown
from ..errors import InvalidArgument
from ..parallel import thread_count
from ..text import counted
from . import differences, metrics, runtime, words
from .channel_groups import ChannelGroup
from .chosen_measures import Answers, AnyMeasure, ChosenMeasure, chosen
from .class_metrics import AgreementMetrics, LabelMetrics
from .given import BatchAxis, Data, Labels, as_samples, with_labels
from .predictor import Predictor, open_predictor
from .runtime import Ops
from .samples import Samples, read_labels
from .suited_measures import suited


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Figures over all samples. Those that compare with labels are None without labels, those with `against` without
    it.

    `errors`: samples whose largest entry is not their label's (of equal ones the first counts); `top5_errors`:
    whose label is not among the five largest, None for up to five classes. `loss`: mean cross-entropy, in nats.
    `disagreements`: of so many `answers` (the samples, or the places of sequences) the two models' differ, by
    `measure`: their top classes, or what fits the output; None where it counts no answers. `score` and
    `worst_channels`: as OutputDifference's. `divergence`: mean Kullback-Leibler divergence of `path`'s
    probabilities from those of `against`, in nats; None where there are no `classes`. `decibels`: as
    OutputDifference's. `unanswered`: samples for which the model's outputs hold NaN or +inf, or -inf
    alone: they count as errors and as disagreements, and the means are NaN.
    """

    path: str
    output: str
    samples: int
    classes: int
    unanswered: int = 0
    errors: int | None = None
    top5_errors: int | None = None
    loss: float | None = None
    against: str | None = None
    disagreements: int | None = None
    divergence: float | None = None
    decibels: float | None = None
    measure: str = metrics.TOP_CLASS.name
    answers: int | None = None
    score: float | None = None
    worst_channels: ChannelGroup | None = None

    @property
    def top1(self) -> float | None:
        """The share of samples whose top class is their label."""
        return self._share(self.errors)

    @property
    def top5(self) -> float | None:
        """The share of samples whose label is among their five top classes; None for up to five classes."""
        return self._share(self.top5_errors)

    @property
    def agreement(self) -> float | None:
        """The share of answers that are the same in both models: see `measure`."""
        answers = self.samples if self.answers is None else self.answers
        return None if self.disagreements is None else (answers - self.disagreements) / answers

    def _share(self, wrong: int | None) -> float | None:
        return None if wrong is None else (self.samples - wrong) / self.samples

    def __repr__(self) -> str:
        return words.evaluation_line(self)

    def _repr_html_(self) -> str:
        return words.evaluation_page(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; means are null where no finite number; `equal` says that decibels are infinite."""
        plain = dataclasses.asdict(self)
        plain |= {"top1": self.top1, "top5": self.top5, "agreement": self.agreement}
        plain["equal"] = None if self.against is None else self.decibels == np.inf
        for name in ("loss", "divergence", "decibels"):
            plain[name] = plain[name] if plain[name] is not None and np.isfinite(plain[name]) else None
        return plain


def evaluate(
    model: str | os.PathLike[str],
    data: Data,
    labels: Labels | None = None,
    against: str | os.PathLike[str] | None = None,
    *,
    batch_axis: BatchAxis | None = None,
    ops: Ops = (),
    output: str | None = None,
    measure: AnyMeasure | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
    progress: Progress = None,
    max_bytes: float | str | None = None,
) -> Evaluation:
    """Run a `.dcz` or `.onnx` model on all samples, and count errors or disagreements.

    `data`: the path of an .npz with an array for each input, by name, samples along the first axis, or of an .npy for a
    model with one input, or of a folder of these, a sample or a batch each; the same as a dict of arrays, or one array;
    or an iterable of samples or batches, such as a list of dicts, a generator or a DataLoader. Samples may have
    different lengths (those of one length run together), and what all share may be given once. `batch_axis`: the axis
    of samples in some inputs, {"h0": 1}, None for the same for every sample; default: as the model's shapes tell.
    Numbers are cast where an input is of floats (uint8 pixels stay 0 to 255), and to integers where they fit; axes are
    never moved. `ops`: libraries of custom operators, whose code onnxruntime runs. `labels`: the name of an array in
    `data` ("labels" of what pairs of batches bring), the path of an .npy or .npz with one array, or whole numbers [n].
    `against`: another `.dcz` or `.onnx`, fed from the same file. `output`: the one to look at; default: each model's
    first with one row of two or more floats a sample, axes of length 1 set aside; without labels, the first that holds
    answers, classes before labels and others. `measure`: what the answers of two models are compared by, in place of
    what fits the output: "cosine", "nearest-neighbour", "r2", "text", "top-token", "relative-error" and others
    (chosen_measures), or a function that gets the outputs of `against` and of `model` to all samples, by name, and
    returns a score from 0 to 1 for each sample, or one for all. Where a model's batch is fixed, its last one is filled
    up with the last sample. `progress` gets the model's path, the samples done, and those in all; True shows a bar.
    `max_bytes`: what
    each `.dcz` may decode to, see dcz.load. Raises DczError.
    """
    if labels is None and against is None:
        raise InvalidArgument(
            "nothing to compare the answers with: give --labels, --against, or both (in Python labels=, against=)"
        )
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise InvalidArgument(f"the batch size is a whole number, 1 or more, not {batch_size!r}")
    if measure is not None and (against is None or labels is not None):
        raise InvalidArgument("a measure compares the answers of two models: give `against`, and no labels")
    compared = None if measure is None else chosen(measure)
    thread_count(threads)  # raises where it is none
    samples, labels = with_labels(as_samples(data, batch_axis), labels)
    with contextlib.ExitStack() as stack:
        stack.enter_context(runtime.custom_ops(ops))
        predictor = stack.enter_context(open_predictor(model, samples, output, threads, max_bytes))
        reference = None
        if against is not None:
            reference = stack.enter_context(open_predictor(against, samples, output, threads, max_bytes))
        report = stack.enter_context(shown(progress, "evaluating"))
        if reference is not None and compared is not None:
            return _compare_by(predictor, reference, compared, batch_size or runtime.BATCH, report)
        return _evaluate(predictor, reference, samples, labels, batch_size, report)


def _compare_by(
    predictor: Predictor,
    reference: Predictor,
    measure: ChosenMeasure,
    size: int,
    progress: Callable[[str, int, int], None],
) -> Evaluation:
    """Compare two models by a measure that was chosen."""
    _check_counts(predictor, reference)
    fitting, _ = (each.choose_output(min(size, each.count)) for each in (reference, predictor))
    first = reference.answers(reference.runs(np.arange(reference.count), size)[0])[0]
    measure = suited(measure, fitting, str(reference.output), first, reference.path)
    if isinstance(measure, metrics.Measure):
        return _compare(predictor, reference, measure, size, progress)
    count, answers = predictor.count, Answers(measure, predictor.output)
    for indices in predictor.runs(np.arange(count), size):
        found, wanted = (each.outputs_by_sample(indices) for each in (predictor, reference))
        if wanted.keys() != found.keys():
            raise InvalidArgument(f"{predictor.path} and {reference.path} have different outputs")
        answers.add(wanted, found, len(indices))
        progress(predictor.path, answers.count, count)
    output = str(predictor.output) if measure.looks_at_one else "all outputs"
    return Evaluation(
        predictor.path, output, count, 0, against=reference.path, measure=measure.name,
        score=float(answers.scores().mean()),
    )  # fmt: skip


def _check_counts(predictor: Predictor, reference: Predictor) -> None:
    if reference.count != predictor.count:
        raise InvalidArgument(
            f"{predictor.samples.path}: has {counted(predictor.count, 'sample')} for {predictor.path}, and "
            f"{reference.count} for {reference.path}"
        )


def _evaluate(
    predictor: Predictor,
    reference: Predictor | None,
    samples: Samples,
    labels: str | os.PathLike[str] | None,
    batch_size: int | None,
    progress: Callable[[str, int, int], None],
) -> Evaluation:
    """See evaluate; `samples` are all arrays of the data file, `reference` is the model to compare with."""
    count = predictor.count
    if reference is not None:
        _check_counts(predictor, reference)
    size = batch_size or runtime.BATCH
    if labels is None and reference is not None:
        is_named = predictor.output is not None
        chosen = [(each, each.choose_output(min(size, count))) for each in (predictor, reference)]
        if all(measure.name != metrics.TOP_CLASS.name for _, measure in chosen):
            return _compare(predictor, reference, chosen[0][1], size, progress)
        for each, measure in chosen:
            if measure.name != metrics.TOP_CLASS.name and not is_named:
                each.output = None  # rows of classes are found by their shape
    label_metrics, classes, unanswered = None, 0, 0
    agreement_metrics = None if reference is None else AgreementMetrics(predictor, reference)
    done = 0
    for indices in predictor.runs(np.arange(count), size):
        rows = predictor.rows(indices)
        classes = rows.shape[1]
        unanswered += int((~metrics.has_top_class(rows)).sum())
        if labels is not None:
            if label_metrics is None:  # the first answers say how many classes there are
                label_metrics = LabelMetrics(read_labels(labels, samples, count, classes))
            label_metrics.add(rows, indices)
        if reference is not None and agreement_metrics is not None:
            agreement_metrics.add(rows, reference.rows(indices))
        done += len(indices)
        progress(predictor.path, done, count)
    figures = {} if label_metrics is None else label_metrics.figures(count)
    figures |= {} if agreement_metrics is None else agreement_metrics.figures(count)
    return Evaluation(predictor.path, str(predictor.output), count, classes, unanswered, **figures)


def _compare(
    predictor: Predictor,
    reference: Predictor,
    measure: metrics.Measure,
    size: int,
    progress: Callable[[str, int, int], None],
) -> Evaluation:
    """Compare outputs that are no rows of classes."""
    count, done, sums = predictor.count, 0, differences.DifferenceSums(measure)
    for indices in predictor.runs(np.arange(count), size):
        runs, other_runs = (differences.joined(each.answers(indices)) for each in (predictor, reference))
        for answers, others in zip(runs, other_runs, strict=True):
            sums.add(others, answers, len(indices) // len(runs) if len(indices) % len(runs) == 0 else None)
        done += len(indices)
        progress(predictor.path, done, count)
    found = sums.difference(str(predictor.output))
    disagreements = None if found.agreement is None else found.samples - round(found.agreement * found.samples)
    return Evaluation(
        predictor.path, found.output, count, 0, against=reference.path, disagreements=disagreements,
        decibels=found.decibels, measure=found.measure, answers=found.samples, score=found.score,
        worst_channels=found.worst_channels,
    )  # fmt: skip
