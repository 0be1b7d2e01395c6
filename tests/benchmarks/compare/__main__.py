"""Measure dcz beside other ways to make a network smaller.

    python -m tests.benchmarks.compare                          all of it (make compare)
    python -m tests.benchmarks.compare --only 'SqueezeNet 1.1'  one network; may be repeated
    python -m tests.benchmarks.compare --way dcz                one way, likewise; results of the others stay
    python -m tests.benchmarks.compare --tables                 nothing but the page, from results.json

It writes results.json after every result, RESULTS.md from it, and prints the README's table. What is not installed is
left out, and told.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

for each in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(each, "1")

from tests.benchmarks.machine import described

from . import tables
from .measuring import Judge, measure
from .networks import NETWORKS
from .ways import WAYS

HERE = Path(__file__).parent


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=NETWORKS, action="append", metavar="NAME", help="may be repeated")
    parser.add_argument("--way", choices=WAYS, action="append", metavar="NAME", help="may be repeated")
    parser.add_argument("--out", type=Path, default=HERE, metavar="FOLDER", help="default: tests/benchmarks/compare")
    parser.add_argument("--tables", action="store_true", help="nothing but the page")
    given = parser.parse_args(arguments)
    path = given.out / "results.json"
    known = json.loads(path.read_text()) if path.exists() else {"machine": {}, "networks": {}}
    for name in [] if given.tables else given.only or list(NETWORKS):
        network, judge = NETWORKS[name], Judge(NETWORKS[name])
        entry = known["networks"].setdefault(name, {"results": {}})
        entry |= {"about": network.about, "measure": judge.task.measure.name}
        for way in given.way or list(WAYS):
            result = measure(network, WAYS[way], judge)
            entry["results"][way] = {key: _rounded(value) for key, value in asdict(result).items()}
            print(f"{name}, {way}: {result}", file=sys.stderr, flush=True)
            known["machine"] = described("numpy", "onnx", "onnxruntime", "onnxslim", "onnxsim", "zstandard")
            _write(path, known)
    (given.out / "RESULTS.md").write_text(tables.page(known))
    print(tables.summary(known))


def _write(path: Path, known: dict) -> None:
    """The results, in the order of networks and ways."""
    networks = {name: known["networks"][name] for name in NETWORKS if name in known["networks"]}
    for entry in networks.values():
        entry["results"] = {way: entry["results"][way] for way in WAYS if way in entry["results"]}
    path.write_text(json.dumps(known | {"networks": networks}, indent=1, ensure_ascii=False) + "\n")


def _rounded(value: object) -> object:
    return round(value, 6) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
