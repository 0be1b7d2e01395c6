"""Data and networks that are learned in a second."""

import numpy as np
from onnx import helper

from tests.models import constant, model, normal, tensor
from tests.networks import CLASSES, INPUTS, perceptron

__all__ = ["CLASSES", "INPUTS", "clusters", "convolutional", "layers", "perceptron", "transformer"]


def clusters(count: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """x [count, 64], ten clusters of points, and the cluster of each; another seed gives other points of the same."""
    centers = np.random.default_rng(99).normal(size=(CLASSES, INPUTS))
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    return (centers[labels] + 0.7 * random.normal(size=(count, INPUTS))).astype(np.float32), labels


def convolutional(pads=(0, 0, 0, 0)):
    """x [n, 1, 6, 6] -> Conv (4 of 3x3, w1) -> Relu -> Conv (5 of 3x3, w2) -> Relu -> Flatten -> Gemm (w3) -> y."""
    left = (6 - 4 + 2 * pads[0]) ** 2 * 5
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], pads=list(pads)),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Flatten", ["r2"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], transB=1),
    ]
    shapes = {"w1": (4, 1, 3, 3), "b1": (4,), "w2": (5, 4, 3, 3), "b2": (5,), "w3": (10, left), "b3": (10,)}
    weights = [tensor(name, 4 * normal(*shape, seed=i)) for i, (name, shape) in enumerate(shapes.items())]
    return model(nodes, {"x": ["n", 1, 6, 6]}, {"y": ["n", 10]}, weights)


def layers(widths=(64, 48, 40, 10), operator="Gemm", transposed=0):
    """x -> layers with w1, b1, w2, b2 ... and Relu between them -> y; MatMul layers have their bias in an Add."""
    nodes, weights, value = [], [], "x"
    for i, (given, made) in enumerate(zip(widths, widths[1:]), 1):
        shape = (made, given) if transposed else (given, made)
        weights += [tensor(f"w{i}", 3 * normal(*shape, seed=i)), tensor(f"b{i}", 3 * normal(made, seed=-i % 97))]
        last = i == len(widths) - 1
        out = "y" if last else f"h{i}"
        if operator == "Gemm":
            nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [out], transB=transposed))
        else:
            nodes.append(helper.make_node("MatMul", [value, f"w{i}"], [f"m{i}"]))
            nodes.append(helper.make_node("Add", [f"m{i}", f"b{i}"], [out]))
        if not last:
            nodes.append(helper.make_node("Relu", [out], [f"r{i}"]))
            value = f"r{i}"
    return model(nodes, {"x": ["n", widths[0]]}, {"y": ["n", widths[-1]]}, weights)


def transformer():
    """tokens [n, 6] -> embedding -> masked attention, LayerNormalization, MatMul + Add -> y [n, 6, 10], by Softmax."""
    mask = np.where(np.tri(6, dtype=bool), 0, -np.inf).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["e"]),
        *(helper.make_node("MatMul", ["e", f"w{name}"], [name]) for name in "qkv"),
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["s"]),
        helper.make_node("Add", ["s", "mask"], ["sm"]),
        helper.make_node("Softmax", ["sm"], ["a"], axis=-1),
        helper.make_node("MatMul", ["a", "v"], ["av"]),
        helper.make_node("Add", ["av", "e"], ["res"]),
        helper.make_node("LayerNormalization", ["res", "scale", "shift"], ["ln"]),
        constant("w", 4 * normal(16, 10, seed=5)),
        helper.make_node("MatMul", ["ln", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["p"], axis=-1),
        helper.make_node("Identity", ["p"], ["y"]),
    ]
    weights = [tensor("table", 20 * normal(30, 16)), tensor("mask", mask), tensor("b", normal(10, seed=6))]
    weights += [tensor(f"w{name}", 4 * normal(16, 16, seed=i)) for i, name in enumerate("qkv", 1)]
    weights += [tensor("scale", np.ones(16, np.float32)), tensor("shift", normal(16, seed=7))]
    return model(nodes, {"tokens": (7, ["n", 6])}, {"y": ["n", 6, 10]}, weights)
