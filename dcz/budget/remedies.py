"""What would mend a miss.

Remedy("the best quality within the limit", "dcz compress -f net.onnx -o net.dcz --max-size 400000")
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from .. import shell
from ..plan import quoted
from ..reading.inspect import TensorReport
from ..reading.why import REAL, SAFE
from .evidence import Evidence
from .limits import SHARE, Limit

MOST_NAMED = 5  # tensors that a command or a plan spells out
CODES = 0.9  # of a tensor's bytes are codes, but for TABLES: a rate is that of codes alone
TABLES = 64  # bytes of a small codebook and its code table
# Bits a weight below which no rounding is proposed: for a whole file, as the coarsest takes 0.4 to 0.9 on the corpus'
# networks, with tables; for a tensor, as so little is left of it.
MIN_RATE, MIN_TENSOR_RATE = 1.0, 0.5


@dataclass(frozen=True)
class Remedy:
    """What would mend a miss, in words, and the command that does it, "" where dcz has none."""

    what: str
    command: str = ""


def remedies(limit: Limit, evidence: Evidence) -> tuple[Remedy, ...]:
    """What would mend a miss."""
    if limit.name == "max-size":
        return (_of_size(limit.value, f"--max-size {int(limit.value)}", "the best quality within the limit", evidence),)
    if limit.name == "min-ratio":
        most = (evidence.report.source_bytes or 0) / limit.value if limit.value else float("inf")
        return (_of_size(most, f"--ratio {limit.value:g}", "the best quality at that ratio", evidence),)
    if limit.name == "max-growth":
        return _growth_remedies(limit, evidence)
    if limit.name == "max-memory":
        return (Remedy("dcz makes files smaller, not models: it takes fewer weights, or float16 ones, before it"),)
    if limit.name == "max-exact":
        return _exact_remedies(evidence)
    if limit.name == "max-tensor-size":
        return _tensor_remedies(limit, evidence)
    return _answer_remedies(limit, evidence)


def _of_size(most: float, option: str, what: str, evidence: Evidence) -> Remedy:
    """A quality that makes a file of `most` bytes, where there is one."""
    rounded = [row for row in evidence.report.rows if _is_rounded(row, evidence)]
    others = evidence.report.file_bytes - sum(row.huffman for row in rounded)
    weights = sum(row.elements for row in rounded)
    bits = 8 * (most - others) / weights if weights else 0.0
    if bits >= MIN_RATE:
        return Remedy(what, evidence.compress(option))
    left = f"{bits:.1f} bits for a weight" if bits > 0 else "nothing for the weights"
    return Remedy(
        f"none by rounding alone: all else takes {others:,} bytes, which leaves {left}; "
        "train it to be sparse (dcz retrain), or change the limit"
    )


def _is_rounded(row: TensorReport, evidence: Evidence) -> bool:
    """Whether a quality acts on a tensor: on what is rounded already, or would be by default."""
    if row.dtype not in REAL:
        return False
    if evidence.is_dcz and not evidence.is_lossless:
        return row.compressed
    return evidence.explained.limit(row).options == SAFE


def _growth_remedies(limit: Limit, evidence: Evidence) -> tuple[Remedy, ...]:
    baseline = evidence.entry.baseline or ""
    words = [] if evidence.entry.config else [shell.path(evidence.path), shell.option("--baseline", baseline)]
    update = " ".join(["dcz check", *words, "--update-baseline"])
    if evidence.old is None:
        return (Remedy("write the baseline, and commit it", update),)
    most = evidence.old.bytes * (1 + limit.value) if limit.unit == SHARE else evidence.old.bytes + limit.value
    smaller = _of_size(most, f"--max-size {int(most)}", "the best quality within the limit", evidence)
    is_model = not baseline.endswith(".json")
    return (smaller,) if is_model else (smaller, Remedy("or accept it, and commit the baseline", update))


def _exact_remedies(evidence: Evidence) -> tuple[Remedy, ...]:
    is_untouched = not evidence.is_dcz or evidence.is_lossless
    if is_untouched and any(_is_rounded(row, evidence) for row in evidence.report.rows):
        return (Remedy("compressed at the default quality", evidence.compress()),)
    exact = [row for row in evidence.report.rows if not evidence.is_touched(row)]
    helped = _first_of(sorted(exact, key=lambda row: -row.original), lambda row: _can_shrink(row, evidence))
    if not helped:
        kinds = {row.dtype for row in exact} | {tensor.dtype for tensor in evidence.decoded.in_graph}
        return (Remedy(f"none: what is exact is {', '.join(sorted(kinds))}, too little, not finite or no weights"),)
    names = " ".join(shell.include(row.name) for row in helped)
    return (Remedy("makes weights of the largest, where that does no harm", evidence.compress(names)),)


def _tensor_remedies(limit: Limit, evidence: Evidence) -> tuple[Remedy, ...]:
    large = sorted((row for row in evidence.report.rows if row.huffman > limit.value), key=lambda row: -row.huffman)
    helped = _first_of(large, lambda row: _can_shrink(row, evidence))
    if not helped:
        kinds = {row.dtype for row in large} or {tensor.dtype for tensor in evidence.decoded.in_graph}
        return (Remedy(f"none: {', '.join(sorted(kinds))} stays exact, as do numbers that are not finite"),)
    rules = []
    for row in helped:
        rate = min(8.0, 8 * (CODES * limit.value - TABLES) / row.elements)
        if rate < MIN_TENSOR_RATE:
            left = f"the limit leaves {max(rate, 0):.1f} bits for each of {row.elements:,} numbers"
            return (
                Remedy(f"none by rounding alone: {left}; train it to be sparse (dcz retrain), or change the limit"),
            )
        rules.append(f"[[rule]]\nmatch = {quoted(shell.pattern(row.name))}\nrate = {rate:.3g}")
    return (Remedy("with a plan.toml of\n" + "\n".join(rules), evidence.compress("--plan plan.toml")),)


def _can_shrink(row: TensorReport, evidence: Evidence) -> bool:
    """Whether rounding would make a tensor smaller: the same question as `dcz inspect --why` answers."""
    return row.dtype in REAL and row.elements > 0 and bool(evidence.explained.limit(row).options)


def _first_of(rows: Sequence[TensorReport], is_such: Callable[[TensorReport], bool]) -> list[TensorReport]:
    """The first MOST_NAMED of the rows of a kind; the others are not looked at."""
    return list(islice(filter(is_such, rows), MOST_NAMED))


def _value(name: str, given: object, placeholder: str) -> str:
    """An option and its path; a placeholder for what is no path, but arrays."""
    return shell.option(name, given if isinstance(given, (str, os.PathLike)) else placeholder)


def _answer_remedies(limit: Limit, evidence: Evidence) -> tuple[Remedy, ...]:
    if not evidence.is_dcz:
        return (Remedy("a model file is as good as it is: train it further, or change the limit"),)
    options = [_value("--calibrate", evidence.entry.data, "SAMPLES.npz")]
    if limit.name == "min-top1":
        options += [_value("--labels", evidence.entry.labels, "LABELS.npy"), "--max-drop 0.5%"]
    else:
        options.append(f"--max-drop {100 * (1 - limit.value) / 2:.3g}%")
    what = "the smallest file whose answers change half as much as they may, where such samples tell"
    what = "the smallest file that loses few right answers" if limit.name == "min-top1" else what
    return (Remedy(what, evidence.compress(*options)), Remedy("or finer weights", evidence.compress("--quality 42")))
