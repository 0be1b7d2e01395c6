"""Parts of files that others may change meanwhile, and what tells that they have.

FileRange("net.onnx.data", 4096, 1024).read()     1024 bytes as they are now, or an error: read, not mapped, as the
                                                  system ends a process that looks at what was cut off
"""

import contextlib
import hashlib
import io
import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from ..errors import FileAccess

COPIED_FROM = 64 << 20  # bytes from which what is read of a file lies in a copy, where the disk has room for one
_READ = 1 << 30  # bytes at a time: the system takes no more than 2 GB
_COPY = 1 << 20  # bytes copied at a time
_ALIGNED = 64  # bytes: more than any element has

Stamp = tuple[int, int, int, int]  # what changes when a file is replaced or written to: see stamp


class FileRange(NamedTuple):
    """`length` bytes from `offset` on in the file `path`, which is to have this `stamp` still when it is read."""

    path: str
    offset: int
    length: int
    stamp: Stamp | None = None

    def read(self) -> memoryview:
        """The bytes, read and not mapped: a file that is cut off meanwhile must not end the process.

        From COPIED_FROM on they are a temporary copy, mapped: the system takes that memory back when it needs it.
        Raises OSError or ValueError where the file does not hold them, or is another one.
        """
        with self._opened() as file:
            return read_open(file, self.offset, self.length)

    def chunks(self) -> Iterator[memoryview]:
        """The bytes one after another, each in the memory of the one before it; raises as `read` does."""
        with self._opened() as file:
            yield from _chunks(file, self.offset, self.length)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[io.FileIO]:
        # Opened once and looked at then: what its name means may have changed since the name was found to be good.
        with open(self.path, "rb", buffering=0) as file:
            if self.stamp is not None and stamp(file.fileno()) != self.stamp:
                raise ValueError("it has changed since it was found")
            yield file


def read_open(file: io.FileIO, offset: int, length: int) -> memoryview:
    """`length` bytes at `offset` of a file that is open, without a buffer: see FileRange.read."""
    if length >= COPIED_FROM:
        with contextlib.suppress(OSError):  # a disk without room: memory may have some
            return copied(file, [(offset, length)])[0]
    found, done = bytearray(length), 0
    file.seek(offset)
    while done < length:
        done += _at_least_one(file.readinto(memoryview(found)[done : done + _READ]), offset, length, done)
    return memoryview(found).toreadonly()


def copied(file: io.FileIO, ranges: Iterable[tuple[int, int]]) -> list[memoryview]:
    """Ranges of a file that is open, without a buffer, each from an offset on and of a length, as a mapped copy.

    They lie in one file without a name, which goes with the last view of it, each from a whole address on: numbers that
    lie between others' bytes are slow to compute with. Raises OSError or ValueError as FileRange.read does.
    """
    starts = []
    with tempfile.TemporaryFile(prefix="dcz-") as copy:
        for offset, length in ranges:
            copy.write(bytes(-copy.tell() % _ALIGNED))
            starts.append((copy.tell(), length))
            for chunk in _chunks(file, offset, length):
                copy.write(chunk)
        copy.flush()
        whole = memoryview(mmap.mmap(copy.fileno(), 0, access=mmap.ACCESS_READ))
    return [whole[start : start + length] for start, length in starts]


def mapped(path: str | os.PathLike[str], offset: int, length: int) -> memoryview:
    """`length` bytes at `offset` of a file, read as they are looked at, and given up when the system needs memory.

    For files that nobody else cuts off meanwhile: the system ends a process that looks at what is gone.

    Raises OSError or ValueError where the file does not hold them.
    """
    if not length:
        return memoryview(b"")
    with open(path, "rb") as file:
        start = offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        found = mmap.mmap(file.fileno(), offset - start + length, access=mmap.ACCESS_READ, offset=start)
    return memoryview(found)[offset - start :]


def _chunks(file: io.FileIO, offset: int, length: int) -> Iterator[memoryview]:
    buffer, done = memoryview(bytearray(_COPY)), 0
    file.seek(offset)
    while done < length:
        count = _at_least_one(file.readinto(buffer[: length - done]), offset, length, done)
        yield buffer[:count]
        done += count


def _at_least_one(count: int | None, offset: int, length: int, done: int) -> int:
    """The bytes of one read; raises ValueError at the end of the file."""
    if not count:
        raise ValueError(f"{length} bytes wanted at offset {offset}, {done} are there")
    return count


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, in hexadecimal digits. Raises FileAccess."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise FileAccess(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def stamp(file: str | os.PathLike[str] | int) -> Stamp:
    """What changes when a file (by its path, or open) is replaced or written to: device, inode, size, and time in
    nanoseconds. Raises OSError.
    """
    return as_stamp(os.stat(file))


def as_stamp(status: os.stat_result) -> Stamp:
    """The same of what the system has said of a file."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class Sliced(Protocol):
    """What gives bytes in slices: bytes themselves, a Content, or what lies in several pieces."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


class Content:
    """The bytes of a file, of which slices are read when they are asked for: fewer, where it has shrunk meanwhile."""

    def __init__(self, path: str | os.PathLike[str]):
        self._file = open(path, "rb")  # noqa: SIM115 (closed by __exit__)
        self._length = os.fstat(self._file.fileno()).st_size

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._length)
        self._file.seek(start)
        return self._file.read(stop - start)

    def __enter__(self) -> "Content":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
