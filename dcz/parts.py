"""Files in the making: without a name where the system can have such, else under one that tells what they are.

    part = Part(Path("net.dcz"))         nothing in the folder yet, as far as others see
    part.file.write(...)
    part.place()                         net.dcz is there, whole, or still the old one

A process that is killed leaves nothing where its part has no name. Where it has one, it is locked for as long as the
process lives, and the next part of the same name sweeps away those that nobody has locked.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # no locks on this system: what a killed process leaves is not swept away
    fcntl = None  # type: ignore[assignment]

_STEM = 40  # characters of the target's name
_NO_NAMELESS = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)  # where the system or file system has none
_BINARY = getattr(os, "O_BINARY", 0)


class Part:
    """A file that will be `target`, or, where it is never placed, goes.

    `file` is open for reading and writing, and its `name` a path by which this process can open it; with `is_shared`
    other processes can. Raises OSError.
    """

    _descriptor = -1  # of a file without a name

    def __init__(self, target: Path, is_shared: bool = False):
        self.target = target
        self._path: Path | None = None
        _sweep(target)
        descriptor = None if is_shared else _open_nameless(target.parent)
        if descriptor is None:
            self._path, self.file = self._open_named()
        else:
            self._descriptor = descriptor
            self.file = open(f"/proc/self/fd/{descriptor}", "r+b")  # noqa: SIM115 (closed by discard and place)

    def place(self) -> None:
        """Close the file, and put it in the target's place, with the permissions of the file that was there."""
        with contextlib.suppress(FileNotFoundError):
            mode = stat.S_IMODE(self.target.stat().st_mode) & 0o777  # what may run with others' rights is no model
            os.chmod(self.file.name, mode)
        if self._path is None:
            self._path = path = _new_path(self.target)
            folder = os.open(self.target.parent, os.O_RDONLY)
            try:  # with a folder's descriptor Python calls linkat, which follows the link in /proc to the file
                os.link(f"/proc/self/fd/{self._descriptor}", path, src_dir_fd=folder)
            finally:
                os.close(folder)
        if os.name == "nt":  # which renames no open file
            self._close()
        os.replace(self._path, self.target)
        self._path = None
        self._close()
        _sync_folder(self.target.parent)

    def discard(self) -> None:
        """Close the file; where it has not been placed, it is gone."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
            self._path = None
        with contextlib.suppress(OSError):  # a full disk, which has been told already
            self._close()

    def _close(self) -> None:
        try:
            self.file.close()
        finally:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)

    def _open_named(self) -> tuple[Path, BinaryIO]:
        # Nobody may read the part who may not read the target.
        mode = 0o600 if self.target.exists() else 0o666
        while True:
            path = _new_path(self.target)
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, mode), "r+b")
            file.close()
            file = open(path, "r+b")  # noqa: SIM115 (so that it knows its name)
            _lock(file.fileno())
            if path.exists():  # else it was swept away before it was locked
                return path, file
            file.close()


def _new_path(target: Path) -> Path:
    return target.with_name(f".{target.name[:_STEM]}.{secrets.token_hex(8)}.part")


def _open_nameless(folder: Path) -> int | None:
    """A file in a folder that has no name, locked as those that have one; None where there can be none."""
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        descriptor = os.open(folder, os.O_RDWR | os.O_TMPFILE, 0o666)
    except OSError as error:
        if error.errno in _NO_NAMELESS:
            return None
        raise
    _lock(descriptor)
    return descriptor


def _lock(descriptor: int) -> bool:
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return fcntl is not None


def _sweep(target: Path) -> None:
    """Remove what processes that were killed have left of this name."""
    name = re.compile(rf"\.{re.escape(target.name[:_STEM])}\.[0-9a-f]{{16}}\.part")
    with contextlib.suppress(OSError):
        for path in [each for each in os.scandir(target.parent) if name.fullmatch(each.name)]:
            with contextlib.suppress(OSError):
                _remove_unlocked(path.path)


def _remove_unlocked(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and _lock(descriptor):
            os.unlink(path)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk too; where a file system cannot, what is there is whole all the same."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
