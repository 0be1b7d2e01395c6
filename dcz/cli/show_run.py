"""What `dcz run` shows of a model's answers."""

from ..evaluation.answers import Answers, Look
from ..text import printable
from .terminal import Column, console, safe, table

COLUMNS = [
    Column("output", right=False, is_name=True), Column("type", right=False, priority=1), Column("shape", right=False),
    Column("least"), Column("mean", priority=1), Column("most"), Column("answers", right=False, priority=2),
]  # fmt: skip


def answers(found: Look, quiet: bool = False) -> None:
    """A table of the outputs, and, unless `quiet`, the first samples' classes and labels."""
    screen = console()
    rows = [
        (each.name, each.dtype, " x ".join(str(dim or "?") for dim in each.shape) or "one number", _figure(each.low),
         _figure(each.mean), _figure(each.high), each.measure)
        for each in found.outputs
    ]  # fmt: skip
    screen.print(table(COLUMNS, rows, screen.width, f"{found.samples:,} samples"))
    for each in found.outputs:
        if each.not_finite:
            screen.print(f"{safe(each.name)}: {each.not_finite:,} numbers are infinite or none")
        if not quiet:
            for line in _best(each):
                screen.print(line, soft_wrap=True)


def _best(each: Answers) -> list[str]:
    lines = []
    if each.top:
        what = "sample" if each.measure == "top class" else "place"
        lines.append(f"{safe(each.name)}, {each.measure} first")
        lines += [
            f"  {what} {number}: " + ", ".join(f"{place} ({value:.4g})" for place, value in best)
            for number, best in enumerate(each.top)
        ]
    if each.labels:
        lines.append(f"{safe(each.name)}: " + printable(", ".join(map(str, each.labels))))
    return lines


def _figure(number: float | None) -> str:
    return "" if number is None else f"{number:.4g}"
