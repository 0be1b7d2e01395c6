"""Arrays in a temporary file, which goes with the object.

spool = Spool(folder)
stored = spool.write({"x": x}, expected=x.nbytes)     where they lie
spool.read(stored)                                    {"x": x}

values = StoredValues()
values.add({"fc1.weight": array})                     values["fc1.weight"]: mapped, float32
"""

import math
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import UnsuitableModel
from ..files.unnamed import UnnamedFile
from ..model import Model
from ..tensor import FLOAT64

LARGE = 1 << 16  # numbers, from which values lie in a file


@dataclass(frozen=True)
class StoredArray:
    """An array in the temporary file: its bytes begin at `offset`, in C order."""

    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        """The number of its axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Its bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


class Spool:
    """A temporary file of arrays. Raises FileAccess where there is no room for it."""

    def __init__(self, folder: str | None = None):
        self._file, self.nbytes = UnnamedFile(folder), 0  # of all that was written

    def close(self) -> None:
        """Delete the file, and what could not be written to it."""
        self._file.close()

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, arrays: Mapping[str, np.ndarray], expected: int) -> dict[str, StoredArray]:
        """Append arrays; returns where each of them lies. `expected` bytes in all are what a message asks for."""
        stored = {}
        for name, array in arrays.items():
            if array.dtype.hasobject:
                raise UnsuitableModel(f"the network computes text, {name!r}: it cannot be calibrated")
            data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            stored[name] = StoredArray(self._file.append(data, expected), array.dtype, array.shape)
            self.nbytes += array.nbytes
        return stored

    def read(self, stored: Mapping[str, StoredArray]) -> dict[str, np.ndarray]:
        """Arrays that were written, mapped: what is looked at costs no copy. They cannot be written to."""
        return {name: self._read(each) for name, each in stored.items()}

    def _read(self, stored: StoredArray) -> np.ndarray:
        view = self._file.view(stored.offset, stored.nbytes)
        return (
            np.frombuffer(view, stored.dtype).reshape(stored.shape)
            if len(view)
            else np.empty(stored.shape, stored.dtype)
        )


class StoredValues(Mapping[str, np.ndarray]):
    """Values of tensors by name: where they are many, in a temporary file as float32, mapped when they are asked for;
    others, and those of tensors of float64, as they are."""

    def __init__(self) -> None:
        self._file = UnnamedFile()
        self._found: dict[str, np.ndarray | tuple[int, tuple[int, ...]]] = {}  # or where they lie, and their shape

    def __getitem__(self, name: str) -> np.ndarray:
        found = self._found[name]
        if isinstance(found, np.ndarray):
            return found
        offset, shape = found
        return np.frombuffer(self._file.view(offset, 4 * math.prod(shape)), np.float32).reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def add(self, values: Mapping[str, np.ndarray], wide: Container[str] = ()) -> None:
        """Keep values; those of the tensors `wide` as they are."""
        for name, array in values.items():
            if array.size < LARGE or name in wide:
                self._found[name] = array
                continue
            narrow = np.ascontiguousarray(array, np.float32)
            place, data = self._found.get(name), narrow.reshape(-1).view(np.uint8).data
            if isinstance(place, tuple):  # rounded again
                self._file.replace(place[0], data)
            else:
                self._found[name] = self._file.append(data), narrow.shape


def wide_tensors(model: Model) -> frozenset[str]:
    """The tensors whose numbers float32 does not hold."""
    return frozenset(tensor.name for tensor in model.tensors if tensor.dtype == FLOAT64)
