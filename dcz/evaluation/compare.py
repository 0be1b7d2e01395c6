"""What two models of the same signature answer, compared output by output.

compare("a.onnx", "b.onnx", samples).outputs  ->  (OutputDifference("y", 31.2, ..., measure="top class", score=0.98),)
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..errors import UnsuitableModel
from . import drawn, runtime
from .assembled import samples_first
from .batch_axes import batch_symbol
from .chosen_measures import Answers, ChosenMeasure, OfAll
from .differences import DifferenceSums, first_samples
from .feed import Feed
from .metrics import answer_output
from .output_difference import Comparison, OutputDifference
from .samples import Samples
from .suited_measures import suited

Run: TypeAlias = tuple[runtime.Inputs, int | None, int | None]  # inputs, samples, and with what fills up a batch

if TYPE_CHECKING:
    from ..format.sources import Source
    from .kinds import GraphKinds


def compare(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    samples: Samples | None = None,
    kinds: "GraphKinds | None" = None,
    progress: Callable[[int, int], None] | None = None,
    measure: ChosenMeasure | None = None,
) -> Comparison:
    """Run two models with the same signature on the same samples (drawn ones where None).

    `kinds`: what the first one's graph says; read from it where None. `progress` gets the samples done, and those in
    all. `measure`: the output of answers is judged by it, in place of what fits; a measure of all outputs is one more
    difference. Raises UnsuitableModel for models that cannot run, or have different outputs; InvalidArgument as
    `batches` does.
    """
    sessions, kinds = (runtime.session(first), runtime.session(second)), kinds or graph_kinds(first)
    return _compare(*sessions, os.fspath(first), os.fspath(second), samples, kinds, progress, measure)


def compare_decoded(
    file: "Source", path: str | os.PathLike[str], threads: int | None = None, max_bytes: float | str | None = None
) -> Comparison:
    """Run the model in a `.dcz` file, decoded in memory, and the ONNX file `path` on the same drawn inputs.

    Raises DczError as dcz.session does, and UnsuitableModel for models that no drawn inputs suit.
    """
    from .. import model as onnx_model
    from ..reading.apart import load_apart
    from .kinds import GraphKinds

    apart = load_apart(file, runtime.is_numeric, threads, max_bytes)
    kinds, data = GraphKinds(apart.proto), onnx_model.serialize(apart.proto, apart.label)
    decoded = runtime.session_of(data, apart.tensors, apart.label, threads=threads)
    return _compare(decoded, runtime.session(path, threads or 0), apart.label, os.fspath(path), None, kinds)


def _compare(
    first_session: runtime.Session,
    second_session: runtime.Session,
    first: str,
    second: str,
    samples: Samples | None,
    kinds: "GraphKinds",
    progress: Callable[[int, int], None] | None = None,
    measure: ChosenMeasure | None = None,
) -> Comparison:
    """See compare."""
    names = [output.name for output in first_session.get_outputs()]
    declared = [output.shape for output in first_session.get_outputs()]
    symbol = batch_symbol([each.shape for each in first_session.get_inputs()])
    if names != [output.name for output in second_session.get_outputs()]:
        raise UnsuitableModel(f"{Path(first).name} and {Path(second).name} have different outputs")
    runs: Iterable[Run]
    if samples is None:
        inputs = drawn.draw(first_session, kinds.index_limits, kinds.compared, kinds.widths)
        runs = [(batch, count, count) for batch, count in inputs.counted(first_session.get_inputs())]
        shapes, constant = inputs.shapes, inputs.constant
    else:
        runs, shapes, constant = batches(first, first_session, samples, kinds, progress), {}, {}
    sums = [DifferenceSums() for _ in names]
    is_first, answers, at = True, None, 0
    for batch, count, size in runs:
        outputs, others = (
            [
                first_samples(samples_first(output, shape, symbol), count, size)
                for output, shape in zip(runtime.run(session, batch), declared, strict=True)
            ]
            for session in (first_session, second_session)
        )
        if is_first:
            measures = kinds.measures(names, outputs, count)
            at = answer_output(measures)
            if measure is not None:
                measure = suited(measure, measures[at], names[at], outputs[at], first)
            if isinstance(measure, OfAll):
                answers = Answers(measure, names[at])
            elif measure is not None:
                measures[at] = measure
            sums, is_first = [DifferenceSums(each) for each in measures], False
        for output_sums, x, y in zip(sums, outputs, others, strict=True):
            output_sums.add(x, y, count)
        if answers is not None:
            answers.add(dict(zip(names, outputs, strict=True)), dict(zip(names, others, strict=True)), count or 1)
    is_drawn = samples is None
    differences = [each.difference(name, is_drawn) for name, each in zip(names, sums, strict=True)]
    if answers is not None:
        differences.append(_of_all(answers, names[at]))
    elif measure is not None:
        differences[at] = replace(differences[at], chosen=True)
    return Comparison(tuple(differences), is_drawn, shapes, constant)


def _of_all(answers: Answers, output: str) -> OutputDifference:
    """What a measure of all samples says; `output`: the one of answers."""
    measure, score = answers.measure, float(answers.scores().mean())
    of = output if measure.looks_at_one else "all outputs"
    return OutputDifference(of, np.nan, np.nan, None, answers.count, measure.name, score, chosen=True)


def graph_kinds(path: str | os.PathLike[str]) -> "GraphKinds":
    """What the graph of an ONNX file says of its inputs and outputs."""
    from .. import model as onnx_model
    from .kinds import GraphKinds

    return GraphKinds(onnx_model.load(path, lists=True).proto)


def batches(
    path: str | os.PathLike[str],
    model: runtime.Session,
    samples: Samples,
    kinds: "GraphKinds | None" = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Run]:
    """Samples in runs that the model `path` takes; raises InvalidArgument where they do not fit.

    `progress` is told after each run how many samples are done, and how many there are.
    """
    scalars, outputs = () if kinds is None else kinds.scalars, [each.shape for each in model.get_outputs()]
    feed = Feed(os.fspath(path), model.get_inputs(), samples, scalars, outputs=outputs)
    done = 0
    for indices in feed.runs(np.arange(feed.count), runtime.BATCH):
        yield feed.inputs(indices), len(indices), feed.size_of(indices)
        done += len(indices)
        if progress is not None:
            progress(done, feed.count)
