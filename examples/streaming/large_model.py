"""Compress, verify, open and decompress a 6 GB transformer with 3 GB of address space, and go on after a kill.

    python -m examples.streaming.large_model                             all of it (make large-model)
    python -m examples.streaming.large_model --quick --out /tmp/try      a model of a few megabytes, to see that it runs

The model is drawn on the spot: float32 and float16 weights in external data. Each task runs in a process of its own
that may map no more than the limit, files included. What is decoded is compared with what was drawn. It writes
large_model.json and RESULTS.md, and needs 16 GB of disk while it runs.
"""

import argparse
import hashlib
import json
import math
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx

from . import measure, models, page

HERE = Path(__file__).parent
WORK = HERE.parents[1] / "build" / "streaming"  # git ignores it
LIMIT = 3 << 30
QUALITY = 34.0  # decibels, dcz's default: what the error of all weights together must come to
SLACK = 0.5  # decibels by which it may miss that: the scale of a tensor is told by some of its weights


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 1 where a check fails."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE, metavar="FOLDER", help="default: examples/streaming")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="for models; default: build/streaming, OUT/work")
    parser.add_argument("--limit", type=float, default=LIMIT / 2**30, metavar="GIB", help="address space; default: 3")
    parser.add_argument(
        "--no-kill", action="store_true", help="leave out what takes as long again: going on after a kill"
    )
    parser.add_argument("--quick", action="store_true", help="a model of a few megabytes, to see that it runs")
    given = parser.parse_args(arguments)
    if given.quick and given.out == HERE:
        parser.error("--quick would overwrite the results: give --out")
    work = given.work or (WORK if given.out == HERE else given.out / "work")
    work.mkdir(parents=True, exist_ok=True)
    given.out.mkdir(parents=True, exist_ok=True)
    network = models.transformer(64, 256, 500, 1, 1) if given.quick else models.transformer()
    with tempfile.TemporaryDirectory(dir=work) as folder:
        found = run(network, Path(folder), int(given.limit * 2**30), not given.no_kill)
    (given.out / "large_model.json").write_text(json.dumps(found, indent=2) + "\n")
    page.write(given.out)
    return 0 if found["holds"] else 1


def run(network: models.Network, folder: Path, limit: int, killed: bool = True) -> dict:
    """Do everything with a network's model under a `limit` of address space (bytes), and say what it took.

    `killed`: compress it a second time, kill that half way, and go on.
    """
    model, packed, restored = folder / "net.onnx", folder / "net.dcz", folder / "decoded.onnx"
    began = time.perf_counter()
    models.write(model, network)
    largest = max(network.weights, key=lambda weight: weight.nbytes)
    print(f"drawn: {network.nbytes:,} bytes in {time.perf_counter() - began:.0f} s", flush=True)
    tasks = {}

    def task(title: str, name: str, *arguments, **options) -> None:
        tasks[title] = measure.run(name, *arguments, limit=limit, **options)
        mb, seconds = (tasks[title]["peak_bytes"] - tasks[title]["base_bytes"]) / 1e6, tasks[title]["seconds"]
        print(f"{title}: {seconds:.1f} s, peak {mb:,.0f} MB, {tasks[title]['bytes']:,} bytes", flush=True)

    task("compress", "compress", model, packed)
    task("verify", "verify", packed)
    task("open one tensor", "open", packed, largest.name)
    task("decompress", "decompress", packed, restored)
    decibels = compare(network, restored)
    print(f"error {decibels['all']:.2f} dB below the weights", flush=True)
    found = {
        "weights": network.elements, "tensors": len(network.weights), "model_bytes": network.nbytes,
        "largest_tensor": largest.name, "largest_bytes": largest.nbytes, "limit": limit, "tasks": tasks,
        "decibels": decibels, "holds": decibels["all"] >= QUALITY - SLACK,
    }  # fmt: skip
    if killed:
        for file in (restored, restored.with_name(f"{restored.name}.data")):
            file.unlink()
        whole = _digest(packed)
        found["killed_at"] = kill(model, packed, tasks["compress"]["bytes"] // 2)
        task("compress, gone on after a kill half way", "compress", model, packed, resume=True)
        same = found["same_bytes_after_kill"] = _digest(packed) == whole
        found["holds"] = found["holds"] and same and not packed.with_name("net.dcz.partial").exists()
        print(f"the same bytes after a kill: {same}", flush=True)
    return found


def compare(network: models.Network, restored: Path) -> dict[str, float]:
    """How far the decoded weights lie from those that were drawn, in decibels: of `all` together, and of the `worst`
    tensor. Raises ValueError where a tensor is missing or of another type or shape."""
    proto = onnx.load(restored, load_external_data=False)
    there = {tensor.name: tensor for tensor in proto.graph.initializer}
    each, relative = [], 0.0
    for weight in network.weights:
        tensor = there[weight.name]
        place = {entry.key: entry.value for entry in tensor.external_data}
        if (tuple(tensor.dims), tensor.data_type) != (weight.shape, models.TYPES[weight.dtype]):
            raise ValueError(f"{weight.name}: decoded as {tensor.dims}, type {tensor.data_type}")
        file = restored.with_name(place["location"])
        decoded = np.memmap(file, weight.dtype, "r", int(place["offset"]), (weight.elements,))
        square, error, at = 0.0, 0.0, 0
        for drawn in weight.drawn():
            other = decoded[at : at + len(drawn)].astype(np.float64)
            at += len(drawn)
            square += float(np.square(drawn, dtype=np.float64).sum())
            error += float(((drawn - other) ** 2).sum())
        relative += weight.elements * error / square
        each.append(_decibels(error / square))
    return {"all": _decibels(relative / network.elements), "worst": min(each), "best": max(each)}


def _decibels(relative: float) -> float:
    return -10 * math.log10(relative) if relative else math.inf


def kill(model: Path, packed: Path, nbytes: int) -> int:
    """Begin to compress, and kill that once so many bytes of records are made; how many there were."""
    journal = packed.with_name(f"{packed.name}.partial")
    code = "import sys, dcz; dcz.compress(*sys.argv[1:], resume=True, force=True)"
    process = subprocess.Popen([sys.executable, "-c", code, model, packed], cwd=measure.ROOT)
    while process.poll() is None and not (journal.exists() and journal.stat().st_size > nbytes):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return journal.stat().st_size if journal.exists() else 0


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
