"""A path that gives bytes as they are made: for readers that take nothing but files, in memory for one piece.

    read_through_pipe(pieces, lambda path: InferenceSession(path))     path = "/dev/fd/7"

A thread writes the pieces into a pipe while `read` reads. That must let other threads of Python run meanwhile: where it
does not, both would wait for ever.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Generator
from typing import TypeVar

T = TypeVar("T")

_TOGETHER = 1 << 20  # bytes after which a writer looks whether it is to go on
_writing: set[int] = set()  # ends of pipes that are open for writing


def _close_in_child() -> None:
    """Close the ends that a child process has got by a fork: as long as it had them, a reader would wait for more."""
    for end in list(_writing):
        os.close(end)
    _writing.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


def read_through_pipe(pieces: Generator[bytes | memoryview, None, None], read: Callable[[str], T]) -> T:
    """What `read` returns, given a path whose content is the pieces, one after another; it may be read once.

    Raises what `pieces` raises, whatever came of `read`; else what that raises.
    """
    reading, writing = os.pipe()
    _writing.add(writing)
    failures: list[BaseException] = []
    is_over = threading.Event()
    writer = threading.Thread(target=_write, args=(pieces, writing, is_over, failures), name="dcz-pipe", daemon=True)
    try:
        writer.start()
        result = read(f"/dev/fd/{reading}")
    except BaseException as error:
        is_over.set()
        _finish(reading, writing, writer)
        if failures:
            raise failures[0] from error
        raise
    is_over.set()
    _finish(reading, writing, writer)
    if failures:  # and `read` took what there was for all
        raise failures[0]
    return result


def _finish(reading: int, writing: int, writer: threading.Thread) -> None:
    """Take what a writer that is to end still writes, and wait for it.

    To close our end would not do: a process that was forked meanwhile may have what `read` opened.
    """
    if writer.ident is None:  # it could not be started
        _close(writing)
    while os.read(reading, _TOGETHER):
        pass
    os.close(reading)
    if writer.ident is not None:
        writer.join()


def _write(
    pieces: Generator[bytes | memoryview, None, None],
    writing: int,
    is_over: threading.Event,
    failures: list[BaseException],
) -> None:
    """Write until nobody reads any more. Change `failures`: add what `pieces` raises."""
    try:
        with contextlib.closing(pieces):
            for piece in pieces:
                left = memoryview(piece)
                while left:
                    if is_over.is_set():
                        return
                    left = left[os.write(writing, left[:_TOGETHER]) :]
                del piece, left  # before the next one is made
    except BaseException as error:  # noqa: BLE001 (raised in the thread that reads)
        failures.append(error)
    finally:
        _close(writing)


def _close(writing: int) -> None:
    _writing.discard(writing)
    os.close(writing)
