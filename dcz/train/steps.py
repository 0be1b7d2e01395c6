"""One step of training: the gradients of a batch, the optimizer, weight decay.

optimizer = make_optimizer(network, "sgd", rate, momentum=0.9)
value = backward(network, loss, inputs, labels)       NaN: do not step
decay(network, rate * 1e-4)
optimizer.step()
"""

import math
from typing import Any

from ..errors import InvalidArgument
from .batches import Labels
from .device import mixed_outputs, moved
from .losses import Loss
from .network import Network
from .pytorch import torch


def make_optimizer(network: Network, name: str, rate: float, momentum: float) -> torch.optim.Optimizer:
    """The optimizer of all parameters: "adam", or "sgd" with Nesterov's momentum, if any."""
    parameters = list(network.parameters())
    if name == "adam":
        return torch.optim.Adam(parameters, rate)
    return torch.optim.SGD(parameters, rate, momentum=momentum, nesterov=momentum > 0)


def backward(network: Network, loss: Loss, inputs: Any, labels: Labels | None) -> float:
    """The loss of a batch; where it is finite, the parameters have its gradients.

    Raises InvalidArgument for a loss that has none.
    """
    network.zero_grad(set_to_none=True)
    tensors = network.as_inputs(inputs)
    result = loss(mixed_outputs(network, tensors), tensors, moved(labels, network.device))
    if not result.requires_grad:
        raise InvalidArgument(
            "the loss has no gradient: it depends on no trained weight, or only by way of whole numbers, such as "
            "ArgMax gives; give a model that ends before them, or another loss"
        )
    if math.isfinite(value := float(result.detach())):
        torch.autograd.backward(result)
    return value


def decay(network: Network, amount: float) -> None:
    """Shrink the weights, but not biases, scales and centroids, by `amount`, a fraction of each (Loshchilov and Hutter,
    "Decoupled Weight Decay Regularization", 2019)."""
    if amount:
        with torch.no_grad():
            for weight in network:
                if weight.is_weight and not weight.shared:
                    weight.values.mul_(1 - amount)


def is_finite(network: Network) -> bool:
    """Whether all parameters are numbers."""
    return all(bool(torch.isfinite(values).all()) for values in network.parameters())
