"""Loss and error of a network on samples that it is not trained on."""

from .batches import Batches, BatchStream
from .losses import Loss, class_rows
from .network import Network
from .pytorch import torch


def validate(network: Network, loss: Loss, batches: Batches | BatchStream | None) -> tuple[float, float | None] | None:
    """(mean loss, fraction of wrong top classes); None without batches, the fraction None without class labels."""
    if batches is None:
        return None
    total, wrong, rows, count = 0.0, 0, 0, 0
    with torch.no_grad():
        for inputs, labels in batches.epoch(0):
            tensors = network.as_inputs(inputs)
            outputs = network(tensors)
            size = max((len(tensor) for tensor in tensors.values() if tensor.dim()), default=1)
            total += size * float(loss(outputs, tensors, labels))
            count += size
            output = outputs[network.outputs[0]]
            if labels is not None and not labels.is_floating_point() and output.dim() > 1:
                answers = class_rows(output).argmax(1)
                if len(answers) == labels.numel():  # else they are no classes; the caller's own loss may still use them
                    rows += len(answers)
                    wrong += int((answers != labels.reshape(-1)).sum())
    return total / max(count, 1), wrong / rows if rows else None
