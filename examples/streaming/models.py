"""Models of any size, written on the spot: weights drawn block by block straight into external data.

write(Path("net.onnx"), transformer(width=4096, float32_blocks=3, float16_blocks=7))     net.onnx, net.onnx.data
"""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

ALIGNMENT = 4096
BLOCK = 1 << 20  # weights drawn at a time
TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}
SCALE = 0.02  # standard deviation of the weights, as transformers are initialised


@dataclass(frozen=True)
class Weight:
    """A tensor to be drawn: `name`, `dtype` ("float32" or "float16") and `shape`."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many weights it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor."""
        return self.elements * np.dtype(self.dtype).itemsize

    def drawn(self) -> Iterator[np.ndarray]:
        """Its weights, flat, block by block: normally distributed, the same for the same name."""
        draw = np.random.Generator(np.random.SFC64(zlib.crc32(self.name.encode())))
        for start in range(0, self.elements, BLOCK):
            part = draw.standard_normal(min(BLOCK, self.elements - start), np.float32)
            yield (part * np.float32(SCALE)).astype(self.dtype)


@dataclass(frozen=True)
class Network:
    """A graph's nodes, its output, and its weights in the order in which they lie in the file."""

    nodes: tuple[NodeProto, ...]
    output: str
    weights: tuple[Weight, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all weights."""
        return sum(weight.nbytes for weight in self.weights)

    @property
    def elements(self) -> int:
        """Weights in all."""
        return sum(weight.elements for weight in self.weights)


def transformer(
    width: int = 4096, inner: int | None = None, vocabulary: int = 32000, float32_blocks: int = 3,
    float16_blocks: int = 7,
) -> Network:  # fmt: skip
    """A decoder-only transformer of one head: an embedding (float32), blocks of attention and a gated layer of `inner`
    units (8/3 of the `width` unless given), and what turns the last block's output into scores (float16)."""
    inner = inner or -(-8 * width // 3 // 256) * 256
    weights = [Weight("embedding", "float32", (vocabulary, width))]
    nodes, last, dtype = [helper.make_node("Gather", ["embedding", "tokens"], ["x"])], "x", "float32"

    def matmul(of: str, name: str, rows: int, columns: int) -> str:
        weights.append(Weight(name, dtype, (rows, columns)))
        nodes.append(helper.make_node("MatMul", [of, name], [f"{name}.out"]))
        return f"{name}.out"

    def node(kind: str, given: list[str], name: str, **options) -> str:
        nodes.append(helper.make_node(kind, given, [name], **options))
        return name

    for number in range(float32_blocks + float16_blocks):
        if number == float32_blocks:
            last, dtype = node("Cast", [last], f"{number}.cast", to=TensorProto.FLOAT16), "float16"
        place = f"block{number}"
        query, key, value = (matmul(last, f"{place}.{part}", width, width) for part in ("query", "key", "value"))
        scores = node("MatMul", [query, node("Transpose", [key], f"{place}.keys", perm=[1, 0])], f"{place}.scores")
        seen = node("MatMul", [node("Softmax", [scores], f"{place}.softmax"), value], f"{place}.seen")
        last = node("Add", [last, matmul(seen, f"{place}.attended", width, width)], f"{place}.middle")
        gate = node("Sigmoid", [matmul(last, f"{place}.gate", width, inner)], f"{place}.open")
        gated = node("Mul", [gate, matmul(last, f"{place}.up", width, inner)], f"{place}.gated")
        last = node("Add", [last, matmul(gated, f"{place}.down", inner, width)], f"{place}.end")
    if dtype == "float32":
        last, dtype = node("Cast", [last], "cast", to=TensorProto.FLOAT16), "float16"
    output = matmul(last, "scores", width, vocabulary)
    return Network(tuple(nodes), output, tuple(weights))


def chain(elements: int, rows: int = 2048, tensors: int = 8, dtype: str = "float32") -> Network:
    """About so many weights in `tensors` layers of equal shape, each of `rows` rows; one layer of all the weights for
    `tensors` 1. They all see the same input: what matters here is that they are weights."""
    rows = max(1, min(rows, math.isqrt(elements // tensors)))
    columns = max(1, round(elements / tensors / rows))
    weights = tuple(Weight(f"layer{number}", dtype, (rows, columns)) for number in range(tensors))
    nodes = [helper.make_node("Cast", ["tokens"], ["x"], to=TYPES[dtype])]
    nodes += [helper.make_node("MatMul", ["x", weight.name], [f"{weight.name}.out"]) for weight in weights]
    nodes.append(helper.make_node("Sum", [f"{weight.name}.out" for weight in weights], ["sum"]))
    return Network(tuple(nodes), "sum", weights)


def write(path: Path, network: Network) -> None:
    """Write the model, and its weights to `path` + ".data"; no more than a block of them is in memory."""
    data_path = path.with_name(f"{path.name}.data")
    initializers = []
    with open(data_path, "wb") as file:
        for weight in network.weights:
            file.write(b"\0" * (-file.tell() % ALIGNMENT))
            proto = TensorProto(name=weight.name, data_type=TYPES[weight.dtype], dims=weight.shape)
            proto.data_location = TensorProto.EXTERNAL
            place = {"location": data_path.name, "offset": str(file.tell()), "length": str(weight.nbytes)}
            for key, value in place.items():
                proto.external_data.add(key=key, value=value)
            initializers.append(proto)
            for part in weight.drawn():
                file.write(part.data)
    path.write_bytes(_proto(network, initializers).SerializeToString(deterministic=True))


def _proto(network: Network, initializers: list[TensorProto]) -> ModelProto:
    graph = helper.make_graph(
        network.nodes,
        "drawn",
        [helper.make_tensor_value_info("tokens", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info(network.output, TYPES[network.weights[-1].dtype], ["n", None])],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
