"""Bytes against agreement with the original network: dcz without data, dcz calibrated, and nncodec, on real networks.

    python tests/benchmarks/curves.py squeezenet depthwise --keep curves.json

Bytes are those of the whole file. nncodec's streams hold weights alone, so that the graph and all other tensors,
deflated, are added to them; the next column has the weights alone for both. What --keep names is read and added to:
what has been measured before is not measured again, and no sample is scored twice for the same row; of all networks
that it has, a table of shares comes last. nncodec is looked for where DCZ_NNCODEC says (see the Makefile).
"""

import argparse
import dataclasses
import itertools
import json
import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import coders
import numpy as np
from machine import described
from subjects import SUBJECTS, Missing, Subject

TARGETS = (0.92, 0.95, 0.97, 0.98)
WAYS = ("dcz", "calibrated", "nncodec")


@dataclass(frozen=True)
class Rates:
    """Where a network is measured: so that the TARGETS lie between, as other samples than those that are scored tell.

    `quality` in decibels, `ratio` how many times smaller the calibrated files are, `qp` nncodec's.
    """

    quality: tuple[float, ...]
    ratio: tuple[float, ...]
    qp: tuple[int, ...]


RATES = {
    "squeezenet": Rates((16, 18, 20, 22, 25, 28, 30, 33), (13, 11, 9.5, 8.2, 7.2, 6.3), (-26, -28, -30, -32, -34, -38)),
    "resnet32": Rates(
        (12, 13, 14.5, 16, 18, 20, 22, 25), (22, 18, 15, 12.5, 10.5, 8.5), (-20, -22, -24, -26, -28, -32)
    ),
    "depthwise": Rates(
        (14, 16, 18, 20, 22, 24, 27, 30, 33, 36),
        (22, 18, 14, 12, 10, 8.5, 7, 6),
        (-20, -22, -24, -28, -32, -34, -36, -40),
    ),
    "magika": Rates((14, 16, 18, 20, 23, 26, 29, 32), (10, 9, 8, 7, 6, 5), (-20, -22, -24, -28, -32, -36)),
    "rec": Rates((24, 26, 28, 30, 32, 34, 36, 40), (14, 12, 10, 8, 7, 6), (-26, -30, -34, -36, -38, -42)),
    "det": Rates((12, 14, 16, 18, 20, 22, 24, 28), (22, 17, 12, 8), (-18, -20, -22, -24, -26, -30)),
}
# Shares of the bytes of nncodec's weights that are wanted of whole files, at each of the TARGETS or at all alike.
GOALS = {
    ("squeezenet", "calibrated"): "0.70",
    ("resnet32", "calibrated"): "0.70 (ResNet-20), 0.62 (ResNet-56)",
    ("depthwise", "calibrated"): "0.60 / 0.65 / 0.68 / 0.70",
    ("squeezenet", "dcz"): "1.00",
    ("resnet32", "dcz"): "1.00",
}


@dataclass(frozen=True)
class Point:
    """One measurement: a way, its label, bytes, processor seconds, how good the network still is, and by which code."""

    way: str
    label: str
    file: int
    weights: int
    agreement: float
    accuracy: float | None
    encode: float
    decode: float
    commit: str = ""


@dataclass(frozen=True)
class Curve:
    """What was measured of a network: its bytes, the samples that are scored, how often it is right, and the points."""

    name: str
    size: int
    samples: int
    accuracy: float | None
    points: list[Point]

    def of(self, way: str) -> list[Point]:
        """The points of a way to code it."""
        return [point for point in self.points if point.way == way]


def monotone(points: list[Point], of: str) -> tuple[list[float], list[float]]:
    """The curve through points: rising agreements, and logarithms of the bytes `of` a field.

    Agreements are counts over some hundred samples: where more bytes agree less, neighbours are put together (pool
    adjacent violators), the mean standing for them.
    """
    blocks: list[list[tuple[float, float]]] = []
    for point in sorted(points, key=lambda point: getattr(point, of)):
        blocks.append([(point.agreement, math.log(getattr(point, of)))])
        while len(blocks) > 1 and np.mean(blocks[-2], axis=0)[0] >= np.mean(blocks[-1], axis=0)[0]:
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    means = [np.mean(block, axis=0).tolist() for block in blocks]
    return [agreement for agreement, _ in means], [size for _, size in means]


def bytes_at(points: list[Point], agreement: float, of: str = "file") -> float | None:
    """The bytes at which a curve reaches an agreement; None where it does not, or starts above it."""
    if not points:
        return None
    agreements, sizes = monotone(points, of)
    if not agreements[0] <= agreement <= agreements[-1]:
        return None
    return math.exp(np.interp(agreement, agreements, sizes))


def measure(subject: Subject, wanted: list, way: str, done: set[str], folder: Path, rates: Rates) -> Iterator[Point]:
    """The points of one way to code a subject, but those that are `done`; `wanted` are the original's answers."""
    if way == "dcz":
        coded = coders.data_free(subject.model, [q for q in rates.quality if f"dcz {q:g} dB" not in done], folder)
    elif way == "nncodec":
        left = [qp for qp in rates.qp if f"nncodec {qp}" not in done]
        if left and not coders.NNCODEC.is_file():
            print(f"nncodec is left out: {coders.NNCODEC} is missing; `make nncodec` installs it", file=sys.stderr)
            return
        coded = coders.nncodec(subject.model, left, folder) if left else iter(())
    else:
        ratios = [ratio for ratio in rates.ratio if f"dcz calibrated 1/{ratio:g}" not in done]
        coded = coders.calibrated(subject.model, subject.calibration(), ratios, folder)
    for one in coded:
        found = subject.answers(one.model)
        good = subject.agreement(wanted, found), subject.accuracy(found)
        yield Point(way, one.label, one.file, one.weights, *good, one.encode, one.decode, described()["commit"])


