"""Ways to make a network smaller, dcz's own and those of others: what is shipped, and what runs in the end.

way.make(model, folder, calibration)  ->  the file to ship;  way.restore(file)  ->  the ONNX model as bytes
"""

import contextlib
import io
import json
import lzma
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

import dcz

from ..coders import NNCODEC, SCRIPT, rest, weights
from ..corpus.packages import Missing
from ..corpus.subject import Feeds
from ..corpus.variants import VARIANTS
from .networks import stacked

RATIO = 7.0  # what calibrated files are asked for


@dataclass(frozen=True, eq=False)
class Way:
    """How a file is made of a model, and a model of the file; `as_it_is`: the file is an ONNX model that runs."""

    name: str
    make: Callable[[Path, Path, list[Feeds]], Path]
    restore: Callable[[Path], bytes] = Path.read_bytes
    as_it_is: bool = True


def _same(model: Path, folder: Path, calibration: list[Feeds]) -> Path:
    return model


def _xz(way: Way) -> Way:
    """What `way` makes, compressed by xz at its best."""

    def make(model: Path, folder: Path, calibration: list[Feeds]) -> Path:
        made = way.make(model, folder, calibration)
        packed = folder / "made.xz"
        packed.write_bytes(lzma.compress(made.read_bytes(), preset=9 | lzma.PRESET_EXTREME))
        return packed

    return Way(f"{way.name} + xz -9e", make, lambda file: lzma.decompress(file.read_bytes()), False)


def _zstd(model: Path, folder: Path, calibration: list[Feeds]) -> Path:
    packed = folder / "made.zst"
    packed.write_bytes(_zstandard().ZstdCompressor(level=19).compress(model.read_bytes()))
    return packed


def _zstandard():
    try:
        import zstandard
    except ImportError:
        raise Missing("zstandard is not installed") from None
    return zstandard


def _onnxslim(model: Path, folder: Path, calibration: list[Feeds]) -> Path:
    try:
        import onnxslim
    except ImportError:
        raise Missing("onnxslim is not installed") from None
    with contextlib.redirect_stdout(io.StringIO()):  # it prints a table
        onnxslim.slim(str(model), str(folder / "made.onnx"))
    return folder / "made.onnx"


def _onnxsim(model: Path, folder: Path, calibration: list[Feeds]) -> Path:
    try:
        import onnxsim
    except ImportError:
        raise Missing("onnxsim is not installed") from None
    simpler, right = onnxsim.simplify(onnx.load(model))
    if not right:
        raise Missing("onnxsim's own check fails")
    onnx.save(simpler, folder / "made.onnx")
    return folder / "made.onnx"


def _float16(model: Path, folder: Path, calibration: list[Feeds]) -> Path:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(model), keep_io_types=True), folder / "made.onnx")
    return folder / "made.onnx"


def _quantized(variant: str) -> Way:
    """One of onnxruntime's quantizers, as the corpus calls it."""

    def make(model: Path, folder: Path, calibration: list[Feeds]) -> Path:
        made = VARIANTS[variant](model, folder, calibration).model
        assert made is not None
        return made

    return Way(f"onnxruntime {variant}", make)


def _dcz(name: str, plan: dcz.Settings | None) -> Way:
    def make(model: Path, folder: Path, calibration: list[Feeds]) -> Path:
        return dcz.compress(model, folder / "made.dcz", plan, threads=1)

    return Way(name, make, _load, False)


def _load(file: Path) -> bytes:
    return dcz.load(file).SerializeToString()


def _calibrated(model: Path, folder: Path, calibration: list[Feeds]) -> Path:
    """As users do: by the command."""
    np.savez(folder / "samples.npz", **stacked(calibration))
    command = [sys.executable, "-m", "dcz", "compress", model, "-o", folder / "made.dcz", "--threads", "1", "--quiet"]
    command += ["--calibrate", folder / "samples.npz", "--ratio", f"{RATIO:g}"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        raise Missing(done.stderr.strip().splitlines()[-1])
    return folder / "made.dcz"


def _nncodec(qp: int) -> Way:
    """nncodec on the tensors that dcz compresses, and the rest of the model deflated: the file stands for both."""

    def make(model: Path, folder: Path, calibration: list[Feeds]) -> Path:
        if not NNCODEC.is_file():
            raise Missing(f"{NNCODEC} is missing (make nncodec)")
        from dcz import model as models
        from dcz import tensor

        groups = weights(model)
        arrays = {
            str(number): np.asarray(tensor.values(one.read().view(one.dtype.pattern), one.dtype), np.float32)
            .reshape(one.shape)
            for number, (one, *_) in enumerate(groups)
        }  # fmt: skip
        np.savez(folder / "weights.npz", **arrays)
        command = [NNCODEC, SCRIPT, folder / "weights.npz", folder, qp]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        said = json.loads(done.stdout.splitlines()[-1])
        with np.load(folder / f"{qp}.npz") as file:
            values = {one.name: file[str(n)] for n, group in enumerate(groups) for one in group}
        restored = models.serialize(models.with_values(models.load(model), values), "the model")
        (folder / "restored.onnx").write_bytes(restored)
        (folder / "seconds").write_text(str(said["decode_cpu"]))
        packed = folder / "made.nnc"
        packed.write_bytes(bytes(said["bytes"] + rest(model)))  # as long as stream and rest: nncodec keeps the stream
        return packed

    return Way(f"nncodec, qp {qp}", make, lambda file: (file.parent / "restored.onnx").read_bytes(), False)


_ORIGINAL = Way("original", _same)
_INT8 = [_quantized(variant) for variant in ("dynamic int8", "dynamic uint8", "static int8")]
_HALF = Way("float16", _float16)
_ALL = [
    _ORIGINAL,
    Way("zstd -19", _zstd, lambda file: _zstandard().ZstdDecompressor().decompress(file.read_bytes()), False),
    _xz(_ORIGINAL),
    Way("onnxslim", _onnxslim),
    Way("onnxsim", _onnxsim),
    _HALF,
    _xz(_HALF),
    *[each for way in _INT8 for each in (way, _xz(way))],
    _nncodec(-38),
    _nncodec(-32),
    _dcz("dcz --lossless", dcz.Settings(lossless=True)),
    _dcz("dcz", None),
    Way(f"dcz --calibrate --ratio {RATIO:g}", _calibrated, _load, False),
]
WAYS = {way.name: way for way in _ALL}
