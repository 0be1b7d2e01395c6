"""Samples as a model takes them: which belong into one run, and the arrays of a run.

    feed = Feed("net.onnx", session.get_inputs(), samples)
    feed.runs(np.arange(feed.count), 32)        [array([0, 1, 5]), array([2, 3, 4]), ...]: samples of equal shapes
    feed.inputs(np.array([0, 1, 5]))            {"ids": int64 [3, 17], "rate": int64 []}

Samples of different shapes never run together; inputs that are given once go with every sample. A part of the samples
(a file, a batch) whose arrays lack the axis of samples is one sample.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InvalidArgument, UnsuitableModel
from ..text import counted
from . import casting
from .batch_axes import Axes, ModelInput, Shape, batch_symbol, find_axes, is_open, told_shape
from .samples import Samples


@dataclass(frozen=True, eq=False)
class _Part:
    """The arrays of some samples, of one shape each; without an axis of samples where that is None in `axes`."""

    path: str
    arrays: Mapping[str, np.ndarray]
    axes: Axes
    count: int
    is_lone: bool  # one sample, whose arrays came without an axis of samples
    key: tuple[object, ...]  # equal for parts whose samples may run together


class Feed:
    """Samples fitted to the inputs of the model `path`.

    `count`: how many samples there are; `counts`: in each part; `are_lone`: whether a part is one sample without an
    axis of samples. `axes`: the axis of samples in each input, None where it has none. `groups` (int64 [count]): equal
    for samples that may run together. `symbol`: that by which the model names the batch, or None. `fixed_batch`: the
    number of samples that the model insists on, or None.
    """

    def __init__(
        self,
        path: str,
        inputs: Sequence[ModelInput],
        samples: Samples,
        scalars: Collection[str] = (),
        any_batch: bool = False,
        outputs: Sequence[Shape] = (),
    ) -> None:
        """`scalars`: the inputs that the model declares as one number. `any_batch`: where it fixes the batch, take any
        other number of samples too. `outputs`: the shapes of the model's outputs: where these are all for one sample,
        whatever the inputs declare, it takes one at a time. Raises InvalidArgument where samples do not fit, and
        UnsuitableModel for a model whose inputs no samples fill."""
        self.path, self.samples, self._inputs = path, samples, {each.name: each for each in inputs}
        parts = [part.named(self._inputs) for part in samples.parts or (samples,)]
        self.axes = find_axes(path, inputs, parts, samples.batch_axis, scalars)
        self.symbol = batch_symbol([each.shape for each in inputs])
        shapes = {each.name: list(each.shape) for each in inputs}
        if any_batch:
            shapes = {name: _with_any_batch(shape, self.axes[name]) for name, shape in shapes.items()}
        self._parts = [_fitted(path, part, shapes, self.axes, scalars) for part in parts]
        self.counts = counts = [part.count for part in self._parts]
        self.are_lone = [part.is_lone for part in self._parts]
        self.count = sum(counts)
        if not self.count:
            first = next(iter(parts[0].arrays), "")
            shape = list(parts[0].arrays[first].shape) if first else []
            raise InvalidArgument(f"{samples.path}: holds no samples: {first!r} has the shape {shape}")
        self.fixed_batch = _fixed_batch(path, shapes, self.axes)
        if self.symbol is not None and outputs and all(_is_of_one(shape, self.symbol) for shape in outputs):
            self.fixed_batch = self.fixed_batch or 1
        self._part_of = np.repeat(np.arange(len(counts)), counts)
        self._place_of = np.arange(self.count) - np.repeat(np.cumsum([0, *counts[:-1]]), counts)
        keys: dict[tuple[object, ...], int] = {}
        groups = [keys.setdefault(part.key, len(keys)) for part in self._parts]
        self.groups = np.array(groups)[self._part_of]

    @property
    def arrays(self) -> list[Mapping[str, np.ndarray]]:
        """The arrays of each part by input name, with the axes that they lacked."""
        return [part.arrays for part in self._parts]

    @property
    def is_uniform(self) -> bool:
        """Whether all samples may run together."""
        return bool((self.groups == self.groups[0]).all())

    def place(self, index: int) -> str:
        """What messages call a sample: its file, or where it is in there."""
        part, place = self._part_of[index], self._place_of[index]
        path = self._parts[part].path
        return path if self.counts[part] == 1 else f"{path}: sample {place}"

    def runs(self, indices: np.ndarray, max_size: int) -> list[np.ndarray]:
        """The samples at `indices` (int64 [n]) cut into runs of `max_size` at most, or of a fixed batch: those that may
        run together, in their order, group by group in the order of their first ones."""
        return cut_into_runs(indices, self.groups, self.run_size(max_size))

    def run_size(self, max_size: int) -> int:
        """The samples of a run: `max_size`, or a fixed batch; one of a model that has no batch."""
        return 1 if all(axis is None for axis in self.axes.values()) else self.fixed_batch or max(1, max_size)

    def size_of(self, indices: np.ndarray) -> int:
        """The samples that a run of `indices` holds, with those that fill it up."""
        return self.fixed_batch or len(indices)

    def inputs(self, indices: np.ndarray, size: int | None = None) -> dict[str, np.ndarray]:
        """The arrays for the samples of one run, in the types of the inputs, filled up to `size`, or to a fixed batch,
        with the last one. Raises InvalidArgument for values that an input cannot hold."""
        size = self.size_of(indices) if size is None else size
        indices = np.append(indices, np.repeat(indices[-1:], size - len(indices)))
        return {name: self._input(name, each, indices) for name, each in self._inputs.items()}

    def samples_where(self, name: str, places: np.ndarray) -> np.ndarray:
        """Which samples of a run have some of these places (bool, as the input `name`): bool [samples]; of an input
        that has no axis of samples, all or none."""
        axis = self.axes[name]
        if axis is None:
            return np.array([places.any()])
        along = np.moveaxis(places, axis, 0)
        return np.asarray(along.reshape(len(along), -1).any(1))

    def _input(self, name: str, model_input: ModelInput, indices: np.ndarray) -> np.ndarray:
        axis = self.axes[name]
        where = f"{self.samples.path}: input {name!r} of {self.path}"
        first = self._parts[self._part_of[indices[0]]]
        if axis is None:
            return casting.cast(first.arrays[name], model_input.type, where)
        pieces = []
        for part, places in _stretches(self._part_of[indices], self._place_of[indices]):
            array = self._parts[part].arrays[name]
            pieces.append(array.take(places if array.shape[axis] > 1 else np.zeros_like(places), axis))
        array = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis)
        return casting.cast(array, model_input.type, where)


def cut_into_runs(indices: np.ndarray, groups: np.ndarray, size: int) -> list[np.ndarray]:
    """The samples at `indices` (int64 [n]) in runs of `size` at most, of those that are equal in `groups` (int64
    [count]): in their order, group by group in the order of their first ones."""
    chosen = groups[indices]
    places = np.argsort(chosen, kind="stable")
    found = np.split(places, np.flatnonzero(np.diff(chosen[places])) + 1)
    ordered = sorted(found, key=lambda each: int(each[0]) if len(each) else 0)
    return [indices[each[start : start + size]] for each in ordered for start in range(0, len(each), size)]


def _with_any_batch(shape: list[int | str | None], axis: int | None) -> list[int | str | None]:
    """The shape with its dim of samples open, if it was fixed."""
    if axis is None or not shape or is_open(shape[axis]):
        return shape
    return [*shape[:axis], None, *shape[axis + 1 :]]


def _stretches(parts: np.ndarray, places: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each part, and the places in it, as often as it follows another."""
    cuts = np.flatnonzero(np.diff(parts)) + 1
    for start, stop in zip([0, *cuts], [*cuts, len(parts)], strict=True):
        yield int(parts[start]), places[start:stop]


