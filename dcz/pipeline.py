"""Whole models into `.dcz` files.

    net.onnx -> tensors -> codec.encode, many at a time -> records -> net.dcz -> decoded once more -> renamed into place

Tensors pass through one by one: what is in memory at a time is the graph, the tensors in work, and their records.
"""

import contextlib
import hashlib
import io
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from . import __version__, allocate, codec, encodings
from .deflate import crc32, deflates_below
from .errors import BadPlan, CorruptFile
from .files import check_output, replacing, spooled
from .format import container, record
from .format.container import Archive, Entry
from .parallel import in_order, map_over_parts, thread_count
from .plan import BEST_QUALITY, LOSSLESS, WORST_QUALITY, Plan, Settings
from .plan import load as load_plan
from .tensor import Tensor
from .unpack import decode_all, skeleton

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


def compress(
    model,
    output: str | os.PathLike,
    plan: Plan | Settings | str | os.PathLike | None = None,
    *,
    threads: int | None = None,
    executor: Executor | None = None,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    warn: Callable[[str], None] = lambda message: None,
    force: bool = True,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Compress `model` (the path of an ONNX file, or a ModelProto) into the file `output`, and return its path.

    `plan` may be the path of a plan.toml; None means a quality that hardly changes a network's answers, Settings()
    alone changes nothing. `executor` may be any concurrent.futures.Executor; tensors are its tasks. The bytes of the
    file do not depend on it, nor on `threads` (default: all cores). `progress` is told a tensor's name, the bytes of
    tensors done, and those in all; `warn` gets sentences. `force` replaces an `output` that exists. `metadata`
    takes the place of what the file would say of its source, where `model` was made from another, and of its settings.
    What was written is read back and decoded before it takes its place; where anything fails, an older `output` stays
    as it was.
    Raises DczError.
    """
    from . import model as onnx_model

    plan, threads = _as_plan(plan), thread_count(threads)
    check_output(output, force)
    given = isinstance(model, (str, os.PathLike))
    loaded = onnx_model.load(model) if given else onnx_model.from_proto(model)
    check_output(output, force, inputs=[loaded.path, *(site.external[0] for site in loaded.sites if site.external)])
    plan.check_names(site.name for site in loaded.sites)
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
        spool = stack.enter_context(spooled(output))
        total = sum(sites[0].nbytes for sites, _ in jobs)
        entries = _spool_records(spool, in_order(pool, encode_tensor, tasks, threads), total, progress, warn)
        prunes = any(settings.sparsity is not None or settings.threshold is not None for _, settings in jobs)
        original = None if prunes else onnx_model.original(model, loaded)
        graph = _graph(loaded, jobs, os.fspath(output))
        head = container.write_head(graph, metadata, entries)
        size = len(head) + sum(entry.length for entry in entries)
        if original is not None and deflates_below(original, size):  # tensors that repeat each other come to that
            whole = container.write_head(original, metadata, [])
            if len(whole) < size:
                warn("the model is smallest deflated whole, exactly as it is: its tensors repeat, or are few")
                graph, head, spool = original, whole, io.BytesIO()
        _write_and_check(output, head, spool, graph, threads)
    return Path(output)


def _as_plan(plan: Plan | Settings | str | os.PathLike | None) -> Plan:
    if isinstance(plan, (str, os.PathLike)):
        return load_plan(plan)
    if plan is None or isinstance(plan, Settings):
        return Plan() if plan is None else Plan(plan)
    if not isinstance(plan, Plan):
        raise BadPlan(f"a plan is a dcz.Plan or dcz.Settings, not {type(plan).__name__}")
    return plan


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
        qualities = allocate.by_size([elements[number] for number in spread], plan.default.quality)
        for number, quality in zip(spread, qualities):
            chosen[number] = replace(plan.default, quality=min(BEST_QUALITY, max(WORST_QUALITY, quality)))
    return chosen


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
    return Tensor(site.name, site.dtype, site.shape, site.read())


def _write_and_check(output: str | os.PathLike, head: bytes, spool, graph: bytes, threads: int) -> None:
    """Write the file beside `output`, and put it in its place once it gives back the graph and every tensor."""
    spool.seek(0)
    with replacing(output) as file:
        file.write(head)
        shutil.copyfileobj(spool, file, 1 << 20)
        file.flush()
        with Archive(file.name) as archive:
            if archive.graph() != graph:
                raise CorruptFile("graph-crc", f"{output}: what was written is not what was meant")
            skeleton(archive)
            for _ in decode_all(archive, threads):
                pass
