"""What the commands share: types of options, options, progress, JSON."""

import contextlib
import json
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from ..arguments import as_percent, parse_share
from ..errors import InvalidArgument
from ..text import printable as printable  # told here, too, to the commands
from ..text import size as size

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class FilePath(click.ParamType):
    """A path to a file. `-` is refused: dcz reads at random places and replaces files whole, which no pipe allows."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path, unless it is `-`."""
        if value == "-":
            self.fail(
                "standard input and output cannot be used; name a file (./- for one that is called -)", param, ctx
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
data_option = click.option(
    "--data", type=FILE, required=True, metavar="X.NPZ", help="Samples, an array for each input by name; or one .npy."
)
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
quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress, and of the result only the last line.")
labels_option = click.option(
    "--labels", metavar="Y", help="The true classes: an array of X.NPZ, or an .npy or .npz file."
)
max_bytes_option = click.option(
    "--max-bytes",
    metavar="SIZE",
    help="Refuse a .dcz that decodes to more, before decoding: 2GB, 500MiB; default: 1 GiB, or 1024 times the file.",
)
force = click.option("--force", "-f", is_flag=True, help="Replace an output file that exists.")


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
    click.echo(f"dcz: warning: {printable(message)}", err=True)


@contextlib.contextmanager
def progress(verb: str, quiet: bool = False, samples: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A progress callback for stderr: a bar with the tensor's name on a terminal, else a line each tenth of the way.

    Counts bytes, or `samples`.
    """
    if quiet:
        yield lambda name, done, total: None
        return
    if not sys.stderr.isatty():
        yield _Lines(verb)
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(verb),
        BarColumn(),
        MofNCompleteColumn() if samples else DownloadColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[tensor]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(verb, total=None, tensor="")
        yield lambda name, done, total: bar.update(task, completed=done, total=total, tensor=escape(printable(name)))


class _Lines:
    """A progress callback that prints a line each tenth of the way."""

    def __init__(self, verb: str):
        self.verb, self.tenth = verb, 0
        self.total: int | None = None

    def __call__(self, name: str, done: int, total: int) -> None:
        if total != self.total:  # another part of the work
            self.tenth, self.total = 0, total
        tenth = 10 * done // total if total else 10
        if tenth > self.tenth:
            self.tenth = tenth
            click.echo(f"{self.verb} {10 * tenth:3d} %  {printable(name)}", err=True)


min_agreement = click.option(
    "--min-agreement",
    type=SHARE,
    metavar="P%",
    help="Fail below this percentage of equal answers, such as 98%; of embeddings it is the mean cosine, of other "
    "numbers 100% less the relative error.",
)
