"""docs/reference says what the help and the docstrings say, and leaves nothing out."""

import importlib.util

import click
import pytest

import dcz
from dcz import cli

from .pages import GENERATED, ROOT


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_up_to_date(script):
    pages = script.pages()
    assert set(pages) == {path.name for path in GENERATED.iterdir()}
    for name, text in pages.items():
        assert (GENERATED / name).read_text() == text, f"{name} is old: make reference"


def test_it_has_every_command_option_and_exit_code():
    text = (GENERATED / "cli.md").read_text()
    context = click.Context(cli.cli, info_name="dcz")
    for name in cli.COMMANDS:
        section = text.split(f"\n## dcz {name}\n")[1].split("\n## ")[0]
        for param in cli.cli.get_command(context, name).params:
            for option in param.opts if isinstance(param, click.Option) else ():
                assert f"{option} " in section or f"{option}`" in section or f"{option}," in section, (name, option)
    codes = {error.exit_code for error in _tree(dcz.DczError)} | {0, 2, 130}
    for code in codes:
        assert f"\n| {code} | " in text, code


def _tree(error: type[dcz.DczError]) -> list[type[dcz.DczError]]:
    return [error, *(each for child in error.__subclasses__() for each in _tree(child))]


def test_it_has_every_public_name():
    text = (GENERATED / "python.md").read_text()
    assert {f"## dcz.{name}" for name in dcz.__all__} == {line for line in text.splitlines() if line.startswith("## ")}
