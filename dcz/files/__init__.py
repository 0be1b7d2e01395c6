"""Files that are whole or absent: write beside, sync, rename.

with replacing("model.dcz") as file:
    file.write(...)               an error or an interrupt in here leaves the old model.dcz as it was
"""

import contextlib
import errno
import hashlib
import io
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple, Protocol

from ..errors import FileAccess
from ..parts import Part

_READ = 1 << 30  # bytes at a time: the system takes no more than 2 GB
IN_MEMORY = 64 << 20  # bytes up to which a spool stays in memory
COPIED_FROM = 64 << 20  # bytes from which what is read of a file lies in a copy, where the disk has room for one
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


def check_output(
    path: str | os.PathLike[str], force: bool = True, inputs: Iterable[str | os.PathLike[str] | None] = ()
) -> None:
    """Raise FileAccess, before any work is done, where `path` cannot be written.

    It may not be one of the `inputs` (of which those that are missing are told where they are read), and, without
    `force`, not exist.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise FileAccess(f"{path}: is a folder; name the output file with -o")
        if path.exists() and not path.is_file():
            raise FileAccess(f"{path}: is a device or pipe, which cannot be replaced whole; name an ordinary file")
        folder = Path(os.path.realpath(path)).parent
        if not folder.is_dir():
            raise FileAccess(f"{path}: the folder {folder} does not exist; create it first")
        if path.exists() and any(
            path.samefile(source) for source in inputs if source is not None and os.path.exists(source)
        ):
            raise FileAccess(f"{path}: is the input itself; name another output")
        if path.exists() and not force:
            raise FileAccess(f"{path}: exists already; give --force (in Python force=True) to replace it")
        if not os.access(folder, os.W_OK):
            raise FileAccess(f"{path}: no permission to write into {folder}")
    except (OSError, ValueError) as error:  # a name that is too long or holds a NUL, a folder that may not be entered
        raise FileAccess(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from error


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A temporary file in the same folder that takes the place of `path` at the end, or vanishes before that.

    Its `name` is a path to it meanwhile, for this process. Permissions stay those of the old file, setuid bits apart; a
    link stays, and what it points to is replaced. Raises FileAccess for a full disk, a missing folder, no permission.
    """
    with writing(path):
        part = Part(Path(os.path.realpath(path)))
        try:
            yield part.file
            sync(part.file)
            part.place()
        finally:
            part.discard()


class Spool:
    """What `path` will be made of, in pieces: in memory as they are, or, where these grow, in a file without a name in
    the same folder. Raises OSError."""

    def __init__(self, path: str | os.PathLike[str]):
        self._folder = os.path.dirname(os.path.realpath(path))
        self._pieces: list[bytes | memoryview] = []
        self._file: IO[bytes] | None = None

    def add(self, pieces: Iterable[bytes | memoryview]) -> None:
        """Append pieces, which nobody changes afterwards."""
        self._pieces += pieces
        if self._file is None and sum(map(len, self._pieces)) > IN_MEMORY:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (closed by close)
        if self._file is not None:
            _write_all(self._file, self._pieces)
            self._pieces = []

    def copy(self, target: BinaryIO) -> None:
        """Write all of them to `target`."""
        if self._file is not None:
            self._file.seek(0)
            shutil.copyfileobj(self._file, target, _COPY)
        _write_all(target, self._pieces)

    def close(self) -> None:
        """Forget them."""
        self._pieces = []
        if self._file is not None:
            self._file.close()


def _write_all(file: IO[bytes], pieces: Iterable[bytes | memoryview]) -> None:
    for piece in pieces:
        file.write(piece)


@contextlib.contextmanager
def scratch(folder: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file in `folder` for other processes to read meanwhile, by its `name`; it goes at the end."""
    path = Path(folder, "dcz")
    with writing(path):
        part = Part(path, is_shared=True)
    try:
        yield part.file
    finally:
        part.discard()


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the failures of writing what will become `path` into FileAccess."""
    try:
        yield
    except BrokenPipeError:  # of a progress display whose reader has gone: no file raises it
        raise
    except OSError as error:
        raise FileAccess(f"{path}: cannot be written: {error.strerror or error}; the old file is untouched") from error


@contextlib.contextmanager
def temporary(folder: str | None = None, nbytes: int = 0) -> Iterator[None]:
    """Turn the failures of making or writing temporary files, of `nbytes` in all, into FileAccess.

    `folder` is where they lie; None: where tempfile puts them.
    """
    try:
        yield
    except OSError as error:
        remedy = f"free {nbytes / 1e6:,.1f} MB there, or " if nbytes else ""
        raise FileAccess(
            f"{folder or _temporary_folder()}: temporary files cannot be written: {error.strerror or error}; "
            f"{remedy}set TMPDIR to a folder with room"
        ) from error


def _temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:  # none of those that are usual can be written
        return os.environ.get("TMPDIR") or "/tmp"


@contextlib.contextmanager
def temporary_folder(prefix: str) -> Iterator[str]:
    """The path of a new folder that goes with all that is in it; raises FileAccess where none can be made, and where
    what is written into it finds no room, says where there may be some. What cannot be removed stays: nothing that was
    done in it is the worse for that."""
    with temporary():
        made = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    with made as folder:
        try:
            yield folder
        except FileAccess as error:
            cause = error.__cause__
            is_full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
            if is_full and str(error).startswith(folder):
                raise FileAccess(f"{error}; set TMPDIR to a folder with room") from cause
            raise


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


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file that may not exist; raises FileAccess."""
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise FileAccess(f"{path}: cannot be removed: {error.strerror or error}") from error


def sync(file: BinaryIO) -> None:
    """Have all that was written on the disk, or fail now."""
    file.flush()
    os.fsync(file.fileno())
