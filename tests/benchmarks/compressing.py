"""What compressing one large tensor takes, and how much of it all threads share; and what decoding it takes.

    python -m tests.benchmarks.compressing [--rows 4096] [--columns 8192]
    python -m tests.benchmarks.compressing --clock 9     one thread and two by the clock, where nothing else runs

One float32 matrix with Laplacian weights, as a model's file, by one thread: nanoseconds of the processor for each
weight; those of them that are spent in blocks (parallel.each), which other threads may take away; those of work that
one other thread may do meanwhile (parallel.beside: hashing the source); and the rest, alone. By Amdahl's law n threads
take as long as what is alone, and an n-th of the others, or what is beside where that is more. Then the files, decoded
by one thread: to memory, as `verify` does, and into one file, beside a plain write of the same bytes in turn. Best of
--times runs; machines are shared: read the shares and ratios.

With --clock, so many pairs of runs by one thread and by two, whichever comes first in turn: seconds by the clock, the
median of the pairs' ratios, and processor time; the same for decoding to memory.
"""

import argparse
import functools
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import dcz
from dcz import deflate, model, parallel, tensor
from dcz.arrays import blocks as array_blocks
from dcz.codec import decode, fine, precision
from dcz.codec.stages import balance, block, huffman, index
from dcz.compression import records
from dcz.format.container import Archive
from dcz.model import model_file, source
from dcz.reading import decompress
from tests import models

MODES: dict[str, dict[str, Any]] = {
    "default": {},
    "8 bits": {"bits": 8},
    "pruned": {"sparsity": 0.9},
    "pruned, 5 bits": {"sparsity": 0.9, "bits": 5},
}
USERS = (
    array_blocks,
    deflate,
    decode,
    fine,
    precision,
    balance,
    block,
    huffman,
    index,
    model_file,
    parallel,
    records,
    source,
    tensor,
)


class _Clock(threading.local):
    """Processor seconds of this thread within shared work, counted once where such work is within other."""

    depth = 0


def _counted(function: Callable, total: list[float], clock: _Clock, least: int) -> Callable:
    """`function(work, parts)`, whose seconds are added to `total` where it has so many parts as others help with."""

    def counted(work: Callable, parts: Any) -> Any:
        parts = list(parts)
        clock.depth += 1
        began = time.thread_time()
        try:
            return function(work, parts)
        finally:
            clock.depth -= 1
            if not clock.depth and len(parts) >= least:
                total[0] += time.thread_time() - began

    return counted


def measure(path: Path, options: dict[str, Any], times: int) -> tuple[float, float, float]:
    """Processor seconds of the best of several runs; those in blocks; and those of what may be done beside."""
    total, meanwhile, clock, each = [0.0], [0.0], _Clock(), parallel.each
    counted = _counted(each, total, clock, parallel.MIN_PARTS)
    alone = _counted(lambda work, _: work(), meanwhile, clock, 0)
    beside = parallel.beside
    runs = []
    for name, wrapped in (("each", counted), ("beside", lambda work: lambda: alone(work, ()))):
        for user in USERS:
            if hasattr(user, name):
                setattr(user, name, wrapped)
    try:
        for _ in range(times):
            total[0], meanwhile[0], began = 0.0, 0.0, time.process_time()
            dcz.compress(path, path.with_suffix(".dcz"), threads=1, force=True, resume=False, **options)
            runs.append((time.process_time() - began, total[0], meanwhile[0]))
    finally:
        for name, plain in (("each", each), ("beside", beside)):
            for user in USERS:
                if hasattr(user, name):
                    setattr(user, name, plain)
    return min(runs)


def speedup(seconds: float, blocks: float, meanwhile: float, threads: int) -> float:
    """How many times as fast so many threads are at best, of which one does what goes beside the rest."""
    alone = seconds - blocks - meanwhile
    return seconds / (alone + max(meanwhile, (blocks + meanwhile) / threads))


def spent(work: Callable[[], Any]) -> float:
    """Processor seconds."""
    began = time.process_time()
    work()
    return time.process_time() - began


