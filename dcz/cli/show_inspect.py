"""What `dcz inspect` prints: where the bytes of a file are."""

from collections.abc import Sequence

from rich.console import Console, Group

from ..reading import remake
from ..reading.energy import DRAM, SRAM, Energy
from ..reading.inspect import PURPOSES, Report, TensorReport
from ..reading.prefixes import Node, tree
from ..reading.why import Limit
from ..text import counted, size
from .show_paper import layers, stages
from .terminal import Column, bar, console, labelled, print_commands, safe, shorten, table

LARGEST = 20  # tensors that are shown, unless all are asked for
MOST_TOLD = 40  # metadata that are shown, unless all are asked for: dcz itself writes ten at most
NARROW = frozenset(["int8", "uint8", "int4", "uint4", "int2", "uint2"])  # as quantized weights have them
MOSTLY = 0.5  # of a file's bytes
MIN_SHARE = 0.01  # of a file, below which a branch of the tree is one of the others
BAR = 40  # columns of the longest bar
MAX_BARS = 33  # of a histogram
INDENT = 2

NAME = Column("tensor", right=False, is_name=True)
FIGURES = (
    Column("dtype", right=False, priority=4),
    Column("shape", right=False, priority=5),
    Column("encoding", right=False, priority=2),
    Column("values", priority=1),
    Column("kept", priority=1),
    Column("bits a weight"),
    Column("bytes"),
    Column("share"),
)


def inspected(report: Report, show_all: bool = False, as_tree: bool = False, paper: bool = False) -> None:
    """One file: its metadata, its largest tensors (or all, or as a tree, or the paper's tables), and what bytes
    serve."""
    screen = console()
    _head(report, screen, show_all)
    if paper and report.kind == "dcz":
        screen.print(layers(report, screen.width))
        screen.print(stages(report, screen.width))
        screen.print(_purposes(report, screen.width))
    elif as_tree:
        screen.print(_tree(report, screen.width, show_all))
    else:
        tables(report, screen, show_all)


def tables(report: Report, screen: Console, show_all: bool = True) -> None:
    """The tensors by bytes, and what the bytes serve."""
    screen.print(_tensors(report, screen.width, show_all))
    if report.kind == "dcz":
        screen.print(_purposes(report, screen.width))


def summary_line(report: Report) -> None:
    """A file's size in one line."""
    screen = console()
    figures = f": {report.summary}"
    screen.print(shorten(report.path, screen.width - len(figures)) + figures)


def _head(report: Report, screen: Console, show_all: bool) -> None:
    kind = f".dcz format {report.version}" if report.kind == "dcz" else "ONNX"
    figures = (
        f": {kind}, {size(report.file_bytes)} ({report.file_bytes:,} bytes), {counted(len(report.rows), 'tensor')}"
    )
    screen.print(shorten(report.path, max(20, screen.width - len(figures))) + figures)
    told = list(report.metadata.items())
    for key, value in told if show_all else told[:MOST_TOLD]:
        name = shorten(key, 20)
        screen.print(f"  {name}: {shorten(value, screen.width - len(name) - 4)}")
    if len(told) > MOST_TOLD and not show_all:
        screen.print(f"  {len(told) - MOST_TOLD} others")


def _bytes(row: TensorReport) -> int:
    return row.huffman


def _shape(row: TensorReport) -> str:
    return "x".join(map(str, row.shape)) or "scalar"


def _figures(rows: Sequence[TensorReport], file_bytes: int) -> list[str]:
    """The cells of one tensor, or of the sum of several."""
    one = rows[0] if len(rows) == 1 else None
    elements, nbytes = sum(row.elements for row in rows), sum(map(_bytes, rows))
    known = [row.kept for row in rows if row.kept is not None]
    return [
        one.dtype if one else "",
        _shape(one) if one else "",
        one.encoding if one else "",
        f"{elements:,}",
        _percent(sum(known), elements) if len(known) == len(rows) else "",
        f"{8 * nbytes / elements:.2f}" if elements else "",
        f"{nbytes:,}",
        _percent(nbytes, file_bytes),
    ]


def _tensors(report: Report, width: int, show_all: bool) -> Group:
    """The largest tensors, the others in one line, the rest of the file, and the total."""
    rows = sorted(report.rows, key=_bytes, reverse=True)
    shown, others = (rows, []) if show_all or len(rows) <= LARGEST + 1 else (rows[:LARGEST], rows[LARGEST:])
    cells: list[list[str]] = [[row.name, *_figures([row], report.file_bytes)] for row in shown]
    if others:
        cells.append([counted(len(others), "other"), *_figures(others, report.file_bytes)])
    rest = report.file_bytes - sum(map(_bytes, rows))
    what = "graph, directory" if report.kind == "dcz" else "graph"
    blank = [""] * (len(FIGURES) - 2)
    cells.append([what, *blank, f"{rest:,}", _percent(rest, report.file_bytes)])
    whole = _figures(rows, report.file_bytes) if rows else ["", "", "", "", "", "", "", ""]
    cells.append(["total", *whole[:-2], f"{report.file_bytes:,}", _percent(report.file_bytes, report.file_bytes)])
    return table([NAME, *FIGURES], cells, width, totals=1)


