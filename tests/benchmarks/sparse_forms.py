"""Pruned networks as small ONNX files: codes of one byte, of half a byte, and sparse initializers.

    python -m tests.benchmarks.sparse_forms [--bits 4]

`dcz decompress --as gather` writes codes of one byte, and half a byte where the model's operator set has these. The
other ways are made of its file here: the operator set raised to 21 and codes of half a byte; `sparse_initializer` of
the numbers, or of the codes with the most frequent one as 0. Whether each has the same answers is told by onnxruntime.
Bytes are of files.
"""

import argparse
import contextlib
import gzip
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, SparseTensorProto, TensorProto, numpy_helper

import dcz
from dcz import model as onnx_model

from .compare.networks import NETWORKS
from .corpus.packages import Missing

SPARSITIES = 0.8, 0.9, 0.95
CODES = ".codes"


def of_half_a_byte(proto: ModelProto, packed: Path, folder: Path) -> ModelProto | str:
    """The form of the dense model once its operator set is raised; or what stands against that."""
    dense = onnx.load(dcz.decompress(packed, folder / "dense.onnx", force=True))
    if against := onnx_model.raise_opset(dense, 21):
        return "; ".join(against)
    dcz.compress(dense, folder / "raised.dcz", lossless=True, force=True)
    return onnx.load(dcz.decompress(folder / "raised.dcz", folder / "raised.onnx", form="gather", force=True))


def sparse_numbers(proto: ModelProto, packed: Path, folder: Path) -> ModelProto:
    """The dense model, with sparse initializers of its numbers for each tensor that the form computes from codes."""
    tensors = {each.name.removesuffix(CODES) for each in proto.graph.initializer if each.name.endswith(CODES)}
    dense = onnx.load(dcz.decompress(packed, folder / "dense.onnx", force=True))
    return _with_sparse(dense, tensors)


def sparse_codes(proto: ModelProto, packed: Path, folder: Path) -> ModelProto:
    """The form, with sparse initializers of its codes."""
    made = ModelProto()
    made.CopyFrom(proto)
    found = {tensor.name: tensor for tensor in made.graph.initializer}
    for name, codes in list(found.items()):
        entries = found.get(name.removesuffix(CODES) + ".entries")
        if not name.endswith(CODES) or entries is None:
            continue
        numbers, values = numpy_helper.to_array(codes), numpy_helper.to_array(entries)
        order = np.argsort(-np.bincount(numbers.ravel(), minlength=len(values)), kind="stable")
        codes.CopyFrom(numpy_helper.from_array(np.argsort(order).astype(numbers.dtype)[numbers], name))
        entries.CopyFrom(numpy_helper.from_array(values[order], entries.name))
    return _with_sparse(made, {name for name in found if name.endswith(CODES)})


def _with_sparse(proto: ModelProto, wanted: set[str]) -> ModelProto:
    """Change a model: the initializers of these names become sparse ones."""
    kept = [tensor for tensor in proto.graph.initializer if tensor.name not in wanted]
    for tensor in proto.graph.initializer:
        if tensor.name in wanted:
            array = numpy_helper.to_array(tensor).ravel()
            places = np.flatnonzero(array)
            sparse = SparseTensorProto(dims=tensor.dims)
            sparse.values.CopyFrom(numpy_helper.from_array(array[places], tensor.name))
            sparse.indices.CopyFrom(numpy_helper.from_array(places.astype(np.int64), f"{tensor.name}.places"))
            proto.graph.sparse_initializer.append(sparse)
    copies = [TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(copies)
    return proto


WAYS = {
    "codes, 1 byte (--as gather)": lambda proto, packed, folder: proto,
    "codes, half a byte": of_half_a_byte,
    "sparse_initializer, numbers": sparse_numbers,
    "sparse_initializer, codes": sparse_codes,
}


def answers(proto: ModelProto) -> list[np.ndarray]:
    """Of a network for drawn inputs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_prepacking", "1")
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    shapes = {each.name: [dim if isinstance(dim, int) else 1 for dim in each.shape] for each in session.get_inputs()}
    return session.run(None, {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()})


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bits", type=int, default=4, help="of codes; zero is one more")
    bits = parser.parse_args().bits
    print("| sparsity | form | bytes | gzip -9 | same answers |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name, contextlib.suppress(Missing):
        folder = Path(name)
        model = NETWORKS["SqueezeNet 1.1"].model()
        for sparsity in SPARSITIES:
            packed = dcz.compress(model, folder / "net.dcz", sparsity=sparsity, bits=bits, force=True).path
            data = packed.read_bytes()
            print(f"| {sparsity:.0%} | .dcz | {len(data):,} | {len(gzip.compress(data, 9)):,} | |")
            form = onnx.load(dcz.decompress(packed, folder / "form.onnx", form="gather", force=True))
            expected = answers(form)
            for way, make in WAYS.items():
                made = make(form, packed, folder)
                if isinstance(made, str):
                    print(f"| {sparsity:.0%} | {way} | {made} | | |")
                    continue
                data = made.SerializeToString()
                try:
                    found = answers(made)
                    alike = all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
                    told = "yes" if alike else "no"
                except Exception as error:  # onnxruntime's have no common base
                    told = str(error).splitlines()[0][-80:]
                print(f"| {sparsity:.0%} | {way} | {len(data):,} | {len(gzip.compress(data, 9)):,} | {told} |")


if __name__ == "__main__":
    main()
