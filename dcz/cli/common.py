"""What the commands share: options, progress, JSON."""

import contextlib
import json
import math
import sys
from collections.abc import Callable, Iterator

import click


class FilePath(click.ParamType):
    """A path to a file. `-` is refused: dcz reads at random places and replaces files whole, which no pipe allows."""

    name = "file"

    def convert(self, value, param, ctx) -> str:
        """The path, unless it is `-`."""
        if value == "-":
            self.fail(
                "standard input and output cannot be used; name a file (./- for one that is called -)", param, ctx
            )
        return value

    def shell_complete(self, ctx, param, incomplete) -> list:
        """Let the shell complete file names."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


FILE = FilePath()
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
threads = click.option("--threads", type=click.IntRange(1, 1024), metavar="N", help="Threads; default: all cores.")
data_option = click.option(
    "--data", type=FILE, required=True, metavar="X.NPZ", help="Samples, an array for each input by name; or one .npy."
)
labels_option = click.option(
    "--labels", metavar="Y", help="The true classes: an array of X.NPZ, or an .npy or .npz file."
)
force = click.option("--force", "-f", is_flag=True, help="Replace an output file that exists.")


def print_json(value) -> None:
    """Print plain values as JSON to stdout."""
    click.echo(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value):
    """JSON knows no infinities and no NaN: they become null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def warn(message: str) -> None:
    """Print a warning to stderr."""
    click.echo(f"dcz: warning: {printable(message)}", err=True)


def printable(text: str) -> str:
    """Text from a file without what a terminal would obey: control characters are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


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
    def __init__(self, verb: str):
        self.verb, self.tenth, self.total = verb, 0, None

    def __call__(self, name: str, done: int, total: int) -> None:
        if total != self.total:  # another stage of the work
            self.tenth, self.total = 0, total
        tenth = 10 * done // total if total else 10
        if tenth > self.tenth:
            self.tenth = tenth
            click.echo(f"{self.verb} {10 * tenth:3d} %  {printable(name)}", err=True)


def size(nbytes: float) -> str:
    """Bytes for people: 675,763 B as 675.8 kB."""
    for unit in ("B", "kB", "MB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} B" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.2f} GB"
