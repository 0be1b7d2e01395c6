"""Compress AlexNet and VGG-16 with drawn weights at the paper's densities and bits, decode, run, and write the tables.

    python -m examples.large.reproduce                       all of it into examples/large (make reproduce-large)
    python -m examples.large.reproduce --only alexnet        one network; the results of the other stay as they are
    python -m examples.large.reproduce --quick --out /tmp/try
                                                             networks of few units: it shows that everything runs

It writes results.json and RESULTS.md, and leaves the .dcz files in build/large, for `dcz inspect`. On the way it needs
2 GB of disk and 4 GB of memory.
"""

import argparse
import itertools
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import dcz

from . import rows, sources, tables
from .networks import NETWORKS, Network

HERE = Path(__file__).parent
WORK = HERE.parents[1] / "build" / "large"  # git ignores it


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 1 with a sentence where it cannot."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=NETWORKS, help="one network")
    parser.add_argument("--source", choices=sources.SOURCES, help="weights from one source")
    parser.add_argument("--tables", action="store_true", help="nothing but the page, from results.json")
    parser.add_argument("--out", type=Path, default=HERE, metavar="FOLDER", help="default: examples/large")
    parser.add_argument(
        "--work", type=Path, metavar="FOLDER", help="for .dcz files and models; default: build/large, OUT/work"
    )
    parser.add_argument("--quick", action="store_true", help="networks of few units, to see that it runs")
    given = parser.parse_args(arguments)
    if given.quick and given.out == HERE:
        parser.error("--quick would overwrite the results: give --out")
    work = given.work or (WORK if given.out == HERE else given.out / "work")
    networks = [network for name, network in NETWORKS.items() if given.only in (None, name) and not given.tables]
    chosen = [source for source in sources.SOURCES if given.source in (None, source)]
    if given.quick:
        networks = [network.scaled(32) for network in networks]
    try:
        reproduce(networks, chosen, given.out, work, given.quick)
    except dcz.DczError as error:
        print(f"reproduce-large: {error}", file=sys.stderr)
        return 1
    return 0


def reproduce(networks: list[Network], chosen: list[str], out: Path, work: Path, quick: bool = False) -> None:
    """Make the rows of `networks` with weights from the `chosen` sources, and write the page anew."""
    out.mkdir(parents=True, exist_ok=True)
    began, made = time.perf_counter(), []
    # A process for each row, so that its peak of memory is its own.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, max_tasks_per_child=1) as pool:
        for result in pool.map(rows.make, *zip(*itertools.product(networks, chosen, [work]), strict=True)):
            print(tables.sentence(result), flush=True)
            made.append(result)
    results = rows.write_results(made, out / "results.json")
    (out / "RESULTS.md").write_text(tables.page(results, quick))
    print(f"{out / 'RESULTS.md'}: written after {(time.perf_counter() - began) / 60:.1f} minutes")


if __name__ == "__main__":
    sys.exit(main())
