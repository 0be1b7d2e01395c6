"""Where the tensors of a decoded model lie that are not in the model itself: files beside it, in parts of some size.

DataFiles("net.onnx", "net.onnx_data", part_size=2_000_000_000)     net.onnx_data, net.onnx_data_1, net.onnx_data_2 ...

The parts are named as Transformers.js looks for them. Without a name of the caller's own, it tells what is in them:
net.onnx.3f9c0d71a2b4.data. Then new data never takes the place of old: it lies beside them when the model, which names
it, is switched, and the data of the old model goes last. Whoever opens the model sees the old one or the new one, each
with its own data, and a process that dies leaves one of them whole.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..arguments import expect, parse_size
from ..errors import InvalidArgument, UnsuitableModel
from ..files import remove, replacing, sync
from ..format.container import Archive

DIGITS = 12  # hexadecimal, of a name that tells the content


class Place(NamedTuple):
    """The number of a part, and a tensor's offset in it (bytes)."""

    part: int
    offset: int


@dataclass
class DataFiles:
    """The files beside the model `output`: `name`, and where `part_size` (bytes) is given as many parts as that takes.

    `places`: of each record that lies there, by its number and whether it is transposed.
    """

    output: Path
    name: str
    part_size: int | None
    places: dict[tuple[int, bool], Place] = field(default_factory=dict)

    @classmethod
    def of(cls, output: str | os.PathLike[str], name: str | None, part_size: float | str | None) -> "DataFiles":
        """The files of a model with nothing in them yet; by default one, `output` + ".data". Raises InvalidArgument."""
        output = Path(output)
        if name is not None:
            is_plain = isinstance(name, str) and name not in ("", "..") and name == Path(name).name and "\0" not in name
            expect(is_plain, f"external data lies in the folder of the model: a name without folders, not {name!r}")
            expect(name != output.name, f"{name}: is the model itself; name its external data otherwise")
        size = None if part_size is None else parse_size(part_size)
        expect(size is None or size > 0, f"the parts of external data take 1 byte or more, not {part_size!r}")
        return cls(output, f"{output.name}.data" if name is None else name, size)

    def place(self, tensors: Iterable[tuple[tuple[int, bool], str, int]], alignment: int) -> None:
        """Find a place for each of the tensors (key of `places`, name, bytes), in their order, at multiples of
        `alignment`; raises InvalidArgument for one that no part holds."""
        part, end = 0, 0
        for key, name, nbytes in tensors:
            if self.part_size is not None and nbytes > self.part_size:
                raise InvalidArgument(
                    f"{self.output}: tensor {name!r} alone takes {nbytes:,} bytes: give a part size of as many at least"
                )
            offset = -(-end // alignment) * alignment
            if self.part_size is not None and offset + nbytes > self.part_size:
                part, offset = part + 1, 0
            self.places[key] = Place(part, offset)
            end = offset + nbytes

    @property
    def names(self) -> list[str]:
        """The names of the parts."""
        count = 1 + max((place.part for place in self.places.values()), default=-1)
        return [self.name if part == 0 else f"{self.name}_{part}" for part in range(count)]

    @property
    def paths(self) -> list[Path]:
        """Their paths."""
        return [self.output.with_name(name) for name in self.names]

    def stale(self) -> list[Path]:
        """Files that an older model of this name has its data in, if dcz named them, and that the new one has not."""
        from .. import model

        name = re.escape(self.output.name)
        own = re.compile(rf"({name}[._]data|{name}\.[0-9a-f]{{{DIGITS}}}\.data|{re.escape(self.name)})(_\d+)?")
        try:
            names = [each for each in os.listdir(os.path.abspath(self.output.parent)) if own.fullmatch(each)]
            found = set(names) - set(self.names)
            return [self.output.with_name(each) for each in found & model.data_locations(self.output)] if found else []
        except (OSError, UnsuitableModel):  # there is no older model
            return []


def content_name(archive: Archive, model_name: str, form: str = "dense") -> str:
    """The name of the files of external data for what `archive` decodes to in a form."""
    directory = archive.directory
    content = [(entry.nbytes, entry.info.tensor_crc, entry.info.record_crc) for entry in directory.entries]
    known = (directory.graph_plain, directory.graph_crc, content)
    told = repr(known if form == "dense" else (*known, form))
    digest = hashlib.sha256(told.encode()).hexdigest()
    return f"{model_name}.{digest[:DIGITS]}.data"


@contextlib.contextmanager
def replacing_all(beside: DataFiles, keeps_old: bool) -> Iterator[list[BinaryIO]]:
    """Files that take the place of a model and of its data, the model coming last.

    Where names do not tell contents (not `keeps_old`), new data must take the place of old: then an old model, which
    may name it, goes before that, so that none is ever left with the weights of another. Raises FileAccess.
    """
    before, paths = _identity(beside.output), beside.paths
    new = [path for path in paths if not path.exists()]
    try:
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(replacing(path)) for path in (beside.output, *paths)]
            yield files
            for file in files:  # a disk that is full for one of them shows before either takes its place
                sync(file)
            if not keeps_old and len(new) < len(paths):
                remove(os.path.realpath(beside.output))
    except BaseException:
        if _identity(beside.output) == before:  # the data came, and then the model did not
            for path in new:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        raise


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def remove_all(paths: Iterable[Path]) -> None:
    """Remove files; raises FileAccess."""
    for path in paths:
        remove(path)
