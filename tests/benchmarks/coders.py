"""Ways to make a network smaller, each giving a model that runs and what it takes: dcz, dcz calibrated, nncodec.

    for coded in data_free(path, [20, 26, 32], folder):
        coded.model, coded.file, coded.weights          an ONNX file; bytes in all; bytes of the weights alone

All code the same tensors, those that dcz compresses by default; equal ones count once.
"""

import hashlib
import json
import os
import subprocess
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import dcz
from dcz import model, tensor
from dcz.plan import Plan

NNCODEC = Path(os.environ.get("DCZ_NNCODEC", ".nncodec/bin/python"))  # as `make nncodec` installs it
SCRIPT = Path(__file__).with_name("nncodec_curve.py")


@dataclass(frozen=True)
class Coded:
    """A network made smaller: `model` runs in onnxruntime, `file` and `weights` are bytes, times processor seconds."""

    label: str
    model: Path
    file: int
    weights: int
    encode: float
    decode: float


def weights(path: Path) -> list[list[model.ModelTensor]]:
    """The tensors that dcz compresses by default, equal ones together."""
    plan, same = Plan(), defaultdict(list)
    for weight in model.load(path).tensors:
        if (
            weight.dtype.real
            and not plan.settings(weight.name, weight.is_weight, weight.nbytes * 8 // weight.dtype.bits).lossless
        ):
            same[weight.dtype, weight.shape, hashlib.sha256(weight.read()).digest()].append(weight)
    return list(same.values())


def rest(path: Path) -> int:
    """The bytes of everything but those tensors, deflated: what a codec of weights leaves to be shipped as well."""
    loaded, plan = model.load(path), Plan()
    for weight in loaded.tensors:
        if (
            weight.dtype.real
            and not plan.settings(weight.name, weight.is_weight, weight.nbytes * 8 // weight.dtype.bits).lossless
        ):
            weight.replace_with_reference(0)
        else:
            weight.inline_external_data()
    return len(zlib.compress(model.serialize(loaded.proto, "the rest"), 9))


def _processor() -> float:
    """Processor seconds so far, of this process and of those that it waited for."""
    return sum(os.times()[:4])


def _decoded(path: Path, label: str, packed: Path, seconds: float) -> Coded:
    """What a .dcz file takes, and the model that it gives back."""
    began = _processor()
    restored = dcz.decompress(packed, packed.with_suffix(".onnx"), force=True)
    decoding = _processor() - began
    names = {weight.name for group in weights(path) for weight in group}
    coded = sum(row.huffman for row in dcz.inspect(packed).rows if row.name in names)
    return Coded(label, restored, packed.stat().st_size, coded, seconds, decoding)


def data_free(path: Path, qualities: list[float], folder: Path) -> Iterator[Coded]:
    """dcz without any data, at these qualities (decibels); the model is overwritten by the next."""
    for quality in qualities:
        began = _processor()
        packed = dcz.compress(path, folder / "free.dcz", dcz.Settings(quality=quality), force=True)
        yield _decoded(path, f"dcz {quality:g} dB", packed, _processor() - began)


def calibrated(path: Path, inputs: dict[str, np.ndarray], ratios: list[float], folder: Path) -> Iterator[Coded]:
    """dcz calibrated on `inputs`, as users do it, so many times smaller; the model is overwritten by the next."""
    samples, packed = folder / "calibration.npz", folder / "calibrated.dcz"
    np.savez(samples, **inputs)
    for ratio in ratios:
        # One thread: others would wait for it in loops, and those are processor seconds as well.
        command = [sys.executable, "-m", "dcz", "compress", path, "-o", packed, "--calibrate", samples, "--threads", 1]
        began = _processor()
        command += ["--ratio", f"{ratio:g}", "--force", "--quiet"]
        subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, check=True)
        yield _decoded(path, f"dcz calibrated 1/{ratio:g}", packed, _processor() - began)


def nncodec(path: Path, qps: list[int], folder: Path) -> Iterator[Coded]:
    """nncodec on the same tensors; `file` adds the rest of the model, deflated: nncodec holds the weights alone."""
    groups, beside = weights(path), rest(path)
    arrays = {
        str(number): np.asarray(tensor.values(weight.read().view(weight.dtype.pattern), weight.dtype), np.float32)
        .reshape(weight.shape)
        for number, (weight, *_) in enumerate(groups)
    }  # fmt: skip
    np.savez(folder / "weights.npz", **arrays)
    command = [NNCODEC, SCRIPT, folder / "weights.npz", folder, *qps]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL) as run:
        for line in run.stdout:
            said = json.loads(line)
            with np.load(folder / f"{said['qp']}.npz") as file:
                values = {weight.name: file[str(n)] for n, group in enumerate(groups) for weight in group}
            restored = folder / "nncodec.onnx"
            restored.write_bytes(model.serialize(model.with_values(model.load(path), values), "the model"))
            times = (said["encode_cpu"], said["decode_cpu"])
            yield Coded(f"nncodec {said['qp']}", restored, said["bytes"] + beside, said["bytes"], *times)
    if run.returncode:
        raise RuntimeError(f"nncodec failed; to see why: {' '.join(map(str, command))}")
