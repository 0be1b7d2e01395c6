"""How to spend error over the tensors of a model, without data.

Nothing tells then which tensor's errors the answers feel. Equal absolute error everywhere takes the fewest bits for an
error of all weights together, and ruins layers whose weights are small; relative error in proportion to a tensor's size
would be right if every layer's relative error harmed alike, and spoils large layers. Between the two lies what was best
on average on four networks: see `by_size`.
"""

import math
from collections.abc import Sequence

# The step of a tensor's grid is in proportion to (root mean square of its weights)^MAGNITUDE * (their number)^COUNT.
# 0, 0 is equal absolute error; 1, 0.5 relative error by size. Of a dozen pairs, on SqueezeNet, magika and two PP-OCR
# networks at 2.5 to 4.6 bits a weight, this one moved the answers least on average; the best of each was near it.
MAGNITUDE, COUNT = 0.75, 0.4
# A tensor is coded at most so many decibels more finely or coarsely than the average: the reckoning is rough.
FINER, COARSER = 24.0, 9.0


def by_size(sizes: Sequence[int], squares: Sequence[float], quality: float) -> list[float]:
    """Decibels of weight error for tensors of these `sizes` (elements) and mean `squares`, so that the mean of the
    relative squared error over all weights is `quality` decibels below 1.

    The relative squared error of a tensor is in proportion to size^(2 COUNT) * square^(MAGNITUDE - 1), within FINER and
    COARSER of what it is on average. A tensor of zeros has no error.
    """
    coarser = [
        10 * math.log10(size ** (2 * COUNT) * square ** (MAGNITUDE - 1)) if square > 0 else 0.0
        for size, square in zip(sizes, squares, strict=True)
    ]
    weights = sum(size for size, square in zip(sizes, squares) if square > 0)
    if not weights:
        return [quality for _ in sizes]

    def mean(terms) -> float:
        return math.fsum(size * term for size, term, square in zip(sizes, terms, squares) if square > 0) / weights

    middle = mean(coarser)
    coarser = [min(COARSER, max(-FINER, each - middle)) for each in coarser]
    shift = 10 * math.log10(mean([10 ** (each / 10) for each in coarser]))
    gains = (shift - each for each in coarser)
    return [min(quality + gain, max(quality, _worth_sharing(size))) for gain, size in zip(gains, sizes)]


def _worth_sharing(size: int) -> float:
    """The quality at which a tensor of `size` normally distributed weights has about one level for two weights.

    Any finer, and sharing saves nothing. They span about 5.8 deviations, a level takes sqrt(12) * 10^(-quality / 20).
    """
    return 20 * math.log10(size) - 9
