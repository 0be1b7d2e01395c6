"""Run every benchmark and write RESULTS.md beside this file.

    make bench

Data that is not at hand (see DCZ_DATA in agreement.py) is left out, and the page says so. The last section, which takes
far longer (make bench-accuracy), stays as it is.
"""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
DATA = Path(os.environ.get("DCZ_DATA", HERE.parents[2] / "shared" / "data"))
# The default quality was chosen among these.
CHOICE = ("--images", "calibration256", "--quality", "26", "28", "30", "32", "34", "36")
PRESETS = ("--preset", "safe", "balanced", "small")
BENCHMARKS = [
    ("Agreement with the original network", ["agreement.py", *PRESETS], DATA / "imagenet"),
    ("Agreement and quality", ["agreement.py", *CHOICE], DATA / "imagenet"),
    ("The published Deep Compression SqueezeNet", ["published.py"], DATA / "nets"),
    ("Models that packages ship", ["packages.py"], None),
    ("Speed", ["speed.py"], None),
    ("Memory of a session", ["session_memory.py"], None),
    ("Start-up", ["startup.py"], None),
]  # fmt: skip
KEPT = "\n## Bytes at equal agreement"
HEAD = """# Measured

Written by `make bench` on {cores} cores of {machine}, Python {python}, numpy {numpy}, onnxruntime {onnxruntime}.
Sizes are bytes of files; agreement is the share of inputs with the same top class before and after, by onnxruntime;
times are the best of three on a shared machine, so only ratios say something.
"""


def main() -> None:
    page = HEAD.format(
        cores=os.cpu_count(),
        machine=platform.machine(),
        python=platform.python_version(),
        numpy=version("numpy"),
        onnxruntime=version("onnxruntime"),
    )
    for title, command, data in BENCHMARKS:
        page += f"\n## {title}\n\n`python tests/benchmarks/{' '.join(command)}`\n\n"
        if data is not None and not data.is_dir():
            page += "Left out: its data is not at hand (set DCZ_DATA).\n"
            continue
        print(title, "...", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, HERE / command[0], *command[1:]], capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": str(HERE.parents[1])},
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
        page += done.stdout
    before = (HERE / "RESULTS.md").read_text()
    page += before[before.index(KEPT) :] if KEPT in before else ""
    (HERE / "RESULTS.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
