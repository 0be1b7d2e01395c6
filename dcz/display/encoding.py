"""What stdout can show, how wide a pipe is, and times for people; names and sizes are those of dcz.text.

is_unicode()   ->   True        time_left(95)   ->   '2 min'
"""

import os
import sys

PIPE_WIDTH = 100  # columns, at most, of what goes into a file or a pipe
MANY_SECONDS, MANY_MINUTES, MANY_HOURS = 90, 90, 36  # beyond which the next unit says it better


def encodable(text: str) -> str:
    """`text` with what stdout's encoding lacks escaped, as it is when it is written: so its width is known before."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except (LookupError, UnicodeError):
        return text


def is_unicode() -> bool:
    """Whether stdout takes what no ASCII has: bars, and the one character that stands for what was left out."""
    return encodable("█…") == "█…"


def pipe_width() -> int:
    """Columns of what goes into a pipe: PIPE_WIDTH, or fewer where COLUMNS asks for that."""
    asked = os.environ.get("COLUMNS", "")
    return min(PIPE_WIDTH, int(asked)) if asked.isascii() and asked.isdigit() and int(asked) > 0 else PIPE_WIDTH


def time_left(seconds: float) -> str:
    """A time for people, no finer than it can be known: 95 s as 2 min."""
    if seconds < MANY_SECONDS:
        return f"{max(1, round(seconds))} s" if seconds < 10 else f"{5 * round(seconds / 5)} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < MANY_MINUTES else (
        f"{minutes / 60:.0f} h" if minutes / 60 < MANY_HOURS else f"{minutes / 1440:.0f} days"
    )  # fmt: skip
