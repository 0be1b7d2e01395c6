"""What would mend a miss.

Remedy("the best quality within the limit", "dcz compress -f net.onnx -o net.dcz --max-size 400000")
"""

import json
import os
import shlex
from dataclasses import dataclass

from .evidence import REAL, Evidence
from .limits import SHARE, Limit

MOST_NAMED = 5  # tensors that a command or a plan spells out
CODES = 0.95  # of a tensor's bytes are codes, but for TABLES: a rate is that of codes alone
TABLES = 64  # bytes of a small codebook and its code table


@dataclass(frozen=True)
class Remedy:
    """What would mend a miss, in words, and the command that does it, "" where dcz has none."""

    what: str
    command: str = ""


def remedies(limit: Limit, evidence: Evidence) -> tuple[Remedy, ...]:
    """What would mend a miss."""
    if limit.name == "max-size":
        return (Remedy("the best quality within the limit", evidence.compress(f"--max-size {int(limit.value)}")),)
    if limit.name == "min-ratio":
        return (Remedy("the best quality at that ratio", evidence.compress(f"--ratio {limit.value:g}")),)
    if limit.name == "max-growth":
        return _growth_remedies(limit, evidence)
    if limit.name == "max-memory":
        return (Remedy("dcz makes files smaller, not models: it takes fewer weights, or float16 ones, before it"),)
    if limit.name == "max-exact":
        return _exact_remedies(evidence)
    if limit.name == "max-tensor-size":
        return _tensor_remedies(limit, evidence)
    return _answer_remedies(limit, evidence)


def _growth_remedies(limit: Limit, evidence: Evidence) -> tuple[Remedy, ...]:
    baseline = evidence.entry.baseline or ""
    words = [] if evidence.entry.config else [shlex.quote(evidence.path), f"--baseline {shlex.quote(baseline)}"]
    update = " ".join(["dcz check", *words, "--update-baseline"])
    if evidence.old is None:
        return (Remedy("write the baseline, and commit it", update),)
    most = evidence.old.bytes * (1 + limit.value) if limit.unit == SHARE else evidence.old.bytes + limit.value
    smaller = Remedy("the best quality within the limit", evidence.compress(f"--max-size {int(most)}"))
    is_model = not baseline.endswith(".json")
    return (smaller,) if is_model else (smaller, Remedy("or accept it, and commit the baseline", update))


def _exact_remedies(evidence: Evidence) -> tuple[Remedy, ...]:
    if not evidence.is_dcz or evidence.report.metadata.get("settings") == "lossless=True":
        return (Remedy("compressed at the default quality", evidence.compress()),)
    exact = [row for row in evidence.report.rows if not row.compressed]
    real = sorted((row for row in exact if row.dtype in REAL), key=lambda row: -row.original)
    if not real:
        kinds = {row.dtype for row in exact} | {tensor.dtype for tensor in evidence.decoded.in_graph}
        return (Remedy(f"none: what is exact is {', '.join(sorted(kinds))}, too little or no weights"),)
    names = " ".join(f"--include {shlex.quote(row.name)}" for row in real[:MOST_NAMED])
    return (Remedy("makes weights of the largest, where that does no harm", evidence.compress(names)),)


def _tensor_remedies(limit: Limit, evidence: Evidence) -> tuple[Remedy, ...]:
    large = sorted((row for row in evidence.report.rows if row.huffman > limit.value), key=lambda row: -row.huffman)
    real = [row for row in large if row.dtype in REAL and row.elements]
    if not real:
        kinds = {row.dtype for row in large} or {tensor.dtype for tensor in evidence.decoded.in_graph}
        return (Remedy(f"none: {', '.join(sorted(kinds))} stays exact"),)
    rules = []
    for row in real[:MOST_NAMED]:
        rate = max(0.01, min(8.0, 8 * (CODES * limit.value - TABLES) / row.elements))
        rules.append(f"[[rule]]\nmatch = {json.dumps(row.name)}\nrate = {rate:.3g}")
    return (Remedy("with a plan.toml of\n" + "\n".join(rules), evidence.compress("--plan plan.toml")),)


def _quoted(given: object, placeholder: str) -> str:
    """A path for a command line; a placeholder for what is no path, but arrays."""
    return shlex.quote(os.fspath(given)) if isinstance(given, (str, os.PathLike)) else placeholder


def _answer_remedies(limit: Limit, evidence: Evidence) -> tuple[Remedy, ...]:
    data = _quoted(evidence.entry.data, "SAMPLES.npz")
    if not evidence.is_dcz:
        return (Remedy("a model file is as good as it is: train it further, or change the limit"),)
    options = [f"--calibrate {data}"]
    if limit.name == "min-top1":
        options.append(f"--labels {_quoted(evidence.entry.labels, 'LABELS.npy')} --max-drop 0.5%")
    else:
        options.append(f"--max-drop {100 * (1 - limit.value) / 2:.3g}%")
    what = "the smallest file whose answers change half as much as they may, where such samples tell"
    what = "the smallest file that loses few right answers" if limit.name == "min-top1" else what
    return (Remedy(what, evidence.compress(*options)), Remedy("or finer weights", evidence.compress("--quality 42")))
