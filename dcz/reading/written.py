"""A .dcz file that has been written, as those see it who asked for it: its sizes, tensors, settings, measurements.

dcz.compress("net.onnx", "net.dcz")       ->   <net.dcz: 990,827 bytes, 5.00 times smaller>
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..display import html
from ..encoded import ENCODINGS
from ..format.container import Archive
from ..text import counted, times

SHOWN = 10  # tensors in a notebook


@dataclass(frozen=True)
class TensorBytes:
    """A tensor of a file: its bytes decoded (`nbytes`), those of its record (`file_bytes`), and how it is encoded:
    stored, shared, sparse or pruned."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    file_bytes: int
    encoding: str


@dataclass(frozen=True, repr=False, eq=False)
class WrittenFile:
    """A file as it was when it was written, and the bytes of the model that it was made from.

    `tensors`: those with a record, in the file's order; smaller ones lie in its graph. `settings`: the plan's default,
    as the file's metadata have it. `notes`: what was told while it was made. `measured`: figures by name, where the
    file was judged.
    """

    path: Path
    file_bytes: int
    source_bytes: int
    settings: str
    tensors: tuple[TensorBytes, ...]
    notes: tuple[str, ...] = ()
    measured: Mapping[str, float | str] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """How many times smaller the file is than its model."""
        return self.source_bytes / self.file_bytes

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "path": str(self.path),
            "file_bytes": self.file_bytes,
            "source_bytes": self.source_bytes,
            "ratio": self.ratio,
            "settings": self.settings,
            "tensors": [asdict(tensor) for tensor in self.tensors],
            "notes": list(self.notes),
            "measured": dict(self.measured),
        }

    def __repr__(self) -> str:
        found = "".join(f", {name} {_figure(value)}" for name, value in self.measured.items())
        return f"<{self.path}: {self.file_bytes:,} bytes, {times(self.source_bytes, self.file_bytes)}{found}>"

    def _repr_html_(self) -> str:
        facts = [
            (
                "file",
                f"{self.file_bytes:,} bytes, {times(self.source_bytes, self.file_bytes)} than {self.source_bytes:,}",
            ),
            ("settings", self.settings),
            *((name, _figure(value)) for name, value in self.measured.items()),
            *(("note", note) for note in self.notes),
        ]
        largest = sorted(self.tensors, key=lambda tensor: -tensor.file_bytes)
        rows = [_row(tensor) for tensor in largest[:SHOWN]]
        if rest := largest[SHOWN:]:
            nbytes, file_bytes = (sum(getattr(each, name) for each in rest) for name in ("nbytes", "file_bytes"))
            rows.append([counted(len(rest), "other"), "", f"{nbytes:,}", f"{file_bytes:,}", ""])
        return html.page(str(self.path), facts, ["tensor", "shape", "bytes", "in the file", "encoding"], rows)


def _row(tensor: TensorBytes) -> list[str]:
    shape = " x ".join(map(str, tensor.shape))
    return [tensor.name, f"{tensor.dtype} {shape}", f"{tensor.nbytes:,}", f"{tensor.file_bytes:,}", tensor.encoding]


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:.5g}"


def written(
    path: str | os.PathLike[str], notes: tuple[str, ...] = (), measured: Mapping[str, float | str] | None = None
) -> WrittenFile:
    """What there is to say of the .dcz file `path`; nothing of it is decoded. Raises FileAccess, CorruptFile."""
    with Archive(path) as archive:
        directory = archive.directory
    tensors = tuple(
        TensorBytes(
            entry.name, entry.dtype.name, entry.shape, entry.nbytes, entry.info.length, ENCODINGS[entry.info.encoding]
        )
        for entry in directory.entries
    )
    source, settings = (directory.metadata.get(name, "") for name in ("source-bytes", "settings"))
    plain = directory.graph_plain + sum(entry.nbytes for entry in directory.entries)
    source_bytes = int(source) if source.isascii() and source.isdecimal() else plain
    return WrittenFile(Path(path), directory.file_size, source_bytes, settings, tensors, notes, dict(measured or {}))


class Compressed(WrittenFile, os.PathLike[str]):
    """What dcz.compress returns: the file that it wrote, which may be used as its path, too.

    What a pathlib.Path has, this has: dcz.compress(...).stat().st_size, open(dcz.compress(...), "rb").
    """

    @classmethod
    def of(cls, path: str | os.PathLike[str], notes: tuple[str, ...] = ()) -> "Compressed":
        """The file at `path`."""
        found = written(path, notes)
        return cls(found.path, found.file_bytes, found.source_bytes, found.settings, found.tensors, found.notes)

    @property
    def file(self) -> WrittenFile:
        """The same without what makes it a path."""
        return WrittenFile(
            self.path, self.file_bytes, self.source_bytes, self.settings, self.tensors, self.notes, self.measured
        )

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str | os.PathLike[str]) -> Path:
        return self.path / name

    def __eq__(self, other: object) -> bool:
        return self.path == (other.path if isinstance(other, Compressed) else other)

    def __hash__(self) -> int:
        return hash(self.path)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # asked for before there is a path, as copying does
            raise AttributeError(name)
        return getattr(self.path, name)


class OfFile:
    """A result with a `file` that was written, None where it has not been: what notebooks show of it."""

    file: WrittenFile | None

    @property
    def ratio(self) -> float | None:
        """How many times smaller the file is than its model."""
        return None if self.file is None else self.file.ratio

    @property
    def tensors(self) -> tuple[TensorBytes, ...]:
        """The tensors of the file that have a record."""
        return () if self.file is None else self.file.tensors

    @property
    def settings(self) -> str:
        """The plan's default, as the file's metadata have it."""
        return "" if self.file is None else self.file.settings

    @property
    def measured(self) -> Mapping[str, float | str]:
        """What was measured of the file, by name."""
        return {} if self.file is None else self.file.measured

    def __repr__(self) -> str:
        return object.__repr__(self) if self.file is None else repr(self.file)

    def _repr_html_(self) -> str:
        return "" if self.file is None else self.file._repr_html_()
