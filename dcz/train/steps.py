"""One step of training: the gradients of a batch, the optimizer, weight decay.

optimizer = make_optimizer(network, "sgd", rate, momentum=0.9)
value = backward(network, loss, inputs, labels)       NaN: do not step
decay(network, rate * 1e-4)
optimizer.step()

Samples of different shapes are several batches to one step: in_steps, backward_all.
"""

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from ..errors import InvalidArgument
from .batches import Labels
from .device import mixed_outputs, moved
from .layout import Layout
from .losses import Loss
from .network import Network
from .pytorch import torch

# A level of a grid lies where the rate-distortion curve wants it, and is that of many weights, which a step of Adam
# moves all together: at the rate of the weights, the levels of a transformer undid what these learned.
LEVEL_RATE = 0.05

Batch: TypeAlias = tuple[Any, Labels | None]  # inputs, labels


def make_optimizer(
    network: Network, name: str, rate: float, momentum: float, on_grid: Collection[str] = ()
) -> torch.optim.Optimizer:
    """The optimizer of all parameters: "adam", or "sgd" with Nesterov's momentum, if any.

    The levels of the tensors in `on_grid` (names) that are shared move at LEVEL_RATE of the rate.
    """
    levels = [weight.values for weight in network if weight.shared and weight.name in on_grid]
    numbers = {id(values) for values in levels}
    groups: list[dict[str, Any]] = [{"params": [each for each in network.parameters() if id(each) not in numbers]}]
    groups += [{"params": levels, "factor": LEVEL_RATE}] if levels else []
    if name == "adam":
        return torch.optim.Adam(groups, rate)
    return torch.optim.SGD(groups, rate, momentum=momentum, nesterov=momentum > 0)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters, each by its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)


def in_steps(batches: Iterable[Batch], layout: Layout, size: int) -> Iterator[list[Batch]]:
    """Batches in groups, for a step each: those that begin within the same `size` samples, as a batch of this size is
    a group by itself."""

    def numbered() -> Iterator[tuple[int, Batch]]:
        count = 0
        for batch in batches:
            yield count // size, batch
            count += layout.count(batch[0])

    for _, group in itertools.groupby(numbered(), lambda pair: pair[0]):
        yield [batch for _, batch in group]


def backward_all(network: Network, loss: Loss, batches: Sequence[Batch]) -> float:
    """The mean loss of the samples of some batches, as backward has that of one."""
    if len(batches) == 1:
        return backward(network, loss, *batches[0])
    counts = [network.layout.count(network.as_inputs(inputs)) for inputs, _ in batches]
    network.zero_grad(set_to_none=True)
    value = 0.0
    with network.held():
        for (inputs, labels), count in zip(batches, counts, strict=True):
            share = count / sum(counts)
            value += share * _add_gradients(network, loss, inputs, labels, share)
            if not math.isfinite(value):
                break
    return value


def backward(network: Network, loss: Loss, inputs: Any, labels: Labels | None) -> float:
    """The loss of a batch; where it is finite, the parameters have its gradients.

    Raises InvalidArgument for a loss that has none.
    """
    network.zero_grad(set_to_none=True)
    return _add_gradients(network, loss, inputs, labels, 1.0)


def _add_gradients(network: Network, loss: Loss, inputs: Any, labels: Labels | None, share: float) -> float:
    """The loss of a batch; where it is finite, add `share` of its gradients to those of the parameters."""
    tensors = network.as_inputs(inputs)
    result = loss(mixed_outputs(network, tensors), tensors, moved(labels, network.device))
    if not result.requires_grad:
        raise InvalidArgument(
            "the loss has no gradient: it depends on no trained weight, or only by way of whole numbers, such as "
            "ArgMax gives; give a model that ends before them, or another loss"
        )
    if math.isfinite(value := float(result.detach())):
        torch.autograd.backward(result if share == 1 else share * result)
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
