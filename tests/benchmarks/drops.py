"""Whether `--max-drop` holds: drops that were asked for, against those of thousands of other inputs.

    python -m tests.benchmarks.drops                                            all networks, three draws, 1, 2 and 5 %
    python -m tests.benchmarks.drops --only ResNet-32 --draws 0 --max-drop 1    one run of one of them
    python -m tests.benchmarks.drops --model m.onnx --samples a.npy --others b.npy --name "my network"

Each run draws samples from a pool, calibrates by them to a drop, and counts the answers to other inputs that change.
The smallest file that keeps the drop there is found by calibrating the same samples at other bits. Results go to
drops.json, those of other runs stay, and DROPS.md is written from all. Networks: small_networks, and those of DCZ_DATA.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import dcz
from dcz.evaluation import runtime
from dcz.plan import Plan
from dcz.tuning.session import TuningSession
from dcz.tuning.split import HELD_OUT_SHARE, split_samples
from dcz.tuning.trials import CalibratedTrial, Trials
from tests.benchmarks import small_networks
from tests.benchmarks.machine import described

HERE = Path(__file__).parent
sys.path.append(str(HERE))  # agreement is a script there
BATCH = 50
COLUMNS = ("", "samples", "draw", "asked", "expected", "interval", "true", "of other inputs", "bytes",
           "over the smallest", "seconds")  # fmt: skip
LADDER = 1.12  # of bits, from one file to the next, where the smallest is looked for


@dataclass(frozen=True, eq=False)
class Case:
    """A network, the pool that samples are drawn from, other inputs of the same kind, and how many are drawn."""

    name: str
    model: Callable[[], Path]
    pool: Callable[[], np.ndarray]
    others: Callable[[], np.ndarray]
    drawn: int = 256


def _squeezenet(name: str) -> np.ndarray:
    from agreement import images

    return np.concatenate(list(images(name)))


def _cases() -> list[Case]:
    return [
        *(Case(name, each.model, each.pool, each.others) for name, each in small_networks.NETWORKS.items()),
        Case("SqueezeNet 1.1", lambda: small_networks.DATA / "nets" / "squeezenet_v1.1.onnx",
             lambda: _squeezenet("calibration256"), lambda: _squeezenet("val650"), 192),
    ]  # fmt: skip


def _classes(session: runtime.Session, inputs: np.ndarray) -> np.ndarray:
    name = session.get_inputs()[0].name
    rows = [runtime.run(session, {name: inputs[n : n + BATCH]})[0] for n in range(0, len(inputs), BATCH)]
    return np.concatenate(rows).reshape(len(inputs), -1).argmax(1)


class Measurement:
    """A network and one draw of samples."""

    def __init__(self, case: Case, draw: int, threads: int):
        self.case, self.draw, self.threads, self.model = case, draw, threads, case.model()
        pool = case.pool()
        chosen = np.random.default_rng(draw).choice(len(pool), min(case.drawn, len(pool)), replace=False)
        session = runtime.session(self.model, threads)
        self.samples = {session.get_inputs()[0].name: pool[chosen]}
        self.others = case.others()
        self.answers = _classes(session, self.others)

    def drop(self, session: runtime.Session) -> float:
        """The share of other inputs whose answers change."""
        return float((_classes(session, self.others) != self.answers).mean())

    def tuned(self, max_drop: float) -> dict[str, Any]:
        """One run: what was found, and what is so."""
        started = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "net.dcz")
            found = dcz.tune(self.model, path, self.samples, max_drop=max_drop, threads=self.threads)
            seconds = time.process_time() - started
            session = runtime.session(dcz.load(path).SerializeToString(), self.threads)
        kept = found.kept
        return {
            "network": self.case.name, "draw": self.draw, "asked": max_drop, "bytes": kept.nbytes, "bits": kept.bits,
            "expected": kept.expected_drop, "interval": [kept.drop_low, kept.drop_high], "true": self.drop(session),
            "others": len(self.others), "samples": len(next(iter(self.samples.values()))), "seconds": seconds,
            "calibrated": found.data_free is None,
        }  # fmt: skip

    def ladder(self, low: float, high: float) -> list[tuple[int, float]]:
        """Bytes and true drops of files calibrated by all samples at bits from `low` to `high` a weight."""
        session, points, bits = TuningSession(self.model, self.samples, Plan(), self.threads), [], low
        split = split_samples(session, HELD_OUT_SHARE)
        with session.survey(split.calibration, session.fine) as survey:
            trials = Trials(session, split, None, survey)
            while bits <= high * LADDER**0.5:
                made = trials.refit(CalibratedTrial(bits, 0))
                points.append((made.trial.nbytes, self.drop(session.run_with(made.values))))
                bits *= LADDER
        return points


def smallest(points: Iterable[tuple[int, float]], max_drop: float) -> float | None:
    """The bytes at which the drop becomes `max_drop`, the logarithm of the drop being taken for a line between files;
    None where none is below it or all are."""
    ordered = sorted(points)
    below = [number for number, (_, drop) in enumerate(ordered) if drop <= max_drop]
    if not below or not below[0]:
        return None
    (small, large_drop), (large, small_drop) = ordered[below[0] - 1], ordered[below[0]]
    ends = math.log(large_drop), math.log(max(small_drop, 1e-4))
    share = (ends[0] - math.log(max_drop)) / (ends[0] - ends[1])
    return small + share * (large - small)


def _measure(case: Case, draws: list[int], asked: list[float], threads: int, with_ladder: bool) -> list[dict[str, Any]]:
    rows = []
    for draw in draws:
        measurement = Measurement(case, draw, threads)
        found = [measurement.tuned(each) for each in asked]
        bits = [row["bits"] for row in found if row["calibrated"]]
        points = measurement.ladder(min(bits) / LADDER**3, max(bits)) if with_ladder and bits else []
        for row in found:
            row["smallest"] = smallest(points, row["asked"])
            row["ladder"], row["machine"] = points, described()
            print(json.dumps({key: value for key, value in row.items() if key != "ladder"}), flush=True)
        rows += found
    return rows


def _is_held(row: dict[str, Any]) -> bool:
    """Whether the true drop is within what was asked for and the standard error of counting it."""
    return bool(row["true"] <= row["asked"] + math.sqrt(row["asked"] * (1 - row["asked"]) / row["others"]))


def _written(rows: list[dict[str, Any]]) -> str:
    held = sum(map(_is_held, rows))
    larger = [row["bytes"] / row["smallest"] - 1 for row in rows if row["smallest"]]
    lines = [
        "# Whether `--max-drop` holds", "",
        "What `make bench-drops` measures: answers to other inputs that change, where 1, 2 or 5 % were asked for, over",
        "draws of samples. An interval is that of the file's metadata. The smallest file is one that the same samples",
        "calibrate, that keeps the drop on these other inputs; it is found by looking at them.", "",
        f"Within what was asked for and one standard error: {held} of {len(rows)} runs.",
        f"Larger than the smallest file, median: {np.median(larger):+.0%} ({len(larger)} runs; nine tenths at most "
        f"{np.quantile(larger, 0.9):+.0%})." if larger else "", "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]  # fmt: skip
    for row in sorted(rows, key=lambda row: (row["network"], row["draw"], row["asked"])):
        low, high = (math.nan if each is None else each for each in row["interval"])
        over = "-" if not row["smallest"] else f"{row['bytes'] / row['smallest'] - 1:+.0%}"
        mark = "" if _is_held(row) else " **more**"
        lines.append(
            f"| {row['network']} | {row['samples']} | {row['draw']} | {row['asked']:.0%} | {row['expected']:.2%} | "
            f"{low:.2%} to {high:.2%} | {row['true']:.2%}{mark} | {row['others']:,} | {row['bytes']:,} | {over} | "
            f"{row['seconds']:.0f} |"
        )
    latest = max((row["machine"] for row in rows), key=lambda each: each["date"])
    return "\n".join(
        [*lines, "", f"The latest of these rows: {', '.join(' '.join(each) for each in latest.items())}.", ""]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--draws", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--max-drop", type=float, nargs="*", default=[1, 2, 5], help="percent")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--no-ladder", action="store_true", help="look for the smallest file among those known of the draw"
    )
    parser.add_argument("--model", type=Path)
    parser.add_argument("--samples", type=Path, help="an .npy to draw from")
    parser.add_argument("--others", type=Path, help="an .npy of other inputs")
    parser.add_argument("--drawn", type=int, default=256)
    parser.add_argument("--name", default="")
    options = parser.parse_args()
    cases = [case for case in _cases() if not options.only or case.name in options.only]
    if options.model:
        load = [lambda path=path: np.load(path) for path in (options.samples, options.others)]
        cases = [Case(options.name or options.model.stem, lambda: options.model, *load, options.drawn)]
    asked = [each / 100 for each in options.max_drop]
    record = HERE / "drops.json"
    for case in cases:
        known = json.loads(record.read_text()) if record.exists() else []
        rows = _measure(case, options.draws, asked, options.threads, not options.no_ladder)
        for row in rows if options.no_ladder else ():
            of_draw = (each for each in known if (each["network"], each["draw"]) == (row["network"], row["draw"]))
            row["ladder"] = next((each["ladder"] for each in of_draw if each["ladder"]), [])
            row["smallest"] = smallest(row["ladder"], row["asked"])
        made = {(row["network"], row["draw"], row["asked"]) for row in rows}
        rows += [row for row in known if (row["network"], row["draw"], row["asked"]) not in made]
        rows.sort(key=lambda row: (row["network"], row["draw"], row["asked"]))
        record.write_text(json.dumps(rows, indent=1) + "\n")
        (HERE / "DROPS.md").write_text(_written(rows))


if __name__ == "__main__":
    main()
