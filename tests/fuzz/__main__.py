"""Fuzzes one harness, or all of them one after another: `python -m tests.fuzz [NAME...] [--seconds 60]`.

With atheris where it is installed (guided by the code that inputs reach), else by mutations of the seeds alone. A fault
is written to build/fuzz/crashes/NAME-SHA, and `python -m tests.fuzz NAME --input FILE` shows it again. What was run is
appended to build/fuzz/runs.txt.
"""

import argparse
import hashlib
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests import ROOT

FOLDER = Path(os.environ.get("DCZ_FUZZ_FOLDER") or ROOT / "build" / "fuzz")
MAX_INPUT = 1 << 14  # bytes
MAX_SECONDS = 10  # of processor time, for one input
MAX_RUNS = 200_000  # of one process: with every run, atheris keeps some kilobytes that nothing gives back
MAX_WAIT = 600  # by the clock, where an input comes to no end: a machine that is busy may stop a process for minutes


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seconds", type=int, default=int(os.environ.get("FUZZ_SECONDS", "60")))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--input", type=Path)
    parser.add_argument("--engine", choices=["atheris", "own"])
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    engine = options.engine or _engine()
    if options.inside:
        return _guided(options.names[0], options.seconds, options.seed)
    from tests.fuzz.harnesses import HARNESSES

    if options.input is not None:
        HARNESSES[options.names[0]](options.input.read_bytes())
        return 0
    failed = 0
    for name in options.names or HARNESSES:
        (FOLDER / "crashes").mkdir(parents=True, exist_ok=True)
        run = _by_atheris if engine == "atheris" else _by_mutations
        count, fault = run(name, options.seconds, options.seed)
        line = f"{name}: {count:,} runs in {options.seconds} s ({engine}): {fault or 'no fault'}"
        print(line, flush=True)
        with (FOLDER / "runs.txt").open("a") as file:
            file.write(line + "\n")
        failed += bool(fault)
    return min(failed, 1)


def _engine() -> str:
    try:
        import atheris  # noqa: F401
    except ImportError:
        return "own"
    return "atheris"


def _by_mutations(name: str, seconds: float, seed: int) -> tuple[int, str]:
    """How many inputs were tried, and the first fault."""
    from tests.fuzz.harnesses import HARNESSES, seeds
    from tests.fuzz.mutations import mutated

    source, known, count = random.Random(seed), seeds(name), 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = known[count] if count < len(known) else mutated(source, known)
        count += 1
        try:
            timed(HARNESSES[name])(data)
        except Exception as error:
            path = FOLDER / "crashes" / f"{name}-{hashlib.sha1(data).hexdigest()}"
            path.write_bytes(data)
            return count, f"{type(error).__name__}: {error} (python -m tests.fuzz {name} --input {path})"
    return count, ""


def _by_atheris(name: str, seconds: int, seed: int) -> tuple[int, str]:
    """The same by libFuzzer, in processes of their own, of which one ends with the first fault."""
    from tests.fuzz.harnesses import seeds

    corpus = FOLDER / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for data in seeds(name):
        (corpus / hashlib.sha1(data).hexdigest()).write_bytes(data)
    count, fault, process, end = 0, "", 0, time.monotonic() + seconds
    while not fault and (left := round(end - time.monotonic())) > 0:
        done, fault = _one_process(name, left, seed + process)
        count, process = count + done, process + 1
    return count, fault


def _one_process(name: str, seconds: int, seed: int) -> tuple[int, str]:
    command = [sys.executable, "-m", "tests.fuzz", name, "--inside", f"--seconds={seconds}", f"--seed={seed}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace")
    counts = re.findall(r"number_of_executed_units: (\d+)|^#(\d+)\s", done.stderr, re.MULTILINE)
    count = max((int(one or other) for one, other in counts), default=0)
    if done.returncode == 0:
        return count, ""
    written = re.search(r"Test unit written to (\S+)", done.stderr)
    told = [line for line in done.stderr.splitlines() if not line.startswith("INFO: ")]  # modules' names among these
    lines = [line for line in told if "Error" in line or "error" in line or "ALARM" in line]
    where = written.group(1) if written else "nothing written"
    return (
        count,
        f"{(lines or ['exit ' + str(done.returncode)])[0][:200]} (python -m tests.fuzz {name} --input {where})",
    )


def _guided(name: str, seconds: int, seed: int) -> int:
    import atheris

    with atheris.instrument_imports(include=["dcz", "decoder"]):
        from tests.fuzz.harnesses import HARNESSES
    crashes = FOLDER / "crashes" / f"{name}-"
    flags = [f"-max_total_time={seconds}", f"-artifact_prefix={crashes}", f"-max_len={MAX_INPUT}", f"-seed={seed + 1}"]
    flags += [f"-runs={MAX_RUNS}", "-rss_limit_mb=2048", f"-timeout={MAX_WAIT}", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *flags, str(FOLDER / "corpus" / name)], timed(HARNESSES[name]))
    atheris.Fuzz()
    return 0


def timed(harness: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """A harness that also fails where an input takes more than MAX_SECONDS of processor time."""

    def run(data: bytes) -> None:
        began = time.process_time()
        harness(data)
        if time.process_time() - began > MAX_SECONDS:
            raise TimeoutError(f"{len(data):,} bytes took more than {MAX_SECONDS} s of processor time")

    return run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
