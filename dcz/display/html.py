"""Results as notebooks show them: facts, and a table; names are escaped.

page("net.dcz", [("size", "990,827 bytes")], ["tensor", "bytes"], [["fc1.weight", "8,192"]])    ->   "<div>..."
"""

from collections.abc import Iterable, Sequence

from .elements import Html, tag

UNBROKEN = 40  # characters of a figure, at most, that stays on one line


def page(
    title: str, facts: Iterable[tuple[str, str]], header: Sequence[str] = (), rows: Iterable[Sequence[str]] = ()
) -> str:
    """A title, facts by name, and a table whose first column is text and whose others are figures."""
    told = [tag("tr", _cell(name, True, "th"), _cell(value, True)) for name, value in facts]
    figures = None
    if header:
        body = [tag("tr", _cells(row)) for row in rows]
        figures = tag("table", tag("thead", tag("tr", _cells(header, "th"))), tag("tbody", body))
    return tag("div", tag("strong", title), tag("table", told) if told else None, figures)


def _cells(texts: Sequence[str], name: str = "td") -> list[Html]:
    return [_cell(text, number == 0, name) for number, text in enumerate(texts)]


def _cell(text: str, is_text: bool, name: str = "td") -> Html:
    unbroken = "" if is_text or len(text) > UNBROKEN else "; white-space: nowrap"
    return tag(name, text, style=f"text-align: {'left' if is_text else 'right'}{unbroken}")
