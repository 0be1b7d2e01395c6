"""Verdicts as figures in the text format of OpenMetrics, as GitLab's metrics reports show them beside a branch's.

dcz_file_bytes{file="net.dcz"} 812345
"""

import math
from collections.abc import Sequence

from ...text import printable
from ..judge import Verdict
from ..limits import BYTES, RATIO

_FAMILIES = {"dcz_file_bytes": "file_bytes", "dcz_memory_bytes": "memory_bytes"}
_MEASURED = ("max-size", "max-memory")  # which these are already


def render(verdicts: Sequence[Verdict]) -> str:
    """Each figure of each file, by families, as the format has it."""
    families: dict[str, dict[str, str]] = {}
    for verdict in verdicts:
        for family, field in _FAMILIES.items():
            value = getattr(verdict, field)
            if value is not None:
                families.setdefault(family, {})[verdict.path] = str(value)
        for budget in verdict.budgets:
            if budget.figure is not None and math.isfinite(budget.figure) and budget.name not in _MEASURED:
                unit = {BYTES: "_bytes", RATIO: ""}.get(budget.unit, "_ratio")
                family = f"dcz_{budget.name[4:].replace('-', '_')}{unit}"
                families.setdefault(family, {})[verdict.path] = f"{budget.figure:.12g}"
    lines = []
    for family, values in families.items():
        lines.append(f"# TYPE {family} gauge")
        lines += [f'{family}{{file="{_label(path)}"}} {value}' for path, value in values.items()]
    return "\n".join([*lines, "# EOF", ""])


def _label(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')
