"""The specification's own code, which lives in spec/, and a file's tensors by each of the decoders.

by_dcz("net.dcz")              {name: (dtype, dims, bytes)}, or CorruptFile
by_decoder("net.dcz")          the same by spec/decoder.py, or decoder.Refused
"""

import os
import re
import sys
import zlib
from pathlib import Path
from unittest import mock

from dcz.codec.stages import huffman
from dcz.format.container import Archive
from dcz.reading.decompress import decode_all

SPEC = Path(__file__).resolve().parent.parent / "spec"
sys.path.insert(0, str(SPEC))

import decoder

PAGE = (SPEC / "FORMAT.md").read_text(encoding="utf-8")
VECTORS = SPEC / "vectors"
VALID = sorted((VECTORS / "valid").glob("*.dcz"))
INVALID = sorted((VECTORS / "invalid").glob("*.dcz"))

Tensors = dict[str, tuple[int, tuple[int, ...], bytes]]


def by_dcz(path: str | os.PathLike, engine=huffman.decode) -> Tensors:
    with Archive(path) as archive:
        archive.graph()
        tensors = decode_all(archive, 1, engine)
        return {entry.name: (entry.dtype.code, entry.shape, data.tobytes()) for entry, data in tensors}


def decoded_bytes(path: str | os.PathLike) -> int:
    """What all tensors of a file take, by its directory."""
    with Archive(path) as archive:
        return sum(entry.nbytes for entry in archive.directory.entries)


def by_dcz_slowly(path: str | os.PathLike) -> Tensors:
    return by_dcz(path, huffman.decode_slowly)


def by_dcz_with_zlib(path: str | os.PathLike) -> Tensors:
    """Where isal is installed, `by_dcz` takes that instead."""
    with mock.patch.object(huffman, "inflate_engine", zlib):
        return by_dcz(path)


def by_decoder(path: str | os.PathLike) -> Tensors:
    model = decoder.decode(Path(path).read_bytes())
    return {name: (tensor.dtype, tensor.dims, bytes(tensor.data)) for name, tensor in model.tensors.items()}


def reasons_of_page() -> list[str]:
    """The names in the table of section 9."""
    section = PAGE.split("\n## 9.")[1].split("\n## ")[0]
    return re.findall(r"^\| \d+ \| `([a-z-]+)` \|", section, re.MULTILINE)
