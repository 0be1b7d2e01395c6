"""Batches of the caller's own: an iterable of them, such as a DataLoader, or a function that gives one.

    for inputs, labels in BatchStream(loader, ["x"]).epoch(3): ...

They come as the caller makes them: in that order, of that size.
"""

import contextlib
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import InvalidArgument, told
from ..evaluation.given import Indexed
from .batches import Labels, as_tensor
from .layout import SAMPLES_FIRST, Layout


class BatchStream:
    """Batches from the caller: an iterable that can be iterated again, such as a DataLoader, or a function to one: of
    the epoch's number, or of nothing, as a generator function may be.

    A batch is the inputs, or (inputs, labels); inputs are a dict by input name or, of a model with one input, an array.
    Of a model with several inputs (`names`) a batch may also be these, one after another, and the labels. Where
    `label_name` is given, that of a dict are the labels. Labels are an array, or a dict of them by output name.
    `layout` says where the samples lie in a batch.
    Raises InvalidArgument for an iterator, such as a generator, which would be empty after its first epoch.
    """

    def __init__(
        self, source: Any, names: Sequence[str] = (), label_name: str | None = None, layout: Layout = SAMPLES_FIRST
    ):
        if isinstance(source, Iterator):
            raise InvalidArgument(
                "an iterator gives its batches only once: give a list, a loader, or the function that makes it"
            )
        if not callable(source) and not isinstance(source, Iterable) and not hasattr(source, "__getitem__"):
            raise InvalidArgument(
                f"data are arrays, a file, an iterable of batches or a function, not {type(source).__name__}"
            )
        self.source, self.names, self.label_name, self.layout = source, tuple(names), label_name, layout

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
            if not isinstance(batches, Iterable) and isinstance(
                batches, Indexed
            ):  # which need not end by an IndexError
                batches = map(batches.__getitem__, range(len(batches)))
            iterator = iter(batches)
        for count in itertools.count():
            with told(f"the data fail in epoch {number}"):
                batch = next(iterator, _END)
            if batch is _END:
                return
            yield self._parts(batch, f"entry {count} of the data")

    def _source_of(self, number: int) -> Any:
        if not callable(self.source):
            return self.source
        return self.source(number) if _takes_epoch(self.source) else self.source()

    def _parts(self, batch: Any, place: str) -> tuple[Any, Labels | None]:
        """(inputs, labels) of a batch; `place` is what messages call it."""
        parts = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
        count = len(self.names)
        if count > 1 and len(parts) in (count, count + 1) and not isinstance(parts[0], Mapping):
            parts = (dict(zip(self.names, parts, strict=False)), *parts[count:])
        if len(parts) not in (1, 2):
            raise InvalidArgument(f"{place}: a batch is the inputs, or (inputs, labels), not {len(parts)} things")
        inputs, labels = parts if len(parts) == 2 else (parts[0], None)
        if self.label_name is not None:
            if labels is not None or not isinstance(inputs, Mapping) or self.label_name not in inputs:
                raise InvalidArgument(
                    f"{place}: a batch is a dict, with the labels under {self.label_name!r}; this one is none"
                )
            labels = inputs[self.label_name]
        if isinstance(labels, Mapping):
            return inputs, {name: as_tensor(each, f"{place}: labels of {name!r}") for name, each in labels.items()}
        return inputs, None if labels is None else as_tensor(labels, f"{place}: labels")

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
