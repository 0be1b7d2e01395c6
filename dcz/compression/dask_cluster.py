"""A running Dask cluster as an executor.

with connected("tcp://10.0.0.1:8786") as (executor, cores):
    executor.submit(function, *arguments).result()        on some worker; on another one, should that die

Workers need the same dcz, numpy and zlib as this machine, or the file would not be the same bytes.
"""

import contextlib
import platform
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor

import numpy as np

from .. import __version__
from ..deflate import ZLIB
from ..errors import LostWorkers, MissingBackend

PROTOCOL = 2  # of tasks, which are pickled by the names of modules and classes: another number where these change
PATIENCE = 20  # seconds for a scheduler to answer, and for a first worker to be there
RETRIES = 2  # of a task that failed by its worker's fault; Dask itself tries one whose worker died three times more


@contextlib.contextmanager
def connected(address: str) -> Iterator[tuple[Executor, int]]:
    """An executor on the cluster whose scheduler is at `address`, and the threads of all its workers.

    Raises MissingBackend without dask.distributed, LostWorkers where no scheduler answers, where it has no workers or
    others than this machine's dcz can use, and where it is lost, or its workers die of a task.
    """
    try:
        import distributed
    except ImportError as error:
        raise MissingBackend("a cluster wants Dask: pip install 'dcz[cluster]', here and on its workers") from error

    try:
        client = distributed.Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise LostWorkers(f"{address}: no Dask scheduler answers there: {error}; start one: dask scheduler") from error
    try:
        with client:
            _check(client, address)
            with client.get_executor(pure=False, retries=RETRIES) as executor:
                yield executor, sum(client.nthreads().values())
    except distributed.KilledWorker as error:
        raise LostWorkers(
            f"{address}: several workers died of the same tensor, of too little memory perhaps: {error}"
        ) from error
    except (CancelledError, distributed.CancelledError, distributed.comm.CommClosedError) as error:
        raise LostWorkers(f"{address}: the cluster was lost: {error or type(error).__name__}; try again") from error


def _check(client, address: str) -> None:
    """Raise LostWorkers where the cluster has no workers, or some that would make other bytes."""
    import distributed

    try:
        client.wait_for_workers(1, timeout=PATIENCE)
        found = client.run(versions)
    except (OSError, distributed.TimeoutError) as error:
        raise LostWorkers(f"{address}: no worker came in {PATIENCE} s; start one: dask worker {address}") from error
    except (ImportError, AttributeError) as error:  # no dcz there, or one without this function
        raise LostWorkers(f"{address}: a worker has not this dcz: {error}; install {__version__} there") from error
    own = versions()
    for worker, theirs in found.items():
        others = [f"{name} {theirs.get(name)}, not {own[name]}" for name in own if theirs.get(name) != own[name]]
        if others:
            raise LostWorkers(
                f"{address}: the worker {worker} has {', '.join(others)}, which may make other bytes: install the same"
            )


def versions() -> dict[str, str]:
    """All that the bytes of a record depend on but for the tensor and its settings, and what tasks are pickled as."""
    return {
        "dcz": __version__,
        "tasks": str(PROTOCOL),
        "numpy": np.__version__,
        "zlib": ZLIB,
        "machine": platform.machine(),
    }
