"""`dcz report`"""

import click

from .common import (
    FILE,
    as_json,
    beside,
    force,
    is_quiet,
    max_bytes_option,
    print_json,
    printable,
    progress,
    size,
    threads,
)
from .sample_options import batch_axis_option, check_batch_axis, data_option, ops_option
from .sections import sectioned

SECTIONS = {
    "Result": ("output", "force"),
    "What is measured": ("against", "data", "batch_axis"),
    "Run": ("ops", "threads", "max_bytes"),
}


@click.command("report", cls=sectioned(SECTIONS))
@click.argument("file", type=FILE)
@click.option("-o", "--output", type=FILE, help="The HTML file; default: FILE with the suffix .html.")
@click.option("--against", type=FILE, metavar="MODEL.ONNX", help="The model that FILE was made from: errors by layer.")
@data_option(False, "Samples, for what the answers are worth, and which changed")
@batch_axis_option
@ops_option
@max_bytes_option
@threads
@as_json
@force
def command(
    file: str,
    output: str | None,
    against: str | None,
    data: str | None,
    batch_axis: dict[str, int | None] | None,
    max_bytes: str | None,
    threads: int | None,
    as_json: bool,
    force: bool,
) -> None:
    """Write one page that shows where the bytes of FILE (.dcz or .onnx) are, and what they are worth.

    The page stands alone: it needs no network, can be read without JavaScript, printed and mailed.

    \b
    Example:
      dcz report model.dcz --against model.onnx --data samples.npz -o report.html
    """
    from pathlib import Path

    from ..reporting import report

    check_batch_axis(batch_axis, data)
    output = output or beside(file, ".html")
    with progress("measuring") as callback:
        report(
            file, output, against=against, data=data, batch_axis=batch_axis, threads=threads, progress=callback,
            max_bytes=max_bytes, force=force,
        )  # fmt: skip
    nbytes = Path(output).stat().st_size
    if as_json:
        print_json({"output": output, "bytes": nbytes})
    elif not is_quiet():
        click.echo(f"{printable(output)}: {size(nbytes)}")
