"""Statistics of the inputs of layers, from batches of the values that these read.

gather_statistics(layers, batches, None, samples=250)   ->   {"conv1.weight": InputStatistics}
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ..evaluation import runtime
from .hessian import MAX_FEATURES, Accumulator, InputStatistics
from .im2col import Dense
from .layers import Layer
from .padding import Padding
from .schedule import prefetch

# Positions that a layer's statistics are from: 32 for each number of x tell its H as well as hundreds, neighbours being
# much alike; and how many in all at least and at most, and of each sample at least.
POSITIONS_PER_FEATURE = 32
MIN_POSITIONS, MAX_POSITIONS, MIN_SAMPLE_POSITIONS = 1 << 14, 1 << 18, 16
GROUP_POSITIONS_PER_FEATURE = 256  # where every group has statistics of its own, of few numbers


def gather_statistics(
    layers: Sequence[Layer],
    batches: Iterable[runtime.Inputs],
    original_batches: Iterable[runtime.Inputs] | None,
    samples: int,
    padding: Padding | None = None,
    masks: Iterable[np.ndarray] = (),
) -> dict[str, InputStatistics]:
    """The statistics of each layer's inputs, by tensor, from batches of about `samples` samples in all.

    Layers that lower the same inputs alike share them. `original_batches`: the same values of the original network,
    where calibration is asymmetric. `padding`: what says where padding lies, by the mask of each batch.
    """
    asymmetric = original_batches is not None
    accumulators = {layer.uses: Accumulator(layer.groups, layer.in_features, asymmetric) for layer in layers}
    max_positions = {layer.uses: _max_sample_positions(layer, samples) for layer in layers}
    every_mask = iter(masks)
    for batch, original in _in_pairs(batches, original_batches):
        mask = next(every_mask, None)
        for uses, accumulator in accumulators.items():
            for value, lowering in uses:  # each node has its own padding and strides
                x, x0 = batch[value], None if original is None else original[value]
                if padding is not None and mask is not None and isinstance(lowering, Dense):
                    most = max_positions[uses] * len(mask)
                    x, x0, lowering = _without_padding(padding, mask, value, lowering, x, x0, most)
                accumulator.add(x, lowering, max_positions[uses], x0)
    statistics = {uses: accumulator.statistics() for uses, accumulator in accumulators.items()}
    return {layer.tensor: statistics[layer.uses] for layer in layers}


def _without_padding(
    padding: Padding,
    mask: np.ndarray,
    value: str,
    lowering: Dense,
    x: np.ndarray,
    original: np.ndarray | None,
    max_positions: int,
) -> tuple[np.ndarray, np.ndarray | None, Dense]:
    """The positions of a batch that are no padding, `max_positions` of them at most, and how they are lowered; the
    batch as it is where that is not known."""
    kept = padding.kept(mask, value, lowering.axis, x)
    if kept is None:
        return x, original, lowering
    step = max(1, -(-len(kept) // max_positions))
    if original is not None and original.shape == x.shape:
        original = padding.kept(mask, value, lowering.axis, original)
        original = None if original is None else original[::step]
    return kept[::step], original, Dense(-1)


def _max_sample_positions(layer: Layer, samples: int) -> int:
    """How many positions of each sample a layer's statistics need."""
    if layer.groups > 1:
        positions = GROUP_POSITIONS_PER_FEATURE * layer.in_features
    else:
        positions = max(MIN_POSITIONS, POSITIONS_PER_FEATURE * min(layer.in_features, MAX_FEATURES))
    return max(MIN_SAMPLE_POSITIONS, min(MAX_POSITIONS, positions) // max(1, samples))


def _in_pairs(
    batches: Iterable[runtime.Inputs], original_batches: Iterable[runtime.Inputs] | None
) -> Iterator[tuple[runtime.Inputs, runtime.Inputs | None]]:
    if original_batches is None:
        yield from ((batch, None) for batch in prefetch(batches))
    else:
        yield from zip(prefetch(batches), prefetch(original_batches), strict=True)
