"""Whether an epoch has done more harm than the pruning in it explains.

is_spoiled(network, last, 0.31, 2.7, loss_of)      the rate is too high for this network
"""

from collections.abc import Callable
from typing import Any

from .network import Network

MAX_RISE, MIN_RISE = 1.5, 0.1  # times the loss before, and nats more: what a high rate costs, and its fall mends


def is_spoiled(
    network: Network, last: dict[str, Any], before: float, after: float, validation_loss: Callable[[], float]
) -> bool:
    """Whether the loss `after` an epoch is far above that `before`, and above that of the network as it was then, its
    state `last`, once the weights are pruned that the epoch has pruned.

    `validation_loss` measures the network as it is. Optimizers must be made anew.
    """
    if after <= MAX_RISE * before + MIN_RISE:
        return False
    now, masks = network.state(), {weight.name: weight.mask for weight in network}
    network.restore(last)
    for weight in network:
        if (mask := masks[weight.name]) is not None:
            weight.prune(mask)
    explained = validation_loss()
    network.restore(now)
    return after > MAX_RISE * explained + MIN_RISE
