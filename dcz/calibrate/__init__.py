"""What unlabelled inputs tell: statistics of each layer's inputs, and weights rounded so that its outputs change least.

    found = curves(model, batches, names)                     one layer rounded at a time, the answers watched
    steps = allocate.by_bits(found, 3 * weights)              a bit buys as much in every tensor
    calibrated(model, batches, steps)                         {name of a tensor: new values, at most 256 distinct}

Layers go in the order of the graph, each on the inputs that the already rounded part gives. Memory holds one batch, the
model, and the statistics of the layers whose inputs become known together.
"""

from .divergence import Divergence
from .layers import Layer, find
from .layerwise import Options, calibrated
from .rate_distortion import curves, divergences

__all__ = ["Divergence", "Layer", "Options", "calibrated", "curves", "divergences", "find"]
