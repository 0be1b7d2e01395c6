"""What a bit buys in each tensor: how far a network's answers move when its tensors change, one at a time.

measure_divergences(model, batches, {name: {name: new values}})        measured at the output
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from ..evaluation import runtime
from ..model import Model, WorkingCopy, read_program
from .divergence import Divergence
from .layers import find_layers
from .padding import Padding
from .schedule import ActivationCache, layer_groups, prefetch

# Samples on which each tensor is tried alone. A few of them make most of a mean divergence: of a ResNet-32, allocation
# by 64 leaves five sixths of the divergence that it leaves by 15, in as many bytes. Fewer will do where each sample
# has many answers; and of networks of many tensors, each is tried on fewer, so that all trials together take no more
# than MAX_RUNS: as long for each layer, however many there are.
TRIAL_SAMPLES, FEWER_TRIAL_SAMPLES, MANY_ANSWERS = 96, 12, 16
MAX_RUNS, LEAST_TRIAL_SAMPLES = 2560, 4


def measure_divergences(
    model: Model,
    batches: Iterable[runtime.Inputs],
    trials: Mapping[str, Mapping[str, np.ndarray]],
    threads: int = 0,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> dict[str, float]:
    """How far the network's answers move when only the tensors of one trial are replaced: see Divergence.

    `trials`: the name of a tensor -> new values for it, and for others that go with it.
    """
    program = read_program(model, model.path or "the model", opaque=True)
    plain, changed = WorkingCopy(model), WorkingCopy(model)
    layers = [layer for layer in find_layers(program) if layer.tensor in trials]
    measured: dict[str, float] = {}
    with ActivationCache(batches, threads=threads) as cache:
        comparison = Comparison(cache, plain, program.outputs)
        of_layers = {layer.tensor for layer in layers}

        def measure(tensor: str) -> None:
            measured[tensor] = comparison.divergence(changed, trials[tensor])
            progress(tensor, len(measured), len(trials))

        for tensor in (tensor for tensor in trials if tensor not in of_layers):
            measure(tensor)
        for group in layer_groups(program, layers):
            cache.advance(plain, group.values)
            for layer in group.layers:
                measure(layer.tensor)
    return {tensor: measured[tensor] for tensor in trials}


class Comparison:
    """The original's answers to some batches of a cache (all, where no `numbers` are given), and how far those of
    changed models are from them, computed from where the cache has come to.

    The cache holds the inputs yet. `names`: of the outputs. `padding`: answers to what it leaves out do not count.
    `answers`: those of the original, where they are known.
    """

    def __init__(
        self,
        cache: ActivationCache,
        plain: WorkingCopy,
        names: Sequence[str],
        numbers: Sequence[int] | None = None,
        padding: Padding | None = None,
        answers: Iterable[runtime.Inputs] | None = None,
    ):
        self._cache, self.names, self._numbers, self._padding = cache, names, numbers, padding
        masks = [] if padding is None else padding.masks(cache)
        self._masks = masks if numbers is None else [masks[number] for number in numbers if masks]
        self._answers = list(cache.compute(plain, names, numbers) if answers is None else answers)

    def divergence(self, copy: WorkingCopy, values: Mapping[str, np.ndarray]) -> float:
        """The mean divergence of the answers with these values in the copy, which is as it was afterwards."""
        copy.put(values)
        changed = list(values)
        del values  # which the copy has: they may be much of the model
        mean = self.compare(self._cache.compute(copy, self.names, self._numbers))
        copy.restore(changed)
        return mean

    def compare(self, answers: Iterable[runtime.Inputs]) -> float:
        """The mean divergence of answers, batch by batch."""
        total = Divergence()
        masks = itertools.chain(self._masks, itertools.repeat(None))
        for before, after, mask in zip(self._answers, prefetch(answers), masks, strict=False):
            for name in self.names:
                pair = before[name], after[name]
                if self._padding is not None and mask is not None:
                    pair = (self._padding.without(mask, name, pair[0]), self._padding.without(mask, name, pair[1]))
                total.add(name, *pair)
        return total.mean


def trial_batches(cache: ActivationCache, plain: WorkingCopy, names: Sequence[str], tensors: int) -> list[int]:
    """The numbers of batches from all over the cache, of as many samples as it takes to compare so many tensors."""
    size = max(1, round(cache.samples / len(cache)))
    answers = Divergence()
    for batch in cache.compute(plain, names, [0]):
        for name in names:
            answers.add(name, batch[name], batch[name])
    samples = trial_samples(answers.positions / size, tensors)
    chosen = np.linspace(0, len(cache) - 1, min(len(cache), max(1, samples // size)))
    return [int(number) for number in chosen]


def trial_samples(answers: float, tensors: int) -> int:
    """On how many samples, of so many answers each, so many tensors are compared."""
    samples = FEWER_TRIAL_SAMPLES if answers >= MANY_ANSWERS else TRIAL_SAMPLES
    return min(samples, max(LEAST_TRIAL_SAMPLES, MAX_RUNS // max(1, tensors)))
