"""Samples as callers have them: a file, an array, arrays by input name, or batches that come one after another.

    as_samples({"x": x})                           arrays, samples along the first axis
    as_samples(loader)                             of batches: {"x": x}, x alone, or the pair (x, labels)

Batches are gathered in a temporary file that is mapped into memory: they may be more than fits there.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from ..errors import InvalidArgument
from ..files import temporary
from .samples import NAMELESS, Samples, open_samples

LABELS = "labels"  # the array that the second halves of pairs make
GIVEN = "the samples"  # what messages call them
OWN_LABELS = "the labels"

Arrays: TypeAlias = Mapping[str, npt.ArrayLike]
Batch: TypeAlias = npt.ArrayLike | Arrays | tuple[npt.ArrayLike | Arrays, npt.ArrayLike]
Data: TypeAlias = str | os.PathLike[str] | npt.ArrayLike | Arrays | Iterable[Batch]
Labels: TypeAlias = str | os.PathLike[str] | npt.ArrayLike


def as_samples(data: Data | Samples) -> Samples:
    """The samples that a caller gives.

    `data`: the path of an .npz or .npy file; an array, for a model with one input; a dict of arrays by input name,
    which may hold labels too; or an iterable of batches, such as a generator or a DataLoader, each an array, a dict, or
    a pair (inputs, labels), whose second halves become the array "labels". Tensors of PyTorch are arrays, too. Raises
    InvalidArgument, FileAccess.
    """
    if isinstance(data, Samples):
        return data
    if isinstance(data, (str, os.PathLike)):
        return open_samples(data)
    if isinstance(data, Mapping):
        return Samples(GIVEN, {str(name): as_array(array) for name, array in data.items()})
    if isinstance(data, _HasArray):
        return Samples(GIVEN, {NAMELESS: as_array(data)})
    if not isinstance(data, Iterable):
        raise InvalidArgument(f"samples are a path, arrays, or batches of these, not {type(data).__name__}")
    with contextlib.ExitStack() as stack:
        return Samples(GIVEN, _gathered(data, stack))


def with_labels(samples: Samples, labels: Labels | None) -> tuple[Samples, str | os.PathLike[str] | None]:
    """The samples and the name of their labels: of labels that are numbers, samples that have them as an array."""
    if labels is None or isinstance(labels, (str, os.PathLike)):
        return samples, labels
    return Samples(samples.path, {**samples.arrays, OWN_LABELS: as_array(labels)}), OWN_LABELS


def as_array(array: object) -> np.ndarray:
    """An array, also of lists, and of a tensor of PyTorch that has gradients or lies on a GPU."""
    for step in ("detach", "cpu"):
        if callable(method := getattr(array, step, None)):
            array = method()
    made = np.asarray(array)
    is_ours = isinstance(array, _HasArray)
    return made if is_ours or made.dtype != np.float64 else made.astype(np.float32)  # Python's numbers have no type


@runtime_checkable
class _HasArray(Protocol):
    """An array, of numpy or another library."""

    def __array__(self) -> np.ndarray: ...


def _gathered(batches: Iterable[Any], stack: contextlib.ExitStack) -> dict[str, np.ndarray]:
    """The arrays of all batches, one after another."""
    columns: dict[str, _Column] = {}
    for number, batch in enumerate(batches):
        arrays = _arrays_of(batch)
        if number and arrays.keys() != columns.keys():
            raise InvalidArgument(
                f"batch {number} of the samples has {_listing(arrays)}, the first {_listing(columns)}"
            )
        with temporary(nbytes=sum(array.nbytes for array in arrays.values())):
            for name, array in arrays.items():
                if name not in columns:
                    file = tempfile.TemporaryFile(prefix="dcz-samples-")  # noqa: SIM115 (closed by the stack)
                    store = stack.enter_context(file)
                    columns[name] = _Column(store, array.dtype, array.shape[1:])
                columns[name].add(array, number)
    if not columns:
        raise InvalidArgument("there are no samples: the batches are none; an iterator gives them only once")
    return {name: column.mapped() for name, column in columns.items()}


class _Column:
    """One array in the making."""

    def __init__(self, store: BinaryIO, dtype: np.dtype, shape: tuple[int, ...]):
        self.store, self.dtype, self.shape, self.count = store, dtype, shape, 0

    def add(self, array: np.ndarray, number: int) -> None:
        """The part of one batch."""
        if array.dtype != self.dtype or array.shape[1:] != self.shape:
            raise InvalidArgument(
                f"batch {number} of the samples has the shape {list(array.shape)} of {array.dtype}, the first "
                f"{['n', *self.shape]} of {self.dtype}: give batches of one shape"
            )
        self.store.write(np.ascontiguousarray(array).tobytes())
        self.count += len(array)

    def mapped(self) -> np.ndarray:
        """All parts."""
        self.store.flush()
        if not self.count * int(np.prod(self.shape)) * self.dtype.itemsize:
            return np.empty((self.count, *self.shape), self.dtype)
        return np.memmap(self.store, self.dtype, "r", 0, (self.count, *self.shape))  # it outlives the file's name


def _arrays_of(batch: object) -> dict[str, np.ndarray]:
    """The arrays of one batch by name."""
    found = dict(_named(batch))
    for name, array in found.items():
        if not array.ndim or array.dtype.hasobject:
            raise InvalidArgument(
                f"batches of samples are arrays with samples along their first axis; {name!r} is none"
            )
    return found


def _named(batch: object) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(batch, Mapping):
        yield from ((str(name), as_array(array)) for name, array in batch.items())
    elif isinstance(batch, (tuple, list)) and len(batch) == 2 and isinstance(batch[0], (Mapping, _HasArray)):
        yield from _named(batch[0])
        yield LABELS, as_array(batch[1])
    elif isinstance(batch, (tuple, list)) and len(batch) == 1:
        yield from _named(batch[0])
    elif isinstance(batch, _HasArray):
        yield NAMELESS, as_array(batch)
    else:
        raise InvalidArgument(
            "a batch of samples is an array, a dict of arrays by input name, or a pair (inputs, labels) of these, not "
            f"a {type(batch).__name__}"
        )


def _listing(arrays: Iterable[str]) -> str:
    return ", ".join(repr(name) if name else "one without a name" for name in arrays)
