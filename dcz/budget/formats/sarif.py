"""Verdicts as SARIF 2.1.0 (OASIS), with what GitHub's code scanning needs: rules, levels, places, fingerprints.

A result for each budget that is missed; a file that could not be judged is a notification, and the run unsuccessful.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from ... import __version__
from ...text import printable
from ..judge import Budget, Verdict
from ..limits import KINDS
from . import words

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_RULES = list(KINDS)


def render(verdicts: Sequence[Verdict]) -> str:
    """The log, as JSON."""
    rules = [_rule(name, text) for name, (_, text) in KINDS.items()]
    results = [_result(verdict, budget) for verdict in verdicts for budget in verdict.missed]
    failed = [verdict for verdict in verdicts if verdict.error is not None]
    notes = [{"level": "error", "message": {"text": words.error(v)}, "locations": [_location(v)]} for v in failed]
    invocation: dict[str, Any] = {"executionSuccessful": not failed}
    if notes:
        invocation["toolExecutionNotifications"] = notes
    driver = {"name": "dcz", "version": __version__, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "results": results,
        "columnKind": "unicodeCodePoints",
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1) + "\n"


def _rule(name: str, text: str) -> dict[str, Any]:
    words = name.replace("-", " ")
    return {
        "id": name,
        "name": words.title().replace(" ", ""),
        "shortDescription": {"text": f"A model misses its {words}"},
        "fullDescription": {"text": f"{name}: {text}"},
        "help": {"text": f"{name}: {text}. `dcz check` says which tensors and which command would mend it."},
        "defaultConfiguration": {"level": "error"},
    }


def _result(verdict: Verdict, budget: Budget) -> dict[str, Any]:
    text = f"{printable(verdict.path)}: {budget.name}: {words.sentence(budget)}"
    parts = (verdict.path, budget.name, budget.level)
    return {
        "ruleId": budget.name,
        "ruleIndex": _RULES.index(budget.name),
        "level": "error" if budget.fails else "warning",
        "message": {"text": "\n".join([text, *words.why(budget)])},
        "locations": [_location(verdict)],
        "partialFingerprints": {"budget/v1": hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()},
    }


def _location(verdict: Verdict) -> dict[str, Any]:
    """Where the budget is written, else the model: a place in the repository, as code scanning wants one."""
    path, line = words.place(verdict)
    artifact = {"uri": quote(path.encode("utf-8", "surrogateescape"))}
    return {"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": line}}}
