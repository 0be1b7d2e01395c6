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
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from . import __version__, allocate, codec, encodings
from .deflate import crc32
from .files import check_output, replacing, spooled
from .format import container, record
from .format.container import Archive, Entry
from .parallel import in_order, map_over_parts
from .plan import BEST_QUALITY, LOSSLESS, WORST_QUALITY, Plan, Settings
from .tensor import Tensor
from .unpack import decode_all, skeleton

_MEASURE_WHOLE = 32 << 20  # bytes of a model up to which it is always deflated whole too


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
    return Written(data, encoding, crc32(best.data), warning)


def compress(
    model,
    output: str | os.PathLike,
    plan: Plan | Settings | None = None,
    *,
    threads: int | None = None,
    executor: Executor | None = None,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    warn: Callable[[str], None] = lambda message: None,
    force: bool = True,
) -> Path:
    """Compress `model` (the path of an ONNX file, or a ModelProto) into the file `output`, and return its path.

    `executor` may be any concurrent.futures.Executor; tensors are its tasks. The bytes of the file do not depend on it,
    nor on `threads` (default: all cores). `progress` is told a tensor's name, the bytes of tensors done, and those in
    all; `warn` gets sentences. What was written is read back and decoded before it takes its place; where
    anything fails, an older `output` stays as it was. Raises DczError.
    """
    from . import model as onnx_model

    plan = plan if isinstance(plan, Plan) else Plan(plan) if plan else Plan()
    check_output(output, force)
    is_path = isinstance(model, (str, os.PathLike))
    loaded = onnx_model.load(model) if is_path else onnx_model.from_proto(model)
    check_output(output, force, inputs=[loaded.path, *(site.external[0] for site in loaded.sites if site.external)])
    plan.check_names(site.name for site in loaded.sites)
    jobs = list(_jobs(loaded.sites, plan, warn))
    threads = threads or os.cpu_count() or 1
    total = sum(sites[0].nbytes for sites, _ in jobs)
    metadata = {
        "writer": f"dcz {__version__}",
        "source-sha256": loaded.source_sha256,
        "source-bytes": str(loaded.source_bytes),
        "settings": str(plan.default),
    }

    with contextlib.ExitStack() as stack:
        pool = executor or stack.enter_context(ThreadPoolExecutor(threads))
        inner = threads if executor is None else 1
        spool = stack.enter_context(spooled(output))
        entries, done = [], 0
        tasks = ((sites, (_tensor(sites[0]), settings, inner)) for sites, settings in jobs)
        for sites, written in in_order(pool, encode_tensor, tasks, threads):
            site = sites[0]
            if written.warning:
                warn(written.warning)
            length, crc = len(written.record), crc32(written.record)
            entries.append(Entry(site.name, site.dtype, site.shape, written.encoding, length, crc, written.tensor_crc))
            spool.write(written.record)
            done += site.nbytes
            progress(site.name, done, total)
        has_external = any(site.external for site in loaded.sites)
        for number, (sites, _) in enumerate(jobs):
            for site in sites:
                site.lift(number)
        lifted = {id(site) for sites, _ in jobs for site in sites}
        for site in loaded.sites:
            if id(site) not in lifted:
                site.settle()
        head = container.write_head(onnx_model.serialize(loaded.proto, str(output)), metadata, entries)
        spool.seek(0)
        size = len(head) + sum(entry.length for entry in entries)
        if not has_external and (size >= loaded.source_bytes / 4 or loaded.source_bytes <= _MEASURE_WHOLE):
            # Tensors that repeat each other may be smaller deflated together. Big models that shrank well hold none.
            original = Path(model).read_bytes() if is_path else onnx_model.serialize(model, str(output))
            whole = container.write_head(original, metadata, [])
            if len(whole) < size:
                head, spool = whole, io.BytesIO()
        _write_and_check(output, head, spool, threads)
    return Path(output)


def _jobs(sites: list, plan: Plan, warn: Callable[[str], None]) -> Iterator[tuple[list, Settings]]:
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
    return iter(jobs)


def _settings(sites: list, plan: Plan) -> list[Settings]:
    """What to do with each site; a quality for the whole model is spread over its tensors."""
    elements = [site.nbytes * 8 // site.dtype.bits for site in sites]
    chosen = [
        plan.settings(site.name, site.is_weight, size) if site.dtype.real and size else LOSSLESS
        for site, size in zip(sites, elements)
    ]
    if plan.default.quality is not None:
        spread = [number for number, settings in enumerate(chosen) if settings is plan.default]
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


def _write_and_check(output: str | os.PathLike, head: bytes, spool, threads: int) -> None:
    with replacing(output) as file:
        file.write(head)
        shutil.copyfileobj(spool, file, 1 << 20)
        file.flush()
        with Archive(file.name) as archive:
            skeleton(archive)
            for _ in decode_all(archive, threads):
                pass
