"""Layer-wise quantization: every layer in order, on the inputs that the quantized part before it gives.

quantize_layers(model, batches, {"conv1.weight": 0.02})      ->   {name: new values}, those of biases too
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

import numpy as np

from ..codec.stages.scale import RowScales
from ..evaluation import runtime
from ..model import Model, WorkingCopy, read_program
from .gathering import gather_statistics
from .hessian import InputStatistics
from .layers import find_layers
from .padding import Padding
from .rounding import Grids, Options, round_data_free, round_layer
from .schedule import ActivationCache, LayerGroup, layer_groups
from .spool import StoredValues, wide_tensors

MAX_AGAIN = 4  # times that the last layers are rounded again


class Steering(Protocol):
    """Steps that follow what the layers before have come to."""

    def steps(self, names: Iterable[str]) -> Mapping[str, float]:
        """The steps of the tensors that are rounded next."""

    def measure(self, new: Mapping[str, np.ndarray], is_last: bool) -> bool:
        """Look at what became of them; whether they are to be rounded again, at other steps, as the last ones may
        be."""


def quantize_layers(
    model: Model,
    batches: Iterable[runtime.Inputs],
    steps: Mapping[str, float],
    options: Options = Options(),
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    fine: Mapping[str, RowScales | None] = MappingProxyType({}),
    steering: Steering | None = None,
    padding: Padding | None = None,
) -> StoredValues:
    """New values for the tensors that `steps` names, at most 256 distinct in each, and for the biases of their layers.

    A step is the distance between two values, in the tensor's own unit. The tensors that `fine` names have as many
    values as their step takes, up to those of a fine codebook; where it gives scales of their rows, the step is in
    units of these (see rows.fine_rows; of a table, lookups.scales_by_use). Tensors that are no layer's weights
    (embeddings, operands of a subgraph, a function or an unknown operator) are rounded without regard to their inputs.
    `steering` may change the steps on the way. `padding`: where the places lie that a mask leaves out, which do not
    count in what layers see.
    Raises UnsuitableModel where the graph does not run, or later layers need a value that is no tensor.
    """
    program = read_program(model, model.path or "the model", opaque=True)
    tensors = {tensor.name: tensor for tensor in model.tensors}
    layers = [layer for layer in find_layers(program) if layer.tensor in steps]
    calibrated = {layer.tensor for layer in layers}
    steering = steering or _Fixed(steps)
    others = [name for name in steps if name not in calibrated]
    new, wide = StoredValues(), wide_tensors(model)
    for name, step in steering.steps(others).items():
        new.add({name: round_data_free(tensors[name].values(), step, fine.get(name))}, wide)
    steering.measure(new, False)
    done = len(new)

    def rounded(group: LayerGroup, statistics: Mapping[str, InputStatistics]) -> dict[str, np.ndarray]:
        made: dict[str, np.ndarray] = {}
        for name, step in steering.steps(layer.tensor for layer in group.layers).items():
            layer, bias = of_tensor[name], None
            if layer.bias is not None:
                known = made if layer.bias in made else new
                bias = known[layer.bias] if layer.bias in known else tensors[layer.bias].values()
            grids = Grids(name in fine, fine.get(name))
            made |= round_layer(layer, tensors[name].values(), bias, statistics[name], step, options, grids)
            progress(name, min(len(steps), done + sum(each in of_tensor for each in made)), len(steps))
        return made

    of_tensor = {layer.tensor: layer for layer in layers}
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(ActivationCache(batches, threads=options.threads))
        masks = [] if padding is None else padding.masks(cache)
        original_cache = None
        if options.asymmetry:
            original_cache = stack.enter_context(ActivationCache(cache, threads=options.threads))
        quantized, original = WorkingCopy(model, new), WorkingCopy(model)
        groups = layer_groups(program, layers)
        for group in groups:
            cache.advance(quantized, group.values)
            if original_cache is not None:
                original_cache.advance(original, group.values)
            # where weights serve several nodes, the inputs of the later ones are those that the original weights give
            inputs = tuple(dict.fromkeys(value for layer in group.layers for value, _ in layer.uses))
            input_batches = cache.compute(quantized, inputs)
            original_batches = None if original_cache is None else original_cache.compute(original, inputs)
            statistics = gather_statistics(group.layers, input_batches, original_batches, cache.samples, padding, masks)
            runtime.give_back_memory()
            made = rounded(group, statistics)
            for _ in range(MAX_AGAIN):
                if not steering.measure(made, group is groups[-1]):
                    break
                made = rounded(group, statistics)
            quantized.put(made)
            new.add(made, wide)
            done += len(group.layers)
            del statistics, made, input_batches, original_batches
            runtime.give_back_memory()
    return new


class _Fixed:
    """Steps that nothing changes."""

    def __init__(self, steps: Mapping[str, float]):
        self._steps = steps

    def steps(self, names: Iterable[str]) -> dict[str, float]:
        """As they were given."""
        return {name: self._steps[name] for name in names}

    def measure(self, new: Mapping[str, np.ndarray], is_last: bool) -> bool:
        """Once is enough."""
        return False
