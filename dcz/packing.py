"""A model's tensors -> records, and the head that goes before them (spec, section 2).

    packed = pack("net.onnx", loaded, Plan(), records)      records: a journal.Records, or what takes its place
    packed.nbytes                                           what the file will take, to the byte

Tensors pass through one by one: what is in memory at a time is the graph, the tensors in work, and their records.
"""

import contextlib
import hashlib
import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from . import __version__, allocate, codec, encodings, slices
from .crew import Crew
from .deflate import ZLIB, crc32, deflates_below
from .encodings import Candidate
from .errors import FileAccess
from .files import mapped, scratch, sync, writing
from .format import container, record
from .format.container import Entry
from .journal import Kept, Records
from .parallel import in_order, map_over_parts
from .plan import BEST_QUALITY, LOSSLESS, WORST_QUALITY, Plan, Settings
from .stages import prune
from .tensor import Dtype, Tensor, values

SAMPLED = 1 << 16  # weights of a tensor by which its scale is told
MOST_LOST = 0.5  # of a tensor's weights, which rounding alone may make zero before the user is told


@dataclass(frozen=True, eq=False)
class Task:
    """A tensor to be encoded, and how.

    `data` is its bytes (uint8, flat), or where they lie (path, offset, length), so that workers are sent no weights.
    """

    name: str
    dtype: Dtype
    shape: tuple[int, ...]
    rows: int
    data: np.ndarray | tuple[str, int, int]
    settings: Settings

    def tensor(self) -> Tensor:
        """The tensor, its data mapped where it lies in a file. Raises FileAccess."""
        data = self.data
        if isinstance(data, tuple):
            try:
                data = np.frombuffer(mapped(*data), np.uint8)
            except (OSError, ValueError) as error:
                raise FileAccess(f"{data[0]}: the data of tensor {self.name!r} cannot be read: {error}") from error
        return Tensor(self.name, self.dtype, self.shape, data, self.rows)


def task(site, settings: Settings, where: tuple[str, int, int] | None = None) -> Task:
    """What is to be done with a site (model.Site), whose bytes lie `where`, if another process shall read them."""
    return Task(site.name, site.dtype, site.shape, site.rows, where or site.external or site.read(), settings)


def encode_task(task: Task, threads: int = 1) -> "Written":
    """The smallest record of the tensor that `task` describes. Executors of any kind can run it."""
    return encode_tensor(task.tensor(), task.settings, threads)


@dataclass(frozen=True)
class Written:
    """A tensor's record, ready for the file, and what the directory says of it."""

    record: bytes
    encoding: int
    tensor_crc: int
    warning: str = ""


