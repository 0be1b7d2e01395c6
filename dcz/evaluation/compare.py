"""What two models of the same signature answer, compared output by output.

compare("a.onnx", "b.onnx", samples).outputs  ->  (OutputDifference("y", 31.2, ..., measure="top class", score=0.98),)
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidArgument, UnsuitableModel
from ..text import counted
from . import drawn, runtime
from .differences import Comparison, DifferenceSums
from .samples import Samples

if TYPE_CHECKING:
    from ..format.sources import Source
    from .kinds import GraphKinds


def compare(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    samples: Samples | None = None,
    kinds: "GraphKinds | None" = None,
) -> Comparison:
    """Run two models with the same signature on the same samples (drawn ones where None).

    `kinds`: what the first one's graph says; read from it where None. Raises UnsuitableModel for models that cannot
    run, or have different outputs; InvalidArgument as `batches` does.
    """
    sessions = runtime.session(first), runtime.session(second)
    return _compare(*sessions, os.fspath(first), os.fspath(second), samples, kinds or graph_kinds(first))


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
) -> Comparison:
    """See compare."""
    names = [output.name for output in first_session.get_outputs()]
    if names != [output.name for output in second_session.get_outputs()]:
        raise UnsuitableModel(f"{Path(first).name} and {Path(second).name} have different outputs")
    runs: Iterable[runtime.Inputs]
    if samples is None:
        runs = drawn.draw(first_session, kinds.index_limits, kinds.compared).batches
        shapes, constant = drawn.DrawnInputs(runs).shapes, drawn.DrawnInputs(runs).constant
    else:
        runs, shapes, constant = batches(first, first_session, samples), {}, {}
    sums = [DifferenceSums() for _ in names]
    is_first = True
    for batch in runs:
        outputs, others = runtime.run(first_session, batch), runtime.run(second_session, batch)
        if is_first:
            lengths = {len(array) for array in batch.values() if array.ndim}
            count = lengths.pop() if len(lengths) == 1 else None
            sums = [DifferenceSums(measure) for measure in kinds.measures(names, outputs, count)]
            is_first = False
        for output_sums, x, y in zip(sums, outputs, others, strict=True):
            output_sums.add(x, y)
    is_drawn = samples is None
    differences = (each.difference(name, is_drawn) for name, each in zip(names, sums, strict=True))
    return Comparison(tuple(differences), is_drawn, shapes, constant)


def graph_kinds(path: str | os.PathLike[str]) -> "GraphKinds":
    """What the graph of an ONNX file says of its inputs and outputs."""
    from .. import model as onnx_model
    from .kinds import GraphKinds

    return GraphKinds(onnx_model.load(path).proto)


def batches(path: str | os.PathLike[str], model: runtime.Session, samples: Samples) -> Iterator[runtime.Inputs]:
    """Cut samples along their first axis into runs that the model `path` takes; raises InvalidArgument where they do
    not fit."""
    model_inputs = {model_input.name: model_input for model_input in model.get_inputs()}
    samples = samples.named(model_inputs)
    for model_input in model_inputs.values():
        runtime.check_shape(os.fspath(path), model_input, samples)
    arrays = samples.arrays
    lengths = {len(array) for array in arrays.values() if array.ndim}
    first_dims = [model_input.shape[0] for model_input in model_inputs.values() if model_input.shape]
    fixed = {dim for dim in first_dims if isinstance(dim, int)}
    if 0 in lengths:
        raise InvalidArgument(f"{samples.path}: holds no samples")
    length, size = max(lengths, default=1), min(fixed, default=runtime.BATCH)
    if len(lengths) != 1 or len(fixed) > 1 or (fixed and length == size) or size < 1:
        yield {name: np.array(array) for name, array in arrays.items()}  # inputs without a batch axis belong together
        return
    if fixed and length % size:
        found = counted(length, "sample does", "samples do")
        raise InvalidArgument(f"{samples.path}: {found} not fill the model's batches of {size}")
    for start in range(0, length, size):
        part = slice(start, start + size)  # copied: arrays of a file lie at odd addresses
        yield {name: np.array(array[part] if array.ndim else array) for name, array in arrays.items()}
