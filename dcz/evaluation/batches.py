"""Batches of chosen samples, as a network takes them.

batches = Batches(network, spread(np.arange(1000), 64))     64 of 1000 samples, evenly
for batch in batches: ...                                   {input name: array}
"""

from collections.abc import Sequence

import numpy as np

from ..errors import BadPlan
from . import runtime
from .predictor import Predictor


class SampleBatches(Sequence):
    """Batches of the `chosen` samples (int64) of a network, read anew each time they are asked for.

    They hold `most` samples at most; where the network's batch is fixed, the last one is filled up with the last
    sample.
    """

    def __init__(self, network: Predictor, chosen: np.ndarray, most: int = runtime.BATCH):
        self._network, self.chosen = network, chosen
        self.size = network.fixed or min(most, len(chosen))

    def __len__(self) -> int:
        return -(-len(self.chosen) // self.size)

    def __getitem__(self, number: int) -> runtime.Inputs:
        if not 0 <= number < len(self):
            raise IndexError(number)
        rows = self.rows(number)
        found = self._network.batch(rows, self._network.fixed or len(rows))
        for name, array in found.items():
            if array.dtype.kind == "f" and np.isnan(array).any():
                path = self._network.samples.path
                raise BadPlan(f"{path}: input {name!r} holds NaN in samples {rows[0]} to {rows[-1]}: leave these out")
        return found

    def rows(self, number: int) -> np.ndarray:
        """Which samples a batch holds, but for what fills it up."""
        return self.chosen[number * self.size : (number + 1) * self.size]


def evenly_spaced(chosen: np.ndarray, most: int) -> np.ndarray:
    """`most` of the samples at most, evenly: files often hold one kind of samples after another."""
    return chosen[np.linspace(0, len(chosen) - 1, min(most, len(chosen))).astype(np.int64)]
