"""Ways to make a network smaller: dcz's own, and those of others.

VARIANTS["default"](model, folder, calibration)  ->  Made(bytes of the file, a network to run)
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import version_converter

import dcz

from .packages import Missing
from .subject import Feeds

PER_CHANNEL = 13  # the opset from which on DequantizeLinear has an axis
STATIC_RUNS = 24  # of calibration, at most: onnxruntime keeps the range of every tensor of a run


@dataclass(frozen=True)
class Made:
    """A smaller network: `size` of its file, and the ONNX file to run; `model` is None where it is the same network."""

    size: int
    model: Path | None
    note: str = ""


Make = Callable[[Path, Path, list[Feeds]], Made]


def _dcz(plan: dcz.Plan | dcz.Settings | None) -> Make:
    def make(model: Path, folder: Path, calibration: list[Feeds]) -> Made:
        said: list[str] = []
        dcz.compress(model, folder / "made.dcz", plan, threads=1, warn=said.append, force=True)
        dcz.decompress(folder / "made.dcz", folder / "made.onnx", force=True)
        return Made((folder / "made.dcz").stat().st_size, folder / "made.onnx", " ".join(said))

    return make


def _zstd(model: Path, folder: Path, calibration: list[Feeds]) -> Made:
    try:
        import zstandard
    except ImportError:
        raise Missing("zstandard is not installed") from None
    return Made(len(zstandard.ZstdCompressor(level=19).compress(model.read_bytes())), None)


@contextlib.contextmanager
def _quiet(folder: Path) -> Iterator[None]:
    """onnxruntime's quantizers warn of much, and leave files in the folder where they are called."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        logging.disable(before)


def _prepared(model: Path, folder: Path) -> Path:
    """The network as onnxruntime's quantizers want it: of an opset with scales a channel, and optimized."""
    from onnxruntime.quantization import shape_inference

    path, newer, proto = folder / "prepared.onnx", model, onnx.load(model)
    if next(opset.version for opset in proto.opset_import if opset.domain in ("", "ai.onnx")) < PER_CHANNEL:
        with contextlib.suppress(Exception):  # what has no adapter is quantized as it is
            onnx.save(version_converter.convert_version(proto, PER_CHANNEL), folder / "newer.onnx")
            newer = folder / "newer.onnx"
    try:
        shape_inference.quant_pre_process(newer, path)
    except Exception:  # of many kinds; the shapes that are in the graph may do
        shape_inference.quant_pre_process(newer, path, skip_symbolic_shape=True)
    return path


def _dynamic(kind: str) -> Make:
    """Weights of this kind, activations as they come."""

    def make(model: Path, folder: Path, calibration: list[Feeds]) -> Made:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with _quiet(folder):
            try:
                quantize_dynamic(_prepared(model, folder), folder / "made.onnx", weight_type=QuantType[kind])
            except Exception:  # of many kinds; some networks can be quantized as they are alone
                quantize_dynamic(model, folder / "made.onnx", weight_type=QuantType[kind])
        return _onnx(model, folder, f"weights {kind}")

    return make


def _static_int8(model: Path, folder: Path, calibration: list[Feeds]) -> Made:
    """Weights int8 a channel, activations uint8 by their least and largest values, as QuantizeLinear pairs."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(calibration[:STATIC_RUNS])

        def get_next(self) -> Feeds | None:
            return next(self.left, None)

    with _quiet(folder):
        quantize_static(
            _prepared(model, folder), folder / "made.onnx", Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
    return _onnx(model, folder, f"{min(len(calibration), STATIC_RUNS)} runs of calibration")


def _onnx(model: Path, folder: Path, note: str) -> Made:
    """What a quantizer has made of `model`; raises Missing where that is nothing."""
    operators = [[node.op_type for node in onnx.load(path).graph.node] for path in (model, folder / "made.onnx")]
    integer = [sum("Integer" in op or "quantize" in op.lower() for op in ops) for ops in operators]
    if integer[0] == integer[1]:
        raise Missing("it finds nothing to quantize")
    return Made((folder / "made.onnx").stat().st_size, folder / "made.onnx", note)


VARIANTS: dict[str, Make] = {
    "zstd -19": _zstd,
    "lossless": _dcz(dcz.Settings(lossless=True)),
    "default": _dcz(None),
    "--no-fold": _dcz(dcz.Plan(fold=False)),
    **{f"--quality {quality}": _dcz(dcz.Settings(quality=quality)) for quality in (26, 34, 42)},
    "dynamic int8": _dynamic("QInt8"),
    "dynamic uint8": _dynamic("QUInt8"),
    "static int8": _static_int8,
}
