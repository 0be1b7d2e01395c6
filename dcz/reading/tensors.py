"""An open `.dcz` file as a mapping of names to arrays.

with dcz.open("net.dcz") as tensors:
    tensors["fc1.weight"]         decoded now, from its own bytes of the file
"""

import os
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import TYPE_CHECKING

import numpy as np

from ..arguments import parse_limit
from ..errors import CorruptFile, DczError, UnsuitableModel
from ..format.container import Archive
from ..format.directory import Entry
from ..format.sources import Source
from ..tensor import Dtype, transpose, values
from ..text import counted
from .decompress import check_directory, decode_all, decode_tensor, skeleton_within

if TYPE_CHECKING:
    from ..model import ModelTensor

MAX_AXES = 64  # of a numpy array; the format has up to 255


class Tensors(Mapping[str, np.ndarray]):
    """The tensors of a `.dcz` file by name, each decoded when it is asked for and not kept.

    `file`: its path, its bytes, or the file opened in binary. Looking one up reads its record and nothing else; a big
    one is decoded by several threads. `items()` and `values()` decode a few tensors ahead on all cores, at most
    parallel.MAX_BYTES_IN_FLIGHT of them. Small tensors live in the graph, and so do the further names of a tensor that
    is written once; the graph is read when a name is not in the directory, or when names are listed. bfloat16 comes as
    float32, of the same values; types that numpy lacks come as their packed bytes. A context manager; threads may share
    it. A file whose tensors would take more than `max_bytes` in all (see dcz.load), each counted under all its names,
    is refused.
    """

    def __init__(self, file: Source, *, max_bytes: float | str | None = None):
        parse_limit(max_bytes)  # raises where it is none
        self._archive, self._max_bytes = Archive(file), max_bytes
        try:
            check_directory(self._archive, max_bytes)
        except DczError:
            self.close()
            raise
        self._entries = {entry.name: entry for entry in self._archive.directory.entries}
        self._in_graph: dict[str, tuple[Entry, bool] | ModelTensor] | None = None

    def __enter__(self) -> "Tensors":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{self._archive.path}: {counted(len(self._entries), 'tensor')} with a record>"

    def close(self) -> None:
        """Close the file, unless it was given open."""
        self._archive.close()

    @property
    def metadata(self) -> dict[str, str]:
        """The file's metadata: writer, source-sha256, source-bytes, settings, folded, snapped."""
        return dict(self._archive.directory.metadata)

    def __getitem__(self, name: str) -> np.ndarray:
        tensor = (self._entries[name], False) if name in self._entries else self._others()[name]
        if not isinstance(tensor, tuple):
            return to_array(tensor.read(), tensor.dtype, tensor.shape)
        entry, transposed = tensor
        data, shape = decode_tensor(self._archive, entry, os.cpu_count() or 1), entry.shape
        if transposed:
            data, shape = transpose(data, entry.dtype, shape), shape[::-1]
        return to_array(data, entry.dtype, shape)

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._others()

    def __iter__(self) -> Iterator[str]:
        yield from self._entries
        yield from self._others()

    def __len__(self) -> int:
        return len(self._entries) + len(self._others())

    def items(self) -> ItemsView[str, np.ndarray]:
        """Names and arrays; a few are decoded ahead."""
        return _Items(self)

    def values(self) -> ValuesView[np.ndarray]:
        """The arrays alone; a few are decoded ahead."""
        return _Values(self)

    def decoded(self) -> Iterator[tuple[str, np.ndarray]]:
        """The pairs of `items()`."""
        for entry, data in decode_all(self._archive):
            yield entry.name, to_array(data, entry.dtype, entry.shape)
        for name in self._others():
            yield name, self[name]

    def _others(self) -> "dict[str, tuple[Entry, bool] | ModelTensor]":
        """What only the graph names: entries under further names, or their transposes (True), and small tensors."""
        if self._in_graph is None:
            from .. import model

            proto, references, _ = skeleton_within(self._archive, self._max_bytes, model.Held())
            try:
                tensors = model.inline_tensors(proto, self._archive.path)
            except UnsuitableModel as error:
                raise CorruptFile("graph-reference", str(error)) from error
            found: dict[str, tuple[Entry, bool] | model.ModelTensor] = {}
            for number, entry in enumerate(self._archive.directory.entries):
                found |= {each.name: (entry, each.transposed) for each in references[number]}
            found |= {tensor.name: tensor for tensor in tensors}
            self._in_graph = {name: thing for name, thing in found.items() if name not in self._entries}
        return self._in_graph


class _Items(ItemsView[str, np.ndarray]):
    _mapping: Tensors

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        return self._mapping.decoded()


class _Values(ValuesView[np.ndarray]):
    _mapping: Tensors

    def __iter__(self) -> Iterator[np.ndarray]:
        return (array for _, array in self._mapping.decoded())


def to_array(data: np.ndarray, dtype: Dtype, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor's bytes as an array of the nearest numpy type: see Tensors."""
    if len(shape) > MAX_AXES:
        raise UnsuitableModel(f"numpy arrays have at most {MAX_AXES} axes; this tensor has {len(shape)}")
    if dtype.name == "bfloat16":
        return values(data.view("<u2"), dtype).reshape(shape)
    if dtype.bits < 8 or dtype.name.startswith("float8"):
        return data
    return data.view(np.dtype(dtype.name).newbyteorder("<")).reshape(shape)
