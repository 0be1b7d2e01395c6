"""Whole networks: from samples to new values, and from new values to how far the answers move.

found = curves(model, batches, names)               what a bit buys in each tensor, measured
calibrated(model, batches, by_bits(found, total))   {name: new values}, for model.with_values
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from .. import allocate, runtime
from ..model import Model, with_values
from ..model import program as program_of
from ..stages import prune, share
from ..tensor import values
from . import rounding
from .divergence import Divergence
from .layers import Layer, find
from .moments import Moments, join, split
from .walk import Front, stages

TRIED = 96  # samples on which each tensor is tried alone: by then its harm is known within a few percent
BIAS_STEP = 0.25  # of the error that rounding the weights leaves: a bias errs alike everywhere, at little cost


@dataclass(frozen=True)
class Options:
    """How to round.

    `eagerness`, `sweeps`, `fit`: see rounding.compensated. `follow`, 0 to 1: how far layers make good what those before
    them did wrong (Moments.target); 0 saves running the original network beside the rounded one. `threads` of
    onnxruntime, 0 for all cores.
    """

    eagerness: float = 1.0
    sweeps: int = 2
    fit: bool = True
    follow: float = 0.5
    round_biases: bool = True
    threads: int = 0


@dataclass(frozen=True, eq=False)
class Importance:
    """How much the answers hang on what a layer gives: `places` [samples, *places of its output] for each batch, and
    `rows`, one number for each row of its weights; both 1 on average. Squared gradients are such numbers."""

    places: list[np.ndarray]
    rows: np.ndarray


def calibrated(
    model: Model,
    batches: Iterable[runtime.Inputs],
    steps: Mapping[str, float],
    options: Options = Options(),
    importance: Mapping[str, "Importance"] = {},
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> dict[str, np.ndarray]:
    """New values for the tensors that `steps` names, at most 256 distinct in each, and for the biases of their layers.

    A step is the distance between two values, in the tensor's own unit. Tensors that are no layer's weights
    (embeddings, operands of a subgraph, a function or an unknown operator) are rounded without regard to their inputs.
    Raises UnsuitableModel where the graph does not run, or later layers need a value that is no tensor.
    """
    program = program_of(model, model.path or "the model", opaque=True)
    old = _Values(model)
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
            moments = _gather(stage.layers, front.compute(now, seen), others, importance)
            for layer in stage.layers:
                site, rows = layer.site, importance[layer.site].rows if layer.site in importance else None
                bias = None if layer.bias is None else found.get(layer.bias, old[layer.bias])
                found |= _solve(layer, old[site], bias, moments[site], steps[site], options, rows)
                done += 1
                progress(site, done, len(steps))
    return found


class _Values:
    """The numbers of a model's tensors by name, read when they are asked for."""

    def __init__(self, model: Model):
        self._sites = {site.name: site for site in model.sites}

    def __getitem__(self, name: str) -> np.ndarray:
        site = self._sites[name]
        return values(site.read().view(site.dtype.pattern), site.dtype).reshape(site.shape)


def _gather(
    layers: Iterable[Layer],
    batches: Iterable[runtime.Inputs],
    original: Iterable[runtime.Inputs] | None,
    importance: Mapping[str, Importance],
) -> dict[str, Moments]:
    """The statistics of each layer's inputs; layers that read the same columns alike share them."""
    shared: dict[tuple, Moments] = {}
    found = {}
    for layer in layers:
        key = layer.uses, layer.site if layer.site in importance else None
        shared.setdefault(key, Moments(layer.uses[0][1]))
        found[layer.site] = shared[key]
    for number, (batch, other) in enumerate(zip(batches, itertools.repeat({}) if original is None else original)):
        for (uses, site), moments in shared.items():
            weights = None if site is None else importance[site].places[number]
            for value, moments.columns in uses:  # each node has its own padding and strides
                moments.add(batch[value], weights, other.get(value))
    return found


