"""A model whose tensors are listed at once and read one by one: `.dcz` or `.onnx`, alike.

with open_model("net.dcz") as old:
    old.rows                  name, type, shape, encoding, bytes in the file and once decoded
    old.read(old.rows[0])     its bytes, decoded now; not kept
"""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import files
from ..deflate import crc32
from ..encoded import ENCODINGS
from ..errors import CorruptFile, FileAccess, UnsuitableModel
from ..files import FileRange
from ..format.container import Archive, is_dcz
from ..format.directory import Entry
from ..reading.decompress import decode_tensor, skeleton_within
from ..tensor import Dtype

if TYPE_CHECKING:
    from onnx import ModelProto

    from ..model import Model, ModelTensor

MAX_HELD = 64 << 20  # bytes of tensors that a model may keep in memory while another one is opened
IN_GRAPH, REPEATS, PLAIN, EXTERNAL = "in graph", "repeated", "plain", "external"


@dataclass(frozen=True)
class Row:
    """A tensor of a model: bytes in the file (0 where it lies in the compressed graph, or shares another's record), and
    in memory once decoded."""

    name: str
    dtype: Dtype
    shape: tuple[int, ...]
    encoding: str
    file_bytes: int
    memory_bytes: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return self.memory_bytes * 8 // self.dtype.bits


Read = Callable[[], np.ndarray]


@dataclass
class Opened:
    """A model that is open. `memory_bytes` is that of the whole model once decoded.

    `crcs` are the CRC-32 of tensors' bytes, where the file says them; `graph` is that of a `.dcz`, `model` that of an
    `.onnx`. `other_crc` computes a CRC-32: files of one kind whose tensors are the same differ in it where they differ,
    but for where external data lies.
    """

    path: str
    kind: str
    file_bytes: int
    memory_bytes: int
    rows: tuple[Row, ...]
    other_crc: Callable[[], int]
    metadata: Mapping[str, str] = field(default_factory=dict)
    crcs: dict[str, int] = field(default_factory=dict)
    graph: "ModelProto | None" = None
    model: "Model | None" = None
    _readers: dict[str, Read] = field(default_factory=dict)

    def has(self, row: Row) -> bool:
        """Whether a tensor can still be read: one that was folded away cannot."""
        return row.name in self._readers

    def read(self, row: Row) -> np.ndarray:
        """The tensor's bytes (uint8, flat). Raises CorruptFile, FileAccess, UnsuitableModel."""
        return self._readers[row.name]()

    def crc(self, row: Row) -> int:
        """The CRC-32 of the tensor's bytes, computed where the file does not say it."""
        if row.name not in self.crcs:
            self.crcs[row.name] = crc32(self.read(row))
        return self.crcs[row.name]

    def use_values_of(self, tensors: "list[ModelTensor]") -> None:
        """Read from now on these tensors, what the model has become after it was edited."""
        self._readers = {tensor.name: tensor.read for tensor in tensors}
        self.crcs.clear()

    def let_go(self, folder: str) -> None:
        """Move the tensors of an `.onnx` from memory into a file in `folder`, where they are many bytes."""
        if self.model is None:
            return
        total = sum(tensor.nbytes for tensor in self.model.tensors if tensor.external is None)
        if total <= MAX_HELD:
            return
        path = str(Path(folder, "tensors"))
        with files.temporary(folder, total), open(path, "wb") as file:
            for tensor in self.model.tensors:
                place = tensor.external or FileRange(path, file.tell(), tensor.nbytes)
                if tensor.external is None:
                    file.write(tensor.read().data)
                self._readers[tensor.name] = _Elsewhere(place, tensor.name)
        self.model = None  # nothing refers to its protobuf any more, which goes as a whole


@dataclass(frozen=True)
class _Elsewhere:
    """A reader of bytes that lie in a file: our own, which is mapped, or external data, which others may cut off."""

    place: FileRange
    name: str

    def __call__(self) -> np.ndarray:
        path, offset, length, stamp = self.place
        try:
            return np.frombuffer(self.place.read() if stamp else files.mapped(path, offset, length), np.uint8)
        except (OSError, ValueError) as error:
            raise FileAccess(f"{path}: tensor {self.name!r} cannot be read: {error}") from error


