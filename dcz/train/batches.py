"""Samples -> batches, in an order that depends on a seed and the epoch.

    for inputs, labels in Batches({"x": x}, y, size=128, seed=0).epoch(3): ...

BatchStream does the same for an iterable of batches, or a function from the epoch's number to one.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import InvalidArgument
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


class Batches:
    """Arrays of samples (by input name, samples along the first axis; memory-mapped or not) and their labels, or None.

    An array without axes is part of every batch. `chosen` (int64, None: all) are the samples to use; with `shuffle`
    their order changes with the epoch. Raises InvalidArgument where the inputs differ in their number of samples or
    have none.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        labels: np.ndarray | None = None,
        *,
        size: int = 128,
        seed: int = 0,
        shuffle: bool = True,
        chosen: np.ndarray | None = None,
    ):
        lengths = {len(array) for array in arrays.values() if array.ndim}
        if len(lengths) != 1 or lengths == {0}:
            raise InvalidArgument(f"each input wants as many samples, one at least; there are {sorted(lengths)}")
        count = lengths.pop()
        if labels is not None and (labels.ndim == 0 or len(labels) != count):
            raise InvalidArgument(f"{len(labels) if labels.ndim else 'no'} labels for {count} samples")
        if size < 1:
            raise InvalidArgument(f"a batch holds one sample at least, not {size}")
        self.arrays, self.labels, self.size, self.seed, self.shuffle = arrays, labels, size, seed, shuffle
        self.chosen = np.arange(count) if chosen is None else np.asarray(chosen)

    def __len__(self) -> int:
        return -(-len(self.chosen) // self.size)

    def epoch(self, number: int) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor | None]]:
        """The batches of an epoch, (inputs, labels); the same number gives the same ones."""
        order = self.chosen
        if self.shuffle:
            order = np.random.default_rng([self.seed, number]).permutation(order)
        for start in range(0, len(order), self.size):
            rows = np.sort(order[start : start + self.size])  # ascending, so that a mapped file is read in its order
            inputs = {name: _rows(array, rows, f"input {name!r}") for name, array in self.arrays.items()}
            yield inputs, None if self.labels is None else _rows(self.labels, rows, "labels")

    def split(self, share: float) -> tuple["Batches", "Batches | None"]:
        """(training, held-out): a random `share` (a fraction) of the samples is held out, in a fixed order, or None."""
        held = round(share * len(self.chosen))
        if held == 0 or held == len(self.chosen):
            return self, None
        order = np.random.default_rng(self.seed).permutation(self.chosen)
        rest, first = np.sort(order[held:]), np.sort(order[:held])
        return (
            Batches(self.arrays, self.labels, size=self.size, seed=self.seed, chosen=rest),
            Batches(self.arrays, self.labels, size=self.size, seed=self.seed, chosen=first, shuffle=False),
        )

    def fingerprint(self) -> str:
        """SHA-256 of the samples' shapes, types, and first and last values, and of all labels."""
        digest = hashlib.sha256(self.chosen.astype("<i8").tobytes())
        for name, array in self.arrays.items():
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            ends = array[[0, -1]] if array.ndim else array
            digest.update(np.ascontiguousarray(ends).tobytes())
        if self.labels is not None:
            digest.update(f"{self.labels.dtype.str} {self.labels.shape}".encode())
            digest.update(np.ascontiguousarray(self.labels).tobytes())
        return digest.hexdigest()


def _rows(array: np.ndarray, rows: np.ndarray, what: str) -> torch.Tensor:
    return as_tensor(np.array(array[rows] if array.ndim else array), what)


class BatchStream:
    """Batches from the caller: an iterable that can be iterated again, or a function from the epoch's number to one.

    A batch is the inputs, or (inputs, labels); inputs are a dict by input name or, of a model with one input, an array.
    Raises InvalidArgument for an iterator, such as a generator, which would be empty after its first epoch.
    """

    def __init__(self, source: Any):
        if isinstance(source, Iterator):
            raise InvalidArgument(
                "an iterator gives its batches only once: give a list, a loader, or a function of the epoch"
            )
        if not callable(source) and not isinstance(source, Iterable) and not hasattr(source, "__getitem__"):
            raise InvalidArgument(
                f"data are arrays, a file, an iterable of batches or a function, not {type(source).__name__}"
            )
        self.source = source

    def __len__(self) -> int:
        """Batches in an epoch; 0 where that is not known."""
        try:
            return len(self.source)
        except TypeError:  # no length, or a loader over an iterable that has none
            return 0

    def epoch(self, number: int) -> Iterator[tuple[Any, torch.Tensor | None]]:
        """The batches of an epoch, (inputs, labels)."""
        batches = self.source(number) if callable(self.source) else self.source
        if not isinstance(batches, Iterable) and not hasattr(batches, "__getitem__"):
            raise InvalidArgument(
                f"the function gives no iterable of batches for epoch {number}: {type(batches).__name__}"
            )
        for batch in batches:
            parts = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
            if len(parts) not in (1, 2):
                raise InvalidArgument(f"a batch is the inputs, or (inputs, labels), not {len(parts)} things")
            labels = parts[1] if len(parts) == 2 else None
            yield parts[0], None if labels is None else as_tensor(labels, "labels")

    def fingerprint(self) -> str:
        """The same for all streams: their batches are not known in advance."""
        return "a stream"
