"""Samples as callers have them: a file, a folder of files, an array, arrays by input name, or batches one by one.

    as_samples({"x": x})                           arrays, samples along the first axis
    as_samples(loader)                             of batches: {"x": x}, x alone, or the pair (x, labels)
    as_samples("sentences/")                       a folder of .npz and .npy files, a sample or a batch each

Batches and files may have different shapes. They are gathered in a temporary file: they may be more than fits into
memory. Which axes samples lie along, and what is one sample without a batch, the model tells: see feed.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from ..errors import FileAccess, InvalidArgument
from .gathered import gather
from .samples import MAX_INFLATED, NAMELESS, Samples, open_samples

LABELS = "labels"  # the array that the second halves of pairs make
GIVEN = "the samples"  # what messages call them
OWN_LABELS = "the labels"
SUFFIXES = (".npz", ".npy")  # of the files of a folder


@runtime_checkable
class Indexed(Protocol):
    """What has a sample at each number, as a Dataset of PyTorch, which is no iterable."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Any: ...


Arrays: TypeAlias = Mapping[str, npt.ArrayLike]
Batch: TypeAlias = npt.ArrayLike | Arrays | tuple[npt.ArrayLike | Arrays, npt.ArrayLike]
BatchAxis: TypeAlias = Mapping[str, int | None]
Data: TypeAlias = str | os.PathLike[str] | npt.ArrayLike | Arrays | Iterable[Batch] | Indexed
Labels: TypeAlias = str | os.PathLike[str] | npt.ArrayLike


def as_samples(data: Data | Samples, batch_axis: BatchAxis | None = None) -> Samples:
    """The samples that a caller gives.

    `data`: the path of an .npz or .npy file, or of a folder of these; an array, for a model with one input; a dict of
    arrays by input name, which may hold labels too, and lists (or arrays of objects) of samples of different lengths;
    or an iterable of batches or samples, such as a generator, a list, a DataLoader or a Dataset, each an array, a dict,
    or a pair (inputs, labels), whose second halves become the array "labels". Tensors of PyTorch are arrays, too.
    `batch_axis`: the axis of samples in some inputs, None for those that are the same for every sample; default: as the
    model tells. Raises InvalidArgument, FileAccess.
    """
    if isinstance(data, Samples):
        samples = data
    elif isinstance(data, (str, os.PathLike)):
        samples = _open_folder(Path(data)) if os.path.isdir(data) else open_samples(data)
    elif isinstance(data, Mapping):
        samples = _of_arrays(data)
    elif isinstance(data, _HasArray):
        samples = _of_arrays({NAMELESS: data})
    elif isinstance(data, Iterable):
        samples = gather(GIVEN, _batches(data))
    elif isinstance(data, Indexed):
        samples = gather(GIVEN, _batches(data[number] for number in range(len(data))))
    else:
        raise InvalidArgument(f"samples are a path, arrays, or batches of these, not {type(data).__name__}")
    if batch_axis is None:
        return samples
    if not isinstance(batch_axis, Mapping):
        raise InvalidArgument(f"batch_axis is a dict of axes by input name, not {batch_axis!r}")
    return replace(samples, batch_axis={str(name): axis for name, axis in batch_axis.items()})


def with_labels(samples: Samples, labels: Labels | None) -> tuple[Samples, str | os.PathLike[str] | None]:
    """The samples and the name of their labels: of labels that are numbers, samples that have them as an array."""
    if labels is None or isinstance(labels, (str, os.PathLike)):
        return samples, labels
    return replace(samples, arrays=_WithLabels(samples.arrays, as_array(labels))), OWN_LABELS


def as_array(array: object) -> np.ndarray:
    """An array, also of lists, and of a tensor of PyTorch that has gradients or lies on a GPU."""
    for step in ("detach", "cpu"):
        if callable(method := getattr(array, step, None)):
            array = method()
    try:
        made = np.asarray(array)
    except ValueError as error:  # of lists
        raise InvalidArgument(f"rows of different lengths are no array: {error}; give each sample by itself") from error
    is_ours = isinstance(array, _HasArray)
    return made if is_ours or made.dtype != np.float64 else made.astype(np.float32)  # Python's numbers have no type


@runtime_checkable
class _HasArray(Protocol):
    """An array, of numpy or another library."""

    def __array__(self) -> np.ndarray: ...


