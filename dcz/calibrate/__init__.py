"""What unlabelled inputs tell: statistics of each layer's inputs, and weights rounded so that its outputs change least.

    calibrated(load("net.onnx"), batches, steps)  ->  {name of a tensor: new values, at most 256 distinct}

Layers go in the order of the graph, each on the inputs that the already rounded part gives. Memory holds one batch, the
model, and the statistics of the layers whose inputs become known together.
"""

from .compress import Options, calibrated, curves, divergences
from .layers import Layer, find

__all__ = ["Layer", "Options", "calibrated", "curves", "divergences", "find"]
