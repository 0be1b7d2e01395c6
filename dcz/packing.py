"""A model's tensors -> records, and the head that goes before them (spec, section 2).

    packed = pack("net.onnx", Plan(), spool)      spool: the records, one behind the other
    packed.nbytes                                 what the file will take, to the byte

Tensors pass through one by one: what is in memory at a time is the graph, the tensors in work, and their records.
"""

import contextlib
import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np

from . import __version__, allocate, codec, encodings, folding
from .deflate import crc32, deflates_below
from .format import container, record
from .format.container import Entry
from .parallel import in_order, map_over_parts
from .plan import BEST_QUALITY, LOSSLESS, WORST_QUALITY, Plan, Settings
from .stages import prune
from .tensor import Tensor, values

SAMPLED = 1 << 16  # weights of a tensor by which its scale is told
MOST_LOST = 0.5  # of a tensor's weights, which rounding alone may make zero before the user is told


@dataclass(frozen=True)
class Written:
    """A tensor's record, ready for the file, and what the directory says of it."""

    record: bytes
    encoding: int
    tensor_crc: int
    warning: str = ""


def encode_tensor(tensor: Tensor, settings: Settings, threads: int = 1) -> Written:
    """The smallest record of `tensor` under `settings`, measured in bytes. Executors of any kind can run it."""
    with map_over_parts(len(tensor.data) // max(1, tensor.dtype.bits // 8), threads) as map:
        candidates = codec.encode(tensor, settings, map)
    records = [(record.write(candidate.encoded), candidate) for candidate in candidates]
    records = [pair for pair in records if container.may_expand(len(pair[1].data), len(pair[0]))]
    if not records:  # only tensors that are zero almost everywhere; deflate stays within the format's limit
        stored = encodings.store(candidates[0].data, tensor.dtype)
        records = [(record.write(stored.encoded), stored)]
    data, best = min(records, key=lambda pair: len(pair[0]))
    encoding = record.ENCODINGS.index(record.encoding_name(best.encoded))
    warning = ""
    if not settings.lossless and tensor.dtype.real and not codec.is_finite(tensor):
        warning = f"{tensor.name}: holds infinities or NaN and stays exact; find out why before you ship the model"
    elif settings.sparsity is None and settings.threshold is None and _lost(tensor, best.data) > MOST_LOST:
        warning = f"{tensor.name}: {_lost(tensor, best.data):.0%} of its weights became zero; ask for more quality"
    return Written(data, encoding, crc32(best.data), warning)


def _lost(tensor: Tensor, decoded: np.ndarray) -> float:
    """The share of weights that were not zero and are now."""
    if not tensor.dtype.real or not len(decoded):
        return 0.0
    before, after = np.count_nonzero(tensor.patterns), np.count_nonzero(decoded.view(tensor.dtype.pattern))
    return 1 - after / before if before else 0.0


@dataclass(frozen=True, eq=False)
class Packed:
    """A file but for being written: its head, the spool with its records, and the graph that it must give back."""

    head: bytes
    spool: BinaryIO
    graph: bytes
    nbytes: int


def pack(
    model,
    loaded,
    plan: Plan,
    spool: BinaryIO,
    *,
    place: str,
    threads: int,
    executor: Executor | None = None,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    warn: Callable[[str], None] = lambda message: None,
    metadata: Mapping[str, str] | None = None,
) -> Packed:
    """Encode every tensor of `loaded` (model.load of `model`, which is used up) as `plan` says, into `spool`.

    See pipeline.compress for the rest; `place` is what messages call the file. Raises DczError.
    """
    from . import model as onnx_model

    plan.check_names(site.name for site in loaded.sites)
    folded = folding.fold(loaded, plan)
    jobs = _jobs(loaded.sites, plan, warn)
    metadata = {
        "writer": f"dcz {__version__}",
        "source-sha256": loaded.source_sha256,
        "source-bytes": str(loaded.source_bytes),
        "settings": str(plan.default),
        **(metadata or {}),
    }
    with contextlib.ExitStack() as stack:
        pool = executor or stack.enter_context(ThreadPoolExecutor(threads))
        tasks = (
            (sites[0], (_tensor(sites[0]), settings, threads if executor is None else 1)) for sites, settings in jobs
        )
        total = sum(sites[0].nbytes for sites, _ in jobs)
        entries = _spool_records(spool, in_order(pool, encode_tensor, tasks, threads), total, progress, warn)
    prunes = any(settings.sparsity is not None or settings.threshold is not None for _, settings in jobs)
    original = None if prunes else onnx_model.original(model, loaded)
    graph = _graph(loaded, jobs, place)
    head = container.write_head(graph, folding.noted(metadata, folded), entries)
    size = len(head) + sum(entry.length for entry in entries)
    if original is not None and deflates_below(original, size):  # tensors that repeat each other come to that
        whole = container.write_head(original, metadata, [])
        if len(whole) < size:
            warn("the model is smallest deflated whole, exactly as it is: its tensors repeat, or are few")
            return Packed(whole, io.BytesIO(), original, len(whole))
    return Packed(head, spool, graph, size)


def _spool_records(spool, results: Iterator, total: int, progress: Callable, warn: Callable) -> list[Entry]:
    """Write each record behind the one before it, and return what the directory will say of them."""
    entries, done = [], 0
    for site, written in results:
        if written.warning:
            warn(written.warning)
        length, crc = len(written.record), crc32(written.record)
        entries.append(Entry(site.name, site.dtype, site.shape, written.encoding, length, crc, written.tensor_crc))
        spool.write(written.record)
        done += site.nbytes
        progress(site.name, done, total)
    return entries


def _graph(loaded, jobs: list, place: str) -> bytes:
    """The model without the data of the tensors that have records."""
    from . import model as onnx_model

    lifted = set()
    for number, (sites, _) in enumerate(jobs):
        for site in sites:
            site.lift(number)
            lifted.add(id(site))
    for site in loaded.sites:
        if id(site) not in lifted:
            site.settle()
    return onnx_model.serialize(loaded.proto, place)


def _jobs(sites: list, plan: Plan, warn: Callable[[str], None]) -> list[tuple[list, Settings]]:
    """The records to write: the sites that share each (same content, same settings), and those settings."""
    from .model import INLINE_BYTES

    chosen = _settings(sites, plan)
    alike = defaultdict(list)
    for number, (site, settings) in enumerate(zip(sites, chosen)):
        if site.nbytes and (site.nbytes >= INLINE_BYTES or not settings.lossless):
            alike[site.dtype, site.shape, settings].append((number, site))
    jobs = []
    for (_, _, settings), group in alike.items():
        same = defaultdict(list)
        for number, site in group:  # most tensors differ from all others in shape: only the rest is worth a digest
            same[hashlib.sha256(site.read()).digest() if len(group) > 1 else b""].append((number, site))
        jobs += [(members[0][0], [site for _, site in members], settings) for members in same.values()]
    jobs = [(members, settings) for _, members, settings in sorted(jobs, key=lambda job: job[0])]
    _warn_of_exact(jobs, plan, warn)
    return jobs


def _settings(sites: list, plan: Plan) -> list[Settings]:
    """What to do with each site; a quality for the whole model is spread over its tensors."""
    elements = [site.nbytes * 8 // site.dtype.bits for site in sites]
    chosen = [
        plan.settings(site.name, site.is_weight, size) if site.dtype.real and size else LOSSLESS
        for site, size in zip(sites, elements)
    ]
    if plan.default.quality is not None:
        spread = [n for n, site in enumerate(sites) if chosen[n] is plan.default and plan.rule(site.name) is None]
        squares = [_mean_square(sites[number]) for number in spread]
        qualities = allocate.by_size([elements[number] for number in spread], squares, plan.default.quality)
        for number, quality in zip(spread, qualities):
            chosen[number] = replace(plan.default, quality=min(BEST_QUALITY, max(WORST_QUALITY, quality)))
    return chosen


def _mean_square(site) -> float:
    """The mean square of a tensor's weights by some of them: a rough scale is all that is wanted."""
    patterns = site.read().view(site.dtype.pattern)
    every = max(1, len(patterns) // SAMPLED)
    some = values(patterns[::every], site.dtype).astype(np.float64)
    return prune.typical_square(some[np.isfinite(some)])


def _warn_of_exact(jobs: list, plan: Plan, warn: Callable[[str], None]) -> None:
    total = sum(group[0].nbytes for group, _ in jobs)
    for (site, *_), settings in jobs:
        exact = settings.lossless and site.dtype.real and not plan.default.lossless
        if exact and site.nbytes > 0.05 * total and not plan.settings(site.name, True, 1 << 62).lossless:
            users = ", ".join(sorted({operator for operator, _ in site.uses})) or "no operator"
            warn(
                f"{site.name}: {site.nbytes} bytes stay exact, being used by {users}; "
                f"--include '{site.name}' compresses it"
            )


def _tensor(site) -> Tensor:
    return Tensor(site.name, site.dtype, site.shape, site.read(), site.rows)
