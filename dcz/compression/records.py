"""A model's tensors -> records, and the head that goes before them (spec, section 2).

    packed = pack("net.onnx", loaded, Plan(), records)      records: a journal.Records, or what takes its place
    packed.nbytes                                           what the file will take, to the byte

Tensors pass through one by one: what is in memory at a time is the graph, the tensors in work, and their records.
"""

import contextlib
import hashlib
import itertools
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from .. import __version__
from ..codec import quality
from ..codec.stages import prune
from ..deflate import ZLIB, crc32, deflates_below, may_deflate_below
from ..errors import FileAccess
from ..files import scratch, sync, writing
from ..format import container
from ..format.container import Entry
from ..parallel import in_order
from ..plan import BEST_QUALITY, LOSSLESS, WORST_QUALITY, Plan, Settings
from ..tensor import values
from .executors import WorkerPool
from .fold_batchnorm import fold, noted
from .journal import Kept, Records
from .task import encode_task, task

SAMPLED = 1 << 16  # weights of a tensor by which its scale is told


@dataclass(frozen=True, eq=False)
class Packed:
    """A file but for being written: its head, its records (None: there are none), and the graph that it must give
    back."""

    head: bytes
    records: Records | None
    graph: bytes
    nbytes: int


def pack(
    model,
    loaded,
    plan: Plan,
    records: Records,
    *,
    place: str,
    pool: WorkerPool,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    warn: Callable[[str], None] = lambda message: None,
    metadata: Mapping[str, str] | None = None,
) -> Packed:
    """Encode every tensor of `loaded` (model.load of `model`, which is used up) as `plan` says, into `records`.

    See dcz.compress for the rest; `place` is what messages call the file. Raises DczError.
    """
    from .. import model as onnx_model

    plan.check_names(tensor.name for tensor in loaded.tensors)
    folded = fold(loaded, plan)
    jobs = _jobs(loaded.tensors, plan, warn)
    metadata = {
        "writer": f"dcz {__version__}",
        "source-sha256": loaded.source_sha256,
        "source-bytes": str(loaded.source_bytes),
        "settings": str(plan.default),
        **(metadata or {}),
    }
    with contextlib.ExitStack() as stack:
        total = sum(tensors[0].nbytes for tensors, _ in jobs)
        there = records.begin(_fingerprint(loaded, jobs, plan), total)
        left = jobs[len(there) :]
        where = {}
        if pool.folder is not None:
            where = stack.enter_context(_laid_out([tensors[0] for tensors, _ in left], pool.folder))
        tasks = (
            (tensor, (task(tensor, settings, where.get(id(tensor))), pool.threads), tensor.nbytes)
            for (tensor, *_), settings in left
        )
        done = [(tensors[0], kept) for (tensors, _), kept in zip(jobs, there)]
        made = _add(records, in_order(pool.executor, encode_task, tasks, pool.prefetch, pool.max_bytes))
        entries = _entries(itertools.chain(done, made), total, progress, warn)
    prunes = any(settings.sparsity is not None or settings.threshold is not None for _, settings in jobs)
    graph = _graph(loaded, jobs, place)
    head = container.write_head(graph, noted(metadata, folded), entries)
    size = len(head) + sum(entry.length for entry in entries)
    original = None if prunes else onnx_model.reread_source(model, loaded, lambda data: may_deflate_below(data, size))
    if original is not None and deflates_below(original, size):  # tensors that repeat each other come to that
        whole = container.write_head(original, metadata, [])
        if len(whole) < size:
            warn("the model is smallest deflated whole, exactly as it is: its tensors repeat, or are few")
            return Packed(whole, None, original, len(whole))
    return Packed(head, records, graph, size)


@contextlib.contextmanager
def _laid_out(tensors: list, folder: str) -> Iterator[dict[int, tuple[str, int, int]]]:
    """Where others can read the bytes of each tensor, by its id: external data where it is, the rest in a file that goes
    at the end."""
    found = {
        id(tensor): (os.path.realpath(tensor.external[0]), *tensor.external[1:])
        for tensor in tensors
        if tensor.external
    }
    with scratch(folder) as file:
        with writing(file.name):
            for tensor in tensors:
                if id(tensor) not in found:
                    found[id(tensor)] = (file.name, file.tell(), tensor.nbytes)
                    file.write(tensor.read())
            sync(file)
        yield found


def _add(records: Records, results: Iterator) -> Iterator[tuple]:
    """Write each record behind the one before it; the tensors, and what there is to say of their records."""
    for tensor, written in results:
        crc = crc32(written.record)
        kept = Kept(written.encoding, len(written.record), crc, written.tensor_crc, written.warning)
        records.add(kept, written.record)
        del written  # before the next one is made
        yield tensor, kept


def _entries(found: Iterable[tuple], total: int, progress: Callable, warn: Callable) -> list[Entry]:
    """What the directory will say of each site's record."""
    entries, done = [], 0
    for tensor, kept in found:
        if kept.warning:
            warn(kept.warning)
        sizes = kept.encoding, kept.length, kept.record_crc, kept.tensor_crc
        entries.append(Entry(tensor.name, tensor.dtype, tensor.shape, *sizes))
        done += tensor.nbytes
        progress(tensor.name, done, total)
    return entries


