"""External data: tensors whose bytes lie in a file beside the model (ONNX, "External Data")."""

import os

import numpy as np
from onnx import TensorProto

from .. import file_kinds
from ..errors import FileAccess, UnsuitableModel
from ..files import mapped

ALIGNMENT = 4096  # bytes; the offset of each tensor that dcz writes is a multiple, so that runtimes can map it


def locate(proto: TensorProto, nbytes: int, folder: str | None, label: str) -> tuple[str, int, int]:
    """The (path, offset, length) of a tensor's external data; `folder` is the model's, None for a model in memory.

    `nbytes` is what the tensor's type and shape need, `label` what messages call the tensor. Raises UnsuitableModel
    where the data is not within `folder`, not within its file, or not of that length; FileAccess where the file cannot
    be read.
    """
    entries = {entry.key: entry.value for entry in proto.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise UnsuitableModel(f"{label}: its data is in another file; give dcz the model's path, or load the data too")
    if not location:
        raise UnsuitableModel(f"{label}: its external data names no file")
    try:
        folder = os.path.realpath(folder)
        path = os.path.realpath(os.path.join(folder, location))
        if os.path.isabs(location) or os.path.commonpath([folder, path]) != folder:
            raise UnsuitableModel(f"{label}: external data {location!r} lies outside the model's folder; move it there")
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or nbytes)
        size = os.stat(path).st_size
    except (ValueError, TypeError) as error:  # TypeError: a location that is not UTF-8 comes as bytes
        raise UnsuitableModel(f"{label}: malformed location, offset or length of external data: {error}") from error
    except OSError as error:
        raise FileAccess(
            f"{label}: external data {path} cannot be read: {error.strerror}; put the model's own file there"
        ) from error
    misfits = length != nbytes or offset < 0 or offset + length > size
    if (misfits or size < file_kinds.LFS_BYTES) and (found := file_kinds.instead_of_data(path)) is not None:
        raise UnsuitableModel(f"{label}: its external data {location!r} is not there, but {found}")
    if misfits:
        there = f"{length} bytes at offset {offset} of {location!r}, which has {size}"
        remedy = ": fetch or export the file again" if offset + length > size else ""
        raise UnsuitableModel(f"{label}: external data of {there}; {nbytes} are needed{remedy}")
    return path, offset, length


def map_bytes(name: str, path: str, offset: int, length: int) -> np.ndarray:
    """The external data of tensor `name` as uint8, mapped, not copied; raises FileAccess."""
    try:
        return np.frombuffer(mapped(path, offset, length), np.uint8)
    except (OSError, ValueError) as error:
        raise FileAccess(f"{path}: external data of tensor {name!r} cannot be read: {error}") from error


def clear(proto: TensorProto) -> None:
    """Change `proto`: remove its reference to external data."""
    proto.ClearField("external_data")
    proto.ClearField("data_location")
