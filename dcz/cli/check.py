"""`dcz check`"""

import click

from .common import FILE, as_json, print_json


@click.command("check")
@click.argument("file", type=FILE)
@click.option("--max-size", metavar="SIZE", help="Most bytes that FILE may have: 7MB, 1.5MiB, 700000.")
@click.option(
    "--min-ratio", type=click.FloatRange(min=0, max=1e9), metavar="R", help="How many times smaller than its source."
)
@as_json
@click.pass_context
def command(ctx: click.Context, file: str, max_size: str | None, min_ratio: float | None, as_json: bool) -> None:
    """Hold FILE (.dcz or .onnx) against a size budget: exit code 0 where it holds, 1 where it is missed.

    \b
    Example:
      dcz check model.dcz --max-size 7MB --min-ratio 30
    """
    from ..reading.check import check
    from . import show

    verdict = check(file, max_size=max_size, min_ratio=min_ratio)
    print_json(verdict.to_dict()) if as_json else show.verdict(verdict)
    ctx.exit(0 if verdict.holds else 1)
