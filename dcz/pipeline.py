"""Whole models: compress, decompress, load, and open.

    net.onnx -> tensors -> codec.encode, many at a time -> records -> net.dcz -> decoded once more -> renamed into place

Tensors pass through one by one: what is in memory at a time is the graph, the tensors in work, and their records.
"""

import contextlib
import hashlib
import io
import os
import shutil
import tempfile
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from . import __version__, allocate, codec
from .errors import BadPlan, CorruptFile, FileAccess
from .files import check_output, replacing
from .format import container, record
from .format.container import Archive, Entry
from .plan import LOSSLESS, Plan, Settings
from .stages import block, huffman
from .tensor import Dtype, Tensor, values

Progress = Callable[[str, int, int], None]  # the tensor's name, bytes of tensors done, bytes in all

_BIG = 1 << 22  # elements from which one tensor is worth several threads
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
    with _inner_map(len(tensor.data) // max(1, tensor.dtype.bits // 8), threads) as map:
        candidates = codec.encode(tensor, settings, map)
    records = [(record.write(candidate.encoded), candidate) for candidate in candidates]
    records = [pair for pair in records if container.may_expand(len(pair[1].data), len(pair[0]))]
    if not records:  # only tensors that are zero almost everywhere; deflate stays within the format's limit
        stored = codec.store(candidates[0].data, tensor.dtype)
        records = [(record.write(stored.encoded), stored)]
    data, best = min(records, key=lambda pair: len(pair[0]))
    encoding = record.ENCODINGS.index(record.encoding_name(best.encoded))
    warning = ""
    if not settings.lossless and tensor.dtype.real and not codec.is_finite(tensor):
        warning = f"{tensor.name}: holds infinities or NaN and stays exact; find out why before you ship the model"
    return Written(data, encoding, zlib.crc32(best.data), warning)


@contextlib.contextmanager
def _inner_map(elements: int, threads: int) -> Iterator[Callable]:
    """A map over threads for the parts of one big tensor, the plain one otherwise."""
    if threads < 2 or elements < _BIG:
        yield map
        return
    with ThreadPoolExecutor(threads) as pool:
        yield pool.map


def decode_tensor(archive: Archive, entry: Entry, threads: int = 1, engine=huffman.decode) -> np.ndarray:
    """The bytes (uint8, flat) of one tensor of a file, checked against its checksum. `engine`: see codec.decode."""
    try:
        encoded = record.read(archive.record(entry), entry.encoding, entry.dtype, entry.shape)
        with _inner_map(entry.nbytes * 8 // entry.dtype.bits, threads) as map:
            data = codec.decode(encoded, entry.dtype, entry.shape, map, engine)
        if zlib.crc32(data) != entry.tensor_crc:
            raise CorruptFile("tensor-crc", "the decoded tensor does not have its checksum")
    except CorruptFile as error:
        if error.detail.startswith(archive.path):
            raise
        raise error.within(f"{archive.path}: tensor {entry.name!r}") from error.__cause__
    return data


def decode_all(archive: Archive, threads: int | None = None, engine=huffman.decode) -> Iterator[tuple[Entry, np.ndarray]]:
    """Every tensor of a file in order, a few decoded ahead."""
    threads = threads or os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        jobs = ((entry, (archive, entry, threads, engine)) for entry in archive.directory.entries)
        yield from _in_order(pool, decode_tensor, jobs, threads)


def _in_order(pool: Executor, function: Callable, jobs: Iterable[tuple[object, tuple]], ahead: int) -> Iterator[tuple]:
    """(key, function(*arguments)) for each (key, arguments), in order, at most `ahead` + 1 results or tasks alive."""
    waiting: deque = deque()
    try:
        for key, arguments in jobs:
            waiting.append((key, pool.submit(function, *arguments)))
            if len(waiting) > ahead:
                key, future = waiting.popleft()
                yield key, future.result()
        while waiting:
            key, future = waiting.popleft()
            yield key, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


# -- compress ---------------------------------------------------------------------------------------------------------


def compress(
    model,
    output: str | os.PathLike,
    plan: Plan | Settings | None = None,
    *,
    threads: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    warn: Callable[[str], None] = lambda message: None,
    force: bool = True,
) -> Path:
    """Compress `model` (the path of an ONNX file, or a ModelProto) into the file `output`, and return its path.

    `executor` may be any concurrent.futures.Executor; tensors are its tasks. The bytes of the file do not depend on it,
    nor on `threads` (default: all cores). What was written is read back and decoded before it takes its place; where
    anything fails, an older `output` stays as it was. Raises DczError.
    """
    from . import model as onnx_model

    plan = plan if isinstance(plan, Plan) else Plan(plan) if plan else Plan()
    check_output(output, force)
    is_path = isinstance(model, (str, os.PathLike))
    loaded = onnx_model.load(model) if is_path else onnx_model.from_proto(model)
    if is_path and Path(output).exists() and Path(output).samefile(model):
        raise FileAccess(f"{output}: is the model itself; name another output")
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
        spool = stack.enter_context(_spool(output))
        entries, done = [], 0
        tasks = ((sites, (_tensor(sites[0]), settings, inner)) for sites, settings in jobs)
        for sites, written in _in_order(pool, encode_tensor, tasks, threads):
            site = sites[0]
            if written.warning:
                warn(written.warning)
            length, crc = len(written.record), zlib.crc32(written.record)
            entries.append(Entry(site.name, site.dtype, site.shape, written.encoding, length, crc, written.tensor_crc))
            spool.write(written.record)
            done += site.nbytes
            if progress:
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
        plan.settings(site.name, site.is_weight, size) if site.dtype.real else LOSSLESS
        for site, size in zip(sites, elements)
    ]
    if plan.default.quality is not None:
        spread = [number for number, settings in enumerate(chosen) if settings is plan.default]
        qualities = allocate.by_size([elements[number] for number in spread], plan.default.quality)
        for number, quality in zip(spread, qualities):
            chosen[number] = replace(plan.default, quality=quality)
    return chosen


def _warn_of_exact(jobs: list, plan: Plan, warn: Callable[[str], None]) -> None:
    total = sum(group[0].nbytes for group, _ in jobs)
    for (site, *_), settings in jobs:
        exact = settings.lossless and site.dtype.real and not plan.default.lossless
        if exact and site.nbytes > 0.05 * total and not plan.settings(site.name, True, 1 << 62).lossless:
            users = ", ".join(sorted({operator for operator, _ in site.uses})) or "no operator"
            warn(f"{site.name}: {site.nbytes} bytes stay exact, being used by {users}; --include '{site.name}' compresses it")


def _tensor(site) -> Tensor:
    return Tensor(site.name, site.dtype, site.shape, site.read())


def _spool(output: str | os.PathLike):
    """Records wait here until the directory is known: in memory, or beside the output where they are many."""
    return tempfile.SpooledTemporaryFile(max_size=64 << 20, dir=Path(output).parent)


def _write_and_check(output: str | os.PathLike, head: bytes, spool, threads: int) -> None:
    with replacing(output) as file:
        file.write(head)
        shutil.copyfileobj(spool, file, 1 << 20)
        file.flush()
        with Archive(file.name) as archive:
            archive.graph()
            for _ in decode_all(archive, threads):
                pass


# -- decompress -------------------------------------------------------------------------------------------------------

EXTERNAL_DATA = ("auto", "never", "always")


def load(path: str | os.PathLike, *, threads: int | None = None):
    """The model in a `.dcz` file as an onnx.ModelProto, all its tensors inside. Raises DczError."""
    from . import model as onnx_model

    with Archive(path) as archive:
        proto, references = skeleton(archive)
        for number, (_, data) in enumerate(decode_all(archive, threads)):
            for reference in references[number]:
                onnx_model.fill(reference, data)
    return proto


def decompress(
    path: str | os.PathLike,
    output: str | os.PathLike,
    *,
    external_data: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
    force: bool = True,
) -> Path:
    """Decode the `.dcz` file `path` into the ONNX file `output`, and return its path.

    `external_data`: "always" writes the tensors of initializers to `output` + ".data"; "never" keeps all in one file;
    "auto" does that up to 2 GB. Raises DczError, an older `output` staying as it was.
    """
    from . import model as onnx_model

    if external_data not in EXTERNAL_DATA:
        raise BadPlan(f"external_data is one of {', '.join(EXTERNAL_DATA)}, not {external_data!r}")
    check_output(output, force)
    data_path = Path(f"{os.fspath(output)}.data")
    with Archive(path) as archive, contextlib.ExitStack() as stack:
        proto, references = skeleton(archive)
        entries = archive.directory.entries
        inside = archive.directory.graph_plain + sum(entries[n].nbytes * len(refs) for n, refs in references.items())
        outside = external_data == "always" or (external_data == "auto" and inside > onnx_model.PROTOBUF_LIMIT - (1 << 20))
        if outside:
            check_output(data_path, force)
        file = stack.enter_context(replacing(output))
        data_file = stack.enter_context(replacing(data_path)) if outside else None
        total, done = sum(entry.nbytes for entry in entries), 0
        for number, (entry, data) in enumerate(decode_all(archive, threads)):
            offset = None
            for reference in references[number]:
                if data_file and reference.held.own_file and reference.field == "raw_data":
                    offset = _append(data_file, data) if offset is None else offset
                    onnx_model.point_outside(reference, data_path.name, offset, len(data))
                else:
                    onnx_model.fill(reference, data)
            done += entry.nbytes
            if progress:
                progress(entry.name, done, total)
        file.write(onnx_model.serialize(proto, str(output)))
    return Path(output)


def _append(file, data: np.ndarray) -> int:
    from .model import ALIGNMENT

    padding = -file.tell() % ALIGNMENT
    file.write(b"\0" * padding)
    offset = file.tell()
    file.write(data)
    return offset


def skeleton(archive: Archive):
    """The graph of a file as a ModelProto, and the references to each of its records."""
    from . import model as onnx_model

    proto = onnx_model.parse_graph(archive.graph(), archive.path)
    records = [(entry.dtype.code, entry.shape) for entry in archive.directory.entries]
    references = defaultdict(list)
    for reference in onnx_model.references(proto, records, archive.path):
        references[reference.record].append(reference)
    return proto, references


# -- open -------------------------------------------------------------------------------------------------------------


class Tensors(Mapping):
    """The tensors of an open `.dcz` file by name, each decoded when it is asked for and not kept.

    Looking one up reads its record and nothing else. Small tensors live in the graph, which is read when a name is not
    in the directory, or when names are listed. bfloat16 comes as float32, of the same values; types that numpy lacks come
    as their packed bytes. A context manager; threads may share it.
    """

    def __init__(self, path: str | os.PathLike):
        self._archive = Archive(path)
        self._entries = {entry.name: entry for entry in self._archive.directory.entries}
        self._inline: dict[str, object] | None = None

    def __enter__(self) -> "Tensors":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    @property
    def metadata(self) -> dict[str, str]:
        """The file's metadata: writer, source-sha256, source-bytes, settings."""
        return dict(self._archive.directory.metadata)

    def __getitem__(self, name: str) -> np.ndarray:
        entry = self._entries.get(name)
        if entry is not None:
            return to_array(decode_tensor(self._archive, entry, os.cpu_count() or 1), entry.dtype, entry.shape)
        site = self._small()[name]
        return to_array(site.read(), site.dtype, site.shape)

    def __iter__(self) -> Iterator[str]:
        yield from self._entries
        yield from self._small()

    def __len__(self) -> int:
        return len(self._entries) + len(self._small())

    def _small(self) -> dict[str, object]:
        if self._inline is None:
            from . import model as onnx_model

            proto = onnx_model.parse_graph(self._archive.graph(), self._archive.path)
            found = onnx_model.inline_sites(proto, self._archive.path)
            self._inline = {site.name: site for site in found if site.name not in self._entries}
        return self._inline


def to_array(data: np.ndarray, dtype: Dtype, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor's bytes as an array of the nearest numpy type: see Tensors."""
    if dtype.name == "bfloat16":
        return values(data.view("<u2"), dtype).reshape(shape)
    if dtype.bits < 8 or dtype.name.startswith("float8"):
        return data
    return data.view(np.dtype(dtype.name).newbyteorder("<")).reshape(shape)
