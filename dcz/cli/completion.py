"""`dcz completion`"""

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print a script that completes dcz's commands and options in SHELL.

    \b
    Example:
      eval "$(dcz completion bash)"
      dcz completion fish > ~/.config/fish/completions/dcz.fish
    """
    from click.shell_completion import get_completion_class

    from . import cli

    shell_class = get_completion_class(shell)
    assert shell_class is not None  # each of the choices is one that click knows
    click.echo(shell_class(cli, {}, "dcz", "_DCZ_COMPLETE").source())
