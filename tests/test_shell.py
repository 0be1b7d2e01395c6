"""Command lines that are pasted give a program the words that were meant."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from dcz import shell
from dcz.plan import Plan

WORDS = [
    "plain", "two words", "it's", 'a "quote"', "$(touch x)", "`ls`", "a;b|c&d>e<f", "!history", "~user", "*?[0]", "#x",
    "-leading", "--leading dash", "a\\b", "a=b", "line\nbreak", "tab\tbell\a", "\x1b[2J", "重み é", "' --x '", "(){}",
]  # fmt: skip


def said(command: str, which: str) -> list[str]:
    """The words that a program gets which a shell starts by this command."""
    script = "import sys; sys.stdout.write(chr(0).join(sys.argv[1:]))"
    line = f'"{sys.executable}" -c "{script}" {command}'
    return subprocess.run([which, "-c", line], capture_output=True, text=True, check=True).stdout.split("\0")


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="no bash here")
def test_a_shell_gives_back_every_word():
    assert said(" ".join(map(shell.word, WORDS)), "bash") == WORDS


@pytest.mark.skipif(not Path("/bin/sh").exists(), reason="no POSIX shell here")
def test_any_shell_gives_back_words_that_a_terminal_shows():
    words = [word for word in WORDS if word.isprintable()]
    assert said(" ".join(map(shell.word, words)), "sh") == words


def test_what_is_pasted_is_printable():
    assert all(shell.word(word).isprintable() for word in WORDS)
    assert shell.word("\udc80") == "$'\\200'"  # a byte of a file's name that is no UTF-8


@pytest.mark.parametrize("name", WORDS)
def test_nothing_is_taken_for_an_option(name):
    assert not shell.path(name).startswith("-")
    assert shell.option("--include", name).startswith("--include" + ("=" if name.startswith("-") else " "))


@pytest.mark.parametrize("name", ["w", "w[0]", "w*", "a?b", "[", "nul\0"])
def test_a_pattern_means_one_tensor(name):
    pattern = shell.pattern(name)
    plan = Plan(include=(pattern,))
    assert plan.names(name) and "\0" not in pattern
    assert not any(plan.names(other) for other in ("w0", "w1", "ww", "axb", "nul") if other != name)


@pytest.mark.parametrize("width", [10, 40, 60, 1000])
def test_a_broken_command_is_the_same_command(width):
    words = ["dcz", "compress", "-f", "my model.onnx", "--include", "a --b  c", "--exclude=-x", "--include", "it's"]
    options = [shell.option("--include", words[5]), shell.option("--exclude", "-x"), shell.include(words[8])]
    command = " ".join(["dcz compress -f", shell.path(words[3]), *options])
    lines = list(shell.broken(command, width))
    assert said("\n".join(lines), "sh") == words
    if width >= 40:
        assert all(len(line) <= width for line in lines)
    assert len(lines) == 1 or width < len(command)


def test_long_commands_are_broken_before_the_output_too():
    command = f"dcz compress -f {'m' * 40}.onnx -o {'n' * 40}.dcz --quality 30"
    lines = list(shell.broken(command, 70))
    assert len(lines) == 2 and max(map(len, lines)) <= 70 and lines[1].startswith("  -o n")
    assert shlex.split(" ".join(line.removesuffix("\\") for line in lines)) == shlex.split(command)
