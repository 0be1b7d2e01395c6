"""What commands take before and beside their work: processor seconds of whole processes, the best of several.

    python -m tests.benchmarks.startup [--tensors 16] [--times 5]

`inspect` and `check` look at a `.dcz` of a gigabyte (so many tensors of 64 MB that nothing compresses), and at a small
one. Read the ratios: `--help` is held against `import click`, the others against `import numpy`. All find their modules
compiled, as an installed program does, also where the environment has Python keep no bytecode.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

import dcz
from tests import ROOT

SIDE = 4096
SMALL = ROOT / "examples" / "mnist" / "lenet-5.dcz"


def write(folder: Path, tensors: int) -> Path:
    """A `.dcz` of random bit patterns."""
    random, stored, nodes = np.random.default_rng(0), [], []
    with open(folder / "big.data", "wb") as file:
        for number in range(tensors):
            tensor = TensorProto(name=f"w{number}", data_type=TensorProto.FLOAT, dims=[SIDE, SIDE])
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "big.data"), ("offset", file.tell()), ("length", 4 * SIDE * SIDE)):
                tensor.external_data.add(key=key, value=str(value))
            file.write(random.integers(0, 0x7F800000, SIDE * SIDE, np.uint32).tobytes())  # finite numbers
            stored.append(tensor)
            nodes.append(helper.make_node("MatMul", [f"h{number}", tensor.name], [f"h{number + 1}"]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, SIDE]) for name in ("h0", f"h{tensors}")]
    graph = helper.make_graph(nodes, "big", ends[:1], ends[1:], stored)
    (folder / "big.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    packed = dcz.compress(folder / "big.onnx", folder / "big.dcz", lossless=True, resume=False)
    (folder / "big.data").unlink()
    return Path(packed)


def seconds(arguments: list[str], times: int, bytecode: str) -> float:
    """Processor seconds of a Python process, the least of several after one that leaves its `bytecode` in a folder."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = bytecode
    found = []
    for _ in range(1 + times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tensors", type=int, default=16)
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        big = write(Path(folder), given.tensors)
        bytecode = str(Path(folder, "bytecode"))
        bases = {name: seconds(["-c", f"import {name}"], given.times, bytecode) for name in ("click", "numpy")}
        print(f"| `.dcz` of {big.stat().st_size:,} bytes | seconds of the processor | times |\n|---|---|---|")
        for name, spent in bases.items():
            print(f"| import {name} | {spent:.3f} | 1.0 |")
        rows = [
            ("dcz --help", ["--help"], "click"),
            ("dcz inspect, of the large file", ["inspect", str(big)], "numpy"),
            ("dcz inspect, of a small one", ["inspect", str(SMALL)], "numpy"),
            ("dcz check --max-size, of the large file", ["check", str(big), "--max-size", "9GB"], "numpy"),
            ("dcz check --max-size, of a small one", ["check", str(SMALL), "--max-size", "9GB"], "numpy"),
        ]
        for label, arguments, base in rows:
            spent = seconds(["-m", "dcz", *arguments], given.times, bytecode)
            print(f"| {label} | {spent:.3f} | {spent / bases[base]:.1f} import {base} |", flush=True)


if __name__ == "__main__":
    main()
