"""Which axis of each input of a model the samples lie along.

find_axes("net.onnx", session.get_inputs(), parts, {})    ->   {"x": 0, "h0": 1, "rate": None}

Told by the caller, or found: by the symbol that names the batch in all inputs, else it is the first axis where that is
open, else the one whose length is that of the other inputs' samples. What has none is the same for every sample.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from ..arguments import is_whole
from ..errors import InvalidArgument
from .samples import Samples

MAX_RANK = 64  # of an array of numpy
BATCHES = re.compile(r"batch|^(n|b|bs)$", re.IGNORECASE)  # symbols that say what they number
LENGTHS = re.compile(r"seq|len|time|frame|token|step|width|height", re.IGNORECASE)
Axes = dict[str, int | None]
Shape = Sequence[int | str | None]


class ModelInput(Protocol):
    """An input of a model, as onnxruntime tells of it: a dim is a number, a symbol, or None."""

    name: str
    shape: Shape
    type: str


def find_axes(
    path: str,
    inputs: Sequence[ModelInput],
    parts: Sequence[Samples],
    told: Mapping[str, int | None],
    scalars: Collection[str] = (),
) -> Axes:
    """The axis of samples of each input, None where it has none; `told` goes before what is found.

    `parts`: samples with the arrays of the inputs. `scalars`: the inputs that the model declares as one number, whose
    shape is as empty as that of any shape. Raises InvalidArgument where an axis is not known.
    """
    shapes = {each.name: list(each.shape) for each in inputs}
    axes = _of_arrays(path, told_axes(path, shapes, told), shapes, parts, scalars)
    symbol = batch_symbol([shape for name, shape in shapes.items() if name not in axes])
    trailing = {dim for shape in shapes.values() for dim in shape[1:] if isinstance(dim, str)}
    pending = []
    for name, shape in shapes.items():
        if name in axes:
            continue
        if not shape:
            axes[name] = None if name in scalars or all(not part.arrays[name].ndim for part in parts) else 0
        elif symbol is not None and symbol in shape:
            axes[name] = shape.index(symbol)
        elif is_open(shape[0]):
            # Such as positions ["length"] beside ids ["n", "length"].
            axes[name] = None if symbol is not None and shape[0] in trailing else 0
        else:
            pending.append(name)
    known = {name: axis for name, axis in axes.items() if axis is not None and _is_open_at(shapes[name], axis)}
    if not known:
        return axes | _axes_of_fixed({name: shapes[name] for name in pending}, parts)
    lengths = [part_lengths(part, shapes, known) for part in parts]
    for name in pending:
        axes[name] = _axis_beside_open(path, name, shapes[name], parts, lengths)
    return axes


def batch_symbol(shapes: Sequence[Shape]) -> str | None:
    """The symbol that names the batch: the one that all inputs with symbols share and that begins them, but for those
    whose first dim is fixed, or begins none (time before batch); else the only one that begins an input and is no later
    dim of one.

    What follows a first dim of 1, as in tokens [1, "seq_len"], is the length of the only sample, unless an input begins
    with an open dim or the symbol says otherwise; so is what says that it is a length behind any fixed one."""
    named = [[dim for dim in shape if isinstance(dim, str)] for shape in shapes]
    named = [symbols for symbols in named if symbols]
    common = {symbol for symbol in set().union(*named) if all(symbols.count(symbol) == 1 for symbols in named)}
    leading = {shape[0] for shape in shapes if shape and isinstance(shape[0], str)}
    trailing = {dim for shape in shapes if shape and is_open(shape[0]) for dim in shape[1:] if isinstance(dim, str)}
    later = {symbol for symbol in common - leading if _may_number_samples(symbol, shapes)}
    for candidates in (common & leading - trailing, later, leading - trailing):
        if len(candidates) == 1:
            return candidates.pop()
    return None


def _may_number_samples(symbol: str, shapes: Sequence[Shape]) -> bool:
    """Whether a symbol that begins no input may be the batch's all the same."""
    if BATCHES.search(symbol):
        return True
    firsts = [shape[0] for shape in shapes if symbol in shape]
    return any(map(is_open, firsts)) or (not LENGTHS.search(symbol) and any(first != 1 for first in firsts))


def is_open(dim: int | str | None) -> bool:
    """Whether a dim may be of any length."""
    return not isinstance(dim, int) or dim <= 0


def part_lengths(part: Samples, shapes: Mapping[str, Shape], axes: Mapping[str, int | None]) -> dict[str, int]:
    """The numbers of samples in the arrays of a part, by input; an array without that axis is one sample."""
    found = {}
    for name, axis in axes.items():
        array = part.arrays[name]
        if axis is not None:
            is_one = shapes[name] and array.ndim == len(shapes[name]) - 1
            found[name] = 1 if is_one or array.ndim <= axis else array.shape[axis]
    return found


