"""`dcz completion`"""

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell) -> None:
    """Print a script that completes dcz's commands and options in SHELL.

    \b
    Example:
      eval "$(dcz completion bash)"
      dcz completion fish > ~/.config/fish/completions/dcz.fish
    """
    from click.shell_completion import get_completion_class

    from . import cli

    click.echo(get_completion_class(shell)(cli, {}, "dcz", "_DCZ_COMPLETE").source())
