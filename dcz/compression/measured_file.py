"""The bytes of the file that a plan makes, of which nothing is written.

measured(model, plan, pool).nbytes    ->   1,496,112, as those of the file that compress writes
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO

from ..encoded import Record, RecordInfo
from ..plan import Plan, Settings
from ..tensor import Tensor, ValueGrid
from .executors import WorkerPool
from .records import Packing
from .task import encode_task

if TYPE_CHECKING:
    from ..model import AnyModel


@dataclass(frozen=True)
class MeasuredFile:
    """The bytes of a file, and of each of its records, by tensor."""

    nbytes: int
    tensor_bytes: dict[str, int]


class NoRecords:
    """Takes the place of journal.Records where only the bytes of a file are wanted: it keeps nothing."""

    def begin(self, fingerprint: Callable[[], bytes], nbytes: int, count: int) -> list[tuple[RecordInfo, str]]:
        """Nothing is there yet."""
        return []

    def add(self, record: Record) -> None:
        """Forget a record."""

    def copy(self, target: BinaryIO) -> None:
        """Nothing could be written."""
        raise ValueError("records that were not kept cannot be written")


def measured(
    model: "AnyModel",
    plan: Plan,
    pool: WorkerPool,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    metadata: Mapping[str, str] | None = None,
    grids: Mapping[str, ValueGrid] = MappingProxyType({}),
    try_whole: bool = True,
    encode: Callable[[Tensor, Settings, int], Record] = encode_task,
) -> MeasuredFile:
    """The file that `plan` makes of a model, which is not written; for the rest see Packing and Packing.pack."""
    packed = Packing(model, plan, grids, encode).pack(
        NoRecords(), place="the file", pool=pool, progress=progress, metadata=metadata, try_whole=try_whole
    )
    return MeasuredFile(packed.nbytes, packed.tensor_bytes)
