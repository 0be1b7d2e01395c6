"""`dcz verify`"""

import click

from .common import FILE, SHARE, as_json, check_minimum, option_with_aliases, print_json, threads, warn


@click.command("verify")
@click.argument("file", type=FILE)
@click.option("--deep", is_flag=True, help="Decode with a second Huffman engine too, and have onnx.checker look.")
@click.option("--against", type=FILE, metavar="MODEL.ONNX", help="Compare tensors and outputs with this model.")
@option_with_aliases(
    "--data",
    aliases=("--inputs",),
    type=FILE,
    metavar="X.NPZ",
    help="Samples to compare on, an array for each input by name; default: seeded random ones.",
)
@click.option(
    "--min-agreement", type=SHARE, metavar="P%", help="Fail below this percentage of equal top classes, such as 98%."
)
@click.option("--output", metavar="NAME", help="The output that --min-agreement looks at; default: all.")
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
    threads: int | None,
    as_json: bool,
) -> None:
    """Check every checksum of the .dcz file FILE, and decode all of it.

    \b
    Example:
      dcz verify model.dcz
      dcz verify model.dcz --deep --against model.onnx --data samples.npz --min-agreement 98%
    """
    from ..arguments import as_percent
    from ..errors import InvalidArgument
    from ..evaluation.verify import verify
    from . import show

    if against is None and (data is not None or min_agreement is not None):
        raise InvalidArgument("--data and --min-agreement compare with a model: give --against MODEL.onnx too")
    check_minimum("--min-agreement", min_agreement)
    result = verify(file, deep=deep, against=against, inputs=data, threads=threads)
    print_json(result.to_dict()) if as_json else show.verified(result)
    if result.note:
        warn(result.note)
    if min_agreement is None:
        return
    compared = [row for row in result.outputs if output in (None, row.output)]
    agreement = [row.agreement for row in compared if row.agreement is not None]
    if not agreement:
        raise InvalidArgument("--min-agreement: the model has no output of that name with classes to compare")
    if min(agreement) < min_agreement:
        click.echo(f"dcz: agreement {as_percent(min(agreement))} is below {as_percent(min_agreement)}", err=True)
        ctx.exit(1)
