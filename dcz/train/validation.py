"""How good a network is on samples that it is not trained on."""

from .batches import Batches, BatchStream
from .losses import Loss, class_rows
from .network import Network
from .pytorch import torch


def validate(network: Network, loss: Loss, batches: Batches | BatchStream | None) -> tuple[float, float | None] | None:
    """Mean loss and share of wrong top classes; None without batches, and the share None without labels of classes."""
    if batches is None:
        return None
    total = wrong = rows = count = 0
    with torch.no_grad():
        for inputs, labels in batches.epoch(0):
            given = network.as_inputs(inputs)
            outputs = network(given)
            size = max((len(each) for each in given.values() if each.dim()), default=1)
            total += size * float(loss(outputs, given, labels))
            count += size
            output = outputs[network.outputs[0]]
            if labels is not None and not labels.is_floating_point() and output.dim() > 1:
                answers = class_rows(output).argmax(1)
                if len(answers) == labels.numel():  # else they are no classes, but a loss of the user's knows them
                    rows += len(answers)
                    wrong += int((answers != labels.reshape(-1)).sum())
    return total / max(count, 1), wrong / rows if rows else None
