"""Arrays of samples from .npz and .npy files; a file may be larger than memory.

samples = open_samples("test.npz").of(["x"])
samples.arrays["x"][32:64]                        the second batch of 32
read_labels("y", open_samples("test.npz"), 10000, classes=10)  ->  int64 [10000], each from 0 to 9

Large arrays that np.savez stores as they are become temporary copies, mapped into memory: the file itself may be cut
off meanwhile, which would end a process that maps it. Their checksums are not looked at; arrays of np.savez_compressed
are read and checked. What a file declares is compared with its bytes before anything is allocated for it.
"""

import contextlib
import io
import math
import os
import stat
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO

import numpy as np

from .. import file_kinds
from ..errors import FileAccess, InvalidArgument
from ..files import check_output, read_open, replacing, stamp
from ..text import counted

NAMELESS = ""  # the key of an .npy's array: it belongs to whichever input the model has
_NPY = b"\x93NUMPY"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_MAX_HEADER = 1 << 16  # bytes of an .npy before its data; numpy itself parses no more than 10,000
_LOCAL = struct.Struct("<4s22xHH")  # a zip member's local header: signature, lengths of its name and extra field
# Of compressed members, which are inflated when the file is opened: so many bytes together, or so many times the file.
MAX_INFLATED = 1 << 27, 1 << 6
_KINDS = "biufcU"  # of dtypes: numbers, truth values and text
_MAX_DEFLATE_RATIO = 1032  # bytes from one byte of DEFLATE, at most: 258 for each pair of one-bit codes
_DAMAGE = (
    ValueError, TypeError, AttributeError, KeyError, IndexError, EOFError, OverflowError, SyntaxError, RuntimeError,
    NotImplementedError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip  # what numpy and zipfile raise on bytes that are no such file


@dataclass(frozen=True, eq=False)
class Samples:
    """The arrays of one data file by name, of any shape and dtype but objects and records; read-only.

    `parts`: where samples come file by file or batch by batch, of whatever shapes, those of each; `arrays` then joins
    them, name by name. `batch_axis`: the axis of samples in the array of an input, None for the same for every sample,
    as far as that was told (see batch_axes).
    """

    path: str
    arrays: Mapping[str, np.ndarray]
    parts: tuple["Samples", ...] = ()
    batch_axis: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The length that all arrays share along their first axis (scalars go with every sample); raises
        InvalidArgument."""
        lengths = {name: len(array) for name, array in self.arrays.items() if array.ndim}
        if not lengths:
            raise InvalidArgument(f"{self.path}: holds no array with an axis of samples")
        first = next(iter(lengths))
        for name, length in lengths.items():
            if length != lengths[first]:
                raise InvalidArgument(
                    f"{self.path}: {counted(lengths[first], 'sample')} of {first!r} and {length} of {name!r}; "
                    "arrays must have the same length along their first axis"
                )
        if not lengths[first]:
            raise InvalidArgument(
                f"{self.path}: holds no samples: {first!r} has the shape {list(self.arrays[first].shape)}"
            )
        return lengths[first]

    def of(self, names: Iterable[str]) -> "Samples":
        """Only the arrays of these inputs, as many samples of each; an .npy's array is that of the only input."""
        selected = self.named(names)
        _ = selected.count  # raises where there are not as many samples of each
        return selected

    def named(self, names: Iterable[str]) -> "Samples":
        """Only the arrays of these inputs; an .npy's array is that of the only input."""
        names = list(names)
        if NAMELESS in self.arrays and len(names) == 1 and names[0] not in self.arrays:
            return Samples(self.path, {names[0]: self.arrays[NAMELESS]})
        for name in names:
            if name not in self.arrays:
                raise InvalidArgument(
                    f"{self.path}: has no array for the input {name!r}: it has {self.listing()}; "
                    "give an .npz with one array for each input, by name"
                )
        return Samples(self.path, {name: self.arrays[name] for name in names})

    def listing(self) -> str:
        """The names of the arrays, for messages."""
        if not self.arrays:
            return "none"
        return ", ".join(map(repr, self.arrays)) if self.arrays.keys() - {NAMELESS} else "one without a name"


def open_samples(path: str | os.PathLike[str]) -> Samples:
    """The arrays of an .npz file, by name, or the one of an .npy, under NAMELESS; the first bytes say which it is.

    Raises FileAccess, or InvalidArgument for a file that is neither, is damaged or holds Python objects.
    """
    path = os.fspath(path)
    with _reading(path), open(path, "rb", buffering=0) as file:
        if stat.S_ISCHR(os.fstat(file.fileno()).st_mode):
            raise FileAccess(f"{path}: cannot be read: it is a device without an end")
        before = stamp(file.fileno())
        arrays = _arrays(file, os.fstat(file.fileno()).st_size)
        if stamp(file.fileno()) != before:
            raise FileAccess(f"{path}: changed while it was read; try again")
        return Samples(path, arrays)


def _arrays(file: io.FileIO, size: int) -> dict[str, np.ndarray]:
    """The arrays of an open file of `size` bytes."""
    if file.read(len(_NPY)) == _NPY:
        file.seek(0)
        start, shape, fortran, dtype = _header(file, size)
        return {NAMELESS: _read(file, start, shape, fortran, dtype)}
    with zipfile.ZipFile(file) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        _check_sizes(members, size)
        arrays = {info.filename.removesuffix(".npy"): _member(file, archive, info) for info in members}
    if not arrays:
        raise ValueError("it holds no arrays")
    return arrays


def write_samples(path: str | os.PathLike[str], samples: Samples, force: bool = False) -> None:
    """Write arrays into an .npz file that open_samples reads at once, the same bytes for the same arrays.

    `force` replaces a file that exists. Raises FileAccess.
    """
    check_output(path, force)
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in samples.arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileAccess(f"{path}: cannot be read: {error.strerror or error}") from error
    except _DAMAGE as error:
        if isinstance(error, ValueError) and "\0" in path:
            raise FileAccess(f"{path!r}: cannot be read: {error}") from error
        if (found := file_kinds.instead_of_data(path)) is not None:
            raise InvalidArgument(f"{path}: not a whole .npz or .npy file of plain arrays but {found}") from error
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InvalidArgument(f"{path}: not a whole .npz or .npy file of plain arrays: {reason}") from error


def _check_sizes(members: list[zipfile.ZipInfo], size: int) -> None:
    """Raise ValueError where members declare more bytes than a zip of `size` bytes can hold, or are packed in a way
    that numpy does not use."""
    advice = "save it anew with np.savez or np.savez_compressed"
    for info in members:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            method = getattr(zipfile, "compressor_names", {}).get(info.compress_type, info.compress_type)
            raise ValueError(
                f"{info.filename}: compressed by the method {method}, neither stored nor deflated; {advice}"
            )
        growth = 1 if info.compress_type == zipfile.ZIP_STORED else _MAX_DEFLATE_RATIO
        if info.file_size > growth * info.compress_size:
            raise ValueError(
                f"{info.filename}: declares {info.file_size:,} bytes, more than its {info.compress_size:,} in the file "
                f"can hold; {advice}"
            )
    inflated = sum(info.file_size for info in members if info.compress_type != zipfile.ZIP_STORED)
    most = max(MAX_INFLATED[0], MAX_INFLATED[1] * size)
    if inflated > most:
        raise ValueError(
            f"its compressed arrays take {inflated:,} bytes, more than {most:,} for a file of this size; "
            "save it anew with np.savez"
        )
    if sum(info.compress_size for info in members) > size:
        raise ValueError(f"its arrays, such as {members[0].filename}, lie over one another; {advice}")


def _member(file: io.FileIO, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array of an .npz."""
    with archive.open(info) as member:
        start, shape, fortran, dtype = _header(member, info.file_size, info.filename)
    if info.compress_type != zipfile.ZIP_STORED:
        with archive.open(info) as member:
            values = np.lib.format.read_array(member, allow_pickle=False)
            member.read(1)  # the end, where zipfile compares the checksum
        return np.asarray(values)
    file.seek(info.header_offset)
    _, name, extra = _LOCAL.unpack(file.read(_LOCAL.size))
    return _read(file, info.header_offset + _LOCAL.size + name + extra + start, shape, fortran, dtype)


def _header(file: IO[bytes], size: int, name: str = "its array") -> tuple[int, tuple[int, ...], bool, np.dtype]:
    """Read the header of an .npy of `size` bytes from its start: the header's length, and the array's shape, Fortran
    order and dtype."""
    head = io.BytesIO(file.read(_MAX_HEADER))
    version = np.lib.format.read_magic(head)
    if version not in _HEADERS:
        raise ValueError(f"{name}: version {version} of .npy is that of records; save plain arrays")
    shape, fortran, dtype = _HEADERS[version](head)
    start = head.tell()
    if dtype.hasobject or dtype.names:
        raise ValueError(
            f"{name}: holds Python objects or records ({dtype}); save plain arrays of numbers, and samples of "
            "different lengths as one .npz each, in a folder"
        )
    if dtype.kind not in _KINDS or not dtype.itemsize:
        raise ValueError(f"{name}: holds {dtype}; save numbers, or text as str")
    if any(dim < 0 for dim in shape) or start + math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"{name}: {size - start} bytes of data do not make {list(shape)} of {dtype}")
    return start, shape, fortran, dtype


def _read(file: io.FileIO, offset: int, shape: tuple[int, ...], fortran: bool, dtype: np.dtype) -> np.ndarray:
    if not math.prod(shape):
        return np.empty(shape, dtype)
    data = read_open(file, offset, math.prod(shape) * dtype.itemsize)
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def read_labels(
    labels: str | os.PathLike[str], samples: Samples, count: int | None = None, classes: int | None = None
) -> np.ndarray:
    """The labels of the samples, int64 [count], each from 0 to `classes` - 1 (or any from 0 where that is unknown).

    `labels` is the name of an array of the data file, or else the path of an .npy, or of an .npz with one array.
    Integers of any width, [count] or [count, 1]. `count` defaults to the number of samples in the data file. Raises
    FileAccess, or InvalidArgument that names the file and the first label that does not fit.
    """
    where, array = find_labels(labels, samples)
    count = samples.count if count is None else count
    if array.dtype.kind not in "iu":
        raise InvalidArgument(f"{where}: labels are whole numbers, not {array.dtype}; save them as int64")
    if array.ndim == 0 or math.prod(array.shape) != len(array):
        raise InvalidArgument(
            f"{where}: labels are one number a sample, not {list(array.shape)}; of one-hot rows save argmax(1)"
        )
    array = array.reshape(-1)
    if len(array) != count:
        raise InvalidArgument(
            f"{where}: {counted(len(array), 'label')} for {counted(count, 'sample')} of {samples.path}"
        )
    last = np.iinfo(np.int64).max if classes is None else classes - 1
    misfits = (array < 0) | (array > last)
    if misfits.any():
        first = int(misfits.argmax())
        upper = "up" if classes is None else f"to {last}"
        raise InvalidArgument(
            f"{where}: label {array[first]} of sample {first} is out of range: classes count from 0 {upper}"
        )
    return np.array(array, np.int64)


def find_labels(labels: str | os.PathLike[str], samples: Samples) -> tuple[str, np.ndarray]:
    """Where the labels are, for messages, and the array as it is there."""
    name = os.fspath(labels)
    if name != NAMELESS and name in samples.arrays:
        return f"{samples.path}, array {name!r}", samples.arrays[name]
    if not os.path.exists(name):
        raise InvalidArgument(
            f"{samples.path}: has no array {name!r} for the labels: it has {samples.listing()}; "
            "nor is there a file of that name"
        )
    arrays = open_samples(name).arrays
    if len(arrays) > 1:
        raise InvalidArgument(
            f"{name}: holds several arrays; labels want a file with one, or the name of one in the data file"
        )
    return name, next(iter(arrays.values()))
