"""`dcz help`"""

import click

EXIT_CODES = {
    "0": "success",
    "1": "a check failed: a budget is missed, models differ, too many answers are wrong or (--strict) may be",
    "2": "wrong usage: options, a plan, a size",
    "3": "the input is no ONNX model, or not a suitable one",
    "4": "the .dcz file is corrupt",
    "5": "the .dcz file is of a later version",
    "6": "a file cannot be read or written (the old output is untouched)",
    "7": "an optional package is missing",
    "8": "of several models, some failed, and not all for one of these reasons",
    "9": "worker processes died, or a cluster does not answer (the old output is untouched)",
    "70": "a fault of dcz itself; please report it (-v says where)",
    "71": "not enough memory (the old output is untouched)",
    "130": "interrupted (the old output is untouched); 143 where another program asked for it",
}
TOPICS = ("exit-codes",)


@click.command("help")
@click.argument("topic", required=False, metavar="[COMMAND|exit-codes]")
@click.pass_context
def command(ctx: click.Context, topic: str | None) -> None:
    """Show the help of a command, or what the exit codes mean.

    \b
    Example:
      dcz help compress
      dcz help exit-codes
    """
    group = ctx.find_root().command
    assert isinstance(group, click.Group)  # `dcz` itself
    if topic is None:
        click.echo(group.get_help(ctx.find_root()))
    elif topic == "exit-codes":
        click.echo(_exit_codes())
    else:
        name, found, _ = group.resolve_command(ctx, [topic])
        assert found is not None and name is not None  # else it has raised
        with click.Context(found, info_name=name, parent=ctx.find_root()) as of_command:
            click.echo(found.get_help(of_command))


def _exit_codes() -> str:
    """The exit codes, a line each, as wide as there is room."""
    formatter = click.Context(command).make_formatter()
    with formatter.section("Exit codes"):
        formatter.write_dl(list(EXIT_CODES.items()))
    return formatter.getvalue().rstrip("\n")