@contextlib.contextmanager
def open_model(
    path: str | os.PathLike[str], threads: int = 1, max_bytes: float | str | None = None
) -> Iterator[Opened]:
    """A `.dcz` or `.onnx` model; a `.dcz` that would decode to more than `max_bytes` (see dcz.load) is refused. Raises
    DczError."""
    if not is_dcz(path):
        yield _open_onnx(os.fspath(path))
        return
    with Archive(path) as archive:
        yield _open_dcz(archive, threads, max_bytes)


def _open_onnx(path: str) -> Opened:
    from .. import model

    try:
        whole = FileRange(path, 0, os.stat(path).st_size, files.stamp(path))
    except OSError as error:
        raise _unreadable(path, error) from error
    loaded = model.load(path, apart=True, lists=True)
    rows = tuple(
        Row(t.name, t.dtype, t.shape, EXTERNAL if t.external else PLAIN, t.nbytes, t.nbytes) for t in loaded.tensors
    )
    size = loaded.source_bytes
    rest = _without_places if loaded.outside else _chunks
    opened = Opened(path, "onnx", size, size, rows, lambda: _crc_of(rest(whole)), model=loaded)
    opened.use_values_of(loaded.tensors)
    return opened


def _open_dcz(archive: Archive, threads: int, max_bytes: float | str | None) -> Opened:
    from .. import model

    directory = archive.directory
    graph, references, _ = skeleton_within(archive, max_bytes, model.Held())
    rows, readers, crcs = [], {}, {}
    used, metadata = 0, repr(directory.metadata).encode()
    for number, entry in enumerate(directory.entries):
        uses = [reference.name for reference in references[number]]
        used += entry.nbytes * len(uses)
        for name in dict.fromkeys([entry.name, *uses]):
            is_first = name == entry.name
            encoding = ENCODINGS[entry.info.encoding] if is_first else REPEATS
            length = entry.info.length if is_first else 0
            rows.append(Row(name, entry.dtype, entry.shape, encoding, length, entry.nbytes))
            readers[name], crcs[name] = _decoder(archive, entry, threads), entry.info.tensor_crc
    try:
        inline = model.inline_tensors(graph, archive.path)
    except UnsuitableModel as error:
        raise CorruptFile("graph-reference", str(error)) from error
    for tensor in inline:
        if tensor.name not in readers:
            rows.append(Row(tensor.name, tensor.dtype, tensor.shape, IN_GRAPH, 0, tensor.nbytes))
            readers[tensor.name] = tensor.read
    return Opened(
        archive.path, "dcz", directory.file_size, directory.graph_plain + used, tuple(rows),
        lambda: _crc_of(itertools.chain([metadata], archive.graph_chunks())), directory.metadata, crcs, graph, None,
        readers,
    )  # fmt: skip


def _chunks(whole: FileRange) -> Iterator[bytes | memoryview]:
    """The bytes of a file, which is to be the one that was opened. Raises FileAccess."""
    try:
        yield from whole.chunks()
    except (OSError, ValueError) as error:
        raise _unreadable(whole.path, error) from error


def _without_places(whole: FileRange) -> Iterator[bytes]:
    """The model in a file, as bytes that are the same wherever its external data, which are tensors, may lie."""
    from .. import model

    yield model.without_places(b"".join(_chunks(whole)), whole.path)


def _unreadable(path: str, error: OSError | ValueError) -> FileAccess:
    return FileAccess(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}")


def _crc_of(chunks: Iterable[bytes | memoryview]) -> int:
    crc = 0
    for chunk in chunks:
        crc = crc32(chunk, crc)
    return crc


def _decoder(archive: Archive, entry: Entry, threads: int) -> Read:
    return lambda: decode_tensor(archive, entry, threads)
