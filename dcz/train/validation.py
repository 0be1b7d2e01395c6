"""Loss and error of a network on samples that it is not trained on."""

from .batches import Batches, BatchStream
from .device import moved
from .losses import Loss
from .network import Network
from .pytorch import torch
from .targets import count_wrong


def validate(network: Network, loss: Loss, batches: Batches | BatchStream | None) -> tuple[float, float | None] | None:
    """(mean loss, fraction of wrong top classes); None without batches, the fraction None without class labels."""
    if batches is None:
        return None
    total, wrong, rows, count = 0.0, 0, 0, 0
    with torch.no_grad():
        for inputs, labels in batches.epoch(0):
            tensors = network.as_inputs(inputs)
            outputs, labels = network(tensors), moved(labels, network.device)
            size = max((len(tensor) for tensor in tensors.values() if tensor.dim()), default=1)
            total += size * float(loss(outputs, tensors, labels))
            count += size
            found = count_wrong(network, outputs, labels)
            wrong, rows = wrong + found[0], rows + found[1]
    return total / max(count, 1), wrong / rows if rows else None
