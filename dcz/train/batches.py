"""Samples -> batches, in an order that depends on a seed and the epoch.

    for inputs, labels in Batches({"x": x}, y, size=128, seed=0).epoch(3): ...

Samples of different shapes never share a batch. batch_stream does the same for an iterable of batches.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from ..errors import InvalidArgument
from ..evaluation.batch_axes import Axes
from ..evaluation.feed import Feed, cut_into_runs
from ..text import counted
from .layout import Layout
from .pytorch import torch
from .ragged import Ragged


def as_tensor(values: Any, what: str) -> torch.Tensor:
    """An array, tensor or nested list of numbers as a tensor; raises InvalidArgument, which calls it `what`."""
    if isinstance(values, torch.Tensor):
        return values
    try:
        array = np.asanyarray(values)
    except ValueError as error:
        raise InvalidArgument(f"{what}: no array: {error}") from error
    if array.dtype.kind not in "biuf":
        raise InvalidArgument(f"{what}: an array of numbers is wanted, not of {array.dtype}")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:  # which torch has not
        array = array.astype(np.float64)
    if not array.flags.writeable or not array.dtype.isnative:  # torch takes neither
        array = np.array(array, array.dtype.newbyteorder("="))
    return torch.from_numpy(array)


Labels: TypeAlias = torch.Tensor | dict[str, torch.Tensor]  # of one output, or of several by name
Prepare = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
Targets: TypeAlias = np.ndarray | Ragged  # the labels of all samples


class Batches:
    """Samples and their labels, or None, in batches of `size` at most.

    `samples`: arrays by input name, samples along the first axis (an array without axes is part of every batch),
    memory-mapped or not; or a Feed, for samples of different shapes or along other axes. `labels` are an array, or
    several by output name, samples first; a batch has those of an output along its axis of `layout`. `chosen` (int64,
    None: all) are the samples to use; with `shuffle` their order changes with the epoch. `prepare` makes the inputs of
    a batch of what the samples have. Raises InvalidArgument where the inputs differ in their number of samples or have
    none.
    """

    def __init__(
        self,
        samples: "Mapping[str, np.ndarray] | Feed | _Arrays",
        labels: Targets | Mapping[str, Targets] | None = None,
        *,
        size: int = 128,
        seed: int = 0,
        shuffle: bool = True,
        chosen: np.ndarray | None = None,
        prepare: Prepare | None = None,
        layout: Layout | None = None,
    ):
        self.samples = _Arrays(samples) if isinstance(samples, Mapping) else samples
        count = self.samples.count
        for each in labels.values() if isinstance(labels, Mapping) else [labels]:
            if each is not None and (each.ndim == 0 or len(each) != count):
                raise InvalidArgument(f"{len(each) if each.ndim else 'no'} labels for {counted(count, 'sample')}")
        if size < 1:
            raise InvalidArgument(f"a batch holds one sample at least, not {size}")
        self.labels, self.size, self.seed, self.shuffle = labels, size, seed, shuffle
        self.chosen = np.arange(count) if chosen is None else np.asarray(chosen)
        self.prepare, self.layout = prepare, Layout(self.samples.axes) if layout is None else layout
        self._groups = _grouped(self.samples.groups, labels)

    def __len__(self) -> int:
        """The steps that an epoch takes, of `size` samples each."""
        return -(-len(self.chosen) // self.size)

    def epoch(self, number: int) -> Iterator[tuple[dict[str, torch.Tensor], Labels | None]]:
        """The batches of an epoch, (inputs, labels); the same number gives the same ones."""
        random, order = np.random.default_rng([self.seed, number]), self.chosen
        if self.shuffle:
            order = random.permutation(order)
        runs = cut_into_runs(order, self._groups, self.samples.run_size(self.size))
        if self.shuffle and len(np.unique(self._groups[order])) > 1:  # else short ones would follow one another
            runs = [runs[place] for place in random.permutation(len(runs))]
        for run in runs:
            yield self.batch(np.sort(run))  # ascending, so that a mapped file is read in its order

    def batch(self, rows: np.ndarray) -> tuple[dict[str, torch.Tensor], Labels | None]:
        """The samples `rows` (int64 [n]), which are of one shape, as (inputs, labels)."""
        arrays = self.samples.inputs(rows)
        inputs = {name: as_tensor(array, f"input {name!r}") for name, array in arrays.items()}
        return inputs if self.prepare is None else self.prepare(inputs), self._labels_of(rows)

    def of_each_shape(self) -> np.ndarray:
        """The first of the samples of each shape, of inputs and labels: int64 [shapes]."""
        return np.sort(self.chosen[np.unique(self._groups[self.chosen], return_index=True)[1]])

    def _labels_of(self, rows: np.ndarray) -> Labels | None:
        if isinstance(self.labels, Mapping):
            return {name: self._turned(array, rows, name) for name, array in self.labels.items()}
        return None if self.labels is None else self._turned(self.labels, rows, None)

    def _turned(self, labels: Targets, rows: np.ndarray, name: str | None) -> torch.Tensor:
        """The labels of some samples with the samples along the output's axis."""
        tensor = as_tensor(np.array(labels[rows]), "labels" if name is None else f"labels of {name!r}")
        axis = self.layout.label_axis(name)
        return tensor.movedim(0, axis) if 0 < axis < tensor.dim() else tensor

    def split(self, share: float) -> tuple["Batches", "Batches | None"]:
        """(training, held-out): a random `share` (a fraction) of the samples is held out, in a fixed order, or None."""
        held = round(share * len(self.chosen))
        if held == 0 or held == len(self.chosen):
            return self, None
        order = np.random.default_rng(self.seed).permutation(self.chosen)
        return self._part(np.sort(order[held:]), True), self._part(np.sort(order[:held]), False)

    def _part(self, chosen: np.ndarray, shuffle: bool) -> "Batches":
        """Some of the samples, in batches of the same kind."""
        return Batches(
            self.samples, self.labels, size=self.size, seed=self.seed, shuffle=shuffle, chosen=chosen,
            prepare=self.prepare, layout=self.layout,
        )  # fmt: skip

    def fingerprint(self) -> str:
        """SHA-256 of the samples' shapes, types, and first and last values, and of all labels."""
        digest = hashlib.sha256(self.chosen.astype("<i8").tobytes())
        for arrays in self.samples.arrays:
            for name, array in arrays.items():
                digest.update(f"{name} {self.samples.axes[name]} {array.dtype.str} {array.shape}".encode())
                ends = array[[0, -1]] if array.ndim and len(array) else array
                digest.update(np.ascontiguousarray(ends).tobytes())
        for name, labels in (self.labels if isinstance(self.labels, Mapping) else {"": self.labels}).items():
            for each in labels if isinstance(labels, Ragged) else [labels]:
                if each is not None:
                    digest.update(f"{name}{each.dtype.str} {each.shape}".encode())
                    digest.update(np.ascontiguousarray(each).tobytes())
        return digest.hexdigest()


