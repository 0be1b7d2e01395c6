"""Verdicts as annotations of a GitHub workflow: lines that the runner reads, from stdout and stderr alike.

    ::error file=dcz.toml,line=4,title=net.dcz%3A max-size::812,345 bytes, 112,345 bytes over the limit of ...

They show at the line of the budget where a file has it, else at the model. Values are escaped as the runner undoes it
(actions/toolkit, command.ts), so that no name can end a line or begin a command of its own.
"""

from collections.abc import Iterator, Sequence

from ...text import printable
from ..judge import Budget, Verdict
from . import words


def render(verdicts: Sequence[Verdict]) -> str:
    """A line for each budget that is missed, as error or warning, and for each file that could not be judged."""
    return "\n".join(line for verdict in verdicts for line in _lines(verdict))


def _lines(verdict: Verdict) -> Iterator[str]:
    if verdict.error is not None:
        yield _annotation("error", verdict, printable(verdict.path), words.error(verdict))
    for budget in verdict.missed:
        title = f"{printable(verdict.path)}: {budget.name}"
        yield _annotation(_command(budget), verdict, title, "\n".join([words.sentence(budget), *words.why(budget)]))


def _command(budget: Budget) -> str:
    return "error" if budget.fails else "warning"


def _annotation(command: str, verdict: Verdict, title: str, text: str) -> str:
    file, line = words.place(verdict)
    properties = {"file": printable(file), "line": str(line), "title": title}
    listed = ",".join(f"{name}={escape_property(value)}" for name, value in properties.items())
    return f"::{command} {listed}::{escape(text)}"


def escape(text: str) -> str:
    """The message of an annotation."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """A property of an annotation."""
    return escape(text).replace(":", "%3A").replace(",", "%2C")
