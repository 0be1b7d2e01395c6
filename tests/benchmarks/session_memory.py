"""The most memory on the way from a `.dcz` file to a session: by dcz.session, and by way of a serialized model.

    python -m tests.benchmarks.session_memory [--layers 12] [--width 2048]

Each way is a process of its own, which also runs the model once; what the imports and a session of nothing take is left
out. Beside it, where the weights are more than 2 GB, ways that go through one message have no figure.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from examples.streaming import models

WAYS = {
    "dcz.session": "dcz.session(path)",
    "dcz.session, without prepacking": "dcz.session(path, options=plain())",
    "load, serialize, InferenceSession": "onnxruntime.InferenceSession(dcz.load(path).SerializeToString(), "
    "providers=['CPUExecutionProvider'])",
}
CODE = """
import sys
import numpy, onnx, onnxruntime
import dcz
def used(name):
    text = open("/proc/self/status").read()
    return int(text.split(name + ":")[1].split()[0]) * 1024
def plain():
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_prepacking", "1")
    return options
dcz.session(sys.argv[2])  # what libraries take when they are first used
path, before = sys.argv[1], used("VmRSS")
session = {way}
loaded = used("VmRSS")
session.run(None, {"tokens": numpy.zeros(int(sys.argv[3]), numpy.int64)})
print(used("VmHWM") - before, loaded - before)
"""


def measure(way: str, path: Path, nothing: Path, rows: int) -> tuple[int, int] | None:
    """The most bytes, and those once the session is there; None where the way leads nowhere."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.replace("{way}", WAYS[way]), path, nothing, str(rows)],
        capture_output=True,
        text=True,
    )
    return None if done.returncode else tuple(map(int, done.stdout.split()))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=2048)
    given = parser.parse_args()
    import dcz

    network = models.chain(given.layers * given.width**2, given.width, given.layers, "float32")
    with tempfile.TemporaryDirectory() as folder:
        source, path, nothing = (Path(folder, name) for name in ("net.onnx", "net.dcz", "nothing.dcz"))
        models.write(source, models.chain(64 * 64, 64, 1, "float32"))
        dcz.compress(source, nothing)
        models.write(source, network)
        dcz.compress(source, path)
        largest = max(weight.nbytes for weight in network.weights)
        print(
            f"{network.nbytes:,} bytes of weights, the largest tensor {largest:,}; the file {path.stat().st_size:,}\n"
        )
        print("| from a .dcz to a session | most memory | of the weights | once it is there |\n|---|---|---|---|")
        for way in WAYS:
            found = measure(way, path, nothing, network.weights[0].shape[0])
            most, after = found or (np.nan, np.nan)
            row = f"{most:,.0f} | {most / network.nbytes:.2f} | {after / network.nbytes:.2f}" if found else "- | - | -"
            print(f"| {way} | {row} |")


if __name__ == "__main__":
    main()
