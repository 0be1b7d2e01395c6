"""Files: written whole or not at all, read while others may change them, and temporary ones.

with replacing("model.dcz") as file:
    file.write(...)               an error or an interrupt in here leaves the old model.dcz as it was
"""

from .atomic import check_output, remove, replacing, sync, writing
from .ranges import Content, FileRange, Sliced, Stamp, as_stamp, copied, mapped, read_open, sha256, stamp
from .temporaries import Spool, scratch, temporary, temporary_folder

__all__ = [
    "Content",
    "FileRange",
    "Sliced",
    "Spool",
    "Stamp",
    "as_stamp",
    "check_output",
    "copied",
    "mapped",
    "read_open",
    "remove",
    "replacing",
    "scratch",
    "sha256",
    "stamp",
    "sync",
    "temporary",
    "temporary_folder",
    "writing",
]
