"""Reproduce the paper's MNIST rows with files: train, compress, decode, measure.

    python -m examples.mnist.reproduce                  everything into examples/mnist (make reproduce)
    python -m examples.mnist.reproduce --only lenet-5   the rows of one network, or the figures
    python -m examples.mnist.reproduce --validation --out /tmp/try
                                                        while choosing: the test digits are not looked at
    python -m examples.mnist.reproduce --quick --out /tmp/try
                                                        all of it in seconds, on too few digits to mean anything

It writes a .dcz file a row, results.json, RESULTS.md and figures/. Both networks train at the same time, one core each.
"""

import argparse
import contextlib
import itertools
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import dcz

from . import data, experiments, figures, recipes, rows, tables
from .networks import ARCHITECTURES, LENET_300_100

HERE = Path(__file__).parent
WORK = data.ROOT / "build" / "mnist"  # git ignores it


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 1 with a sentence where it cannot."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=(*ARCHITECTURES, "figures"), help="the rows of one network, or the figures")
    parser.add_argument("--out", type=Path, default=HERE, metavar="FOLDER", help="default: examples/mnist")
    parser.add_argument(
        "--work", type=Path, metavar="FOLDER", help="for dense networks; default: build/mnist, OUT/work"
    )
    parser.add_argument("--validation", action="store_true", help="measure on the validation digits")
    parser.add_argument("--quick", action="store_true", help="a few digits and epochs, to see that it runs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes; default: as many as cores")
    given = parser.parse_args(arguments)
    if given.quick and given.out == HERE:
        parser.error("--quick would overwrite the results: give --out")
    work = given.work or (WORK if given.out == HERE else given.out / "work")
    bench = rows.Bench(work, "validation" if given.validation or given.quick else "test", given.quick)
    try:
        data.training_and_validation()
        reproduce(bench, given.out, given.only, given.jobs)
    except (data.NoDigits, dcz.DczError) as error:
        print(f"reproduce: {error}", file=sys.stderr)
        return 1
    return 0


def reproduce(bench: rows.Bench, out: Path, only: str | None = None, jobs: int = 1) -> None:
    """Make what `only` names (None: all), `jobs` processes at a time, and write the page anew."""
    out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with _processes(jobs) as map:
        if only != "figures":
            chosen = [row for row in recipes.ROWS if only in (None, row.network)]
            by_network = [list(group) for _, group in itertools.groupby(chosen, lambda row: row.network)]
            done = map(_make_all, by_network, itertools.repeat(bench), itertools.repeat(out))
            rows.write_results([result for group in done for result in group], out / "results.json")
        if only in (None, "figures"):
            _measure_figures(bench, out / "figures", map)
    known = rows.read_results(out / "results.json").values()
    results = [result for result in known if (out / result.file).exists()]
    packed = {result.file: out / result.file for result in results}
    if packed:
        figures.streams(packed, out / "figures")
        figures.storage(packed, out / "figures")
    (out / "RESULTS.md").write_text(tables.page(results, packed, figures.TITLES, out / "figures", bench.quick))
    print(f"{out / 'RESULTS.md'}: written after {(time.perf_counter() - began) / 60:.1f} minutes")


def _make_all(chosen: list[recipes.Row], bench: rows.Bench, out: Path) -> list[rows.Result]:
    """The rows of one network, one after another, for they share its dense original."""
    return [rows.make(row, bench, out) for row in chosen]


@contextlib.contextmanager
def _processes(jobs: int):
    """A `map` that so many processes work at; with one, this one."""
    if jobs == 1:
        yield map
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:  # torch does not survive a fork
        yield pool.map


def _measure_figures(bench: rows.Bench, folder: Path, map) -> None:
    grid = recipes.GRID.quick() if bench.quick else recipes.GRID
    rows.train_dense(LENET_300_100, bench)
    figures.tradeoff(experiments.tradeoff(bench, grid, map), folder)
    model = experiments.pruned(bench, grid)
    figures.starts(experiments.starts(bench, grid, model, map), folder)
    figures.codebook(experiments.codebook(bench, grid, model), folder)


if __name__ == "__main__":
    sys.exit(main())
