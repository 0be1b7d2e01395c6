"""The labels of samples as callers have them: an array, a name in the data, a file, or lists of different lengths.

read_targets("y", samples, feed)      int64 [n] of an .npz's array y, or of the arrays y of a folder's files
read_targets([[0, 2], [1]], ...)      Ragged: a label for each token of two sentences
"""

import os
from typing import Any

import numpy as np

from ..errors import InvalidArgument
from ..evaluation.feed import Feed
from ..evaluation.given import as_samples
from ..evaluation.samples import NAMELESS, Samples, find_labels
from ..text import counted
from .batches import Targets
from .ragged import joined

PATHS = (str, os.PathLike)


def read_targets(labels: Any, samples: Samples, feed: Feed) -> Targets:
    """Labels (any numbers, samples first) by the name of an array in the samples, by a path, or as they are.

    Raises FileAccess, InvalidArgument where they are none, or not as many as the samples.
    """
    if isinstance(labels, PATHS) and (name := os.fspath(labels)) in samples.arrays and name != NAMELESS:
        parts = zip(samples.parts or (samples,), feed.counts, feed.are_lone, strict=True)
        found = [_of_part(f"{part.path}, array {name!r}", part.arrays[name], n, lone) for part, n, lone in parts]
        return found[0] if len(found) == 1 else joined([label for array in found for label in array])
    if isinstance(labels, PATHS):
        where, array = find_labels(labels, samples)
        return _checked(where, array, feed.count)
    given = as_samples({NAMELESS: labels})
    if given.parts:
        each = [_checked_numbers("the labels", part.arrays[NAMELESS]) for part in given.parts]
        return _checked("the labels", joined(each), feed.count)
    return _checked("the labels", given.arrays[NAMELESS], feed.count)


def _of_part(where: str, array: np.ndarray, count: int, is_lone: bool) -> np.ndarray:
    """The labels of a part of the samples with an axis of samples, which those of a single one may lack."""
    if is_lone or (count == 1 and (array.ndim == 0 or len(array) != 1)):
        array = array[np.newaxis]
    return np.asarray(_checked(where, array, count))


def _checked(where: str, labels: Targets, count: int) -> Targets:
    _checked_numbers(where, labels)
    if labels.ndim == 0 or len(labels) != count:
        raise InvalidArgument(f"{where}: {len(labels) if labels.ndim else 'no'} labels for {counted(count, 'sample')}")
    return labels


def _checked_numbers(where: str, labels: Any) -> Any:
    if labels.dtype.kind not in "biuf":
        raise InvalidArgument(f"{where}: labels are numbers, not {labels.dtype}")
    return labels
