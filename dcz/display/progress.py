"""Progress as callers ask for it: none, a bar, or a function of their own.

with shown(True, "compressing") as report:
    report("fc1.weight", 4096, 65536)          what is worked on, how much is done, and of how much
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

from ..errors import InvalidArgument
from ..text import printable, shorten

Report: TypeAlias = Callable[[str, int, int], None]
Progress: TypeAlias = bool | Report | None

SECONDS = 10.0  # between two lines, where there is no terminal
NAME = 40  # characters of a name that a bar has room for


@contextlib.contextmanager
def shown(progress: Progress, verb: str, unit: str = "bytes") -> Iterator[Report]:
    """What to call with (name, done, total): `progress` itself, or for True what draws a bar on stderr.

    In a notebook that is a bar of the notebook, where stderr is no terminal a line every ten seconds at most. `unit` is
    what is counted: bytes, or another word. Raises InvalidArgument.
    """
    if progress is None or progress is False:
        yield _nothing
    elif callable(progress):
        yield progress
    elif progress is True:
        with _bar(verb, unit) as report:
            yield report
    else:
        raise InvalidArgument(f"progress is True, False or a function (name, done, total), not {progress!r}")


def _nothing(name: str, done: int, total: int) -> None:
    """No progress."""


@contextlib.contextmanager
def _bar(verb: str, unit: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        yield _Lines(verb)
        return
    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    name = TextColumn("{task.fields[name]}", markup=False)  # nothing in a name is interpreted
    columns = (TextColumn(verb), BarColumn(), count, TimeRemainingColumn(), name)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(verb, total=None, name="")
        yield lambda name, done, total: bar.update(task, completed=done, total=total, name=_plain(name))


class _Lines:
    """Prints a line now and then."""

    def __init__(self, verb: str):
        self.verb, self.next = verb, time.monotonic() + SECONDS

    def __call__(self, name: str, done: int, total: int) -> None:
        if time.monotonic() >= self.next:
            self.next = time.monotonic() + SECONDS
            share = f"{100 * done // total} %" if total else "100 %"
            sys.stderr.write(f"{self.verb} {share}  {_plain(name)}\n")


def _plain(name: str) -> str:
    """A name of a model as a terminal may have it: without control characters, and cut in the middle."""
    return shorten(printable(name), NAME)
