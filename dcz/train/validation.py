"""Loss and error of a network on samples that it is not trained on, and how far the error is to be trusted.

validate(network, loss, batches)    (0.0312, 0.0124)
wilson(0.0124, 5000)                (0.0097, 0.0158), in which the error on more such samples lies
"""

import math

from .batch_stream import BatchStream
from .batches import Batches
from .device import moved
from .losses import Loss
from .network import Network
from .pytorch import torch
from .targets import count_wrong

Z95 = 1.959964  # standard deviations on either side that hold 95 % of a normal distribution


def validate(network: Network, loss: Loss, batches: Batches | BatchStream | None) -> tuple[float, float | None] | None:
    """(mean loss, fraction of wrong top classes); None without batches, the fraction None without class labels."""
    score = measure(network, loss, batches)
    return None if score is None else score[:2]


def measure(
    network: Network, loss: Loss, batches: Batches | BatchStream | None
) -> tuple[float, float | None, int] | None:
    """The same, and the number of answers that the fraction is of."""
    if batches is None:
        return None
    total, wrong, rows, count = 0.0, 0, 0, 0
    with torch.no_grad():
        for inputs, labels in batches.epoch(0):
            tensors = network.as_inputs(inputs)
            outputs, labels = network(tensors), moved(labels, network.device)
            size = network.layout.count(tensors)
            total += size * float(loss(outputs, tensors, labels))
            count += size
            found = count_wrong(network, outputs, labels)
            wrong, rows = wrong + found[0], rows + found[1]
    return total / max(count, 1), wrong / rows if rows else None, rows


def wilson(error: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a fraction (0 to 1) seen in `count` samples, 1 or more.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    square = Z95 * Z95
    center = error + square / (2 * count)
    spread = Z95 * math.sqrt(error * (1 - error) / count + square / (4 * count * count))
    whole = 1 + square / count
    return max(0.0, (center - spread) / whole), min(1.0, (center + spread) / whole)
