"""Bytes against agreement with the original network: dcz without data, dcz calibrated, and nncodec, on real networks.

    python tests/benchmarks/curves.py squeezenet magika rec det --keep curves.json

Bytes are those of the whole file. nncodec's streams hold weights alone, so that the graph and all other tensors,
deflated, are added to them; the next column has the weights alone for both. What --keep names is read and added to:
what has been measured before is not measured again. nncodec is looked for where DCZ_NNCODEC says (see the Makefile).
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
from subjects import SUBJECTS, Missing, Subject

QUALITIES = (12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 36)  # decibels
RATIOS = (16, 14, 12, 10, 9, 8, 7, 6, 5)
QPS = (-38, -34, -32, -28, -26, -24, -20)
TARGETS = (0.92, 0.95, 0.97)
WAYS = ("dcz", "calibrated", "nncodec")


@dataclass(frozen=True)
class Point:
    """One measurement: a way, its label, bytes, seconds, and how good the network still is."""

    way: str
    label: str
    file: int
    weights: int
    agreement: float
    accuracy: float | None
    encode: float
    decode: float


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


def measure(subject: Subject, wanted: list, way: str, done: set[str], folder: Path, options) -> Iterator[Point]:
    """The points of one way to code a subject, but those that are `done`; `wanted` are the original's answers."""
    if way == "dcz":
        coded = coders.data_free(subject.model, [q for q in options.quality if f"dcz {q:g} dB" not in done], folder)
    elif way == "nncodec":
        left = [qp for qp in options.qp if f"nncodec {qp}" not in done]
        if left and not coders.NNCODEC.is_file():
            print(f"nncodec is left out: {coders.NNCODEC} is missing; `make nncodec` installs it", file=sys.stderr)
            return
        coded = coders.nncodec(subject.model, left, folder) if left else iter(())
    else:
        ratios = [ratio for ratio in options.ratio if f"dcz calibrated 1/{ratio:g}" not in done]
        if (make := coders.calibrate(options.hook)) is None:
            print("calibrated files are left out: this dcz has no --calibrate", file=sys.stderr)
            return
        coded = coders.calibrated(subject.model, subject.calibration(), ratios, folder, make)
    for one in coded:
        found = subject.answers(one.model)
        good = subject.agreement(wanted, found), subject.accuracy(found)
        yield Point(way, one.label, one.file, one.weights, *good, one.encode, one.decode)


def table(subject: Subject, wanted: list, points: list[Point]) -> str:
    """All points of a subject, and the bytes at equal agreement."""
    size = subject.model.stat().st_size
    truth = "" if (right := subject.accuracy(wanted)) is None else f"; accuracy of the original {right:.4f}"
    lines = [
        f"### {subject.name}\n\n{size:,} bytes, scored on {len(wanted)} samples{truth}\n",
        "| | file | weights alone | ratio | agreement | accuracy | encode s | decode s |\n" + "|---" * 8 + "|",
    ]
    for p in sorted(points, key=lambda p: (WAYS.index(p.way), p.file)):
        right = "" if p.accuracy is None else f"{p.accuracy:.4f}"
        times = f"{p.encode:.1f} | {p.decode:.1f}"
        lines.append(
            f"| {p.label} | {p.file:,} | {p.weights:,} | {size / p.file:.2f} | {p.agreement:.4f} | {right} | {times} |"
        )
    ways = [way for way in WAYS if any(p.way == way for p in points)]
    lines.append(
        "\n| bytes at equal agreement | " + " | ".join(ways) + " | of nncodec's |\n|---|" + "---|" * (len(ways) + 1)
    )
    for of, target in itertools.product(("file", "weights"), TARGETS):
        found = {way: bytes_at([p for p in points if p.way == way], target, of) for way in ways}
        cells = [f"{size:,.0f}" if (size := found[way]) else "-" for way in ways]
        peer = found.get("nncodec")
        shares = [f"{found[way] / peer:.3f}" for way in ways if way != "nncodec" and found[way] and peer]
        lines.append(f"| {of}, {target:.2f} | {' | '.join(cells)} | {', '.join(shares) or '-'} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("subjects", nargs="*", default=list(SUBJECTS), help=", ".join(SUBJECTS))
    parser.add_argument("--ways", nargs="*", default=WAYS, choices=WAYS)
    parser.add_argument("--quality", type=float, nargs="*", default=QUALITIES)
    parser.add_argument("--ratio", type=float, nargs="*", default=RATIOS, help="of the calibrated files")
    parser.add_argument("--qp", type=int, nargs="*", default=QPS)
    parser.add_argument("--hook", help="module:function(model, inputs, output, ratio) that makes the calibrated files")
    parser.add_argument("--keep", type=Path, help="a JSON file of points, read and added to")
    options = parser.parse_args()
    kept = json.loads(options.keep.read_text()) if options.keep and options.keep.exists() else {}
    for name in options.subjects:
        try:
            subject = SUBJECTS[name]()
        except Missing as missing:
            print(f"{name} is left out: {missing} is not at hand", file=sys.stderr)
            continue
        points, wanted = kept.setdefault(name, []), subject.answers(subject.model)
        with tempfile.TemporaryDirectory() as folder:
            for way in options.ways:
                for point in measure(subject, wanted, way, {p["label"] for p in points}, Path(folder), options):
                    points.append(dataclasses.asdict(point))
                    print(name, point, file=sys.stderr, flush=True)
                    if options.keep:
                        options.keep.write_text(json.dumps(kept, indent=1))
        print(table(subject, wanted, [Point(**p) for p in points]), flush=True)


if __name__ == "__main__":
    main()
