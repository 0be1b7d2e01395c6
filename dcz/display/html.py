"""Results as notebooks show them: facts, and a table; names are escaped.

page("net.dcz", [("size", "990,827 bytes")], ["tensor", "bytes"], [["fc1.weight", "8,192"]])    ->   "<div>..."
"""

from collections.abc import Iterable, Sequence
from html import escape


def page(
    title: str, facts: Iterable[tuple[str, str]], header: Sequence[str] = (), rows: Iterable[Sequence[str]] = ()
) -> str:
    """A title, facts by name, and a table whose first column is text and whose others are figures."""
    parts = ["<div>", f"<strong>{escape(title)}</strong>", "<table>"]
    parts += [f"<tr>{_cell(name, True, 'th')}{_cell(value, True)}</tr>" for name, value in facts]
    parts.append("</table>")
    if header:
        parts += ["<table>", f"<thead><tr>{_cells(header, 'th')}</tr></thead>", "<tbody>"]
        parts += [f"<tr>{_cells(row)}</tr>" for row in rows]
        parts.append("</tbody></table>")
    return "".join([*parts, "</div>"])


def _cells(texts: Sequence[str], tag: str = "td") -> str:
    return "".join(_cell(text, number == 0, tag) for number, text in enumerate(texts))


def _cell(text: str, is_text: bool, tag: str = "td") -> str:
    return f'<{tag} style="text-align: {"left" if is_text else "right"}">{escape(text)}</{tag}>'
