"""Sums over all columns that a layer sees: how many, their sum, and the sum of their products with each other."""

import itertools

import numpy as np

from .im2col import MOST, Columns

LARGEST = 4096  # columns that are looked at together; longer ones are cut into blocks that ignore each other
RIDGE = 0.01  # as gptq.DAMPING

CONSTANT = 1e-6  # of the mean square, below which an input counts as constant


class Moments:
    """Statistics of columns [groups, k, places]; those of more than LARGEST numbers are taken as more groups.

    `most`: places of a sample that are looked at.
    """

    def __init__(self, columns: Columns, most: int = MOST):
        self.columns, self.most, self.parts, self.size = columns, most, 1, 0
        self.weight, self.total, self.square = 0.0, None, None
        self.other_total, self.cross = None, None

    def add(self, x: np.ndarray, original: np.ndarray | None = None) -> None:
        """Take in a batch of the layer's inputs; `original` is what the network as it was gives there."""
        others = itertools.repeat(None) if original is None else self.columns.blocks(original, self.most)
        for block, other in zip(self.columns.blocks(x, self.most), others):
            groups, size = block.shape[:2]
            if self.total is None:
                self._start(groups, size, original is not None)
            self.weight += block[0, 0].size
            columns = self._add_total(self.total, block)
            if len(columns) == 1:
                self.square[0] += columns[0] @ columns[0].T  # which numpy knows to be symmetric
            else:
                self.square += columns @ np.swapaxes(columns, 1, 2)
            if other is not None:
                self.cross += self._add_total(self.other_total, other) @ np.swapaxes(columns, 1, 2)

    def _start(self, groups: int, size: int, follows: bool) -> None:
        self.size, self.parts = size, -(-size // LARGEST)
        width = -(-size // self.parts)
        self.total, self.other_total = np.zeros((groups, size)), np.zeros((groups, size))
        self.square = np.zeros((groups * self.parts, width, width))
        self.cross = np.zeros_like(self.square) if follows else None

    def _add_total(self, total: np.ndarray, block: np.ndarray) -> np.ndarray:
        """Add columns to their total; returns them cut into parts."""
        columns = np.ascontiguousarray(block.reshape(*block.shape[:2], -1), np.float32)
        total += columns @ np.ones(columns.shape[2], np.float32)
        return split(columns, self.parts, 1)

    @property
    def mean(self) -> np.ndarray:
        """[groups, k]"""
        return self.total / self.weight

    @property
    def original_mean(self) -> np.ndarray:
        """[groups, k]"""
        return self.other_total / self.weight

    def moment(self, centred: bool) -> np.ndarray:
        """E[x xT], or the covariance where a bias takes the mean error: [groups * parts, k / parts, k / parts]."""
        found = self.square / self.weight
        if not centred:
            return found
        # An input that never varies would leave nothing at all, and no order among the columns.
        floor = CONSTANT * np.diagonal(found, axis1=1, axis2=2).mean(1)
        return found - self._product(self.mean, self.mean) + floor[:, None, None] * np.eye(found.shape[1])

    def target(self, weights: np.ndarray, centred: bool, trust: float) -> np.ndarray:
        """Weights [groups, rows, k] that give on the present inputs about what `weights` give on the original ones.

        The least squares solution, drawn toward `weights`: not at all for a `trust` of 1, wholly for 0.
        """
        moment = self.moment(centred)
        cross = self.cross / self.weight - (self._product(self.original_mean, self.mean) if centred else 0.0)
        size = moment.shape[1]
        mean = np.maximum(np.einsum("gkk->g", moment) / size, 1e-30)
        ridge = ((1 / trust - 1 + RIDGE) * mean)[:, None, None] * np.eye(size)
        turned = np.linalg.solve(moment + ridge, np.swapaxes(split(weights, self.parts, 2) @ (cross + ridge), 1, 2))
        return join(np.swapaxes(turned, 1, 2), self.parts, self.size, 2)

    def _product(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """a bT, part by part."""
        return split(a[:, :, None], self.parts, 1) @ np.swapaxes(split(b[:, :, None], self.parts, 1), 1, 2)


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