def _tree(report: Report, width: int, show_all: bool) -> Group:
    """The tensors in a tree by the prefixes of their names, in each branch the largest first."""
    cells: list[list[str]] = []

    def add(node: Node[TensorReport], depth: int, label: str) -> None:
        cells.append([" " * INDENT * depth + label, *_figures(node.rows, report.file_bytes)])
        children = sorted(node.children, key=lambda child: -child.sum(_bytes))
        small = [] if show_all else [c for c in children if c.sum(_bytes) < MIN_SHARE * report.file_bytes]
        small = small if len(small) > 1 else []
        for child in children:
            if child not in small:
                add(child, depth + 1, safe(child.label) or "(itself)")
        if small:
            rows = [row for child in small for row in child.rows]
            name = " " * INDENT * (depth + 1) + counted(len(rows), "other")
            cells.append([name, *_figures(rows, report.file_bytes)])

    if report.rows:
        root = tree(report.rows)
        add(root, 0, safe(root.label) or "all tensors")
    return table([NAME, *FIGURES], cells, width)


def _purposes(report: Report, width: int) -> Group:
    """What the bytes of a file serve."""
    parts = report.total.parts
    rows = [(purpose, parts[purpose]) for purpose in PURPOSES]
    rows += [("directory", report.directory_bytes), ("graph", report.graph_bytes)]
    columns = (Column("what the bytes serve", right=False), Column("bytes"), Column("share"), Column("", right=False))
    room = min(BAR, max(0, width - 50))
    shares = [nbytes / report.file_bytes if report.file_bytes else 0.0 for _, nbytes in rows]
    cells = [
        (name, f"{nbytes:,}", f"{100 * share:.1f} %", bar(share, room))
        for (name, nbytes), share in zip(rows, shares, strict=True)
    ]
    return table(columns, cells, width)


def explained(limits: Sequence[Limit], report: Report, show_all: bool = False) -> None:
    """`--why`: what limits each large tensor, and the options that would make it smaller."""
    screen = console()
    if not limits:
        screen.print(f"{safe(report.path)}: no tensor has a record of its own; all lie in the graph, deflated with it")
    shown = limits if show_all else limits[:LARGEST]
    source, told = remake.source(report) if limits else "", ""
    for limit in shown:
        figures = f"  {limit.nbytes:,} bytes, {_percent(limit.nbytes, report.file_bytes)}"
        screen.print(shorten(limit.name, screen.width - len(figures)) + figures)
        remedy = "" if not limit.options else "; smaller by the same" if limit.options == told else "; smaller by:"
        screen.print(labelled("", safe(limit.reason) + remedy, screen.width, INDENT), soft_wrap=True)
        if limit.options and limit.options != told:  # "the same" is the command that was shown last
            print_commands(screen, "", [remake.command(report, source, limit.options)], 2 * INDENT)
            told = limit.options
    if others := limits[len(shown) :]:
        screen.print(f"{counted(len(others), 'other')}  {sum(limit.nbytes for limit in others):,} bytes")
    narrow = [row for row in report.rows if row.dtype in NARROW]
    if sum(map(_bytes, narrow)) > MOSTLY * report.file_bytes:
        types = ", ".join(sorted({row.dtype for row in narrow}))
        told = f"mostly {types}: weights that are quantized already shrink little; calibrated, their float model may"
        screen.print(labelled("", f"{told} become smaller than this", screen.width, 0), soft_wrap=True)


def energies(found: Energy) -> None:
    """`--energy`: what fetching all weights once takes."""
    screen = console()
    columns = (Column("all weights, fetched once", right=False), Column("before"), Column("after"))
    rows: list[tuple[str, ...]] = [
        (f"from SRAM on the chip, {SRAM:g} pJ for 32 bits", *map(_energy, found.sram)),
        (f"from DRAM beside it, {DRAM:g} pJ for 32 bits", *map(_energy, found.dram)),
    ]
    if found.fits is not None and found.spent is not None:
        fits = tuple("yes" if each else "no" for each in found.fits)
        rows.append((f"fits on a chip with {size(found.on_chip or 0)}", *fits))
        rows.append(("so a fetch takes", *map(_energy, found.spent)))
    screen.print(table(columns, rows, screen.width))
    screen.print("45 nm process; bytes as they lie in the file, without what decoding them takes", soft_wrap=False)


def _energy(picojoules: float) -> str:
    """An energy for people."""
    for unit in ("pJ", "nJ", "uJ", "mJ"):
        if picojoules < 1000:
            return f"{picojoules:.1f} {unit}"
        picojoules /= 1000
    return f"{picojoules:.2f} J"


def histograms(shares: dict[str, list[tuple[float, float]]]) -> None:
    """`--histogram`: at most MAX_BARS bars a tensor, of (value, share) pairs; neighbours share a bar."""
    screen = console()
    if not shares:
        screen.print("none of these tensors has shared values")
    room = min(BAR, screen.width - 24)
    for name, pairs in shares.items():
        figures = f": {counted(len(pairs), 'shared value')} from {pairs[0][0]:.4g} to {pairs[-1][0]:.4g}"
        screen.print(shorten(name, screen.width - len(figures)) + figures)
        step = -(-len(pairs) // MAX_BARS)
        groups = [pairs[start : start + step] for start in range(0, len(pairs), step)]
        longest = max(sum(share for _, share in group) for group in groups)
        for group in groups:
            part = sum(share for _, share in group)
            middle = group[len(group) // 2][0]
            screen.print(f"  {middle:>12.4g} {100 * part:5.1f} % {bar(part / longest, room) or '|'}")


def _percent(part: float | None, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if part is not None and whole else ""
