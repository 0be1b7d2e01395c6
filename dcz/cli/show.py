"""Results for people: rich tables on stdout."""

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape as escape_markup
from rich.table import Table

from ..compression.many import Outcome
from ..errors import message
from ..evaluation.verify import Verification
from ..reading.inspect import PURPOSES, Report, TensorReport
from .common import printable, size

if TYPE_CHECKING:
    from ..evaluation.differences import OutputDifference
    from ..evaluation.verify import TensorDifference
    from ..tuning.sensitivity import Sensitivity, TensorSensitivity

WIDE = 160  # columns of a table that goes into a file or pipe, where there is no window to fit
BAR = 40  # characters of the longest bar
MAX_BARS = 33  # of a histogram


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave a pipe that is closed to the command line, where it is no failure."""
        raise BrokenPipeError


def _console() -> Console:
    return _Console(soft_wrap=False, highlight=False, width=None if sys.stdout.isatty() else WIDE)


def escape(text: str) -> str:
    """Text from a file, for rich to print: without markup and control characters."""
    return escape_markup(printable(text))


def compressed(report: Report, quiet: bool = False) -> None:
    """The closing tables of `dcz compress`."""
    console = _console()
    if not quiet:
        console.print(_layers(report, console.width))
        console.print(_stages(report))
    ratio = report.ratio or 0
    change = f"{ratio:.2f} times smaller" if ratio >= 1 or not ratio else f"{1 / ratio:.2f} times larger than before"
    console.print(f"{_file(report)}, {change}")


def outcomes(rows: list[Outcome], quiet: bool = False) -> None:
    """`dcz compress` of several models: the sizes of each, and the errors of those that failed."""
    console = _console()
    table = Table(title="by model", title_justify="left", box=None, pad_edge=False, padding=(0, 1))
    table.add_column("model", overflow="fold")
    for head in ("before", "after", "ratio"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("status", overflow="fold")
    for row in rows:
        sizes = ("", "") if row.error else (f"{row.before:,}", f"{row.after:,}")
        ratio = f"{row.ratio:.2f}" if row.ratio else ""
        table.add_row(escape(str(row.model)), *sizes, ratio, _status(row))
    if not quiet:
        console.print(table)
    done = [row for row in rows if row.error is None]
    before, after = sum(row.before or 0 for row in done), sum(row.after or 0 for row in done)
    change = f": {before:,} bytes before, {after:,} after, {before / after:.2f} times smaller" if done else ""
    console.print(f"{len(done)} of {len(rows)} models compressed{change}")


def _status(outcome: Outcome) -> str:
    return escape(str(outcome.output)) if outcome.error is None else f"failed: {escape(message(outcome.error))}"


def inspected(report: Report) -> None:
    """`dcz inspect`."""
    console = _console()
    if report.kind == "onnx":
        console.print(_tensors_of_onnx(report))
        console.print(f"{_file(report)}, of which {size(report.graph_bytes)} graph")
        return
    console.print(
        f"{escape(report.path)}: .dcz format {report.version}, {report.file_bytes:,} bytes, {len(report.rows)} records"
    )
    for key, value in report.metadata.items():
        console.print(f"  {escape(key)}: {escape(value)}")
    console.print(_layers(report, console.width))
    console.print(_stages(report))
    console.print(_storage(report))


def sensitivity(result: "Sensitivity") -> None:
    """`dcz sensitivity`: a row a tensor, those that move the answers most first."""
    console = _console()
    table = Table(
        title=f"nats that the answers move, each tensor alone ({result.samples} samples)", title_justify="left"
    )
    table.add_column("tensor", overflow="fold")
    table.add_column("#weights", justify="right")
    first = result.rows[0]
    for heading in (*(f"{n} bits" for n in first.by_bits), *(f"{share:.0%} zero" for share in first.by_sparsity)):
        table.add_column(heading, justify="right")
    table.add_column(f"bits of {result.rate:g}", justify="right")
    for row in sorted(result.rows, key=_largest_change, reverse=True):
        changes = [f"{value:.2g}" for value in (*row.by_bits.values(), *row.by_sparsity.values())]
        table.add_row(escape(row.name), f"{row.elements:,}", *changes, f"{row.bits_suggested:.1f}")
    console.print(table)


def _largest_change(row: "TensorSensitivity") -> float:
    """The most nats that the answers move, by any of the bits and sparsities tried."""
    return max((*row.by_bits.values(), *row.by_sparsity.values()), default=0.0)


def _file(report: Report) -> str:
    return f"{escape(report.path)}: {size(report.file_bytes)} ({report.file_bytes:,} bytes)"


# The columns of the paper's table: heading, the width of a window from which it is shown, the text of a cell.
COLUMNS: list[tuple[str, int, Callable[[TensorReport], str]]] = [
    ("shape", 100, lambda row: "x".join(map(str, row.shape)) or "scalar"),
    ("encoding", 0, lambda row: row.encoding),
    ("#weights", 0, lambda row: f"{row.elements:,}"),
    ("weights %", 0, lambda row: "" if row.kept is None else _percent(row.kept, row.elements)),
    ("w bits P+Q", 140, lambda row: _bits(row.weight_bits_share)),
    ("w bits P+Q+H", 120, lambda row: _bits(row.weight_bits_huffman)),
    ("i bits P+Q", 140, lambda row: _bits(row.index_bits_share)),
    ("i bits P+Q+H", 120, lambda row: _bits(row.index_bits_huffman)),
    ("rate P+Q", 140, lambda row: _percent(row.share, row.original)),
    ("rate P+Q+H", 0, lambda row: _percent(row.huffman, row.original)),
    ("bytes", 0, lambda row: f"{row.huffman:,}"),
]


def _layers(report: Report, width: int) -> Table:
    """The paper's table: weights, bits and rates by layer, after sharing (P+Q) and after Huffman coding (P+Q+H).

    Columns that the window has no room for are left out; --json has them all.
    """
    table = Table(title="by tensor", title_justify="left", box=None, pad_edge=False, padding=(0, 1))
    table.add_column("tensor", overflow="fold")
    columns = [column for column in COLUMNS if column[1] <= width]
    for head, _, _ in columns:
        table.add_column(head, justify="left" if head in ("shape", "encoding") else "right", no_wrap=True)
    for row in report.rows:
        table.add_row(escape(row.name), *(cell(row) for _, _, cell in columns))
    total = report.total
    totals = {
        "#weights": f"{total.elements:,}",
        "weights %": "" if total.kept is None else _percent(total.kept, total.elements),
        "rate P+Q": _percent(total.share, total.original),
        "rate P+Q+H": _percent(total.huffman, total.original),
        "bytes": f"{total.huffman:,}",
    }
    if report.rows:
        table.add_row("total", *(totals.get(head, "") for head, _, _ in columns), style="bold")
    return table


def _bits(width: float | None) -> str:
    return "" if width is None else f"{width:.2f}"


def _stages(report: Report) -> Table:
    table = Table(title="by stage", title_justify="left", box=None, pad_edge=False, padding=(0, 1))
    table.add_column("stage")
    for head in ("bytes of tensors", "ratio"):
        table.add_column(head, justify="right")
    total = report.total
    stages = ("original", total.original), ("pruned", total.prune), ("P+Q", total.share), ("P+Q+H", total.huffman)
    for name, nbytes in stages:
        table.add_row(name, f"{nbytes:,}", f"{total.original / nbytes:.2f}" if nbytes else "")
    rest = report.file_bytes - total.huffman
    table.add_row("graph and directory", f"{rest:,}", "")
    whole = f"{report.ratio:.2f}" if report.ratio else ""
    table.add_row(f"whole file (from {report.source_bytes or 0:,})", f"{report.file_bytes:,}", whole, style="bold")
    return table


def _storage(report: Report) -> Table:
    table = Table(title="by purpose", title_justify="left", box=None, pad_edge=False, padding=(0, 1))
    table.add_column("purpose")
    for head in ("bytes", "share"):
        table.add_column(head, justify="right")
    table.add_column("")
    parts = report.total.parts
    rows = [(purpose, parts[purpose]) for purpose in PURPOSES]
    for name, nbytes in [*rows, ("directory", report.directory_bytes), ("graph", report.graph_bytes)]:
        part = nbytes / report.file_bytes if report.file_bytes else 0.0
        table.add_row(name, f"{nbytes:,}", f"{100 * part:.1f} %", "█" * round(BAR * part))
    return table


def _tensors_of_onnx(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("tensor", overflow="fold")
    for head in ("dtype", "shape", "role"):
        table.add_column(head)
    for head in ("elements", "nonzero %", "bytes"):
        table.add_column(head, justify="right")
    for row in report.rows:
        shape = "x".join(map(str, row.shape)) or "scalar"
        nonzero = _percent(row.kept, row.elements)
        table.add_row(
            escape(row.name), row.dtype, shape, row.encoding, f"{row.elements:,}", nonzero, f"{row.original:,}"
        )
    return table


def histograms(shares: dict[str, list[tuple[float, float]]]) -> None:
    """`dcz inspect --histogram`: at most MAX_BARS bars a tensor, of (value, share) pairs; neighbours share a bar."""
    console = _console()
    if not shares:
        console.print("none of these tensors has shared values")
    for name, pairs in shares.items():
        console.print(f"{escape(name)}: {len(pairs)} shared values from {pairs[0][0]:.4g} to {pairs[-1][0]:.4g}")
        step = -(-len(pairs) // MAX_BARS)
        groups = [pairs[start : start + step] for start in range(0, len(pairs), step)]
        longest = max(sum(share for _, share in group) for group in groups)
        for group in groups:
            part = sum(share for _, share in group)
            middle = group[len(group) // 2][0]
            console.print(f"  {middle:>12.4g} {100 * part:5.1f} % {'█' * round(BAR * part / longest) or '▏'}")


def verified(result: Verification) -> None:
    """`dcz verify`."""
    console = _console()
    engines = " and ".join(result.engines)
    console.print(
        f"{escape(result.path)}: intact; {result.records} records, "
        f"{result.decoded_bytes:,} bytes decoded with {engines}"
    )
    if result.tensors:
        changed = [row for row in result.tensors if row.decibels != math.inf]
        if result.folded:
            console.print(f"compared with the original, {result.folded} BatchNormalizations of it folded likewise:")
        if result.snapped:
            console.print(f"compared with the original, {result.snapped} weights of it rounded by its QuantizeLinears:")
        console.print(
            f"{len(result.tensors) - len(changed)} tensors are bit for bit the original's, {len(changed)} differ:"
        )
        if changed:
            console.print(_tensor_differences(result.worst_first))
    if result.outputs and result.drawn:
        shapes = ", ".join(
            f"{name} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape in result.input_shapes.items()
        )
        console.print(f"on drawn inputs, no real samples (give these with --data): {escape(shapes)}")
    elif result.outputs:
        console.print("on the samples of --data:")
    if result.checker:
        console.print(f"onnx.checker refuses it as it does the original: {escape(result.checker)}")
    for output in result.outputs:
        console.print(f"output {escape(output.output)}: {_difference(output, 'drawn' if result.drawn else '')}")


def _tensor_differences(rows: "list[TensorDifference]") -> Table:
    """Signal to error of each tensor, those that come off worst first."""
    table = Table(
        title="signal to error, in dB; worst first, by the lower of two", title_justify="left", box=None, pad_edge=False
    )
    for head in ("all weights", "typical ones", "worst row"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("tensor", overflow="fold")
    for row in rows:
        figures = (row.decibels, row.typical, row.worst_row)
        table.add_row(*("" if each is None else f"{each:.1f}" for each in figures), escape(row.name))
    return table


def _difference(output: "OutputDifference", kind: str) -> str:
    """How an output differs; `kind` is that of the samples."""
    if not output.samples:
        return "nothing to compare"
    if output.decibels == math.inf:
        return f"equal; {output.describe(kind)}"
    if output.decibels == -math.inf or output.measure in ("label", "entries", "rows"):  # whose distances mean nothing
        return output.describe(kind)
    return f"{output.decibels:.1f} dB, largest difference {output.largest:.3g}; {output.describe(kind)}"


def _percent(part: float | None, whole: float) -> str:
    return f"{100 * part / whole:.2f} %" if part is not None and whole else ""
