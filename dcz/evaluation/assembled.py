"""The outputs of several runs put together, in the order of the samples.

    put_together([(array([0, 2]), y02), (array([1]), y1)], axis=0)     ->   y of the samples 0, 1, 2

Outputs whose shapes differ from run to run, as those of sequences do, stay apart, sample by sample.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

Run = tuple[np.ndarray, Any]  # the numbers of the samples (int64), and what the model gave for them


def sample_axis(output: Any, samples: int, shape: Sequence[int | str | None], symbol: str | None) -> int | None:
    """The axis of an output that the samples lie along, None where it has none.

    `shape`: what the model declares for it, in which `symbol` names the batch; else it is the first axis where that is
    as long as there are samples, or the only one that is.
    """
    if not isinstance(output, np.ndarray) or not output.ndim:
        return None
    if symbol is not None and list(shape).count(symbol) == 1 and len(shape) == output.ndim:
        axis = list(shape).index(symbol)
        if output.shape[axis] == samples:
            return axis
    found = [axis for axis, length in enumerate(output.shape) if length == samples]
    if 0 in found:
        return 0
    return found[0] if len(found) == 1 else None


def samples_first(output: Any, shape: Sequence[int | str | None], symbol: str | None) -> Any:
    """An output with the samples along its first axis, where the model declares, by the batch's symbol, that they lie
    along another one."""
    if symbol is None or not isinstance(output, np.ndarray) or len(shape) != output.ndim or symbol not in shape[1:]:
        return output
    return output if shape[0] == symbol else np.moveaxis(output, list(shape).index(symbol), 0)


def put_together(runs: Sequence[Run], axes: Sequence[int | None]) -> Any | None:
    """The outputs of all runs as one, `axes` being that of the samples in each; None where they are of several shapes,
    or not all samples have their own."""
    if len(runs) == 1 and (np.diff(runs[0][0]) == 1).all():
        return runs[0][1]
    order = np.argsort(np.concatenate([indices for indices, _ in runs]), kind="stable")
    values = [value for _, value in runs]
    if all(isinstance(value, list) for value in values):
        each = [entry for value in values for entry in value]
        return [each[number] for number in order] if len(each) == len(order) else each
    if len(set(axes)) > 1 or axes[0] is None:
        return None
    axis = axes[0]
    rests = {(value.dtype, value.shape[:axis], value.shape[axis + 1 :]) for value in values}
    return np.concatenate(values, axis).take(order, axis) if len(rests) == 1 else None


def by_sample(runs: Sequence[Run], axes: Sequence[int | None]) -> dict[int, np.ndarray]:
    """The output of each sample by its number; none where not all samples have their own."""
    if any(axis is None and len(indices) > 1 for (indices, _), axis in zip(runs, axes, strict=True)):
        return {}
    found = {}
    for (indices, value), axis in zip(runs, axes, strict=True):
        if isinstance(value, np.ndarray) and axis is None:
            found[int(indices[0])] = value
        elif isinstance(value, np.ndarray) and axis is not None:
            found.update(zip(indices.tolist(), np.moveaxis(value, axis, 0), strict=True))
    return dict(sorted(found.items()))
