"""A model's tensors -> records, and the head that goes before them (spec, section 2).

    packing = Packing("net.onnx", Plan())
    packed = packing.pack(records, place="net.dcz", pool=pool)    records: a journal.Records, or what takes its place
    packed.nbytes                                                 what the file will take, to the byte

Tensors pass through one by one: what is in memory at a time is the graph, the tensors in work, and their records.
"""

import contextlib
import functools
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from .. import __version__
from ..deflate import ZLIB, deflate_below, may_deflate_below
from ..encoded import Record, RecordInfo
from ..errors import FileAccess
from ..files import stamp
from ..format import directory
from ..format.directory import Entry
from ..parallel import beside
from ..plan import Plan, Settings
from ..tensor import Tensor, ValueGrid
from .executors import WorkerPool
from .foldable import noted, prepare
from .jobs import Job, adapted, check_lossy, jobs
from .pooled import RecordStore, encoded
from .task import encode_task

if TYPE_CHECKING:
    from ..model import AnyModel, ModelTensor


@dataclass(frozen=True, eq=False)
class Packed:
    """A file but for being written: its head; its records, or None where it has none; the graph that it must give back;
    its bytes; and the bytes of each tensor's record."""

    head: bytes
    records: RecordStore | None
    graph: bytes
    nbytes: int
    tensor_bytes: dict[str, int]