def _fitted(path: str, part: Samples, shapes: Mapping[str, Shape], axes: Axes, scalars: Collection[str]) -> _Part:
    """A part with the axes that its arrays lack; raises InvalidArgument where these are not what the model wants."""
    arrays, lengths, key, is_lone = {}, {}, list[object](), False
    for name, shape in shapes.items():
        array, axis = part.arrays[name], axes[name]
        if name in scalars:
            array = _number(path, part, name)
        elif axis is not None and shape and array.ndim == len(shape) - 1:
            array, is_lone = np.expand_dims(array, axis), True
        elif axis is None and not shape and array.size == 1:
            array = array.reshape(())
        _check_shape(path, part, name, shape, array, axis)
        arrays[name] = array
        if axis is None:
            key.append((name, array.dtype.str, array.shape, array.tobytes()))
        else:
            lengths[name] = array.shape[axis]
            key.append((name, array.shape[:axis], array.shape[axis + 1 :]))
    several = {name: length for name, length in lengths.items() if length != 1}
    if len(set(several.values())) > 1:
        first, second = list({length: name for name, length in several.items()}.values())[:2]
        raise InvalidArgument(
            f"{part.path}: {counted(several[first], 'sample')} of {first!r} and {several[second]} of {second!r} "
            f"(axes {axes[first]} and {axes[second]}); arrays must have the same length along the axis of samples, or "
            "be given once; another axis is told by --batch-axis NAME=1"
        )
    is_lone = (is_lone or not lengths) and not several
    return _Part(part.path, arrays, axes, next(iter(several.values()), 1), is_lone, tuple(key))


