"""Plans in files: plan.toml, see dcz.plan.

load("plan.toml")   ->   Plan(...)        quoted('a "b"')   ->   '"a \\"b\\""'
"""

import codecs
import json
import os
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from ..arguments import expect, is_texts
from ..errors import FileAccess, InvalidArgument
from .rules import Plan, Rule
from .settings import DEFAULT, Settings, overlay

MAX_BYTES = 1 << 20  # of a plan.toml: a rule for each of ten thousand tensors
MAX_PATTERNS = 10_000  # of a plan; each is held against each name
_MAX_PARTS = 4  # of a dotted key, each a table to tomllib and a copy of the key up to there; plans need two
# What no key is looked for in: strings of several lines and comments (the group), strings of one line, which may be a
# part of a key, and all that follows a quote which nothing closes, where the parser ends.
_LITERAL = re.compile(
    r"""(\"{3}(?:"{0,2}(?:\\.|[^"\\]))*+"{3,5}|'{3}(?:'{0,2}[^'])*+'{3,5}|\#[^\n]*+)"""
    r"""|"(?!"")(?:\\[^\n]|[^"\\\n])*+"|'(?!'')[^'\n]*+'|["'].*+""",
    re.DOTALL,
)
_TABLE = re.compile(r"^[ \t]*+\[", re.MULTILINE)
_DOTTED = re.compile(rf"(?<![\w.-])(?:[\w-]++[ \t]*+\.[ \t]*+){{{_MAX_PARTS}}}")


def load(path: str | os.PathLike[str], base: Settings = DEFAULT) -> Plan:
    """The plan in a TOML file (see the module's example); raises InvalidArgument or FileAccess."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        expect(len(content) <= MAX_BYTES, f"a plan has at most {MAX_BYTES:,} bytes")
        return parse(_tables(_text(content)), base)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) or "\0" in os.fspath(path):
            raise FileAccess(f"{path!s}: cannot read the plan: {getattr(error, 'strerror', None) or error}") from error
        raise InvalidArgument(f"{path}: not valid TOML: {error}") from error
    except InvalidArgument as error:
        raise InvalidArgument(f"{path}: {error}") from error


def _tables(text: str) -> dict[str, Any]:
    """The tables of a TOML text; raises ValueError, InvalidArgument for what is nested too deep."""
    plain = _LITERAL.sub(lambda found: "" if found[1] else "_", text)
    if _DOTTED.search(plain):
        raise InvalidArgument(f"not a plan: a key of more than {_MAX_PARTS} parts (names of tensors go in quotes)")
    tables = sum(1 for _ in _TABLE.finditer(plain))
    expect(tables <= MAX_PATTERNS + 1, f"a plan has at most {MAX_PATTERNS:,} rules, not {tables:,}")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise InvalidArgument("not valid TOML for a plan: brackets or tables within one another, too deep") from error


def _text(data: bytes) -> str:
    """The text of a plan: UTF-8, or, as editors and shells of Windows also write, with a byte-order mark, or UTF-16."""
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if is_utf16 else "utf-8-sig")


def parse(table: Mapping[str, Any], base: Settings = DEFAULT) -> Plan:
    """A plan from the tables of a plan.toml, where a pattern alone may stand for a list; raises InvalidArgument."""
    unknown = table.keys() - {"default", "rule", "include", "exclude", "min_weights", "fold"}
    expect(not unknown, f"unknown key {min(unknown)!r}" if unknown else "")
    expect(isinstance(table.get("default", {}), dict), "[default] is a table")
    default = overlay(base, table.get("default", {}))
    rules = table.get("rule", [])
    expect(isinstance(rules, list) and all(isinstance(rule, dict) for rule in rules), "write each rule under [[rule]]")
    expect(all("match" in rule for rule in rules), 'a rule needs match = "pattern"')
    matches = [_patterns(rule["match"]) for rule in rules]
    include, exclude = (_patterns(table.get(key, [])) for key in ("include", "exclude"))
    count = len(include) + len(exclude) + sum(map(len, matches))
    expect(count <= MAX_PATTERNS, f"a plan has at most {MAX_PATTERNS:,} patterns, not {count:,}")
    parsed = []
    for rule, match in zip(rules, matches, strict=True):
        settings = {key: value for key, value in rule.items() if key != "match"}
        parsed.append(Rule(match, overlay(default, settings)))
    min_weights, fold = table.get("min_weights", Plan.min_weights), table.get("fold", Plan.fold)
    return Plan(default, tuple(parsed), include, exclude, min_weights, fold)


def _patterns(value: object) -> tuple[str, ...]:
    patterns = [value] if isinstance(value, str) else value
    if not isinstance(patterns, list) or not is_texts(tuple(patterns)):
        raise InvalidArgument("patterns are strings")
    return tuple(patterns)


def quoted(text: str) -> str:
    """A TOML string: JSON's, but for surrogates, which TOML has not, and the control character that JSON lets pass."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
