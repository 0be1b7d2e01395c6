"""The page of results: what each file weighs, what was aimed at, and the paper's tables beside ours."""

import os
import platform
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import onnxruntime

import dcz

from . import scheme, texts
from .networks import NETWORKS
from .paper import Stated
from .rows import WIDTHS, Result

CLOSE = 0.05  # to what a table rounds its bits
GOALS = {"alexnet": {"paper": 35.0, "auto": 37.0}, "vgg-16": {"paper": 49.0, "auto": 52.0}}  # of matched sources
OVERHEAD = 0.02  # by which a file of independent weights may exceed their entropy


def page(results: Sequence[Result], quick: bool = False) -> str:
    """RESULTS.md."""
    parts = ["# AlexNet and VGG-16, compressed", "Made by `make reproduce-large`; do not edit."]
    if quick:
        parts.append("**A quick run on networks of few units: it shows that everything runs, and no more.**")
    parts += [texts.INTRODUCTION, files_table(results), texts.FILES, "## What was aimed at", goals_table(results)]
    parts += [texts.GOALS, "## What the paper's tables imply", texts.implied(), implied_table(results), texts.IMPLIED]
    for result in results:
        network = NETWORKS[result.network]
        parts += [f"## {network.title}, {texts.TITLES[result.source]}", scheme_table(result), sections_table(result)]
    parts += [texts.COLUMNS, "## Decoded and run", runs_table(results), _machine()]
    return "\n\n".join(parts) + "\n"


def sentence(result: Result) -> str:
    """A row in a line, for people who wait."""
    ratios = ", ".join(f"{result.files[width].bytes:,} bytes ({result.ratio(width):.1f}x)" for width in WIDTHS)
    same = "the same answers" if result.same_answers else "OTHER ANSWERS"
    return f"{result.network}, {result.source}: {ratios}; {same}; {sum(result.seconds.values()):.0f} s"


def files_table(results: Sequence[Result]) -> str:
    """A line for each network and source: bytes and ratios of whole files."""
    head = (
        "network", "weights", "the paper", "the paper's scheme on these weights", "`.dcz`, the paper's gap width",
        "`.dcz`, `auto`", "bytes, `auto`", "fewer than the paper's scheme", "decoded answers the same",
    )  # fmt: skip
    lines = [
        (
            NETWORKS[each.network].title,
            texts.TITLES[each.source],
            f"{NETWORKS[each.network].paper.ratios[2]}x",
            f"{1 / each.total.rate:.1f}x",
            *(f"**{each.ratio(width):.1f}x**" for width in WIDTHS),
            f"{each.files['auto'].bytes:,}",
            f"{1 - 1 / each.total.rate / each.ratio('auto'):.1%}",
            _yes(each.same_answers),
        )
        for each in results
    ]
    return _table(head, lines)


def goals_table(results: Sequence[Result]) -> str:
    """A line for each figure that was aimed at."""
    lines = []
    for each in results:
        place = NETWORKS[each.network].title, texts.TITLES[each.source]
        if each.source == "independent":
            over = 8 * each.files["auto"].bytes / sum(each.entropies.values()) - 1
            aim = f"whole file within {OVERHEAD:.0%} of the entropy of index and codes"
            lines.append((*place, aim, f"{over:.2%} above", _met(over <= OVERHEAD)))
            continue
        for width, goal in GOALS[each.network].items():
            aim = f"{goal:.0f}x with " + ("the paper's gap width" if width == "paper" else "`auto`")
            lines.append((*place, aim, f"{each.ratio(width):.2f}x", _met(each.ratio(width) >= goal)))
    return _table(("network", "weights", "aim", "measured", ""), lines)


def implied_table(results: Sequence[Result]) -> str:
    """Entries stored for each kept weight in the layers that need fillers: the paper's, and ours."""
    head, lines = ["network", "layer", "the paper"], []
    for name, group in groupby(results, lambda each: each.network):
        group = list(group)
        head = head[:3] + [texts.TITLES[each.source] for each in group]
        for layer in ("fc6", "fc7"):
            implied = _implied_entries(NETWORKS[name].paper.layers[layer], NETWORKS[name].weights[layer])
            ours = (f"{each.costs[layer].entries / each.costs[layer].kept:.2f}" for each in group)
            lines.append((NETWORKS[name].title, layer, f"{implied:.2f}", *ours))
    return _table(head, lines)


def _implied_entries(stated: Stated, shape: tuple[int, ...]) -> float:
    """Entries for each kept weight that a line's rate and bits imply, the codebook aside."""
    weights = float(np.prod(shape))
    bits = stated.rate * 32 * weights - (32 << stated.bits)
    return bits / (stated.weight_bits + stated.index_bits) / (stated.kept * weights)


