"""Signal processing that was exported into a graph is told from learned layers, by its numbers and by what it feeds."""

import numpy as np
import pytest
from onnx import helper

from dcz import model as onnx_model
from dcz.model import signals
from tests import models


def dft(size: int = 64) -> np.ndarray:
    """Windowed cosines, then sines: [filters, 1, size]."""
    time, bins = np.arange(size), np.arange(size // 2 + 1)[:, None]
    angles = 2 * np.pi * bins * time / size
    window = 0.5 - 0.5 * np.cos(2 * np.pi * time / size)
    return (np.concatenate([np.cos(angles), -np.sin(angles)]) * window)[:, None].astype(np.float32)


def triangles(bins: int, bands: int) -> np.ndarray:
    """Overlapping triangles over the bins of a spectrum: [bins, bands]."""
    places, edges = np.arange(bins)[:, None], np.linspace(0, bins - 1, bands + 2)
    rising = (places - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - places) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def low_pass(size: int = 64) -> np.ndarray:
    places = np.arange(size) - (size - 1) / 2
    return (np.sinc(places / 2) * np.hanning(size)).astype(np.float32)


def band_limited(seed: int = 0) -> np.ndarray:
    """Smooth filters as a learned first layer may have them: a few neighbouring frequencies each, of random phase."""
    random = np.random.default_rng(seed)
    spectra = random.normal(size=(40, 33)) + 1j * random.normal(size=(40, 33))
    return np.fft.irfft(spectra * (np.arange(33) < 12), axis=1).astype(np.float32)


KINDS = {
    "DFT": (dft(), "a matrix of sinusoids"),
    "DFT without a window, turned": (np.cos(2 * np.pi * np.outer(np.arange(100), np.arange(51)) / 100),
                                     "a matrix of sinusoids"),
    "low pass": (low_pass()[None, None, None], "a symmetric filter"),
    "mel": (triangles(129, 20), "a bank of filters"),
    "mel, turned": (triangles(129, 20).T, "a bank of filters"),
    "trained": (models.normal(128, 64), ""),
    "trained, without negative weights": (np.abs(models.normal(128, 64)), ""),
    "trained, pruned": (np.where(np.abs(models.normal(128, 64)) > 0.1, models.normal(128, 64), 0), ""),
    "trained, smooth": (band_limited(), ""),
    "trained, grouped": (np.kron(np.eye(16), np.ones((8, 8))) * models.normal(128, 128), ""),
    "one unit": (models.normal(1, 300), ""),
    "zeros": (np.zeros((64, 64), np.float32), ""),
    "not finite": (np.full((64, 64), np.nan, np.float32), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_matrices_of_signal_processing_are_told_by_their_numbers(name):
    matrix, kind = KINDS[name]
    assert signals.may_be(matrix.shape) and signals.kind(matrix) == kind


def front_end(end: str = "Log", between: tuple[str, ...] = (), basis: np.ndarray | None = None) -> list:
    """The tensors of a power spectrum, bands of it, `end`, and a learned layer; `between` the bands and `end`."""
    basis = dft() if basis is None else basis
    bins = len(basis) // 2
    chain = ["bands", *(f"b{i}" for i in range(len(between))), "z"]
    nodes = [
        helper.make_node("Conv", ["x", "basis"], ["s"]),
        helper.make_node("Split", ["s"], ["re", "im"], axis=1, num_outputs=2),
        helper.make_node("Mul", ["re", "re"], ["rr"]),
        helper.make_node("Mul", ["im", "im"], ["ii"]),
        helper.make_node("Add", ["rr", "ii"], ["power"]),
        helper.make_node("Transpose", ["power"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["turned", "mel"], ["bands"]),
        *(helper.make_node(op, [chain[i]], [chain[i + 1]]) for i, op in enumerate((*between, end))),
        helper.make_node("MatMul", ["z", "w"], ["y"]),
    ]
    tensors = {"basis": basis, "mel": triangles(bins, 20), "w": models.normal(20, 50)}
    proto = models.model(
        nodes, {"x": [1, 1, "n"]}, {"y": [1, "m", 50]}, [models.tensor(name, array) for name, array in tensors.items()]
    )
    return onnx_model.from_proto(proto).tensors


def test_a_front_end_of_audio_stays_exact_and_what_follows_does_not():
    tensors = {tensor.name: tensor for tensor in front_end(between=("Relu",))}
    assert [name for name, tensor in tensors.items() if tensor.is_weight] == ["w"]
    assert tensors["mel"].exact_because == "a bank of filters whose result reaches a logarithm"
    assert tensors["basis"].exact_because.startswith("a matrix of sinusoids whose result reaches a ")


def test_filters_before_all_learned_layers_need_no_logarithm():
    tensors = {tensor.name: tensor for tensor in front_end(end="Identity")}
    assert [name for name, tensor in tensors.items() if tensor.is_weight] == ["w"]
    assert tensors["mel"].exact_because == "a bank of filters before all learned layers"


def test_filters_behind_something_learned_that_reach_no_power_are_weights():
    proto = models.model(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("MatMul", ["h", "mel"], ["y"]),
        ],
        {"x": [1, 50]}, {"y": [1, 20]},
        [models.tensor("w", models.normal(50, 129)), models.tensor("mel", triangles(129, 20))],
    )  # fmt: skip
    assert all(tensor.is_weight for tensor in onnx_model.from_proto(proto).tensors)


def test_cosines_behind_the_logarithm_are_signal_processing_too():
    bins = np.arange(40)
    cosines = np.cos(np.pi * np.outer(bins + 0.5, np.arange(13)) / 40).astype(np.float32)
    proto = models.model(
        [
            helper.make_node("MatMul", ["x", "mel"], ["m"]),
            helper.make_node("Log", ["m"], ["l"]),
            helper.make_node("MatMul", ["l", "cosines"], ["c"]),
            helper.make_node("MatMul", ["c", "w"], ["y"]),
        ],
        {"x": [1, 129]}, {"y": [1, 64]},
        [models.tensor(n, a) for n, a in
         {"mel": triangles(129, 40), "cosines": cosines, "w": models.normal(13, 64)}.items()],
    )  # fmt: skip
    assert [tensor.name for tensor in onnx_model.from_proto(proto).tensors if tensor.is_weight] == ["w"]


def test_learned_filters_before_a_logarithm_are_weights():
    weights = {tensor.name for tensor in front_end(basis=models.normal(66, 1, 64)) if tensor.is_weight}
    assert weights == {"basis", "w"}


@pytest.mark.parametrize("matrix", [
    np.ones((64, 64)), np.full((64, 64), 0.3),
    1 + 0.02 * np.random.default_rng(0).normal(size=(64, 64)),
])  # fmt: skip
def test_constants_and_weights_about_one_value_are_no_sinusoids(matrix):
    assert signals.kind(matrix.astype(np.float32)) == ""
