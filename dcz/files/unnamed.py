"""Bytes in a temporary file without a name, which goes with the object; they are looked at where they lie.

    store = UnnamedFile()
    offset = store.append(data)
    store.view(offset, len(data))       mapped: the system reads what is looked at, and takes the memory back

Nobody else can cut such a file off, so that its bytes may be mapped.
"""

import contextlib
import mmap
import tempfile
import threading
import weakref

from .ranges import read_open
from .temporaries import temporary

_ALIGNED = 4096  # bytes: what is looked at brings nothing of its neighbours into memory


class UnnamedFile:
    """Threads may share it. Raises FileAccess where there is no room."""

    def __init__(self, folder: str | None = None):
        self._folder, self._length, self._lock = folder, 0, threading.Lock()
        with temporary(folder):
            self._file = tempfile.TemporaryFile(prefix="dcz-", dir=folder, buffering=0)  # noqa: SIM115 (below)
        weakref.finalize(self, self._file.close)

    def append(self, data: memoryview, expected: int = 0) -> int:
        """Where these bytes lie now. A message asks for `expected` bytes in all, or for as many as there are."""
        with self._lock:
            offset, self._length = self._length, -(-(self._length + len(data)) // _ALIGNED) * _ALIGNED
            self._write(offset, data, expected)
        return offset

    def replace(self, offset: int, data: memoryview) -> None:
        """Write as many other bytes in the place of those at `offset`."""
        with self._lock:
            self._write(offset, data)

    def _write(self, offset: int, data: memoryview, expected: int = 0) -> None:
        with temporary(self._folder, max(expected, self._length)):
            self._file.seek(offset)
            done = 0
            while done < len(data):  # the system takes no more than 2 GB at a time
                done += self._file.write(data[done:])

    def view(self, offset: int, length: int) -> memoryview:
        """`length` bytes at `offset`, mapped; read where the process has as many files or maps as it may have."""
        if not length:
            return memoryview(b"")
        start = offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        try:
            found = mmap.mmap(self._file.fileno(), offset - start + length, access=mmap.ACCESS_READ, offset=start)
        except OSError:
            with self._lock:
                return read_open(self._file, offset, length)
        return memoryview(found)[offset - start :]

    def close(self) -> None:
        """Give up the file; its space is free when the last view of it has gone."""
        with contextlib.suppress(OSError):
            self._file.close()


def unload(view: memoryview) -> None:
    """Give up the memory of a view's pages, which are read again when they are looked at."""
    if isinstance(view.obj, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        with contextlib.suppress(OSError, ValueError):
            view.obj.madvise(mmap.MADV_DONTNEED)