def scheme_table(result: Result) -> str:
    """The paper's columns, its figure and ours in each cell, and the rates of the two files."""
    table = NETWORKS[result.network].paper
    head = (
        "layer", "weights", "weights % (P)", "weight bits (P+Q)", "weight bits (P+Q+H)", "index bits (P+Q)",
        "index bits (P+Q+H)", "compress rate (P+Q)", "compress rate (P+Q+H)", "`.dcz`, the paper's gap width",
        "`.dcz`, `auto`",
    )  # fmt: skip
    lines = [
        _cells(name, table.layers[name], cost, table.gap_bits, [result.files[width].layers[name] for width in WIDTHS])
        for name, cost in result.costs.items()
    ]
    files = [{"huffman": result.files[width].bytes} for width in WIDTHS]
    return _table(head, [*lines, _cells("**whole**", table.total, result.total, table.gap_bits, files, is_total=True)])


def _cells(
    name: str, stated: Stated, cost: scheme.Cost, gap_bits: int, records: list[dict], is_total: bool = False
) -> tuple[str, ...]:
    weight_bits, index_bits = cost.coded_weights / cost.entries, cost.coded_index / cost.entries
    return (
        name,
        f"{cost.weights:,}",
        f"{100 * stated.kept:g} / {100 * cost.kept / cost.weights:.1f}",
        f"{stated.bits:g} / {round(cost.fixed_weights / cost.entries, 1):g}",
        _beside(stated.weight_bits, weight_bits, is_total),
        f"{gap_bits} / {cost.fixed_index / cost.entries:g}",
        _beside(stated.index_bits, index_bits, is_total),
        f"{100 * stated.shared_rate:.1f} / {100 * cost.shared_rate:.1f}",
        f"{100 * stated.rate:.2f} / {100 * cost.rate:.2f}",
        *(f"{100 * record['huffman'] / (4 * cost.weights):.2f}" for record in records),
    )


def _beside(stated: float, ours: float, is_total: bool) -> str:
    return f"{stated:.1f} / {ours:.2f}" + ("" if is_total or abs(stated - ours) <= CLOSE else " †")


def sections_table(result: Result) -> str:
    """What each layer's record spends on gaps and on codes, in bits for each kept weight, at both gap widths."""
    head = ("layer", "layout, the paper's gap width", "weight bits", "index bits", "bytes")
    head += ("layout, `auto`", "weight bits", "index bits", "bytes")
    lines = []
    for name in result.costs:
        cells = [name]
        for width in WIDTHS:
            record = result.files[width].layers[name]
            cells += [record["layout"] or record["encoding"], _bits(record["weight_bits_huffman"])]
            cells += [_bits(record["index_bits_huffman"]), f"{record['huffman']:,}"]
        lines.append(cells)
    rest = [cell for width in WIDTHS for cell in ("", "", "", f"{result.files[width].rest:,}")]
    whole = [cell for width in WIDTHS for cell in ("", "", "", f"**{result.files[width].bytes:,}**")]
    return _table(head, [*lines, ["biases, graph, directory", *rest], ["**whole file**", *whole]])


def runs_table(results: Sequence[Result]) -> str:
    """What was checked of each decoded model, the seconds of each step, and the peak of memory."""
    steps = list(results[0].seconds)
    head = (
        "network",
        "weights",
        "same tensors",
        "same outputs",
        "largest output",
        *(f"{s}, s" for s in steps),
        "peak, GB",
    )
    lines = [
        (
            NETWORKS[each.network].title,
            texts.TITLES[each.source],
            _yes(each.same_weights),
            _yes(each.same_answers),
            f"{each.largest:.3g}",
            *(f"{each.seconds[step]:.0f}" for step in steps),
            f"{each.peak / 1e9:.1f}",
        )
        for each in results
    ]
    seconds = sum(sum(each.seconds.values()) for each in results)
    together = (
        f"Together {seconds / 60:.1f} minutes, at most {max(each.peak for each in results) / 1e9:.1f} GB at a time."
    )
    return _table(head, lines) + "\n\n" + together + " " + texts.RUNS


def _machine() -> str:
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}, onnxruntime {onnxruntime.__version__}, "
        f"dcz {dcz.__version__}."
    )


def _bits(bits: float | None) -> str:
    return "" if bits is None else f"{bits:.2f}"


def _yes(flag: bool) -> str:
    return "yes" if flag else "**no**"


def _met(flag: bool) -> str:
    return "met" if flag else "**missed**"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))
