"""The figures, drawn from measured numbers; each leaves these beside it, as JSON.

figures.storage({"lenet-5.dcz": path}, folder)      -> folder/storage.png, folder/storage.json
"""

import json
from pathlib import Path

import matplotlib
import numpy as np

import dcz
from dcz.codec.stages import huffman
from dcz.encoded import Sparse, codebook_patterns
from dcz.format.container import Archive
from dcz.tensor import values

from .networks import layers

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

TITLES = {
    "tradeoff": "Accuracy against compression on LeNet-300-100, each point retrained briefly. Sizes are those of whole "
    ".dcz files; SVD's is that of its float32 factors and biases.",
    "starts": "Four starts of k-means on a pruned LeNet-300-100, before and after the centroids are trained.",
    "codebook": "The kept weights of one layer, and its centroids before and after training.",
    "streams": "What is Huffman-coded of each file's largest tensor: weight codes, and gaps between kept weights.",
    "storage": "What the bytes of each file are for.",
}
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's, for all eyes
MARKERS = "osD^vP"
STYLE = {
    "font.size": 11,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
WORST = 0.06  # accuracy loss: what loses more lies below the frame


def tradeoff(points: list[dict], folder: Path) -> None:
    """Accuracy loss against the share of the original size, a line for each method (Deep Compression, figure 6)."""
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(8, 5))
        for number, (method, found) in enumerate(_grouped(points, "method").items()):
            found = sorted(found, key=lambda point: point["share"])
            share, loss = [100 * point["share"] for point in found], [-100 * point["loss"] for point in found]
            axes.plot(share, loss, marker=MARKERS[number], color=COLOURS[number], label=method)
        axes.axhline(0, color="0.4", linewidth=1)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:g} %"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(-100 * WORST, max(0.5, -100 * min(point["loss"] for point in points) + 0.2))
        axes.set_xlabel("size, in % of the dense network's weights in float32")
        axes.set_ylabel("change of validation accuracy, points")
        axes.set_title("LeNet-300-100: what each method costs")
        axes.legend(loc="lower right")
        _save(figure, points, folder, "tradeoff")


def starts(points: list[dict], folder: Path) -> None:
    """Validation accuracy by bits for each start of k-means, before and after fine-tuning (figure 9 there)."""
    with pyplot.rc_context(STYLE):
        figure, panels = pyplot.subplots(1, 2, figsize=(10.5, 4.6))
        lines = _grouped(points, "start")
        for axes, moment in zip(panels, ("before", "after"), strict=True):
            for number, (start, found) in enumerate(lines.items()):
                bits, accuracy = [point["bits"] for point in found], [100 - 100 * point[moment] for point in found]
                axes.plot(bits, accuracy, marker=MARKERS[number], color=COLOURS[number], label=start)
            axes.set_title(f"{moment} fine-tuning")
            axes.set_xlabel("bits of a code")
            axes.set_xticks(sorted({point["bits"] for point in points}))
        panels[0].set_ylabel("validation accuracy, %")
        worst = min(100 - 100 * point["before"] for point in points)
        panels[0].set_ylim(max(0.0, worst - 2), 101)
        good = [100 - 100 * point["after"] for point in points if point["after"] < 0.1]
        panels[1].set_ylim(min(good, default=0) - 0.3, max(good, default=100) + 0.3)
        panels[1].legend(loc="lower right")
        _save(figure, points, folder, "starts")


def codebook(shown: dict, folder: Path) -> None:
    """A histogram of weights, with the centroids before and after fine-tuning (figure 3 there)."""
    edges = np.array(shown["edges"])
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(9, 4.6))
        axes.bar(edges[:-1], shown["counts"], np.diff(edges), align="edge", color=COLOURS[5], label="kept weights")
        top = max(shown["counts"])
        for moment, height, marker, colour in (("before", -0.05, "x", "#000000"), ("after", -0.12, "o", COLOURS[1])):
            level = np.full(len(shown[moment]), height * top)
            axes.plot(shown[moment], level, marker, color=colour, label=f"centroids {moment} fine-tuning")
        for one, other in zip(shown["before"], shown["after"], strict=True):
            axes.plot([one, other], [-0.05 * top, -0.12 * top], color="0.6", linewidth=0.8, zorder=0)
        axes.set_ylim(-0.18 * top, 1.05 * top)
        axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= 1.05 * top])
        axes.set_xlabel("value of a weight")
        axes.set_ylabel("weights")
        axes.set_title(f"{shown['tensor']} of LeNet-300-100: {len(shown['before'])} centroids")
        axes.legend(loc="upper right")
        _save(figure, shown, folder, "codebook")


