"""Inputs drawn at random for a model, of shapes and values that it might really be given.

    draw(session, {"input_ids": 30522}).shapes    ->  {"input_ids": (32, 32), "attention_mask": (32, 32)}

Integers that choose rows of a table are drawn from its rows. What has the shape of such indices, and whole numbers
beside other inputs, are ones (masks) or the length of the sequences, or, one alone, what the graph compares it with.
Dims of one name have one size. Such numbers stand for no real samples: a network's answers to them are often all the
same.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UnsuitableModel
from . import runtime
from .batch_axes import batch_symbol

BATCH, SMALL_BATCH = runtime.BATCH, 16  # samples; fewer where one has more than LARGE_SAMPLE numbers
LARGE_SAMPLE = 1 << 15
IMAGE_SIZES = (224, 64, 32, 128, 256, 320, 512, 640, 48, 16)  # tried for open dims beside a fixed one of channels
SEQUENCE_SIZES = (32, 16, 64, 8, 128, 512, 1, 256, 224, 16000)  # tried for the others
LENGTH, ONE, ZERO = "the sequence's length", 1, 0
ASIDES: tuple[tuple[int | str, bool], ...] = ((LENGTH, True), (ONE, True), (ZERO, False))  # lengths and switches tried
MAX_CHANNELS = 4
MAX_DIGITS = 9  # of a number in the name of a dim
MAX_ANSWERS = 1 << 18  # numbers in all runs together that a model answers which itself decides how many
MAX_ELEMENTS = 1 << 28  # of an input that is drawn
SCALAR = 0.5  # of floats that are one number: a temperature, a threshold, a speed, of which none is below zero

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class DrawnInputs:
    """Inputs for one run after another, and the shapes of those of one run."""

    batches: list[runtime.Inputs]

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shape of each input in one run."""
        return {name: array.shape for name, array in self.batches[0].items()}

    def counted(self, inputs: Sequence[runtime.ModelInput]) -> list[tuple[runtime.Inputs, int | None]]:
        """Each run, and how many samples it holds, by the symbol that names the batch in the shapes of the model's
        inputs, or by their first axes; None where that is not to be told."""
        symbol = batch_symbol([each.shape for each in inputs])
        axes = {each.name: list(each.shape).index(symbol) for each in inputs if symbol in each.shape} if symbol else {}
        axes = axes or {each.name: 0 for each in inputs}
        found: list[tuple[runtime.Inputs, int | None]] = []
        for batch in self.batches:
            lengths = {array.shape[axes[name]] for name, array in batch.items() if name in axes and array.ndim}
            found.append((batch, lengths.pop() if len(lengths) == 1 else None))
        return found

    @property
    def constant(self) -> dict[str, float]:
        """The number that all elements of an input are, for those of which it is one: masks of ones, lengths, switches.

        Of each run, and of two elements or more.
        """
        found = {}
        for name, first in self.batches[0].items():
            arrays = [batch[name] for batch in self.batches]
            if first.size > 1 and first.dtype.kind in "biuf" and all((each == first.flat[0]).all() for each in arrays):
                found[name] = first.flat[0].item()
        return found


def draw(
    model: runtime.Session,
    index_limits: Mapping[str, int] | None = None,
    compared: Mapping[str, int] | None = None,
    widths: Mapping[str, int] | None = None,
    seed: int = 0,
) -> DrawnInputs:
    """Seeded inputs that the model accepts, found by trying; for `index_limits`, `compared` and `widths` see
    kinds.GraphKinds.

    Raises UnsuitableModel where none is accepted.
    """
    limits, settings = index_limits or {}, compared or {}
    refusal: UnsuitableModel | None = None
    for batch, (image, sequence) in itertools.product((BATCH, 1), zip(IMAGE_SIZES, SEQUENCE_SIZES, strict=True)):
        shapes = _shapes(model, batch, image, sequence, widths or {})
        if batch > SMALL_BATCH and max(map(math.prod, shapes.values()), default=0) > LARGE_SAMPLE * batch:
            shapes = _shapes(model, SMALL_BATCH, image, sequence, widths or {})
        accepted: DrawnInputs | None = None
        for aside in ASIDES if _has_asides(model, limits) else ASIDES[:1]:
            inputs = _values(model, shapes, limits, settings, sequence, aside, np.random.default_rng(seed))
            try:
                outputs = runtime.run(model, inputs)
            except UnsuitableModel as error:
                refusal = error
                continue
            drawn = DrawnInputs([inputs])
            if all(not isinstance(each, np.ndarray) or each.dtype.kind != "f" or np.isfinite(each).all()
                   for each in outputs):  # fmt: skip
                return _several(model, drawn, limits, settings, sequence, aside, seed, _most_runs(model, outputs))
            accepted = accepted or drawn
        if accepted is not None:
            return accepted
    raise UnsuitableModel(f"no random inputs fit the model ({refusal}): give --data")


