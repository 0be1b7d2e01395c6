"""`dcz sensitivity`"""

from collections.abc import Callable
from typing import TypeVar

import click

from .common import FILE, as_json, force, no_fold_option, print_json, progress, threads, warn
from .sample_options import batch_axis_option, data_option, ops_option
from .sections import sectioned

Number = TypeVar("Number", int, float)


SECTIONS = {
    "Samples": ("data", "batch_axis", "samples"),
    "What is tried": ("bits", "sparsity"),
    "The plan": ("output", "force", "rate", "config"),
    "Which tensors": ("exclude", "no_fold"),
    "Run": ("ops", "threads"),
}


@click.command("sensitivity", cls=sectioned(SECTIONS))
@click.argument("model", type=FILE)
@data_option(True, "Samples without labels, some dozens", "--calibrate")
@batch_axis_option
@click.option(
    "--bits",
    default="2,3,4,6",
    metavar="B,B",
    show_default=True,
    help="Numbers of bits to share each tensor to, by k-means.",
)
@click.option(
    "--sparsity",
    default="50%,70%,90%",
    metavar="P%,P%",
    show_default=True,
    help="Percentages of weights to prune in each tensor.",
)
@click.option(
    "--samples", type=click.IntRange(1), default=64, metavar="N", show_default=True, help="How many inputs to use."
)
@click.option(
    "--rate", type=float, default=4.0, metavar="B", show_default=True, help="Bits a weight that the plan spends."
)
@click.option(
    "-o", "--output", type=FILE, metavar="PLAN.TOML", help="Write a rule for each tensor, for `compress --plan`."
)
@click.option("--plan", "output_by_old_name", type=FILE, hidden=True)
@click.option(
    "--config",
    type=FILE,
    metavar="PLAN.TOML",
    help="A plan whose rules and exclusions are left alone (not --plan, which here is an older name of -o).",
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave these tensors alone. May be repeated.")
@no_fold_option
@ops_option
@threads
@as_json
@force
def command(
    model: str,
    data: str,
    batch_axis: dict[str, int | None] | None,
    bits: str,
    sparsity: str,
    samples: int,
    rate: float,
    output: str | None,
    output_by_old_name: str | None,
    config: str | None,
    exclude: tuple[str, ...],
    no_fold: bool,
    threads: int | None,
    as_json: bool,
    force: bool,
) -> None:
    """Compress each tensor of MODEL alone, and show how far the answers move, in nats (0: not at all).

    With --output, write what to spend on each tensor so that a bit buys as much everywhere, to edit and pass on.

    \b
    Example:
      dcz sensitivity model.onnx --data samples.npz -o plan.toml
      dcz compress model.onnx --plan plan.toml
    """
    import os
    from dataclasses import replace

    from ..arguments import parse_share
    from ..errors import FileAccess
    from ..plan import Plan, load
    from ..tuning import sensitivity
    from . import show

    if output_by_old_name is not None:
        warn("--plan is now -o; the plan to read is --config")
        if os.path.exists(output_by_old_name):  # perhaps a plan that was to be read: not lost even with --force
            raise FileAccess(f"{output_by_old_name}: exists; read it by --config, or replace it by -o and --force")
        output = output or output_by_old_name
    plan = load(config) if config else Plan()
    with progress("measuring") as report:
        result = sensitivity.measure(
            model,
            data,
            batch_axis=batch_axis,
            bits=_numbers(bits, int, "2,3,4"),
            sparsities=_numbers(sparsity, parse_share, "50%,90%"),
            samples=samples,
            rate=rate,
            plan=replace(plan, exclude=plan.exclude + exclude, fold=plan.fold and not no_fold),
            output=output,
            force=force,
            threads=threads,
            progress=report,
        )
    print_json(result.to_dict()) if as_json else show.sensitivity(result)
    if result.note:
        warn(result.note)


def _numbers(text: str, parse: Callable[[str], Number], example: str) -> tuple[Number, ...]:
    """The numbers of a list that commas separate."""
    from ..errors import InvalidArgument

    try:
        return tuple(parse(part) for part in text.split(",") if part.strip())
    except (ValueError, InvalidArgument) as error:
        raise InvalidArgument(f"{text!r} is no list of numbers, such as {example}") from error