class Packing:
    """A model on its way into a file, once.

    It opens `model` (the path of an ONNX file, a ModelProto or a copy of a model, which are copied) and owns what it
    has opened: packing folds normalizations in it, and takes the tensors' data out. `plan` names all tensors by their
    names. `grids`: what the values of some tensors are known to lie on, by name. `encode`: task.encode_task, or what
    takes its place. Raises DczError.
    """

    def __init__(
        self,
        model: "AnyModel",
        plan: Plan,
        grids: Mapping[str, ValueGrid] = MappingProxyType({}),
        encode: Callable[[Tensor, Settings, int], Record] = encode_task,
    ):
        from .. import model as onnx_model

        self._model, self._is_packed, self._encode = model, False, encode
        self._loaded = onnx_model.open_dense(model, apart=True, lists=True)
        self.plan = onnx_model.by_name(plan, self._loaded.tensors)
        for number, tensor in enumerate(self._loaded.tensors):
            if tensor.name in grids:
                self._loaded.tensors[number] = replace(tensor, grid=grids[tensor.name])
        self._outside = self._loaded.outside
        self._stamps = self._stamped()

    @property
    def tensors(self) -> "Sequence[ModelTensor]":
        """The model's tensors, in its order."""
        return self._loaded.tensors

    @property
    def source_bytes(self) -> int:
        """The bytes of the model, external data included."""
        return self._loaded.source_bytes

    @property
    def files(self) -> list[str]:
        """The files that are read: the model, and its external data."""
        return [*([self._loaded.path] if self._loaded.path is not None else []), *self._outside]

    def pack(
        self,
        records: RecordStore,
        *,
        place: str,
        pool: WorkerPool,
        progress: Callable[[str, int, int], None] = lambda name, done, total: None,
        warn: Callable[[str], None] = lambda message: None,
        metadata: Mapping[str, str] | None = None,
        try_whole: bool = True,
    ) -> Packed:
        """Encode every tensor as the plan says, into `records`.

        See dcz.compress for the rest; `place` is what messages call the file. `try_whole`: whether the model, deflated
        as it is, may take the records' place where it is smaller. Raises DczError.
        """
        from .. import model as onnx_model

        assert not self._is_packed, "packing takes the model's data out: a second file takes a second Packing"
        self._is_packed = True
        loaded, plan = self._loaded, self.plan
        plan.check_names(tensor.name for tensor in loaded.tensors)
        folded, snapped = prepare(loaded, plan)
        check_lossy(loaded.tensors, plan)
        sha256 = functools.cache(beside(lambda: loaded.source_sha256))  # a tenth of the work, and not needed yet
        pending = jobs(loaded.tensors, plan, warn)
        settings = str(adapted(plan.default, loaded.tensors))
        total = sum(job.first.nbytes for job in pending)
        known = records.begin(lambda: self._fingerprint(pending, sha256()), total, len(pending))
        with contextlib.closing(encoded(pending[len(known) :], records, pool, self._encode)) as made:
            entries = _entries(pending, itertools.chain(known, made), progress, warn)
        graph = self._graph(pending, place)
        metadata = {
            "writer": f"dcz {__version__}",
            "source-sha256": sha256(),
            "source-bytes": str(loaded.source_bytes),
            "settings": settings,
            **(metadata or {}),
        }
        minor = int(any(job.transposed for job in pending))
        min_graph = onnx_model.least_stored(graph, loaded.path or "the model")
        head = directory.write_head(graph, noted(metadata, folded, snapped), entries, minor, min_graph)
        size = len(head) + sum(entry.info.length for entry in entries)
        tensor_bytes = {entry.name: entry.info.length for entry in entries}
        packed = Packed(head, records, graph, size, tensor_bytes)
        if (
            not try_whole
            or self._outside  # whose data the model's own bytes lack
            or any(job.prunes for job in pending)
            or hashlib.sha256(graph).hexdigest() == loaded.source_sha256
        ):
            self._forget()
            return packed
        original = onnx_model.reread_source(self._model, loaded, lambda data: may_deflate_below(data, size))
        self._forget()
        deflated = None if original is None else deflate_below(original, size)
        if original is not None and deflated is not None:  # tensors that repeat each other come to that
            min_graph = onnx_model.least_stored(original, loaded.path or "the model")
            whole = directory.write_head(original, metadata, [], min_graph=min_graph, deflated=deflated)
            if len(whole) < size:
                warn("the model is smallest deflated whole, exactly as it is: its tensors repeat, or are few")
                return Packed(whole, None, original, len(whole), tensor_bytes)
        return packed

    def _forget(self) -> None:
        """Change this: give the model's memory back, which reading the file again takes too."""
        self._loaded.tensors, self._loaded.proto, self._loaded.source = [], type(self._loaded.proto)(), None
        self._loaded.apart = {}

    def check_unchanged(self) -> None:
        """Raise FileAccess where external data has been replaced or written to since the model was opened."""
        for path, before, now in zip(self._outside, self._stamps, self._stamped(), strict=True):
            if before != now:
                raise FileAccess(f"{path}: external data has changed while it was read; compress the model again")

    def _stamped(self) -> list[tuple[int, int, int, int]]:
        try:
            return [stamp(path) for path in self._outside]
        except OSError as error:
            raise FileAccess(f"{error.filename}: external data cannot be read: {error.strerror}") from error

    def _fingerprint(self, pending: Sequence[Job], sha256: str) -> bytes:
        """A digest of all that the records depend on: the source (by its `sha256`, external data by size and time),
        what is to be done with each of its tensors (by the plan, too, which says what is folded into them), and the
        programs that do it.
        """
        stamps = zip(self._outside, self._stamps, strict=True)
        stats = [(os.path.basename(path), size, mtime) for path, (_, _, size, mtime) in stamps]
        asked = [
            (job.first.name, job.first.dtype.code, job.first.shape, job.first.rows, (job.first.external or ("",))[1:3],
             repr(job.settings), repr(job.first.grid))
            for job in pending
        ]  # fmt: skip
        versions = (__version__, directory.MAJOR, directory.MINOR, np.__version__, ZLIB)
        return hashlib.sha256(repr((versions, sha256, self.plan, stats, asked)).encode()).digest()

    def _graph(self, pending: Sequence[Job], place: str) -> bytes:
        """The model without the data of the tensors that have records."""
        from .. import model as onnx_model

        referring = set()
        for number, job in enumerate(pending):
            for tensor in job.tensors:
                tensor.replace_with_reference(number, tensor in job.transposed)
                referring.add(id(tensor))
        for tensor in self.tensors:
            if id(tensor) not in referring:
                tensor.inline_external_data()
        return onnx_model.serialized_whole(self._loaded, place)


def _entries(
    pending: Sequence[Job],
    known: Iterable[tuple[RecordInfo, str]],
    progress: Callable[[str, int, int], None],
    warn: Callable[[str], None],
) -> list[Entry]:
    """What the directory will say of each record; `known` is iterated once, as the records are made."""
    total, done, entries = sum(job.first.nbytes for job in pending), 0, []
    for job, (info, warning) in zip(pending, known, strict=True):
        if warning:
            warn(warning)
        tensor = job.first
        entries.append(Entry(tensor.name, tensor.dtype, tensor.shape, info))
        done += tensor.nbytes
        progress(tensor.name, done, total)
    return entries
