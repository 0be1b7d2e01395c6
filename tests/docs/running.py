"""What the pages say, done: their commands, their Python, their files."""

import ast
import contextlib
import glob
import io
import json
import math
import re
import shlex
import sys
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcz import cli
from dcz.display import work
from tests import ROOT

from .pages import Block

READ_ONLY = {"text", "yaml", "html"}  # languages of blocks that are shown, and neither run nor parsed
EXIT_CODE = re.compile(r"# exit code (\d+)\b")


class Page:
    """The blocks of a page, run one after another in the folder that is the current one."""

    def __init__(self, where: str):
        self.where, self.names = where, {"__name__": "__main__"}

    def recorded(self, block: Block) -> str:
        """The text of a block of a terminal, with what its commands print now."""
        parts = []
        for line, _ in session(block.text):
            printed = self.command(line).rstrip()
            parts.append(f"$ {line}\n" + "".join(f"{each.rstrip()}\n" for each in printed.splitlines()))
        return "".join(parts)

    def run(self, block: Block) -> None:
        """Run a block, or parse it where it is data; a language that is not known fails."""
        if block.title:
            Path(block.title).write_text(block.text)
        match block.language:
            case "sh":
                for line in commands(block.text):
                    self.command(line)
            case "console":
                for line, shown in session(block.text):
                    assert shape(self.command(line)) == shape(shown), f"{self.where}: {line} (make reference)"
            case "python":
                self.python(block.text)
            case "toml":
                tomllib.loads(block.text)
            case "json":
                json.loads(block.text)
            case language:
                assert language in READ_ONLY, f"{self.where}: a block of {language or 'no language'} is not run"

    def command(self, line: str) -> str:
        """Run a command line, and give what it prints; a comment `# exit code 1` says that it ends with that."""
        expected = int(found[1]) if (found := EXIT_CODE.search(line)) else 0
        words = [each for word in shlex.split(line, comments=True) for each in glob.glob(word) or [word]]  # as a shell
        match words:
            case ["dcz", *_]:
                return self._dcz(words, expected)
            case ["make", target, *_]:
                assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.M), f"{self.where}: {line}"
            case ["pip", "install", *packages]:
                _check_extras(packages)
            case ["pre-commit" | "TORCH=torch", *_]:
                pass
            case _:
                raise AssertionError(f"{self.where}: {line!r} is no command that the tests know how to run")
        return ""

    def _dcz(self, words: list[str], expected: int) -> str:
        if words[1] == "retrain":
            pytest.importorskip("torch")  # the extra `train` brings it
        if "--tokenizer" in words:
            pytest.importorskip("tokenizers")  # the extra `text` brings it
        printed, before = io.StringIO(), sys.argv
        sys.argv = words
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), _no_progress():
                code = cli._run()
        finally:
            sys.argv = before
        assert code == expected, f"{self.where}: {shlex.join(words)} ended with {code}: {printed.getvalue()}"
        return printed.getvalue()

    def python(self, text: str) -> None:
        """Run Python, with the names of the blocks before; a package that is missing skips what remains of a page."""
        for name in _imports(text):
            pytest.importorskip(name)
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # other packages' warnings are not our pages' faults
            exec(compile(text, self.where, "exec"), self.names)


@contextlib.contextmanager
def _no_progress() -> Iterator[None]:
    """What is recorded has no lines of progress, which come on a slow machine alone."""
    before, work.EVERY = work.EVERY, math.inf
    try:
        yield
    finally:
        work.EVERY = before


def commands(text: str) -> list[str]:
    """The command lines of a block."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def session(text: str) -> list[tuple[str, str]]:
    """The commands of a block of a terminal, and what each prints there."""
    parts = re.split(r"^\$ (.*)\n", text, flags=re.M)
    assert not parts[0].strip(), "a block of a terminal begins with a command"
    return list(zip(parts[1::2], parts[2::2], strict=True))


def shape(printed: str) -> list[str]:
    """What a command prints without its numbers, spaces, and the engine that this machine has: these may differ."""
    lines = [re.sub(r"\d[\d,.]*", "0", line) for line in printed.replace("isal.isal_zlib", "zlib").splitlines()]
    return [" ".join(line.split()) for line in lines if line.strip()]


def _imports(text: str) -> set[str]:
    """The packages that Python imports."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Attribute) and node.attr == "onnx" and ast.unparse(node) == "torch.onnx":
            found.add("onnxscript")  # torch.onnx.export does
    return found


def _check_extras(packages: list[str]) -> None:
    """The extras that are installed exist, and dcz, which is on no package index, is installed from its source."""
    assert not any(re.match(r"dcz\b", package) for package in packages), "from where?"
    configured = (ROOT / "setup.cfg").read_text().split("[options.extras_require]")[1]
    for extra in re.findall(r"\[(\w+)\]", " ".join(packages)):
        assert re.search(rf"^{extra} *=", configured, flags=re.M), f"there is no extra {extra!r}"
