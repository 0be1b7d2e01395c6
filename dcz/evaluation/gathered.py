"""Samples that come batch by batch, or file by file, gathered in temporary files that are mapped into memory.

gather("the samples", [("batch 0 of the samples", {"x": x}), ...])   ->   Samples with parts, of whatever shapes

They may be more than fits into memory. `arrays` joins them by name, where their shapes allow that.
"""

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import BinaryIO

import numpy as np

from ..errors import InvalidArgument
from ..files import temporary
from .samples import Samples

MOST_NAMES = 500  # of arrays, each of which has a file that is open meanwhile: no model has as many inputs


def gather(path: str, parts: Iterable[tuple[str, Mapping[str, np.ndarray]]]) -> Samples:
    """The samples of all parts, each with the name that messages call it.

    Raises InvalidArgument where the parts are none, or have arrays of other names or kinds than the first one, or of
    too many names.
    """
    columns: dict[str, _Column] = {}
    labels: list[str] = []
    with contextlib.ExitStack() as stack:
        for label, arrays in parts:
            if labels and arrays.keys() != columns.keys():
                raise InvalidArgument(f"{label} has {_listing(arrays)}, the first {_listing(columns)}")
            if len(arrays) > MOST_NAMES:
                raise InvalidArgument(f"{label} has {len(arrays):,} arrays: give one for each input of the model")
            with temporary(nbytes=sum(array.nbytes for array in arrays.values())):
                for name, array in arrays.items():
                    if array.dtype.hasobject:
                        raise InvalidArgument(
                            f"{label}: {name!r} holds Python objects: give numbers, and sequences of different lengths "
                            "as a dict of arrays each"
                        )
                    if name not in columns:
                        file = tempfile.TemporaryFile(prefix="dcz-samples-")  # noqa: SIM115 (closed by the stack)
                        columns[name] = _Column(name, path, stack.enter_context(file))
                    columns[name].add(array)
            labels.append(label)
        if not labels:
            raise InvalidArgument("there are no samples: the batches are none; an iterator gives them only once")
        pieces = {name: column.mapped() for name, column in columns.items()}
    each = zip(labels, zip(*pieces.values(), strict=True), strict=True)
    made = tuple(Samples(label, dict(zip(pieces, arrays, strict=True))) for label, arrays in each)
    return Samples(path, Joined({name: column.joined for name, column in columns.items()}), made)


class Joined(Mapping[str, np.ndarray]):
    """The arrays of all parts by name, each joined when it is asked for; raises InvalidArgument where the parts are of
    different shapes."""

    def __init__(self, join: Mapping[str, Callable[[], np.ndarray]]):
        self._join = join

    def __getitem__(self, name: str) -> np.ndarray:
        return self._join[name]()

    def __contains__(self, name: object) -> bool:
        return name in self._join  # without joining

    def __iter__(self) -> Iterator[str]:
        return iter(self._join)

    def __len__(self) -> int:
        return len(self._join)


class _Column:
    """The arrays of one name, one after another in a file."""

    def __init__(self, name: str, path: str, store: BinaryIO):
        self._name, self._path, self._store = name, path, store
        self._places: list[tuple[int, np.dtype, tuple[int, ...]]] = []
        self._bytes = 0
        self._all: np.ndarray = np.empty(0, np.uint8)

    def add(self, array: np.ndarray) -> None:
        """The array of one part."""
        self._store.write(np.ascontiguousarray(array).tobytes())
        self._places.append((self._bytes, array.dtype, array.shape))
        self._bytes += array.nbytes

    def mapped(self) -> list[np.ndarray]:
        """The array of each part."""
        self._store.flush()
        if self._bytes:
            self._all = np.memmap(self._store, np.uint8, "r")  # it outlives the file's name
        return [
            np.asarray(self._all[start : start + dtype.itemsize * math.prod(shape)]).view(dtype).reshape(shape)
            for start, dtype, shape in self._places
        ]

    def joined(self) -> np.ndarray:
        """All parts along their first axis; numbers as a vector."""
        dtypes, shapes = {place[1] for place in self._places}, {place[2][1:] for place in self._places}
        if len(dtypes) > 1 or len(shapes) > 1 or len({len(place[2]) for place in self._places}) > 1:
            sizes = " and ".join(sorted({f"{list(shape)} of {dtype}" for _, dtype, shape in self._places})[:2])
            raise InvalidArgument(f"{self._path}: {self._name!r} is not one array: it has the shapes {sizes}")
        (dtype,), (shape,) = dtypes, shapes
        count = sum(place[2][0] if place[2] else 1 for place in self._places)
        return self._all.view(dtype).reshape(count, *shape)


def _listing(arrays: Iterable[str]) -> str:
    return ", ".join(repr(name) if name else "one without a name" for name in arrays)
