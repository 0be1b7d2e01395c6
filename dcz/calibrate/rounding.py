"""One layer's weights and bias rounded, by the statistics of its inputs.

round_layer(layer, weights, bias, statistics, 0.02, Options(), Grids())   ->   {name: new values}, the bias's too
"""

from dataclasses import dataclass

import numpy as np

from ..codec.pairs import take_in_chunks
from ..codec.stages import grid, share
from ..codec.stages.scale import RowScales
from ..encoded import MAX_ENTRIES
from . import gptq
from .hessian import InputStatistics, join_features, split_features
from .layers import Layer
from .levels import FLOAT_BITS, SCALED_BITS, choose_levels, min_step
from .rows import along_axis, row_sizes

BIAS_STEP = 0.25  # of the error that rounding the weights leaves: a bias errs alike everywhere, at little cost
MIN_CURVATURE = 1e-6  # of the largest among a layer's groups, below which a bias is as good as rounded finely enough
MIN_RATED = 64  # weights in each row of a layer in groups, from which bits count


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


@dataclass(frozen=True, eq=False)
class Grids:
    """Which grids a layer's weights may lie on: fine ones, and in units of `row_scales`."""

    are_fine: bool = False
    row_scales: RowScales | None = None

    @property
    def fine_bits(self) -> int:
        """As levels.choose_levels takes it."""
        return 0 if not self.are_fine else FLOAT_BITS if self.row_scales is None else SCALED_BITS


def round_layer(
    layer: Layer,
    weights: np.ndarray,
    bias: np.ndarray | None,
    statistics: InputStatistics,
    step: float,
    options: Options,
    grids: Grids,
) -> dict[str, np.ndarray]:
    """New values for one layer's weights and its bias, by the names of their tensors."""
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


def round_data_free(weights: np.ndarray, step: float, row_scales: RowScales | None = None) -> np.ndarray:
    """The weights of no layer, rounded without regard to inputs; the step is in units of the scales of their rows, with
    which the codebook may be a fine one."""
    sizes = None if row_scales is None else along_axis(row_scales).astype(weights.dtype)
    scaled: np.ndarray = weights if sizes is None else weights / sizes
    del weights  # tables may be most of a model
    is_wide = sizes is not None and np.ptp(scaled) > MAX_ENTRIES * step
    if sizes is not None and is_wide and step < min_step(scaled):  # the coarsest rows would have few of 256 levels
        step = choose_levels(scaled, step, SCALED_BITS)[1]
        scaled /= step
        np.rint(scaled, out=scaled)
        scaled += 0.0  # -0.0 is on no grid
        scaled *= step
        scaled *= sizes
        return scaled
    shared = share.entropy_constrained(scaled.ravel(), grid.round_step(step))
    values = np.empty(scaled.shape, scaled.dtype) if sizes is None else scaled
    take_in_chunks(shared.centroids.astype(values.dtype), shared.codes, values.reshape(-1))
    if sizes is not None:
        values *= sizes
    return values


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
