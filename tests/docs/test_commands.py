"""Every command, every program and every file that the pages show is run, word for word and in its order."""

import shlex

import pytest

from dcz import cli
from tests import ROOT

from . import folders
from .pages import GENERATED, Block, blocks, pages
from .running import Page, commands, session

WRITTEN = [page for page in pages() if GENERATED not in page.parents]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_shows_runs(page, tmp_path, monkeypatch):
    monkeypatch.setattr("dcz.tuning.drop_search.MAX_WALKS", 3)  # of what they find, the tests of tuning speak
    monkeypatch.setenv("COLUMNS", "100")  # as docs/make_outputs.py has it
    monkeypatch.chdir(tmp_path)
    where = str(page.relative_to(ROOT))
    folders.prepare(where)
    reader = Page(where)
    for block in blocks(page.read_text()):
        reader.run(block)


def test_the_pages_show_every_command():
    lines = [line for page in WRITTEN for block in blocks(page.read_text()) for line in _commands(block)]
    shown = {shlex.split(line)[1] for line in lines if line.startswith("dcz ")}
    assert set(cli.COMMANDS) <= shown


def _commands(block: Block) -> list[str]:
    if block.language == "console":
        return [line for line, _ in session(block.text)]
    return commands(block.text) if block.language == "sh" else []


@pytest.mark.parametrize(
    "text",
    [
        "```sh\ndcz compres model.onnx\n```\n",
        "```sh\nrm -rf model.onnx\n```\n",
        "```sh\nmake nothing-of-this-name\n```\n",
        "```sh\npip install '.[nothing]'\n```\n",
        "```sh\npip install dcz\n```\n",
        "```\ndcz --version\n```\n",
        "```python\nassert False\n```\n",
        "```toml\nbits 4\n```\n",
        "```sh\ndcz --version  # exit code 1\n```\n",
    ],
)
def test_what_does_not_run_is_found(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(text)
    with pytest.raises((AssertionError, ValueError)):
        Page("page").run(block)
