"""The pages of the documentation, their links, and their fenced blocks."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests import ROOT

GENERATED = ROOT / "docs" / "reference"
README = ROOT / "README.md"
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", flags=re.M | re.S)
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)[^)]*\)|(?:src|srcset|href)=\"(?P<attribute>[^\"]+)\"")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that its title names, its text, and where that begins in the page."""

    language: str
    title: str | None
    text: str
    start: int


def pages() -> list[Path]:
    """Every page that is written by hand or by a script, the README first."""
    return [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    found = []
    for match in FENCE.finditer(text):
        language, _, rest = match["info"].strip().partition(" ")
        title = re.search(r'title="([^"]+)"', rest)
        found.append(Block(language, title and title[1], match["text"], match.start("text")))
    return found


def links(text: str) -> list[str]:
    """The targets of a page's links and pictures, without those in code."""
    prose = re.sub(r"`[^`\n]*`(?!\])", "", FENCE.sub("", text))
    return [match["target"] or match["attribute"] for match in LINK.finditer(prose)]


def anchors(text: str) -> set[str]:
    """What a link to a heading of the page may say: names that GitHub and mkdocs give alike."""
    headings = re.findall(r"^#{1,6} +(.+?) *#*$", FENCE.sub("", text), flags=re.M)
    return {_github(heading) for heading in headings} & {_mkdocs(heading) for heading in headings}


def _github(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", _plain(heading).lower()).replace(" ", "-")


def _mkdocs(heading: str) -> str:
    ascii_only = _plain(heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())


def _plain(heading: str) -> str:
    """A heading without the marks of links and code."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