def _number(path: str, part: Samples, name: str) -> np.ndarray:
    """The array of an input that is one number: all its entries are the same."""
    array = part.arrays[name]
    is_one = array.size == 1 or (array.size and (array == array.flat[0]).all())  # NaN equals nothing, itself neither
    if not is_one:
        raise InvalidArgument(
            f"{part.path}: input {name!r} of {path} is one number, the samples have {list(array.shape)}, not all the "
            "same: give one, and other samples as files of a folder, or a list of dicts"
        )
    return array.reshape(-1)[:1].reshape(())


def _check_shape(path: str, part: Samples, name: str, shape: Shape, array: np.ndarray, axis: int | None) -> None:
    """Raise InvalidArgument where an array is not of the shape that the model wants; [] is what it says for any
    shape."""
    fits = len(shape) == array.ndim and all(
        number == axis or is_open(dim) or dim == length
        for number, (dim, length) in enumerate(zip(shape, array.shape, strict=True))
    )
    if shape and not fits:
        along = "" if axis in (None, 0) else f" with the samples along axis {axis}"
        pairs = enumerate(zip(shape, array.shape, strict=False))
        misfits = [n for n, (dim, length) in pairs if n != axis and not is_open(dim) and dim != length]
        is_elsewhere = len(misfits) == 1 and len(shape) == array.ndim and shape[misfits[0]] == 1  # a batch of one
        other = f", or say where the samples lie: --batch-axis {name}={misfits[0]}" if is_elsewhere else ""
        raise InvalidArgument(
            f"{part.path}: input {name!r} of {path} wants the shape {told_shape(shape)}{along}, the samples have "
            f"{list(part.arrays[name].shape)}; save it with the model's axes in their order{other}"
        )


def _is_of_one(shape: Shape, symbol: str) -> bool:
    """Whether an output begins with a fixed 1 where the inputs have a batch, as of models that were traced with one
    sample: [1, "seq", 2]."""
    return len(shape) > 1 and shape[0] == 1 and symbol not in shape


def _fixed_batch(path: str, shapes: Mapping[str, Shape], axes: Axes) -> int | None:
    along = {name: shapes[name][axis] for name, axis in axes.items() if axis is not None and shapes[name]}
    fixed = {dim for dim in along.values() if isinstance(dim, int) and dim > 0}
    if len(fixed) > 1:
        raise UnsuitableModel(
            f"{path}: its inputs have fixed batches of {sorted(fixed)}, which no samples fill; where one is the same "
            "for every sample, or has them along another axis, say so: --batch-axis NAME=none, --batch-axis NAME=1"
        )
    return fixed.pop() if fixed else None
