"""The records of a file in the making, in a nameless file or in a journal, from which a killed command resumes.

    net.dcz.partial     DCZ-PART | fingerprint | head, warning, record | head, warning, record | ...

A journal is used up to the first record that does not agree with its fingerprint (source, settings, versions) and
checksums; what follows is cut off. It is removed once the output is in its place.
"""

import contextlib
import os
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from ..deflate import crc32
from ..encoded import Record, RecordInfo
from ..errors import FileAccess, LostWorkers
from ..files import Spool, writing

try:
    import fcntl
except ImportError:  # no locks on this system: two commands that write the same output are the user's responsibility
    fcntl = None  # type: ignore[assignment]

MAGIC = b"DCZ-PART"
FINGERPRINT = 32  # bytes
# Encoding, minor version, length and CRC-32 of the record, the tensor's CRC-32, the warning's length; CRC-32 of it all.
_HEAD = struct.Struct("<BBQIIHI")
DEFAULT_FROM = 1 << 30  # bytes of tensors from which a journal is kept by default: minutes of work
CHUNK = 1 << 20  # bytes read or copied at a time
MAX_WARNING = (1 << 16) - 1  # bytes


class Records:
    """The records of what will become `output`, in their order.

    `resume`: whether to keep a journal beside it, and to resume from one; None: from DEFAULT_FROM bytes on.
    """

    def __init__(self, output: str | os.PathLike, resume: bool | None):
        self.output, self.resume = os.fspath(output), resume
        self.path = Path(f"{os.path.realpath(output)}.partial")
        self.resumable = 0  # records that a journal holds
        self._stack = contextlib.ExitStack()
        self._open: BinaryIO | None = None  # the journal
        self._spool: Spool | None = None  # where there is none
        self._ranges: list[tuple[int, int]] | None = None  # in a journal: offset and length of each record

    @property
    def is_journal(self) -> bool:
        """Whether the records lie in a journal."""
        return self._ranges is not None

    def begin(self, fingerprint: Callable[[], bytes], nbytes: int, count: int) -> list[tuple[RecordInfo, str]]:
        """Get ready for the records of `count` tensors of `nbytes` bytes together.

        Returns what a journal has of them already, with the warnings that they came with; a journal that has more of
        them is none of this file. The `fingerprint` is asked for where there is a journal.
        """
        file = None
        if self.resume or (self.resume is None and nbytes >= DEFAULT_FROM):
            file = _open(self.path)
            if file is None and self.resume:
                raise FileAccess(
                    f"{self.path}: is no journal of yours, or at work for another command; move it away, or do not "
                    "resume"
                )
        if file is None:  # not asked for, or the name is taken
            self._spool = Spool(self.output)
            self._stack.callback(self._spool.close)
            return []
        self._open = file
        self._stack.callback(_close, file)
        with writing(self.output):
            expected = fingerprint()
            known, self._ranges = _read(file, expected)
            if len(known) > count:
                known, self._ranges = [], []
            if not known:
                file.seek(0)
                file.truncate()
                file.write(MAGIC + expected)
                file.flush()
        self.resumable = len(known)
        return known

    @property
    def _file(self) -> BinaryIO:
        """The open journal; `begin` comes first."""
        assert self._open is not None
        return self._open

    def add(self, record: Record) -> None:
        """Append a record. Raises FileAccess where it cannot be written."""
        with writing(self.output):
            if self._spool is not None:
                self._spool.add(record.pieces)
                return
            assert self._ranges is not None, "begin comes first"
            warning, info = record.warning.encode()[:MAX_WARNING], record.info
            head = _HEAD.pack(
                info.encoding, info.minor, info.length, info.record_crc, info.tensor_crc, len(warning), 0
            )[:-4]
            self._file.write(head + struct.pack("<I", crc32(warning, crc32(head))) + warning)
            self._ranges.append((self._file.tell(), record.info.length))
            for piece in record.pieces:
                self._file.write(piece)
            self._file.flush()
            self.resumable += 1

    def copy(self, target: BinaryIO) -> None:
        """Write all records to `target`."""
        if self._spool is not None:
            self._spool.copy(target)
            return
        assert self._ranges is not None, "begin comes first"
        for offset, length in self._ranges:
            self._file.seek(offset)
            for start in range(0, length, CHUNK):
                target.write(self._file.read(min(CHUNK, length - start)))

    def close(self, keep: bool) -> None:
        """Close the file; a journal stays only with `keep`, and if it holds a record."""
        if self._ranges is not None and not (keep and self.resumable):
            with contextlib.suppress(OSError):
                self.path.unlink()
        self._stack.close()


@contextlib.contextmanager
def records(output: str | os.PathLike, resume: bool | None) -> Iterator[Records]:
    """`Records` for as long as `output` is in the making.

    A journal stays where an interrupt, a full disk, lost workers or too little memory ends that; the exception says so.
    """
    store = Records(output, resume)
    keep = True
    try:
        yield store
        keep = False
        if not store.is_journal:
            _remove_stale(store.path)
    except (FileAccess, LostWorkers) as error:
        if store.is_journal and store.resumable:
            raise type(error)(f"{error}; the same command goes on from {store.path.name}") from error
        raise
    except (KeyboardInterrupt, MemoryError, SystemExit) as error:
        if store.is_journal and store.resumable:
            error.add_note(f"the same command goes on from {store.path.name}")
        raise
    except BaseException:  # a fault that would recur, or corrupt the resumed file
        keep = False
        raise
    finally:
        store.close(keep)


def _open(path: Path) -> BinaryIO | None:
    """The journal of this name, locked; None where something else has the name, or another command writes it."""
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
    with contextlib.suppress(OSError):  # a full disk, which the caller has reported already
        file.close()


def _is_ours(file: BinaryIO) -> bool:
    """Whether a file is empty, or begins as a journal does, and belongs to the user."""
    status = os.fstat(file.fileno())
    mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return mine and stat.S_ISREG(status.st_mode) and file.read(len(MAGIC)) in (b"", MAGIC)


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
    """What a journal has up to the first fault, and the offset and length of each record; the rest is cut off."""
    known: list[tuple[RecordInfo, str]] = []
    ranges: list[tuple[int, int]] = []
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(len(MAGIC) + FINGERPRINT) != MAGIC + fingerprint:
        return known, ranges
    end = file.tell()
    while (entry := _read_record(file, size)) is not None:
        known.append(entry)
        end, length = file.tell(), entry[0].length
        ranges.append((end - length, length))
    file.seek(end)
    file.truncate()
    return known, ranges


def _read_record(file: BinaryIO, size: int) -> tuple[RecordInfo, str] | None:
    """Read the record at the file's position; None where it is not whole, or damaged."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    encoding, minor, length, record_crc, tensor_crc, warning_length, crc = _HEAD.unpack(head)
    warning = file.read(warning_length)
    if crc32(warning, crc32(head[:-4])) != crc or length > size - file.tell():
        return None
    actual = 0
    for start in range(0, length, CHUNK):
        actual = crc32(file.read(min(CHUNK, length - start)), actual)
    if actual != record_crc:
        return None
    return RecordInfo(encoding, length, record_crc, tensor_crc, minor), warning.decode(errors="ignore")
