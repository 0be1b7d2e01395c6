"""Time and memory of compressing and decoding, from 1 M to 1 B weights.

    python -m examples.streaming.scaling                             all of it (make scaling)
    python -m examples.streaming.scaling --most 1e7 --out /tmp/try   no more than so many weights

Two kinds of model, float32, default settings: "layers" of at most 16 M weights, the more the larger the model; and "one
tensor" of all the weights. Each task runs in a process of its own. It writes scaling.json, scaling.svg and RESULTS.md,
and needs 10 GB of disk and 8 GB of memory at 1 B weights.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from . import measure, models, page, plot

HERE = Path(__file__).parent
WORK = HERE.parents[1] / "build" / "streaming"
SIZES = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
LAYER = 1 << 24  # weights of a layer at most
STEADY = 10_000_000  # weights from which what is there once for each run no longer counts
TASKS = ("compress", "decompress")
KINDS = ("layers", "one tensor")


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--most", type=float, default=SIZES[-1], metavar="N", help="weights of the largest model")
    parser.add_argument("--out", type=Path, default=HERE, metavar="FOLDER", help="default: examples/streaming")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="for models; default: build/streaming, OUT/work")
    given = parser.parse_args(arguments)
    if given.most < SIZES[-1] and given.out == HERE:
        parser.error("--most would overwrite the results: give --out")
    work = given.work or (WORK if given.out == HERE else given.out / "work")
    for folder in (work, given.out):
        folder.mkdir(parents=True, exist_ok=True)
    points = []
    for kind in KINDS:
        for size in (size for size in SIZES if size <= given.most):
            with tempfile.TemporaryDirectory(dir=work) as folder:
                points += measured(kind, size, Path(folder))
            (given.out / "scaling.json").write_text(json.dumps(points, indent=1) + "\n")
    (given.out / "scaling.svg").write_text(figure(points))
    page.write(given.out)
    return 0


def measured(kind: str, size: int, folder: Path) -> list[dict]:
    """A point for each task with a model of so many weights."""
    network = models.chain(size, 4096, 1 if kind == "one tensor" else max(4, -(-size // LAYER)))
    model, packed = folder / "net.onnx", folder / "net.dcz"
    models.write(model, network)
    found = []
    for task, arguments in (("compress", (model, packed)), ("decompress", (packed, folder / "decoded.onnx"))):
        took = measure.run(task, *arguments)
        found.append({"kind": kind, "task": task, "weights": network.elements, "model_bytes": network.nbytes,
                      "largest_bytes": max(weight.nbytes for weight in network.weights), **took})  # fmt: skip
        print(f"{kind}, {network.elements:,} weights, {task}: {took['seconds']:.2f} s, "
              f"{(took['peak_bytes'] - took['base_bytes']) / 1e6:,.0f} MB", flush=True)  # fmt: skip
    return found


def exponent(points: list[dict], task: str, kind: str, value) -> float:
    """The power of the number of weights with which `value` (of a point) grows, fitted from STEADY on."""
    chosen = [
        each for each in points if (each["task"], each["kind"]) == (task, kind) and each["weights"] > 0.9 * STEADY
    ]
    if len(chosen) < 2:
        return float("nan")
    return float(np.polyfit(np.log([p["weights"] for p in chosen]), np.log([value(p) for p in chosen]), 1)[0])


def seconds(point: dict) -> float:
    """Processor time of a point's task, all threads together."""
    return point["cpu_seconds"]


def memory(point: dict) -> float:
    """MB that a point's task held at most, beyond what was imported."""
    return (point["peak_bytes"] - point["base_bytes"]) / 1e6


def figure(points: list[dict]) -> str:
    """Time and memory against weights, on logarithmic axes."""
    panels = []
    for title, value in (("seconds of processor time", seconds), ("MB of memory at the peak", memory)):
        lines = {
            f"{task}, {kind}": [(p["weights"], value(p)) for p in points if (p["task"], p["kind"]) == (task, kind)]
            for task in TASKS
            for kind in KINDS
        }
        panels.append((title, lines))
    return plot.svg("weights", panels)


if __name__ == "__main__":
    sys.exit(main())
