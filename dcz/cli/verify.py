"""`dcz verify`"""

import re

import click

from .common import (
    FILE,
    as_json,
    check_minimum,
    is_quiet,
    is_verbose,
    max_bytes_option,
    min_agreement,
    option_with_aliases,
    print_json,
    printable,
    threads,
    warn,
)
from .sections import sectioned

SECTIONS = {
    "How deep": ("deep", "sha256"),
    "Comparison": ("against", "data", "min_agreement", "output"),
    "Run": ("max_bytes", "threads"),
}


@click.command("verify", cls=sectioned(SECTIONS))
@click.argument("file", type=FILE)
@click.option("--deep", is_flag=True, help="Decode with a second Huffman engine too, and have onnx.checker look.")
@click.option("--against", type=FILE, metavar="MODEL.ONNX", help="Compare tensors and outputs with this model.")
@option_with_aliases(
    "--data",
    aliases=("--inputs",),
    type=FILE,
    metavar="X.NPZ",
    help="Samples to compare on, an array for each input by name; default: drawn ones, which say little.",
)
@min_agreement
@click.option(
    "--output", metavar="NAME", help="The output that --min-agreement looks at; default: those of answers, or all."
)
@click.option("--sha256", metavar="HASH", help="Fail unless FILE has this SHA-256, before anything of it is read.")
@max_bytes_option
@threads
@as_json
@click.pass_context
def command(
    ctx: click.Context,
    file: str,
    deep: bool,
    against: str | None,
    data: str | None,
    min_agreement: float | None,
    output: str | None,
    sha256: str | None,
    max_bytes: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Check every checksum of the .dcz file FILE, and decode all of it.

    \b
    Example:
      dcz verify model.dcz
      dcz verify model.dcz --deep --against model.onnx --data samples.npz
      dcz verify model.dcz --against model.onnx --data samples.npz \\
        --min-agreement 98%
    """
    from ..arguments import as_percent
    from ..errors import InvalidArgument
    from ..evaluation.differences import judged
    from ..evaluation.verify import verify
    from . import show

    if against is None and (data is not None or min_agreement is not None):
        raise InvalidArgument("--data and --min-agreement compare with a model: give --against MODEL.onnx too")
    check_minimum("--min-agreement", min_agreement)
    if sha256 is not None:
        from ..files import sha256 as digest

        if not re.fullmatch(r"\s*[0-9a-fA-F]{64}\s*", sha256):
            raise InvalidArgument(f"--sha256 is 64 hexadecimal digits, as `sha256sum FILE` prints them, not {sha256!r}")
        found = digest(file)
        if found != sha256.strip().lower():
            click.echo(f"dcz: {printable(file)}: has the SHA-256 {found}, not the one given", err=True)
            ctx.exit(1)
    result = verify(file, deep=deep, against=against, inputs=data, threads=threads, max_bytes=max_bytes)
    print_json(result.to_dict()) if as_json else show.verified(result, is_quiet(), is_verbose())
    if result.note:
        warn(result.note)
    if min_agreement is None:
        return
    compared = judged([row for row in result.outputs if output in (None, row.output)])
    if not compared:
        raise InvalidArgument("--min-agreement: the model has no output of that name with answers to compare")
    scores = [(row.score, row) for row in compared if row.score is not None]
    if len(scores) < len(compared):
        name = next(row.output for row in compared if row.score is None)
        text = f"the original's own answers in output {name!r} hardly vary on drawn inputs: give samples with --data"
        raise InvalidArgument(f"--min-agreement: {text}")
    if result.drawn:
        warn("--min-agreement judges by drawn inputs, which are no real samples: give these with --data")
    score, worst = min(scores, key=lambda pair: pair[0])
    if score < min_agreement:
        shares = f"{as_percent(score)} is below {as_percent(min_agreement)}"
        inputs = "drawn" if result.drawn else "given"
        where = f"{worst.measure} of output {worst.output!r}, {worst.samples} on {inputs} inputs"
        click.echo(f"dcz: failed: agreement {shares}: {printable(where)}", err=True)
        ctx.exit(1)
