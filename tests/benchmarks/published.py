"""The published Deep Compression SqueezeNet, compressed again with its own codebooks kept exactly.

    python tests/benchmarks/published.py

Reads compressed_SqueezeNet.net (Han's own artefact of the method, 675,763 bytes) and its prototxt, writes the network
as ONNX, compresses it with dcz's defaults, decodes it, and compares every weight: a check against weights that were
really pruned, shared and retrained as the paper says. Then it says what SqueezeNet 1.1, without training, reaches in as
many bytes, graph and all, by quality alone and calibrated on calibration256.
"""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from agreement import DATA
from onnx import TensorProto, helper, numpy_helper
from subjects import SUBJECTS

import dcz

NETS = DATA / "nets"
ENTRIES = 256  # centroids of every layer, 0.0 first
SIZES = {"as published": 675_763, "if its codes and gaps were ideally coded": 556_569}


@dataclass
class Layer:
    """One layer of a prototxt: its fields as strings, and its bottoms."""

    fields: dict[str, str]
    bottoms: list[str]


def read_prototxt(text: str) -> list[Layer]:
    """The layers of a deploy prototxt."""
    layers = []
    for block in re.split(r"^layer \{", text, flags=re.M)[1:]:
        pairs = re.findall(r"(\w+): *\"?([^\"\s]+)\"?", block.split("weight_filler")[0])
        layers.append(Layer(dict(pairs), [value for key, value in pairs if key == "bottom"]))
    return layers


def decode_published(data: bytes, layers: list[tuple[str, tuple[int, ...]]]) -> dict[str, np.ndarray]:
    """Weights (and, as NAME.bias, biases) of the layers with these shapes; the layout is told in the data's README."""
    stored = np.frombuffer(data, "<u4", len(layers)).tolist()
    at = 4 * len(layers)
    found = {}
    for (name, shape), count in zip(layers, stored):
        codebook = np.frombuffer(data, "<f4", ENTRIES, at)
        found[f"{name}.bias"] = np.frombuffer(data, "<f4", shape[0], at + 4 * ENTRIES)
        at += 4 * (ENTRIES + shape[0])
        codes = np.frombuffer(data, np.uint8, count, at)
        packed = np.frombuffer(data, np.uint8, -(-count // 2), at + count)
        at += count + len(packed)
        gaps = np.stack([packed & 15, packed >> 4], axis=1).ravel()[:count].astype(np.int64)
        weights = np.zeros(int(np.prod(shape)), "<f4")
        weights[np.cumsum(gaps + 1) - 1] = codebook[codes]
        found[name] = weights.reshape(shape)
    assert at == len(data), f"{len(data) - at} bytes are left over"
    return found


def to_onnx(layers: list[Layer], data: bytes) -> onnx.ModelProto:
    """The published network as an ONNX model (227 x 227, BGR)."""
    channels = {"data": 3}
    shapes = []
    for layer in layers:
        kind, top = layer.fields["type"], layer.fields.get("top")
        count = sum(channels[bottom] for bottom in layer.bottoms)
        if kind == "Convolution":
            side = int(layer.fields["kernel_size"])
            shapes.append((layer.fields["name"], (int(layer.fields["num_output"]), count, side, side)))
            count = int(layer.fields["num_output"])
        channels[top] = count
    weights = decode_published(data, shapes)
    nodes, value = [], {"data": "data"}
    for layer in layers:
        fields, name, top = layer.fields, layer.fields["name"], layer.fields["top"]
        inputs, output = [value[bottom] for bottom in layer.bottoms], name + ".out"
        if fields["type"] == "Convolution":
            inputs += [name, f"{name}.bias"]
            options = dict(strides=[int(fields.get("stride", 1))] * 2, pads=[int(fields.get("pad", 0))] * 4)
            nodes.append(helper.make_node("Conv", inputs, [output], name=name, **options))
        elif fields["type"] == "ReLU":
            nodes.append(helper.make_node("Relu", inputs, [output], name=name))
        elif fields["type"] == "Pooling" and fields["pool"] == "MAX":
            options = dict(
                kernel_shape=[int(fields["kernel_size"])] * 2, strides=[int(fields["stride"])] * 2, ceil_mode=1
            )
            nodes.append(helper.make_node("MaxPool", inputs, [output], name=name, **options))
        elif fields["type"] == "Pooling":
            nodes.append(helper.make_node("GlobalAveragePool", inputs, [output], name=name))
        elif fields["type"] == "Concat":
            nodes.append(helper.make_node("Concat", inputs, [output], name=name, axis=1))
        else:
            output = inputs[0]  # Dropout does nothing when a network is used
        value[top] = output
    graph = helper.make_graph(
        nodes,
        "squeezenet_v1.0",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, 227, 227])],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, ["n", 1000, 1, 1])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def untrained() -> None:
    """Print what SqueezeNet 1.1 reaches in SIZES."""
    subject = SUBJECTS["squeezenet"]()
    wanted, samples = subject.answers(subject.model), subject.calibration()
    print("| SqueezeNet 1.1, 650 images of val650 | asked | bytes | agreement |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        packed, restored = Path(folder, "net.dcz"), Path(folder, "net.onnx")
        for which, nbytes in SIZES.items():
            for way in ("by quality", "calibrated"):
                if way == "calibrated":
                    dcz.tune(subject.model, packed, samples, max_bytes=nbytes, force=True)
                else:
                    dcz.compress_to_size(subject.model, packed, nbytes, force=True)
                agreement = subject.agreement(wanted, subject.answers(dcz.decompress(packed, restored, force=True)))
                print(f"| {which}, {way} | {nbytes:,} | {packed.stat().st_size:,} | {agreement:.4f} |", flush=True)


def main() -> None:
    published = (NETS / "compressed_SqueezeNet.net").read_bytes()
    model = to_onnx(read_prototxt((NETS / "SqueezeNet_deploy.prototxt").read_text()), published)
    onnx.checker.check_model(model, full_check=True)
    with tempfile.TemporaryDirectory() as folder:
        path = dcz.compress(model, Path(folder, "squeezenet.dcz"), force=True)
        restored = dcz.load(path)
        same = restored == model
        total = dcz.inspect(path).total
        size = path.stat().st_size
    assert same, "a weight or the graph changed"
    assert size <= 550_000, f"{size} bytes"
    dense = sum(int(np.prod(tensor.dims)) * 4 for tensor in model.graph.initializer)
    print("| published SqueezeNet 1.0 | bytes | ratio |\n|---|---|---|")
    print(f"| dense float32 | {dense:,} | 1.00 |")
    print(f"| as published, weights alone | {len(published):,} | {dense / len(published):.2f} |")
    print(f"| dcz, graph included | {size:,} | {dense / size:.2f} |\n")
    print(f"every tensor and the whole graph identical after decoding: {same}")
    print(f"of the file: {', '.join(f'{purpose} {count:,}' for purpose, count in total.parts.items())} bytes\n")
    untrained()


if __name__ == "__main__":
    main()
