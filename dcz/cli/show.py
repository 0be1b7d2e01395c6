"""Results for people: rich tables on stdout."""

from typing import TYPE_CHECKING

from rich.console import Group

from ..evaluation.verify import Verification
from ..evaluation.words import difference
from ..text import counted
from .terminal import Column, console, safe, shorten, table

if TYPE_CHECKING:
    from ..evaluation.tensor_differences import TensorDifference
    from ..tuning.sensitivity import Sensitivity

WORST = 20  # tensors that are shown, unless all are asked for


def sensitivity(result: "Sensitivity") -> None:
    """`dcz sensitivity`: a row a tensor, those that move the answers most first."""
    screen = console()
    tensor, weights, *tried, bits = result.columns()
    by_bits = len(result.rows[0].by_bits)
    columns = [Column(tensor, right=False, is_name=True), Column(weights, priority=3)]
    columns += [*_trials(tried[:by_bits]), *_trials(tried[by_bits:]), Column(bits)]
    title = f"nats that the answers move, each tensor alone ({counted(result.samples, 'sample')})"
    screen.print(table(columns, result.cells(), screen.width, title))


def _trials(heads: list[str]) -> list[Column]:
    """Columns of what was tried, of which those between the first and the last give way where there is little room."""
    return [Column(head, priority=0 if number in (0, len(heads) - 1) else 2) for number, head in enumerate(heads)]


def verified(result: Verification, quiet: bool = False, verbose: bool = False, brief: bool = False) -> None:
    """`dcz verify`: the worst tensors, with `verbose` all, with `brief` one; with `quiet`, the file and the outputs
    alone."""
    screen = console()
    engines = " and ".join(result.engines)
    text = f": intact; {counted(result.records, 'record')}, {result.decoded_bytes:,} bytes decoded with {engines}"
    screen.print(shorten(result.path, max(20, screen.width - len(text))) + text)
    if result.tensors and not quiet:
        changed, worst = result.changed, result.worst_first
        if result.folded:
            folded = counted(result.folded, "BatchNormalization")
            screen.print(f"compared with the original, {folded} of it folded likewise:")
        if result.snapped:
            snapped = counted(result.snapped, "weight")
            screen.print(f"compared with the original, {snapped} of it rounded by its QuantizeLinears:")
        exact = counted(len(result.tensors) - len(changed), "tensor is", "tensors are")
        differ = counted(len(changed), "differs", "differ")
        text = f"{exact} bit for bit the original's, {differ}"
        if worst and brief and not verbose:
            by = worst[0].decibels if worst[0].typical is None else min(worst[0].decibels, worst[0].typical)
            text += f"; worst, {by:.1f} dB: "
            screen.print(text + shorten(worst[0].name, max(20, screen.width - len(text))))
        else:
            screen.print(text + (":" if worst else ""))
        if worst and (verbose or not brief):
            screen.print(_tensor_differences(worst, screen.width, verbose))
            if dead := sum(row.dead_rows for row in changed):
                rows = f"{counted(dead, 'dead row')}, of weights and errors below 1/100,000 of other rows'"
                screen.print(f"worst rows are without {rows}")
        if corrected := len(changed) - len(worst):
            what = "a bias or the like, which" if corrected == 1 else "biases and the like, which"
            screen.print(f"{counted(corrected, 'other is', 'others are')} {what} calibration corrects for that")
    if result.outputs and result.drawn:
        shapes = ", ".join(
            f"{name} {'x'.join(map(str, shape)) or 'scalar'}"
            + (f" (all {result.constant_inputs[name]:g})" if name in result.constant_inputs else "")
            for name, shape in result.input_shapes.items()
        )
        screen.print(f"on drawn inputs, no real samples (give these with --data): {safe(shapes)}")
    elif result.outputs:
        screen.print("on the samples of --data:")
    if result.checker:
        screen.print(f"onnx.checker refuses it as it does the original: {safe(result.checker)}")
    for output in result.outputs:
        screen.print(f"output {safe(output.output)}: {difference(output, 'drawn' if result.drawn else '')}")


def _tensor_differences(rows: "list[TensorDifference]", width: int, show_all: bool) -> Group:
    """Signal to error of each tensor, those that come off worst first."""
    shown = rows if show_all or len(rows) <= WORST + 1 else rows[:WORST]
    columns = (Column("all weights"), Column("typical ones"), Column("worst row"), Column("tensor", False, 0, True))
    cells = [
        [*("" if each is None else f"{each:.1f}" for each in (row.decibels, row.typical, row.worst_row)), row.name]
        for row in shown
    ]
    cells += (
        [["", "", "", f"{counted(len(rows) - len(shown), 'other')} (-v shows them)"]] if len(shown) < len(rows) else []
    )
    return table(columns, cells, width, "signal to error, in dB; worst first, by the lower of two")
