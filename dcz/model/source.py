"""The bytes that a model is made from, read once.

    source = read("net.onnx", apart=True, lists=True)
    source.message    what protobuf parses: the model, with a token in the place of each large raw_data and each long
                      list (see raw_data)
    source.apart      the bytes that each token stands for

A file is read, or copied and the copy mapped: one that is cut off meanwhile must not end the process.
"""

import bisect
import contextlib
import errno
import hashlib
import io
import itertools
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import overload

import numpy as np

from .. import arrays, file_kinds
from ..errors import FileAccess, UnsuitableModel
from ..files import copied
from ..parallel import each
from . import raw_data

PROTOBUF_LIMIT = (1 << 31) - 1  # bytes of one message
# Bytes of a file from which it lies in a temporary copy, mapped, as large external data does: then memory goes by the
# largest tensor and not by the model.
COPIED_FROM = 160 << 20
_TOGETHER = 1 << 22  # bytes that a thread reads at a time
_PART = 1 << 20  # bytes at a time of what may be a pipe
_WINDOW = 1 << 13  # bytes


@dataclass(frozen=True, eq=False)
class Source:
    """All bytes of a model in `pieces`, one after another; the `message` that protobuf parses, and what is kept `apart`
    of it, by the token that has its place there."""

    message: bytes
    pieces: list[memoryview]
    apart: dict[bytes, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(len(self))
        return b"".join(self._between(start, stop))

    def _between(self, start: int, stop: int) -> Iterator[memoryview]:
        for piece in self.pieces:
            if start < len(piece) and stop > 0:
                yield piece[max(0, start) : stop]
            start, stop = start - len(piece), stop - len(piece)

    def sha256(self) -> str:
        """The SHA-256 of all bytes, in hexadecimal digits."""
        digest = hashlib.sha256()
        for piece in self.pieces:
            digest.update(piece)
        return digest.hexdigest()

    def whole(self) -> bytes:
        """All bytes as one: a copy, where some are kept apart."""
        return b"".join(self.pieces) if self.apart else self.message

    def taken(self) -> bytes:
        """Change this: the same, and neither the source nor what is apart has the pieces any more, so that most are not
        there twice."""
        if not self.apart:
            return self.message
        self.apart.clear()
        self.pieces.reverse()
        found = io.BytesIO()
        while self.pieces:
            found.write(self.pieces.pop())
        return found.getvalue()


def of_bytes(data: bytes, apart: bool = False, lists: bool = False) -> Source:
    """The source of a model in memory; with `apart`, large raw_data is kept so, as views of `data`, and with `lists`
    long lists of attributes are."""
    layout = raw_data.find(data, len(data), apart, lists) if apart or lists else None
    if layout is None:
        return Source(data, [memoryview(data)])
    bounds = [0, *itertools.chain.from_iterable(layout.spans), len(data)]
    return _with_layout(layout, [memoryview(data)[start:end] for start, end in itertools.pairwise(bounds)])


def read(path: str | os.PathLike[str], apart: bool = False, lists: bool = False) -> Source:
    """Read an ONNX file, with `apart` its large raw_data into arrays of its own, and with `lists` long lists of
    attributes. A file of another kind, however large, is refused by its first bytes. Raises FileAccess,
    UnsuitableModel."""
    try:
        with open(path, "rb", buffering=0) as file:  # a buffer would be joined to the rest: the model twice in memory
            head = file.read(file_kinds.HEAD)
            if (found := file_kinds.mistaken(path, head)) is not None:
                raise UnsuitableModel(f"{path}: not an ONNX model but {found}")
            before = os.fstat(file.fileno())
            _check_size(path, f"{before.st_size:,} bytes", before.st_size)
            if not file.seekable():  # a pipe
                data = head + _rest(file, _PART)
                _check_size(path, "more than 2 GB", len(data))
                return of_bytes(data, apart, lists)
            if stat.S_ISCHR(before.st_mode):
                raise OSError(errno.EINVAL, "it is a device without an end")
            source = _read(file, before.st_size, apart, lists)
            after = os.fstat(file.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise OSError(errno.EAGAIN, "it changed while it was read; try again")
            return source
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise FileAccess(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _check_size(path: str | os.PathLike[str], found: str, size: int) -> None:
    if size > PROTOBUF_LIMIT:
        raise UnsuitableModel(
            f"{path}: {found} in one file, and ONNX takes 2 GB: save it with external data, "
            "`onnx.save(model, path, save_as_external_data=True)`"
        )


def _rest(file: io.FileIO, expected: int) -> bytes:
    """What is left of a file, of which so many bytes are expected; of one that has no end, or that grows, no more than
    a byte beyond PROTOBUF_LIMIT."""
    parts, left = [], PROTOBUF_LIMIT + 1
    while left and (part := file.read(min(expected, left))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _read(file: io.FileIO, size: int, apart: bool, lists: bool = False) -> Source:
    layout = raw_data.find(_Window(file), size, apart, lists) if apart or lists else None
    file.seek(0)
    if layout is None:
        data = _rest(file, size + 1)
        return Source(data, [memoryview(data)])
    bounds = list(itertools.pairwise([0, *itertools.chain.from_iterable(layout.spans), size]))
    if size >= COPIED_FROM:
        with contextlib.suppress(OSError):  # a disk without room: memory may have some
            return _with_layout(layout, copied(file, ((start, end - start) for start, end in bounds)))
        file.seek(0)
    return _with_layout(layout, [_read_between(file, start, end) for start, end in bounds])


def _read_between(file: io.FileIO, start: int, end: int) -> memoryview:
    """The bytes between two places of a file, in memory of their own, by all threads that may help."""
    found: np.ndarray = np.empty(end - start, np.uint8)
    view, lock = found.data, threading.Lock()

    def fill(part: slice) -> None:
        done = part.start
        while done < part.stop:
            if not (count := _read_into(file, view[done : part.stop], start + done, lock)):
                raise OSError(errno.EAGAIN, "it changed while it was read; try again")
            done += count

    each(fill, arrays.blocks(end - start, _TOGETHER))
    return view.toreadonly()


def _read_into(file: io.FileIO, target: memoryview, start: int, lock: threading.Lock) -> int:
    """Bytes read from a place of a file on, whose position is moved, under the `lock`, where the system has no other
    way."""
    if hasattr(os, "preadv"):
        return os.preadv(file.fileno(), [target], start)
    with lock:
        file.seek(start)
        return file.readinto(target) or 0


def _with_layout(layout: raw_data.Layout, pieces: list[memoryview]) -> Source:
    """The source whose pieces are, in turn, what lies between the spans of a layout, and these."""
    starts = list(itertools.accumulate(map(len, pieces[:-1]), initial=0))

    def between(start: int, end: int) -> memoryview:
        number = (bisect.bisect_right(starts[::2], start) - 1) * 2
        return pieces[number][start - starts[number] : end - starts[number]]

    large = enumerate(pieces[1::2])
    apart = {layout.token(number): np.frombuffer(piece, np.uint8) for number, piece in large}
    return Source(layout.message(between), pieces, apart)


class _Window:
    """The bytes of a file by their places, of which a few are read together."""

    def __init__(self, file: io.FileIO):
        self._file, self._start, self._block = file, 0, b""

    @overload
    def __getitem__(self, place: int, /) -> int: ...

    @overload
    def __getitem__(self, place: slice, /) -> bytes: ...

    def __getitem__(self, place: int | slice, /) -> int | bytes:
        if isinstance(place, slice):
            self._file.seek(place.start)
            return self._file.read(place.stop - place.start)
        at = place
        if not self._start <= at < self._start + len(self._block):
            self._file.seek(at)
            self._start, self._block = at, self._file.read(_WINDOW)
        return self._block[at - self._start]
