"""`dcz verify`"""

import click

from .common import FILE, as_json, print_json, threads


@click.command("verify")
@click.argument("file", type=FILE)
@click.option("--deep", is_flag=True, help="Decode with a second Huffman engine too, and have onnx.checker look.")
@click.option("--against", type=FILE, metavar="MODEL.ONNX", help="Compare tensors and outputs with this model.")
@click.option(
    "--inputs", type=FILE, metavar="X.NPZ", help="Inputs to compare on, by name; default: seeded random ones."
)
@click.option(
    "--min-agreement", type=click.FloatRange(0, 1), metavar="F", help="Fail below this share of equal top classes."
)
@threads
@as_json
@click.pass_context
def command(ctx, file, deep, against, inputs, min_agreement, threads, as_json) -> None:
    """Check every checksum of the .dcz file FILE, and decode all of it.

    \b
    Example:
      dcz verify model.dcz
      dcz verify model.dcz --deep --against model.onnx --inputs samples.npz --min-agreement 0.98
    """
    from .. import verification
    from ..errors import BadPlan
    from . import show

    if against is None and (inputs is not None or min_agreement is not None):
        raise BadPlan("--inputs and --min-agreement compare with a model: give --against MODEL.onnx too")
    result = verification.verify(file, deep=deep, against=against, inputs=inputs, threads=threads)
    print_json(result.to_dict()) if as_json else show.verified(result)
    agreement = [output.agreement for output in result.outputs if output.agreement is not None]
    if min_agreement is not None and not agreement:
        raise BadPlan("--min-agreement: the model has no output with classes to compare")
    if min_agreement is not None and min(agreement) < min_agreement:
        click.echo(f"dcz: agreement {min(agreement):.4f} is below {min_agreement:g}", err=True)
        ctx.exit(1)
