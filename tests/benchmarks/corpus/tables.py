"""Results (JSON) -> the page.

tables.page(json.loads(Path("results.json").read_text()), before={})  ->  markdown
"""

from collections.abc import Callable
from typing import Any

from .rows import EXACT, Result, Row
from .variants import VARIANTS

ALLOWED = 0.01  # of its task measure, that a network may lose at the default
FALL = 0.5  # decibels that an output may be worse by at a higher quality
QUALITIES = [name for name in VARIANTS if name.startswith("--quality")]
HEAD = """# The corpus

{networks} networks out of {packages} packages, each on inputs of its own kind, prepared as its package does it, and
judged by the measure of its task. Sizes are bytes of files. A score is how far a smaller network's answers are the
original's, not how good they are; `right` is how often the original's own are true, where that is known. `--quality 34`
asks for what is the default. Of onnxruntime's quantizers, dynamic int8 and uint8 have such weights, a scale a tensor;
static int8 has weights a channel, and activations calibrated on other inputs than those that are scored. What `-`
stands for is told at the end.

{runs}
"""
BYTES = """
## Bytes
"""
SCORES = """
## Scores

In percent. The samples are drawn once, and scored for every column alike.
"""
DECIBELS = """
## Decibels

Signal to noise ratio at the float output that is worst off; `=`: all outputs are the same.
"""
EXTRA = """
## Further figures
"""


def page(known: dict[str, Any], before: dict[str, Any]) -> str:
    """The whole page; `before` are results of an earlier state to compare with, or empty."""
    rows = [Row.from_dict(row) for row in known["rows"].values()]
    measured = [row for row in rows if not row.missing]
    text = HEAD.format(
        networks=len(measured),
        packages=len({row.package for row in measured}),
        runs="\n\n".join(
            f"`{run['command']}`, {', '.join(f'{key} {value}' for key, value in run.items() if key != 'command')}"
            for run in known["runs"]
        ),
    )
    names = [name for name in VARIANTS if name != "zstd -19"]
    text += BYTES + _table(
        ["network", "package", "original", *VARIANTS, "ratio of the default"],
        [
            [row.name, row.package, f"{row.bytes:,}", *_cells(row, list(VARIANTS), _bytes), _ratio(row)]
            for row in measured
        ],
    )
    text += SCORES + _table(
        ["network", "measure", "samples", "right", *names],
        [
            [row.name, row.measure, str(row.samples), _percent(row.right), *_cells(row, names, _score)]
            for row in measured
        ],
    )
    text += DECIBELS + _table(["network", *names], [[row.name, *_cells(row, names, _worst)] for row in measured])
    text += EXTRA + _table(
        ["network", "what", *names],
        [
            [row.name, what, *_cells(row, names, lambda result, what=what: f"{result.extra[what]:.4g}")]
            for row in measured
            for what in sorted({what for result in row.results.values() for what in result.extra})
        ],
    )
    return text + _verdict(measured) + _before(measured, {} if before == known else before) + _reasons(rows)


def _table(head: list[str], lines: list[list[str]]) -> str:
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in [head, ["---"] * len(head), *lines])


def _cells(row: Row, names: list[str], cell: Callable[[Result], str]) -> list[str]:
    results = [row.results.get(name) for name in names]
    return ["-" if result is None or result.missing else cell(result) for result in results]


def _bytes(result: Result) -> str:
    return f"{result.bytes:,}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"


def _score(result: Result) -> str:
    return _percent(result.score)


def _worst(result: Result) -> str:
    if result.worst is None:
        return "" if result.score is None else "no float"
    return "=" if result.worst >= EXACT else "no number" if result.worst <= -EXACT else f"{result.worst:.1f}"


def _default(row: Row) -> Result | None:
    found = row.results.get("default")
    return None if found is None or found.missing else found


def _ratio(row: Row) -> str:
    found = _default(row)
    return f"{row.bytes / found.bytes:.2f}" if found and row.bytes and found.bytes else "-"


def falls(row: Row) -> list[str]:
    """Outputs that a higher quality makes worse, by more than FALL decibels."""
    known = [(name, row.results[name].decibels) for name in QUALITIES if name in row.results]
    return [
        f"{output} {low[output]:.1f} dB at {first}, {high[output]:.1f} at {second}"
        for (first, low), (second, high) in zip(known, known[1:], strict=False)
        for output in low
        if output in high and high[output] < low[output] - FALL
    ]


def _verdict(rows: list[Row]) -> str:
    losing = sorted(
        ((found.score, row) for row in rows if (found := _default(row)) and found.score is not None),
        key=lambda pair: pair[0],
    )
    text = f"\n## What the default loses\n\nMore than {ALLOWED:.0%} of their own measure: "
    text += ", ".join(f"{row.name} ({100 * (1 - s):.2f} %)" for s, row in losing if s < 1 - ALLOWED) or "none"
    text += f".\n\nOutputs that a higher quality makes worse, by more than {FALL:g} dB:\n\n"
    worse = [f"- {row.name}: {'; '.join(found[:3])}\n" for row in rows if (found := falls(row))]
    return text + ("".join(worse) or "- none\n")


def _before(rows: list[Row], before: dict[str, Any]) -> str:
    """The default then and now."""
    if not before:
        return ""
    known = {name: Row.from_dict(row) for name, row in before["rows"].items()}
    lines = []
    for row in rows:
        old, new = (_default(each) if each else None for each in (known.get(row.name), row))
        if old and new:
            pairs = [(cell(old), cell(new)) for cell in (_bytes, _score, _worst)]
            pairs.append((f"{old.seconds:.1f}", f"{new.seconds:.1f}"))
            lines.append([row.name, *(each for pair in pairs for each in pair)])
    head = [f"{what}, {when}" for what in ("bytes", "score", "dB", "seconds") for when in ("then", "now")]
    then = before["runs"][0]
    text = f"\n## The default before\n\nThen: commit {then['commit']} of {then['date']}."
    return f"{text} Seconds are of processor.\n{_table(['network', *head], lines)}"


def _reasons(rows: list[Row]) -> str:
    """What the inputs are, where they are not its users', and what is missing, and why."""
    text = "\n## Inputs that are not real\n\n" + "".join(f"- {row.name}: {row.note}.\n" for row in rows if row.note)
    text += "\n## What is missing\n\n"
    found = [f"- {row.name} ({row.package}): {row.missing}\n" for row in rows if row.missing]
    found += [
        f"- {row.name}, {name}: {result.missing}\n"
        for row in rows
        for name, result in row.results.items()
        if result.missing
    ]
    return text + ("".join(found) or "Nothing.\n")
