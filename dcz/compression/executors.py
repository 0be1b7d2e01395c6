"""Who compresses tensors: threads, processes, a cluster, or any executor of the caller's.

with open_pool(threads=2) as pool: ...                             pool.executor, pool.prefetch, ...
with open_pool(threads=2, workers=4, folder="out") as pool: ...    four processes, which read weights from files
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from ..errors import InvalidArgument, LostWorkers
from ..parallel import MAX_BYTES_IN_FLIGHT, thread_pool
from . import dask_cluster as dask

MAX_WORKERS = 61  # processes that Windows can wait for


@dataclass(frozen=True)
class WorkerPool:
    """An executor, and how to use it.

    `prefetch`: tasks to submit before the first result is waited for; `max_bytes`: of tensors in flight together;
    `threads`: those that each task may use. `folder`: where to put weights for workers that do not share this process's
    memory, None for those that do; tasks for such workers carry ranges of files instead of weights. `is_local`: whether
    they are on this machine.
    """

    executor: Executor
    prefetch: int
    threads: int = 1
    max_bytes: int = MAX_BYTES_IN_FLIGHT
    folder: str | None = None
    is_local: bool = True


@contextlib.contextmanager
def open_pool(
    threads: int,
    executor: Executor | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    folder: str | os.PathLike[str] = ".",
) -> Iterator[WorkerPool]:
    """A pool of `threads` of this process, or of one of the others.

    `executor`: any concurrent.futures.Executor, which stays open. `workers`: processes of this machine, which share the
    threads. `cluster`: the address of a Dask scheduler, whose workers see the files of this machine, and `folder`,
    under the same paths.

    Raises InvalidArgument for several of them, or an impossible number of workers; LostWorkers where processes die or
    the cluster is lost; MissingBackend without Dask.
    """
    if sum(given is not None for given in (executor, workers, cluster)) > 1:
        raise InvalidArgument("give one of an executor, workers and a cluster")
    folder = os.path.realpath(folder)
    if executor is not None:
        yield WorkerPool(executor, threads)
    elif workers is not None:
        with _processes(workers) as pool:
            yield WorkerPool(pool, workers, max(1, threads // workers), MAX_BYTES_IN_FLIGHT * workers, folder)
    elif cluster is not None:
        with dask.connected(cluster) as (pool, cores):
            yield WorkerPool(pool, 2 * cores, 1, MAX_BYTES_IN_FLIGHT * cores, folder, False)  # one running, one queued
    else:
        with thread_pool(threads) as pool:
            yield WorkerPool(pool, threads, threads)


@contextlib.contextmanager
def _processes(workers: int) -> Iterator[Executor]:
    if not isinstance(workers, int) or not 1 <= workers <= MAX_WORKERS:
        raise InvalidArgument(f"workers is a whole number from 1 to {MAX_WORKERS}, not {workers!r}")
    # Spawned ones share no locks with our threads, as forked ones would.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_depend_on_parent)
    try:
        yield pool
    except (KeyboardInterrupt, SystemExit):  # see thread_pool; the processes end with this one
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    except BrokenProcessPool as error:
        pool.shutdown(cancel_futures=True)
        raise LostWorkers(
            "a worker process died, of too little memory perhaps: give fewer --workers, or none, which takes least"
        ) from error
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def _depend_on_parent() -> None:
    """Leave interrupts to the parent process, and end when it is killed, which the pool's own pipes do not report."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_after_parent, daemon=True).start()


def _end_after_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
