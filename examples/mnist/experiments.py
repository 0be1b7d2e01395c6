"""What the figures show, measured: LeNet-300-100 compressed many ways, retrained briefly, on the validation digits.

    tradeoff(bench, grid, map)  ->  [{"method": "pruning", "setting": 0.1, "bytes": ..., "error": ...}, ...]

`map` may be an executor's: every point is a task of its own.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch

import dcz
from dcz import train

from . import networks
from .networks import LENET_300_100 as NETWORK
from .recipes import Grid
from .rows import Bench

METHODS = ("pruning", "sharing", "pruning and sharing", "SVD")
SHOWN = "3"  # the tensor whose weights are shown: the second layer's


def tradeoff(bench: Bench, grid: Grid, map=map) -> list[dict]:
    """Error and bytes of the network pruned, shared, both, and factored, at each setting of the grid."""
    samples = bench.samples("validation", NETWORK.shape)
    settings = {
        "pruning": grid.densities,
        "sharing": grid.bits,
        "pruning and sharing": grid.densities,
        "SVD": grid.ranks,
    }
    jobs = [(bench, grid, samples, method, setting) for method in METHODS for setting in settings[method]]
    original = 4 * NETWORK.parameters
    dense = _error(bench.dense(NETWORK.name), samples)
    points = list(map(_tradeoff_point, jobs))
    return [point | {"share": point["bytes"] / original, "loss": point["error"] - dense} for point in points]


def _tradeoff_point(job: tuple) -> dict:
    bench, grid, samples, method, setting = job
    torch.set_num_threads(1)
    dense, recipe = bench.dense(NETWORK.name), grid.recipe
    path = bench.work / f"{method.replace(' ', '-')}-{setting:g}.dcz"
    model, loss = dense, "distill"
    if method == "pruning":
        recipe = replace(recipe, sparsity=1 - setting, share_epochs=0)
    elif method == "sharing":
        recipe = replace(recipe, bits=setting, epochs=0)
    elif method == "SVD":
        model = networks.factored(onnx.load(dense), setting)
        loss = train.Distillation(train.Network(model), train.Network(dense))
    else:
        recipe = replace(recipe, sparsity=1 - setting, bits=grid.both_bits)
    training, validation = bench.digits()
    train.retrain(
        model,
        path,
        training.inputs(NETWORK.shape),
        labels=training.labels,
        validation=(validation.inputs(NETWORK.shape), validation.labels),
        recipe=recipe,
        loss=loss,
        force=True,
    )
    error = _error(path, samples)
    size = os.path.getsize(path)
    if method == "SVD":  # its file would only be deflated: count what the method keeps
        size = 4 * sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)
    path.unlink()
    return {"method": method, "setting": setting, "bytes": size, "error": error}


def _error(model: Path, samples: Path) -> float:
    """The share of wrong answers of a file, decoded, in onnxruntime."""
    found = dcz.evaluate(model, samples, "y", batch_size=500, threads=1)
    return found.errors / found.samples


# -- sharing a pruned network -----------------------------------------------------------------------------------------


def pruned(bench: Bench, grid: Grid) -> Path:
    """The network pruned and retrained, not shared: an ONNX file."""
    path = bench.work / "pruned.onnx"
    training, validation = bench.digits()
    packed = path.with_suffix(".dcz")
    train.retrain(
        bench.dense(NETWORK.name),
        packed,
        training.inputs(NETWORK.shape),
        labels=training.labels,
        validation=(validation.inputs(NETWORK.shape), validation.labels),
        recipe=replace(grid.recipe, sparsity=1 - grid.start_density, share_epochs=0),
        loss="distill",
        force=True,
    )
    dcz.decompress(packed, path, force=True)
    packed.unlink()
    return path


def starts(bench: Bench, grid: Grid, model: Path, map=map) -> list[dict]:
    """Errors before and after fine-tuning for each start of k-means and number of bits, of the pruned `model`."""
    jobs = [(bench, grid, model, start, bits) for start in grid.starts for bits in grid.start_bits]
    return list(map(_start_point, jobs))


def _start_point(job: tuple) -> dict:
    bench, grid, model, start, bits = job
    torch.set_num_threads(1)
    before, after, _ = _share(bench, grid, model, start, bits)
    return {"start": start, "bits": bits, "before": before, "after": after}


def codebook(bench: Bench, grid: Grid, model: Path) -> dict:
    """The kept weights of one tensor, and its centroids before and after fine-tuning, from a linear start."""
    weights = train.Network(model)[SHOWN].numpy()
    weights = weights[weights != 0]
    _, _, (before, after) = _share(bench, grid, model, "linear", grid.shown_bits)
    counts, edges = np.histogram(weights, 200)
    return {
        "tensor": NETWORK.layers[SHOWN],
        "counts": counts.tolist(),
        "edges": edges.tolist(),
        "before": before.tolist(),
        "after": after.tolist(),
    }


def _share(bench: Bench, grid: Grid, model: Path, start: str, bits: int):
    """Errors before and after fine-tuning, and both codebooks of the tensor that is shown."""
    training, validation = bench.digits()
    network, recipe = train.Network(model), grid.recipe
    for weight in network:
        if weight.is_weight:
            weight.prune(weight.numpy() != 0)
            train.share_weights(weight, dcz.Settings(bits=bits, init=start, seed=recipe.seed))
    held = torch.from_numpy(validation.inputs(NETWORK.shape)), torch.from_numpy(validation.labels)
    codebooks, errors = [network[SHOWN].values.detach().numpy().copy()], [_wrong(network, *held)]
    batches = train.Batches({"x": training.inputs(NETWORK.shape)}, training.labels, size=recipe.batch, seed=recipe.seed)
    loss = train.Distillation(network, train.Network(bench.dense(NETWORK.name)))
    optimizer = torch.optim.Adam(network.parameters(), recipe.share_rate)
    for epoch in range(recipe.share_epochs):
        for inputs, labels in batches.epoch(epoch):
            optimizer.zero_grad()
            loss(network(inputs), inputs, labels).backward()
            optimizer.step()
    codebooks.append(network[SHOWN].values.detach().numpy().copy())
    errors.append(_wrong(network, *held))
    return *errors, codebooks


def _wrong(network: train.Network, images: torch.Tensor, labels: torch.Tensor) -> float:
    with torch.no_grad():
        return float((network(images)["y"].argmax(1) != labels).float().mean())