def _fingerprint(loaded, jobs: list, plan: Plan) -> bytes:
    """A digest of all that the records depend on: the source (external data by size and time), what is to be done with
    each of its tensors (by the plan, too, which says what is folded into them), and the programs that do it."""
    outside = sorted({tensor.external[0] for tensor in loaded.tensors if tensor.external})
    try:
        stats = [(os.path.basename(path), os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in outside]
    except OSError as error:
        raise FileAccess(f"{error.filename}: external data cannot be read: {error.strerror}") from error
    asked = [
        (tensor.name, tensor.dtype.code, tensor.shape, tensor.rows, (tensor.external or ("",))[1:], repr(settings))
        for (tensor, *_), settings in jobs
    ]
    versions = (__version__, container.MAJOR, container.MINOR, np.__version__, ZLIB)
    return hashlib.sha256(repr((versions, loaded.source_sha256, plan, stats, asked)).encode()).digest()


def _graph(loaded, jobs: list, place: str) -> bytes:
    """The model without the data of the tensors that have records."""
    from .. import model as onnx_model

    lifted = set()
    for number, (tensors, _) in enumerate(jobs):
        for tensor in tensors:
            tensor.replace_with_reference(number)
            lifted.add(id(tensor))
    for tensor in loaded.tensors:
        if id(tensor) not in lifted:
            tensor.inline_external_data()
    return onnx_model.serialize(loaded.proto, place)


def _jobs(tensors: list, plan: Plan, warn: Callable[[str], None]) -> list[tuple[list, Settings]]:
    """The records to write: the tensors that share each (same content, same settings), and those settings."""
    from ..model import INLINE_BYTES

    chosen = _settings(tensors, plan)
    alike = defaultdict(list)
    for number, (tensor, settings) in enumerate(zip(tensors, chosen)):
        if tensor.nbytes and (tensor.nbytes >= INLINE_BYTES or not settings.lossless):
            alike[tensor.dtype, tensor.shape, settings].append((number, tensor))
    jobs = []
    for (_, _, settings), group in alike.items():
        same = defaultdict(list)
        for number, tensor in group:  # most tensors differ from all others in shape: only the rest is worth a digest
            same[hashlib.sha256(tensor.read()).digest() if len(group) > 1 else b""].append((number, tensor))
        jobs += [(members[0][0], [tensor for _, tensor in members], settings) for members in same.values()]
    jobs = [(members, settings) for _, members, settings in sorted(jobs, key=lambda job: job[0])]
    _warn_of_exact(jobs, plan, warn)
    return jobs


def _settings(tensors: list, plan: Plan) -> list[Settings]:
    """What to do with each site; a quality for the whole model is spread over its tensors."""
    elements = [tensor.nbytes * 8 // tensor.dtype.bits for tensor in tensors]
    chosen = [
        plan.settings(tensor.name, tensor.is_weight, size) if tensor.dtype.real and size else LOSSLESS
        for tensor, size in zip(tensors, elements)
    ]
    if plan.default.quality is not None:
        spread = [n for n, tensor in enumerate(tensors) if chosen[n] is plan.default and plan.rule(tensor.name) is None]
        squares = [_mean_square(tensors[number]) for number in spread]
        qualities = quality.by_size([elements[number] for number in spread], squares, plan.default.quality)
        for number, decibels in zip(spread, qualities):
            chosen[number] = replace(plan.default, quality=min(BEST_QUALITY, max(WORST_QUALITY, decibels)))
    return chosen


def _mean_square(tensor) -> float:
    """The mean square of a tensor's weights by some of them: a rough scale is all that is wanted. 0 where float64 does
    not hold it: such a tensor stays exact."""
    patterns = tensor.read().view(tensor.dtype.pattern)
    every = max(1, len(patterns) // SAMPLED)
    some = values(patterns[::every], tensor.dtype).astype(np.float64)
    with np.errstate(over="ignore"):
        square = prune.typical_square(some[np.isfinite(some)])
    return square if math.isfinite(square) else 0.0


def _warn_of_exact(jobs: list, plan: Plan, warn: Callable[[str], None]) -> None:
    total = sum(group[0].nbytes for group, _ in jobs)
    for (tensor, *_), settings in jobs:
        exact = settings.lossless and tensor.dtype.real and not plan.default.lossless
        if exact and tensor.nbytes > 0.05 * total and not plan.settings(tensor.name, True, 1 << 62).lossless:
            users = ", ".join(sorted({operator for operator, _ in tensor.uses})) or "no operator"
            why = f"fewer than {plan.min_weights} weights" if tensor.is_weight else f"used by {users}"
            warn(
                f"{tensor.name}: {tensor.nbytes} bytes stay exact, being {why}; --include '{tensor.name}' compresses it"
            )
