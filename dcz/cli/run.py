"""`dcz run`"""

import click

from .common import FILE, as_json, force, is_quiet, max_bytes_option, print_json, printable, size, threads
from .sample_options import batch_axis_option, data_option, ops_option
from .sections import sectioned

SECTIONS = {
    "Samples": ("data", "batch_axis", "first"),
    "Result": ("output", "force"),
    "Run": ("ops", "max_bytes", "threads"),
}


@click.command("run", cls=sectioned(SECTIONS))
@click.argument("file", type=FILE)
@data_option(True, "Samples")
@batch_axis_option
@click.option("-o", "--output", type=FILE, metavar="Y.NPZ", help="Write the outputs, an array for each by name.")
@click.option("--first", type=click.IntRange(1), metavar="N", help="Only the first N samples.")
@ops_option
@max_bytes_option
@threads
@as_json
@force
def command(
    file: str,
    data: str,
    batch_axis: dict[str, int | None] | None,
    output: str | None,
    first: int | None,
    max_bytes: str | None,
    threads: int | None,
    as_json: bool,
    force: bool,
) -> None:
    """Run FILE (.dcz or .onnx) on samples, and show what it answers.

    A quick look: the shape of each output, its range, and the top classes of the first samples where it has classes.
    How good the answers are is for `dcz evaluate`. A .dcz is decoded in memory.

    \b
    Example:
      dcz run model.dcz --data samples.npz
      dcz run model.dcz --data samples.npz --first 100 -o answers.npz
    """
    from ..evaluation.answers import look
    from ..evaluation.given import existing_files
    from ..files import check_output

    if output is not None:
        check_output(output, force, inputs=existing_files(file, data))
    found = look(file, data, batch_axis=batch_axis, first=first, threads=threads, max_bytes=max_bytes)
    if output is not None:
        found.save(output)
    if as_json:
        print_json(found.to_dict() | {"output": output})
        return
    from . import show_run

    if not is_quiet() or output is None:
        show_run.answers(found, is_quiet())
    if output is not None and not is_quiet():
        from pathlib import Path

        click.echo(f"{printable(output)}: {size(Path(output).stat().st_size)}")
