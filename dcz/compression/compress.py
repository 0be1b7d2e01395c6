"""Whole models into `.dcz` files.

net.onnx -> tensors -> codec.encode, many at a time -> records -> net.dcz -> decoded once more -> renamed into place
"""

import os
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ..arguments import check_flag, check_metadata
from ..display.progress import Progress, shown
from ..errors import CorruptFile
from ..file_kinds import check_onnx
from ..files import check_output, replacing
from ..format.container import Archive
from ..parallel import BIG, helped, thread_count
from ..reading.decompress import decode_all, skeleton
from ..reading.written import Compressed
from ..tensor import ValueGrid
from .executors import open_pool
from .journal import records
from .options import AnyPlan, Notes, PlanOptions, as_plan
from .records import Packed, Packing

if TYPE_CHECKING:
    from onnx import ModelProto


def compress(
    model: "str | os.PathLike[str] | ModelProto",
    output: str | os.PathLike[str],
    plan: AnyPlan = None,
    *,
    threads: int | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Progress = None,
    warn: Callable[[str], None] | None = None,
    force: bool = False,
    metadata: Mapping[str, str] | None = None,
    resume: bool | None = None,
    **options: Unpack[PlanOptions],
) -> Compressed:
    """Compress `model` (the path of an ONNX file, or a ModelProto) into the file `output`, and return what it is.

    `plan` may be the path of a plan.toml; None means a quality that hardly changes a network's answers, Settings()
    alone changes nothing. Keywords change it, as the command's options do (compression.options): `preset="small"`,
    `quality=30`, `sparsity="80%"`, `bits=5`, `lossless=True`, `exclude="fc1.*"` and so on. The result has the file's
    sizes and tensors, and may be used as its path.

    Tensors are the tasks: of `threads` (default: all cores), or of one of these: an `executor`, any
    concurrent.futures.Executor; `workers` processes of this machine; the Dask `cluster` whose scheduler has that
    address (see executors.open_pool). The bytes of the file do not depend on which it is.

    `progress` is called with a tensor's name, the bytes of tensors done, and those in all; True shows a bar. `warn` is
    called with sentences, which the result has too.
    `force` replaces an `output` that exists. `metadata` replaces what the file would say of its source, where `model`
    was made from another one, and of its settings. With `resume`, records are kept in `output` + ".partial" until
    `output` is in its place: after a kill or a full disk the same call goes on from there, to the same bytes; None:
    from 1 GB of tensors on.

    What was written is read back and decoded before it takes its place; where anything fails, an older `output` stays
    as it was. Raises DczError.
    """
    return compress_known(
        model, output, plan, {}, threads=threads, executor=executor, workers=workers, cluster=cluster,
        progress=progress, warn=warn, force=force, metadata=metadata, resume=resume, **options,
    )  # fmt: skip


def compress_known(
    model: "str | os.PathLike[str] | ModelProto",
    output: str | os.PathLike[str],
    plan: AnyPlan,
    grids: Mapping[str, ValueGrid],
    *,
    threads: int | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Progress = None,
    warn: Callable[[str], None] | None = None,
    force: bool = False,
    metadata: Mapping[str, str] | None = None,
    resume: bool | None = None,
    **options: Unpack[PlanOptions],
) -> Compressed:
    """`compress` of a model of which it is known on what the values of some tensors lie: `grids`, by name."""
    check_flag(resume, "resume")
    check_metadata(metadata)
    chosen, threads = as_plan(plan, options), thread_count(threads)
    check_onnx(model)
    check_output(output, force)
    with helped(BIG, threads):
        packing, notes = Packing(model, chosen, grids), Notes(warn)
    check_output(output, force, inputs=packing.files)
    with shown(progress, "compressing") as report:
        write(packing, output, threads, executor, workers, cluster, report, notes, metadata, resume)
    return Compressed.of(output, tuple(notes.told))


def write(
    packing: Packing,
    output: str | os.PathLike[str],
    threads: int,
    executor: Executor | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    warn: Callable[[str], None] = lambda message: None,
    metadata: Mapping[str, str] | None = None,
    resume: bool | None = None,
) -> None:
    """Pack what `packing` has opened into the file `output`, replacing it; for the rest see `compress`."""
    place = os.fspath(output)
    with records(output, resume) as store:
        with open_pool(threads, executor, workers, cluster, Path(os.path.realpath(output)).parent) as pool:
            packed = packing.pack(store, place=place, pool=pool, progress=progress, warn=warn, metadata=metadata)
        write_checked(place, packed, threads, packing.check_unchanged)


def write_checked(output: str, packed: Packed, threads: int, check_source: Callable[[], None]) -> None:
    """Write the file beside `output`, and put it in its place once it gives back the graph and every tensor, and the
    source is found to be the one that was read."""
    from .. import model as onnx_model

    with replacing(output) as file:
        file.write(packed.head)
        if packed.records is not None:
            packed.records.copy(file)
        file.flush()
        with Archive(file.name, is_private=True) as archive:
            if not _is_graph(archive, packed.graph):
                raise CorruptFile("graph-crc", f"{output}: what was written is not what was meant")
            if archive.directory.entries:  # else no reference: the graph is as it was
                skeleton(archive, onnx_model.Held())
            deque(decode_all(archive, threads), maxlen=0)  # a loop would hold on to each while the next is made
        check_source()


def _is_graph(archive: Archive, graph: bytes) -> bool:
    """Whether the graph of a file is this one; of large ones, a second copy would be much."""
    at = 0
    for chunk in archive.graph_chunks():
        if graph[at : at + len(chunk)] != chunk:
            return False
        at += len(chunk)
    return at == len(graph)
