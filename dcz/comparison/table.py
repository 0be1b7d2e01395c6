"""A difference as a table, as bloaty prints one: text, Markdown, CSV, HTML.

file %     change  memory %    change      bits      zeros    values  tensor
+27.9%    +74,373         =         =  4.2 > 5.3         =   33.1 dB  conv10.weight
"""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..display.html import page
from ..evaluation.evaluate import Evaluation
from ..evaluation.metrics import distance
from ..text import cells, change, counted, markdown_code, printable, shorten, shorten_apart, wrapped
from .changes import Diff, Side, TensorChange

LARGEST = 20  # rows that are shown, unless more are asked for
GAP = 2  # columns between two of the table
MIN_NAME = 24  # columns of names, for which other columns give way


@dataclass(frozen=True)
class Column:
    """One column: its heading, the order in which columns come as there is room (0: always), the text of a cell."""

    head: str
    order: int
    cell: Callable[[TensorChange], str]


def headline(diff: Diff) -> str:
    """Both files and what changed, in a sentence."""
    old, new = diff.old, diff.new
    percent = change(old.file_bytes, new.file_bytes)
    changed = sum(row.kind != "same" for row in diff.tensors)
    return (
        f"{printable(old.path)} -> {printable(new.path)}: {old.file_bytes:,} -> {new.file_bytes:,} bytes ({percent}), "
        f"{changed} of {counted(len(diff.tensors), 'tensor')} changed"
    )


# -- cells -------------------------------------------------------------------------------------------------------------


def _signed(nbytes: int) -> str:
    return f"{nbytes:+,}" if nbytes else "="


def _of(side: Side | None, name: str) -> int:
    return getattr(side, name) if side is not None else 0


def _between(row: TensorChange, write: Callable[[Side], str]) -> str:
    """What a figure was and is, where these differ."""
    texts = [write(side) for side in (row.old, row.new) if side is not None]
    filled = [text for text in texts if text]
    return filled[0] if len(set(filled)) == 1 else " > ".join(text or "-" for text in texts) if filled else ""


def _bits(side: Side) -> str:
    return "" if side.bits is None else f"{side.bits:.2f}"


def _zeros(side: Side) -> str:
    return "" if side.sparsity is None else f"{100 * side.sparsity:.3g}%"


def values(row: TensorChange) -> str:
    """How the values changed: equal, so many decibels, added, removed."""
    if row.kind in ("added", "removed"):
        return row.kind
    if row.decibels is None:
        return "" if not (row.old and row.old.dtype) else "differ"
    if math.isinf(row.decibels):
        return "equal" if row.decibels > 0 else "differ"
    return f"{row.decibels:.1f} dB"


def name(row: TensorChange) -> str:
    """The tensor's name, and the old one where it was renamed."""
    return printable(row.name) + (f" (was {printable(row.old_name)})" if row.old_name is not None else "")


COLUMNS = (
    Column("file", 5, lambda row: f"{_of(row.new, 'file_bytes'):,}"),
    Column("file %", 0, lambda row: change(_of(row.old, "file_bytes"), _of(row.new, "file_bytes"))),
    Column("file +/-", 0, lambda row: _signed(row.file_change)),
    Column("memory", 6, lambda row: f"{_of(row.new, 'memory_bytes'):,}"),
    Column("memory %", 1, lambda row: change(_of(row.old, "memory_bytes"), _of(row.new, "memory_bytes"))),
    Column("memory +/-", 0, lambda row: _signed(row.memory_change)),
    Column("bits", 2, lambda row: _between(row, _bits)),
    Column("zeros", 3, lambda row: _between(row, _zeros)),
    Column("values", 0, values),
    Column("encoding", 4, lambda row: _between(row, lambda side: side.encoding)),
)


def _rows(diff: Diff, largest: int | None) -> tuple[list[TensorChange], list[TensorChange]]:
    """The rows to show, those that changed most, and all others that changed."""
    changed = [row for row in diff.rows if row.kind != "same"]
    return (changed, []) if largest is None else (changed[:largest], changed[largest:])


def _sizes(file_bytes: int, memory_bytes: int) -> Side:
    """Sizes of more than one tensor."""
    return Side("", (), "", file_bytes, memory_bytes, None, None)


def _sum(rows: Sequence[TensorChange], name: str) -> TensorChange:
    old, new = (
        _sizes(
            sum(_of(side, "file_bytes") for side in sides),
            sum(_of(side, "memory_bytes") for side in sides),
        )
        for sides in ([row.old for row in rows], [row.new for row in rows])
    )
    return TensorChange(name, "changed", old, new)


def _total(diff: Diff) -> TensorChange:
    old, new = (_sizes(file.file_bytes, file.memory_bytes) for file in (diff.old, diff.new))
    return TensorChange("TOTAL", "changed", old, new)


def _shown(diff: Diff, largest: int | None) -> list[TensorChange]:
    shown, others = _rows(diff, largest)
    return [*shown, *([_sum(others, counted(len(others), "other"))] if others else []), _total(diff)]


