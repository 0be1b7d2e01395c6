"""An open file: what its directory lists, read on demand (spec, sections 2 to 5).

with Archive("net.dcz") as archive:
    archive.graph(), [archive.record(entry) for entry in archive.directory.entries]
"""

import os
import threading
from collections.abc import Iterator

from .. import file_kinds
from ..deflate import crc32, inflate_chunks, joined
from ..encoded import Encoded
from ..errors import CorruptFile, FileAccess
from ..files import mapped
from . import record, sources
from .directory import MAGIC, Entry, read_directory
from .sources import Source

WHOLE_RECORD = 1 << 16  # bytes of a record, up to which it is read and checked as a whole, also for its head
MAPPED_FROM = 1 << 20  # bytes of a record of a file of our own, from which it is mapped


def is_dcz(source: Source) -> bool:
    """Whether a file starts like a `.dcz`, even one damaged by a transfer in text mode, or has its suffix.

    True also for files that cannot be read.
    """
    try:
        head = sources.starts(source, len(MAGIC))
    except (OSError, ValueError, FileAccess):
        return True  # opening it as an archive says what is wrong
    return head[1:4] == MAGIC[1:4] or sources.label(source).endswith(".dcz")


class Archive:
    """An open `.dcz` file: its directory, and its graph and records on demand. Threads may share it.

    `source`: its path; its bytes; or an open file, whose position is moved, and which stays open. `path` is what
    messages call it. `is_private`: it is the path of a file that nobody else can cut off, whose long records are mapped
    and not read. Raises FileAccess, and CorruptFile for a header or directory that breaks the format.
    """

    def __init__(self, source: Source, is_private: bool = False):
        self.path, self._is_private = sources.label(source), is_private
        self._lock = threading.Lock()
        self._file, self._is_ours = sources.opened(source)
        try:
            self.directory = read_directory(self._file)
        except CorruptFile as error:
            self.close()
            is_path = isinstance(source, (str, os.PathLike))
            if is_path and error.reason == "not-dcz" and (found := file_kinds.instead_of_dcz(self.path)) is not None:
                error.detail = f"not a .dcz file but {found}"
            raise error.within(self.path) from error.__cause__
        except (OSError, ValueError) as error:  # ValueError: a file that is closed
            self.close()
            raise FileAccess(f"{self.path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, unless it was given open; reading from it is then an error."""
        if self._is_ours:
            self._file.close()

    def graph(self) -> bytes:
        """The serialized ModelProto, without the tensors that have records. Raises CorruptFile, FileAccess."""
        return joined(self.graph_chunks())

    def graph_chunks(self) -> Iterator[bytes]:
        """The same in chunks, one after another."""
        directory = self.directory
        stored = self._read(directory.graph_offset, directory.graph_stored)
        try:
            if crc32(stored) != directory.graph_crc:
                raise CorruptFile("graph-crc", "the graph does not have its checksum")
            if directory.graph_stored == directory.graph_plain:
                yield stored
            else:
                yield from inflate_chunks(stored, directory.graph_plain)
        except CorruptFile as error:
            raise error.within(self.path) from error.__cause__

    def record(self, entry: Entry) -> bytes | memoryview:
        """The bytes of a tensor's record, with verified checksum. Raises CorruptFile, FileAccess."""
        stored: bytes | memoryview
        if self._is_private and entry.info.length >= MAPPED_FROM:
            stored = self._mapped(entry.offset, entry.info.length)
        else:
            stored = self._read(entry.offset, entry.info.length)
        if crc32(stored) != entry.info.record_crc:
            raise CorruptFile("record-crc", f"{self.describe(entry)}: its record does not have its checksum")
        return stored

    def encoded(self, entry: Entry) -> Encoded:
        """The encoding in a tensor's record; its streams are not decoded. Raises CorruptFile, FileAccess."""
        stored = self.record(entry)
        try:
            return record.read(stored, entry.info.encoding, entry.dtype, entry.shape)
        except CorruptFile as error:
            raise error.within(self.describe(entry)) from error.__cause__

    def head(self, entry: Entry) -> Encoded:
        """The encoding in a tensor's record without the bytes of its blocks and streams, which have zeros in their
        place, and whose checksum nobody looks at where the record is long. Raises CorruptFile, FileAccess."""
        info = entry.info
        if info.length <= WHOLE_RECORD:
            return self.encoded(entry)
        try:
            return record.read_head(
                lambda start, nbytes: self._read(entry.offset + start, nbytes),
                info.length, info.encoding, entry.dtype, entry.shape,
            )  # fmt: skip
        except CorruptFile as error:
            raise error.within(self.describe(entry)) from error.__cause__

    def describe(self, entry: Entry) -> str:
        """The file and the tensor, for messages."""
        return f"{self.path}: tensor {entry.name!r}"

    def _mapped(self, offset: int, length: int) -> memoryview:
        try:
            return mapped(self.path, offset, length)
        except (OSError, ValueError) as error:
            raise FileAccess(f"{self.path}: cannot be read: {error}") from error

    def _read(self, offset: int, length: int) -> bytes:
        try:
            with self._lock:
                self._file.seek(offset)
                data = self._file.read(length)
                # One read gives at most 2 GB.
                while 0 < len(data) < length and (more := self._file.read(length - len(data))):
                    data += more
        except (OSError, ValueError) as error:
            raise FileAccess(f"{self.path}: cannot be read: {error}") from error
        if len(data) != length:
            raise CorruptFile("truncated", f"{self.path}: {length} bytes wanted at offset {offset}, {len(data)} there")
        return data
