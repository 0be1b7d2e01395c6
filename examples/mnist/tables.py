"""The page of results: what each file is worth, where its bytes are, and how it was made."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

import dcz

from . import networks
from .networks import ARCHITECTURES
from .rows import Result

JUDGES = {"test": "the 10,000 test digits", "validation": "validation digits, the test digits not being looked at"}
CHOICES = (
    "Every choice, the best epoch of each phase included, was made by 5,000 digits held out of the training set (the "
    "last of `default_rng(0).permutation(60000)`)"
)


def page(results: Sequence[Result], packed: Mapping[str, Path], titles: Mapping[str, str], figures: Path, quick) -> str:
    """RESULTS.md: the results, a table of tensors for each file (by name, in `packed`), and the figures there are."""
    parts = ["# MNIST, compressed", "Made by `make reproduce`; do not edit."]
    if quick:
        parts.append("**A quick run on a few digits: it shows that everything runs, and the figures mean nothing.**")
    if results:
        parts += [_introduction(results), results_table(results), "## How each file was made", _recipes(results)]
    for result in results:
        parts += [f"## {result.file}, tensor by tensor", layers_table(packed[result.file])]
    if results:
        parts.append(_columns())
    drawn = {name: title for name, title in titles.items() if (figures / f"{name}.png").exists()}
    if drawn:
        parts.append("## Figures")
        parts.append("All on validation digits; the numbers are in the `.json` of the same name.")
        parts += [f"![{title}]({figures.name}/{name}.png)\n\n{title}" for name, title in drawn.items()]
    return "\n\n".join(parts) + "\n"


def _introduction(results: Sequence[Result]) -> str:
    judged = " or ".join(dict.fromkeys(JUDGES[result.judge] for result in results))
    looked = ", looked at once a row" if all(result.judge == "test" for result in results) else ""
    return (
        f"Errors are on {judged}{looked}: the file is decoded, and onnxruntime answers. {CHOICES}. "
        "Bytes are those of the whole `.dcz` file, graph and all. The first ratio is against the dense ONNX file, the "
        "second against four bytes for each parameter, as the paper counts. Minutes are wall-clock time on one core, "
        f"to train the dense network and to compress it; the networks side by side on {os.cpu_count()} cores. "
        f"{platform.machine()}, torch {torch.__version__}, dcz {dcz.__version__}."
    )


def results_table(results: Sequence[Result]) -> str:
    """A line for each file."""
    head = (
        "network", "file", "paper", "dense error", "compressed error", "bytes", "ratio to the ONNX file",
        "ratio to 4 bytes a parameter", "minutes, dense + compressed", "seed",
    )  # fmt: skip
    lines = []
    for result in results:
        network = ARCHITECTURES[result.network]
        error, ratio = network.paper
        lines.append((
            network.title,
            f"[{result.file}]({result.file})",
            f"{error:.2f} % at {ratio}x",
            f"{result.dense_errors / result.samples:.2%}",
            f"**{result.errors / result.samples:.2%}**",
            f"{result.bytes:,}",
            f"{result.dense_bytes / result.bytes:.1f}x",
            f"**{4 * result.parameters / result.bytes:.1f}x**",
            f"{result.dense_seconds / 60:.1f} + {result.seconds / 60:.1f}",
            str(result.seed),
        ))  # fmt: skip
    return _table(head, lines)


def layers_table(path: Path) -> str:
    """A line for each tensor of a file in the columns of the paper's tables 2 and 3, and one for the whole file."""
    report, layers = dcz.inspect(path), networks.layers(path)
    with dcz.open(path) as tensors:
        kept = {name: int(np.count_nonzero(array)) for name, array in tensors.items()}
    head = (
        "layer", "weights", "weights % (P)", "weight bits (P+Q)", "weight bits (P+Q+H)", "index bits (P+Q)",
        "index bits (P+Q+H)", "compress rate (P+Q)", "compress rate (P+Q+H)", "bytes",
    )  # fmt: skip
    lines = [
        (
            layers.get(row.name, row.name),
            f"{row.elements:,}",
            f"{kept[row.name] / row.elements:.2%}",
            _bits(row.weight_bits_share),
            _bits(row.weight_bits_huffman),
            _bits(row.index_bits_share),
            _bits(row.index_bits_huffman),
            _rate(row.share, row.original),
            _rate(row.huffman, row.original),
            f"{row.huffman:,}",
        )
        for row in report.rows
    ]
    total, rest = report.total, report.directory_bytes + report.graph_bytes
    lines.append((
        "whole file", f"{total.elements:,}", f"{sum(kept.values()) / total.elements:.2%}", "", "", "", "",
        _rate(total.share + rest, total.original), _rate(report.file_bytes, total.original), f"{report.file_bytes:,}",
    ))  # fmt: skip
    return _table(head, lines)


def _columns() -> str:
    return (
        "P: pruned, Q: shared, H: Huffman-coded, as in the paper's tables 2 and 3. Bits are per kept weight, the skips "
        "of the index and the code tables counted where they are; rates are bytes in percent of four for each weight. "
        "The whole file has its directory and its graph besides the tensors; a tensor without a line is in the graph, "
        "being shortest there."
    )


def _recipes(results: Sequence[Result]) -> str:
    lines = []
    for result in results:
        before, after = result.chosen_by
        lines.append(
            f"- `{result.file}`: `python -m examples.mnist.reproduce --only {result.network}`, seed {result.seed}. "
            f"Dense: {result.dense_recipe}. Compressed: {result.recipe}. "
            f"Validation error {before:.2%} -> {after:.2%}." + "".join(f" Note: {note}." for note in result.notes)
        )
    return "\n".join(lines)


def _bits(bits: float | None) -> str:
    return "" if bits is None else f"{bits:.1f}"


def _rate(size: int, original: int) -> str:
    return f"{size / original:.2%} ({original / size:.0f}x)" if size and original else ""


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))
