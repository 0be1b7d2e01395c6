"""What lies in the folder of a reader who follows a page: the files that it names."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests import ROOT, models
from tests.networks import perceptron

WORDS = ["[PAD]", "[UNK]", "the", "cat", "dog", "sat", "ran", "on", "a", "mat", "road", "and", "slept"]
SIDE = 24


def prepare(page: str) -> None:
    """Fill the current folder for the page of this path below the root."""
    _FOLDERS.get(page, _usual)()


def _usual() -> None:
    """model.onnx, samples.npz with labels y, and plan.toml."""
    onnx.save(perceptron(), "model.onnx")
    x = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    np.savez("samples.npz", x=x, y=models.run(perceptron(), x=x)[0].argmax(1))
    Path("plan.toml").write_bytes((ROOT / "examples" / "03_plan.toml").read_bytes())


def _folders() -> None:
    """The same, and folders train and test with a file for each sample."""
    _usual()
    samples = np.load("samples.npz")
    for folder, stop in (("train", 50), ("test", 20)):
        Path(folder).mkdir()
        for number in range(stop):
            np.savez(f"{folder}/{number:02}", **{name: samples[name][number] for name in samples})


def _empty() -> None:
    """What the page makes itself."""


def _images() -> None:
    """A classifier of images, and two folders of images."""
    random = np.random.default_rng(0)
    weights = {"conv.weight": (32, 3, 3, 3), "fc.weight": (10, 32), "fc.bias": (10,)}
    nodes = [
        helper.make_node("Conv", ["image", "conv.weight"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "fc.weight", "fc.bias"], ["scores"], transB=1),
    ]
    shapes = {"image": ["n", 3, SIDE, SIDE], "scores": ["n", 10]}
    _save(nodes, {"image": (TensorProto.FLOAT, shapes["image"])}, {"scores": shapes["scores"]}, weights, random)
    if importlib.util.find_spec("PIL") is not None:
        from PIL import Image

        for folder in ("images", "others"):
            Path(folder).mkdir()
            for number in range(12):
                Image.fromarray(random.integers(0, 256, (30, 40, 3), np.uint8)).save(f"{folder}/{number}.jpg")


def _transformer() -> None:
    """A table of embeddings, one layer of attention, and the mean over the places; a tokenizer and sentences."""
    random, width = np.random.default_rng(0), 32
    weights = {"words": (len(WORDS), width)} | {name: (width, width) for name in ("query", "key", "value", "out")}
    nodes = [helper.make_node("Gather", ["words", "input_ids"], ["e"])]
    nodes += [helper.make_node("MatMul", ["e", name], [name[0]]) for name in ("query", "key", "value")]
    nodes += [
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["qk"]),
        helper.make_node("Softmax", ["qk"], ["s"], axis=-1),
        helper.make_node("MatMul", ["s", "v"], ["sv"]),
        helper.make_node("MatMul", ["sv", "out"], ["o"]),
        helper.make_node("ReduceMean", ["o"], ["embedding"], axes=[1], keepdims=0),
    ]
    inputs = {"input_ids": (TensorProto.INT64, ["n", "tokens"])}
    _save(nodes, inputs, {"embedding": ["n", width]}, weights, random)
    sentences = [" ".join(random.choice(WORDS[2:], 6)) for _ in range(24)]
    Path("sentences.txt").write_text("\n".join(sentences))
    numbers = {word: number for number, word in enumerate(WORDS)}
    pre = {"type": "Whitespace"}
    model = {"type": "WordLevel", "vocab": numbers, "unk_token": "[UNK]"}
    Path("tokenizer.json").write_text(
        json.dumps({"version": "1.0", "added_tokens": [], "pre_tokenizer": pre, "model": model})
    )


def _save(nodes, inputs, outputs, weights, random) -> None:
    tensors = [
        numpy_helper.from_array(random.normal(0, 0.2, shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        tensors,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), "model.onnx")


_FOLDERS = {
    "docs/tutorials/first-model.md": _empty,
    "docs/tutorials/images.md": _images,
    "docs/howto/retrain.md": _folders,
    "docs/howto/samples.md": _images,
    "docs/tutorials/transformer.md": _transformer,
    "docs/tutorials/pytorch.md": _empty,
}
