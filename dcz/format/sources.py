"""Where a `.dcz` file is read from: a path, bytes in memory, or a binary file that is open and seekable.

opened("net.dcz")        ->   the file, which is ours to close
opened(b"\\x89DCZ...")    ->   the same over memory, without a copy of bytes
opened(response)         ->   the file itself; who opened it closes it
"""

import io
import os
from typing import Any, BinaryIO, TypeAlias, cast

from ..errors import FileAccess, InvalidArgument

Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
IN_MEMORY = "the bytes given"
OPEN_FILE = "the open file given"


def label(source: Source) -> str:
    """What messages call a source: its path, where it has one."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return IN_MEMORY
    name = getattr(source, "name", None)  # of a socket or a descriptor it is a number
    return name if isinstance(name, str) and name else OPEN_FILE


def opened(source: Source) -> tuple[BinaryIO, bool]:
    """The binary file, and whether it is for us to close. Its byte 0 is where the `.dcz` file begins.

    Raises FileAccess where a path cannot be opened; InvalidArgument for what is no source.
    """
    if isinstance(source, (str, os.PathLike)):
        try:
            file = open(source, "rb", buffering=0, opener=_open_at_once)  # noqa: SIM115 (the caller's to close)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            told = getattr(error, "strerror", None) or error
            raise FileAccess(f"{label(source)}: cannot be opened: {told}") from error
        if not file.seekable():
            file.close()
            raise FileAccess(f"{label(source)}: is a pipe, and it is read from several places: save it as a file first")
        return cast(BinaryIO, file), True
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source), True
    if not _is_binary_file(source):
        raise InvalidArgument(
            "a file is a path, bytes, or an open binary file that can seek: "
            f"not {type(source).__name__}; read the bytes of what cannot"
        )
    return source, False


def _open_at_once(path: str, flags: int) -> int:
    """os.open, which does not wait for somebody to write into a pipe: that is none of our sources."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def starts(source: Source, nbytes: int) -> bytes:
    """The first bytes of a source, as many as there are. Raises OSError, ValueError, and as `opened`."""
    file, is_ours = opened(source)
    try:
        file.seek(0)
        return file.read(nbytes)
    finally:
        if is_ours:
            file.close()


def content(source: Source) -> bytes:
    """All bytes of a source. Raises FileAccess, and as `opened`."""
    file, is_ours = opened(source)
    try:
        file.seek(0)
        return file.read()
    except (OSError, ValueError) as error:
        raise FileAccess(f"{label(source)}: cannot be read: {error}") from error
    finally:
        if is_ours:
            file.close()


def _is_binary_file(source: Any) -> bool:
    if isinstance(source, io.TextIOBase) or not all(hasattr(source, name) for name in ("read", "seek", "tell")):
        return False
    try:
        return bool(source.seekable()) if hasattr(source, "seekable") else True
    except ValueError:  # it is closed
        return False
