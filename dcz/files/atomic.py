"""Files that are whole or absent: write beside, sync, rename.

with replacing("model.dcz") as file:
    file.write(...)               an error or an interrupt in here leaves the old model.dcz as it was
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import FileAccess
from ..parts import Part


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


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the failures of writing what will become `path` into FileAccess."""
    try:
        yield
    except BrokenPipeError:  # of a progress display whose reader has gone: no file raises it
        raise
    except OSError as error:
        raise FileAccess(f"{path}: cannot be written: {error.strerror or error}; the old file is untouched") from error


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
