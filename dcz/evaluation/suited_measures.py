"""Whether a measure that a user chose can judge an output: others would give figures that mean nothing.

suited(metrics.TOP_CLASS, fitting, "y", logits, "net.onnx")      ->  the measure, with the axis of the classes
suited(chosen("text"), fitting, "y", logits, "net.onnx")         ->  InvalidArgument
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import InvalidArgument
from . import metrics
from .chosen_measures import ChosenMeasure, OfAll
from .metrics import Measure, dtype_and_shape


def _is_numeric(answers: np.ndarray) -> bool:
    return answers.dtype.kind in "fiub"


def _is_exact(answers: np.ndarray) -> bool:
    return answers.dtype.kind in "iubOUS"


def _holds_vectors(answers: np.ndarray) -> bool:
    return _is_numeric(answers) and answers.ndim > 1 and metrics.class_rows(answers).shape[1] > 1


# What an array must be for a measure by its name, in words and as a test. "top key" is of maps, and so of no array.
_WANTED: dict[str, tuple[str, Callable[[np.ndarray], bool]]] = {
    "top class": ("one row of two or more scores a sample",
                  lambda array: (rows := metrics.row_per_sample(array, len(array))) is not None and rows.shape[1] > 1),
    "top token": ("scores of two or more tokens along the last axis",
                  lambda array: array.dtype.kind == "f" and array.ndim > 1 and array.shape[-1] > 1),
    "top key": ("maps from keys to scores", lambda array: False),
    "label": ("one whole number or text a sample", lambda array: _is_exact(array) and array.size == len(array)),
    "entries": ("whole numbers or texts", _is_exact),
    "rows": ("rows of numbers", lambda array: _is_numeric(array) and array.ndim > 1),
    "cosine": ("vectors of two or more numbers", _holds_vectors),
    "relative error": ("numbers", _is_numeric),
    "nearest neighbour": ("a vector of two or more numbers a sample", _holds_vectors),
    "R2": ("numbers", _is_numeric),
    "text": ("scores of tokens at the places of each sample, [samples, places, tokens]",
             lambda array: array.dtype.kind == "f" and array.ndim == 3 and array.shape[2] > 1),
}  # fmt: skip


def suited(measure: ChosenMeasure, fitting: Measure, output: str, answers: Any, path: str) -> ChosenMeasure:
    """The measure for an output of the model `path`, of which `answers` are those to some samples.

    `fitting`: what judges the output where nothing is chosen; it is taken where it is the same, as it knows the axis of
    classes. A function of a user's own suits always. Raises InvalidArgument for a measure that does not.
    """
    if isinstance(measure, OfAll) and not measure.looks_at_one:
        return measure
    if measure.name == fitting.name:
        return fitting
    wanted, fits = _WANTED[measure.name]
    first = answers[0] if isinstance(answers, list) and answers and not isinstance(measure, OfAll) else answers
    if not isinstance(first, np.ndarray) or not first.ndim or not fits(first):
        raise InvalidArgument(
            f"{path}: output {output!r} is {dtype_and_shape(answers)}, and measure {measure.name!r} wants {wanted}: "
            "choose another, or give a function of your own"
        )
    if isinstance(measure, Measure) and measure.name == metrics.TOP_CLASS.name:  # [n, 1000, 1, 1]
        classes = next(axis for axis in range(1, first.ndim) if first.shape[axis] != 1)
        return Measure(measure.name, classes - first.ndim)
    return measure
