"""The pages hang together: links lead somewhere, all are in the navigation, and the README is short."""

import importlib.util
import re
from pathlib import Path

import pytest

from tests import ROOT

from .pages import README, anchors, blocks, links, pages

MOST_LINES = 120


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere: to a file that is not there, a folder, or a heading that is not there."""
    found = []
    for link in links(page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        exists = target.is_file() and ROOT in target.parents
        if not exists or (anchor and target.suffix == ".md" and anchor not in anchors(target.read_text())):
            found.append(link)
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page):
    assert broken(page) == []


def test_broken_links_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.docs.test_pages.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# One thing\n[a](page.md) [b](page.md#one-thing) [c](https://example.org) `[d](no.md)`\n"
        '[e](no.md) [f](#two) [g](/etc/hosts) ![h](no.svg) <img src="no.png">\n```text\n[i](no.md)\n```\n'
    )
    assert broken(page) == ["no.md", "#two", "/etc/hosts", "no.svg", "no.png"]


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= MOST_LINES


def test_every_page_is_in_the_navigation_and_on_the_first_page():
    configured = (ROOT / "mkdocs.yml").read_text()
    shown = set(re.findall(r"^ *- .*?([\w./-]+\.md)$", configured.split("\nnav:")[1], flags=re.M))
    written = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")}
    assert written <= shown
    assert [name for name in shown if not (ROOT / name).is_file()] == []
    index = ROOT / "docs" / "index.md"
    listed = {(index.parent / link).resolve() for link in links(index.read_text()) if "://" not in link}
    assert {ROOT / path for path in written} <= listed | {index}


def test_the_site_has_every_page_that_it_links_to_in_its_navigation_once():
    """mkdocs --strict fails on a page that is copied for a link, and is in no navigation."""
    spec = importlib.util.spec_from_file_location("make_site", ROOT / "docs" / "make_site.py")
    site = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(site)
    pages = site.navigation()
    assert len(pages) == len(set(pages)) > 30
    copied = {path for page in pages for path in site.linked(page) if path.suffix == ".md"}
    assert copied <= set(pages), copied - set(pages)


def test_every_block_says_its_language():
    for page in pages():
        for block in blocks(page.read_text()):
            assert block.language, f"{page.name}: {block.text[:60]}"
