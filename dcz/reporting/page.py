"""The page of a report's figures."""

import base64
import hashlib
from importlib import resources

from ..display.elements import Html, tag
from .gather import Facts
from .sections import answers, cards, details, errors, maps, metadata, storage, tensors


def page(facts: Facts) -> str:
    """The whole page: HTML that needs nothing else, and no network."""
    style, script = _asset("page.css"), _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Whatever a name might smuggle in: no other script runs, and nothing is fetched.
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{facts.report.path} - dcz report"),
        tag("style", Html(style)),
    )
    main = tag(
        "main",
        tag("h1", facts.report.path),
        cards(facts),
        maps(facts),
        storage(facts),
        answers(facts),
        errors(facts),
        tensors(facts),
        details(facts),
        metadata(facts),
        id="main",
    )
    skip = tag("a", "Skip to the table of tensors", href="#table", class_="skip")
    body = tag("body", skip, main, tag("script", Html(script)))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def frame_bytes() -> int:
    """The bytes of a page beside its data: its style and script."""
    return len(_asset("page.css").encode()) + len(_asset("page.js").encode())
