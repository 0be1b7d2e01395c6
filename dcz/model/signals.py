"""Matrices of signal processing, told from learned weights by their numbers alone.

    kind(cosines and sines under a window)     ->  "a matrix of sinusoids"
    kind(triangles over the bins of a DFT)     ->  "a bank of filters"
    kind(a trained layer)                      ->  ""

A filter is a row of the matrix (the first axis by the rest) or, where that fits, a column.
"""

import math
from collections.abc import Callable

import numpy as np

SAMPLED = 64  # filters of a matrix that are looked at
ENOUGH = 0.9  # of them, and of a sinusoid's energy
MIN_PERIODIC = 32  # numbers of a sinusoid: of fewer, its lobe is most of the spectrum
MAX_LENGTH = 1 << 16  # of a filter, of which several transforms are in memory
MIN_SYMMETRIC = 16
MAX_DENSITY = 0.5  # of a bank of filters that rise once and fall once
MAX_BAND_DENSITY = 1 / 8  # of one whose filters have any form
MIN_MOVES = 0.7  # of a bank's filters, which begin elsewhere than the one before
FLAT = 1e-5  # of the greatest magnitude: numbers that differ by less are constant
LOBE = 3  # half the width of the main lobe of a common window, in bins of a DFT of its length


def may_be(shape: tuple[int, ...]) -> bool:
    """Whether a tensor of this shape can be such a matrix, or one filter: its filters have one axis."""
    dims = [dim for dim in shape if dim != 1]
    return 1 <= len(dims) <= 2 and MIN_SYMMETRIC <= max(dims) <= MAX_LENGTH


def kind(matrix: np.ndarray) -> str:
    """What signal processing a matrix does, in words; "" for one that looks learned, or can be none by its shape."""
    if not may_be(matrix.shape) or not matrix.size:
        return ""
    dims = [dim for dim in matrix.shape if dim != 1]
    rows = matrix.reshape(dims[0], -1) if len(dims) > 1 else matrix.reshape(1, -1)
    for filters in (rows, rows.T) if len(dims) > 1 else (rows,):
        sample = _sample(filters)
        if not len(sample):
            continue
        if _mostly(sample, _is_sinusoid, MIN_PERIODIC):
            return "a matrix of sinusoids"
        if _mostly(sample, _is_symmetric, MIN_SYMMETRIC):
            return "a symmetric filter"
        if _is_bank(filters, sample):
            return "a bank of filters"
    return ""


def _sample(filters: np.ndarray) -> np.ndarray:
    """Some of the filters (float64), each with a greatest magnitude of 1, and none that is zero."""
    every = max(1, len(filters) // SAMPLED)
    with np.errstate(invalid="ignore"):  # signalling NaN
        sample: np.ndarray = filters[::every].astype(np.float64)
    if not sample.size or not np.isfinite(sample).all():
        return sample[:0]
    sample = sample[np.abs(sample).max(axis=1) > 0]
    if len(sample):
        sample /= np.abs(sample).max(axis=1, keepdims=True)
    return sample


def _mostly(sample: np.ndarray, is_such: Callable[[np.ndarray], bool], least: int) -> bool:
    """Whether ENOUGH of the filters, of `least` numbers or more, are of a kind; the first few tell of most others."""
    misses = 0
    for row in sample if sample.shape[1] >= least else ():
        misses += int(not is_such(row))
        if misses > (1 - ENOUGH) * len(sample):
            return False
    return bool(sample.shape[1] >= least)


def _is_sinusoid(row: np.ndarray) -> bool:
    """Whether a filter's energy, but for its mean, lies in one lobe of its spectrum: that of a windowed sinusoid."""
    (there,) = np.nonzero(np.abs(row) > 1e-3)
    row = row[there[0] : there[-1] + 1]
    if len(row) < MIN_PERIODIC or np.ptp(row) <= FLAT:
        return False
    row = row - row.mean()  # weights about one value are no oscillation
    size = 4 * len(row)
    power = np.square(np.abs(np.fft.rfft(row, size)))
    peak, half = int(power.argmax()), math.ceil(LOBE * size / len(row))
    return bool(power[max(0, peak - half) : peak + half + 1].sum() >= ENOUGH * power.sum())


def _is_symmetric(row: np.ndarray) -> bool:
    """Whether a filter is its own mirror image, as filters of linear phase are, and is not constant."""
    return bool(np.abs(row - row[::-1]).max() <= FLAT and np.ptp(row) > FLAT)


def _is_bank(filters: np.ndarray, sample: np.ndarray) -> bool:
    """Whether each filter is one run of numbers among zeros: triangles, say, over the bins of a spectrum."""
    if len(sample) < 4 or np.count_nonzero(sample) < 2 * len(sample):
        return False
    first = (sample != 0).argmax(axis=1)
    if np.count_nonzero(np.diff(first)) < MIN_MOVES * len(sample):  # blocks of a grouped layer begin together
        return False
    if (density := np.count_nonzero(filters) / filters.size) > MAX_DENSITY:  # last: of all weights, not of a sample
        return False
    if density <= MAX_BAND_DENSITY:
        return all(map(_is_run, sample))
    return bool(sample.min() >= 0) and all(_is_run(row) and _rises_and_falls(row) for row in sample)


def _is_run(row: np.ndarray) -> bool:
    (there,) = np.nonzero(row)
    return int(there[-1] - there[0]) + 1 == len(there)


def _rises_and_falls(row: np.ndarray) -> bool:
    steps = np.sign(np.diff(row))
    steps = steps[steps != 0]
    return int(np.count_nonzero(np.diff(steps))) <= 1
