"""What a `.dcz` file takes once it is decoded, and what of it lies in the graph, where it has no record."""

import os
from dataclasses import dataclass

from ..errors import CorruptFile, UnsuitableModel
from ..format.container import Archive
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
    """Bytes of the decoded model, external data inside, and its tensors `in_graph`."""

    nbytes: int
    in_graph: tuple[InGraph, ...] = ()


def decoded(path: str | os.PathLike[str]) -> Decoded:
    """The model that a `.dcz` file gives back. Nothing is decoded but its graph, which tells how often each record is
    used. Raises DczError."""
    from .. import model

    with Archive(path) as archive:
        graph, references = skeleton(archive, model.Held())
        entries = archive.directory.entries
        used = sum(entries[number].nbytes * len(uses) for number, uses in references.items())
        try:
            inline = model.inline_tensors(graph, archive.path)
        except UnsuitableModel as error:
            raise CorruptFile("graph-reference", str(error)) from error
        rows = tuple(InGraph(each.name, each.dtype.name, each.shape, each.nbytes) for each in inline)
        return Decoded(archive.directory.graph_plain + used, rows)
