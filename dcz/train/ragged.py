"""Labels of different shapes, such as one for each token of sentences of different lengths.

labels = Ragged([array([0, 2]), array([1]), array([2, 2])])
labels[np.array([0, 2])]      ->  [[0, 2], [2, 2]]: of samples whose labels are of one shape
labels.groups                 ->  [0, 1, 0]: equal for those
"""

from collections.abc import Iterator, Sequence

import numpy as np


class Ragged:
    """The labels of each sample, as an array of whatever shape; in all else like an array of them."""

    ndim = 1

    def __init__(self, each: Sequence[np.ndarray]):
        self._each = list(each)
        self.dtype = np.result_type(*{array.dtype for array in self._each})
        shapes = {shape: number for number, shape in enumerate(dict.fromkeys(array.shape for array in self._each))}
        self.groups = np.array([shapes[array.shape] for array in self._each], np.int64)

    def __len__(self) -> int:
        return len(self._each)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self._each)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """The labels of the samples `rows` (int64 [n]), which are of one shape: [n, ...]."""
        return np.stack([self._each[row] for row in rows]).astype(self.dtype)


def joined(each: Sequence[np.ndarray]) -> "np.ndarray | Ragged":
    """The labels of each sample as one array, where they are of one shape."""
    found = Ragged(each)
    return found if found.groups.any() else found[np.arange(len(found))]
