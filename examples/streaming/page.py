"""RESULTS.md, from what large_model.json and scaling.json hold."""

import json
import os
import platform
from pathlib import Path

import numpy as np

INTRODUCTION = """Tensors pass through dcz one by one, between external data and records, and a big one slice by slice:
memory goes by the largest tensor, and not by the model. *Peak* is what the process held at most beyond what it had
imported, without the pages of mapped files, which the system takes back when it needs them. *Address space* is all that
it ever mapped, files, libraries and the interpreter too. Seconds are the clock's; those of the processor, all threads
together, say more where other programs ran at the same time."""
LARGE = """Weights are drawn: blocks as those of a decoder-only transformer of width 4096, the first in float32, the
others in float16, and an embedding of 32,000 words. Each task ran in a process of its own that could map no more than
the limit; the decoded tensors were compared with those that were drawn."""
SCALING = """Layers: as many as needed, of 16.8 M weights (67 MB) at most, so that memory stops growing. One tensor: all
weights in it, so that memory grows with it. The exponent is that of the number of weights, fitted from 10 M on: 1 is
linear. The dashed line in the figure is of slope 1."""


def write(folder: Path) -> None:
    """Write the page of a folder's results."""
    parts = ["# Bigger than memory", "Made by `make large-model` and `make scaling`; do not edit.", INTRODUCTION]
    if (folder / "large_model.json").exists():
        parts += _large(json.loads((folder / "large_model.json").read_text()))
    if (folder / "scaling.json").exists():
        parts += _scaling(json.loads((folder / "scaling.json").read_text()))
    parts.append(
        f"Python {platform.python_version()}, numpy {np.__version__}, {os.cpu_count()} cores, default threads."
    )
    (folder / "RESULTS.md").write_text("\n\n".join(parts) + "\n")


def _large(found: dict) -> list[str]:
    rows = [
        (
            name,
            f"{each['seconds']:.0f}",
            f"{each['cpu_seconds']:.0f}",
            f"{(each['peak_bytes'] - each['base_bytes']) / 1e6:,.0f}",
            f"{(each['peak_bytes'] - each['base_bytes']) / found['largest_bytes']:.2f}",
            f"{each['address_space'] / 2**30:.2f}",
            f"{each['bytes']:,}",
        )
        for name, each in found["tasks"].items()
    ]
    head = (
        "task", "seconds", "of the processor", "peak, MB", "times the largest tensor", "address space, GiB",
        "bytes made",
    )  # fmt: skip
    packed, decibels = found["tasks"]["compress"]["bytes"], found["decibels"]
    made = (
        f"{found['model_bytes']:,} bytes in {found['tensors']} tensors ({found['weights']:,} weights; the largest, "
        f"`{found['largest_tensor']}`, {found['largest_bytes']:,} bytes) under {found['limit'] / 2**30:g} GiB of "
        f"address space, into {packed:,} bytes ({found['model_bytes'] / packed:.2f}x)."
    )
    checked = (
        f"Error of all weights together: {decibels['all']:.2f} dB below them (asked: 34); of single tensors "
        f"{decibels['worst']:.2f} to {decibels['best']:.2f}."
    )
    if "killed_at" in found:
        same = "the same" if found["same_bytes_after_kill"] else "OTHER"
        checked += f" Killed when the journal had {found['killed_at']:,} bytes, the command went on to {same} bytes."
    return ["## A model of 6 GB in 3 GB", LARGE, made, _table(head, rows), checked]


def _scaling(points: list[dict]) -> list[str]:
    from . import scaling

    head = (
        "weights", "model", "task", "seconds", "of the processor", "nanoseconds of it a weight", "peak, MB",
        "times the largest tensor",
    )  # fmt: skip
    rows = [
        (
            f"{p['weights']:,}", p["kind"], p["task"], f"{p['seconds']:.2f}",
            f"{p['cpu_seconds']:.2f}",
            f"{1e9 * p['cpu_seconds'] / p['weights']:.0f}", f"{scaling.memory(p):,.0f}",
            f"{1e6 * scaling.memory(p) / p['largest_bytes']:.2f}",
        )
        for p in points
    ]  # fmt: skip
    fits = [
        (
            task,
            kind,
            *(f"{scaling.exponent(points, task, kind, value):.2f}" for value in (scaling.seconds, scaling.memory)),
        )
        for task in scaling.TASKS
        for kind in ("layers", "one tensor")
    ]
    fitted = _table(("task", "model", "exponent of time", "exponent of memory"), fits)
    return ["## From 1 M to 1 B weights", SCALING, "![time and memory](scaling.svg)", fitted, _table(head, rows)]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
