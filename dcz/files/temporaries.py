"""Files and folders for the time of one run, in memory where they are small.

spool = Spool("model.dcz")
spool.add([b"header", record])    in memory, or in a file without a name beside model.dcz
spool.copy(file)
"""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, BinaryIO

from ..errors import FileAccess
from ..parts import Part
from .atomic import writing

IN_MEMORY = 64 << 20  # bytes up to which a spool stays in memory
_COPY = 1 << 20  # bytes copied at a time


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
