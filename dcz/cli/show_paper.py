"""The tables of the paper, of any file: weights, bits and rates by layer and by stage (`dcz inspect --paper`).

P: after pruning, with exact values and fixed-width gaps; P+Q: after sharing, with fixed-width codes; P+Q+H: after
Huffman coding, as in the file (Han, Mao and Dally, "Deep Compression", ICLR 2016, tables 2 to 5).
"""

from collections.abc import Callable

from rich.console import Group

from ..reading.inspect import Report, TensorReport
from .terminal import Column, table

COLUMNS: list[tuple[Column, Callable[[TensorReport], str]]] = [
    (Column("shape", right=False, priority=2), lambda row: "x".join(map(str, row.shape)) or "scalar"),
    (Column("encoding", right=False, priority=1), lambda row: row.encoding),
    (Column("#weights"), lambda row: f"{row.elements:,}"),
    (Column("weights %"), lambda row: "" if row.kept is None else percent(row.kept, row.elements)),
    (Column("w bits P+Q", priority=5), lambda row: _bits(row.weight_bits_share)),
    (Column("w bits P+Q+H", priority=4), lambda row: _bits(row.weight_bits_huffman)),
    (Column("i bits P+Q", priority=5), lambda row: _bits(row.index_bits_share)),
    (Column("i bits P+Q+H", priority=4), lambda row: _bits(row.index_bits_huffman)),
    (Column("rate P+Q", priority=3), lambda row: percent(row.share, row.original)),
    (Column("rate P+Q+H"), lambda row: percent(row.huffman, row.original)),
    (Column("bytes"), lambda row: f"{row.huffman:,}"),
]


def layers(report: Report, width: int) -> Group:
    """Weights, bits and rates by tensor. Columns that there is no room for are left out; --json has them all."""
    total = report.total
    totals = {
        "#weights": f"{total.elements:,}",
        "weights %": "" if total.kept is None else percent(total.kept, total.elements),
        "rate P+Q": percent(total.share, total.original),
        "rate P+Q+H": percent(total.huffman, total.original),
        "bytes": f"{total.huffman:,}",
    }
    cells = [[row.name, *(cell(row) for _, cell in COLUMNS)] for row in report.rows]
    cells += [["total", *(totals.get(column.head, "") for column, _ in COLUMNS)]] if report.rows else []
    name = Column("tensor", right=False, is_name=True)
    return table([name, *(column for column, _ in COLUMNS)], cells, width, "by tensor", totals=1 if cells else 0)


def stages(report: Report, width: int) -> Group:
    """Bytes and ratio by stage."""
    total = report.total
    figures = ("original", total.original), ("pruned", total.prune), ("P+Q", total.share), ("P+Q+H", total.huffman)
    cells = [(name, f"{nbytes:,}", f"{total.original / nbytes:.2f}" if nbytes else "") for name, nbytes in figures]
    cells.append(("graph and directory", f"{report.file_bytes - total.huffman:,}", ""))
    whole = f"{report.ratio:.2f}" if report.ratio else ""
    cells.append((f"whole file (from {report.source_bytes or 0:,})", f"{report.file_bytes:,}", whole))
    columns = (Column("stage", right=False), Column("bytes of tensors"), Column("ratio"))
    return table(columns, cells, width, "by stage", totals=1)


def _bits(width: float | None) -> str:
    return "" if width is None else f"{width:.2f}"


def percent(part: float | None, whole: float) -> str:
    """A share of a whole, with two decimals."""
    return f"{100 * part / whole:.2f} %" if part is not None and whole else ""
