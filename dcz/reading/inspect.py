"""What a file consists of, in measured bytes: whole, by tensor, by stage of the paper, and by what the bytes serve.

    report = inspect("net.dcz")
    report.total.huffman      bytes of all records as they are in the file
    report.to_dict()          everything, for --json

Nothing is decoded: sizes, kept places, widths and code lengths are all in the records' heads.
"""

import dataclasses
import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from ..encoded import ENCODINGS, Codebook, Pruned, Shared, Sparse, Stored, Stream, codebook_patterns, entry_values
from ..errors import InvalidArgument
from ..format import record, sources
from ..format.container import Archive, Entry, is_dcz
from ..format.sources import Source
from ..tensor import Dtype, values

if TYPE_CHECKING:
    from ..model import ModelTensor

PURPOSES = ("weights", "index", "codebook", "tables")


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


@dataclass(frozen=True)
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


_SUMMED = ("elements", "original", "prune", "share", "huffman")


def inspect(file: Source) -> Report:
    """Measure a `.dcz` file, or an `.onnx` model before it is compressed: by its path, its bytes, or the file opened in
    binary. Raises DczError."""
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
    encoded = archive.encoded(entry)
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
    zero_is_shared = isinstance(encoded, Shared) and not entry_values(encoded.codebook, entry.dtype).all()
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
    loaded = model.load(label, apart=True) if is_path else model.from_bytes(sources.content(file), label)
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


def histogram(path: str | os.PathLike[str], pattern: str) -> dict[str, list[tuple[float, float]]]:
    """For each tensor whose name matches: its shared values, and the fraction of the codes that each gets.

    Of a fine codebook, the mean of the entries of each code. Fractions are those that the lengths of the Huffman words
    imply, 2^-length: estimates that need no decoding. Tensors without a codebook are left out; where there are scales,
    values are those before they are scaled. Raises InvalidArgument where no name matches.
    """
    found = {}
    with Archive(path) as archive:
        entries = [entry for entry in archive.directory.entries if fnmatchcase(entry.name, pattern)]
        if not entries:
            raise InvalidArgument(f"the pattern {pattern!r} matches no tensor of {path}")
        for entry in entries:
            encoded = archive.encoded(entry)
            if isinstance(encoded, (Shared, Sparse)) and encoded.codes is not None and encoded.codebook is not None:
                numbers = _shared_values(encoded.codebook, entry.dtype)
                numbers = numbers.reshape(encoded.codebook.count, -1).mean(axis=1)
                found[entry.name] = list(
                    zip(numbers.tolist(), _code_fractions(encoded.codes, len(numbers)).tolist(), strict=True)
                )
    return found


def _shared_values(codebook: Codebook, dtype: Dtype) -> np.ndarray:
    """The shared values (float64): as they are decoded, or where there are scales, before they are scaled."""
    if codebook.scales is not None:
        return entry_values(codebook, dtype)
    return values(codebook_patterns(codebook, dtype), dtype).astype(float)


def _code_fractions(codes: Stream, entries: int) -> np.ndarray:
    """The fraction (float64) of the codes that each entry gets, as far as the lengths of the Huffman words tell."""
    fractions: np.ndarray = np.full(entries, 1.0 / entries)
    if codes.form == "constant":
        fractions = np.where(np.arange(entries) == codes.symbol, 1.0, 0.0)
    elif codes.lengths is not None:
        lengths = codes.lengths[:entries].astype(float)
        fractions = np.where(lengths > 0, 2.0**-lengths, 0.0)
        fractions = fractions / fractions.sum()
    return fractions
