"""Verdicts as Markdown: a table, and under it why budgets are missed. For job summaries and comments.

Names cannot break out of it: they are code, with all that Markdown or HTML could read in them as entities where code
spans do not do.
"""

import re
from collections.abc import Iterator, Sequence

from ...text import markdown_code, printable
from ..judge import Verdict
from ..reasons import Reason
from ..remedies import Remedy
from . import words

MARKS = {
    "holds": ":white_check_mark: holds",
    "warning": ":warning: warning",
    "missed": ":x: **missed**",
    "error": ":x: **error**",
}


def render(verdicts: Sequence[Verdict]) -> str:
    """The table, what is missed and why, and one sentence on all."""
    lines = ["### dcz check", "", "| file | budget | figure | limit | |", "|---|---|---:|---:|---|"]
    lines += [row for verdict in verdicts for row in _rows(verdict)]
    for verdict in verdicts:
        lines += _why(verdict)
    return "\n".join([*lines, "", words.summary(verdicts), ""])


def _rows(verdict: Verdict) -> Iterator[str]:
    file = markdown_code(verdict.path)
    if verdict.error is not None:
        yield f"| {file} | | | | {MARKS['error']} |"
    elif not verdict.budgets:
        yield f"| {file} | no limits | | | |"
    for budget in verdict.budgets:
        cells = [file, budget.name, words.figure(budget), words.limit(budget), MARKS[words.status(budget)]]
        yield f"| {' | '.join(cells)} |"


def _why(verdict: Verdict) -> Iterator[str]:
    if verdict.error is not None:
        yield from ("", f"{markdown_code(verdict.path)}: {markdown_code(words.error(verdict))}")
    for budget in verdict.missed:
        yield from ("", f"**{markdown_code(verdict.path)}, {budget.name}:** {_sentence(words.sentence(budget))}")
        if budget.reasons:
            yield from ("", words.heading(budget), "")
            yield from _tensors(budget.reasons)
        for remedy in budget.remedies:
            yield from ("", *_remedy(remedy))


def _sentence(text: str) -> str:
    """A sentence of ours, in which the name of a tensor or file may stand."""
    found = re.fullmatch(r"(.*?) \((.*)\)(, .*)", text)
    return text if found is None else f"{found[1]} ({markdown_code(found[2])}){found[3]}"


def _tensors(reasons: Sequence[Reason]) -> Iterator[str]:
    grows = any(reason.change is not None for reason in reasons)
    yield "| tensor | bytes |" + (" change |" if grows else "") + " what limits it |"
    yield "|---|---:|" + ("---:|" if grows else "") + "---|"
    for reason in reasons:
        change = [] if not grows else ["" if reason.change is None else f"{reason.change:+,}"]
        cells = [markdown_code(reason.name), f"{reason.bytes:,}", *change, markdown_code(reason.limited_by)]
        yield f"| {' | '.join(cells)} |"


def _remedy(remedy: Remedy) -> Iterator[str]:
    first, *plan = remedy.what.split("\n")
    yield f"To mend it: {printable(first)}" + (":" if remedy.command else ".")
    code = [*map(printable, plan), *([printable(remedy.command)] if remedy.command else [])]
    if code:
        fence = "`" * (3 + max((len(run) for run in re.findall("`+", "\n".join(code))), default=0))
        yield from ("", fence, *code, fence)
