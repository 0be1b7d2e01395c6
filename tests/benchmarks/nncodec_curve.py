"""Encode tensors with nncodec (ISO/IEC 15938-17), decode them again. Needs nncodec alone: give it a Python of its own.

    /tmp/nnc/bin/python tests/benchmarks/nncodec_curve.py weights.npz folder -38 -32 -20

Writes folder/-38.npz and so on: the decoded tensors; prints a line of JSON for each qp, with bytes and seconds
(wall clock and processor).
nncodec's settings are its own defaults (dependent quantization, parameter optimisation and row skipping are on), in a
single call for all tensors; each of them counts as a weight.
"""

import argparse
import contextlib
import importlib.machinery
import json
import resource
import sys
import tempfile
import time
import types
from pathlib import Path
from unittest import mock

import numpy as np


def import_nncodec():
    """nncodec's encode and decode; torchvision, which serves its demos alone and fits few torches, is left out."""
    names = ["torchvision"] + [f"torchvision.{name}" for name in ("datasets", "models", "transforms")]
    for name in names:
        sys.modules[name] = stub = types.ModuleType(name)
        stub.__getattr__ = lambda _: mock.MagicMock()
        stub.__spec__, stub.__path__ = importlib.machinery.ModuleSpec(name, None), []
    from nncodec import nn

    return nn.encode, nn.decode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("qp", type=int, nargs="+")
    options = parser.parse_args()
    with np.load(options.weights) as file:
        arrays = {name: file[name].astype(np.float32) for name in file.files}
    # What has one axis would be coded as a bias, far more finely. Names cost bytes: short ones are given.
    tensors = {f"w{n}": np.atleast_2d(array) for n, array in enumerate(arrays.values())}
    with contextlib.redirect_stdout(sys.stderr):
        encode, decode = import_nncodec()
    for qp in options.qp:
        with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(sys.stderr):
            settings = {"qp": qp, "results": scratch, "verbose": False}
            peak, began, cpu = _peak_memory(), time.perf_counter(), [time.process_time()]
            stream = encode({name: tensor.copy() for name, tensor in tensors.items()}, settings)
            encoded = time.perf_counter()
            cpu.append(time.process_time())
            decoded = decode(stream, settings)
            done = time.perf_counter()
            cpu.append(time.process_time())
        found = {
            name: np.asarray(decoded[f"w{n}"], np.float32).reshape(array.shape)
            for n, (name, array) in enumerate(arrays.items())
        }
        np.savez(options.folder / f"{qp}.npz", **found)
        said = {"qp": qp, "bytes": len(stream), "encode": encoded - began, "decode": done - encoded}
        said |= {"encode_cpu": cpu[1] - cpu[0], "decode_cpu": cpu[2] - cpu[1], "peak": _peak_memory() - peak}
        print(json.dumps(said), flush=True)


def _peak_memory() -> int:
    status = Path("/proc/self/status")  # Linux, where ru_maxrss would begin with what the parent held
    if status.exists():
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
