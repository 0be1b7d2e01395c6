"""What a network weighs, loads and runs as in each form: the original, `.dcz`, dense, gather, qdq, quantized anew.

    python -m tests.benchmarks.forms                          all of it into FORMS.md beside this file (make forms)
    python -m tests.benchmarks.forms --only 'SqueezeNet 1.1'  one network, printed alone

Each form is a process of its own. Times are seconds of processor on one thread, the best of several; memory is what
the process takes once the session is there, less what it took before, libraries warmed up. Answers are held against
those of the original by the network's own task (see corpus).
"""

import argparse
import ctypes
import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

for each in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(each, "1")

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

import dcz
from dcz.evaluation import runtime

from .compare.measuring import Judge, best
from .compare.networks import NETWORKS
from .corpus.packages import Missing
from .corpus.variants import VARIANTS
from .machine import described

HERE = Path(__file__).parent
BROTLI = 9  # of 11, which takes minutes for a large model
LOADS = 3
HEAD = """# Forms of a compressed model

Written by `make forms` on {machine}. `.dcz` is `dcz compress` by default, loaded by `dcz.session`; dense, gather and
qdq are `dcz decompress --as`; int8 is onnxruntime's `quantize_dynamic`, weights int8. "qdq, restored" is the same file
with the session option `session.disable_quant_qdq`, by which onnxruntime restores the weights once. Bytes are of files;
load and run are processor time on one thread (seconds to a session, milliseconds a sample); memory is what the process
takes more once the session is there, and then once the C library has given back what of it is free (malloc_trim, which
dcz.session calls itself). Last, how far the answers are those of the original, by the task's own measure.
"""

Made = tuple[Path, dict[str, str]]  # a file, and session options


def _form(form: str, **options: str) -> Callable[[Path, Path], Made]:
    def make(model: Path, folder: Path) -> Made:
        packed = folder / "made.dcz"
        if not packed.exists():
            dcz.compress(model, packed)
        if form == ".dcz":
            return packed, options
        return dcz.decompress(packed, folder / f"{form}.onnx", form=form, force=True), options

    return make


def _int8(model: Path, folder: Path) -> Made:
    VARIANTS["dynamic int8"](model, folder, [])
    return folder / "made.onnx", {}


WAYS: dict[str, Callable[[Path, Path], Made]] = {
    "float32": lambda model, folder: (model, {}),
    ".dcz": _form(".dcz"),
    "dense": _form("dense"),
    "gather": _form("gather"),
    "qdq": _form("qdq"),
    "qdq, restored": _form("qdq", **{"session.disable_quant_qdq": "1"}),
    "int8": _int8,
}


def session(path: Path, options: dict[str, str]) -> runtime.Session:
    """A session of a file, on one thread."""
    chosen = onnxruntime.SessionOptions()
    chosen.log_severity_level = 4
    chosen.intra_op_num_threads = 1
    for name, value in options.items():
        chosen.add_session_config_entry(name, value)
    if path.suffix == ".dcz":
        return dcz.session(path, options=chosen, threads=1)
    return onnxruntime.InferenceSession(str(path), chosen, providers=["CPUExecutionProvider"])


def taken() -> int:
    """Bytes that this process has in memory."""
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) * 1024


def look(network: str, path: Path, options: dict[str, str]) -> dict[str, float | None]:
    """The figures of one form, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        weights = helper.make_tensor("w", TensorProto.FLOAT, [32, 32], np.zeros(1024, np.float32).tobytes(), raw=True)
        shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 32]) for name in "xy"]
        small = helper.make_model(helper.make_graph([node], "g", shapes[:1], shapes[1:], [weights]), ir_version=8,
                                  opset_imports=[helper.make_opsetid("", 13)])  # fmt: skip
        dcz.compress(small, Path(folder, "small.dcz"))
        session(Path(folder, "small.dcz"), {})
    before = taken()
    made = session(path, options)
    memory = taken() - before
    ctypes.CDLL(None).malloc_trim(0)
    in_use = taken() - before
    load = best(lambda: session(path, options), LOADS)
    judge = Judge(NETWORKS[network])  # which takes memory itself
    alike, _, _ = judge.scores(judge.answers(made))
    return {"memory": memory, "in use": in_use, "load": load, "alike": alike, "run": judge.seconds(made)}


def measure(network: str, way: str, folder: Path) -> dict[str, float | None]:
    """All figures of one form, those of time and memory from a process of its own. Raises Missing."""
    path, options = WAYS[way](NETWORKS[network].model(), folder)
    data = path.read_bytes()
    found: dict[str, float | None] = {"bytes": len(data), "gzip": len(gzip.compress(data, 9)), "brotli": None}
    try:
        import brotli
    except ImportError:
        pass
    else:
        found["brotli"] = len(brotli.compress(data, quality=BROTLI))
    command = [sys.executable, "-m", "tests.benchmarks.forms", "--look", network, str(path), json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing((done.stderr.strip().splitlines() or ["no figures"])[-1])
    return found | json.loads(done.stdout.splitlines()[-1])


def table(network: str) -> str:
    """The figures of a network, as a table."""
    lines = [
        f"\n## {network}\n",
        f"Answers: {Judge(NETWORKS[network]).task.measure.name}, on {NETWORKS[network].about}.\n",
        f"| form | bytes | gzip -9 | brotli -{BROTLI} | load, s | memory, MB | in use | run, ms | answers |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            print(f"{network}, {way} ...", file=sys.stderr, flush=True)
            try:
                found = measure(network, way, Path(folder))
            except Missing as error:
                lines.append(f"| {way} | {error} | | | | | | | |")
                continue
            sizes = " | ".join("-" if found[key] is None else f"{found[key]:,}" for key in ("bytes", "gzip", "brotli"))
            memory = " | ".join(f"{found[key] / 1e6:.1f}" for key in ("memory", "in use"))
            times = f"{found['load']:.3f} | {memory} | {1000 * found['run']:.1f}"
            lines.append(f"| {way} | {sizes} | {times} | {100 * found['alike']:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=NETWORKS, action="append", metavar="NAME", help="may be repeated")
    parser.add_argument("--look", nargs=3, help=argparse.SUPPRESS)  # the process of one form
    given = parser.parse_args()
    if given.look:
        network, path, options = given.look
        print(json.dumps(look(network, Path(path), json.loads(options))))
        return
    about = described("onnxruntime", "brotli")
    page = HEAD.format(machine=", ".join(f"{key} {value}" for key, value in about.items() if key not in ("commit",)))
    for network in given.only or NETWORKS:
        try:
            page += table(network)
        except Missing as error:
            page += f"\n## {network}\n\nLeft out: {error}\n"
    print(page)
    if not given.only:
        (HERE / "FORMS.md").write_text(page)


if __name__ == "__main__":
    main()
