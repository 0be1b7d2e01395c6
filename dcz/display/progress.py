"""Progress as callers ask for it: none, a line of work, or a function of their own.

with shown(True, "compressing") as report:
    report("fc1.weight", 4096, 65536)          what is worked on, how much is done, and of how much
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeAlias

from ..errors import InvalidArgument
from . import work

Report: TypeAlias = Callable[[str, int, int], None]
Progress: TypeAlias = bool | Report | None


@contextlib.contextmanager
def shown(progress: Progress, verb: str) -> Iterator[Report]:
    """What to call with (name, done, total): `progress` itself, or for True what shows a line of work on stderr, as the
    commands do; in a notebook that is drawn there. Raises InvalidArgument.
    """
    if progress is None or progress is False:
        yield _nothing
    elif callable(progress):
        yield progress
    elif progress is True:
        with work.shown(work.Work(verb)) as line:
            yield line.report
    else:
        raise InvalidArgument(f"progress is True, False or a function (name, done, total), not {progress!r}")


def _nothing(name: str, done: int, total: int) -> None:
    """No progress."""