def told_axes(path: str, shapes: Mapping[str, Shape], told: Mapping[str, int | None]) -> Axes:
    """The axes that a caller tells, 0 or more, None for none; raises InvalidArgument for one that an input has not."""
    axes: Axes = {}
    for name, axis in told.items():
        if name not in shapes:
            raise InvalidArgument(
                f"{path}: has no input {name!r} for a batch axis: it has {', '.join(map(repr, shapes))}"
            )
        if axis is not None and not is_whole(axis, -MAX_RANK, MAX_RANK):
            raise InvalidArgument(f"the batch axis of {name!r} is a whole number or none, not {axis!r}")
        rank = len(shapes[name])
        if axis is not None and rank and not -rank <= axis < rank:
            raise InvalidArgument(f"{path}: input {name!r} {told_shape(shapes[name])} has no axis {axis}")
        axes[name] = axis if axis is None or not rank else axis % rank
    return axes


def _of_arrays(
    path: str,
    axes: Axes,
    shapes: Mapping[str, Shape],
    parts: Sequence[Samples],
    scalars: Collection[str],
) -> Axes:
    """Told axes, 0 or more, also of inputs of any shape, by their arrays; raises InvalidArgument where these have none
    such, or an input is one number."""
    found = dict(axes)
    for name, axis in axes.items():
        if axis is None or shapes[name]:
            continue
        if name in scalars:
            raise InvalidArgument(
                f"{path}: input {name!r} is one number, which has no axis: say --batch-axis {name}=none"
            )
        for part in parts:
            shape = part.arrays[name].shape
            if not -len(shape) <= axis < len(shape):
                raise InvalidArgument(f"{part.path}: the array of the input {name!r} {list(shape)} has no axis {axis}")
            found[name] = axis % len(shape)
    return found


def _is_open_at(shape: Shape, axis: int) -> bool:
    return not shape or is_open(shape[axis])


def _axes_of_fixed(shapes: Mapping[str, Shape], parts: Sequence[Samples]) -> Axes:
    """The axes of inputs of a model whose batch is fixed: the only one along which the samples are not as many as the
    model takes. What is just as the model takes it is given once where others are more."""
    axes: Axes = {}
    for name, shape in shapes.items():
        arrays = [part.arrays[name] for part in parts]
        others = {axis for each in arrays if each.ndim == len(shape) for axis in _misfits(each.shape, shape)}
        lacking = [each.shape for each in arrays if each.ndim == len(shape) - 1]
        if lacking and not others:
            others = {axis for axis in range(len(shape)) if all(lacks(each, shape, axis) for each in lacking)}
        if others or any(each.ndim != len(shape) for each in arrays):
            axes[name] = others.pop() if len(others) == 1 else 0
    counts = {n for part in parts for n in part_lengths(part, shapes, axes).values()}
    if len(counts) > 1:
        counts.discard(1)  # of what is given once, too
    if not counts:
        counts = {shape[0] for shape in list(shapes.values())[:1] if isinstance(shape[0], int)}
    return axes | {name: 0 if shape[0] in counts else None for name, shape in shapes.items() if name not in axes}


def lacks(lengths: Sequence[int], shape: Shape, axis: int) -> bool:
    """Whether an array is one sample: of a model's shape without that axis."""
    rest = [*shape[:axis], *shape[axis + 1 :]]
    return len(lengths) == len(rest) and not _misfits(lengths, rest)


def _misfits(lengths: Sequence[int], shape: Shape) -> list[int]:
    return [
        axis
        for axis, (length, dim) in enumerate(zip(lengths, shape, strict=True))
        if not is_open(dim) and length != dim
    ]


def _axis_beside_open(
    path: str, name: str, shape: Shape, parts: Sequence[Samples], lengths: Sequence[Mapping[str, int]]
) -> int | None:
    """The axis of an input whose first one is fixed, where other inputs have open ones."""
    arrays = [part.arrays[name] for part in parts]
    opens = [axis for axis, dim in enumerate(shape) if is_open(dim)]
    if not opens:
        return None if all(list(array.shape) == list(shape) for array in arrays) else 0
    counts = [max(each.values(), default=1) for each in lengths]

    def fits(axis: int) -> bool:
        return all(
            lacks(array.shape, shape, axis) or (array.ndim == len(shape) and array.shape[axis] in (1, count))
            for array, count in zip(arrays, counts, strict=True)
        )

    found = [axis for axis in opens if fits(axis)]
    if len(found) > 1:  # of several that fit, one of as many as there are samples
        found = [axis for axis in found if any(a.ndim == len(shape) and a.shape[axis] > 1 for a in arrays)]
    if len(found) == 1:
        return found[0]
    if not found and shape[0] == 1 and all(array.ndim == len(shape) for array in arrays):
        return 0  # one at a time
    raise InvalidArgument(
        f"{parts[0].path}: input {name!r} of {path} has the shape {told_shape(shape)}, the samples "
        f"{list(arrays[0].shape)}: which axis they lie along is not known; give --batch-axis {name}=1 (in Python "
        f"batch_axis={{{name!r}: 1}}), or none where it is the same for every sample"
    )


def told_shape(shape: Shape) -> str:
    """A model's shape in words."""
    return f"[{', '.join('?' if dim is None else str(dim) for dim in shape)}]"
