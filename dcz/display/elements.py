"""HTML elements: text in them is escaped, elements are not.

tag("td", "<script>", title='"')   ->   Html('<td title="&quot;">&lt;script&gt;</td>')
"""

import html
from collections.abc import Iterable

from ..text import printable

EMPTY = frozenset(["br", "hr", "img", "input", "meta", "path", "rect"])


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(text: object) -> Html:
    """Text as HTML shows it; control characters, which HTML has no place for, become visible signs."""
    shown = printable(str(text))
    return Html(html.escape(shown, quote=True))


def join(children: object) -> Html:
    """Children one behind another: text, elements, lists of them; None is nothing."""
    if children is None:
        return Html("")
    if isinstance(children, Html):
        return children
    if isinstance(children, Iterable) and not isinstance(children, str):
        return Html("".join(map(join, children)))
    return escape(children)


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element. Of attributes None and False are left out, True has no value, `class_` is class, `aria_label` is
    aria-label."""
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        parts.append(key if value is True else f'{key}="{escape(value)}"')
    if name in EMPTY:  # the slash is what closes those of SVG
        return Html(f"<{' '.join(parts)}/>")
    return Html(f"<{' '.join(parts)}>{join(children)}</{name}>")
