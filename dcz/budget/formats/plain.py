"""Verdicts for terminals and logs: no line begins with a name, so that no log reads one as a command."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ... import shell
from ...text import cells, printable, shorten, shorten_apart, wrapped
from ..judge import Budget, Verdict
from ..reasons import Reason
from . import words

WIDE = 100  # columns where there is no window to fit


def render(verdicts: Sequence[Verdict], width: int = WIDE, quiet: bool = False) -> str:
    """A block for each file, in lines of at most `width` columns, but for words of commands that are wider; `quiet`:
    only for those that miss a budget."""
    blocks = [list(_block(verdict, width)) for verdict in verdicts if not quiet or verdict.missed]
    lines = [line for block in blocks for line in block]
    if len(verdicts) > 1:
        lines.append(words.summary(verdicts))
    return "\n".join(lines)


def _block(verdict: Verdict, width: int) -> Iterator[str]:
    if verdict.error is not None:  # which is told on stderr
        return
    sizes = f"{verdict.file_bytes or 0:,} bytes, {verdict.memory_bytes or 0:,} decoded"
    sizes += "" if verdict.budgets else ", no limits"
    yield f"file {shorten(printable(verdict.path), max(width - 7 - len(sizes), 12))}: {sizes}"
    for budget in verdict.budgets:
        word = words.STATUS[words.status(budget)]
        named = replace(budget, note=shorten(printable(budget.note), width // 2))
        yield from wrapped(f"{budget.name}: {word}: {words.sentence(named)}", width, 2)
        if not budget.holds:
            yield from _why(budget, width)


def _why(budget: Budget, width: int) -> Iterator[str]:
    if budget.reasons:
        yield f"    {words.heading(budget)}"
        yield from _table(budget.reasons, width)
    for remedy in budget.remedies:
        first, *plan = [printable(line) for line in remedy.what.split("\n")]
        yield from wrapped(f"to mend it: {first}" + (":" if remedy.command and not plan else ""), width, 4)
        yield from (f"      {line}" for line in plan)
        if remedy.command:
            yield from (f"      {printable(line)}" for line in shell.broken(remedy.command, width - 6))


def _table(reasons: Sequence[Reason], width: int) -> Iterator[str]:
    """Bytes, change, name and limit of each tensor; names are shortened where there is no room, numbers never."""
    weights = [f"{each.bytes:,}" for each in reasons]
    changes = ["" if each.change is None else f"{each.change:+,}" for each in reasons]
    places = [max(map(len, column)) for column in (weights, changes)]
    room = width - 6 - sum(places) - 6 - 2
    names = [printable(each.name) for each in reasons]
    longest = min(max(map(cells, names)), max(room // 2, 12))
    for each, weight, change, short in zip(reasons, weights, changes, shorten_apart(names, longest), strict=True):
        numbers = f"      {weight:>{places[0]}} bytes  " + (f"{change:>{places[1]}}  " if places[1] else "")
        start = f"{numbers}{short}{' ' * (longest - cells(short))}  "
        limited = printable(each.limited_by)
        if cells(start) + cells(limited) <= width:
            yield f"{start}{limited}".rstrip()
        else:
            yield start.rstrip()
            yield from wrapped(limited, width, 8)
