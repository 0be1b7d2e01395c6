"""Sums over all columns that a layer sees: how many, their sum, and the sum of their products with each other."""

import numpy as np

from .columns import Columns

GATE = 0.0
LARGEST = 4096  # columns that are looked at together; longer ones are cut into blocks that ignore each other


class Moments:
    """Statistics of columns [groups, k, places]; those of more than LARGEST numbers are taken as more groups."""

    def __init__(self, columns: Columns):
        self.columns, self.parts, self.size, self.samples = columns, 1, 0, 0
        self.count, self.total, self.square = 0, None, None
        self.other_total, self.cross = None, None

    def add(self, x: np.ndarray, other: np.ndarray | None = None, gate=None) -> None:
        """Take in a batch of the layer's inputs, and what the original network gives there."""
        for block, wanted in zip(self.columns.blocks(x), self.columns.blocks(x if other is None else other)):
            groups, size, samples, per = block.shape
            if self.total is None:
                self.size, self.parts = size, -(-size // LARGEST)
                width = -(-size // self.parts)
                self.total = np.zeros((groups, size))
                self.square = np.zeros((groups * self.parts, width, width))
                self.weight = np.zeros((groups, 1))
            places_ = samples * per
            self.count += places_
            block, wanted = (b.reshape(groups, size, -1) for b in (block, wanted))
            weight = None
            if GATE and gate is not None:
                weight = np.sqrt(((gate[0] @ block + gate[1] > 0).mean(1, keepdims=True) + GATE).astype(np.float32))
                self.weight += np.square(weight, dtype=np.float64).sum(2)
                self.total += (block * weight**2).sum(2, dtype=np.float64)
                block = block * weight
            else:
                self.weight = self.weight + places_
                self.total += block.sum(2, dtype=np.float64)
            cut = split(block, self.parts, 1)
            if len(cut) == 1:
                only = np.ascontiguousarray(cut[0], np.float32)
                self.square[0] += only @ only.T  # which numpy knows to be symmetric
            else:
                self.square += cut @ np.swapaxes(cut, 1, 2)
            if other is not None:
                self._add_original(wanted if weight is None else wanted * weight, cut, weight)

    def _add_original(self, wanted: np.ndarray, cut: np.ndarray, weight=None) -> None:
        if self.cross is None:
            self.other_total, self.cross = np.zeros_like(self.total), np.zeros_like(self.square)
        self.other_total += (wanted if weight is None else wanted * weight).sum(2, dtype=np.float64)
        self.cross += split(wanted, self.parts, 1) @ np.swapaxes(cut, 1, 2)

    @property
    def _each(self) -> np.ndarray:
        return np.repeat(self.weight, self.parts, 0)[:, :, None]

    @property
    def mean(self) -> np.ndarray:
        """[groups, k]"""
        return self.total / self.weight

    @property
    def original_mean(self) -> np.ndarray:
        """[groups, k]"""
        return self.other_total / self.weight

    def target(self, weights: np.ndarray, centred: bool, share: float) -> np.ndarray:
        """Weights [groups, rows, k] that give on the present inputs about what `weights` give on the original ones."""
        moment, cross = self.square / self._each, self.cross / self._each
        if centred:
            means = (split(m[:, :, None], self.parts, 1) for m in (self.original_mean, self.mean))
            wanted, present = means
            moment = moment - present @ np.swapaxes(present, 1, 2)
            cross = cross - wanted @ np.swapaxes(present, 1, 2)
        size = moment.shape[1]
        mean = np.maximum(np.einsum("gkk->g", moment) / size, 1e-30)
        ridge = ((1 / share - 1 + 0.01) * mean)[:, None, None] * np.eye(size)
        parts = split(weights, self.parts, 2)
        turned = np.linalg.solve(moment + ridge, np.swapaxes(parts @ (cross + ridge), 1, 2))
        return join(np.swapaxes(turned, 1, 2), self.parts, self.size, 2)

    def moment(self, centred: bool) -> np.ndarray:
        """E[x xT], or the covariance where a bias takes the mean error: float64 [groups * parts, k / parts, k / parts]."""
        second = self.square / self._each
        if not centred:
            return second
        mean = split(self.mean[:, :, None], self.parts, 1)
        return second - mean @ np.swapaxes(mean, 1, 2)


def split(array: np.ndarray, parts: int, axis: int) -> np.ndarray:
    """[groups, ..., k, ...] as [groups * parts, ..., k / parts, ...], filled up with zeros."""
    if parts == 1:
        return array
    size = array.shape[axis]
    width = -(-size // parts)
    filled = np.pad(array, [(0, parts * width - size if place == axis else 0) for place in range(array.ndim)])
    apart = filled.reshape(*array.shape[:axis], parts, width, *array.shape[axis + 1 :])
    return np.moveaxis(apart, axis, 1).reshape(-1, *array.shape[1:axis], width, *array.shape[axis + 1 :])


def join(array: np.ndarray, parts: int, size: int, axis: int) -> np.ndarray:
    """`split` undone, the filling cut off."""
    if parts == 1:
        return array
    apart = array.reshape(-1, parts, *array.shape[1:])
    joined = np.moveaxis(apart, 1, axis)
    shape = list(joined.shape)
    shape[axis : axis + 2] = [shape[axis] * shape[axis + 1]]
    return np.take(joined.reshape(shape), np.arange(size), axis)

