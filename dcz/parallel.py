"""Work on many tensors at a time, and on the parts of a big one, with results in order and memory bounded."""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

from .errors import BadPlan

BIG = 1 << 22  # elements from which one tensor is worth several threads
ROOM = 1 << 28  # bytes that are made ahead of being asked for


def thread_count(threads: int | None) -> int:
    """`threads`, or all cores for None; raises BadPlan where it is no number of threads."""
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise BadPlan(f"threads is a whole number, 1 or more, not {threads!r}")
    return threads or os.cpu_count() or 1


def in_order(
    pool: Executor,
    function: Callable,
    jobs: Iterable[tuple[object, tuple]],
    ahead: int,
    size: Callable[[object], int] = lambda key: 0,
) -> Iterator[tuple]:
    """(key, function(*arguments)) for each (key, arguments), in order; at most `ahead` + 1 of them are alive.

    Where `size` tells the bytes that come of a key, those alive have ROOM bytes together, or there is but one.
    """
    waiting, held = deque(), 0
    try:
        for key, arguments in jobs:
            while waiting and held + size(key) > ROOM:
                done, future = waiting.popleft()
                held -= size(done)
                yield done, future.result()
            waiting.append((key, pool.submit(function, *arguments)))
            held += size(key)
            if len(waiting) > ahead:
                done, future = waiting.popleft()
                held -= size(done)
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


@contextlib.contextmanager
def map_over_parts(elements: int, threads: int) -> Iterator[Callable]:
    """A map over threads for the parts of one tensor of so many elements; the plain one where that would not pay."""
    if threads < 2 or elements < BIG:
        yield map
        return
    with ThreadPoolExecutor(threads) as pool:
        yield pool.map
