"""Spread rounding error over the tensors of a model, without data.

    by_size([1000, 100000], [0.1, 0.01], 30)   ->   the quality of each tensor, in decibels

Without data it is unknown to which tensor's errors the outputs are sensitive. Equal absolute error everywhere takes the
fewest bits for a total error (reverse water-filling: Cover and Thomas, "Elements of Information Theory", section
10.3.3), but ruins layers whose weights are small. Relative error in proportion to a tensor's size would be right if the
relative error of every layer did equal harm, but spoils large layers. The best on average on four networks lies between
the two: see `by_size`.
"""

import math
from collections.abc import Sequence

# The step of a tensor's grid is in proportion to (root mean square of its weights)^MAGNITUDE * (their number)^COUNT.
# 0, 0 is equal absolute error; 1, 0.5 relative error by size. Of a dozen pairs, on SqueezeNet, magika and two PP-OCR
# networks at 2.5 to 4.6 bits a weight, this one changed the outputs least on average; the best of each was near it.
MAGNITUDE, COUNT = 0.75, 0.4
# Decibels by which a tensor is coded at most more finely or coarsely than the average: the model is rough.
MAX_FINER, MAX_COARSER = 24.0, 9.0


def by_size(sizes: Sequence[int], squares: Sequence[float], quality: float) -> list[float]:
    """The quality (SQNR in decibels) of each tensor, for tensors of these `sizes` (elements) and mean `squares`.

    The mean of the relative squared error over all weights is `quality` decibels below 1. The relative squared error of
    a tensor is in proportion to size^(2 COUNT) * square^(MAGNITUDE - 1), within MAX_FINER and MAX_COARSER of its
    average. A tensor of zeros has no error.
    """
    coarser = [
        10 * math.log10(size ** (2 * COUNT) * square ** (MAGNITUDE - 1)) if square > 0 else 0.0
        for size, square in zip(sizes, squares, strict=True)
    ]
    weights = sum(size for size, square in zip(sizes, squares, strict=True) if square > 0)
    if not weights:
        return [quality for _ in sizes]

    def mean(terms: Sequence[float]) -> float:
        rows = zip(sizes, terms, squares, strict=True)
        return math.fsum(size * term for size, term, square in rows if square > 0) / weights

    middle = mean(coarser)
    coarser = [min(MAX_COARSER, max(-MAX_FINER, decibels - middle)) for decibels in coarser]
    shift = 10 * math.log10(mean([10 ** (decibels / 10) for decibels in coarser]))
    gains = [shift - decibels for decibels in coarser]
    return [min(quality + gain, max(quality, _max_quality(size))) for gain, size in zip(gains, sizes, strict=True)]


def _max_quality(size: int) -> float:
    """The quality at which a tensor of `size` normally distributed weights has about one level for two weights.

    With finer levels, sharing saves nothing. The weights span about 5.8 deviations, a level takes sqrt(12) *
    10^(-quality / 20) of them.
    """
    return 20 * math.log10(size) - 9
