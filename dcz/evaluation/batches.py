"""Batches of some samples of a data file, as a model takes them.

batches = SampleBatches(predictor, evenly_spaced(np.arange(1000), 64))     64 of 1000 samples, evenly
for batch in batches: ...                                                  {input name: array}
"""

from collections.abc import Sequence
from typing import overload

import numpy as np

from ..errors import InvalidArgument
from . import runtime
from .predictor import Predictor, named_samples


class SampleBatches(Sequence[runtime.Inputs]):
    """Batches of the samples at `indices` (int64 [n]), read from the file each time that one is asked for.

    They hold `max_size` samples at most, all of one shape, in the order of `indices`; those of another shape follow.
    Where the model's batch is fixed, the last one is filled up with its last sample.
    """

    def __init__(self, predictor: Predictor, indices: np.ndarray, max_size: int = runtime.BATCH):
        self._predictor, self.indices = predictor, indices
        self._runs = predictor.runs(indices, max_size)

    def __len__(self) -> int:
        return len(self._runs)

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
        inputs = self._predictor.feed.inputs(indices)
        for name, array in inputs.items():
            if array.dtype.kind == "f" and (is_nan := np.isnan(array)).any():
                path, found = self._predictor.samples.path, self._predictor.feed.samples_where(name, is_nan)
                named = named_samples(indices[found[: len(indices)]] if len(found) > 1 else indices)
                raise InvalidArgument(f"{path}: input {name!r} holds NaN in {named}: leave out what does")
        return inputs

    def indices_of(self, number: int) -> np.ndarray:
        """The indices of a batch's samples, without those that fill it up: int64."""
        return self._runs[number]

    def size_of(self, number: int) -> int:
        """The samples of a batch, with those that fill it up."""
        return self._predictor.feed.size_of(self._runs[number])


def evenly_spaced(indices: np.ndarray, count: int) -> np.ndarray:
    """`count` of the indices at most, evenly: files often hold one kind of samples after another."""
    return np.asarray(indices[np.linspace(0, len(indices) - 1, min(count, len(indices))).astype(np.int64)])
