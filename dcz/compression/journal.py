"""The records of a file in the making: in a file without a name, or in a journal beside the output, from which the same
command goes on after it was killed.

    net.dcz.partial     DCZ-PART | fingerprint | head, warning, record | head, warning, record | ...

A journal is believed only as far as all agrees: the fingerprint (source, settings, versions), the checksum of each
head and of each record. What was not finished is cut off. It is removed once the output is in its place.
"""

import contextlib
import os
import shutil
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..deflate import crc32
from ..encoded import Record, RecordInfo
from ..errors import FileAccess, LostWorkers
from ..files import spooled, writing

try:
    import fcntl
except ImportError:  # no locks there: two commands that write the same output at a time are the user's affair
    fcntl = None

MAGIC = b"DCZ-PART"
FINGERPRINT = 32  # bytes
# Encoding, the record's length and CRC-32, the tensor's CRC-32, the warning's length; CRC-32 of these and the warning.
_HEAD = struct.Struct("<BQIIHI")
WORTH = 1 << 30  # bytes of tensors from which a journal is kept unless asked for: minutes of work
PIECE = 1 << 20
MAX_WARNING = (1 << 16) - 1  # bytes


class Records:
    """The records of what will become `output`, in their order.

    `resume`: whether to keep a journal beside it, and to go on from one; None: where the work is worth that.
    """

    def __init__(self, output: str | os.PathLike, resume: bool | None):
        self.output, self.resume = os.fspath(output), resume
        self.path = Path(f"{os.path.realpath(output)}.partial")
        self.kept = 0  # records that are safe
        self._stack = contextlib.ExitStack()
        self._file: BinaryIO | None = None
        self._places: list[tuple[int, int]] | None = None  # in a journal: where records lie, and their lengths

    @property
    def is_journal(self) -> bool:
        """Whether the records lie in a journal."""
        return self._places is not None

    def begin(self, fingerprint: bytes, nbytes: int) -> list[tuple[RecordInfo, str]]:
        """Get ready for the records of tensors of so many bytes; what a journal has of them already, and the
        warnings that came with them."""
        if self.resume or (self.resume is None and nbytes >= WORTH):
            self._file = _open(self.path)
        if self._file is None and self.resume:
            raise FileAccess(
                f"{self.path}: is no journal of yours, or at work for another command; move it away, or do not resume"
            )
        if self._file is None:  # not wanted, or the name is taken
            self._file = self._stack.enter_context(spooled(self.output))
            return []
        self._stack.callback(_close, self._file)
        with writing(self.output):
            found, self._places = _read(self._file, fingerprint)
            if not found:
                self._file.seek(0)
                self._file.truncate()
                self._file.write(MAGIC + fingerprint)
                self._file.flush()
        self.kept = len(found)
        return found

    def add(self, record: Record) -> None:
        """The next record. Raises FileAccess where the disk does not take it."""
        with writing(self.output):
            if self._places is not None:
                warning, info = record.warning.encode()[:MAX_WARNING], record.info
                head = _HEAD.pack(info.encoding, info.length, info.record_crc, info.tensor_crc, len(warning), 0)[:-4]
                self._file.write(head + struct.pack("<I", crc32(warning, crc32(head))) + warning)
                self._places.append((self._file.tell(), record.info.length))
            self._file.write(record.data)
            if self._places is not None:
                self._file.flush()
                self.kept += 1

    def copy(self, target: BinaryIO) -> None:
        """Write all records to `target`."""
        if self._places is None:
            self._file.seek(0)
            shutil.copyfileobj(self._file, target, PIECE)
            return
        for place, length in self._places:
            self._file.seek(place)
            for start in range(0, length, PIECE):
                target.write(self._file.read(min(PIECE, length - start)))

    def close(self, keep: bool) -> None:
        """Let go of the records; a journal stays only if it is to be kept and there is something in it."""
        if self._places is not None and not (keep and self.kept):
            with contextlib.suppress(OSError):
                self.path.unlink()
        self._stack.close()


@contextlib.contextmanager
def records(output: str | os.PathLike, resume: bool | None) -> Iterator[Records]:
    """`Records` for as long as `output` is in the making.

    A journal stays where an interrupt, a full disk or too little memory ends that, and what is raised says so.
    """
    found = Records(output, resume)
    keep = True
    try:
        yield found
        keep = False
        if not found.is_journal:
            _remove_stale(found.path)
    except (FileAccess, LostWorkers) as error:
        if found.is_journal and found.kept:
            raise type(error)(f"{error}; the same command goes on from {found.path.name}") from error
        raise
    except (KeyboardInterrupt, MemoryError, SystemExit) as error:
        if found.is_journal and found.kept:
            error.add_note(f"the same command goes on from {found.path.name}")
        raise
    except BaseException:  # a fault that would come again, or be believed
        keep = False
        raise
    finally:
        found.close(keep)


def _open(path: Path) -> BinaryIO | None:
    """The journal of this name, locked; None where it cannot be had: something else has the name, or another command
    writes it."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        file = os.fdopen(os.open(path, flags, 0o600), "r+b")
    except OSError:  # a link, a folder, too long a name
        return None
    if _is_ours(file) and _lock(file):
        return file
    file.close()
    return None


def _close(file: BinaryIO) -> None:
    with contextlib.suppress(OSError):  # a full disk, of which the caller knows already
        file.close()


def _is_ours(file: BinaryIO) -> bool:
    """Whether a file is empty, or begins as a journal does, and belongs to whoever runs this."""
    found = os.fstat(file.fileno())
    mine = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    return mine and stat.S_ISREG(found.st_mode) and file.read(len(MAGIC)) in (b"", MAGIC)


def _lock(file: BinaryIO) -> bool:
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_stale(path: Path) -> None:
    """Remove a journal that no command needs any more, if there is one."""
    with contextlib.suppress(OSError), open(path, "r+b") as file:
        if not path.is_symlink() and _is_ours(file) and _lock(file):
            path.unlink()


def _read(file: BinaryIO, fingerprint: bytes) -> tuple[list[tuple[RecordInfo, str]], list[tuple[int, int]]]:
    """What a journal has, as far as it can be believed, and where those records lie; the rest is cut off."""
    found, places = [], []
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(len(MAGIC) + FINGERPRINT) != MAGIC + fingerprint:
        return found, places
    end = file.tell()
    while (known := _read_record(file, size)) is not None:
        found.append(known)
        end, length = file.tell(), known[0].length
        places.append((end - length, length))
    file.seek(end)
    file.truncate()
    return found, places


def _read_record(file: BinaryIO, size: int) -> tuple[RecordInfo, str] | None:
    """The record at which `file` stands, which it is read to the end of; None where it is not whole."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    encoding, length, record_crc, tensor_crc, warning_length, crc = _HEAD.unpack(head)
    warning = file.read(warning_length)
    if crc32(warning, crc32(head[:-4])) != crc or length > size - file.tell():
        return None
    found = 0
    for start in range(0, length, PIECE):
        found = crc32(file.read(min(PIECE, length - start)), found)
    if found != record_crc:
        return None
    return RecordInfo(encoding, length, record_crc, tensor_crc), warning.decode(errors="ignore")
