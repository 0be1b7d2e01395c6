"""How near an encoding comes to its tensor, and what the user should know of that."""

import math
from collections.abc import Iterator

import numpy as np

from .. import arrays
from ..arrays import LazyValues
from ..deflate import crc32, joined_crc
from ..parallel import each
from ..plan import Settings
from ..tensor import Tensor, values
from .coded import Coded
from .stages import prune

MAX_QUALITY_LOSS = 10**0.4  # 4 dB: how far rows with scales may miss their quality
# Of two, of the largest magnitude: float64 ends at 2^1024 and, at full precision, at 2^-1022, and squares are summed.
MAX_EXPONENT = 400
MAX_ZEROED = 0.5  # of a tensor's weights: where rounding alone makes more of them zero, the user is warned
NEGLIGIBLE, MIN_KEPT = 1e-3, 0.1  # see _zeroed: such as the weights of dead channels, which training leaves at 1e-9
MAX_TYPICAL_NOISE = 0.5  # 3 dB: of the weights that are no outliers, beyond which the user is warned
OUTLIER_SAMPLE = 1 << 17  # weights of a tensor, by which it is told which of them are outliers
COMPARED = 1 << 20  # bytes at a time: they stay in cache
SAMPLED_BLOCKS, SAMPLED = 16, 1 << 16  # of a tensor, and weights of each, by which its error is estimated


def keeps_quality(tensor: Tensor, mask: np.ndarray, coded: Coded, quality: float) -> bool:
    """Whether the weights that `mask` keeps have, with scales of rows, about a quality as a whole; of a sample.

    They have not where scales do not fit the rows.
    """
    squares = error = 0.0
    for block in sample_blocks(len(mask)):
        kept = mask[block]
        numbers = values(tensor.patterns[block], tensor.dtype)[kept].astype(np.float64)
        decoded = values(coded.elements(block, tensor.dtype), tensor.dtype)[kept]
        squares += float(np.square(numbers).sum())
        error += float(np.square(numbers - decoded).sum())
    return error <= MAX_QUALITY_LOSS * 10 ** (-quality / 10) * squares


def sample_blocks(length: int) -> Iterator[slice]:
    """Up to SAMPLED_BLOCKS blocks of a tensor, evenly spread, by which an error is estimated."""
    every = 1 + length // (SAMPLED_BLOCKS * SAMPLED)
    return (slice(start, min(start + SAMPLED, length)) for start in range(0, length, every * SAMPLED))


def compare(tensor: Tensor, decoded: arrays.Bytes, settings: Settings) -> tuple[int, float]:
    """The CRC-32 of the `decoded` bytes, and the fraction of the weights that were not zero and now are: 0.0 where it
    is at most one half, as no more than half of all are zero now, and where `settings` prune."""
    pattern = tensor.dtype.pattern if tensor.dtype.real and not settings.prunes else None

    def look_at(block: slice) -> tuple[int, int, int]:
        """The CRC-32 of the decoded bytes of a block, their number, and the weights there that are not zero."""
        data = decoded[block]  # of whole elements
        return crc32(data), len(data), 0 if pattern is None else _count_nonzero(data.view(pattern))

    found = each(look_at, arrays.blocks(len(decoded), COMPARED))
    crc, after = joined_crc((crc, length) for crc, length, _ in found), sum(count for _, _, count in found)
    if pattern is None or 2 * after * pattern.itemsize >= len(decoded):
        return crc, 0.0
    before = sum(
        arrays.over_blocks(
            lambda block: _count_nonzero(tensor.patterns[block]), len(tensor.patterns), arrays.NARROW_BLOCK
        )
    )
    return crc, 1 - after / before if before else 0.0


def _count_nonzero(patterns: np.ndarray) -> int:
    """How many bit patterns are not 0, by numpy's fast count, which is that of a mask, and lets other threads work."""
    return int(np.count_nonzero(patterns != 0))


def squares_fit(tensor: Tensor) -> bool:
    """Whether float64 holds the squares of the largest magnitudes of a finite, real tensor, as it does for all types
    but float64 itself."""
    if tensor.dtype.bits < 64 or not len(tensor.patterns):
        return True
    low, high = arrays.extremes(LazyValues(tensor.patterns, tensor.dtype))
    largest_magnitude = max(-low, high)
    return largest_magnitude == 0 or 2.0**-MAX_EXPONENT < largest_magnitude < 2.0**MAX_EXPONENT


def warning(tensor: Tensor, settings: Settings, zeroed: float, decoded: arrays.Bytes) -> str:
    """What the user should know of a tensor's record, or ""."""
    if not settings.lossless and tensor.dtype.real and not tensor.is_finite:
        return f"{tensor.name}: holds infinities or NaN and stays exact; find out why before you ship the model"
    if not settings.lossless and tensor.dtype.real and not squares_fit(tensor):
        return (
            f"{tensor.name}: its largest number is above 2^{MAX_EXPONENT} or below 2^-{MAX_EXPONENT}, and it stays "
            "exact; find out why before you ship the model"
        )
    if not settings.prunes and zeroed > MAX_ZEROED and (zeroed := _zeroed(tensor, decoded)) > MAX_ZEROED:
        return f"{tensor.name}: {zeroed:.0%} of its weights became zero; ask for more quality"
    return _of_outliers(tensor, settings, decoded)


def _zeroed(tensor: Tensor, decoded: arrays.Bytes) -> float:
    """The fraction of the weights, but for negligible ones, that are zero now; of a sample.

    Negligible ones are below NEGLIGIBLE of the median of the others, which no outlier moves, where these are no few.
    """
    weights, itemsize = LazyValues(tensor.patterns, tensor.dtype), tensor.dtype.bits // 8
    pairs = []
    for block in sample_blocks(len(weights)):
        patterns = decoded[block.start * itemsize : block.stop * itemsize].view(tensor.dtype.pattern)
        pairs.append((np.abs(weights[block].astype(np.float64)), values(patterns, tensor.dtype) == 0))
    before, is_zero = (np.concatenate(each) for each in zip(*pairs, strict=True))
    kept = before[~is_zero]
    limit = NEGLIGIBLE * float(np.median(kept)) if len(kept) > MIN_KEPT * len(before) else 0.0
    counted = before > limit
    return float((is_zero & counted).sum() / max(1, counted.sum()))


def _of_outliers(tensor: Tensor, settings: Settings, decoded: arrays.Bytes) -> str:
    """What the user should know where a number of bits, a rate or a step leaves most weights no precision, or ""."""
    sharing = (settings.bits, settings.rate, settings.step)
    if settings.prunes or all(each is None for each in sharing) or not tensor.dtype.real or not tensor.is_finite:
        return ""
    weights, itemsize = LazyValues(tensor.patterns, tensor.dtype), tensor.dtype.bits // 8
    sample = arrays.sample(weights, OUTLIER_SAMPLE)
    square = prune.typical_square(sample[sample != 0])
    limit, squares, error = prune.MAX_BULK * math.sqrt(square), 0.0, 0.0
    for block in sample_blocks(len(weights)):
        numbers = weights[block].astype(np.float64)
        patterns = decoded[block.start * itemsize : block.stop * itemsize].view(tensor.dtype.pattern)
        typical = np.abs(numbers) <= limit
        with np.errstate(over="ignore"):  # of doubles beyond 1e154
            squares += float(np.square(numbers[typical]).sum())
            error += float(np.square(numbers[typical] - values(patterns, tensor.dtype)[typical]).sum())
    if error <= MAX_TYPICAL_NOISE * squares:
        return ""
    return f"{tensor.name}: a few large weights leave the others no precision; ask for a quality, or exclude it"