class _Arrays:
    """Arrays of samples along their first axis, as a Feed has samples of all kinds."""

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        lengths = {len(array) for array in arrays.values() if array.ndim}
        if len(lengths) != 1 or lengths == {0}:
            raise InvalidArgument(f"each input wants as many samples, one at least; there are {sorted(lengths)}")
        self.arrays, self.count = [arrays], lengths.pop()
        self.counts = [self.count]
        self.axes: Axes = {name: 0 if array.ndim else None for name, array in arrays.items()}
        self.groups = np.zeros(self.count, np.int64)

    def place(self, index: int) -> str:
        return f"sample {index}"

    def run_size(self, max_size: int) -> int:
        return max_size

    def inputs(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        (arrays,) = self.arrays
        return {name: np.array(array[rows] if array.ndim else array) for name, array in arrays.items()}


def _grouped(groups: np.ndarray, labels: Targets | Mapping[str, Targets] | None) -> np.ndarray:
    """Numbers (int64 [n]) that are equal for samples of one group whose labels are of one shape."""
    ragged = [
        each for each in (labels.values() if isinstance(labels, Mapping) else [labels]) if isinstance(each, Ragged)
    ]
    if not ragged:
        return groups
    keys = np.stack([groups, *(each.groups for each in ragged)], 1)
    return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
