"""How fast .dcz files are decoded by dcz in Python, and by dcz.js in Node and in Chromium.

    python -m examples.browser.bench build/browser/model.dcz    after `make browser`; writes RESULTS.md beside this file

Processor seconds of one process that decodes a file in memory, over and over for three seconds, the model whole: graph
and tensors, with all checksums. Node 20 overlooks what follows the end of a deflated stream; there dcz.js inflates all
twice, to see that nothing does. SqueezeNet is that of `make browser`; PP-OCRv4's recognizer and magika's network come
with their packages; all by `dcz compress` with its default.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import dcz
from dcz.format.container import Archive
from tests.benchmarks.machine import platform_of

HERE = Path(__file__).parent
SECONDS = 3


def in_python(path: Path) -> float:
    """Processor seconds of one decoding, by one thread."""
    dcz.load(path, threads=1)
    began, count = time.process_time(), 0
    while time.process_time() - began < SECONDS:
        dcz.load(path, threads=1)
        count += 1
    return (time.process_time() - began) / count


def decoded_bytes(path: Path) -> int:
    """Bytes of all tensors that have a record."""
    with Archive(path) as archive:
        return sum(entry.nbytes for entry in archive.directory.entries)


def main(names: list[str]) -> None:
    """Measure, print, and write RESULTS.md."""
    paths = [Path(name).resolve() for name in names]
    done = subprocess.run(["node", "bench.js", *map(str, paths)], cwd=HERE, check=True, capture_output=True, text=True)
    rows = [(path, "Python", in_python(path)) for path in paths]
    rows += [(Path(each["path"]), each["where"], each["seconds"]) for each in json.loads(done.stdout)]
    load = " ".join(f"{each:.1f}" for each in os.getloadavg()) if hasattr(os, "getloadavg") else ""
    facts = {"cores": os.cpu_count(), "load": load, **platform_of("numpy", "isal")}
    machine = ", ".join(f"{name} {value}" for name, value in facts.items())
    lines = [
        "# Decoding in a browser",
        "",
        *__doc__.splitlines()[4:],
        "",
        f"`python -m examples.browser.bench {' '.join(path.name for path in paths)}`, {machine}",
        "",
        "| file | bytes | decoded, float32 | by | ms of processor | MB/s of float32 |",
        "|---|---|---|---|---|---|",
    ]
    for path, where, seconds in sorted(rows, key=lambda row: paths.index(row[0])):
        decoded = decoded_bytes(path)
        sizes = f"{path.name} | {path.stat().st_size:,} | {decoded:,}"
        lines.append(f"| {sizes} | {where} | {1000 * seconds:.1f} | {decoded / 1e6 / seconds:.0f} |")
    text = "\n".join(lines) + "\n"
    (HERE / "RESULTS.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
