"""How far a network's answers move, whatever kind of answers it gives."""

from collections import defaultdict
from typing import Any

import numpy as np

from ..evaluation.metrics import kl_divergence, kl_of_probabilities, log_softmax

MIN_PROBABILITY = 1e-12  # probabilities below this count as this
MIN_VARIANCE = 1e-30
INFINITE = 1e3  # what a position counts whose divergence is no finite number


class Divergence:
    """How far the second answers are from the first ones: the mean over the positions of each output, and over outputs.

    Rows of probabilities, or of logits: the Kullback-Leibler divergence D(first || second) in nats. Other numbers: the
    squared error over the variance of the first answers. Outputs that are no floats count nothing. Outputs count alike:
    a map of features beside a class has a thousand times as many positions, and is not that much more to the point.
    """

    def __init__(self) -> None:
        self._totals: dict[str, float] = defaultdict(float)
        self._positions: dict[str, int] = defaultdict(int)

    def add(self, output: str, before: Any, after: Any) -> None:
        """Count the output of this name for one batch, of two networks: arrays, or whatever else onnxruntime gives."""
        if not isinstance(before, np.ndarray) or before.dtype.kind != "f" or before.shape != np.shape(after):
            return
        shape = [dim for axis, dim in enumerate(before.shape) if axis == 0 or dim != 1]
        if not before.size or len(shape) < 1:
            return
        # With thousands of classes at a position, float32 is fast; its rounding comes to 1e-6 nats.
        dtype = np.float64 if before.dtype == np.float64 else np.float32
        x, y = (np.asarray(array, dtype).reshape(shape) for array in (before, after))
        if len(shape) >= 2 and _are_probabilities(x):
            divergences = kl_of_probabilities(x, y, MIN_PROBABILITY)
        elif len(shape) == 2:
            divergences = kl_divergence(*(log_softmax(np.asarray(array, np.float64)) for array in (x, y)))
        else:
            variance = max(float(x.var(dtype=np.float64)), MIN_VARIANCE)
            divergences = np.square(x - y, dtype=np.float64).ravel() / variance
        self._totals[output] += float(np.nan_to_num(divergences, nan=INFINITE, posinf=INFINITE).sum())
        self._positions[output] += divergences.size

    @property
    def positions(self) -> int:
        """Those of the output that has the fewest; 0 of none."""
        return min(self._positions.values(), default=0)

    @property
    def mean(self) -> float:
        """Over outputs, of the means over their positions; 0 of none."""
        means = [self._totals[output] / positions for output, positions in self._positions.items()]
        return sum(means) / max(1, len(means))


def _are_probabilities(rows: np.ndarray) -> bool:
    # Unlike metrics.are_probabilities of rows along any axes, and not where a row has NaN or infinities: what an output
    # is counted as must not depend on the rows that are left.
    return bool((rows >= 0).all() and np.allclose(rows.sum(-1), 1, atol=1e-3))