def table(curve: Curve) -> str:
    """All points of a network, and the bytes at equal agreement."""
    truth = "" if curve.accuracy is None else f"; accuracy of the original {curve.accuracy:.4f}"
    lines = [
        f"### {curve.name}\n\n{curve.size:,} bytes, scored on {curve.samples} samples{truth}\n",
        "| | file | weights alone | ratio | agreement | accuracy | encode s | decode s |\n" + "|---" * 8 + "|",
    ]
    for p in sorted(curve.points, key=lambda p: (WAYS.index(p.way), p.file)):
        right = "" if p.accuracy is None else f"{p.accuracy:.4f}"
        ratio, times = f"{curve.size / p.file:.2f}", f"{p.encode:.1f} | {p.decode:.1f}"
        lines.append(f"| {p.label} | {p.file:,} | {p.weights:,} | {ratio} | {p.agreement:.4f} | {right} | {times} |")
    ways = [way for way in WAYS if curve.of(way)]
    columns = [f"{way}{'' if of == 'file' else ', weights'}" for way in ways for of in ("file", "weights")]
    lines.append(f"\n| bytes at equal agreement | {' | '.join(columns)} |\n" + "|---" * (len(columns) + 1) + "|")
    for target in TARGETS:
        found = [bytes_at(curve.of(way), target, of) for way in ways for of in ("file", "weights")]
        lines.append(f"| {target:.2f} | {' | '.join('-' if size is None else f'{size:,.0f}' for size in found)} |")
    return "\n".join(lines) + "\n"


def shares(curves: dict[str, Curve]) -> str:
    """Bytes as shares of those of nncodec's weights at equal agreement: whole files, and weights alone."""
    lines = [
        "| whole files, and in brackets weights alone | "
        + " | ".join(f"{target:.2f}" for target in TARGETS)
        + " | goal |",
        "|---" * (len(TARGETS) + 2) + "|",
    ]
    for way, (key, curve) in itertools.product(("calibrated", "dcz"), curves.items()):
        cells = []
        for target in TARGETS:
            peer = bytes_at(curve.of("nncodec"), target, "weights")
            own = [bytes_at(curve.of(way), target, of) for of in ("file", "weights")]
            cells.append(f"{own[0] / peer:.2f} ({own[1] / peer:.2f})" if peer and all(own) else "-")
        label = "calibrated" if way == "calibrated" else "data-free"
        lines.append(f"| {curve.name}, {label} | {' | '.join(cells)} | {GOALS.get((key, way), '-')} |")
    return "\n".join(lines) + "\n"


def _read(path: Path | None) -> dict[str, Curve]:
    if path is None or not path.exists():
        return {}
    found = json.loads(path.read_text())
    return {key: Curve(**curve | {"points": [Point(**p) for p in curve["points"]]}) for key, curve in found.items()}


def _measured(key: str, curves: dict[str, Curve], options: argparse.Namespace) -> None:
    """Measure what is not there of a network, and add it to `curves` point by point."""
    subject = SUBJECTS[key]()
    wanted = subject.answers(subject.model)
    known = curves[key].points if key in curves else []
    curves[key] = Curve(
        subject.name, subject.model.stat().st_size, len(wanted), subject.accuracy(wanted), points := [*known]
    )
    given = {field: tuple(getattr(options, field)) for field in ("quality", "ratio", "qp") if getattr(options, field)}
    rates, done = dataclasses.replace(RATES[key], **given), {point.label for point in known}
    with tempfile.TemporaryDirectory() as folder:
        for way in options.ways:
            for point in measure(subject, wanted, way, done, Path(folder), rates):
                points.append(point)
                print(key, point, file=sys.stderr, flush=True)
                if options.keep:
                    options.keep.write_text(json.dumps({k: dataclasses.asdict(c) for k, c in curves.items()}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("subjects", nargs="*", default=list(SUBJECTS), help=", ".join(SUBJECTS))
    parser.add_argument("--ways", nargs="*", default=WAYS, choices=WAYS, help="none: only show what is kept")
    parser.add_argument("--quality", type=float, nargs="*", help="instead of the network's own, as all that follow")
    parser.add_argument("--ratio", type=float, nargs="*", help="of the calibrated files")
    parser.add_argument("--qp", type=int, nargs="*")
    parser.add_argument("--keep", type=Path, help="a JSON file of curves, read and added to")
    options = parser.parse_args()
    curves = _read(options.keep)
    for key in options.subjects if options.ways else ():
        try:
            _measured(key, curves, options)
        except Missing as missing:
            print(f"{key} is left out: {missing} is not at hand", file=sys.stderr)
    curves = {key: curves[key] for key in SUBJECTS if key in curves}
    print(shares(curves))
    for curve in curves.values():
        print(table(curve), flush=True)


if __name__ == "__main__":
    main()
