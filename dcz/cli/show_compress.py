"""What `dcz compress` and `dcz retrain` print in the end: six lines of one model, a table of several."""

import math
import os
from typing import TYPE_CHECKING

from .. import shell
from ..files.several import Outcome
from ..reading.inspect import Report
from ..text import counted, shorten_apart, size, times, wrapped
from . import show_inspect
from .common import beside
from .sample_options import given
from .terminal import Column, console, labelled, print_commands, safe, shorten, table

if TYPE_CHECKING:
    from .compress_modes import Made

LARGEST = 3  # tensors that the summary names
LABEL = 10  # columns
MIN_LARGEST = 16  # columns of the name of one of these
MIN_DECIBELS = 15.0  # of all weights, below which most networks without calibration answer otherwise


def one_line(report: Report) -> None:
    """A file's size and ratio alone."""
    screen = console()
    figures = f": {size(report.file_bytes)} ({report.file_bytes:,} bytes), {_change(report)}"
    screen.print(shorten(report.path, screen.width - len(figures)) + figures)


def retrained(report: Report, outcome: str, verbose: bool = False) -> None:
    """The file that `dcz retrain` made, and what training came to; with `verbose`, the long tables before them."""
    screen = console()
    if verbose:
        show_inspect.tables(report, screen)
    one_line(report)
    for line in wrapped(outcome, screen.width):
        screen.print(line, soft_wrap=True)


def summary(report: Report, model: str, made: "Made", verbose: bool = False) -> None:
    """What became of one model, in six lines: sizes, what the answers are worth, what stayed exact, where the bytes
    are, and the commands that come next; with `verbose`, the long tables before it."""
    screen = console()
    if verbose:
        show_inspect.tables(report, screen)
    room = screen.width - LABEL
    figures = f"{report.source_bytes or 0:,} -> {report.file_bytes:,} bytes, {_change(report)}"
    name = f": {shorten(report.path, max(12, room - len(figures) - 2))}"
    for label, text in [
        ("size", figures + name),
        ("answers", _answers(made)),
        ("exact", _exact(report, made)),
        ("largest", _largest(report, room)),
    ]:
        screen.print(labelled(label, text, screen.width, LABEL), soft_wrap=True)
    for label, commands in _next(report, model, made):
        print_commands(screen, label, commands, LABEL)


def _change(report: Report) -> str:
    return times(report.source_bytes or 0, report.file_bytes)


def _answers(made: "Made") -> str:
    """What is known of how much the answers change."""
    weights = "weights not compared"
    if made.weights is not None:
        is_same = made.weights.decibels == math.inf
        weights = f"weights {made.weights.decibels:.1f} dB SQNR, worst {made.weights.worst:.1f}"
        weights = "weights bit for bit the same" if is_same else weights
        if is_same and made.tuned is None:
            return weights
    if made.tuned is None:
        few = made.weights is not None and made.weights.decibels < MIN_DECIBELS
        otherwise = ", so few that many answers change (dcz retrain keeps more)" if few else ""
        return f"{weights}{otherwise}; agreement not measured"
    kept, of = made.tuned.kept, f"of {counted(made.tuned.held_out, 'held-out sample')}"
    if kept.cross_fitted:
        of = f"of {counted(made.tuned.held_out, 'sample')}, cross-fitted"
    if kept.accuracy is not None and kept.drop is not None:
        return f"{weights}; top-1 accuracy {kept.accuracy:.2%} {of}, {100 * kept.drop:z.2f} points less than before"
    return f"{weights}; agreement {kept.agreement:.2%} {of}, by {kept.measure}"


def _exact(report: Report, made: "Made") -> str:
    """What stayed exact, and where it matters why; and that normalizations became part of layers."""
    count = int(report.metadata.get("folded", 0))
    folded = f"; {counted(count, 'BatchNormalization')} folded into layers"
    return _stayed_exact(report, made) + (folded if count else "")