def notes(diff: Diff) -> list[str]:
    """What has to be known to read it, and what the answers did."""
    found = []
    if diff.folded:
        found.append(f"values are compared with {counted(diff.folded, 'BatchNormalization')} folded on both sides")
    if diff.snapped:
        found.append(f"values are compared with {counted(diff.snapped, 'weight')} on the grids of their QuantizeLinear")
    if not diff.differs:
        found.append("nothing differs")
    elif diff.old.kind == diff.new.kind and all(row.kind == "same" for row in diff.tensors):
        found.append("all tensors are the same; nodes, attributes, names or metadata differ")
    if diff.answers is not None:
        found.append(answers(diff.answers))
    return found


def answers(result: Evaluation) -> str:
    """How the answers changed, in a sentence."""
    far = distance(math.nan if result.decibels is None else result.decibels)
    if result.disagreements is not None and result.agreement is not None:
        same = f"{100 * result.agreement:.2f}% of {result.answers or result.samples:,} agree by {result.measure}"
        same += f", {result.disagreements:,} changed"
    else:
        same = f"{result.measure} {result.score or 0:.6g}"
    return f"answers on {counted(result.samples, 'sample')}, output {printable(result.output)}: {same}; {far}"


# -- text --------------------------------------------------------------------------------------------------------------


def text(diff: Diff, width: int, largest: int | None = LARGEST) -> str:
    """Lines of at most `width` columns: what gives way are columns, then the middle of names, never a number."""
    rows = _shown(diff, largest)
    names = [name(row) for row in rows]
    columns = _fitting(rows, width, min(max(map(cells, names)), MIN_NAME))
    table = [[column.head for column in columns], *([column.cell(row) for column in columns] for row in rows)]
    widths = [max(len(line[n]) for line in table) for n in range(len(columns))]
    room = max(width - sum(widths) - GAP * len(columns), 8)
    lines = [headline(diff)] if cells(headline(diff)) <= width else _split_headline(diff, width)
    for line, label in zip(table, ["tensor", *shorten_apart(names, room)], strict=True):
        numbers = (" " * GAP).join(f"{cell:>{size}}" for cell, size in zip(line, widths, strict=True))
        lines.append(f"{numbers}{' ' * GAP}{label}".rstrip())
    return "\n".join([*lines, *(line for note in notes(diff) for line in wrapped(note, width))])


def _split_headline(diff: Diff, width: int) -> list[str]:
    files, _, figures = headline(diff).rpartition(": ")
    return [f"{shorten(files, width - 1)}:", *wrapped(figures, width, 2)]


def _fitting(rows: Sequence[TensorChange], width: int, room: int) -> list[Column]:
    """The columns that leave `room` for names, by their order."""
    chosen = [column for column in COLUMNS if column.order == 0]
    for column in sorted((column for column in COLUMNS if column.order), key=lambda column: column.order):
        more = [each for each in COLUMNS if each in chosen or each is column]
        taken = sum(max(len(each.head), *(len(each.cell(row)) for row in rows)) + GAP for each in more)
        if taken + room > width:
            break
        chosen = more
    return chosen


# -- other formats -----------------------------------------------------------------------------------------------------


def markdown(diff: Diff, largest: int | None = LARGEST) -> str:
    """A table for a comment or a summary."""
    old, new = diff.old, diff.new
    lines = [
        f"### {markdown_code(old.path)} → {markdown_code(new.path)}",
        "",
        f"{old.file_bytes:,} → {new.file_bytes:,} bytes ({change(old.file_bytes, new.file_bytes)})",
        "",
        f"| tensor | {' | '.join(column.head for column in COLUMNS)} |",
        f"|---|{'---:|' * len(COLUMNS)}",
    ]
    for row in _shown(diff, largest):
        label = markdown_code(row.name) if row.new is None or row.new.dtype else f"**{row.name}**"
        label += "" if row.old_name is None else f" (was {markdown_code(row.old_name)})"
        lines.append(f"| {label} | {' | '.join(column.cell(row) for column in COLUMNS)} |")
    return "\n".join([*lines, *(f"\n{note}" for note in notes(diff))]) + "\n"


def comma_separated(diff: Diff) -> str:
    """Every row in plain numbers, the rest and the total last, for a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    sides = ("dtype", "shape", "encoding", "file_bytes", "memory_bytes", "bits", "sparsity")
    heads = [f"{which}_{side}" for side in sides for which in ("old", "new")]
    writer.writerow(["tensor", "kind", "old_name", "file_change", "memory_change", "decibels", "equal", *heads])
    for row in [*diff.tensors, diff.rest, _total(diff)]:
        plain = row.to_dict()
        figures = [_plain(plain[which], side) for side in sides for which in ("old", "new")]
        names = printable(row.name), row.kind, printable(row.old_name or "")
        writer.writerow([*names, row.file_change, row.memory_change, plain["decibels"], plain["equal"], *figures])
    return out.getvalue()


def _plain(side: dict | None, key: str) -> object:
    value = None if side is None else side[key]
    return "x".join(map(str, value)) if isinstance(value, tuple) else value


def html(diff: Diff, largest: int | None = LARGEST) -> str:
    """A small page for notebooks."""
    header = ["tensor", *(column.head for column in COLUMNS)]
    rows = [[name(row), *(column.cell(row) for column in COLUMNS)] for row in _shown(diff, largest)]
    return page(headline(diff), [("", note) for note in notes(diff)], header, rows)
