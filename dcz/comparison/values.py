"""How far the numbers of two tensors are apart.

compare(old_bytes, FLOAT32, new_bytes, FLOAT32)    ->   Change(decibels=31.2, zeros=(0, 4096))
"""

from dataclasses import dataclass

import numpy as np

from ..arrays import blocks
from ..evaluation.metrics import sqnr
from ..tensor import Dtype, values

_WHOLE = {
    name: np.dtype(name)
    for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool")
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """The signal-to-noise ratio of new values against old ones, in decibels: inf where they are equal, -inf where one
    is finite and the other is not; None for types that hold no numbers here. `zeros`: how many of each are zero, None
    for types that dcz does not prune."""

    decibels: float | None
    zeros: tuple[int | None, int | None]


def count_zeros(data: np.ndarray, dtype: Dtype) -> int | None:
    """How many of a tensor's numbers are zero; None for types that dcz does not prune."""
    if not dtype.real:
        return None
    patterns = data.view(dtype.pattern)
    return sum(int((values(patterns[block], dtype) == 0).sum()) for block in blocks(len(patterns)))


def compare(old: np.ndarray, old_dtype: Dtype, new: np.ndarray, new_dtype: Dtype) -> Change:
    """How new bytes (uint8, flat) differ from old ones, of tensors of one shape but maybe of different types.

    10 log10 of the old values' sum of squares over that of the differences, in float64, block by block. Places where
    both are the same NaN or infinity count as equal.
    """
    if old_dtype == new_dtype and _equal(old, new):
        zeros = count_zeros(old, old_dtype)
        return Change(float("inf"), (zeros, zeros))
    zeros_of_both = count_zeros(old, old_dtype), count_zeros(new, new_dtype)
    if any(not dtype.real and dtype.name not in _WHOLE for dtype in (old_dtype, new_dtype)):
        return Change(None, zeros_of_both)
    first, second = _patterns(old, old_dtype), _patterns(new, new_dtype)
    signal = noise = 0.0
    for block in blocks(len(first)):
        a, b = _numbers(first[block], old_dtype), _numbers(second[block], new_dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
            apart[np.isnan(apart)] = np.inf  # a number on one side, none on the other
            noise += float(np.square(apart).sum())
            signal += float(np.square(a[np.isfinite(a)]).sum())
    return Change(float("-inf") if np.isinf(noise) else sqnr(signal, noise), zeros_of_both)


def _equal(old: np.ndarray, new: np.ndarray) -> bool:
    return len(old) == len(new) and all(np.array_equal(old[block], new[block]) for block in blocks(len(old)))


def _patterns(data: np.ndarray, dtype: Dtype) -> np.ndarray:
    return data.view(dtype.pattern if dtype.real else _WHOLE[dtype.name])


def _numbers(patterns: np.ndarray, dtype: Dtype) -> np.ndarray:
    return (values(patterns, dtype) if dtype.real else patterns).astype(np.float64)