def streams(packed: dict[str, Path], folder: Path) -> None:
    """How often each weight code and each index gap occurs in the largest tensor of each file (figure 5 there)."""
    found = {name: decoded for name, path in packed.items() if (decoded := _decoded(path)) is not None}
    if not found:
        return
    with pyplot.rc_context(STYLE):
        figure, panels = pyplot.subplots(len(found), 2, figsize=(10.5, 3.6 * len(found)), squeeze=False)
        for (name, one), (left, right) in zip(found.items(), panels, strict=True):
            left.bar([f"{value:.3g}" for value in one["centroids"]], one["codes"], color=COLOURS[0])
            left.set_title(f"{name}, {one['tensor']}: weight codes")
            left.set_xlabel("centroid of the code")
            left.tick_params("x", rotation=45 if len(one["centroids"]) > 6 else 0)
            skip = len(one["gaps"]) - 1
            right.bar(range(skip), one["gaps"][:-1], 1.0, color=COLOURS[2])
            right.bar([skip], one["gaps"][-1:], 1.0, color=COLOURS[1], label=f"skip {skip} places")
            right.set_title(f"{one['gap_bits']}-bit index gaps", loc="left")
            right.set_xlabel("places left out between two kept weights")
            right.set_yscale("symlog", linthresh=10)
            right.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize=10)
            left.set_ylabel("how often")
        _save(figure, found, folder, "streams")


def _decoded(path: Path) -> dict | None:
    """Counts of codes and gap symbols of a file's largest tensor; None where it is not sparse."""
    with Archive(path) as archive:
        entry = max(archive.directory.entries, key=lambda entry: entry.nbytes, default=None)
        encoded = archive.encoded(entry) if entry is not None else None
    if not isinstance(encoded, Sparse) or encoded.codes is None:
        return None
    symbols, gaps = huffman.decode(encoded.codes), huffman.decode(encoded.index.gaps)
    centroids = values(codebook_patterns(encoded.codebook, entry.dtype), entry.dtype)
    order = np.argsort(centroids, kind="stable")
    return {
        "tensor": layers(path).get(entry.name, entry.name),
        "centroids": centroids[order].tolist(),
        "codes": np.bincount(symbols, minlength=len(centroids))[order].tolist(),
        "gap_bits": encoded.index.gap_bits,
        "gaps": np.bincount(gaps, minlength=1 << encoded.index.gap_bits).tolist(),
    }


def storage(packed: dict[str, Path], folder: Path) -> None:
    """The share of each file that is weights, index, codebooks, code tables, directory and graph (figure 11 there)."""
    found = {}
    for name, path in packed.items():
        report = dcz.inspect(path)
        parts = report.total.parts | {"directory": report.directory_bytes, "graph": report.graph_bytes}
        assert sum(parts.values()) == report.file_bytes, f"{path}: parts do not add up to the file"
        found[name] = parts
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(9, 1.6 + 0.8 * len(found)))
        for row, parts in enumerate(found.values()):
            total, left = sum(parts.values()), 0.0
            for number, (part, size) in enumerate(parts.items()):
                width = 100 * size / total
                label = part if row == 0 else None
                axes.barh(row, width, 0.6, left, color=COLOURS[number], edgecolor="white", label=label)
                if width >= 4:
                    axes.text(left + width / 2, row, f"{width:.0f} %", ha="center", va="center", color="white")
                left += width
        axes.set_yticks(range(len(found)), [f"{name}\n{sum(p.values()):,} bytes" for name, p in found.items()])
        axes.invert_yaxis()
        axes.grid(False)
        axes.set_xlim(0, 100)
        axes.set_xlabel("share of the file, %")
        axes.legend(ncols=6, loc="lower center", bbox_to_anchor=(0.45, 1.0), columnspacing=1.2, handlelength=1)
        _save(figure, found, folder, "storage")


def _grouped(points: list[dict], key: str) -> dict[str, list[dict]]:
    groups: dict[str, list[dict]] = {}
    for point in points:
        groups.setdefault(point[key], []).append(point)
    return groups


def _save(figure, numbers, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(numbers, indent=1) + "\n")
    figure.tight_layout()
    figure.savefig(folder / f"{name}.png", dpi=130, metadata={"Software": None})
    pyplot.close(figure)
