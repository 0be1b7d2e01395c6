"""Calibration on unlabelled inputs: weights are rounded so that the outputs of their layers change least.

    with survey(model, batches, names) as found:         one walk: what a bit buys in each tensor, each layer's inputs
        steps = allocate.steps_for_bits(found.curves, 3 * weights)
        found.round(steps)                               {name of a tensor: new values}, quickly, by what was seen
    quantize_layers(model, batches, steps)               the same in a walk of its own, and better

Layers go in the order of the graph, each on the inputs that the already rounded part gives. Memory holds one batch, the
statistics of the layers whose inputs become known together, and what of the model is looked at (model.move_apart).
"""

from .divergence import Divergence
from .layerwise import Steering, quantize_layers
from .lookups import count_lookups, find_tables, saves_bits, scales_by_use, tells_use
from .padding import Padding, find_mask, find_padding
from .rate_distortion import measure_divergences, trial_samples
from .rounding import Options
from .rows import fine_rows
from .survey import Survey, measure_curves, survey

__all__ = [
    "Divergence", "Options", "Padding", "Steering", "Survey", "count_lookups", "find_mask", "find_padding",
    "find_tables", "fine_rows", "measure_curves", "measure_divergences", "quantize_layers", "saves_bits",
    "scales_by_use", "survey", "tells_use", "trial_samples",
]  # fmt: skip
