"""What the commands share: types of options, options, progress, JSON."""

import contextlib
import json
import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from ..arguments import as_percent, parse_share
from ..display import work
from ..errors import InvalidArgument
from ..text import printable, size

__all__ = [
    "FILE", "SHARE", "FilePath", "OptionWithAliases", "Share", "add_verbosity", "as_json", "check_minimum",
    "finite", "force", "is_quiet", "is_verbose", "labels_option", "min_agreement", "no_fold_option",
    "option_with_aliases", "plan_option", "print_json", "printable", "progress", "quiet_option", "size",
    "threads", "warn",
]  # fmt: skip

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class FilePath(click.ParamType):
    """A path to a file. `-` is refused: streams.FileOrStream is for what may be a stream."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path, unless it is `-`."""
        if value == "-":
            self.fail(
                "standard input and output cannot be used here; name a file (./- for one that is called -)", param, ctx
            )
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Let the shell complete file names."""
        return [CompletionItem(incomplete, type="file")]


class Share(click.ParamType):
    """A share, written as a percentage: 98% is 0.98, and a number without % is the share itself (0.98).

    With `bare_is_percent`, a number without % is percent. What range it may have is checked where it is used.
    """

    name = "percentage"

    def __init__(self, bare_is_percent: bool = False):
        self.bare_is_percent = bare_is_percent

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The share as a number."""
        if isinstance(value, float):
            return value
        try:
            return parse_share(value, self.bare_is_percent)
        except InvalidArgument as error:
            self.fail(str(error), param, ctx)


class OptionWithAliases(click.Option):
    """An option with `aliases`: older spellings, which work and which no help shows."""

    def __init__(self, *names: Any, aliases: tuple[str, ...], **attributes: Any):
        super().__init__(*names, **attributes)
        self.aliases = aliases

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Let the parser know all spellings; `opts`, which the help lists, has only the new ones."""
        super().add_to_parser(parser, ctx)
        parser.add_option(obj=self, opts=self.aliases, dest=self.name, action="store", nargs=self.nargs)


def option_with_aliases(*names: str, aliases: tuple[str, ...], **attributes: Any) -> Callable[[Decorated], Decorated]:
    """click.option with spellings that are hidden: option_with_aliases("--plan", aliases=("--config",), ...)."""
    return click.option(*names, cls=OptionWithAliases, aliases=aliases, **attributes)


def check_minimum(option: str, share: float | None) -> None:
    """Raise InvalidArgument unless the option's share is one from 0 to 1, or None."""
    if share is not None and not 0 <= share <= 1:
        text = f"{option} is a percentage from 0% to 100%, or a share from 0 to 1, not {as_percent(share)}"
        raise InvalidArgument(text)


FILE = FilePath()
SHARE = Share()
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
threads = click.option("--threads", type=click.IntRange(1, 1024), metavar="N", help="Threads; default: all cores.")
plan_option = option_with_aliases(
    "--plan",
    aliases=("--config",),
    type=FILE,
    metavar="PLAN.TOML",
    help="Rules by tensor name; options change its defaults.",
)
no_fold_option = click.option(
    "--no-fold", is_flag=True, help="Leave BatchNormalizations apart from the layers before them."
)
labels_option = click.option(
    "--labels", metavar="Y", help="The true classes: an array of X.NPZ, or an .npy or .npz file."
)
max_bytes_option = click.option(
    "--max-bytes",
    metavar="SIZE",
    help="Refuse a .dcz that decodes to more, before decoding: 2GB, 500MiB; default: 50MB, or 1024 times the file.",
)
QUIET, VERBOSE = "dcz.quiet", "dcz.verbose"  # in the context's meta
_HELP = {
    "quiet": "No progress, and of the result only what matters most.",
    "verbose": "Show all there is; of a fault of dcz itself, also where in dcz it was.",
}
force = click.option("--force", "-f", is_flag=True, help="Replace an output file that exists.")


def _keep(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    """Note what was asked for, for is_quiet and is_verbose."""
    ctx.meta[QUIET if param.name == "quiet" else VERBOSE] = value
    if ctx.meta.get(QUIET) and ctx.meta.get(VERBOSE):
        raise InvalidArgument("give -q or -v, not both")
    return value


quiet_option = click.option("-q", "--quiet", is_flag=True, is_eager=True, callback=_keep, help=_HELP["quiet"])


def add_verbosity(command: click.Command) -> click.Command:
    """Change `command`: give it -q and -v, if it has none; see is_quiet and is_verbose."""
    for name, text in _HELP.items():
        if not any(param.name == name for param in command.params):
            option = click.Option(
                [f"-{name[0]}", f"--{name}"], is_flag=True, is_eager=True, expose_value=False, callback=_keep, help=text
            )
            command.params.append(option)
    return command


def is_quiet() -> bool:
    """Whether the command that runs was given -q."""
    ctx = click.get_current_context(silent=True)
    return ctx is not None and bool(ctx.meta.get(QUIET))


def is_verbose() -> bool:
    """Whether the command that runs was given -v."""
    ctx = click.get_current_context(silent=True)
    return ctx is not None and bool(ctx.meta.get(VERBOSE))


def print_json(value: Any) -> None:
    """Print plain values as JSON to stdout."""
    click.echo(json.dumps(finite(value), indent=2, allow_nan=False))


def finite(value: Any) -> Any:
    """JSON knows no infinities and no NaN: they become null."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def warn(message: str) -> None:
    """Print a warning to stderr."""
    work.say(f"dcz: warning: {printable(message)}")


@contextlib.contextmanager
def progress(verb: str, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A progress callback (name, done, total) that shows one line of work on stderr, unless -q: see `work`."""
    with work.shown(work.Work(verb), quiet or is_quiet()) as shown:
        yield shown.report


min_agreement = click.option(
    "--min-agreement",
    type=SHARE,
    metavar="P%",
    help="Fail below this percentage of equal answers, such as 98%; of embeddings it is the mean cosine, of other "
    "numbers 100% less the relative error.",
)


def beside(path: str, suffix: str) -> str:
    """The name of an output that was given none: that of the input, with another suffix. Raises FileAccess where the
    input has no name, as where a shell's variable was empty."""
    from pathlib import Path

    from ..errors import FileAccess

    if not Path(path).name:
        raise FileAccess(f"{path!r}: is no file: give the path of one")
    return str(Path(path).with_suffix(suffix))
