"""Transformers of BERT's shape with drawn weights, for time and memory that depend on shapes alone.

    drawn_transformer(12, folder)     ONNX file: token numbers [n, places] -> embeddings [n, 768], 109 M parameters

Normalization after each block, 12 heads, the erf form of GELU, no mask: as BERT-base of Devlin et al. (2019), whose
embeddings of positions and segments are left out.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

WIDTH, INNER, HEADS, TOKENS = 768, 3072, 12, 30_522


class _Graph:
    """Nodes and drawn initializers of a network in the making."""

    def __init__(self, seed: int):
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self._random = np.random.default_rng(seed)

    def constant(self, name: str, array: np.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def drawn(self, name: str, *shape: int) -> str:
        return self.constant(name, self._random.normal(0, 0.02, shape).astype(np.float32))

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def dense(self, x: str, name: str, inputs: int, outputs: int) -> str:
        product = self.node("MatMul", x, self.drawn(f"{name}.weight", inputs, outputs))
        return self.node("Add", product, self.drawn(f"{name}.bias", outputs))

    def normalized(self, x: str, name: str) -> str:
        scale = self.constant(f"{name}.scale", np.ones(WIDTH, np.float32))
        return self.node("LayerNormalization", x, scale, self.drawn(f"{name}.bias", WIDTH), axis=-1)


def _layer(graph: _Graph, x: str, name: str) -> str:
    heads = graph.constant(f"{name}.heads", np.array([0, 0, HEADS, WIDTH // HEADS]))
    turned = []
    for part, perm in (("query", (0, 2, 1, 3)), ("key", (0, 2, 3, 1)), ("value", (0, 2, 1, 3))):
        divided = graph.node("Reshape", graph.dense(x, f"{name}.{part}", WIDTH, WIDTH), heads)
        turned.append(graph.node("Transpose", divided, perm=perm))
    scale = graph.constant(f"{name}.scale", np.float32((WIDTH // HEADS) ** -0.5))
    scores = graph.node("Softmax", graph.node("Mul", graph.node("MatMul", *turned[:2]), scale), axis=-1)
    mixed = graph.node("Transpose", graph.node("MatMul", scores, turned[2]), perm=(0, 2, 1, 3))
    back = graph.constant(f"{name}.merged", np.array([0, 0, WIDTH]))
    attention = graph.dense(graph.node("Reshape", mixed, back), f"{name}.output", WIDTH, WIDTH)
    x = graph.normalized(graph.node("Add", x, attention), f"{name}.first")
    inner = graph.dense(x, f"{name}.inner", WIDTH, INNER)
    half, one, root = (graph.constant(f"{name}.{text}", np.float32(number))
                       for text, number in (("half", 0.5), ("one", 1.0), ("root", 2**-0.5)))  # fmt: skip
    gate = graph.node("Add", graph.node("Erf", graph.node("Mul", inner, root)), one)
    activated = graph.node("Mul", graph.node("Mul", inner, half), gate)
    outer = graph.dense(activated, f"{name}.outer", INNER, WIDTH)
    return graph.normalized(graph.node("Add", x, outer), f"{name}.second")


def drawn_transformer(layers: int, folder: Path) -> Path:
    """The file of a network of so many layers, made at the first call."""
    path = folder / f"drawn-transformer-{layers}.onnx"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(_network(layers), path)
    return path


def _network(layers: int) -> ModelProto:
    graph = _Graph(layers)
    x = graph.normalized(graph.node("Gather", graph.drawn("tokens", TOKENS, WIDTH), "ids"), "embedding")
    for number in range(layers):
        x = _layer(graph, x, f"layer{number}")
    graph.nodes.append(helper.make_node("ReduceMean", [x], ["y"], axes=[1], keepdims=0))
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", "places"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", WIDTH])
    made = helper.make_graph(graph.nodes, "drawn", [ids], [y], graph.initializers)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def drawn_tokens(count: int, places: int, seed: int) -> np.ndarray:
    """Token numbers [count, places], frequent ones being frequent, as by Zipf's law: int64."""
    return np.minimum(np.random.default_rng(seed).zipf(1.3, (count, places)) - 1, TOKENS - 1)
