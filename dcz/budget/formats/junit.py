"""Verdicts as JUnit XML: a suite for each file, a case for each budget, within junit-10.xsd of Jenkins' xUnit plugin.

GitLab shows the text of a failure and Jenkins its message: the sentence is in both. A warning is a case that passes and
has the sentence in its output, for JUnit has no level between.
"""

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence

from ...text import printable
from ..judge import Budget, Verdict
from ..limits import FAIL
from . import words


def render(verdicts: Sequence[Verdict]) -> str:
    """The document, in UTF-8 once it is written."""
    counts = [_counts(verdict) for verdict in verdicts]
    total = {name: str(sum(int(count[name]) for count in counts)) for name in ("tests", "failures", "errors")}
    root = ET.Element("testsuites", {"name": "dcz check", **total})
    taken: Counter[tuple[str, str]] = Counter()
    for verdict, count in zip(verdicts, counts, strict=True):
        suite = ET.SubElement(root, "testsuite", {"name": printable(verdict.path), **count, "time": "0"})
        if verdict.error is not None:
            case = _case(suite, verdict, "read")
            ET.SubElement(case, "error", {"type": type(verdict.error).__name__, "message": words.error(verdict)})
        for budget in verdict.budgets:
            _add(suite, verdict, budget, taken)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _counts(verdict: Verdict) -> dict[str, str]:
    errors = int(verdict.error is not None)
    tests, failures = errors + len(verdict.budgets), sum(budget.fails for budget in verdict.budgets)
    return {"tests": str(tests), "failures": str(failures), "errors": str(errors), "skipped": "0"}


def _case(suite: ET.Element, verdict: Verdict, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", {"name": name, "classname": printable(verdict.path), "time": "0"})


def _add(suite: ET.Element, verdict: Verdict, budget: Budget, taken: Counter[tuple[str, str]]) -> None:
    """Add a case; of several of one name for a file, as entries may give it, the second is called #2: GitLab keeps one
    of each name."""
    name = budget.name if budget.level == FAIL else f"{budget.name}, warning"
    taken[verdict.path, name] += 1
    number = taken[verdict.path, name]
    case = _case(suite, verdict, name if number == 1 else f"{name} #{number}")
    sentence = words.sentence(budget)
    text = "\n".join([sentence, *words.why(budget)])
    if budget.fails:
        ET.SubElement(case, "failure", {"type": budget.name, "message": sentence}).text = text
    else:
        ET.SubElement(case, "system-out").text = text if budget.holds else f"warning: {text}"
