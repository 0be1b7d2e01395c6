"""`dcz diff`"""

import click

from .common import FILE, max_bytes_option, print_json, progress, quiet_option, threads
from .sections import sectioned

SECTIONS = {
    "What is compared": ("data", "exit_code"),
    "What is shown": ("largest", "form"),
    "Run": ("threads", "max_bytes"),
}


@click.command("diff", cls=sectioned(SECTIONS))
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@click.option(
    "-n", "largest", type=click.IntRange(0), default=20, metavar="N", help="Rows to show; default 20, 0: all."
)
@click.option("--data", type=FILE, metavar="X.NPZ", help="Samples on which to compare the answers, too.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 where anything differs, as git diff does.")
@click.option("--json", "form", flag_value="json", help="Print the result as JSON, all rows.")
@click.option("--markdown", "form", flag_value="markdown", help="Print a Markdown table.")
@click.option("--csv", "form", flag_value="csv", help="Print all rows as CSV.")
@max_bytes_option
@threads
@quiet_option
def command(
    old: str,
    new: str,
    largest: int,
    data: str | None,
    exit_code: bool,
    form: str | None,
    max_bytes: str | None,
    threads: int | None,
    quiet: bool,
) -> None:
    """Show what changed from the model OLD to NEW (.dcz or .onnx), tensor by tensor, the largest changes first.

    For each tensor: bytes in the file and once decoded, bits a weight, zeros, encoding, and how far its values are from
    the old ones, in decibels. Tensors that were renamed are found by their bytes.

    \b
    Example:
      dcz diff old.dcz new.dcz
      dcz diff model.onnx model.dcz --data samples.npz -n 5
      dcz diff old.dcz new.dcz --exit-code --markdown
    """
    from ..comparison import table
    from ..comparison.diff import diff
    from .check_output import width

    with progress("comparing", quiet) as report:
        found = diff(old, new, data=data, threads=threads, progress=report, max_bytes=max_bytes)
    shown = largest or None
    if form == "json":
        print_json(found.to_dict())
    elif form == "markdown":
        click.echo(table.markdown(found, shown), nl=False)
    elif form == "csv":
        click.echo(table.comma_separated(found), nl=False)
    else:
        click.echo(table.headline(found) if quiet else table.text(found, width(), shown))
    raise click.exceptions.Exit(1 if exit_code and found.differs else 0)
