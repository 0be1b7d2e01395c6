"""How far a network's answers move, whatever kind of answers it gives."""

from typing import Any

import numpy as np

from ..evaluation.metrics import kl_divergence, kl_of_probabilities, log_softmax

MIN_PROBABILITY = 1e-12  # probabilities below this count as this
MIN_VARIANCE = 1e-30
INFINITE = 1e3  # what a position counts whose divergence is no finite number


class Divergence:
    """Sums up, over the positions of all outputs, how far the second answers are from the first ones.

    Rows of probabilities, or of logits: the Kullback-Leibler divergence D(first || second) in nats. Other numbers: the
    squared error over the variance of the first answers. Outputs that are no floats count nothing.
    """

    def __init__(self) -> None:
        self.total, self.positions = 0.0, 0

    def add(self, before: Any, after: Any) -> None:
        """Count one output for one batch, of two networks: arrays, or whatever else onnxruntime gives."""
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
        self.total += float(np.nan_to_num(divergences, nan=INFINITE, posinf=INFINITE).sum())
        self.positions += divergences.size

    @property
    def mean(self) -> float:
        """Of all positions; 0 of none."""
        return self.total / max(1, self.positions)


def _are_probabilities(rows: np.ndarray) -> bool:
    # Unlike metrics.are_probabilities of rows along any axes, and not where a row has NaN or infinities: what an output
    # is counted as must not depend on the rows that are left.
    return bool((rows >= 0).all() and np.allclose(rows.sum(-1), 1, atol=1e-3))
