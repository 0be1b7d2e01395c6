"""Files that are whole or absent: write beside, sync, rename.

    with replacing("model.dcz") as file:
        file.write(...)               an error or an interrupt in here leaves the old model.dcz as it was
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import FileAccess


def check_output(path: str | os.PathLike, force: bool = True) -> None:
    """Raise FileAccess, before any work is done, where `path` could not be written, or exists and `force` is not given."""
    path = Path(path)
    try:
        if path.is_dir():
            raise FileAccess(f"{path}: is a folder; name the output file with -o")
        if path.exists() and not path.is_file():
            raise FileAccess(f"{path}: is a device or pipe; dcz writes beside a file and renames, so name an ordinary one")
        folder = Path(os.path.realpath(path)).parent
        if not folder.is_dir():
            raise FileAccess(f"{path}: the folder {folder} does not exist; create it first")
        if path.exists() and not force:
            raise FileAccess(f"{path}: exists already; give --force to replace it")
        if not os.access(folder, os.W_OK):
            raise FileAccess(f"{path}: no permission to write into {folder}")
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise FileAccess(f"{path}: cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A temporary file in the same folder that takes the place of `path` at the end, or vanishes if that is not reached.

    Its `name` is its path meanwhile. Permissions stay those of the old file; a link stays, and what it points to is
    replaced. Raises FileAccess for a full disk, a missing folder, no permission.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(8)}.part")
    try:
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise FileAccess(f"{path}: cannot be written: {error.strerror or error}; the old file is untouched") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
