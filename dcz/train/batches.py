"""Samples -> batches, in an order that a seed and the epoch decide.

    for inputs, labels in Batches({"x": x}, y, size=128, seed=0).epoch(3): ...

Any iterable of batches serves as well, or a function of the epoch's number that gives one.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch

from ..errors import BadPlan


class Batches:
    """Arrays of samples (by input name, samples along the first axis; memory-mapped or not) and their labels, or None.

    `chosen` (int64, None: all) are the samples to use, `shuffle` whether the order changes with the epoch.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], labels=None, *, size=128, seed=0, shuffle=True, chosen=None):
        lengths = {len(array) for array in arrays.values()}
        if len(lengths) != 1 or lengths == {0}:
            raise BadPlan(f"each input wants as many samples, one at least; there are {sorted(lengths)}")
        count = lengths.pop()
        if labels is not None and len(labels) != count:
            raise BadPlan(f"{len(labels)} labels for {count} samples")
        self.arrays, self.labels, self.size, self.seed, self.shuffle = arrays, labels, size, seed, shuffle
        self.chosen = np.arange(count) if chosen is None else np.asarray(chosen)

    def __len__(self) -> int:
        return -(-len(self.chosen) // self.size)

    def epoch(self, number: int) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor | None]]:
        """The batches of an epoch; the same number gives the same ones."""
        order = self.chosen
        if self.shuffle:
            order = np.random.default_rng([self.seed, number]).permutation(order)
        for start in range(0, len(order), self.size):
            rows = np.sort(order[start : start + self.size])  # ascending, so that a mapped file is read in its order
            inputs = {name: torch.from_numpy(np.array(array[rows])) for name, array in self.arrays.items()}
            yield inputs, None if self.labels is None else torch.from_numpy(np.array(self.labels[rows]))

    def split(self, share: float) -> tuple["Batches", "Batches | None"]:
        """These batches without a seeded `share` of the samples, and that share, in a fixed order, or None."""
        held = round(share * len(self.chosen))
        if held == 0 or held == len(self.chosen):
            return self, None
        order = np.random.default_rng(self.seed).permutation(self.chosen)
        options = {"size": self.size, "seed": self.seed}
        return (
            Batches(self.arrays, self.labels, chosen=np.sort(order[held:]), **options),
            Batches(self.arrays, self.labels, chosen=np.sort(order[:held]), shuffle=False, **options),
        )


class Stream:
    """Batches of the user's: an iterable that can be iterated again, or a function from the epoch's number to one.

    A batch is the inputs, or (inputs, labels); inputs are a dict by input name or, of a model with one input, an array.
    """

    def __init__(self, given):
        if iter_once(given):
            raise BadPlan("an iterator gives its batches only once: give a list, a loader, or a function of the epoch")
        self.given = given

    def __len__(self) -> int:
        """Batches an epoch; 0 where that is not known."""
        return len(self.given) if hasattr(self.given, "__len__") else 0

    def epoch(self, number: int) -> Iterator[tuple]:
        """The batches of an epoch."""
        batches: Iterable = self.given(number) if callable(self.given) else self.given
        for batch in batches:
            inputs, labels = batch if isinstance(batch, (tuple, list)) else (batch, None)
            yield inputs, None if labels is None else torch.as_tensor(labels)


def iter_once(given) -> bool:
    """Whether something is an iterator, such as a generator, which is empty after its first epoch."""
    return isinstance(given, Iterator)
