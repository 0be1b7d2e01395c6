"""Help in sections: of a command with many options, and of the commands themselves."""

import importlib
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import ClassVar

import click

from ..errors import INTERNAL, exit_code
from .common import VERBOSE, add_verbosity

# How a command ends that is no fault of ours: by what it found, wrong usage, an interrupt, or a closed pipe.
_NO_FAULTS = (click.exceptions.Exit, click.ClickException, click.Abort, OSError)
Sections = Mapping[str, Sequence[str]]  # names of parameters, or of commands, by heading


class SectionedCommand(click.Command):
    """A command whose help lists its many options under headings; those that `sections` leaves out come last."""

    sections: ClassVar[Sections] = {}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse a command line; a value that is empty, as that of a shell's variable may be, is wrong usage. So is an
        option that a file here is called, as wildcards and hooks hand out the names of files that anyone may choose."""
        for arg in itertools.takewhile("--".__ne__, args):
            if arg.startswith("-") and arg != "-" and os.path.lexists(arg):
                raise click.UsageError(f"{arg!r} is an option, and a file here is called so: write ./{arg} for it", ctx)
        rest = super().parse_args(ctx, args)
        for param in self.params:
            value = ctx.params.get(param.name or "")
            if "" in (value if isinstance(value, tuple) else (value,)):
                raise click.UsageError(f"the value of {param.get_error_hint(ctx)} is empty", ctx)
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        pairs = [(param.name, param.get_help_record(ctx)) for param in options]
        records = [(name, record) for name, record in pairs if record is not None]
        for title, names in self.sections.items():
            with formatter.section(title):  # several options may have one name: --json and --csv, say
                formatter.write_dl([record for name in names for known, record in records if known == name])
        known = {name for names in self.sections.values() for name in names}
        with formatter.section("Output"):
            formatter.write_dl([record for name, record in records if name not in known])


def sectioned(sections: Sections) -> type[SectionedCommand]:
    """The class of a command with these sections: click.command(cls=sectioned({"Data": ("data", "labels")}))."""
    return type("Sectioned", (SectionedCommand,), {"sections": sections})


class CommandGroup(click.Group):
    """Commands in `groups`, with what they do, each a module of `package` that is imported when it is used."""

    groups: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    package: ClassVar[str] = ""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the help."""
        return [name for names in self.groups.values() for name in names]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of this name."""
        if name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f".{name}", self.package).command
        return add_verbosity(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments begin with; one that does not exist is told with what it may have meant."""
        name = args[0]
        if name.startswith("-") or name in self.list_commands(ctx):
            return super().resolve_command(ctx, args)
        import difflib

        near = difflib.get_close_matches(name.lower(), self.list_commands(ctx), n=2, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise click.UsageError(f"there is no command {name!r}{hint}", ctx)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; with -v, a fault of dcz itself is shown with the place where it was."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if ctx.meta.get(VERBOSE) and exit_code(error) == INTERNAL and not isinstance(error, _NO_FAULTS):
                import traceback

                traceback.print_exception(error)
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each command does, group by group, and cut nothing off."""
        longest = max(map(len, self.list_commands(ctx)))
        for title, commands in self.groups.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(longest), does) for name, does in commands.items()])