def _solve(
    layer: Layer,
    weights: np.ndarray,
    bias: np.ndarray | None,
    moments: Moments,
    step: float,
    options: Options,
    rows: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """New values for one layer's weights and its bias."""
    before = layer.matrices(np.asarray(weights, np.float64))
    centred, parts, size = bias is not None, moments.parts, before.shape[2]
    target = moments.target(before, centred, options.follow) if options.follow else before
    rows = None if rows is None else np.repeat(rows.reshape(before.shape[:2]), parts, 0)
    how = options.eagerness, options.sweeps, options.fit
    rounded = rounding.compensated(
        split(target, parts, 2), moments.moment(centred), share.simple_step(step), *how, rows
    )
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
    shared = share.entropy_constrained(flat, share.simple_step(step))
    return shared.centroids[shared.codes].reshape(weights.shape)


def divergences(
    model: Model,
    batches: Iterable[runtime.Inputs],
    trials: Mapping[str, Mapping[str, np.ndarray]],
    threads: int = 0,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> dict[str, float]:
    """How far the network's answers move when only the tensors of one trial are replaced: see answers.Divergence.

    `trials`: the name of a tensor -> new values for it, and for others that go with it.
    """
    program = program_of(model, model.path or "the model", opaque=True)
    plain = with_values(model, {})
    layers = [layer for layer in find(program) if layer.site in trials]
    names = program.outputs
    found = {}
    with Front(batches, threads=threads) as front:
        answers = list(front.compute(plain, names))
        seen = {layer.site for layer in layers}
        for site in (site for site in trials if site not in seen):
            found[site] = _divergence(front, with_values(model, trials[site]), names, answers)
            progress(site, len(found), len(trials))
        for stage in stages(program, layers):
            front.advance(plain, stage.values)
            for layer in stage.layers:
                found[layer.site] = _divergence(front, with_values(model, trials[layer.site]), names, answers)
                progress(layer.site, len(found), len(trials))
    return {site: found[site] for site in trials}


def _divergence(front: Front, changed, names: tuple[str, ...], answers: list) -> float:
    total = Divergence()
    for before, after in zip(answers, front.compute(changed, names)):
        for name in names:
            total.add(before[name], after[name])
    return total.mean


def curves(
    model: Model,
    batches: list[runtime.Inputs],
    sites: Iterable[str],
    bits: float = 3.5,
    options: Options = Options(sweeps=0, follow=0.0),
    rounds: int = 1,
) -> dict[str, allocate.Curve]:
    """What each tensor costs at each step, in bits and in divergence of the answers: measured by rounding each alone,
    at steps that give about `bits` a weight.

    `rounds` after the first start from the steps that the one before found best.
    """
    old = _Values(model)
    weights = {name: old[name].ravel() for name in sites}
    total = bits * sum(each.size for each in weights.values())
    biases = {layer.site: layer.bias for layer in find(program_of(model, model.path or "the model", opaque=True))}
    # at first as if an error harmed as much as it is large beside the layer's weights
    found = {name: _guess(each) for name, each in weights.items()}
    for _ in range(rounds):
        steps = allocate.by_bits(found, total)
        new = calibrated(model, batches, steps, options)
        trials = {name: {key: new[key] for key in (name, biases.get(name)) if key in new} for name in steps}
        few = [
            n
            for n, batch in enumerate(batches)
            if n * max(len(array) for array in batch.values() if array.ndim) < TRIED
        ]
        moved = divergences(model, [batches[n] for n in few], trials, options.threads)
        least = max(moved.values(), default=0.0) * 1e-6  # what moves nothing here may move something elsewhere
        found = {name: allocate.curve(weights[name], step, max(moved[name], least)) for name, step in steps.items()}
    return found


def _guess(weights: np.ndarray) -> allocate.Curve:
    """As if a relative error of the weights harmed alike in every tensor."""
    deviation = float(np.sqrt(prune.typical_square(weights)))
    return allocate.curve(weights, deviation, 1.0)
