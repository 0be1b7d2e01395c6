"""System calls that fail, one at a time: the k-th of those by which a command changes files.

with Faults(at=3, error=errno.ENOSPC) as faults:
    ...                                          the third call fails
faults.hit                                       its name, "write" or "fsync", None where there were fewer
"""

import builtins
import errno
import io
import os
import stat
import tempfile
from types import SimpleNamespace
from typing import Any
from unittest import mock

ERRORS = (errno.ENOSPC, errno.EIO)
CALLS = ("chmod", "link", "rename", "replace", "unlink", "remove", "mkdir", "ftruncate")


class Faults:
    """Counts the calls, `calls` by name in their order, and lets that of number `at` (from 1) fail with `error`."""

    def __init__(self, at: int = 0, error: int = errno.ENOSPC):
        self.at, self.error = at, error
        self.calls: list[str] = []
        self.hit: str | None = None

    def tick(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) == self.at:
            self.hit = name
            raise OSError(self.error, os.strerror(self.error))

    def __enter__(self) -> "Faults":
        faults, plain_open, plain_fdopen, plain_fsync = self, builtins.open, os.fdopen, os.fsync

        class Raw(io.FileIO):
            def write(self, data: Any) -> int:
                faults.tick("write")
                return super().write(data)

            def truncate(self, size: int | None = None) -> int:
                faults.tick("truncate")
                return super().truncate(size)

        def opened(file: Any, mode: str = "r", buffering: int = -1, *more: Any, **named: Any) -> Any:
            if "b" not in mode or not set("wax+") & set(mode) or buffering == 0:
                return plain_open(file, mode, buffering, *more, **named)
            faults.tick("open")
            raw = Raw(file, mode.replace("b", ""), opener=named.get("opener"))
            return io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)

        def fdopened(descriptor: int, mode: str = "r", *more: Any, **named: Any) -> Any:
            if "+" in mode and "b" in mode:
                return io.BufferedRandom(Raw(descriptor, "r+"))
            return plain_fdopen(descriptor, mode, *more, **named)

        def fsynced(descriptor: int) -> None:
            faults.tick("fsync of a folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "fsync")
            plain_fsync(descriptor)

        def ticking(name: str) -> Any:
            plain = getattr(os, name)

            def call(*arguments: Any, **named: Any) -> Any:
                faults.tick(name)
                return plain(*arguments, **named)

            return call

        spooling = SimpleNamespace(**{name: getattr(io, name) for name in dir(io) if not name.startswith("__")})
        spooling.open = opened
        self._patches = [
            mock.patch.object(builtins, "open", opened), mock.patch.object(os, "fdopen", fdopened),
            mock.patch.object(os, "fsync", fsynced), mock.patch.object(tempfile, "_io", spooling),
            *(mock.patch.object(os, name, ticking(name)) for name in CALLS),
        ]  # fmt: skip
        for patch in self._patches:
            patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        for patch in reversed(self._patches):
            patch.stop()
