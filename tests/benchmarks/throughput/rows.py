"""One row of the results, measured in a process of its own, so that its peak of memory is its own.

    python -m tests.benchmarks.throughput.rows --folder FOLDER --kind sparse --row "zstd -3, compress"

prints a line of JSON: seconds of wall clock and of processor, bytes of float32 handled, bytes made, peak of memory.
"""

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
NNCODEC = Path(os.environ.get("DCZ_NNCODEC", ".nncodec/bin/python"))  # as `make nncodec` installs it
NNCODEC_SCRIPT = HERE.parent / "nncodec_curve.py"
QP = -38  # nncodec's default
STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Measured:
    """Of the best of several runs: `wall` and `cpu` seconds (those of all threads together), bytes of float32 that were
    compressed or given back, bytes `made` where it compresses; `peak` bytes of memory above what was held before.
    `slice`: measured on a part, so that the whole is extrapolated. `missing`: why there are no figures."""

    row: str
    kind: str
    wall: float = 0.0
    cpu: float = 0.0
    handled: int = 0
    made: int = 0
    peak: int = 0
    slice: bool = False
    missing: str = ""

    @property
    def rate(self) -> float:
        """Bytes of float32 a second of wall clock."""
        return self.handled / self.wall if self.wall else 0.0

    @property
    def cpu_rate(self) -> float:
        """Bytes of float32 a second of processor: what other work on the machine disturbs least."""
        return self.handled / self.cpu if self.cpu else 0.0


