"""Progress: one line for all of the work, with the time that is left, through searches and trials.

compressing ━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌  48 %  about 2 min left  trial 3, 96.1 % at 812 kB  encoder/layer.3…/weight

Commands show it, and so does `progress=True`. A search passes through the model several times: each time is a `pass` of
the work, and how many there will be is known only roughly. On a terminal, and in a notebook, the line is redrawn; in a
pipe a plain one is printed every ten seconds at most.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..text import printable
from . import notebook
from .encoding import is_unicode, pipe_width, time_left

if TYPE_CHECKING:
    from rich.text import Text

EVERY = 10.0  # seconds between two lines in a pipe
REDRAWN_EVERY = 0.2  # seconds, in a notebook
NOTEBOOK_WIDTH = 100  # columns
MIN_ELAPSED = 2.0  # seconds, and
MIN_SHARE = 0.02  # of the work, before which the rest is not estimated
BAR = 20  # columns
MIN_NAME = 8


class Work:
    """What is done of some work, and how long the rest will take.

    `verb`: what is done ("compressing"). `parts`: how much of it each model is, for several; `passes`: how often each
    is gone through, as far as is known. Its methods `report` and `end_pass` are callbacks of the library.
    """

    def __init__(self, verb: str, passes: float = 1, clock: Callable[[], float] = time.monotonic):
        self.verb, self.clock = verb, clock
        self.parts, self.part = [1.0], 0
        self.passes, self.passed, self.share = passes, 0, 0.0
        self.name = self.status = ""
        self.begun = clock()
        self.changed: Callable[[], None] = lambda: None  # is called after each change

    def set_parts(self, parts: list[float]) -> None:
        """Several models are to come, and these are their sizes."""
        self.parts = [max(part, 1.0) for part in parts]

    def begin_part(self, number: int, passes: float) -> None:
        """The model of this number begins, which will be gone through about so often."""
        self.part, self.passes, self.passed, self.share = number, passes, 0, 0.0
        self.name = self.status = ""

    def report(self, name: str, done: int, total: int) -> None:
        """So much of a pass is done; `name` is what was dealt with last. Where much less is done than before, the next
        pass has begun."""
        share = done / total if total else 1.0
        if share < self.share / 2:
            self.end_pass(self.status, to_come=1)
        self.share, self.name = share, name
        self.changed()

    def end_pass(self, status: str, to_come: float = 2) -> None:
        """A pass is done, with a result; at least so many are `to_come`: perhaps another trial, and the last one."""
        self.passed, self.share, self.status = self.passed + 1, 0.0, status
        self.passes = max(self.passes, self.passed + to_come)
        self.changed()

    @property
    def done(self) -> float:
        """The share of all work that is done, as far as it is known how much there is."""
        within = min(1.0, (self.passed + self.share) / self.passes)
        return (sum(self.parts[: self.part]) + self.parts[self.part] * within) / sum(self.parts)

    @property
    def left(self) -> str:
        """How long the rest will take, in words; "" where it is too early to tell."""
        elapsed, done = self.clock() - self.begun, self.done
        if elapsed < MIN_ELAPSED or done < MIN_SHARE or done >= 1:
            return ""
        return f"about {time_left(elapsed * (1 - done) / done)} left"

    @property
    def which(self) -> str:
        """Which of several models it is, and what the last trial gave."""
        several = f"model {self.part + 1} of {len(self.parts)}" if len(self.parts) > 1 else ""
        return ", ".join(part for part in (several, self.status) if part)

    def plain(self) -> str:
        """The line for a pipe."""
        from .screen import shorten

        parts = [f"{self.verb} {100 * self.done:.0f} %", self.left, self.which]
        line = ", ".join(part for part in parts if part)
        room = pipe_width() - len(line) - 2
        return line + (f"  {shorten(self.name, room)}" if self.name and room >= MIN_NAME else "")

    def line(self, width: int) -> "Text":
        """The line for a terminal of so many columns: the bar and the time never give way to names."""
        from rich.text import Text

        from .screen import safe, shorten

        done = self.done
        filled = round(BAR * done)
        full, rest = "━╌" if is_unicode() else "#-"
        fixed = [f"{100 * done:3.0f} %", *([self.left] if self.left else [])]
        line = Text(f"{self.verb} ", no_wrap=True, overflow="crop")
        bar_width = BAR if width >= len(self.verb) + BAR + 32 else 0
        if bar_width:
            line.append(full * filled, "green").append(rest * (BAR - filled) + " ", "dim")
        line.append("  ".join(fixed))
        if self.which and line.cell_len + 2 + len(self.which) <= width:
            line.append("  " + safe(self.which))
        room = width - line.cell_len - 2
        if self.name and room >= MIN_NAME:
            line.append("  " + shorten(self.name, room), "dim")
        line.truncate(width)
        return line


def _echo(text: str) -> None:
    """Print a line on stderr, whatever that is now."""
    try:
        sys.stderr.write(f"{text}\n")
    except UnicodeEncodeError:  # of a caller whose stderr refuses what its encoding lacks
        sys.stderr.write(text.encode("ascii", "backslashreplace").decode() + "\n")
    sys.stderr.flush()


_said_by: list[Callable[[str], None]] = [_echo]


def say(text: str) -> None:
    """Print a line for people on stderr, above a line of progress where one is shown."""
    _said_by[-1](text)


@contextlib.contextmanager
def shown(work: Work, quiet: bool = False) -> Iterator[Work]:
    """Show `work` on stderr while it goes on, unless `quiet`: see the module."""
    if quiet:
        yield work
    elif notebook.is_notebook():
        with _in_notebook(work):
            yield work
    elif sys.stderr.isatty():
        with _live(work):
            yield work
    else:
        work.changed = _Lines(work).print
        yield work


@contextlib.contextmanager
def _live(work: Work) -> Iterator[None]:
    from rich.live import Live

    from .screen import console

    screen = console(stderr=True)
    with Live(console=screen, refresh_per_second=5, transient=True, get_renderable=lambda: work.line(screen.width - 1)):
        _said_by.append(lambda text: screen.print(text, soft_wrap=True))
        try:
            yield
        finally:
            _said_by.pop()


@contextlib.contextmanager
def _in_notebook(work: Work) -> Iterator[None]:
    """A line of text that is redrawn in its place, and gone in the end."""
    draw, drawn = notebook.begin_line(work.line(NOTEBOOK_WIDTH).plain), work.clock()

    def redraw() -> None:
        nonlocal drawn
        if (now := work.clock()) - drawn >= REDRAWN_EVERY:
            drawn = now
            draw(work.line(NOTEBOOK_WIDTH).plain)

    work.changed = redraw
    try:
        yield
    finally:
        draw("")


class _Lines:
    """Prints a line of the work where EVERY seconds have passed since the last."""

    def __init__(self, work: Work):
        self.work, self.printed = work, work.clock()

    def print(self) -> None:
        """Print one, if it is time."""
        if (now := self.work.clock()) - self.printed >= EVERY:
            self.printed = now
            _echo(printable(self.work.plain()))
