"""Spread rounding error over the tensors of a model, without data.

    by_size([1000, 100000], [0.1, 0.01], 30)   ->   the quality of each tensor, in decibels

Without data it is unknown to which tensor's errors the outputs are sensitive. Equal absolute error everywhere takes the
fewest bits for a total error (reverse water-filling: Cover and Thomas, "Elements of Information Theory", section
10.3.3), but ruins layers whose weights are small. If the same relative error of every layer does equal harm, the fewest
bits for a total of harm are taken where the relative squared error of a tensor is in proportion to its number of
weights: the last bit of each weight then saves the same harm. See `by_size`.
"""

import math
from collections.abc import Sequence

DECIBELS_PER_BIT = 20 * math.log10(2)  # of a weight, at a fine step
# The step of a tensor's grid is in proportion to (root mean square of its weights)^MAGNITUDE * (their number)^COUNT.
# 0, 0 is equal absolute error; 1, 0.5 relative error by size. At 5.7 to 7.5 bits a weight neither 1, 0.4 nor 0.9, 0.5
# was better on eight networks, five of them depthwise; 0.75, 0.4, found when tensors had 256 levels at most, was worse.
MAGNITUDE, COUNT = 1.0, 0.5
# Decibels by which a tensor is coded at most more finely or coarsely than the average: the model is rough.
MAX_FINER, MAX_COARSER = 36.0, 9.0
# Decibels by which the default is finer for networks that are more sensitive than most: for each halving of the number
# of weights below FULL_SIZE, up to MAX_SMALL; and where DEPTHWISE_SHARE of the tensors or more are depthwise, less
# where fewer are. Chosen on calibration inputs of the corpus (tests/benchmarks/corpus), of MobileNetV2 and of
# EfficientNet-Lite0.
FULL_SIZE, PER_HALVING, MAX_SMALL = 1 << 20, 1.5, 12.0
DEPTHWISE, DEPTHWISE_SHARE = 6.0, 0.2
# The same where the means of the inputs of KNOWN_SHARE of the weights or more are known: errors of a row are made to
# cancel (stages.balance), which is worth 4 to 9 dB at the outputs of MobileNetV1, PP-LCNet and PicoDet, and, where
# they were carried on through layers, 2 to 6 at those of MobileNetV1, MobileNetV2 and EfficientNet-Lite.
DEPTHWISE_KNOWN, KNOWN_SHARE = 2.0, 0.5


def margin(shapes: Sequence[tuple[int, ...]], known: float = 0.0) -> float:
    """How much finer (decibels) than an ordinary network one with weights of these shapes has to be.

    Errors average out over the inputs of a row, and over layers: a small network has few, and a depthwise convolution
    sums up nine weights or so. `known` is the share of the weights of which the means of their inputs are known.
    """
    weights = sum(map(math.prod, shapes))
    if not weights:
        return 0.0
    small = min(MAX_SMALL, max(0.0, PER_HALVING * math.log2(FULL_SIZE / weights)))
    # The first layer of a network for images of one channel has such a shape too.
    depthwise = sum(len(shape) > 2 and shape[0] > 1 and shape[1] == 1 for shape in shapes) - 1
    most = DEPTHWISE_KNOWN if known >= KNOWN_SHARE else DEPTHWISE
    return small + most * min(1.0, max(0, depthwise) / (DEPTHWISE_SHARE * len(shapes)))


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
    return [quality + gain for gain in gains]
