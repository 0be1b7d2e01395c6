"""What a file consists of, in measured bytes: whole, by tensor, by stage of the paper, and by what the bytes serve.

    report = inspect("net.dcz")
    report.total.huffman      bytes of all records as they are in the file
    report.to_dict()          everything, for --json

Nothing is decoded: sizes, kept places, widths and code lengths are all in the records' heads, and of long records no
more is read, nor their checksums looked at. Whether a file is intact, and so its figures right, says `verify`.
"""

import dataclasses
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..display import html
from ..encoded import ENCODINGS, Codebook, Pruned, Shared, Sparse, Stored, entry_values
from ..format import record, sources
from ..format.container import Archive, is_dcz
from ..format.directory import Entry
from ..format.sources import Source
from ..text import counted, times

if TYPE_CHECKING:
    from ..model import ModelTensor

PURPOSES = ("weights", "index", "codebook", "tables")
SHOWN = 10  # tensors in a notebook


@dataclass(frozen=True)
class TensorReport:
    """One tensor. Sizes in bytes, after each stage: `original`; `prune` (exact values and fixed-width gaps); `share`
    (fixed-width codes, fixed-width gaps, codebook); `huffman` (its record in the file).

    `kept` counts the places that are not zero; None where zero is one of the shared values, so that only decoding could
    tell. Widths in bits per kept weight (then per weight); None where the stage did not apply. `scales` are those that
    the entries of the codebook are multiplied with, one for each place along an axis.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    encoding: str
    elements: int
    kept: int | None
    original: int
    prune: int
    share: int
    huffman: int
    weight_bits_share: float | None = None
    weight_bits_huffman: float | None = None
    index_bits_share: float | None = None
    index_bits_huffman: float | None = None
    entries: int | None = None
    codebook: str | None = None
    layout: str | None = None
    scales: int | None = None
    parts: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def compressed(self) -> bool:
        """Whether sharing or pruning made it smaller, rather than deflate alone."""
        return self.encoding != "stored"


@dataclass(frozen=True)
class Total:
    """Sums over the tensors of a report."""

    elements: int
    kept: int | None
    original: int
    prune: int
    share: int
    huffman: int
    parts: dict[str, int]


@dataclass(frozen=True, repr=False)
class Report:
    """A `.dcz` or `.onnx` file. `source_bytes` is the size of the model that was compressed; None for an `.onnx`."""

    path: str
    kind: str
    file_bytes: int
    source_bytes: int | None
    version: str | None
    metadata: dict[str, str]
    directory_bytes: int
    graph_bytes: int
    rows: tuple[TensorReport, ...]

    @property
    def total(self) -> Total:
        """The sums over all tensors."""
        sums = {key: sum(getattr(row, key) for row in self.rows) for key in _SUMMED}
        sums["kept"] = None if any(row.kept is None for row in self.rows) else sum(row.kept for row in self.rows)
        return Total(parts={p: sum(row.parts.get(p, 0) for row in self.rows) for p in PURPOSES}, **sums)

    @property
    def ratio(self) -> float | None:
        """How many times smaller than its source the file is."""
        return self.source_bytes / self.file_bytes if self.source_bytes and self.file_bytes else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        plain = dataclasses.asdict(self)
        plain["tensors"] = plain.pop("rows")
        return plain | {"ratio": self.ratio, "total": dataclasses.asdict(self.total)}

    @property
    def summary(self) -> str:
        """Its size in words."""
        ratio = f", {times(self.source_bytes, self.file_bytes)}" if self.source_bytes else ""
        return f"{self.file_bytes:,} bytes in {counted(len(self.rows), 'tensor')}{ratio}"

    def __repr__(self) -> str:
        return f"<{self.path}: {self.summary}>"

    def _repr_html_(self) -> str:
        facts = [
            ("file", self.summary),
            *((name, self.metadata[name]) for name in ("settings",) if name in self.metadata),
        ]
        largest = sorted(self.rows, key=lambda row: -row.huffman)
        groups = [(row.name, row.encoding, [row]) for row in largest[:SHOWN]]
        if rest := largest[SHOWN:]:
            groups.append((counted(len(rest), "other"), "", rest))
        header = ["tensor", "encoding", "values", "bits a weight", "bytes", "share"]
        return html.page(self.path, facts, header, [self._cells(*group) for group in groups])

    def _cells(self, name: str, encoding: str, rows: list[TensorReport]) -> list[str]:
        values, nbytes = sum(row.elements for row in rows), sum(row.huffman for row in rows)
        bits = f"{8 * nbytes / values:.2f}" if values else ""
        share = f"{100 * nbytes / self.file_bytes:.1f} %" if self.file_bytes else ""
        return [name, encoding, f"{values:,}", bits, f"{nbytes:,}", share]


_SUMMED = ("elements", "original", "prune", "share", "huffman")


def inspect(file: Source) -> Report:
    """Measure a `.dcz` file, or an `.onnx` model before it is compressed: by its path, its bytes, or the file opened in
    binary. Of records above 64 KB the head alone is read, and no checksum: `verify` tells whether a file is intact.
    Raises DczError."""
    return _inspect_dcz(file) if is_dcz(file) else _inspect_onnx(file)


def _inspect_dcz(file: Source) -> Report:
    with Archive(file) as archive:
        directory = archive.directory
        rows = tuple(_row(archive, entry) for entry in directory.entries)
    source = directory.metadata.get("source-bytes", "")
    return Report(
        path=archive.path,
        kind="dcz",
        file_bytes=directory.file_size,
        source_bytes=int(source) if source.isascii() and source.isdigit() and len(source) < 19 else None,
        version=f"{directory.version[0]}.{directory.version[1]}",
        metadata=directory.metadata,
        directory_bytes=directory.graph_offset,
        graph_bytes=directory.graph_stored,
        rows=rows,
    )


def _row(archive: Archive, entry: Entry) -> TensorReport:
    encoded = archive.head(entry)
    elements = entry.nbytes * 8 // entry.dtype.bits
    parts = dict.fromkeys(PURPOSES, 0)
    for purpose, data in record.parts(encoded):
        parts[purpose] += len(data)
    row = TensorReport(
        entry.name, entry.dtype.name, entry.shape, ENCODINGS[entry.info.encoding], elements, elements,
        entry.nbytes, entry.nbytes, entry.nbytes, entry.info.length, parts=parts,
    )  # fmt: skip
    if isinstance(encoded, Stored):
        return row
    itemsize = entry.dtype.bits // 8
    kept, gaps = elements, 0
    changes: dict[str, Any] = {}
    if isinstance(encoded, (Sparse, Pruned)):
        index = encoded.index
        kept, gaps = index.kept, fixed_bytes(index.gaps.count, index.gap_bits)
        order = "columns" if index.column_major else "rows"
        bitmaps = "".join(f", {w} bitmap" for w, b in (("row", index.rows), ("column", index.columns)) if b is not None)
        changes["layout"] = f"{index.gap_bits}-bit gaps by {order}{bitmaps}"
        if kept:
            changes["index_bits_share"] = index.gap_bits * index.gaps.count / kept
            changes["index_bits_huffman"] = 8 * parts["index"] / kept
        changes["prune"] = changes["share"] = kept * itemsize + gaps
    if isinstance(encoded, (Shared, Sparse)) and encoded.codes is not None and encoded.codebook is not None:
        width = code_width(encoded.codebook)
        changes["share"] = fixed_bytes(kept, width) + gaps + parts["codebook"]
        if kept:
            changes |= {"weight_bits_share": float(width), "weight_bits_huffman": 8 * parts["weights"] / kept}
        changes |= {"entries": encoded.codebook.count << encoded.codebook.low_bits, "codebook": encoded.codebook.form}
        if encoded.codebook.scales is not None:
            changes["scales"] = entry.shape[encoded.codebook.scales.axis]
    zero_is_shared = isinstance(encoded, Shared) and bool((entry_values(encoded.codebook, entry.dtype) == 0).any())
    return dataclasses.replace(row, kept=None if zero_is_shared else kept, **changes)


def fixed_bytes(count: int, width: int) -> int:
    """Bytes of a stream of `count` symbols of `width` bits before Huffman coding."""
    return -(-count * width // 8)


def code_width(codebook: Codebook) -> int:
    """Bits of a fixed-width code for the entries of a codebook, the low bits of a fine one among them."""
    return max(1, (codebook.count - 1).bit_length()) + codebook.low_bits


def _inspect_onnx(file: Source) -> Report:
    from .. import model

    label = sources.label(file)
    is_path = isinstance(file, (str, os.PathLike))
    loaded = model.load(label, apart=True, lists=True) if is_path else model.from_bytes(sources.content(file), label)
    rows = []
    for tensor in loaded.tensors:
        elements = tensor.nbytes * 8 // tensor.dtype.bits
        kept = _nonzero(tensor, elements)
        plain = tensor.nbytes
        role = "weight" if tensor.is_weight and tensor.dtype.real else "exact"
        rows.append(
            TensorReport(tensor.name, tensor.dtype.name, tensor.shape, role, elements, kept, plain, plain, plain, plain)
        )
    total = sum(row.original for row in rows)
    size = loaded.source_bytes
    return Report(label, "onnx", size, None, None, {}, 0, max(0, size - total), tuple(rows))


def _nonzero(tensor: "ModelTensor", elements: int) -> int:
    if not tensor.dtype.real:
        return elements
    return int(np.count_nonzero(tensor.values()))
