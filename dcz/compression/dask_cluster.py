"""A running Dask cluster as an executor.

    with connected("tcp://10.0.0.1:8786") as (executor, cores):
        executor.submit(function, *arguments).result()        on some worker, or on another one if that dies

Workers need the same dcz, numpy and zlib as this machine: others could make other bytes.
"""

import contextlib
import platform
import re
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor
from typing import Any

import numpy as np

from .. import __version__
from ..arguments import expect
from ..deflate import ZLIB
from ..errors import InvalidArgument, LostWorkers, MissingBackend

PROTOCOL = 3  # of tasks, which are pickled by the names of modules and classes: another number where these change
PATIENCE = 20  # seconds to wait for the scheduler's answer, and for a first worker
# A scheme, a host and a port: Dask itself takes a minute to refuse others, and then prints a traceback.
_ADDRESS = re.compile(r"([a-z]+://)?(\[[0-9A-Fa-f:.%]+\]|[\w.-]+):[0-9]{1,5}", re.ASCII)
RETRIES = 2  # of a task that failed by its worker's fault; Dask itself retries one whose worker died three times


@contextlib.contextmanager
def connected(address: str) -> Iterator[tuple[Executor, int]]:
    """An executor on the cluster whose scheduler is at `address`, and the threads of all its workers.

    Raises MissingBackend without dask.distributed; InvalidArgument for what is no address, and for one of tls://
    without certificates that can be read; LostWorkers where no scheduler answers, where it has no workers or unsuitable
    ones, where the cluster is lost, or where a task kills its workers.
    """
    try:
        import distributed
    except ImportError as error:
        raise MissingBackend("a cluster wants Dask: pip install 'dcz[cluster]', here and on its workers") from error

    expect(
        _ADDRESS.fullmatch(address) is not None, f"{address!r} is no address of a scheduler, as tcp://10.0.0.1:8786 is"
    )
    _expect_certificates(address)
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


def _expect_certificates(address: str) -> None:
    """Raise InvalidArgument where an address of tls:// finds no certificates in Dask's configuration, or none that can
    be read: Dask has a TypeError for that, or an error without the file's name."""
    import distributed

    if not address.startswith("tls://"):
        return
    place = "distributed.comm.tls (ca-file, client.cert, client.key)"
    try:
        context = distributed.Security().get_connection_args("client").get("ssl_context")
    except (OSError, ValueError) as error:
        raise InvalidArgument(
            f"{address}: the files that Dask's configuration names cannot be read: {error}; see {place}"
        ) from error
    expect(context is not None, f"{address}: Dask's configuration names no certificates: set {place}")


def _check(client: Any, address: str) -> None:
    """Raise LostWorkers where the cluster has no workers, or some that could make other bytes."""
    import distributed

    try:
        client.wait_for_workers(1, timeout=PATIENCE)
        versions_of = client.run(versions)
    except (OSError, distributed.TimeoutError) as error:
        raise LostWorkers(f"{address}: no worker came in {PATIENCE} s; start one: dask worker {address}") from error
    except (ImportError, AttributeError) as error:  # no dcz there, or one without this function
        raise LostWorkers(f"{address}: a worker has not this dcz: {error}; install {__version__} there") from error
    own = versions()
    for worker, theirs in versions_of.items():
        others = [f"{name} {theirs.get(name)}, not {own[name]}" for name in own if theirs.get(name) != own[name]]
        if others:
            raise LostWorkers(
                f"{address}: the worker {worker} has {', '.join(others)}, which may make other bytes: install the same"
            )


def versions() -> dict[str, str]:
    """What the bytes of a record depend on beside the tensor and its settings, and the protocol of pickled tasks."""
    return {
        "dcz": __version__,
        "tasks": str(PROTOCOL),
        "numpy": np.__version__,
        "zlib": ZLIB,
        "machine": platform.machine(),
    }
