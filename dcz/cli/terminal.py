"""Tables that fit the terminal, names shortened in the middle, commands to paste.

Everything that a file may say of itself (names, paths, metadata) is printed as rich.text.Text, or by a console without
markup and emoji (display.screen), so that `[bold]`, `:bomb:` and escape sequences are shown and not obeyed. Names give
way where there is not enough room; figures never do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, Group
from rich.text import Text

from ..display.encoding import is_unicode
from ..display.screen import console, safe, shorten
from ..shell import broken
from ..text import shorten_apart

__all__ = ["Column", "bar", "console", "labelled", "print_commands", "safe", "shorten", "table"]

MIN_NAME = 12  # columns of a name, at least
GOOD_NAME = 28  # columns of a name, below which other columns are left out
GAP = 2  # columns between two of a table


def bar(share: float, width: int) -> str:
    """A bar of a share of `width` columns."""
    return ("█" if is_unicode() else "#") * round(width * min(1.0, max(0.0, share)))


@dataclass(frozen=True)
class Column:
    """A column of a table. `priority` 0: always shown; of the others those of the highest go first where there is no
    room. `is_name`: its cells are shortened."""

    head: str
    right: bool = True
    priority: int = 0
    is_name: bool = False


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[object]], width: int, title: str = "", totals: int = 0
) -> Group:
    """A table in at most `width` columns, if those of priority 0 leave any room, under a title; its last `totals` rows
    are bold."""
    cells = [[safe(cell) for cell in row] for row in rows]
    widths = [
        max([cell_len(column.head), *(cell_len(row[number]) for row in cells)]) for number, column in enumerate(columns)
    ]
    shown = _shown(columns, widths, width)
    names = [number for number in shown if columns[number].is_name]
    rest = width - sum(widths[number] for number in shown if number not in names) - GAP * (len(shown) - 1)
    for number in names.copy():  # the last of several gets what the others leave
        widths[number] = min(widths[number], max(MIN_NAME, rest // len(names)))
        rest, names = rest - widths[number], [name for name in names if name != number]

    apart = {number: shorten_apart([row[number] for row in cells], widths[number]) for number in shown}
    fitted = [{number: apart[number][index] for number in shown} for index in range(len(cells))]

    def line(row: Mapping[int, str], is_bold: bool) -> Text:
        padded = []
        for number in shown:  # figures are never cut: names alone are wider than their columns
            text = row[number]
            space = " " * (widths[number] - cell_len(text))
            padded.append(space + text if columns[number].right else text + space)
        style = "bold" if is_bold else ""
        return Text((" " * GAP).join(padded).rstrip(), style=style, no_wrap=True, overflow="ignore")

    lines = [line({number: shorten(columns[number].head, widths[number]) for number in shown}, True)]
    lines += [line(row, number >= len(cells) - totals) for number, row in enumerate(fitted)]
    return Group(*([Text(title)] if title else []), *lines)


def _shown(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """The columns that there is room for beside a good part of the names, by number."""
    shown = list(range(len(columns)))

    def needed(name: int) -> int:
        cells = (min(widths[n], name) if columns[n].is_name else widths[n] for n in shown)
        return sum(cells) + GAP * (len(shown) - 1)

    while needed(GOOD_NAME) > width and any(columns[number].priority for number in shown):
        shown.remove(max(shown, key=lambda number: (columns[number].priority, number)))
    figures = [number for number in shown if not columns[number].is_name]
    while needed(MIN_NAME) > width and len(figures) > 2:  # rather none of a column than a part of each number
        shown.remove(figures.pop(-2))
    return shown


def labelled(label: str, text: str, width: int, label_width: int = 10) -> str:
    """A line `label   text`, wrapped at spaces below `text` where it is too long."""
    import textwrap

    room = max(20, width - label_width)
    lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
    return "\n".join(
        f"{label if not number else '':<{label_width}}{shorten(line, room)}" for number, line in enumerate(lines)
    )


def print_commands(screen: Console, label: str, commands: Sequence[str], label_width: int) -> None:
    """Commands to be pasted: on one line where there is room, else one a line, and those broken before options."""
    room = screen.width - label_width
    whole = "; ".join(commands)
    for command in [whole] if cell_len(whole) <= room else commands:
        for line in broken(command, room):
            screen.print(f"{label:<{label_width}}{safe(line)}", soft_wrap=True)
            label = ""
