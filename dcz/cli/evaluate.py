"""`dcz evaluate`"""

from typing import TYPE_CHECKING

import click

from ..text import counted
from .common import (
    FILE,
    SHARE,
    as_json,
    check_minimum,
    is_quiet,
    labels_option,
    max_bytes_option,
    min_agreement,
    print_json,
    printable,
    progress,
    threads,
    warn,
)
from .sample_options import batch_axis_option, data_option, measure_option, ops_option
from .sections import sectioned

if TYPE_CHECKING:
    from ..evaluation.chosen_measures import AnyMeasure
    from ..evaluation.evaluate import Evaluation

NAME = 40  # columns of a path, at most


SECTIONS = {
    "Samples": ("data", "batch_axis", "labels", "batch_size"),
    "Comparison": ("against", "output", "measure"),
    "Limits": ("min_top1", "min_agreement"),
    "Run": ("ops", "max_bytes", "threads"),
}


@click.command("evaluate", cls=sectioned(SECTIONS))
@click.argument("file", type=FILE)
@data_option(True, "Samples")
@batch_axis_option
@labels_option
@click.option("--against", type=FILE, metavar="MODEL", help="Compare with the answers of this .dcz or .onnx.")
@click.option(
    "--output",
    metavar="NAME",
    help="The output to look at; default: the first with rows of classes, or other answers.",
)
@measure_option
@click.option("--batch-size", type=click.IntRange(1), metavar="N", help="Samples a run; default 32.")
@click.option(
    "--min-top1", type=SHARE, metavar="P%", help="Fail below this percentage of right top classes, such as 98.5%."
)
@min_agreement
@ops_option
@max_bytes_option
@threads
@as_json
@click.pass_context
def command(
    ctx: click.Context,
    file: str,
    data: str,
    batch_axis: dict[str, int | None] | None,
    labels: str | None,
    against: str | None,
    output: str | None,
    measure: "AnyMeasure | None",
    batch_size: int | None,
    min_top1: float | None,
    min_agreement: float | None,
    max_bytes: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Count how often FILE (.dcz or .onnx) is right on labelled samples, or agrees with another model.

    Samples lie along the first axis of each array. Numbers are cast to what an input wants (pixels of 0 to 255 stay
    that); axes are never moved. A label is the number of its class, from 0.

    \b
    Example:
      dcz evaluate model.dcz --data test.npz --labels y --min-top1 98.5%
      dcz evaluate model.dcz --data test.npz --against model.onnx --json
    """
    from ..arguments import as_percent
    from ..errors import InvalidArgument
    from ..evaluation.evaluate import evaluate

    gates = [("top1", "--labels", labels, min_top1), ("agreement", "--against", against, min_agreement)]
    fields = {"top1": "top1", "agreement": "score"}
    for name, option, reference, minimum in gates:
        if minimum is not None and reference is None:
            raise InvalidArgument(f"--min-{name} needs something to compare with: give {option} too")
        check_minimum(f"--min-{name}", minimum)
    with progress("evaluating") as report:
        result = evaluate(
            file, data, labels, against, batch_axis=batch_axis, output=output, measure=measure,
            batch_size=batch_size, threads=threads, progress=report, max_bytes=max_bytes,
        )  # fmt: skip
    print_json(result.to_dict()) if as_json else click.echo(_text(result))
    if result.unanswered:
        warn(
            f"{result.path}: no finite answer for {result.unanswered} of "
            f"{counted(result.samples, 'sample')}; they count as wrong"
        )
    measured = [(name, getattr(result, fields[name]), minimum) for name, _, _, minimum in gates if minimum is not None]
    missed = [(name, share, minimum) for name, share, minimum in measured if share < minimum]
    for name, share, minimum in missed:
        of = "" if name == "top1" or result.measure == "top class" else f", by {result.measure}"
        click.echo(f"dcz: failed: {name} {as_percent(share)} is below {as_percent(minimum)}{of}", err=True)
    ctx.exit(1 if missed else 0)


def _text(result: "Evaluation") -> str:
    from ..evaluation.words import figures
    from .terminal import shorten

    rows = figures(result, shorten(result.against or "", NAME))
    of = f" of {counted(result.classes, 'class', 'classes')}" if result.classes else ""
    output = shorten(result.output, NAME // 2)
    head = f"{shorten(result.path, NAME)}: {counted(result.samples, 'sample')}, output {output}{of}"
    if is_quiet():
        return f"{rows[0][0]} {printable(rows[0][1])}"
    return "\n".join([printable(head), *(f"  {name + ' ':<12}{printable(text)}" for name, text in rows)])
