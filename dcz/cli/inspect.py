"""`dcz inspect`"""

import click

from .common import FILE, as_json, print_json


@click.command("inspect")
@click.argument("file", type=FILE)
@click.option("--histogram", metavar="PATTERN", help="Draw the shared values of the tensors whose names match.")
@as_json
def command(file: str, histogram: str | None, as_json: bool) -> None:
    """Show where the bytes of FILE (.dcz or .onnx) go. Nothing is decoded.

    \b
    Example:
      dcz inspect model.dcz
      dcz inspect model.dcz --histogram 'fc*'
    """
    from ..errors import InvalidArgument
    from ..format.container import is_dcz
    from ..reading.inspect import histogram as code_shares
    from ..reading.inspect import inspect
    from . import show

    if histogram is not None:
        if not is_dcz(file):
            raise InvalidArgument("--histogram shows shared values, which only .dcz files have")
        shares = code_shares(file, histogram)
        print_json(shares) if as_json else show.histograms(shares)
        return
    result = inspect(file)
    print_json(result.to_dict()) if as_json else show.inspected(result)
