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
from .sections import sectioned

SECTIONS = {
    "Result": ("output", "force"),
    "What is measured": ("against", "data"),
    "Run": ("threads", "max_bytes"),
}


@click.command("report", cls=sectioned(SECTIONS))
@click.argument("file", type=FILE)
@click.option("-o", "--output", type=FILE, help="The HTML file; default: FILE with the suffix .html.")
@click.option("--against", type=FILE, metavar="MODEL.ONNX", help="The model that FILE was made from: errors by layer.")
@click.option("--data", type=FILE, metavar="X.NPZ", help="Samples: what the answers are worth, and which changed.")
@max_bytes_option
@threads
@as_json
@force
def command(
    file: str,
    output: str | None,
    against: str | None,
    data: str | None,
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

    output = output or beside(file, ".html")
    with progress("measuring") as callback:
        report(
            file, output, against=against, data=data, threads=threads, progress=callback, max_bytes=max_bytes,
            force=force,
        )  # fmt: skip
    nbytes = Path(output).stat().st_size
    if as_json:
        print_json({"output": output, "bytes": nbytes})
    elif not is_quiet():
        click.echo(f"{printable(output)}: {size(nbytes)}")
