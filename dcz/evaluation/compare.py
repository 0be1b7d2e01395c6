"""What two models of the same signature answer, compared output by output.

compare("a.onnx", "b.onnx", inputs).outputs  ->  (OutputDifference("y", 31.2, ..., measure="top class", score=0.98),)
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidArgument, UnsuitableModel
from . import drawn, runtime
from .differences import Comparison, DifferenceSums
from .samples import NAMELESS

if TYPE_CHECKING:
    from .kinds import GraphKinds


def compare(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    inputs: runtime.Inputs | None = None,
    kinds: "GraphKinds | None" = None,
) -> Comparison:
    """Run two models with the same signature on the same inputs (drawn ones where None).

    `kinds`: what the first one's graph says; read from it where None. Raises UnsuitableModel for models that cannot
    run, or have different outputs; InvalidArgument as `batches` does.
    """
    first_session, second_session = runtime.session(first), runtime.session(second)
    names = [output.name for output in first_session.get_outputs()]
    if names != [output.name for output in second_session.get_outputs()]:
        raise UnsuitableModel(f"{Path(first).name} and {Path(second).name} have different outputs")
    kinds = kinds or graph_kinds(first)
    runs: Iterable[runtime.Inputs]
    if inputs is None:
        runs = drawn.draw(first_session, kinds.index_limits, kinds.compared).batches
        shapes, constant = drawn.DrawnInputs(runs).shapes, drawn.DrawnInputs(runs).constant
    else:
        runs, shapes, constant = batches(first_session, inputs), {}, {}
    sums = [DifferenceSums() for _ in names]
    is_first = True
    for batch in runs:
        outputs, others = runtime.run(first_session, batch), runtime.run(second_session, batch)
        if is_first:
            lengths = {len(array) for array in batch.values() if array.ndim}
            samples = lengths.pop() if len(lengths) == 1 else None
            sums = [DifferenceSums(measure) for measure in kinds.measures(names, outputs, samples)]
            is_first = False
        for output_sums, x, y in zip(sums, outputs, others, strict=True):
            output_sums.add(x, y)
    is_drawn = inputs is None
    differences = (each.difference(name, is_drawn) for name, each in zip(names, sums, strict=True))
    return Comparison(tuple(differences), is_drawn, shapes, constant)


def graph_kinds(path: str | os.PathLike[str]) -> "GraphKinds":
    """What the graph of an ONNX file says of its inputs and outputs."""
    from .. import model as onnx_model
    from .kinds import GraphKinds

    return GraphKinds(onnx_model.load(path).proto)


def batches(model: runtime.Session, inputs: runtime.Inputs) -> Iterator[runtime.Inputs]:
    """Cut inputs along their first axis into runs that the model takes; raises InvalidArgument where they do not
    fit."""
    model_inputs = {model_input.name: model_input for model_input in model.get_inputs()}
    if NAMELESS in inputs and len(model_inputs) == 1 and not model_inputs.keys() & inputs.keys():
        inputs = dict.fromkeys(model_inputs, inputs[NAMELESS])
    if missing := model_inputs.keys() - inputs.keys():
        raise InvalidArgument(f"the inputs lack {min(missing)!r}; the model wants {', '.join(model_inputs)}")
    arrays = {name: inputs[name] for name in model_inputs}
    lengths = {len(array) for array in arrays.values() if array.ndim}
    first_dims = [model_input.shape[0] for model_input in model_inputs.values() if model_input.shape]
    fixed = {dim for dim in first_dims if isinstance(dim, int)}
    length, size = max(lengths, default=1), min(fixed, default=runtime.BATCH)
    if len(lengths) != 1 or len(fixed) > 1 or (fixed and length == size) or size < 1:
        yield {name: np.array(array) for name, array in arrays.items()}  # inputs without a batch axis belong together
        return
    if fixed and length % size:
        raise InvalidArgument(f"{length} samples do not fill the model's batches of {size}")
    for start in range(0, length, size):
        part = slice(start, start + size)  # copied: arrays of a file lie at odd addresses
        yield {name: np.array(array[part] if array.ndim else array) for name, array in arrays.items()}
