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
_MAX_PARTS = 100  # of a dotted key, for each of which tomllib makes a table and a copy of the key up to there
_DOTTED = re.compile(rf"""(?<![\w.-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{_MAX_PARTS}}}""")


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
    if _DOTTED.search(text):
        raise InvalidArgument(f"not valid TOML for a plan: a key of {_MAX_PARTS} parts or more")
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
    parsed = []
    for rule in rules:
        expect("match" in rule, 'a rule needs match = "pattern"')
        settings = {key: value for key, value in rule.items() if key != "match"}
        parsed.append(Rule(_patterns(rule["match"]), overlay(default, settings)))
    include, exclude = (_patterns(table.get(key, [])) for key in ("include", "exclude"))
    count = len(include) + len(exclude) + sum(len(rule.match) for rule in parsed)
    expect(count <= MAX_PATTERNS, f"a plan has at most {MAX_PATTERNS:,} patterns, not {count:,}")
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
