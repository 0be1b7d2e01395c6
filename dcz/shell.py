"""Command lines as a shell takes them word for word, to be pasted.

word("it's [0]")                      ->   'it'"'"'s [0]'
path("-net.onnx")                     ->   ./-net.onnx
option("--output", "-y")              ->   --output=-y
include("w[0]")                       ->   --include 'w[[]0]'
broken("dcz verify a.dcz --against a.onnx", 20)   ->   "dcz verify a.dcz \\", "  --against a.onnx"
"""

import glob
import os
import re
import shlex
from collections.abc import Iterator

# A word of a line that `word` and the others made: quotes hold together what they enclose.
_WORD = re.compile(r"""(?:[^\s'"]|'[^']*'|"[^"]*")+""")


def word(text: str) -> str:
    """A text as one word. What a terminal would obey instead of printing it is escaped as POSIX has it: $'\\012'."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_escaped, text)) + "'"


def _escaped(character: str) -> str:
    """A character within $'': its bytes, as three octal digits each, where it is not plain."""
    if character.isprintable() and character not in "'\"\\":
        return character
    surrogates = "surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass"
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", surrogates))


def path(place: str | os.PathLike[str]) -> str:
    """A path as one word that is taken for no option."""
    text = os.fspath(place)
    return word(f"./{text}" if text.startswith("-") else text)


def option(name: str, value: str | os.PathLike[str]) -> str:
    """An option and its value, which is taken for no option."""
    text = os.fspath(value)
    return f"{name}={word(text)}" if text.startswith("-") else f"{name} {word(text)}"


def pattern(name: str) -> str:
    """The pattern that matches the tensor of this name; a NUL, which no command line holds, by a wildcard."""
    return glob.escape(name).replace("\0", "?")


def include(name: str) -> str:
    """The option that makes a weight of the tensor of this name."""
    return option("--include", pattern(name))


def broken(command: str, width: int) -> Iterator[str]:
    """A command in lines of at most `width` columns, broken before options; a word that is wider stays whole."""
    line = ""
    for each in _grouped(_WORD.findall(command)):
        if line and len(line) + 1 + len(each) > width - 2:
            yield f"{line} \\"
            line = f"  {each}"
        else:
            line = f"{line} {each}" if line else each
    yield line


def _grouped(words: list[str]) -> Iterator[str]:
    """The words, each option with what follows it."""
    group: list[str] = []
    for each in words:
        if (each.startswith("--") or each == "-o") and group:
            yield " ".join(group)
            group = []
        group.append(each)
    yield " ".join(group)
