"""Work on many tensors at a time, and on the parts of a big one, with results in order and memory bounded."""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

from .arguments import is_whole
from .errors import InvalidArgument

BIG = 1 << 22  # elements from which one tensor is worth several threads
MAX_BYTES_IN_FLIGHT = 256 << 20  # bytes of tensors at work together; one that has more is at work alone


def thread_count(threads: int | None) -> int:
    """`threads`, or all cores for None; raises InvalidArgument where it is no number of threads."""
    if threads is None:
        return os.cpu_count() or 1
    if not is_whole(threads, 1):
        raise InvalidArgument(f"threads is a whole number, 1 or more, not {threads!r}")
    return int(threads)


@contextlib.contextmanager
def thread_pool(threads: int) -> Iterator[Executor]:
    """A pool of threads, whose work is waited for at the end, but not where an interrupt or a signal ends it: a tensor
    in work may take half a minute."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    except (KeyboardInterrupt, SystemExit):
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def in_order(
    pool: Executor,
    function: Callable,
    jobs: Iterable[tuple[object, tuple, int]],
    prefetch: int,
    max_bytes: int | None = None,
) -> Iterator[tuple]:
    """(key, function(*arguments)) for each (key, arguments, bytes that it takes), in order.

    At most `prefetch` + 1 of them are alive, and no more than take `max_bytes` bytes (default: MAX_BYTES_IN_FLIGHT)
    together, or one alone. A result is not kept here: drop it before asking for the next one.
    """
    max_bytes = MAX_BYTES_IN_FLIGHT if max_bytes is None else max_bytes
    waiting: deque = deque()
    alive = 0
    try:
        for key, arguments, nbytes in jobs:
            while waiting and (len(waiting) > prefetch or alive + nbytes > max_bytes):
                alive -= waiting[0][2]
                yield _finished(waiting)
            waiting.append((key, pool.submit(function, *arguments), nbytes))
            del arguments  # which may be a whole tensor
            alive += nbytes
            if len(waiting) > prefetch:
                alive -= waiting[0][2]
                yield _finished(waiting)
        while waiting:
            yield _finished(waiting)
    finally:
        for _, future, _ in waiting:
            future.cancel()


def _finished(waiting: deque) -> tuple:
    """The key and the result of the first that waits, which is forgotten."""
    key, future, _ = waiting.popleft()
    return key, future.result()


@contextlib.contextmanager
def map_over_parts(elements: int, threads: int) -> Iterator[Callable]:
    """A map over threads for the parts of one tensor of so many elements; the plain one where that would not pay."""
    if threads < 2 or elements < BIG:
        yield map
        return
    with thread_pool(threads) as pool:
        yield pool.map
