"""Plans in files: plan.toml, see dcz.plan.

load("plan.toml")   ->   Plan(...)        quoted('a "b"')   ->   '"a \\"b\\""'
"""

import codecs
import json
import os
from collections.abc import Mapping
from typing import Any

from ..arguments import expect, is_texts
from ..errors import FileAccess, InvalidArgument
from . import bounded_toml
from .rules import Plan, Rule
from .settings import DEFAULT, Settings, overlay

MAX_PATTERNS = 10_000  # of a plan; each is held against each name
_KIND = "a plan"
_MAX_PARTS = 4  # of a dotted key; plans need two


def load(path: str | os.PathLike[str], base: Settings = DEFAULT) -> Plan:
    """The plan in a TOML file (see the module's example); raises InvalidArgument or FileAccess."""
    try:
        text = _text(bounded_toml.content(path, _KIND))
        return parse(bounded_toml.tables(text, _KIND, _MAX_PARTS, MAX_PATTERNS + 1), base)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) or "\0" in os.fspath(path):
            raise FileAccess(f"{path!s}: cannot read the plan: {getattr(error, 'strerror', None) or error}") from error
        raise InvalidArgument(f"{path}: not valid TOML: {error}") from error
    except InvalidArgument as error:
        raise InvalidArgument(f"{path}: {error}") from error


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
