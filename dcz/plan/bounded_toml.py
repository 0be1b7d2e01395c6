"""TOML from anyone, parsed in bounded time and memory: plans, and the budgets of a project.

    tables('a.b = 1', most_parts=4, most_tables=100)   ->   {"a": {"b": 1}}

tomllib takes the square of the parts of a dotted key, and memory for each of them: 200 kB of one key take 4 GB.
"""

import os
import re
import tomllib
from typing import Any

from ..arguments import expect
from ..errors import InvalidArgument

MAX_BYTES = 1 << 20  # of a file: a rule for each of ten thousand tensors
# What no key is looked for in: strings of several lines and comments (the group), strings of one line, which may be a
# part of a key, and all that follows a quote which nothing closes, where the parser ends.
_LITERAL = re.compile(
    r"""(\"{3}(?:"{0,2}(?:\\.|[^"\\]))*+"{3,5}|'{3}(?:'{0,2}[^'])*+'{3,5}|\#[^\n]*+)"""
    r"""|"(?!"")(?:\\[^\n]|[^"\\\n])*+"|'(?!'')[^'\n]*+'|["'].*+""",
    re.DOTALL,
)
_TABLE = re.compile(r"^[ \t]*+\[", re.MULTILINE)
_DOTTED = r"(?<![\w.-])(?:[\w-]++[ \t]*+\.[ \t]*+){%d}"


def content(path: str | os.PathLike[str], kind: str) -> bytes:
    """The bytes of a file, which messages call `kind`; raises OSError, ValueError, and InvalidArgument for too many."""
    with open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    expect(len(data) <= MAX_BYTES, f"{kind} has at most {MAX_BYTES:,} bytes")
    return data


def tables(text: str, kind: str, most_parts: int, most_tables: int) -> dict[str, Any]:
    """The tables of a TOML text, which messages call `kind`.

    Raises ValueError, and InvalidArgument for a key of more than `most_parts` parts, for more than `most_tables`
    headers of tables, and for what is nested too deep.
    """
    plain = _LITERAL.sub(lambda found: "" if found[1] else "_", text)
    if re.search(_DOTTED % most_parts, plain):
        raise InvalidArgument(f"not {kind}: a key of more than {most_parts} parts (names of tensors go in quotes)")
    headers = sum(1 for _ in _TABLE.finditer(plain))
    expect(headers <= most_tables, f"{kind} has at most {most_tables:,} tables, not {headers:,}")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise InvalidArgument(f"not valid TOML for {kind}: brackets or tables within one another, too deep") from error
