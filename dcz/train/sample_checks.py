"""Samples that fit neither the network nor the loss, told by their files before training takes its time.

check_tokens(network, batches)          sentences/04.npz: input 'ids' holds 25, and the table that it chooses from ...
check_shapes(network, loss, batches)    sentences/04.npz: 2 labels for 3 rows of classes
"""

import numpy as np

from ..errors import DczError, InvalidArgument
from ..evaluation.casting import NUMBERS
from ..evaluation.kinds import GraphKinds
from .batches import Batches
from .device import moved
from .losses import Loss
from .network import Network
from .pytorch import torch

MAX_SHAPES = 256  # of inputs and labels, one sample of each of which is run


def check_tokens(network: Network, batches: Batches) -> None:
    """Raise InvalidArgument for whole numbers that lie beyond the table that an input chooses from.

    The graph tells the table's size; as it may change the numbers before, the network has to refuse the sample, too.
    """
    for name, rows in GraphKinds(network.source.proto).index_limits.items():
        first = 0
        for arrays, count in zip(batches.samples.arrays, batches.samples.counts, strict=True):
            array, axis = arrays[name], batches.samples.axes[name]
            beyond = (array < -rows) | (array >= rows) if array.dtype.kind in NUMBERS else np.zeros(0, bool)
            if beyond.any():
                place = np.argwhere(beyond)[0]
                sample = first + (0 if axis is None or array.shape[axis] == 1 else int(place[axis]))
                if not _is_run(network, batches, sample):
                    raise InvalidArgument(
                        f"{batches.samples.place(sample)}: input {name!r} holds {array[tuple(place)]}, and the table "
                        f"that it chooses from has {rows:,} rows: give numbers from 0 to {rows - 1:,}"
                    )
            first += count


def _is_run(network: Network, batches: Batches, sample: int) -> bool:
    """Whether the network takes a sample."""
    try:
        with torch.no_grad():
            network(batches.batch(np.array([sample]))[0])
    except DczError:
        return False
    return True


def check_shapes(network: Network, loss: Loss, batches: Batches) -> None:
    """Where samples differ in shape, raise InvalidArgument for the first that the network, or the loss, does not
    take; of MAX_SHAPES shapes, one sample of each."""
    samples = batches.of_each_shape()[:MAX_SHAPES]
    for sample in samples if len(samples) > 1 else ():
        inputs, labels = batches.batch(np.array([sample]))
        try:
            with torch.no_grad():
                tensors = network.as_inputs(inputs)
                loss(network(tensors), tensors, moved(labels, network.device))
        except DczError as error:
            raise InvalidArgument(f"{batches.samples.place(sample)}: {error}") from error