def _stayed_exact(report: Report, made: "Made") -> str:
    if made.exact:
        return safe(made.exact)
    if not report.rows:
        return "all, deflated whole" if report.kind == "dcz" and report.metadata else "all"
    rounded = made.weights.rounded if made.weights else ()
    exact = [row for row in report.rows if not row.compressed and row.name not in rounded]
    share = sum(row.huffman for row in exact) / report.file_bytes if report.file_bytes else 0.0
    shared = f", and {made.weights.equal} that were shared before" if made.weights and made.weights.equal else ""
    return f"{len(exact)} of {counted(len(report.rows), 'tensor')}, {100 * share:.1f} % of the file{shared}"


def _largest(report: Report, room: int) -> str:
    """The largest tensors, as many as names have room for that tell them apart, and their shares of the file."""
    rows = sorted(report.rows, key=lambda row: -row.huffman)[:LARGEST]
    figures = [f" {size(row.huffman)} ({100 * row.huffman / report.file_bytes:.0f} %)" for row in rows]
    while rows:
        width = (room - sum(map(len, figures)) - 2 * (len(rows) - 1)) // len(rows)
        names = shorten_apart([safe(row.name) for row in rows], max(width, 12))
        fits = width >= min(MIN_LARGEST, max(len(row.name) for row in rows)) and len(set(names)) == len(names)
        if fits or len(rows) == 1:
            return ", ".join(name + each for name, each in zip(names, figures, strict=True))
        rows, figures = rows[:-1], figures[:-1]
    return "no tensor has a record of its own"


def _next(report: Report, model: str, made: "Made") -> list[tuple[str, list[str]]]:
    """The commands that come next."""
    path = shell.path(_near(report.path))
    data = _near(made.samples) if made.samples else "samples.npz"
    limit, against = _rounded_up(report.file_bytes), shell.option("--against", _near(model))
    return [
        ("verify", [f"dcz verify {path} {against} {shell.option('--data', data)}{given()}"]),
        ("then", [f"dcz check {path} --max-size {limit}", f"dcz decompress {path}{_restored(report.path)}"]),
    ]


def _restored(path: str) -> str:
    """What to decompress a file into, where the name that is taken without that is mostly the original's."""
    return " -o restored.onnx" if os.path.exists(beside(path, ".onnx")) else ""


def _near(path: str) -> str:
    """The shorter of a path and of what it is from here."""
    near = os.path.relpath(path) if os.path.isabs(path) else path
    return near if len(near) < len(path) else path


def _rounded_up(nbytes: int) -> str:
    """A round size of two digits that a file of so many bytes has: 979,463 as 980kB."""
    digit = 10 ** max(0, len(str(nbytes)) - 2)
    rounded = -(-nbytes // digit) * digit
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if rounded >= unit:
            return f"{rounded / unit:g}{name}"
    return f"{rounded}B"


COLUMNS = (
    Column("model", right=False, is_name=True),
    Column("before"),
    Column("after"),
    Column("ratio"),
    Column("status", right=False, is_name=True),
)


def outcomes(rows: list[Outcome], quiet: bool = False, done_to: str = "compressed") -> None:
    """`dcz compress` or `decompress` of several models: the sizes of each, and which failed; why was told before."""
    screen = console()
    cells = []
    for row in rows:
        sizes = ("", "") if row.error else (f"{row.before:,}", f"{row.after:,}")
        status = str(row.output) if row.error is None else "failed"
        ratio = row.ratio if row.ratio is None or row.ratio >= 1 else 1 / row.ratio
        cells.append((row.model, *sizes, f"{ratio:.2f}" if ratio else "", status))
    if not quiet:
        columns = [*COLUMNS[:3], Column("times"), COLUMNS[4]] if done_to == "decoded" else COLUMNS
        screen.print(table(columns, cells, screen.width))
    done = [row for row in rows if row.error is None]
    before, after = sum(row.before or 0 for row in done), sum(row.after or 0 for row in done)
    change = f": {before:,} bytes before, {after:,} after, {times(before, after)}" if done else ""
    screen.print(f"{len(done)} of {counted(len(rows), 'model')} {done_to}{change}")
