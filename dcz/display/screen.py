"""A console that prints names as they are: without markup, emoji or control characters, no wider than there is room."""

import sys

from rich.console import Console

from ..text import printable
from ..text import shorten as shorten_text
from .encoding import encodable, pipe_width


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave a pipe that is closed to the command line, where it is no failure."""
        raise BrokenPipeError


def console(stderr: bool = False) -> Console:
    """A console on stdout (or stderr) that interprets nothing in what it prints, as wide as there is room."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else pipe_width()
    return _Console(stderr=stderr, soft_wrap=False, highlight=False, markup=False, emoji=False, width=width)


def safe(text: object) -> str:
    """A name, a path or a text from a file as it may be printed: without control characters, in stdout's encoding."""
    return encodable(printable(str(text)))


def shorten(text: object, width: int) -> str:
    """`safe` text in at most `width` columns: what is too much is left out in the middle."""
    return shorten_text(safe(text), width)
