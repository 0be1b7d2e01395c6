"""Who compresses tensors: threads, processes, a cluster, or any executor that is given.

with assembled(threads=2) as crew:                                  crew.executor, crew.ahead, ...
with assembled(threads=2, workers=4, folder="out") as crew:         four processes, which read weights from files
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from ..errors import BadPlan, LostWorkers
from ..parallel import MAX_BYTES_IN_FLIGHT
from . import dask_cluster as dask

MOST_WORKERS = 61  # processes that Windows lets one wait for


@dataclass(frozen=True)
class WorkerPool:
    """An executor; how many tasks it is worth having `prefetch`, and the bytes of tensors (`max_bytes`) that these may
    take; on how many `threads` each task may work.

    `folder`: where to put files for others to read, where it does not share our memory: its tasks carry paths and
    ranges of bytes, and no weights.
    """

    executor: Executor
    prefetch: int
    threads: int = 1
    max_bytes: int = MAX_BYTES_IN_FLIGHT
    folder: str | None = None


@contextlib.contextmanager
def open_pool(
    threads: int,
    executor: Executor | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    folder: str | os.PathLike = ".",
) -> Iterator[WorkerPool]:
    """Threads of this process, unless one of the others is given: an `executor` of any kind, which stays open; so many
    `workers`, processes of this machine; the address of a Dask `cluster`, whose workers see the files of this machine,
    and `folder`, under the same paths.

    Raises BadPlan where several are given, or a number of workers is none; LostWorkers where processes die or the
    cluster is lost; MissingBackend where it wants a package.
    """
    if sum(given is not None for given in (executor, workers, cluster)) > 1:
        raise BadPlan("give one of an executor, workers and a cluster")
    folder = os.path.realpath(folder)
    if executor is not None:
        yield WorkerPool(executor, threads)
    elif workers is not None:
        with _processes(workers) as pool:
            yield WorkerPool(pool, workers, max(1, threads // workers), MAX_BYTES_IN_FLIGHT * workers, folder)
    elif cluster is not None:
        with dask.connected(cluster) as (pool, cores):
            yield WorkerPool(pool, 2 * cores, 1, MAX_BYTES_IN_FLIGHT * cores, folder)  # one at work, and one on the way
    else:
        with ThreadPoolExecutor(threads) as pool:
            yield WorkerPool(pool, threads, threads)


@contextlib.contextmanager
def _processes(workers: int) -> Iterator[Executor]:
    if not isinstance(workers, int) or not 1 <= workers <= MOST_WORKERS:
        raise BadPlan(f"workers is a whole number from 1 to {MOST_WORKERS}, not {workers!r}")
    # Spawned ones share no locks with our threads, as forked ones would.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_depend_on_parent)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise LostWorkers(
            "a worker process died, of too little memory perhaps: give fewer --workers, or none, which takes least"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _depend_on_parent() -> None:
    """Leave interrupts to the parent, and end when it is killed: the pool's own pipes would never tell."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_after_parent, daemon=True).start()


def _end_after_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
