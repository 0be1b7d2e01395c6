"""`dcz verify`"""

import click

from .common import FILE, as_json, print_json, threads, warn


@click.command("verify")
@click.argument("file", type=FILE)
@click.option("--deep", is_flag=True, help="Decode with a second Huffman engine too, and have onnx.checker look.")
@click.option("--against", type=FILE, metavar="MODEL.ONNX", help="Compare tensors and outputs with this model.")
@click.option(
    "--inputs", type=FILE, metavar="X.NPZ", help="Inputs to compare on, by name; default: seeded random ones."
)
@click.option("--min-agreement", type=float, metavar="F", help="Fail below this share of equal top classes.")
@click.option("--output", metavar="NAME", help="The output that --min-agreement looks at; default: all.")
@threads
@as_json
@click.pass_context
def command(ctx, file, deep, against, inputs, min_agreement, output, threads, as_json) -> None:
    """Check every checksum of the .dcz file FILE, and decode all of it.

    \b
    Example:
      dcz verify model.dcz
      dcz verify model.dcz --deep --against model.onnx --inputs samples.npz --min-agreement 0.98
    """
    from ..errors import BadPlan
    from ..evaluation.verify import verify
    from . import show

    if against is None and (inputs is not None or min_agreement is not None):
        raise BadPlan("--inputs and --min-agreement compare with a model: give --against MODEL.onnx too")
    if min_agreement is not None and not 0 <= min_agreement <= 1:
        raise BadPlan(f"--min-agreement is a share from 0 to 1, not {min_agreement}")
    result = verify(file, deep=deep, against=against, inputs=inputs, threads=threads)
    print_json(result.to_dict()) if as_json else show.verified(result)
    if result.note:
        warn(result.note)
    if min_agreement is None:
        return
    agreement = [o.agreement for o in result.outputs if o.agreement is not None and output in (None, o.output)]
    if not agreement:
        raise BadPlan("--min-agreement: the model has no output of that name with classes to compare")
    if min(agreement) < min_agreement:
        click.echo(f"dcz: agreement {min(agreement):.4f} is below {min_agreement:g}", err=True)
        ctx.exit(1)
