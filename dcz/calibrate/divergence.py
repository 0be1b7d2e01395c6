"""How far answers move, whatever a network answers."""

import numpy as np

from ..evaluation.metrics import kl_of_probabilities, log_softmax

CERTAIN = 1e-12  # probabilities below this count as this


class Divergence:
    """Adds up, over the places of all outputs, how far the second answers are from the first ones.

    Rows of probabilities, or of scores for classes: the Kullback-Leibler divergence (nats). Other numbers: the squared
    error by the variance of the first answers. Outputs that are no floats count nothing.
    """

    def __init__(self):
        self.total, self.places = 0.0, 0

    def add(self, before, after) -> None:
        """Take in one output for one batch, of two networks."""
        if not isinstance(before, np.ndarray) or before.dtype.kind != "f" or before.shape != np.shape(after):
            return
        shape = [dim for axis, dim in enumerate(before.shape) if axis == 0 or dim != 1]
        if not before.size or len(shape) < 1:
            return
        # Of thousands of classes at a place, float32 is fast; its roundings come to 1e-6 nats.
        dtype = np.float64 if before.dtype == np.float64 else np.float32
        x, y = (np.asarray(array, dtype).reshape(shape) for array in (before, after))
        if len(shape) >= 2 and _are_probabilities(x):
            places = kl_of_probabilities(x, y, CERTAIN)
        elif len(shape) == 2:
            places = _of_scores(x, y)
        else:
            places = np.square(x - y, dtype=np.float64).ravel() / max(float(x.var(dtype=np.float64)), 1e-30)
        self.total += float(np.nan_to_num(places, nan=1e3, posinf=1e3).sum())
        self.places += places.size

    @property
    def mean(self) -> float:
        return self.total / max(1, self.places)


def _are_probabilities(rows: np.ndarray) -> bool:
    return bool((rows >= 0).all() and np.allclose(rows.sum(-1), 1, atol=1e-3))


def _of_scores(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    log_p, log_q = (log_softmax(np.asarray(array, np.float64)) for array in (x, y))
    return (np.exp(log_p) * (log_p - log_q)).sum(1)
