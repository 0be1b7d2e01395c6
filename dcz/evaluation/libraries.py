"""Whether the file of a shared library is whole, before the system maps it: one that is cut off would end the process.

check_whole("ops.so")
"""

import os
import struct

from ..errors import FileAccess, InvalidArgument

_ELF64 = b"\x7fELF\x02\x01"  # of 64 bits, little-endian: other files are left to the system
_HEADER = struct.Struct("<32xQ14xHH")  # e_phoff, e_phentsize, e_phnum (ELF-64, section 2)
_SEGMENT = struct.Struct("<I4xQ16xQ")  # p_type, p_offset, p_filesz (section 7)
_LOADED = 1  # the type of a segment that is mapped
_MOST = 1 << 20  # bytes from the file's beginning that are looked at


def check_whole(path: str) -> None:
    """Raise InvalidArgument where an ELF library is shorter than the segments that it names, FileAccess where it cannot
    be read."""
    try:
        with open(path, "rb") as file:
            size, head = os.fstat(file.fileno()).st_size, file.read(_MOST)
    except OSError as error:
        raise FileAccess(f"{path}: cannot be read: {error.strerror}") from error
    if not head.startswith(_ELF64):
        return
    needed = _HEADER.size + 4
    if len(head) >= needed:
        start, length, count = _HEADER.unpack_from(head)
        needed = start + length * count
        for at in range(start, min(needed, len(head) - _SEGMENT.size), max(length, _SEGMENT.size)):
            kind, offset, nbytes = _SEGMENT.unpack_from(head, at)
            needed = max(needed, offset + nbytes if kind == _LOADED else 0)
    if needed > size:
        raise InvalidArgument(
            f"{path}: is cut off: it has {size:,} bytes of {needed:,} or more; copy or download it again"
        )
