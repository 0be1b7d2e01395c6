"""From samples to new values: see the package."""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from .. import allocate, runtime
from ..model import Model, with_values
from ..model import program as program_of
from ..stages import prune, share
from ..tensor import values
from . import rounding
from .answers import Divergence
from .layers import Layer, find
from . import moments as M_
from .moments import Moments, join, split
from .walk import Front, stages

BIAS_STEP = 0.25  # of the error that rounding the weights leaves: a bias errs alike everywhere, at little cost


@dataclass(frozen=True)
class Options:
    """How to round: see rounding.compensated. `follow`: layers make good what those before them did wrong."""

    eagerness: float = 1.0
    sweeps: int = 2
    fit: bool = True
    follow: float = 0.0
    round_biases: bool = True
    threads: int = 0


def calibrated(
    model: Model,
    batches: Iterable[runtime.Inputs],
    steps: Mapping[str, float],
    options: Options = Options(),
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> dict[str, np.ndarray]:
    """New values for the tensors that `steps` names, and for the biases of their layers: at most 256 distinct ones each.

    `steps` are multiples of the tensor's own unit, about the distance between two values. Tensors that are no layer's
    weights (embeddings, recurrent layers) are rounded without regard to their inputs.
    """
    program = program_of(model, model.path or "the model")
    by_site = {site: name for name, site in program.weights.items()}
    layers = [layer for layer in find(program) if layer.site in steps]
    known = {layer.site for layer in layers}
    found = {
        site: _plain(program.constants[by_site[site]], step) for site, step in steps.items() if site not in known
    }
    done = len(found)
    with contextlib.ExitStack() as stack:
        front = stack.enter_context(Front(batches, threads=options.threads))
        original = stack.enter_context(Front(front, threads=options.threads)) if options.follow else None
        for stage in stages(program, layers):
            front.advance(with_values(model, found), stage.values)
            if original is not None:
                original.advance(with_values(model, {}), stage.values)
            moments = _gather(stage.layers, front, original, _gates(program, stage.layers, by_site))
            for layer in stage.layers:
                weights = program.constants[by_site[layer.site]]
                bias = None if layer.bias is None else found.get(layer.bias, program.constants[by_site[layer.bias]])
                found.update(_solve(layer, weights, bias, moments[layer.site], steps[layer.site], options))
                done += 1
                progress(layer.site, done, len(steps))
    return found


def _gather(layers: Iterable[Layer], front: Front, original: Front | None, gates) -> dict[str, Moments]:
    """The statistics of each layer's inputs; layers that read the same columns share them."""
    shared: dict[tuple, Moments] = {}
    found = {}
    for layer in layers:
        key = tuple(layer.uses), (layer.site if M_.GATE and layer.site in gates else None)
        if key not in shared:
            shared[key] = Moments(layer.uses[0][1])
            shared[key].gate = gates.get(layer.site)
        found[layer.site] = shared[key]
    for batch, other in zip(front, original or front):
        for key, moments in shared.items():
            for value, _ in key[0]:
                if value in batch:  # a later use of the same weights is not known yet
                    moments.add(batch[value], other[value] if original is not None else None, moments.gate)
    return found


def _gates(program, layers, by_site):
    found = {}
    for layer in layers:
        outs = [n.outputs[0] for n in program.nodes if n.name in layer.nodes]
        readers = [n.op for o in outs for n in program.nodes if o in n.inputs]
        if readers == ["Relu"]:
            w = layer.matrices(program.constants[by_site[layer.site]]).astype(np.float32)
            bias = program.constants[by_site[layer.bias]] if layer.bias else np.zeros(w.shape[0] * w.shape[1])
            found[layer.site] = w, bias.reshape(w.shape[0], w.shape[1], 1).astype(np.float32)
    return found


def _solve(
    layer: Layer, weights: np.ndarray, bias: np.ndarray | None, moments: Moments, step: float, options: Options
) -> dict[str, np.ndarray]:
    """New values for one layer's weights and its bias."""
    before = layer.matrices(np.asarray(weights, np.float64))
    target = moments.target(before, bias is not None, options.follow) if options.follow else before
    moment = moments.moment(centred=bias is not None)
    rounded = rounding.compensated(
        split(target, moments.parts, 2), moment, share.simple_step(step), options.eagerness, options.sweeps, options.fit
    )
    after = join(rounded.values, moments.parts, before.shape[2], 2)
    found = {layer.site: layer.tensor(after)}
    if bias is not None:
        mean = moments.original_mean if options.follow else moments.mean
        shift = (before @ mean[:, :, None] - after @ moments.mean[:, :, None]).reshape(bias.shape)
        # TODO follow damping
        new = np.asarray(bias, np.float64) + layer.factor * shift
        if options.round_biases and rounded.slope and options.eagerness:
            # the error of a weight's step at the output, were the weight alone
            unit = abs(layer.factor) * np.sqrt(rounded.slope / options.eagerness / share.rate_slope(1.0))
            fine = 2.0 ** np.floor(np.log2(BIAS_STEP * unit))
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
    program = program_of(model, model.path or "the model")
    plain = with_values(model, {})
    layers = [layer for layer in find(program) if layer.site in trials]
    names = program.outputs
    found = {}
    with Front(batches, threads=threads) as front:
        answers = list(front.compute(plain, names))
        for site in trials.keys() - {layer.site for layer in layers}:
            found[site] = _divergence(front, with_values(model, trials[site]), names, answers)
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
    options: Options = Options(),
    rounds: int = 1,
) -> dict[str, allocate.Curve]:
    """What each tensor costs at each step, in bits and in divergence of the answers: measured by rounding each alone,
    at steps that give about `bits` a weight."""
    weights = {}
    for site in model.sites:
        if site.name in sites:
            weights[site.name] = values(site.read().view(site.dtype.pattern), site.dtype)
    total = bits * sum(each.size for each in weights.values())
    biases = {layer.site: layer.bias for layer in find(program_of(model, model.path or "the model"))}
    # at first as if an error harmed as much as it is large beside the layer's weights
    found = {name: _guess(each) for name, each in weights.items()}
    for _ in range(rounds):
        steps = allocate.by_bits(found, total)
        new = calibrated(model, batches, steps, options)
        trials = {name: {key: new[key] for key in (name, biases.get(name)) if key in new} for name in steps}
        moved = divergences(model, batches, trials, options.threads)
        least = max(moved.values(), default=0.0) * 1e-6  # what moves nothing here may move something elsewhere
        found = {name: allocate.curve(weights[name], step, max(moved[name], least)) for name, step in steps.items()}
    return found


def _guess(weights: np.ndarray) -> allocate.Curve:
    """As if a relative error of the weights harmed alike in every tensor."""
    deviation = float(np.sqrt(prune.typical_square(weights)))
    return allocate.curve(weights, deviation, 1.0)
