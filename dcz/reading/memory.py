"""What a file takes once it is decoded, and what of it lies in the graph of a `.dcz`, where it has no record."""

import os
from dataclasses import dataclass

from ..errors import CorruptFile, UnsuitableModel
from ..format.container import Archive, is_dcz
from .decompress import skeleton


@dataclass(frozen=True)
class InGraph:
    """A tensor without a record: a small one, or any where the graph deflates better as a whole. It is exact."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


@dataclass(frozen=True)
class Decoded:
    """Bytes of the decoded model, all its external data inside, and its tensors `in_graph` (none of an `.onnx`)."""

    nbytes: int
    in_graph: tuple[InGraph, ...] = ()


def decoded(path: str | os.PathLike[str]) -> Decoded:
    """The model that a `.dcz` file gives back, or that an `.onnx` file has with its external data.

    Nothing is decoded but the graph of a `.dcz` file, which tells how often each record is used. Raises DczError.
    """
    from .. import model

    if not is_dcz(path):
        return Decoded(model.load(path).source_bytes)
    with Archive(path) as archive:
        graph, references = skeleton(archive)
        entries = archive.directory.entries
        used = sum(entries[number].nbytes * len(uses) for number, uses in references.items())
        try:
            inline = model.inline_tensors(graph, archive.path)
        except UnsuitableModel as error:
            raise CorruptFile("graph-reference", str(error)) from error
        rows = tuple(InGraph(each.name, each.dtype.name, each.shape, each.nbytes) for each in inline)
        return Decoded(archive.directory.graph_plain + used, rows)
