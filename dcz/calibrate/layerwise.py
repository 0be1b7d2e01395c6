"""Layer-wise quantization: every layer in order, on the inputs that the quantized part before it gives.

quantize_layers(model, batches, {"conv1.weight": 0.02})      ->   {name: new values}, those of biases too
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ..codec.stages import grid, share
from ..codec.stages.scale import RowScales
from ..evaluation import runtime
from ..model import Model, read_program, with_values
from . import gptq
from .hessian import Accumulator, InputStatistics, join_features, split_features
from .layers import Layer, find_layers
from .levels import FLOAT_BITS, SCALED_BITS
from .rows import row_sizes
from .schedule import ActivationCache, layer_groups, prefetch

BIAS_STEP = 0.25  # of the error that rounding the weights leaves: a bias errs alike everywhere, at little cost
MIN_CURVATURE = 1e-6  # of the largest among a layer's groups, below which a bias is as good as rounded finely enough
MIN_RATED = 64  # weights in each row of a layer in groups, from which bits count
MAX_POSITIONS, MIN_SAMPLE_POSITIONS = 1 << 18, 64  # that a layer's statistics are from; of each sample at least
POSITIONS_PER_FEATURE = 256  # at most, where every group has statistics of its own


@dataclass(frozen=True)
class Options:
    """How to quantize.

    `rate_weight`, `sweeps`, `fit`: see gptq.quantize. `asymmetry`, 0 to 1: how far layers compensate the errors
    of those before them (InputStatistics.asymmetric_target); 0 is symmetric calibration, which saves running the
    original network beside the quantized one. `round_biases`: to numbers that compress well. `threads` of onnxruntime,
    0 for all cores.
    """

    rate_weight: float = 1.0
    sweeps: int = 2
    fit: bool = True
    asymmetry: float = 0.5
    round_biases: bool = True
    threads: int = 0


def quantize_layers(
    model: Model,
    batches: Iterable[runtime.Inputs],
    steps: Mapping[str, float],
    options: Options = Options(),
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    fine: Mapping[str, RowScales | None] = MappingProxyType({}),
) -> dict[str, np.ndarray]:
    """New values for the tensors that `steps` names, at most 256 distinct in each, and for the biases of their layers.

    A step is the distance between two values, in the tensor's own unit. The layers that `fine` names have as many
    values as their step takes, up to those of a fine codebook; where it gives scales of their rows, the step is in
    units of these (see rows.fine_rows). Tensors that are no layer's weights
    (embeddings, operands of a subgraph, a function or an unknown operator) are rounded without regard to their inputs.
    Raises UnsuitableModel where the graph does not run, or later layers need a value that is no tensor.
    """
    program = read_program(model, model.path or "the model", opaque=True)
    tensors = {tensor.name: tensor for tensor in model.tensors}
    layers = [layer for layer in find_layers(program) if layer.tensor in steps]
    calibrated = {layer.tensor for layer in layers}
    new = {name: _quantize_data_free(tensors[name].values(), steps[name]) for name in steps if name not in calibrated}
    done = len(new)
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(ActivationCache(batches, threads=options.threads))
        original_cache = None
        if options.asymmetry:
            original_cache = stack.enter_context(ActivationCache(cache, threads=options.threads))
        for group in layer_groups(program, layers):
            quantized, original = with_values(model, new), with_values(model, {})
            cache.advance(quantized, group.values)
            if original_cache is not None:
                original_cache.advance(original, group.values)
            # where weights serve several nodes, the inputs of the later ones are those that the original weights give
            inputs = tuple(dict.fromkeys(value for layer in group.layers for value, _ in layer.uses))
            input_batches = cache.compute(quantized, inputs)
            original_batches = None if original_cache is None else original_cache.compute(original, inputs)
            statistics = gather_statistics(group.layers, input_batches, original_batches, cache.samples)
            for layer in group.layers:
                bias = None
                if layer.bias is not None:
                    bias = new[layer.bias] if layer.bias in new else tensors[layer.bias].values()
                weights, step = tensors[layer.tensor].values(), steps[layer.tensor]
                grids = _Grids(layer.tensor in fine, fine.get(layer.tensor))
                new |= _quantize_layer(layer, weights, bias, statistics[layer.tensor], step, options, grids)
                done += 1
                progress(layer.tensor, done, len(steps))
    return new


def gather_statistics(
    layers: Sequence[Layer],
    batches: Iterable[runtime.Inputs],
    original_batches: Iterable[runtime.Inputs] | None,
    samples: int,
) -> dict[str, InputStatistics]:
    """The statistics of each layer's inputs, by tensor, from batches of about `samples` samples in all.

    Layers that lower the same inputs alike share them. `original_batches`: the same values of the original network,
    where calibration is asymmetric.
    """
    asymmetric = original_batches is not None
    accumulators = {layer.uses: Accumulator(layer.groups, layer.in_features, asymmetric) for layer in layers}
    max_positions = {layer.uses: _max_sample_positions(layer, samples) for layer in layers}
    for batch, original in _in_pairs(batches, original_batches):
        for uses, accumulator in accumulators.items():
            for value, lowering in uses:  # each node has its own padding and strides
                original_input = None if original is None else original[value]
                accumulator.add(batch[value], lowering, max_positions[uses], original_input)
    return {layer.tensor: accumulators[layer.uses].statistics() for layer in layers}


def _max_sample_positions(layer: Layer, samples: int) -> int:
    """How many positions of each sample a layer's statistics need."""
    positions = MAX_POSITIONS
    if layer.groups > 1:
        positions = min(MAX_POSITIONS, POSITIONS_PER_FEATURE * layer.in_features)
    return max(MIN_SAMPLE_POSITIONS, positions // max(1, samples))


def _in_pairs(
    batches: Iterable[runtime.Inputs], original_batches: Iterable[runtime.Inputs] | None
) -> Iterator[tuple[runtime.Inputs, runtime.Inputs | None]]:
    if original_batches is None:
        yield from ((batch, None) for batch in prefetch(batches))
    else:
        yield from zip(prefetch(batches), prefetch(original_batches), strict=True)


@dataclass(frozen=True, eq=False)
class _Grids:
    """Which grids a layer's weights may lie on: fine ones, and in units of `row_scales`."""

    are_fine: bool
    row_scales: RowScales | None

    @property
    def fine_bits(self) -> int:
        """As levels.choose_levels takes it."""
        return 0 if not self.are_fine else FLOAT_BITS if self.row_scales is None else SCALED_BITS


def _quantize_layer(
    layer: Layer,
    weights: np.ndarray,
    bias: np.ndarray | None,
    statistics: InputStatistics,
    step: float,
    options: Options,
    grids: _Grids,
) -> dict[str, np.ndarray]:
    """New values for one layer's weights and its bias."""
    before = layer.to_matrices(np.asarray(weights, np.float64))
    centered, parts = bias is not None, statistics.parts
    target = before
    if options.asymmetry:
        target = statistics.asymmetric_target(before, centered, options.asymmetry)
    sizes = row_sizes(layer, grids.row_scales)
    # Few weights, whose errors add up in few products: they are worth their bits, and bits are not what they take.
    is_depthwise = grids.are_fine and layer.groups > 1 and before.shape[2] < MIN_RATED
    quantized = gptq.quantize(
        split_features(target / sizes, parts, 2),
        statistics.hessian(centered),
        grid.round_step(step),
        0.0 if is_depthwise else options.rate_weight,
        options.sweeps,
        options.fit and not is_depthwise,
        grids.fine_bits,
    )
    after = join_features(quantized.values, parts, before.shape[2], 2) * sizes
    new = {layer.tensor: layer.from_matrices(after)}
    if layer.bias is not None and bias is not None:
        corrected = _correct_bias(layer, bias, before, after, statistics)
        if options.round_biases:
            curvature = quantized.curvature.reshape(len(before), -1, 1).mean(1, keepdims=True)
            curvature = np.maximum(curvature, MIN_CURVATURE * curvature.max())
            steps = np.broadcast_to(step * np.sqrt(curvature) * sizes, (*before.shape[:2], 1)).reshape(bias.shape)
            bias_step = np.exp2(np.floor(np.log2(BIAS_STEP * abs(layer.bias_factor) * steps)))  # for short numbers
            corrected = np.rint(corrected / bias_step) * bias_step
        new[layer.bias] = corrected
    return new


def _correct_bias(
    layer: Layer, bias: np.ndarray, before: np.ndarray, after: np.ndarray, statistics: InputStatistics
) -> np.ndarray:
    """The bias with which the mean output stays as it was: W E[x0] - Q E[x] is added to it.

    Bias correction (Nagel et al., "Data-free quantization through weight equalization and bias correction", 2019,
    section 4.2; Finkelstein, Almog and Grobman, "Fighting quantization bias with bias", 2019), with measured means.
    `before` and `after`: W and Q [groups, rows, k].
    """
    shift = before @ statistics.original_mean[:, :, None] - after @ statistics.mean[:, :, None]
    corrected: np.ndarray = np.asarray(bias, np.float64) + layer.bias_factor * shift.reshape(bias.shape)
    return corrected


def _quantize_data_free(weights: np.ndarray, step: float) -> np.ndarray:
    flat = np.asarray(weights, np.float64).ravel()
    shared = share.entropy_constrained(flat, grid.round_step(step))
    values: np.ndarray = shared.centroids[shared.codes].reshape(weights.shape)
    return values
