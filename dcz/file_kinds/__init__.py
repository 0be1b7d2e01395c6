"""What a file is that was taken for a model: by its first bytes, with the command that makes the right file of it.

mistaken("net.tflite")    ->   "a TensorFlow Lite model: `python -m tf2onnx.convert --tflite net.tflite ...` makes one"

signatures: the first bytes of files, and what to do about each.
"""

import contextlib
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import PurePath

from .. import shell
from ..errors import UnsuitableModel
from .signatures import Kind, kind_of

HEAD = 4096  # bytes of a file that are looked at
LFS_BYTES = 1024  # a git-lfs pointer is shorter
_PACKED = {".gz", ".xz", ".zst", ".bz2"}


def mistaken(path: str | os.PathLike[str], head: bytes | None = None) -> str | None:
    """What the file `path` is instead of an ONNX model, and the command that makes one; None where it may be one.

    `head`: its first HEAD bytes or more, read from it where they are not given. None also where it cannot be read.
    """
    return _told(path, head, lambda kind: True)


def check_onnx(model: object) -> None:
    """Raise UnsuitableModel where `model` is the path of a file of another kind: before a command looks at its output,
    and before any work."""
    if not isinstance(model, (str, os.PathLike)) or not os.path.isfile(model):  # of a pipe nothing is read twice
        return
    if (found := mistaken(model)) is not None:
        raise UnsuitableModel(f"{os.fspath(model)}: not an ONNX model but {found}")


def instead_of_data(path: str | os.PathLike[str]) -> str | None:
    """The same of a file that was taken for the weights of a model, which may start with any bytes."""
    return _told(path, None, lambda kind: kind.stands_in)


def _told(path: str | os.PathLike[str], head: bytes | None, counts: Callable[[Kind], bool]) -> str | None:
    names: Sequence[str] = ()
    try:
        if head is None:
            with open(path, "rb") as file:
                head = file.read(HEAD)
        if head.startswith(b"PK\x03\x04") and os.path.isfile(path):
            with contextlib.suppress(zipfile.BadZipFile, NotImplementedError), zipfile.ZipFile(path) as archive:
                names = archive.namelist()
    except (OSError, ValueError):
        return None
    kind = kind_of(head[:HEAD], names)
    return f"{kind.what}: {_filled(kind, os.fspath(path))}" if kind is not None and counts(kind) else None


def instead_of_dcz(path: str | os.PathLike[str]) -> str | None:
    """The same of a file that was taken for a .dcz file, an ONNX model being one that is not."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except (OSError, ValueError):
        return None
    if head.startswith(b"\x89DCZ"):  # a damaged one
        return None
    if (found := mistaken(path, head)) is None and is_onnx(head):
        return f"an ONNX model: `dcz compress {shell.path(path)}` makes a .dcz file"
    return found


def is_onnx(head: bytes) -> bool:
    """Whether bytes start as ONNX models do: the version of the format (field 1), then another field of ModelProto."""
    return len(head) > 2 and head[0] == 0x08 and 1 <= head[1] <= 30 and head[2] in b"\x12\x1a\x22\x28\x32\x3a\x42\x72"


def _filled(kind: Kind, path: str) -> str:
    """The remedy for a file: {path}; its {name} and {folder}; {new} for an ONNX model, {plain} for it unpacked."""
    name = PurePath(path)
    new = name.with_suffix(".onnx") if name.suffix != ".onnx" else name.with_name(f"{name.stem}-new.onnx")
    plain = (
        name.with_suffix("") if name.suffix.lower() in _PACKED else name.with_name(f"{name.stem}-plain{name.suffix}")
    )
    if kind.code:
        code = kind.code.format(path=repr(path), new=repr(str(new)))
        quoted = shell.word(code) if set('"$`\\!') & set(code) else f'"{code}"'
        return f"`python -c {quoted}` makes an ONNX model"
    words = {"path": path, "name": name.name, "folder": str(name.parent), "new": str(new), "plain": str(plain)}
    return kind.remedy.format(**{key: shell.path(word) for key, word in words.items()}, new_text=repr(str(new)))
