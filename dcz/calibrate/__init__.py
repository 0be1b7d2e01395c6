"""Calibration on unlabelled inputs: weights are rounded so that the outputs of their layers change least.

    curves = measure_curves(model, batches, names)              one tensor rounded at a time, the answers watched
    steps = allocate.steps_for_bits(curves, 3 * weights)        a bit buys as much in every tensor
    quantize_layers(model, batches, steps)                      {name of a tensor: new values}

Layers go in the order of the graph, each on the inputs that the already rounded part gives. Memory holds one batch, the
model, and the statistics of the layers whose inputs become known together.
"""

from .divergence import Divergence
from .layerwise import Options, quantize_layers
from .rate_distortion import measure_curves, measure_divergences
from .rows import fine_rows

__all__ = ["Divergence", "Options", "fine_rows", "measure_curves", "measure_divergences", "quantize_layers"]
