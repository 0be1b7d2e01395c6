"""A path that gives bytes as they are made: for readers that take nothing but files, in memory for one piece.

    read_through_pipe(pieces, lambda path: InferenceSession(path))     path = "/dev/fd/7"

A thread writes the pieces into a pipe while `read` reads. That must let other threads of Python run meanwhile: where it
does not, both would wait for ever.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Generator
from typing import TypeVar

T = TypeVar("T")

_open: set[int] = set()  # ends of pipes


def _close_in_child() -> None:
    """Close the ends that a child process has got by a fork: as long as it had them, a reader would wait for more, and
    a writer for somebody to read."""
    for end in list(_open):
        os.close(end)
    _open.clear()


def _close(end: int) -> None:
    _open.discard(end)
    os.close(end)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


def read_through_pipe(pieces: Generator[bytes | memoryview, None, None], read: Callable[[str], T]) -> T:
    """What `read` returns, given a path whose content is the pieces, one after another; it may be read once.

    Raises what `pieces` raises, whatever came of `read`; else what that raises.
    """
    reading, writing = os.pipe()
    _open.update((reading, writing))
    failures: list[BaseException] = []
    writer = threading.Thread(target=_write, args=(pieces, writing, failures), name="dcz-pipe", daemon=True)
    try:
        writer.start()
        result = read(f"/dev/fd/{reading}")
    except BaseException as error:
        _finish(reading, writing, writer)
        if failures:
            raise failures[0] from error
        raise
    _finish(reading, writing, writer)
    if failures:  # and `read` took what there was for all
        raise failures[0]
    return result


def _finish(reading: int, writing: int, writer: threading.Thread) -> None:
    """Close our end, with which a writer that nobody reads from ends, and wait for it."""
    _close(reading)
    if writer.ident is not None:
        writer.join()
    else:  # it could not be started
        _close(writing)


def _write(pieces: Generator[bytes | memoryview, None, None], writing: int, failures: list[BaseException]) -> None:
    """Change `failures`: add what `pieces` raises. A reader that has enough is none."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})  # else it may end the program
    try:
        try:
            with contextlib.closing(pieces):
                for piece in pieces:
                    left = memoryview(piece)
                    while left:
                        left = left[os.write(writing, left) :]
                    del piece, left  # before the next one is made
        finally:
            _close(writing)
    except BrokenPipeError:
        return
    except BaseException as error:  # noqa: BLE001 (raised in the thread that reads)
        failures.append(error)
