"""Batches of some samples of a data file, as a model takes them.

batches = SampleBatches(predictor, evenly_spaced(np.arange(1000), 64))     64 of 1000 samples, evenly
for batch in batches: ...                                                  {input name: array}
"""

import math
from collections.abc import Sequence
from typing import overload

import numpy as np

from ..errors import InvalidArgument
from . import runtime
from .predictor import Predictor


class SampleBatches(Sequence[runtime.Inputs]):
    """Batches of the samples at `indices` (int64 [n]), read from the file each time that one is asked for.

    They hold `max_size` samples at most. Where the model's batch is fixed, the last one is filled up with its last
    sample.
    """

    def __init__(self, predictor: Predictor, indices: np.ndarray, max_size: int = runtime.BATCH):
        self._predictor, self.indices = predictor, indices
        self.size = predictor.fixed_batch or min(max_size, len(indices))

    def __len__(self) -> int:
        return math.ceil(len(self.indices) / self.size)

    @overload
    def __getitem__(self, number: int) -> runtime.Inputs: ...

    @overload
    def __getitem__(self, number: slice) -> list[runtime.Inputs]: ...

    def __getitem__(self, number: int | slice) -> runtime.Inputs | list[runtime.Inputs]:
        """The inputs of one batch; raises InvalidArgument where they hold NaN."""
        if isinstance(number, slice):
            return [self[each] for each in range(len(self))[number]]
        if not 0 <= number < len(self):
            raise IndexError(number)
        indices = self.indices_of(number)
        inputs = self._predictor.inputs_of(indices, self._predictor.fixed_batch or len(indices))
        for name, array in inputs.items():
            if array.dtype.kind == "f" and np.isnan(array).any():
                path = self._predictor.samples.path
                raise InvalidArgument(
                    f"{path}: input {name!r} holds NaN in samples {indices[0]} to {indices[-1]}: leave these out"
                )
        return inputs

    def indices_of(self, number: int) -> np.ndarray:
        """The indices of a batch's samples, without those that fill it up: int64."""
        return self.indices[number * self.size : (number + 1) * self.size]


def evenly_spaced(indices: np.ndarray, count: int) -> np.ndarray:
    """`count` of the indices at most, evenly: files often hold one kind of samples after another."""
    return np.asarray(indices[np.linspace(0, len(indices) - 1, min(count, len(indices))).astype(np.int64)])
