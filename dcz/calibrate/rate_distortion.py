"""What a bit buys in each tensor: how far a network's answers move when its tensors change, one at a time.

curves = measure_curves(model, batches, names)                          measured at the output
quantize_layers(model, batches, allocate.steps_for_bits(curves, bits))  new values at equal slope
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from ..codec.stages import prune
from ..codec.stages.scale import RowScales
from ..evaluation import runtime
from ..model import Model, read_program, with_values
from . import allocate
from .divergence import Divergence
from .layers import find_layers
from .layerwise import Options, quantize_layers
from .levels import finest_step, min_step
from .rows import in_shape
from .schedule import ActivationCache, layer_groups, prefetch

if TYPE_CHECKING:
    from onnx import ModelProto

# Samples on which each tensor is tried alone: its divergence is known within a tenth. Fewer will do where each sample
# has many answers.
TRIAL_SAMPLES, FEWER_TRIAL_SAMPLES, MANY_ANSWERS = 64, 24, 16


def measure_divergences(
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
    layers = [layer for layer in find_layers(program) if layer.tensor in trials]
    names = program.outputs
    measured: dict[str, float] = {}
    with ActivationCache(batches, threads=threads) as cache:
        answers = list(cache.compute(plain, names))
        of_layers = {layer.tensor for layer in layers}
        for tensor in (tensor for tensor in trials if tensor not in of_layers):
            measured[tensor] = _divergence(cache, with_values(model, trials[tensor]), names, answers)
            progress(tensor, len(measured), len(trials))
        for group in layer_groups(program, layers):
            cache.advance(plain, group.values)
            for layer in group.layers:
                changed = with_values(model, trials[layer.tensor])
                measured[layer.tensor] = _divergence(cache, changed, names, answers)
                progress(layer.tensor, len(measured), len(trials))
    return {tensor: measured[tensor] for tensor in trials}


def _divergence(
    cache: ActivationCache, changed: "ModelProto", names: Sequence[str], answers: Sequence[runtime.Inputs]
) -> float:
    """The mean divergence of the changed model's answers from `answers`."""
    total = Divergence()
    for before, after in zip(answers, prefetch(cache.compute(changed, names)), strict=True):
        for name in names:
            total.add(before[name], after[name])
    return total.mean


def measure_curves(
    model: Model,
    batches: Sequence[runtime.Inputs],
    names: Iterable[str],
    bits: float = 3.5,
    options: Options = Options(sweeps=0, asymmetry=0.0),
    rounds: int = 1,
    fine: Mapping[str, RowScales | None] = MappingProxyType({}),
) -> dict[str, allocate.Curve]:
    """The rate-distortion curve of each named tensor: bits, and divergence of the answers, measured by rounding each
    tensor alone at steps that give about `bits` a weight.

    `rounds` after the first start from the steps that the one before found best. `fine`: see quantize_layers; the steps
    of curves are in the units that it says.
    """
    tensors = {tensor.name: tensor for tensor in model.tensors}
    weights = {name: _in_units(tensors[name].values(), fine.get(name)).ravel() for name in names}
    finest = {name: (finest_step if name in fine else min_step)(flat) for name, flat in weights.items()}
    total = bits * sum(flat.size for flat in weights.values())
    program = read_program(model, model.path or "the model", opaque=True)
    biases = {layer.tensor: layer.bias for layer in find_layers(program)}
    curves = {name: _initial_curve(flat, finest[name]) for name, flat in weights.items()}
    trial_batches = _trial_batches(model, batches, program.outputs)
    for _ in range(rounds):
        steps = allocate.steps_for_bits(curves, total)
        new = quantize_layers(model, batches, steps, options, fine=fine)
        trials = {name: {key: new[key] for key in (name, biases.get(name)) if key in new} for name in steps}
        divergences = measure_divergences(model, trial_batches, trials, options.threads)
        floor = max(divergences.values(), default=0.0) * 1e-6  # what changes nothing here may do so on other inputs
        curves = {
            name: allocate.estimate_curve(weights[name], step, max(divergences[name], floor), finest[name])
            for name, step in steps.items()
        }
    return curves


def _trial_batches(model: Model, batches: Sequence[runtime.Inputs], names: Sequence[str]) -> list[runtime.Inputs]:
    """Batches from all over the file, of as many samples as it takes to compare tensors."""
    size = max((len(array) for array in batches[0].values() if array.ndim), default=1)
    answers = Divergence()
    with ActivationCache([batches[0]]) as cache:
        for batch in cache.compute(with_values(model, {}), names):
            for name in names:
                answers.add(batch[name], batch[name])
    samples = FEWER_TRIAL_SAMPLES if answers.positions >= MANY_ANSWERS * size else TRIAL_SAMPLES
    chosen = np.linspace(0, len(batches) - 1, min(len(batches), -(-samples // size))).astype(int)
    return [batches[index] for index in chosen]


def _in_units(weights: np.ndarray, row_scales: RowScales | None) -> np.ndarray:
    """Weights (of any shape) in units of the scales of their rows, if there are any."""
    return weights if row_scales is None else weights / in_shape(row_scales)


def _initial_curve(weights: np.ndarray, finest: float) -> allocate.Curve:
    """As if a relative error of the weights did the same harm in every tensor."""
    deviation = float(np.sqrt(prune.typical_square(weights)))
    return allocate.estimate_curve(weights, deviation, 1.0, finest)