def _several(
    model: runtime.Session,
    drawn: DrawnInputs,
    limits: Mapping[str, int],
    settings: Mapping[str, int],
    sequence: int,
    aside: tuple[int | str, bool],
    seed: int,
    most: int,
) -> DrawnInputs:
    """As many runs as make SMALL_BATCH samples, where the model takes fewer at once, `most` of them."""
    samples = max((shape[0] for shape in drawn.shapes.values() if shape), default=1)
    runs = min(most, math.ceil(SMALL_BATCH / max(samples, 1)))
    randoms = [np.random.default_rng([seed, run]) for run in range(1, runs)]
    more = [_values(model, drawn.shapes, limits, settings, sequence, aside, random) for random in randoms]
    return DrawnInputs([*drawn.batches, *more])


def _most_runs(model: runtime.Session, outputs: Sequence[object]) -> int:
    """Two at least; as many as answer MAX_ANSWERS numbers, of a model that itself decides how long its answers are, as
    one that speaks for minutes does."""
    symbols = {dim for each in model.get_inputs() for dim in each.shape}
    sizes = [
        array.size
        for output, array in zip(model.get_outputs(), outputs, strict=True)
        if isinstance(array, np.ndarray) and any(isinstance(dim, str) and dim not in symbols for dim in output.shape)
    ]
    return max(2, MAX_ANSWERS // max(1, *sizes)) if sizes else SMALL_BATCH


def _shapes(
    model: runtime.Session, batch: int, image: int, sequence: int, widths: Mapping[str, int]
) -> dict[str, Shape]:
    """The shape of each input: `batch` for open first dims and those of the same name, a width for open last ones,
    `image` for open dims beside channels, `sequence` for others."""
    inputs = model.get_inputs()
    named: dict[str, int] = {}
    for model_input in inputs:
        if model_input.name in widths and isinstance(model_input.shape[-1], str):
            named[model_input.shape[-1]] = widths[model_input.name]
    for model_input in inputs:
        if model_input.shape and isinstance(model_input.shape[0], str):
            named[model_input.shape[0]] = batch
    shapes: dict[str, Shape] = {}
    for model_input in inputs:
        size = image if _is_image(model_input) else sequence
        dims = []
        for axis, dim in enumerate(model_input.shape):
            if isinstance(dim, int) and dim > 0:
                dims.append(dim)
            elif axis == len(model_input.shape) - 1 and model_input.name in widths:
                dims.append(widths[model_input.name])
            elif isinstance(dim, str) and any(map(str.isalnum, dim)):  # not "?"
                dims.append(_named_size(dim, named, size))
            else:
                dims.append(batch if axis == 0 or (axis == 1 and _is_state(model_input, inputs)) else size)
        shapes[model_input.name] = tuple(dims)
    return shapes


def _is_state(model_input: runtime.ModelInput, inputs: Sequence[runtime.ModelInput]) -> bool:
    """Whether an input's batch is its second axis, as of recurrent states: its first is fixed, others' open."""
    is_fixed = [isinstance(each.shape[0], int) for each in inputs if each.shape]
    return isinstance(model_input.shape[0], int) and not all(is_fixed)


def _named_size(name: str, named: dict[str, int], size: int) -> int:
    """The size of a dim by its name, which exporters also write as a sum: "past + 1"; adds new names to `named`."""
    if name in named or "+" not in name:
        return named.setdefault(name, size)
    terms = [term.strip() for term in name.split("+")]
    return sum(
        int(term[:MAX_DIGITS]) if term.isascii() and term.isdecimal() else named.setdefault(term, size)
        for term in terms
    )


def _is_image(model_input: runtime.ModelInput) -> bool:
    """Whether an input has two dims or more beside the batch and a few channels."""
    dims = model_input.shape[1:]
    fixed = [dim for dim in (dims[0], dims[-1]) if isinstance(dim, int)] if len(dims) > 2 else []
    return any(0 < dim <= MAX_CHANNELS for dim in fixed)


def _has_asides(model: runtime.Session, limits: Mapping[str, int]) -> bool:
    inputs = model.get_inputs()
    return any(_is_aside(each, inputs, limits) for each in inputs)


def _is_aside(model_input: runtime.ModelInput, inputs: Sequence[runtime.ModelInput], limits: Mapping[str, int]) -> bool:
    """Whether an input is a mask, a length or a switch beside another one: whole numbers that index nothing, or floats
    of the shape of indices."""
    if model_input.name in limits or len(inputs) == 1:
        return False
    if runtime.TYPES.get(model_input.type, np.float32)(0).dtype.kind != "f":
        return model_input.type not in ("tensor(uint8)", "tensor(int8)") or len(model_input.shape) < 3
    return any(each.name in limits and each.shape == model_input.shape for each in inputs)


def _values(
    model: runtime.Session,
    shapes: Mapping[str, Shape],
    limits: Mapping[str, int],
    settings: Mapping[str, int],
    sequence: int,
    aside: tuple[int | str, bool],
    random: np.random.Generator,
) -> runtime.Inputs:
    """Arrays of these shapes; raises UnsuitableModel for types of no numbers."""
    inputs, described = {}, model.get_inputs()
    for model_input in described:
        name, shape = model_input.name, shapes[model_input.name]
        if model_input.type not in runtime.TYPES:
            raise UnsuitableModel(f"no random values of {model_input.type} for input {name!r}: give --data")
        dtype = np.dtype(runtime.TYPES[model_input.type])
        if math.prod(shape) > MAX_ELEMENTS:
            raise UnsuitableModel(f"input {name!r} has {math.prod(shape)} elements, too many to draw: give --data")
        if name in settings and math.prod(shape) == 1 and _fits(settings[name], dtype):
            inputs[name] = np.full(shape, settings[name], dtype)
        elif _is_aside(model_input, described, limits):
            inputs[name] = _aside(shape, dtype, sequence, aside)
        elif name in limits:
            inputs[name] = random.integers(0, limits[name], shape).astype(dtype)
        elif dtype.kind == "f":
            is_number = not shape or (len(described) > 1 and all(dim == 1 for dim in model_input.shape))
            inputs[name] = (np.full(shape, SCALAR) if is_number else random.standard_normal(shape)).astype(dtype)
        elif dtype.itemsize == 1 and len(shape) > 2 and dtype.kind in "iu":  # pixels
            inputs[name] = random.integers(0, 256, shape).astype(dtype)
        else:
            inputs[name] = random.integers(0, 2, shape).astype(dtype)
    return inputs


def _fits(number: int, dtype: np.dtype) -> bool:
    """Whether a type holds a whole number."""
    if dtype.kind not in "iu":
        return True
    limits = np.iinfo(dtype)
    return bool(limits.min <= number <= limits.max)


def _aside(shape: Shape, dtype: np.dtype, sequence: int, aside: tuple[int | str, bool]) -> np.ndarray:
    """A mask (two dims or more), a switch (bool), or a length or setting (one number a sample, or one in all)."""
    number, switch = aside
    if dtype.kind == "b":
        return np.full(shape, switch)
    if len([dim for dim in shape if dim != 1]) > 1 or dtype.kind == "f":
        return np.ones(shape, dtype)
    return np.full(shape, sequence if number == LENGTH else number, dtype)
