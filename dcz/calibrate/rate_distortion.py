"""How far a network's answers move when its tensors change, one at a time, and what a bit buys in each of them.

found = curves(model, batches, names)                        measured at the output
calibrated(model, batches, allocate.by_bits(found, total))   new values at equal slope
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from ..codec.stages import prune
from ..evaluation import runtime
from ..model import Model, read_program, with_values
from . import allocate
from .divergence import Divergence
from .gptq import finest
from .layers import find
from .layerwise import Options, Values, calibrated
from .schedule import Front, ahead, stages

TRIED, FEWER = 64, 24  # samples on which each tensor is tried alone: its harm is known within a tenth; fewer will do
MANY = 16  # where each sample has so many answers


def divergences(
    model: Model,
    batches: Iterable[runtime.Inputs],
    trials: Mapping[str, Mapping[str, np.ndarray]],
    threads: int = 0,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> dict[str, float]:
    """How far the network's answers move when only the tensors of one trial are replaced: see Divergence.

    `trials`: the name of a tensor -> new values for it, and for others that go with it.
    """
    program = read_program(model, model.path or "the model", opaque=True)
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
    for before, after in zip(answers, ahead(front.compute(changed, names))):
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
    old = Values(model)
    weights = {name: old[name].ravel() for name in sites}
    total = bits * sum(each.size for each in weights.values())
    program = read_program(model, model.path or "the model", opaque=True)
    biases = {layer.site: layer.bias for layer in find(program)}
    # at first as if an error harmed as much as it is large beside the layer's weights
    found = {name: _guess(each) for name, each in weights.items()}
    few = _telling(model, batches, program.outputs)
    for _ in range(rounds):
        steps = allocate.by_bits(found, total)
        new = calibrated(model, batches, steps, options)
        trials = {name: {key: new[key] for key in (name, biases.get(name)) if key in new} for name in steps}
        moved = divergences(model, few, trials, options.threads)
        least = max(moved.values(), default=0.0) * 1e-6  # what moves nothing here may move something elsewhere
        found = {
            name: allocate.curve(weights[name], step, max(moved[name], least), finest(weights[name]))
            for name, step in steps.items()
        }
    return found


def _telling(model: Model, batches: list[runtime.Inputs], names: tuple[str, ...]) -> list[runtime.Inputs]:
    """Batches from all over the file, of as many samples as it takes to compare tensors."""
    size = max((len(array) for array in batches[0].values() if array.ndim), default=1)
    answers = Divergence()
    with Front([batches[0]]) as front:
        for batch in front.compute(with_values(model, {}), names):
            for name in names:
                answers.add(batch[name], batch[name])
    most = FEWER if answers.places >= MANY * size else TRIED
    chosen = np.linspace(0, len(batches) - 1, min(len(batches), -(-most // size))).astype(int)
    return [batches[number] for number in chosen]


def _guess(weights: np.ndarray) -> allocate.Curve:
    """As if a relative error of the weights harmed alike in every tensor."""
    deviation = float(np.sqrt(prune.typical_square(weights)))
    return allocate.curve(weights, deviation, 1.0, finest(weights))
