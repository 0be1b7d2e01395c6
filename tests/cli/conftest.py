"""What the tests of all commands share."""

import sys

import pytest

from dcz import cli


@pytest.fixture(autouse=True)
def width(monkeypatch) -> None:
    """No width but that of the terminal or pipe: pytest-xdist has one of its own."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run one command line; returns (exit code, stdout, stderr)."""

    def call(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dcz", *map(str, arguments)])
        code = cli._run()
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def refuses(run):
    """Check that a command line fails with this code, says these words on stderr, and nothing on stdout."""

    def check(arguments, code: int, words: str) -> None:
        found, out, err = run(*arguments)
        assert (found, out) == (code, "")
        assert words in err and "Traceback" not in err

    return check
