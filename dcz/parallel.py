"""Work on many tensors at a time, and on the parts of a big one, with results in order and memory bounded.

    in_order(pool, encode, tensors, 8)      tensors, a few ahead of the one that is asked for
    each(sum_of_squares, blocks)            blocks of one of them, by the same threads where these have nothing to do

No more threads work than a pool has, whether there is one tensor or a thousand: who works on a tensor takes its blocks
one after another, and threads of the pool that wait for work take some of them away. So nothing waits for a thread that
is busy, and results, in the order of the blocks, do not depend on who made them.
"""

import contextlib
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from .arguments import is_whole
from .errors import InvalidArgument

T = TypeVar("T")
R = TypeVar("R")

BIG = 1 << 22  # elements from which one tensor is worth a pool of its own
MIN_PARTS = 4  # parts of a tensor from which others are asked to help: it takes about as long as one part
MAX_BYTES_IN_FLIGHT = 128 << 20  # bytes of tensors at work together; one that has more is at work alone


def thread_count(threads: int | None) -> int:
    """`threads`, or all cores for None; raises InvalidArgument where it is no number of threads."""
    if threads is None:
        return os.cpu_count() or 1
    if not is_whole(threads, 1):
        raise InvalidArgument(f"threads is a whole number, 1 or more, not {threads!r}")
    return int(threads)


class _Crew(threading.local):
    """The pools that may help this thread, each with the number of threads that may; none in threads of no pool.

    The last one does. (Generators that have pools may end in any order, and in any thread.)
    """

    def __init__(self) -> None:
        self.pools: list[tuple[Executor, int]] = []

    @property
    def current(self) -> tuple[Executor | None, int]:
        """The pool that helps, and its number of threads that do."""
        return self.pools[-1] if self.pools else (None, 0)


_crew = _Crew()


@contextlib.contextmanager
def _helped_by(pool: Executor, others: int) -> Iterator[None]:
    """Have so many threads of a pool help this one."""
    pools, entry = _crew.pools, (pool, others)
    pools.append(entry)
    try:
        yield
    finally:
        pools.remove(entry)


@contextlib.contextmanager
def thread_pool(threads: int) -> Iterator[Executor]:
    """A pool of threads, which help each other (see `each`), and whose work is waited for at the end, but not where an
    interrupt or a signal ends it: a tensor in work may take half a minute. All but one help this thread, too."""
    pool: ThreadPoolExecutor
    pool = ThreadPoolExecutor(threads, initializer=lambda: _crew.pools.append((pool, threads - 1)))
    try:
        with _helped_by(pool, threads - 1):
            yield pool
    except (KeyboardInterrupt, SystemExit):
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


@contextlib.contextmanager
def helped(elements: int, threads: int) -> Iterator[None]:
    """Have so many threads work on a tensor of so many elements: those of the pool that this one is of, if it is of
    one, else others that end with it."""
    if _crew.pools or threads < 2 or elements < BIG:
        yield
        return
    with thread_pool(threads - 1) as pool, _helped_by(pool, threads - 1):  # all of them: this thread is none of theirs
        yield


class _Parts(Generic[T, R]):
    """Parts of a tensor in work by several threads: who is free takes the next one.

    A pool's queue keeps what was submitted to it, cancelled or not, until a thread gets there, which may work on
    another tensor meanwhile. So it keeps one of these, which holds on to nothing once the parts are done.
    """

    def __init__(self, function: Callable[[T], R], parts: Iterable[T]):
        self._function = function
        self.waiting = deque(enumerate(parts))
        self._results: dict[int, R] = {}
        self._raised: dict[int, BaseException] = {}
        self._helpers: list[Future[None]] = []

    def begin(self) -> "_Parts[T, R]":
        """Have the threads that may help this one begin, where there are parts enough."""
        pool, others = _crew.current
        if pool is not None and len(self.waiting) >= MIN_PARTS:
            with contextlib.suppress(RuntimeError):  # the pool has been shut down: then this thread does it alone
                self._helpers = [pool.submit(self.work) for _ in range(min(others, len(self.waiting) - 1))]
        return self

    def work(self) -> None:
        """Do what waits, one part after another, until there is none."""
        while True:
            try:
                number, part = self.waiting.popleft()
            except IndexError:
                return
            try:
                self._results[number] = self._function(part)
            except BaseException as error:  # noqa: BLE001 (raised by `take`, in the thread that asked)
                self._raised[number] = error
                self.waiting.clear()

    def end(self) -> None:
        """Do what waits, and wait for the parts that are in work."""
        self.work()
        for helper in self._helpers:
            if not helper.cancel():  # it has begun
                helper.result()

    def take(self) -> list[R]:
        """The results in order, once no part is in work; what the first part that raised did raise."""
        results, raised = self._results, self._raised
        del self._function, self._results, self._raised
        if raised:
            raise raised[min(raised)]
        return [results[number] for number in range(len(results))]


def each(function: Callable[[T], R], parts: Iterable[T]) -> list[R]:
    """[function(part) for part in parts], by this thread and those that may help it and have nothing else to do.

    Where `function` raises, what the first such part raised, once no part is in work.
    """
    shared = _Parts(function, parts).begin()
    shared.end()
    return shared.take()


def each_ahead(function: Callable[[T], R], parts: Iterable[T], ahead: int = 32) -> Iterator[R]:
    """`each`, but for so many parts at a time, fewer by few threads: what takes memory is given before more of it is
    made. Others work on the next ones while this thread does something with those that are given."""
    rest, others = iter(parts), _crew.current[1]
    ahead = min(ahead, MIN_PARTS * (1 + others))
    if not others:
        while some := list(itertools.islice(rest, ahead)):
            yield from each(function, some)
        return
    begun: deque[_Parts[T, R]] = deque()
    try:
        while (some := list(itertools.islice(rest, max(MIN_PARTS, ahead // 2)))) or begun:
            if some:
                begun.append(_Parts(function, some).begin())
            if len(begun) == 2 or not some:
                now = begun.popleft()
                now.end()
                yield from now.take()
    finally:  # of a caller that wants no more
        for left in begun:
            left.waiting.clear()
            left.end()


def beside(function: Callable[[], R]) -> Callable[[], R]:
    """Have a thread that may help this one do something meanwhile; what is given back waits for its result, or does it
    where no thread has begun."""
    pool, others = _crew.current
    if pool is None or not others:
        return function
    shared = _Parts(lambda _: function(), [None])
    future = pool.submit(shared.work)

    def result() -> R:
        if future.cancel():
            shared.work()
        else:
            future.result()
        return shared.take()[0]

    return result


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
