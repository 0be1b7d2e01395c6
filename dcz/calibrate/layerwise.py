"""Every layer of a network rounded, in order, on the inputs that the rounded part before it gives.

calibrated(model, batches, {"conv1.weight": 0.02})      ->   {name: new values}, those of biases too
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..codec.stages import grid, share
from ..evaluation import runtime
from ..model import Model, with_values
from ..model import program as program_of
from ..tensor import values
from . import gptq
from .hessian import Moments, join, split
from .layers import Layer, find
from .schedule import Front, ahead, stages

BIAS_STEP = 0.25  # of the error that rounding the weights leaves: a bias errs alike everywhere, at little cost
COLUMNS, FEWEST = 1 << 18, 64  # places that a layer's statistics are gathered from, and of each sample at least
EACH = 256  # of them for each number of a column, where every group has statistics of its own


@dataclass(frozen=True)
class Options:
    """How to round.

    `eagerness`, `sweeps`, `fit`: see gptq.compensated. `follow`, 0 to 1: how far layers make good what those before
    them did wrong (Moments.target); 0 saves running the original network beside the rounded one. `threads` of
    onnxruntime, 0 for all cores.
    """

    eagerness: float = 1.0
    sweeps: int = 2
    fit: bool = True
    follow: float = 0.5
    round_biases: bool = True
    threads: int = 0


def calibrated(
    model: Model,
    batches: Iterable[runtime.Inputs],
    steps: Mapping[str, float],
    options: Options = Options(),
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> dict[str, np.ndarray]:
    """New values for the tensors that `steps` names, at most 256 distinct in each, and for the biases of their layers.

    A step is the distance between two values, in the tensor's own unit. Tensors that are no layer's weights
    (embeddings, operands of a subgraph, a function or an unknown operator) are rounded without regard to their inputs.
    Raises UnsuitableModel where the graph does not run, or later layers need a value that is no tensor.
    """
    program = program_of(model, model.path or "the model", opaque=True)
    old = Values(model)
    layers = [layer for layer in find(program) if layer.site in steps]
    known = {layer.site for layer in layers}
    found = {site: _plain(old[site], step) for site, step in steps.items() if site not in known}
    done = len(found)
    with contextlib.ExitStack() as stack:
        front = stack.enter_context(Front(batches, threads=options.threads))
        original = stack.enter_context(Front(front, threads=options.threads)) if options.follow else None
        for stage in stages(program, layers):
            now, before = with_values(model, found), with_values(model, {})
            front.advance(now, stage.values)
            if original is not None:
                original.advance(before, stage.values)
            # of weights that serve several nodes, the later ones' inputs are those that the weights as they were give
            seen = tuple(dict.fromkeys(value for layer in stage.layers for value, _ in layer.uses))
            others = None if original is None else original.compute(before, seen)
            moments = _gather(stage.layers, front.compute(now, seen), others, front.samples)
            for layer in stage.layers:
                bias = None if layer.bias is None else found.get(layer.bias, old[layer.bias])
                found |= _solve(layer, old[layer.site], bias, moments[layer.site], steps[layer.site], options)
                done += 1
                progress(layer.site, done, len(steps))
    return found


class Values:
    """The numbers of a model's tensors by name, read when they are asked for."""

    def __init__(self, model: Model):
        self._sites = {site.name: site for site in model.tensors}

    def __getitem__(self, name: str) -> np.ndarray:
        site = self._sites[name]
        return values(site.read().view(site.dtype.pattern), site.dtype).reshape(site.shape)


def _gather(
    layers: Iterable[Layer], batches: Iterable[runtime.Inputs], original: Iterable[runtime.Inputs] | None, samples: int
) -> dict[str, Moments]:
    """The statistics of each layer's inputs, by site; layers that read the same columns alike share them."""
    shared: dict[tuple, Moments] = {}
    for layer in layers:
        wanted = COLUMNS if layer.groups == 1 else min(COLUMNS, EACH * layer.length)
        shared.setdefault(layer.uses, Moments(layer.uses[0][1], max(FEWEST, wanted // max(1, samples))))
    others = itertools.repeat({}) if original is None else ahead(original)
    for batch, other in zip(ahead(batches), others):
        for uses, moments in shared.items():
            for value, moments.columns in uses:  # each node has its own padding and strides
                moments.add(batch[value], other.get(value))
    return {layer.site: shared[layer.uses] for layer in layers}


def _solve(
    layer: Layer,
    weights: np.ndarray,
    bias: np.ndarray | None,
    moments: Moments,
    step: float,
    options: Options,
) -> dict[str, np.ndarray]:
    """New values for one layer's weights and its bias."""
    before = layer.matrices(np.asarray(weights, np.float64))
    centred, parts, size = bias is not None, moments.parts, before.shape[2]
    target = moments.target(before, centred, options.follow) if options.follow else before
    how = options.eagerness, options.sweeps, options.fit
    rounded = gptq.compensated(split(target, parts, 2), moments.moment(centred), grid.round_step(step), *how)
    after = join(rounded.values, parts, size, 2)
    found = {layer.site: layer.tensor(after)}
    if bias is not None:
        wanted = moments.original_mean if options.follow else moments.mean
        shift = before @ wanted[:, :, None] - after @ moments.mean[:, :, None]
        new = np.asarray(bias, np.float64) + layer.factor * shift.reshape(bias.shape)
        if options.round_biases:
            fine = BIAS_STEP * abs(layer.factor) * step * math.sqrt(rounded.curvature)
            fine = 2.0 ** math.floor(math.log2(fine))  # so that the numbers are short
            new = np.rint(new / fine) * fine
        found[layer.bias] = new
    return found


def _plain(weights: np.ndarray, step: float) -> np.ndarray:
    flat = np.asarray(weights, np.float64).ravel()
    shared = share.entropy_constrained(flat, grid.round_step(step))
    return shared.centroids[shared.codes].reshape(weights.shape)
