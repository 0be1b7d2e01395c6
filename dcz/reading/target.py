"""Where a decoded model goes: its file, and the files beside it that hold what does not fit into one message."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ..errors import UnsuitableModel
from ..files import check_output
from .data_files import DataFiles, remove_all, replacing_all

if TYPE_CHECKING:
    from onnx import ModelProto

SPARE = 1 << 20  # bytes that a message is smaller than it may be


@dataclass(frozen=True)
class Target:
    """The files `beside` a model, if there are to be any (`external_data`); whether their names tell their content
    (`is_named_by_content`); whether files may be replaced; and the `inputs`, which may not."""

    beside: DataFiles
    external_data: str
    is_named_by_content: bool
    force: bool
    inputs: Sequence[str]

    def is_outside(self, nbytes: int) -> bool:
        """Whether a model of so many bytes has its tensors beside it."""
        from .. import model

        is_large = nbytes > model.PROTOBUF_LIMIT - SPARE
        return self.external_data == "always" or (self.external_data == "auto" and is_large)

    @contextlib.contextmanager
    def files(self) -> Iterator[list[BinaryIO]]:
        """The files, the model's first, which take their places together at the end. Raises FileAccess."""
        beside = self.beside
        stale = beside.stale() if self.force else []
        check_output(beside.output, self.force, inputs=self.inputs)
        for path in beside.paths:  # of one name, if that tells what is in it, there can be no other
            check_output(path, self.force or self.is_named_by_content, inputs=self.inputs)
        with replacing_all(beside, keeps_old=self.is_named_by_content) as files:
            yield files
        remove_all(stale)  # the data of an older model, which is gone now


def write_whole(proto: "ModelProto", target: Target) -> None:
    """Change `proto`, which has all its tensors inside: write it, its larger initializers beside it where need be.

    Raises UnsuitableModel where it is too large for one file and may have no others; FileAccess.
    """
    from .. import model

    beside = target.beside
    large = model.large_initializers(proto)
    nbytes = sum(tensor.nbytes for tensor in large)
    outside = target.is_outside(nbytes)
    if not outside and nbytes > model.PROTOBUF_LIMIT - SPARE:
        raise UnsuitableModel(
            f"{beside.output}: an ONNX file of 2 GB or more needs external data: give --external-data always"
        )
    if outside:
        beside.place((((number, False), each.name, each.nbytes) for number, each in enumerate(large)), model.ALIGNMENT)
    with target.files() as files:
        for number, tensor in enumerate(large if outside else ()):
            place = beside.places[number, False]
            write_at(files[1 + place.part], place.offset, tensor.read())
            tensor.move_outside(beside.names[place.part], place.offset)
        files[0].write(model.serialize(proto, str(beside.output)))


def write_at(file: BinaryIO, offset: int, data: np.ndarray) -> None:
    """Write `data` at `offset`, with zeros before it where the file is shorter."""
    file.write(b"\0" * (offset - file.tell()))
    file.write(data.data)
