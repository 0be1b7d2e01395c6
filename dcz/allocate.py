"""How to spend error over the tensors of a model.

Without data, a layer's effect on the output is reckoned as its relative squared error. Lagrange then gives each layer
an error in proportion to its number of weights: small layers are coded finely, big ones pay for it.
"""

import math
from collections.abc import Mapping, Sequence

# A layer is coded at most 12 dB (two bits a weight) more finely than the average and 3 dB more coarsely: for tiny
# layers a longer codebook would eat the gain, and the reckoning is rough.
FINER, COARSER = 12.0, 3.0


def by_size(sizes: Sequence[int], quality: float) -> list[float]:
    """Decibels of weight error for tensors of these `sizes` (elements), so that the mean over weights is `quality`.

    With relative error e_l = s * n_l, the slope d(sum e) / d(bits) is the same for every layer; s is chosen so that the
    mean of e_l over all weights is 10^(-quality / 10), before clipping.
    """
    if not sizes:
        return []
    mean = sum(size * size for size in sizes) / sum(sizes)
    gains = (min(FINER, max(-COARSER, 10 * math.log10(mean / size))) for size in sizes)
    return [min(quality + gain, max(quality, _worth_sharing(size))) for gain, size in zip(gains, sizes)]


def _worth_sharing(size: int) -> float:
    """The quality at which a tensor of `size` normally distributed weights has about one level for two weights.

    Any finer, and sharing saves nothing. They span about 5.8 deviations, a level takes sqrt(12) * 10^(-quality / 20).
    """
    return 20 * math.log10(size) - 9


def by_divergence(
    sizes: Mapping[str, int], divergences: Mapping[str, float], trials: Mapping[str, float]
) -> dict[str, float]:
    """A step for each tensor, of these `sizes` (elements), so that a bit spent on any of them moves the answers alike.

    `divergences` are how far the answers moved when each tensor alone was rounded at its step of `trials`. They grow
    with the square of the step, and a tensor's bits with its size times minus the logarithm of it: the slopes are equal
    where step^2 is in proportion to size / (divergence / trial^2). The mean of the logarithms of the steps over
    all weights, and so about the bytes, stays that of the trials.
    """
    floor = max(divergences.values(), default=0.0) * 1e-6 + 1e-30  # a tensor that moves nothing is not free of risk
    raw = {
        name: trial * math.sqrt(sizes[name] / max(divergences[name], floor)) for name, trial in trials.items()
    }
    total = sum(sizes[name] for name in trials)
    shift = sum(sizes[name] * math.log(raw[name] / trials[name]) for name in trials) / max(1, total)
    return {name: step / math.exp(shift) for name, step in raw.items()}