def decoding(path: Path, weights: np.ndarray, times: int) -> list[float]:
    """Processor seconds of the best of several runs: writing the weights, decoding, verifying, decoding into a file."""

    def decode() -> None:
        with Archive(path) as archive:
            for _ in decompress.decode_all(archive, 1):
                pass

    output = path.with_suffix(".restored.onnx")
    works: list[Callable[[], Any]] = [
        lambda: path.with_suffix(".plain").write_bytes(weights.data),
        decode,
        lambda: dcz.verify(path, threads=1),
        lambda: dcz.decompress(path, output, threads=1, force=True, external_data="never"),
    ]
    runs = [[spent(work) for work in works] for _ in range(times)]
    return [min(each) for each in zip(*runs, strict=True)]


def by_the_clock(work: Callable[[int], Any], pairs: int) -> str:
    """Cells of a row: the medians of seconds by one thread and by two, the median and the best of the ratios of pairs,
    and processor seconds by two threads as a multiple of those by one."""
    clock: dict[int, list[float]] = {1: [], 2: []}
    processor: dict[int, list[float]] = {1: [], 2: []}
    for number in range(pairs):
        for threads in (1, 2) if number % 2 else (2, 1):
            began = time.perf_counter()
            processor[threads].append(spent(functools.partial(work, threads)))
            clock[threads].append(time.perf_counter() - began)
    ratios = [one / two for one, two in zip(clock[1], clock[2], strict=True)]
    seconds = [statistics.median(clock[threads]) for threads in (1, 2)]
    more = statistics.median(processor[2]) / statistics.median(processor[1])
    return f"{seconds[0]:.3f} | {seconds[1]:.3f} | {statistics.median(ratios):.2f} | {max(ratios):.2f} | {more:.2f}"


def clock(path: Path, pairs: int) -> None:
    """Print the table of compressing and decoding by the clock."""
    packed = path.with_suffix(".dcz")

    def decode(threads: int) -> None:
        with Archive(packed) as archive:
            for _ in decompress.decode_all(archive, threads):
                pass

    print("| | one thread, s | two | ratio, median of pairs | best | processor time, times |\n" + "|---" * 6 + "|")
    for name, options in MODES.items():

        def compress(threads: int, options: dict[str, Any] = options) -> None:
            dcz.compress(path, packed, threads=threads, force=True, resume=False, **options)

        for what, work in ((name, compress), (f"{name}, decoding", decode)):
            work(1)
            print(f"| {what} | {by_the_clock(work, pairs)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--columns", type=int, default=8192)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--clock", type=int, default=0)
    given = parser.parse_args()
    shape = given.rows, given.columns
    weights = np.random.default_rng(0).laplace(0, 0.01, shape).astype(np.float32)
    assert model, "imported before the clock runs"
    decoded = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        onnx.save(models.dense(weights), path)
        if given.clock:
            clock(path, given.clock)
            return
        print("| | ns a weight | in blocks | beside | alone | bound by 2 threads | 8 | 16 |\n" + "|---" * 8 + "|")
        for name, options in MODES.items():
            found = measure(path, options, given.times)
            bounds = " | ".join(f"{speedup(*found, threads):.2f}" for threads in (2, 8, 16))
            each, blocks, meanwhile = (1e9 * part / weights.size for part in found)
            alone = 1 - (blocks + meanwhile) / each
            print(f"| {name} | {each:.0f} | {blocks:.0f} | {meanwhile:.1f} | {alone:.0%} | {bounds} |", flush=True)
            decoded.append((name, decoding(path.with_suffix(".dcz"), weights, given.times)))
    print("\n| | write | decode | of the write | verify | into a file |\n|---|---|---|---|---|---|")
    for name, seconds_of in decoded:
        written, read, verified, restored = (1e9 * part / weights.size for part in seconds_of)
        ratio = read / written
        print(f"| {name} | {written:.2f} | {read:.2f} | {ratio:.2f} | {verified:.2f} | {restored:.2f} |")


if __name__ == "__main__":
    main()
