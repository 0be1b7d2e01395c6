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


def read_through_pipe(pieces: Generator[bytes | memoryview, None, None], read: Callable[[str], T]) -> T:
    """What `read` returns, given a path whose content is the pieces, one after another; it may be read once.

    Raises what `pieces` raises, whatever came of `read`; else what that raises.
    """
    reading, writing = os.pipe()
    failures: list[BaseException] = []
    writer = threading.Thread(target=_write, args=(pieces, writing, failures), name="dcz-pipe", daemon=True)
    try:
        writer.start()
        result = read(f"/dev/fd/{reading}")
    except BaseException as error:
        _finish(reading, writer)
        if failures:
            raise failures[0] from error
        raise
    _finish(reading, writer)
    if failures:  # and `read` took what there was for all
        raise failures[0]
    return result


def _finish(reading: int, writer: threading.Thread) -> None:
    """Close our end, with which a writer that nobody reads from ends, and wait for it."""
    os.close(reading)
    if writer.ident is not None:
        writer.join()


def _write(pieces: Generator[bytes | memoryview, None, None], writing: int, failures: list[BaseException]) -> None:
    """Change `failures`: add what `pieces` raises. A reader that has enough is none."""
    try:
        with contextlib.closing(pieces), open(writing, "wb", buffering=0) as pipe:
            for piece in pieces:
                left = memoryview(piece)
                while left:
                    left = left[pipe.write(left) :]
                del piece, left  # before the next one is made
    except BrokenPipeError:
        return
    except BaseException as error:  # noqa: BLE001 (raised in the thread that reads)
        failures.append(error)
