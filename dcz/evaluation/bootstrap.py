"""How far a figure of some samples is from that of others of their kind: draws of as many of them, with replacement.

interval(lambda drawn: scores[drawn].mean(), len(scores), 1000)   ->  (0.91, 0.95): nine tenths of the draws are there

See Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979; the interval is that of percentiles.
"""

from collections.abc import Callable

import numpy as np

COVERED = 0.9  # of the draws, those within the interval


def interval(figure: Callable[[np.ndarray], float], count: int, draws: int) -> tuple[float, float]:
    """The ends of the interval that covers nine tenths of the `figure` of so many draws of `count` samples, each given
    by the numbers of its samples (int64 [count]); the same each time."""
    random = np.random.default_rng(0)
    found = [figure(random.integers(0, count, count)) for _ in range(draws)]
    low, high = np.quantile(found, [(1 - COVERED) / 2, (1 + COVERED) / 2])
    return float(low), float(high)
