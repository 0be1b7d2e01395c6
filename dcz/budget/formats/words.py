"""The sentences on budgets that every format uses; names of tensors and files are printable in all of them."""

import os
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from ...errors import message
from ...text import printable
from ..judge import Budget, Verdict
from ..limits import BYTES, RATIO, WARN, write
from ..reasons import Reason

STATUS = {"holds": "holds", "warning": "warning", "missed": "MISSED", "error": "ERROR"}


def status(budget: Budget) -> str:
    """holds, warning or missed."""
    if budget.holds:
        return "holds"
    return "warning" if budget.level == WARN else "missed"


def figure(budget: Budget) -> str:
    """The figure in its unit; with a sign where it is a growth."""
    if budget.figure is None:
        return "not measured"
    text = write(budget.figure, budget.unit)
    return f"+{text}" if budget.name == "max-growth" and budget.figure >= 0 else text


def limit(budget: Budget) -> str:
    """The limit in its unit."""
    return write(budget.limit, budget.unit)


def sentence(budget: Budget) -> str:
    """What was measured, and by how much it misses its limit: 812,345 bytes, 112,345 bytes over the limit of ..."""
    note = f" ({printable(budget.note)})" if budget.note else ""
    if budget.figure is None:
        return f"{printable(budget.note) or 'not measured'}; limit {limit(budget)}"
    if budget.holds:
        return f"{figure(budget)}{note}, limit {limit(budget)}{' to warn at' if budget.level == WARN else ''}"
    side = "over" if budget.name.startswith("max-") else "under"
    distance = abs(budget.figure - budget.limit)
    far = f"{write(distance, budget.unit)} {side}" if budget.unit != RATIO else side
    far = side if budget.unit == BYTES and round(distance) == 0 else far
    return f"{figure(budget)}{note}, {far} the limit of {limit(budget)}"


def title(verdict: Verdict) -> str:
    """The file, and what its budgets come to."""
    return f"{printable(verdict.path)}: {STATUS[verdict.status]}"


def error(verdict: Verdict) -> str:
    """What stopped a file from being judged; "" where nothing did."""
    return "" if verdict.error is None else printable(message(verdict.error))


def place(verdict: Verdict) -> tuple[str, int]:
    """Where a budget is written, else the model: a path with slashes, from the repository's top on where it lies in
    there, and a line."""
    path = verdict.config or verdict.path
    top = os.environ.get("GITHUB_WORKSPACE") or os.getcwd()
    try:
        found = os.path.relpath(os.path.abspath(path), top)
    except ValueError:  # another drive
        found = path
    outside = found.split(os.sep)[0] == os.pardir
    return PurePath(path if outside else found).as_posix(), verdict.line if verdict.config else 1


def reason(found: Reason) -> str:
    """One tensor in a line: its name, bytes, change, and what limits it."""
    change = "" if found.change is None else f" ({found.change:+,})"
    return f"{printable(found.name)}: {found.bytes:,} bytes{change}: {printable(found.limited_by)}"


def why(budget: Budget) -> Iterator[str]:
    """Lines on a miss: the tensors, and what would mend it."""
    if budget.reasons:
        yield heading(budget)
        yield from (f"  {reason(found)}" for found in budget.reasons)
    for remedy in budget.remedies:
        lines = [printable(line) for line in remedy.what.split("\n")]
        yield f"to mend it: {lines[0]}" + (":" if remedy.command and len(lines) == 1 else "")
        yield from (f"  {line}" for line in lines[1:])
        if remedy.command:
            yield f"  {printable(remedy.command)}"


def heading(budget: Budget) -> str:
    """What the tensors under a miss are."""
    if any(found.change is not None for found in budget.reasons):
        return "tensors that grew:"
    return {"max-memory": "largest tensors, decoded:", "max-exact": "largest exact tensors:",
            "max-tensor-size": "tensors over the limit:", "min-agreement": "tensors of fewest bits:",
            "min-top1": "tensors of fewest bits:"}.get(budget.name, "largest tensors:")  # fmt: skip


def summary(verdicts: Sequence[Verdict]) -> str:
    """One sentence on all files."""
    count = {name: sum(v.status == name for v in verdicts) for name in STATUS}
    parts = [f"{count['holds'] + count['warning']} of {len(verdicts)} within budget"]
    parts += [f"{count['missed']} missed"] if count["missed"] else []
    parts += [f"{count['warning']} with warnings"] if count["warning"] else []
    parts += [f"{count['error']} not judged"] if count["error"] else []
    return ", ".join(parts)
