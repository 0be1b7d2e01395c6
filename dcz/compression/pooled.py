"""Records made by a pool: by threads of this process, or by other processes, which read the tensors from files."""

import contextlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, Protocol

from ..encoded import Record, RecordInfo
from ..files import FileRange, scratch, sync, writing
from ..parallel import in_order
from ..plan import Settings
from ..tensor import Tensor
from .executors import WorkerPool
from .jobs import Job
from .task import check_made, encode_there

if TYPE_CHECKING:
    from ..model import ModelTensor


class RecordStore(Protocol):
    """Where records go: journal.Records, which keeps them, or measured_file.NoRecords, which does not."""

    def begin(self, fingerprint: Callable[[], bytes], nbytes: int, count: int) -> list[tuple[RecordInfo, str]]:
        """Get ready for the records of `count` tensors of so many bytes; what is there already, and its warnings."""

    def add(self, record: Record) -> None:
        """Take the next record."""

    def copy(self, target: BinaryIO) -> None:
        """Write all records to a file."""


def encoded(
    pending: Sequence[Job],
    records: RecordStore,
    pool: WorkerPool,
    encode: Callable[[Tensor, Settings, int], Record],
) -> Generator[tuple[RecordInfo, str], None, None]:
    """Have the pool make each record, add it to `records`, and yield what the directory says of it, and its warning."""
    made = _made_here(pending, pool, encode) if pool.folder is None else _made_elsewhere(pending, pool, pool.folder)
    with contextlib.closing(made):
        for record in made:
            records.add(record)
            known = record.info, record.warning
            del record  # before the next one is made
            yield known


def _made_here(
    pending: Sequence[Job], pool: WorkerPool, encode: Callable[[Tensor, Settings, int], Record]
) -> Generator[Record, None, None]:
    """The records, in order, by workers that share this process's memory."""
    tasks = ((None, (job.first.tensor(), job.settings, pool.threads), job.first.nbytes) for job in pending)
    for _, record in in_order(pool.executor, encode, tasks, pool.prefetch, pool.max_bytes):
        yield record
        del record


def _made_elsewhere(pending: Sequence[Job], pool: WorkerPool, folder: str) -> Generator[Record, None, None]:
    """The same by other processes, which read the tensors from files; each record is held against its tensor's file."""
    with _laid_out([job.first for job in pending], folder, pool.is_local) as ranges:
        sources = [ranges[id(job.first)] for job in pending]
        folders = tuple({os.path.dirname(source.path) for source in sources})
        tasks = (
            ((job, source), (job.first.tensor(source), job.settings, pool.threads, folders), job.first.nbytes)
            for job, source in zip(pending, sources, strict=True)
        )
        for (job, source), made in in_order(pool.executor, encode_there, tasks, pool.prefetch, pool.max_bytes):
            yield check_made(made, source, job.settings, job.first.name)
            del made


@contextlib.contextmanager
def _laid_out(tensors: Iterable["ModelTensor"], folder: str, is_local: bool) -> Iterator[dict[int, FileRange]]:
    """Where other processes can read the bytes of each tensor, by its id: external data where it is, the rest in a file
    in `folder` that goes at the end. Other machines (not `is_local`) may see a file's number and time otherwise."""
    ranges = {}
    with scratch(folder) as file:
        with writing(file.name):
            for tensor in tensors:
                if tensor.external:
                    ranges[id(tensor)] = tensor.external if is_local else tensor.external._replace(stamp=None)
                else:
                    ranges[id(tensor)] = FileRange(file.name, file.tell(), tensor.nbytes)
                    file.write(tensor.read().data)
            sync(file)
        yield ranges
