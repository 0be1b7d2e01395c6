"""Samples -> batches, in an order that depends on a seed and the epoch.

    for inputs, labels in Batches({"x": x}, y, size=128, seed=0).epoch(3): ...

BatchStream does the same for an iterable of batches, such as a DataLoader, or a function that gives one.
"""

import contextlib
import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..errors import InvalidArgument, told
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


class BatchStream:
    """Batches from the caller: an iterable that can be iterated again, such as a DataLoader, or a function to one: of
    the epoch's number, or of nothing, as a generator function may be.

    A batch is the inputs, or (inputs, labels); inputs are a dict by input name or, of a model with one input, an array.
    Of a model with several inputs (`names`) a batch may also be these, one after another, and the labels. Where
    `label_name` is given, that of a dict are the labels. Labels are an array, or a dict of them by output name.
    Raises InvalidArgument for an iterator, such as a generator, which would be empty after its first epoch.
    """

    def __init__(self, source: Any, names: Sequence[str] = (), label_name: str | None = None):
        if isinstance(source, Iterator):
            raise InvalidArgument(
                "an iterator gives its batches only once: give a list, a loader, or the function that makes it"
            )
        if not callable(source) and not isinstance(source, Iterable) and not hasattr(source, "__getitem__"):
            raise InvalidArgument(
                f"data are arrays, a file, an iterable of batches or a function, not {type(source).__name__}"
            )
        self.source, self.names, self.label_name = source, tuple(names), label_name

    def __len__(self) -> int:
        """Batches in an epoch; 0 where that is not known."""
        with contextlib.suppress(Exception):  # no length, or a loader over an iterable that has none
            return len(self.source)
        return 0

    def epoch(self, number: int) -> Iterator[tuple[Any, Labels | None]]:
        """The batches of an epoch, (inputs, labels). What the caller's code raises becomes an InvalidArgument."""
        with told(f"the data fail in epoch {number}"):
            batches = self._source_of(number)
            if not isinstance(batches, Iterable) and not hasattr(batches, "__getitem__"):
                raise InvalidArgument(
                    f"the function gives no iterable of batches for epoch {number}: {type(batches).__name__}"
                )
            iterator = iter(batches)
        while True:
            with told(f"the data fail in epoch {number}"):
                batch = next(iterator, _END)
            if batch is _END:
                return
            yield self._parts(batch)

    def _source_of(self, number: int) -> Any:
        if not callable(self.source):
            return self.source
        return self.source(number) if _takes_epoch(self.source) else self.source()

    def _parts(self, batch: Any) -> tuple[Any, Labels | None]:
        """(inputs, labels) of a batch."""
        parts = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
        count = len(self.names)
        if count > 1 and len(parts) in (count, count + 1) and not isinstance(parts[0], Mapping):
            parts = (dict(zip(self.names, parts, strict=False)), *parts[count:])
        if len(parts) not in (1, 2):
            raise InvalidArgument(f"a batch is the inputs, or (inputs, labels), not {len(parts)} things")
        inputs, labels = parts if len(parts) == 2 else (parts[0], None)
        if self.label_name is not None:
            if labels is not None or not isinstance(inputs, Mapping) or self.label_name not in inputs:
                raise InvalidArgument(f"a batch is a dict, with the labels under {self.label_name!r}; this one is none")
            labels = inputs[self.label_name]
        if isinstance(labels, Mapping):
            return inputs, {name: as_tensor(each, f"labels of {name!r}") for name, each in labels.items()}
        return inputs, None if labels is None else as_tensor(labels, "labels")

    def fingerprint(self) -> str:
        """The same for all streams: their batches are not known in advance."""
        return "a stream"


_END = object()


def _takes_epoch(function: Callable[..., Any]) -> bool:
    """Whether a function takes an argument, as far as its signature tells."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of builtins that tell nothing
        return True
    return any(
        each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD, each.VAR_POSITIONAL) for each in parameters
    )