def encode_tensor(tensor: Tensor, settings: Settings, threads: int = 1) -> Written:
    """The smallest record of `tensor` under `settings`, measured in bytes."""
    with map_over_parts(len(tensor.data) // max(1, tensor.dtype.bits // 8), threads) as map:
        best = _smallest(codec.encode(tensor, settings, map), tensor)
    encoding = record.ENCODINGS.index(record.encoding_name(best.encoded))
    data, (crc, lost) = record.write(best.encoded), _compare(tensor, best)
    warning = ""
    if not settings.lossless and tensor.dtype.real and not codec.is_finite(tensor):
        warning = f"{tensor.name}: holds infinities or NaN and stays exact; find out why before you ship the model"
    elif settings.sparsity is None and settings.threshold is None and lost > MOST_LOST:
        warning = f"{tensor.name}: {lost:.0%} of its weights became zero; ask for more quality"
    return Written(data, encoding, crc, warning)


def _smallest(candidates: list[Candidate], tensor: Tensor) -> Candidate:
    """The candidate whose record takes the fewest bytes, and may be as short as it is."""
    sizes = [sum(len(part) for _, part in record.parts(candidate.encoded)) for candidate in candidates]
    allowed = [number for number, size in enumerate(sizes) if container.may_expand(len(tensor.data), size)]
    if not allowed:  # only tensors that are zero almost everywhere; deflate stays within the format's limit
        return encodings.store(candidates[0].source, tensor.dtype)
    return candidates[min(allowed, key=lambda number: sizes[number])]


def _compare(tensor: Tensor, found: Candidate) -> tuple[int, float]:
    """The checksum of what `found` decodes to, and the share of weights that were not zero and are now."""
    crc = before = after = 0
    for part in slices.parts(len(found.source), slices.WIDE):
        data = found.source[part]
        crc = crc32(data, crc)
        if tensor.dtype.real:  # slices of whole elements
            before += np.count_nonzero(tensor.data[part].view(tensor.dtype.pattern))
            after += np.count_nonzero(data.view(tensor.dtype.pattern))
    return crc, 1 - after / before if before else 0.0


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
    crew: Crew,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    warn: Callable[[str], None] = lambda message: None,
    metadata: Mapping[str, str] | None = None,
) -> Packed:
    """Encode every tensor of `loaded` (model.load of `model`, which is used up) as `plan` says, into `records`.

    See pipeline.compress for the rest; `place` is what messages call the file. Raises DczError.
    """
    from . import model as onnx_model

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
        total = sum(sites[0].nbytes for sites, _ in jobs)
        there = records.begin(_fingerprint(loaded, jobs), total)
        left = jobs[len(there) :]
        where = {}
        if crew.folder is not None:
            where = stack.enter_context(_laid_out([sites[0] for sites, _ in left], crew.folder))
        tasks = (
            (site, (task(site, settings, where.get(id(site))), crew.threads), site.nbytes)
            for (site, *_), settings in left
        )
        done = [(sites[0], kept) for (sites, _), kept in zip(jobs, there)]
        made = _add(records, in_order(crew.executor, encode_task, tasks, crew.ahead, crew.room))
        entries = _entries(itertools.chain(done, made), total, progress, warn)
    prunes = any(settings.sparsity is not None or settings.threshold is not None for _, settings in jobs)
    original = None if prunes else onnx_model.original(model, loaded)
    graph = _graph(loaded, jobs, place)
    head = container.write_head(graph, metadata, entries)
    size = len(head) + sum(entry.length for entry in entries)
    if original is not None and deflates_below(original, size):  # tensors that repeat each other come to that
        whole = container.write_head(original, metadata, [])
        if len(whole) < size:
            warn("the model is smallest deflated whole, exactly as it is: its tensors repeat, or are few")
            return Packed(whole, None, original, len(whole))
    return Packed(head, records, graph, size)


@contextlib.contextmanager
def _laid_out(sites: list, folder: str) -> Iterator[dict[int, tuple[str, int, int]]]:
    """Where others can read the bytes of each site, by its id: external data where it is, the rest in a file that goes
    at the end."""
    found = {id(site): (os.path.realpath(site.external[0]), *site.external[1:]) for site in sites if site.external}
    with scratch(folder) as file:
        with writing(file.name):
            for site in sites:
                if id(site) not in found:
                    found[id(site)] = (file.name, file.tell(), site.nbytes)
                    file.write(site.read())
            sync(file)
        yield found


def _add(records: Records, results: Iterator) -> Iterator[tuple]:
    """Write each record behind the one before it; the sites, and what there is to say of their records."""
    for site, written in results:
        crc = crc32(written.record)
        kept = Kept(written.encoding, len(written.record), crc, written.tensor_crc, written.warning)
        records.add(kept, written.record)
        del written  # before the next one is made
        yield site, kept


def _entries(found: Iterable[tuple], total: int, progress: Callable, warn: Callable) -> list[Entry]:
    """What the directory will say of each site's record."""
    entries, done = [], 0
    for site, kept in found:
        if kept.warning:
            warn(kept.warning)
        sizes = kept.encoding, kept.length, kept.record_crc, kept.tensor_crc
        entries.append(Entry(site.name, site.dtype, site.shape, *sizes))
        done += site.nbytes
        progress(site.name, done, total)
    return entries


def _fingerprint(loaded, jobs: list) -> bytes:
    """A digest of all that the records depend on: the source (external data by size and time), what is to be done with
    each of its tensors, and the programs that do it."""
    outside = sorted({site.external[0] for site in loaded.sites if site.external})
    stats = [(os.path.basename(path), os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in outside]
    asked = [
        (site.name, site.dtype.code, site.shape, site.rows, (site.external or ("",))[1:], repr(settings))
        for (site, *_), settings in jobs
    ]
    versions = (__version__, container.MAJOR, container.MINOR, np.__version__, ZLIB)
    return hashlib.sha256(repr((versions, loaded.source_sha256, stats, asked)).encode()).digest()


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
