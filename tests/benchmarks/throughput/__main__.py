"""VGG-16 compressed and decompressed by dcz and others, side by side, and the machine's own floors.

    python -m tests.benchmarks.throughput                 all of it into tests/benchmarks/throughput (make bench)
    python -m tests.benchmarks.throughput --kind sparse   one way to compress; results of the others stay
    python -m tests.benchmarks.throughput --divisor 32 --out /tmp/try
                                                             a network of few units: it shows that everything runs

It writes results.json and RESULTS.md. With DCZ_NNCODEC=.nncodec/bin/python (make nncodec) nncodec is among them. On
the way it needs 4 GB of disk or, with --work /dev/shm, of memory.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

import dcz
from tests.benchmarks.machine import platform_of

from . import rows, subjects, tables
from .rows import Measured

HERE = Path(__file__).parent
FLOORS = ("memcpy", "write, page-cached")
MAKES = "dcz, 1 threads, isal, compress"


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kind", choices=subjects.KINDS, action="append", help="may be repeated; default: all")
    parser.add_argument("--divisor", type=int, default=1, help="so many times fewer units a layer")
    parser.add_argument("--out", type=Path, default=HERE, metavar="FOLDER", help="default: tests/benchmarks/throughput")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="for models and files on the way")
    parser.add_argument("--tables", action="store_true", help="nothing but the page, from results.json")
    given = parser.parse_args(arguments)
    if given.divisor != 1 and given.out == HERE:
        parser.error("--divisor would overwrite the results: give --out")
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.tables:
        with tempfile.TemporaryDirectory(dir=given.work) as folder:
            _run(Path(folder), given.kind or list(subjects.KINDS), given.divisor, given.out)
    known = json.loads((given.out / "results.json").read_text())
    (given.out / "RESULTS.md").write_text(tables.page(known))
    print(f"{given.out / 'RESULTS.md'}: written")
    return 0


def _run(folder: Path, kinds: list[str], divisor: int, out: Path) -> None:
    """Measure, and write the results anew after every kind, so that a run that is stopped has not been in vain."""
    subjects.write(folder, divisor)
    (folder / "drawn.bytes").write_bytes(subjects.parameters(folder))
    np.save(folder / "drawn.npy", subjects.layer(subjects.drawn(folder)))
    path = out / "results.json"
    for kind in kinds:
        known = json.loads(path.read_text()) if path.exists() else {}
        known[kind] = {"machine": _machine(divisor), "rows": []}
        for found in _measure(folder, kind):
            print(found.kind, tables.line(found), file=sys.stderr, flush=True)
            known[kind]["rows"].append(asdict(found))
            path.write_text(json.dumps(known, indent=1) + "\n")


def _measure(folder: Path, kind: str) -> Iterator[Measured]:
    """The rows: floors, what dcz makes, which the others decode or code, then all the rest."""
    first = [*FLOORS, MAKES]
    for name in first:
        yield _row(folder, kind, name)
    _take(folder, kind)
    if kind != "default":
        yield from rows.nncodec(folder, kind)
    for name in rows.rows():
        if name not in first and (kind != "default" or name.startswith("dcz")):
            yield _row(folder, kind, name)


def _take(folder: Path, kind: str) -> None:
    """What dcz made becomes what the other rows work on."""
    path = folder / f"{kind}.dcz"
    if (folder / "made.dcz").exists():
        (folder / "made.dcz").rename(path)
    else:  # without isal
        dcz.compress(folder / "model.onnx", path, subjects.plan(kind), force=True)
    (folder / f"{kind}.bytes").write_bytes(subjects.decoded(path))
    with dcz.open(path) as tensors:
        np.save(folder / f"{kind}.npy", subjects.layer(tensors[subjects.LAYER]))


def _row(folder: Path, kind: str, name: str) -> Measured:
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.throughput.rows",
        "--folder",
        folder,
        "--kind",
        kind,
        "--row",
        name,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=HERE.parents[2])
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    return Measured(**json.loads(done.stdout))


def _machine(divisor: int) -> dict[str, str]:
    return {
        "command": " ".join(["python -m tests.benchmarks.throughput", *sys.argv[1:]]),
        "divisor": str(divisor),
        "cores": str(os.cpu_count()),
        "load": " ".join(f"{each:.1f}" for each in os.getloadavg()) if hasattr(os, "getloadavg") else "",
        **platform_of("numpy", "isal", "zstandard", "bitarray", "scikit-learn"),
        "nncodec": "2.1.3" if rows.NNCODEC.exists() else "not installed",
    }


if __name__ == "__main__":
    sys.exit(main())
