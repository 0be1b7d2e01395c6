"""Samples -> batches, in an order that depends on a seed and the epoch.

    for inputs, labels in Batches({"x": x}, y, size=128, seed=0).epoch(3): ...

batch_stream does the same for an iterable of batches.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from ..errors import InvalidArgument
from ..text import counted
from .pytorch import torch


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
    if not array.flags.writeable or not array.dtype.isnative:  # torch takes neither
        array = np.array(array, array.dtype.newbyteorder("="))
    return torch.from_numpy(array)


Labels: TypeAlias = torch.Tensor | dict[str, torch.Tensor]  # of one output, or of several by name
Prepare = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]


class Batches:
    """Arrays of samples (by input name, samples along the first axis; memory-mapped or not) and their labels, or None.

    An array without axes is part of every batch. `labels` are an array, or several by output name. `chosen` (int64,
    None: all) are the samples to use; with `shuffle` their order changes with the epoch. `prepare` makes the inputs of
    a batch of what the arrays have. Raises InvalidArgument where the inputs differ in their number of samples or have
    none.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        labels: np.ndarray | Mapping[str, np.ndarray] | None = None,
        *,
        size: int = 128,
        seed: int = 0,
        shuffle: bool = True,
        chosen: np.ndarray | None = None,
        prepare: Prepare | None = None,
    ):
        lengths = {len(array) for array in arrays.values() if array.ndim}
        if len(lengths) != 1 or lengths == {0}:
            raise InvalidArgument(f"each input wants as many samples, one at least; there are {sorted(lengths)}")
        count = lengths.pop()
        for each in labels.values() if isinstance(labels, Mapping) else [labels]:
            if each is not None and (each.ndim == 0 or len(each) != count):
                raise InvalidArgument(f"{len(each) if each.ndim else 'no'} labels for {counted(count, 'sample')}")
        if size < 1:
            raise InvalidArgument(f"a batch holds one sample at least, not {size}")
        self.arrays, self.labels, self.size, self.seed, self.shuffle = arrays, labels, size, seed, shuffle
        self.chosen = np.arange(count) if chosen is None else np.asarray(chosen)
        self.prepare = prepare

    def __len__(self) -> int:
        return -(-len(self.chosen) // self.size)

    def epoch(self, number: int) -> Iterator[tuple[dict[str, torch.Tensor], Labels | None]]:
        """The batches of an epoch, (inputs, labels); the same number gives the same ones."""
        order = self.chosen
        if self.shuffle:
            order = np.random.default_rng([self.seed, number]).permutation(order)
        for start in range(0, len(order), self.size):
            rows = np.sort(order[start : start + self.size])  # ascending, so that a mapped file is read in its order
            inputs = {name: _rows(array, rows, f"input {name!r}") for name, array in self.arrays.items()}
            yield inputs if self.prepare is None else self.prepare(inputs), self._labels_of(rows)

    def _labels_of(self, rows: np.ndarray) -> Labels | None:
        if isinstance(self.labels, Mapping):
            return {name: _rows(array, rows, f"labels of {name!r}") for name, array in self.labels.items()}
        return None if self.labels is None else _rows(self.labels, rows, "labels")

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
            self.arrays, self.labels, size=self.size, seed=self.seed, shuffle=shuffle, chosen=chosen,
            prepare=self.prepare,
        )  # fmt: skip

    def fingerprint(self) -> str:
        """SHA-256 of the samples' shapes, types, and first and last values, and of all labels."""
        digest = hashlib.sha256(self.chosen.astype("<i8").tobytes())
        for name, array in self.arrays.items():
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            ends = array[[0, -1]] if array.ndim else array
            digest.update(np.ascontiguousarray(ends).tobytes())
        for name, labels in (self.labels if isinstance(self.labels, Mapping) else {"": self.labels}).items():
            if labels is not None:
                digest.update(f"{name}{labels.dtype.str} {labels.shape}".encode())
                digest.update(np.ascontiguousarray(labels).tobytes())
        return digest.hexdigest()


def _rows(array: np.ndarray, rows: np.ndarray, what: str) -> torch.Tensor:
    return as_tensor(np.array(array[rows] if array.ndim else array), what)