class _WithLabels(Mapping[str, np.ndarray]):
    """Arrays, which may be joined only when they are asked for, and labels."""

    def __init__(self, arrays: Mapping[str, np.ndarray], labels: np.ndarray):
        self._arrays, self._labels = arrays, labels

    def __getitem__(self, name: str) -> np.ndarray:
        return self._labels if name == OWN_LABELS else self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._arrays
        yield OWN_LABELS

    def __len__(self) -> int:
        return len(self._arrays) + 1


def holds_arrays(folder: str | os.PathLike[str]) -> bool:
    """Whether some of a folder's files are .npz or .npy."""
    try:
        return any(each.suffix.lower() in SUFFIXES for each in Path(folder).iterdir())
    except OSError:  # which is told where they are read
        return False


def existing_files(*arguments: Any) -> list[str | os.PathLike[str]]:
    """Those arguments that are the paths of files, and the files of samples in those that are folders."""
    paths = [each for each in arguments if isinstance(each, (str, os.PathLike)) and os.path.exists(each)]
    return [*paths, *(file for each in paths if os.path.isdir(each) for file in _sample_files(Path(each)))]


def _sample_files(folder: Path) -> list[Path]:
    """The files of a folder that hold samples, by their names."""
    try:
        return sorted(each for each in folder.iterdir() if each.suffix.lower() in SUFFIXES and each.is_file())
    except OSError as error:
        raise FileAccess(f"{folder}: cannot be read: {error.strerror or error}") from error


def _open_folder(folder: Path) -> Samples:
    """The files of a folder, by their names."""
    files = _sample_files(folder)
    if not files:
        raise InvalidArgument(
            f"{folder}: no {' or '.join(SUFFIXES)} files there; of images, texts and sounds `dcz samples` makes samples"
        )
    return gather(str(folder), _opened(folder, files))


def _opened(folder: Path, files: Sequence[Path]) -> Iterator[tuple[str, Mapping[str, np.ndarray]]]:
    """The arrays of each file; raises InvalidArgument where all together inflate to more than those of one file may."""
    most, held = max(MAX_INFLATED[0], MAX_INFLATED[1] * sum(file.stat().st_size for file in files)), 0
    for file in files:
        arrays = open_samples(file).arrays
        held += sum(array.nbytes for array in arrays.values())
        if held > most:
            raise InvalidArgument(
                f"{folder}: its compressed arrays take more than {most:,} bytes, for files of this size; save them "
                "anew with np.savez"
            )
        yield str(file), arrays


def _of_arrays(data: Mapping[Any, Any]) -> Samples:
    """Arrays by name; where one is a list of samples of different shapes, each sample by itself."""
    columns = {str(name): array for name, array in data.items()}
    for name, column in columns.items():
        if isinstance(column, (list, tuple)) and not column:
            raise InvalidArgument(f"{GIVEN}: {name!r} is an empty list: give one sample at least")
    ragged = [name for name, array in columns.items() if _is_ragged(array)]
    if not ragged:
        return Samples(GIVEN, {name: _plain(array) for name, array in columns.items()})
    count = len(columns[ragged[0]])
    plain = {name: _plain(array) for name, array in columns.items() if name not in ragged}
    lengths = {name: len(columns[name]) for name in ragged} | {n: len(a) for n, a in plain.items() if a.ndim}
    for name, length in lengths.items():
        if length != count:
            raise InvalidArgument(
                f"{GIVEN}: {count} of {ragged[0]!r} and {length} of {name!r}; of samples of different lengths give as "
                "many of each input"
            )

    def parts() -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        for number in range(count):
            each = {name: as_array(columns[name][number]) for name in ragged}
            each |= {name: array[number] if array.ndim else array for name, array in plain.items()}
            yield f"sample {number} of {GIVEN}", {name: np.asarray(each[name]) for name in columns}

    return gather(GIVEN, parts())


def _plain(array: Any) -> np.ndarray:
    """An array of numbers, also of one of objects that are samples of one shape."""
    is_objects = isinstance(array, np.ndarray) and array.dtype == object and array.ndim == 1 and len(array)
    return np.stack([as_array(each) for each in array]) if is_objects else as_array(array)


def _is_ragged(array: Any) -> bool:
    """Whether what should be an array are samples of different shapes: a list of these, or an array of objects."""
    if isinstance(array, np.ndarray):
        return array.dtype.hasobject and array.ndim == 1 and len({as_array(each).shape for each in array}) > 1
    return isinstance(array, (list, tuple)) and len({as_array(each).shape for each in array}) > 1


def _batches(data: Iterable[Any]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    for number, batch in enumerate(data):
        yield f"batch {number} of {GIVEN}", dict(_named(batch))


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
