"""A model and the file of its external data, replaced as one.

    net.onnx    net.onnx.3f9c0d71a2b4.data        the name of the data is told by what is in it

New data never takes the place of old: it lies beside them under a name of its own when the model, which names it, is
switched. Whoever opens the model sees the old one or the new one, each with its own data, and a process that dies
leaves one of them whole. The data of the old model goes last.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..files import check_output, replacing, sync
from ..format.container import Archive

DIGITS = 12  # hexadecimal, of the name
_MOST_READ = 64 << 20  # bytes of an old model: one with external data is but its graph


class DataFile(NamedTuple):
    """The file for external data, and the name that the model will call it."""

    file: BinaryIO
    name: str


@contextlib.contextmanager
def replacing_model(
    output: str | os.PathLike[str], archive: Archive, is_outside: bool
) -> Iterator[tuple[BinaryIO, DataFile | None]]:
    """Files that take the place of the model `output` and, where it `is_outside`, that of its data.

    At the end the data comes first, then the model, then what the old model had goes. Raises FileAccess.
    """
    target = Path(output)
    name = data_name(archive, target.name)
    data_path, before, old = target.with_name(name), _identity(target), _data_of(target)
    is_new = is_outside and not data_path.exists()
    try:
        with replacing(output) as file:
            if is_outside:
                check_output(data_path, inputs=[archive.path])
                with replacing(data_path) as data:
                    yield file, DataFile(data, name)
                    sync(file)  # a disk that is full for one of them shows before either takes its place
            else:
                yield file, None
    except BaseException:
        if is_new and _identity(target) == before:  # the data came, and then the model did not
            with contextlib.suppress(OSError):
                data_path.unlink(missing_ok=True)
        raise
    for other in old - ({name} if is_outside else set()):
        with contextlib.suppress(OSError):  # what cannot be removed is in nobody's way
            target.with_name(other).unlink(missing_ok=True)


def data_name(archive: Archive, model_name: str) -> str:
    """The name of the file of external data for what `archive` decodes to."""
    directory = archive.directory
    content = [(entry.nbytes, entry.info.tensor_crc, entry.info.record_crc) for entry in directory.entries]
    digest = hashlib.sha256(repr((directory.graph_plain, directory.graph_crc, content)).encode()).hexdigest()
    return f"{model_name}.{digest[:DIGITS]}.data"


def written_files(output: str | os.PathLike[str]) -> list[Path]:
    """A model that has been decompressed, and the file of its external data, where it has one."""
    return [Path(output), *(Path(output).with_name(name) for name in sorted(_data_of(Path(output))))]


def _data_of(target: Path) -> set[str]:
    """The files of external data that a model uses and that have come from decompressing."""
    from .. import model

    try:
        if not target.is_file() or target.stat().st_size > _MOST_READ:
            return set()
        locations = model.external_locations(target.read_bytes())
    except OSError:
        return set()
    ours = re.compile(rf"{re.escape(target.name)}(\.[0-9a-f]{{{DIGITS}}})?\.data")
    return {location for location in locations if ours.fullmatch(location)}


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
