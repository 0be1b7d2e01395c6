"""Speed, each figure beside something else run in the same process: bitarray for Huffman, a plain write for decoding.

    python tests/benchmarks/speed.py [--symbols 20000000]

Best of three. Machines differ and are shared: read the ratios.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bitarray import bitarray
from bitarray.util import canonical_decode
from onnx import TensorProto, helper, numpy_helper

import dcz
from dcz.codec.stages import huffman
from dcz.format.container import Archive
from dcz.parallel import helped
from dcz.reading import decompress

# VGG-16: name, shape, density in the paper's table, bits of its codes.
VGG16 = [
    ("conv1_1", (64, 3, 3, 3), 0.58, 8), ("conv1_2", (64, 64, 3, 3), 0.22, 8),
    ("conv2_1", (128, 64, 3, 3), 0.34, 8), ("conv2_2", (128, 128, 3, 3), 0.36, 8),
    ("conv3_1", (256, 128, 3, 3), 0.53, 8), ("conv3_2", (256, 256, 3, 3), 0.24, 8),
    ("conv3_3", (256, 256, 3, 3), 0.42, 8), ("conv4_1", (512, 256, 3, 3), 0.32, 8),
    ("conv4_2", (512, 512, 3, 3), 0.27, 8), ("conv4_3", (512, 512, 3, 3), 0.34, 8),
    ("conv5_1", (512, 512, 3, 3), 0.35, 8), ("conv5_2", (512, 512, 3, 3), 0.29, 8),
    ("conv5_3", (512, 512, 3, 3), 0.36, 8),
    ("fc6", (4096, 25088), 0.04, 5), ("fc7", (4096, 4096), 0.04, 5), ("fc8", (1000, 4096), 0.23, 5),
]  # fmt: skip


def best(function: Callable, times: int = 3) -> float:
    """Seconds of the fastest of several runs."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def huffman_against_bitarray(count: int) -> None:
    """ns a symbol for 32 codes, Laplacian, about 3.9 bits each."""
    random = np.random.default_rng(0)
    symbols = np.clip(np.round(random.laplace(16, 32 / 12, count)), 0, 31).astype(np.uint8)
    stream = huffman.encode(symbols)
    lengths = stream.lengths
    word = huffman.words(lengths)
    used = [int(symbol) for symbol in np.flatnonzero(lengths)]
    table = {s: bitarray(f"{int(word[s]):0{lengths[s]}b}"[::-1]) for s in used}
    as_list = symbols.tolist()
    bits = bitarray(endian="little")

    def encode_with_bitarray() -> None:
        bits.clear()
        bits.encode(table, as_list)

    counts = np.bincount(lengths, minlength=huffman.MAX_WORD_BITS + 1)
    counts[0] = 0
    order = sorted(used, key=lambda symbol: (lengths[symbol], symbol))

    def decode_with_bitarray() -> np.ndarray:
        return np.fromiter(canonical_decode(bits, counts.tolist(), order), np.uint8, count)

    rows = [
        ("encode", best(lambda: huffman.encode(symbols)), best(encode_with_bitarray, 1)),
    ]
    engines = {"zlib": __import__("zlib")} | {huffman.inflate_engine.__name__: huffman.inflate_engine}
    reference = best(decode_with_bitarray, 1)
    assert np.array_equal(decode_with_bitarray(), symbols)
    for name, engine in engines.items():
        huffman.inflate_engine = engine
        assert np.array_equal(huffman.decode(stream), symbols)
        rows.append((f"decode, {name}", best(lambda: huffman.decode(stream)), reference))
        with helped(count, 2):
            rows.append((f"decode, {name}, 2 threads", best(lambda: huffman.decode(stream)), reference))
    print(f"| Huffman, {count:,} symbols | dcz ns | bitarray ns | times faster |\n|---|---|---|---|")
    for name, ours, theirs in rows:
        print(f"| {name} | {ours / count * 1e9:.2f} | {theirs / count * 1e9:.1f} | {theirs / ours:.1f} |")


def vgg16(path: Path) -> Path:
    """A .dcz of VGG-16's layers: Laplacian weights, pruned to the paper's densities, shared with its bits."""
    random = np.random.default_rng(0)
    tensors, rules = [], []
    for name, shape, density, bits in VGG16:
        weights = random.laplace(0, 0.01, int(np.prod(shape))).astype(np.float32)
        tensors.append(numpy_helper.from_array(weights.reshape(shape), name))
        rules.append(dcz.Rule((name,), dcz.Settings(sparsity=1 - density, bits=bits)))
    graph = helper.make_graph(
        [helper.make_node("Shape", [tensors[0].name], ["y"])],
        "vgg16",
        [],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [4])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    source = path.with_suffix(".onnx")
    source.write_bytes(model.SerializeToString())
    del model
    began = time.perf_counter()
    dcz.compress(source, path, dcz.Plan(rules=tuple(rules)), force=True)
    size, seconds = path.stat().st_size, time.perf_counter() - began
    dense = sum(4 * int(np.prod(shape)) for _, shape, _, _ in VGG16)
    print(
        f"\nVGG-16's layers, independent Laplacian weights: {dense:,} -> {size:,} bytes, "
        f"{dense / size:.1f} times smaller"
    )
    print(f"pruned, shared, coded, written and checked in {seconds:.1f} s ({dense / seconds / 1e6:.0f} MB/s)")
    return path


def decode_against_write(path: Path, folder: Path) -> None:
    """Decoding a whole file, to memory and to a file, against writing its dense bytes to a page-cached file."""
    dense = b""
    with Archive(path) as archive:
        dense = b"".join(data.tobytes() for _, data in decompress.decode_all(archive))

    def write() -> None:
        with open(folder / "dense", "wb") as file:
            file.write(dense)

    def decode(threads: int | None) -> None:
        with Archive(path) as archive:
            for _ in decompress.decode_all(archive, threads):
                pass

    def decode_and_write() -> None:
        with Archive(path) as archive, open(folder / "dense", "wb") as file:
            for _, data in decompress.decode_all(archive):
                file.write(data)

    engine = huffman.inflate_engine
    floor = best(write)
    print(f"\n| decode {len(dense):,} dense bytes | seconds | of the page-cached write |\n|---|---|---|")
    print(f"| the write itself | {floor:.3f} | 1.00 |")
    for name in dict.fromkeys(["zlib", engine.__name__]):
        huffman.inflate_engine = __import__("zlib") if name == "zlib" else engine
        rows = [
            (f"decode, 1 thread, {name}", lambda: decode(1)),
            (f"decode, {os.cpu_count()} threads, {name}", lambda: decode(None)),
        ]
        for label, function in [*rows, (f"decode and write, {name}", decode_and_write)]:
            seconds = best(function)
            print(f"| {label} | {seconds:.3f} | {seconds / floor:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=20_000_000)
    huffman_against_bitarray(parser.parse_args().symbols)
    with tempfile.TemporaryDirectory() as folder:
        decode_against_write(vgg16(Path(folder, "vgg16.dcz")), Path(folder))


if __name__ == "__main__":
    main()
