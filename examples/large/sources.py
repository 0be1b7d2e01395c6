"""Weights in place of the trained ones, which are not to be had: drawn from a seed, layer by layer.

    independent   Laplacian weights, each drawn for itself; the smallest are pruned, the rest shared by k-means
    density       matched: as many kept as the paper states, in rows and columns of uneven density, with skewed codes,
                  fitted until an entry of the paper's scheme costs the bits that its table states
    rate          matched too, and so many kept that the layer costs what the table states

A matched layer is drawn as it would be after pruning and sharing. The fit knows the paper's scheme, never dcz's format.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dcz.codec.stages import prune, share

from . import scheme
from .paper import Stated

SOURCES = ("independent", "density", "rate")
COLUMNS = 0.5  # how uneven columns are, as a share of how uneven rows are
MOST_UNEVEN = 6.0  # where a bisection begins: far more than any layer asks for
FIT_PLACES = 1 << 22  # fitted on so many rows of a large layer; what comes out is measured on all of them
MASK_STEPS, CODE_STEPS = 10, 14  # of the bisections: a step for masks is slow
START = "linear"  # of k-means: the start that the paper found best


@dataclass(frozen=True, eq=False)
class Drawn:
    """A layer after pruning and sharing: float32 `weights` of its shape, the `mask` (bool) of those kept, their `codes`
    (uint8, row-major), and the dense weights that it was made from, where there were any."""

    weights: np.ndarray
    mask: np.ndarray
    codes: np.ndarray
    dense: np.ndarray | None = None


def draw(source: str, shape: tuple[int, ...], stated: Stated, gap_bits: int, seed: tuple[int, ...]) -> Drawn:
    """A layer of this shape from one of SOURCES; the same seed draws the same weights."""
    random = np.random.default_rng(seed)
    matrix = shape[0], int(np.prod(shape[1:]))
    if source == "independent":
        drawn = _independent(random, matrix, stated)
    else:
        drawn = _matched(random, matrix, stated, gap_bits, source)
    dense = None if drawn.dense is None else drawn.dense.reshape(shape)
    return Drawn(drawn.weights.reshape(shape), drawn.mask.reshape(shape), drawn.codes, dense)


def biases(units: int, seed: tuple[int, ...]) -> np.ndarray:
    """Small normal biases (float32)."""
    return np.random.default_rng(seed).normal(0, 0.01, units).astype(np.float32)


def _independent(random: np.random.Generator, shape: tuple[int, int], stated: Stated) -> Drawn:
    weights = random.standard_exponential(shape, np.float32)
    weights -= random.standard_exponential(shape, np.float32)  # the difference of two exponentials is Laplacian
    weights *= np.float32(1 / np.sqrt(shape[1]))  # of variance 2 / inputs, which keeps activations in their range
    mask = prune.by_sparsity(weights.ravel(), 1 - stated.kept)
    shared = share.kmeans(weights.ravel()[mask], 1 << stated.bits, START)
    result = np.zeros(weights.size, np.float32)
    result[mask] = shared.centroids.astype(np.float32)[shared.codes]
    return Drawn(result, mask, shared.codes, weights)


# -- matched to the paper's table -------------------------------------------------------------------------------------


def _matched(random: np.random.Generator, shape: tuple[int, int], stated: Stated, gap_bits: int, source: str) -> Drawn:
    entries = None
    if source == "rate":  # what is left of the layer's bits without its codebook, by the bits of an entry
        bits = stated.rate * 32 * shape[0] * shape[1] - (32 << stated.bits)
        entries = bits / (stated.weight_bits + stated.index_bits) / (shape[0] * shape[1])
        entries = max(entries, stated.kept / 2)  # where a layer was scaled down, its codebook may take all of them
    uneven = Uneven(random, (min(shape[0], -(-FIT_PLACES // shape[1])), shape[1]))
    spread, kept = _fit_mask(uneven, stated, gap_bits, entries)
    if uneven.noise.shape != shape:
        uneven = Uneven(random, shape)
    mask = uneven.mask(spread, kept).ravel()
    codes = _skewed_codes(random, int(mask.sum()), scheme.count_gaps(mask, gap_bits)[1], stated)
    values = _codebook(random, (1 << stated.bits) - 1, np.sqrt(2 / (shape[1] * kept)))
    weights = np.zeros(mask.size, np.float32)
    weights[mask] = values[codes]
    return Drawn(weights, mask, codes)


class Uneven:
    """Masks over a matrix whose rows and columns differ in density: a place is kept where normal noise of its own, its
    row's and its column's together pass a threshold."""

    def __init__(self, random: np.random.Generator, shape: tuple[int, int]):
        self.rows, self.columns = (_normal_quantiles(random, length) for length in shape)
        self.noise = random.standard_normal(shape, np.float32)

    def mask(self, spread: float, kept: float) -> np.ndarray:
        """The mask (bool) that keeps the share `kept`; `spread` 0 makes places independent."""
        spread = np.float32(spread)
        score = self.noise + spread * self.rows[:, None] + spread * np.float32(COLUMNS) * self.columns
        drop = max(0, score.size - round(kept * score.size))
        return score >= np.partition(score, drop, axis=None)[drop]


def _normal_quantiles(random: np.random.Generator, count: int) -> np.ndarray:
    """Equally likely normal values (float32) in random order: a few rows are as uneven as many."""
    normal = statistics.NormalDist()
    return random.permutation([normal.inv_cdf((i + 0.5) / count) for i in range(count)]).astype(np.float32)


def _fit_mask(uneven: Uneven, stated: Stated, gap_bits: int, entries: float | None) -> tuple[float, float]:
    """The spread at which a gap costs the bits stated, and the share to keep.

    `entries`: how many there shall be for each weight; None: as many as the share stated to be kept leads to.
    """
    kept = stated.kept

    def gap_cost(spread: float) -> float:
        nonlocal kept
        for _ in range(1 if entries is None else 2):  # fillers hardly depend on the share, so that two steps do
            counts, _ = scheme.count_gaps(uneven.mask(spread, kept), gap_bits)
            if entries is not None:
                kept *= entries * uneven.noise.size / counts.sum()
        return scheme.huffman_bits(counts) / counts.sum()

    if gap_cost(0.0) <= stated.index_bits:
        return 0.0, kept
    spread = _bisect(lambda spread: gap_cost(spread) > stated.index_bits, 0.0, MOST_UNEVEN, MASK_STEPS)
    return spread, kept


def _skewed_codes(random: np.random.Generator, count: int, fillers: int, stated: Stated) -> np.ndarray:
    """So many codes (uint8) below 2^bits - 1, the fillers' zero being the last value; their frequencies fall from one
    code to the next by a ratio at which a code costs the bits stated, the `fillers` counted."""
    places = random.random(count)
    ordered, values = np.sort(places), (1 << stated.bits) - 1

    def edges(skew: float) -> np.ndarray:
        share = np.exp(-skew * np.arange(values))
        return np.cumsum(share)[:-1] / share.sum()

    def too_long(skew: float) -> bool:
        counts = np.diff(np.searchsorted(ordered, edges(skew)), prepend=0, append=count)
        return scheme.huffman_bits(np.append(counts, fillers)) > stated.weight_bits * (count + fillers)

    skew = _bisect(too_long, 0.0, 2.0, CODE_STEPS)
    return np.searchsorted(edges(skew), places, side="right").astype(np.uint8)


def _codebook(random: np.random.Generator, values: int, scale: float) -> np.ndarray:
    """Values (float32) of about this scale: magnitudes grow with the code, unevenly, and signs alternate."""
    magnitude = scale * (0.5 + (np.arange(values) + random.uniform(0.1, 0.9, values)) / values)
    return np.where(np.arange(values) % 2, -magnitude, magnitude).astype(np.float32)


def _bisect(above: Callable[[float], bool], low: float, high: float, steps: int) -> float:
    """Where `above`, which holds at first, ceases to; `high` where it does not."""
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle) else (low, middle)
    return high
