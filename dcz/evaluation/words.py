"""What was measured of answers, in words and as notebooks show it.

figures(evaluation, "net.onnx")   ->   [("agreement", "98.46 %, 10 differ from net.onnx, by top class of 650")]
"""

import math
from typing import TYPE_CHECKING

from ..display import html
from ..text import counted
from .metrics import distance

if TYPE_CHECKING:
    from .evaluate import Evaluation
    from .output_difference import OutputDifference
    from .verify import Verification

SHOWN = 10  # tensors in a notebook


def figures(result: "Evaluation", against: str) -> list[tuple[str, str]]:
    """What was counted and measured, by name; `against` is what the model to compare with is called."""
    rows = []
    if result.errors is not None:
        rows.append(("top 1", _share(result.top1, result.errors, "errors")))
        if result.top5_errors is not None:
            rows.append(("top 5", _share(result.top5, result.top5_errors, "errors")))
        rows.append(("loss", _nats(result.loss, ".4f")))
    if result.against is not None:
        if result.disagreements is None:
            assert result.score is not None  # it is there wherever there is a reference
            digits = {"cosine": f"{result.score:.6f}", "relative error": f"{100 * (1 - result.score):.3g} %"}
            figure = digits.get(result.measure, f"{100 * result.score:.2f} %")
            where = "" if result.worst_channels is None else f" in {result.worst_channels.describe()}"
            rows.append((result.measure, f"{figure}{where}, from {against}"))
        else:
            share = _share(result.agreement, result.disagreements, f"differ from {against}")
            rows.append(("agreement", f"{share}, by {result.measure} of {result.answers or result.samples:,}"))
        rows += [] if result.divergence is None else [("divergence", _nats(result.divergence, ".3g"))]
        rows += [] if result.decibels is None else [("difference", distance(result.decibels))]
    return rows


def difference(output: "OutputDifference", kind: str = "") -> str:
    """How an output differs; `kind` is that of the samples, such as "drawn"."""
    if not output.samples:
        return "nothing to compare"
    if output.chosen and math.isnan(output.decibels):
        return output.describe(kind)
    if output.decibels == math.inf or math.isnan(output.decibels):
        return f"{distance(output.decibels)}; {output.describe(kind)}"
    if output.decibels == -math.inf or output.measure in ("label", "entries", "rows"):  # whose distances mean nothing
        return output.describe(kind)
    return f"{output.decibels:.1f} dB, largest difference {output.largest:.3g}; {output.describe(kind)}"


def evaluation_line(result: "Evaluation") -> str:
    """An evaluation as Python prints it."""
    told = (f"{name} {text}" for name, text in figures(result, result.against or "") if name != "difference")
    return f"<{result.path}: {'; '.join(told)}>"


def evaluation_page(result: "Evaluation") -> str:
    """An evaluation as notebooks show it."""
    classes = f" of {counted(result.classes, 'class', 'classes')}" if result.classes else ""
    facts = [("samples", f"{result.samples:,}"), ("output", f"{result.output}{classes}")]
    return html.page(result.path, [*facts, *figures(result, result.against or "")])


def verification_line(result: "Verification") -> str:
    """A verification as Python prints it."""
    return f"<{result.path}: {'; '.join(text for _, text in _verified(result))}>"


def verification_page(result: "Verification") -> str:
    """A verification as notebooks show it: the outputs, and the tensors that are worst off."""
    worst = result.worst_first
    rows = [[row.name, *map(_decibels, (row.decibels, row.typical, row.worst_row))] for row in worst[:SHOWN]]
    if len(worst) > SHOWN:
        rows.append([counted(len(worst) - SHOWN, "other"), "", "", ""])
    header = ["tensor", "all weights (dB)", "typical ones", "worst row"] if rows else []
    notes = [("note", result.note)] if result.note else []
    return html.page(result.path, [*_verified(result), *notes], header, rows)


def _verified(result: "Verification") -> list[tuple[str, str]]:
    """What was checked and compared, by name."""
    facts = [("file", f"intact, {counted(result.records, 'record')}, {result.decoded_bytes:,} bytes decoded")]
    if result.tensors:
        facts.append(("tensors", f"{len(result.changed)} of {counted(len(result.tensors), 'tensor')} differ"))
    kind = "drawn" if result.drawn else ""
    return facts + [("output", f"{each.output}: {difference(each, kind)}") for each in result.outputs]


def _decibels(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _nats(mean: float | None, form: str) -> str:
    """A mean over all samples; in words where there is none."""
    assert mean is not None  # asked for where it was measured
    return f"{mean:{form}} nats" if math.isfinite(mean) else "no figure, for some answers are no numbers"


def _share(share: float | None, others: int | None, word: str) -> str:
    assert share is not None and others is not None  # counted wherever there was something to compare with
    return f"{100 * share:.2f} %, {others:,} {word}"
