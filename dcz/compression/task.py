"""What a worker does: a tensor and its settings -> its record.

    encode_task(Tensor("fc1.weight", FLOAT32, (300, 784), FileRange("net.data", 4096, 940800), 1), settings)  ->  Record

Such a tensor is a few hundred bytes, whatever it weighs, so that any executor, elsewhere too, can be given it.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from .. import heap
from ..codec.encode import encode
from ..deflate import crc32, crc_of
from ..encoded import Record
from ..errors import FileAccess, LostWorkers
from ..files import FileRange
from ..format import record
from ..parallel import helped
from ..plan import Settings
from ..tensor import Tensor

LARGE = 1 << 25  # bytes of a tensor, from which it matters what is left in the heap


class Made(NamedTuple):
    """A record that was made elsewhere, and the CRC-32 of the bytes that it was made from."""

    record: Record
    source_crc: int


def encode_task(tensor: Tensor, settings: Settings, threads: int = 1) -> Record:
    """The smallest record of `tensor`. Executors of any kind can run it. Raises FileAccess."""
    with helped(len(tensor.data) // max(1, tensor.dtype.bits // 8), threads):
        made = encode(tensor, settings, record.parts)
    if len(tensor.data) >= LARGE:
        heap.give_back()
    return made


def encode_there(tensor: Tensor, settings: Settings, threads: int, folders: Sequence[str]) -> Made:
    """`encode_task` in another process, perhaps on another machine, which reads the tensor from a file.

    That lies below one of the `folders` (real paths), in which the model's data may be: no other file is opened.
    Raises FileAccess.
    """
    if isinstance(tensor.source, FileRange):
        path = os.path.realpath(tensor.source.path)
        if not any(os.path.commonpath([path, folder]) == folder for folder in folders):
            raise FileAccess(
                f"{path}: tensor {tensor.name!r}: lies outside the folders of the model, and is not opened"
            )
    record_made = encode_task(tensor, settings, threads)
    return Made(replace(record_made, pieces=(record_made.data,)), crc32(tensor.data))  # views cannot be sent


def check_made(made: Made, source: FileRange, settings: Settings, name: str) -> Record:
    """The record of a tensor that was made elsewhere, if it can be that of `source`, which is read once more.

    Raises LostWorkers, or FileAccess where the source cannot be read, or has changed.
    """
    try:
        expected = crc_of(source.chunks())
    except (OSError, ValueError) as error:
        raise FileAccess(f"{source.path}: the data of tensor {name!r} cannot be read: {error}") from error
    info = made.record.info
    data = made.record.data
    is_whole = len(data) == info.length and crc32(data) == info.record_crc
    if made.source_crc != expected:
        raise LostWorkers(
            f"{name}: a worker read other data than {source.path} has here: do workers see the same files?"
        )
    if not is_whole or (settings.lossless and info.tensor_crc != expected):
        raise LostWorkers(f"{name}: a worker sent a record that is not this tensor's: look after its machine")
    return made.record