def peak_memory() -> int:
    """The most bytes that this process has held. On Linux ru_maxrss would begin with what its parent held."""
    if STATUS.exists():
        return 1024 * int(STATUS.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def best(work: Callable[[], int], times: int) -> tuple[float, float, int]:
    """Wall and processor seconds of the run that took the least of the processor, and what it returned."""
    runs = []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        made = work()
        runs.append((time.process_time() - cpu, time.perf_counter() - wall, made))
    cpu, wall, made = min(runs)
    return wall, cpu, made


# -- the rows: each returns what there is to repeat, the bytes it handles, and whether these are a slice ---------------

Row = tuple[Callable[[], int], int, bool]


def dcz_compress(folder: Path, kind: str, threads: int) -> Row:
    """A model's file into a .dcz file, checked, synced and renamed, as users do."""
    import dcz
    from dcz import model  # noqa: F401  once a process, and no part of what is measured

    from . import subjects

    def work() -> int:
        return (
            dcz.compress(folder / "model.onnx", folder / "made.dcz", subjects.plan(kind), threads=threads, force=True)
            .stat()
            .st_size
        )

    return work, (folder / "drawn.bytes").stat().st_size, False


def dcz_decode(folder: Path, kind: str, threads: int) -> Row:
    """A .dcz file into tensors in memory, checked."""
    from dcz.format.container import Archive
    from dcz.reading.decompress import decode_all

    def work() -> int:
        with Archive(folder / f"{kind}.dcz") as archive:
            for _ in decode_all(archive, threads):
                pass
        return 0

    return work, (folder / "drawn.bytes").stat().st_size, False


def zstd(folder: Path, kind: str, level: int, decompress: bool) -> Row:
    """zstd on the float32 bytes after pruning and sharing; -19 on a slice of one layer."""
    import zstandard

    if level < 10:
        data, is_slice = (folder / f"{kind}.bytes").read_bytes(), False
    else:
        data, is_slice = np.load(folder / f"{kind}.npy").tobytes()[: 1 << 23], True
    coder, packed = zstandard.ZstdCompressor(level), None
    if decompress:
        packed = coder.compress(data)
        return lambda: len(zstandard.ZstdDecompressor().decompress(packed)) * 0, len(data), is_slice
    return lambda: len(coder.compress(data)), len(data), is_slice


def bitarray_huffman(folder: Path, kind: str, decompress: bool) -> Row:
    """A canonical Huffman code of the values (zeros too), by bitarray, on a slice."""
    from bitarray import bitarray
    from bitarray.util import canonical_decode, canonical_huffman

    weights = np.load(folder / f"{kind}.npy").ravel()[: 1 << 21]
    codebook, symbols = np.unique(weights, return_inverse=True)
    table, counts, order = canonical_huffman(dict(enumerate(np.bincount(symbols).tolist())))
    as_list = symbols.tolist()

    def encode() -> bitarray:
        bits = bitarray()
        bits.encode(table, as_list)
        return bits

    if not decompress:
        return lambda: len(encode()) // 8, weights.nbytes, True
    bits = encode()
    values = codebook.astype(np.float32)
    return lambda: int(values[list(canonical_decode(bits, counts, order))].nbytes) * 0, weights.nbytes, True


def kmeans(folder: Path, kind: str) -> Row:
    """scikit-learn's KMeans on a slice of the kept weights: one start of the paper's linear ones."""
    from sklearn.cluster import KMeans

    clusters = 32 if kind == "sparse" else 256
    weights = np.load(folder / "drawn.npy").ravel()[: 1 << 17]
    handled = weights.nbytes
    if kind == "sparse":
        weights = np.sort(weights[np.argsort(-np.abs(weights))][: int(0.04 * len(weights))])
    start = np.linspace(weights.min(), weights.max(), clusters)[:, None]

    def work() -> int:
        KMeans(clusters, init=start, n_init=1).fit(weights[:, None])
        return 0

    return work, handled, True


def memcpy(folder: Path, kind: str) -> Row:
    """The dense bytes copied in memory."""
    data = np.fromfile(folder / "drawn.bytes", np.uint8)
    target = np.zeros_like(data)
    return lambda: np.copyto(target, data) or 0, data.nbytes, False


def write(folder: Path, kind: str) -> Row:
    """The dense bytes written to a file, not synced."""
    data = (folder / "drawn.bytes").read_bytes()

    def work() -> int:
        with open(folder / "floor", "wb") as file:
            file.write(data)
        return 0

    return work, len(data), False


def rows() -> dict[str, tuple]:
    """Every row by name: the function that prepares it, its further arguments, and how often it runs."""
    found = {"memcpy": (memcpy, (), 3), "write, page-cached": (write, (), 3)}
    for engine in ("isal", "zlib"):
        for threads in (1, 2):
            found[f"dcz, {threads} threads, {engine}, compress"] = (dcz_compress, (threads,), 1)
            found[f"dcz, {threads} threads, {engine}, decompress"] = (dcz_decode, (threads,), 3)
    for level, times in ((3, 1), (19, 1)):
        found[f"zstd -{level}, compress"] = (zstd, (level, False), times)
        found[f"zstd -{level}, decompress"] = (zstd, (level, True), 3)
    found["bitarray Huffman, compress"] = (bitarray_huffman, (False,), 1)
    found["bitarray Huffman, decompress"] = (bitarray_huffman, (True,), 1)
    found["scikit-learn KMeans, compress"] = (kmeans, (), 1)
    return found


def measure(folder: Path, kind: str, name: str) -> Measured:
    """The row of this name, in this process."""
    if "zlib" in name:
        sys.modules["isal"] = None  # as if it were not installed
    prepare, arguments, times = rows()[name]
    try:
        if ", isal," in name:
            import isal  # noqa: F401
        work, handled, is_slice = prepare(folder, kind, *arguments)
    except ImportError as error:
        return Measured(name, kind, missing=f"{error.name or error} is not installed")
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, see proc(5)
    before = peak_memory()
    wall, cpu, made = best(work, times)
    return Measured(name, kind, wall, cpu, handled, made, max(0, peak_memory() - before), is_slice)


def nncodec(folder: Path, kind: str) -> list[Measured]:
    """nncodec, with its own defaults, on a slice of one layer: pruned as dcz pruned it, or as drawn."""
    names = ["nncodec, compress", "nncodec, decompress"]
    if not NNCODEC.exists():
        return [Measured(name, kind, missing="nncodec is not installed (make nncodec)") for name in names]
    drawn, shared = np.load(folder / "drawn.npy"), np.load(folder / f"{kind}.npy")
    np.savez(folder / "nncodec.npz", w=np.where(shared == 0, 0, drawn) if kind == "sparse" else drawn)
    command = [NNCODEC, NNCODEC_SCRIPT, folder / "nncodec.npz", folder, QP]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    if done.returncode:
        return [Measured(name, kind, missing=f"nncodec failed: {done.stderr.splitlines()[-1:]}") for name in names]
    said = json.loads(done.stdout)
    both = [("encode", said["bytes"], said["peak"]), ("decode", 0, said["peak"])]
    return [
        Measured(name, kind, said[what], said[f"{what}_cpu"], drawn.nbytes, made, peak, True)
        for name, (what, made, peak) in zip(names, both)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--kind", required=True)
    parser.add_argument("--row", required=True)
    given = parser.parse_args()
    print(json.dumps(asdict(measure(given.folder, given.kind, given.row))))


if __name__ == "__main__":
    main()
