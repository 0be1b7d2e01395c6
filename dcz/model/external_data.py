"""External data: tensors whose bytes lie in a file beside the model (ONNX, "External Data")."""

import os
import stat
from collections.abc import Sequence

import numpy as np
from onnx import AttributeProto, TensorProto

from .. import file_kinds, shell
from ..errors import FileAccess, UnsuitableModel
from ..files import FileRange, as_stamp

ALIGNMENT = 4096  # bytes; the offset of each tensor that dcz writes is a multiple, so that runtimes can map it


# Bytes of tensors for each byte of external data that there is, as some may share it, and for a model in any case: ten
# thousand tensors may name the same hundred megabytes.
MOST_SHARED, FLOOR = 16, 1 << 28


def folders(path: str) -> tuple[str, ...]:
    """The folders in which a model's external data may lie: its own, and, where it is a link, that of what it leads to.

    A cache of a model hub has links of the model's and of the data's name beside each other, to two files elsewhere.
    """
    own, real = os.path.dirname(os.path.abspath(path)), os.path.dirname(os.path.realpath(path))
    return (own, real) if os.path.islink(path) else (own,)


def location_of(proto: TensorProto | AttributeProto) -> str:
    """Where a tensor says that its data lies; "" where that is in the model."""
    if isinstance(proto, AttributeProto) or proto.data_location != TensorProto.EXTERNAL:
        return ""
    return next((entry.value for entry in proto.external_data if entry.key == "location"), "")


def locate(proto: TensorProto, nbytes: int, folders: Sequence[str] | None, label: str) -> FileRange:
    """Where a tensor's external data is; `folders` are the model's, None for a model in memory.

    `nbytes` is what the tensor's type and shape need, `label` what messages call the tensor. Raises UnsuitableModel
    where the data is not within a folder, not within its file, or not of that length; FileAccess where the file cannot
    be read.
    """
    entries = {entry.key: entry.value for entry in proto.external_data}
    location = entries.get("location", "")
    if folders is None:
        raise UnsuitableModel(f"{label}: its data is in another file; give dcz the model's path, or load the data too")
    if not location:
        raise UnsuitableModel(f"{label}: its external data names no file")
    path = location
    try:
        path = _within(location, folders, label)
        offset, length = _number(entries.get("offset", ""), 0), _number(entries.get("length", ""), nbytes)
        file = os.stat(path, follow_symlinks=False)
    except (ValueError, TypeError, AttributeError) as error:  # TypeError: a location that is not UTF-8 comes as bytes
        raise UnsuitableModel(f"{label}: malformed location, offset or length of external data: {error}") from error
    except OSError as error:
        raise FileAccess(
            f"{label}: external data {path} cannot be read: {error.strerror}; put the model's own file there"
        ) from error
    size = file.st_size
    _check_kind(file, path, location, label)
    misfits = length != nbytes or offset + length > size
    if (misfits or size < file_kinds.LFS_BYTES) and (found := file_kinds.instead_of_data(path)) is not None:
        raise UnsuitableModel(f"{label}: its external data {location!r} is not there, but {found}")
    if misfits:
        there = f"{length} bytes at offset {offset} of {location!r}, which has {size}"
        remedy = ": fetch or export the file again" if offset + length > size else ""
        raise UnsuitableModel(f"{label}: external data of {there}; {nbytes} are needed{remedy}")
    return FileRange(path, offset, length, as_stamp(file))


def _within(location: str, folders: Sequence[str], label: str) -> str:
    """The real path of `location` in one of the folders, in the first where it is in none; raises UnsuitableModel where
    it leads out of all."""
    names = [os.path.join(folder, location) for folder in folders]
    paths = [os.path.realpath(name) for name in names]
    homes = [os.path.realpath(folder) for folder in folders]
    leads_out = os.path.isabs(location) or os.path.normpath(location).startswith("..")
    inside = [] if leads_out else [path for path in paths if any(_is_below(path, home) for home in homes)]
    if not inside and not leads_out and os.path.exists(names[0]):
        raise UnsuitableModel(
            f"{label}: external data {location!r} is a link to {paths[0]}, outside the model's folder: put the file "
            f"itself there, `cp --remove-destination {shell.path(paths[0])} {shell.path(names[0])}`"
        )
    if not inside:
        raise UnsuitableModel(f"{label}: external data {location!r} lies outside the model's folder; move it there")
    return next((path for path in inside if os.path.exists(path)), inside[0])


def _check_kind(file: os.stat_result, path: str, location: str, label: str) -> None:
    """Raise UnsuitableModel for what is no file, and for one that has other names, which may be those of secrets."""
    if not stat.S_ISREG(file.st_mode):
        raise UnsuitableModel(f"{label}: external data {location!r} is no file: put the model's own file there")
    if file.st_nlink > 1:
        quoted, copy = shell.path(path), shell.path(f"{path}.copy")
        raise UnsuitableModel(
            f"{label}: external data {location!r} is a hard link, and may be a file from outside the model's folder: "
            f"make it one of its own, `cp {quoted} {copy} && mv {copy} {quoted}`"
        )


def total(places: Sequence[FileRange], label: str) -> int:
    """The bytes of a model's external data, tensor by tensor; raises UnsuitableModel, which calls the model `label`,
    where they are many times those that there are."""
    nbytes = sum(place.length for place in places)
    ends: dict[str, int] = {}
    for place in places:
        ends[place.path] = max(ends.get(place.path, 0), place.offset + place.length)
    if nbytes > max(FLOOR, MOST_SHARED * sum(ends.values())):
        raise UnsuitableModel(
            f"{label}: its tensors take {nbytes:,} bytes of external data, of which there are {sum(ends.values()):,}: "
            "they share these, and each is read and written by itself; export the model with its data once"
        )
    return nbytes


def _is_below(path: str, folder: str) -> bool:
    return os.path.commonpath([folder, path]) == folder


def read_bytes(name: str, place: FileRange) -> np.ndarray:
    """The external data of tensor `name` as uint8; raises FileAccess."""
    try:
        return np.frombuffer(place.read(), np.uint8)
    except (OSError, ValueError) as error:
        raise FileAccess(f"{place.path}: external data of tensor {name!r} cannot be read: {error}") from error


def _number(text: str, default: int) -> int:
    """An offset or length; raises ValueError for all but the digits 0 to 9, which other readers may take otherwise."""
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ValueError(f"{text!r} is no number of bytes")
    return int(text)


def set_place(proto: TensorProto, location: str, offset: int, length: int) -> None:
    """Change `proto`: its data is `length` bytes at `offset` of the file `location`."""
    proto.ClearField("external_data")
    proto.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        proto.external_data.add(key=key, value=value)


def clear(proto: TensorProto) -> None:
    """Change `proto`: remove its reference to external data."""
    proto.ClearField("external_data")
    proto.ClearField("data_location")
