"""The shortest codebook of some distinct values: a ramp, half floats, or the values as they are (spec, section 8).

-.5 0 .5 1   ->   Codebook("ramp", 4, first=-.5, step=.5)
"""

import dataclasses
import math

import numpy as np

from ..encoded import MAX_ENTRIES, Codebook, Scales, codebook_patterns, entry_values
from ..tensor import FLOAT32, Dtype, round_to, values
from .stages import huffman, scale


def scaled_codebook_of(
    entries: np.ndarray, dtype: Dtype, row_scales: scale.RowScales | None
) -> tuple[Codebook, np.ndarray]:
    """The codebook of these entries and scales, and the code (uint8) of each entry in it."""
    if row_scales is None:
        return codebook_of(entries, dtype)
    numbers = values(entries, FLOAT32).astype(np.float64)
    codebook, table = codebook_of(entries, FLOAT32)
    if not np.array_equal(entry_values(codebook, FLOAT32)[table], numbers) or (
        codebook.form == "native" and dtype != FLOAT32
    ):  # rounded on the way, or elements of another type
        order = np.argsort(numbers, kind="stable")
        codebook = Codebook("native", len(entries), round_to(numbers[order], dtype).tobytes())
        table = np.argsort(order).astype(np.uint8)
    return with_scales(codebook, row_scales), table


def with_scales(codebook: Codebook, row_scales: scale.RowScales | None) -> Codebook:
    """A codebook with these scales, if there are any."""
    if row_scales is None:
        return codebook
    if row_scales.steps is None:
        scales = Scales(row_scales.axis, exact=row_scales.scales.astype("<f4").tobytes())
    else:
        scales = Scales(row_scales.axis, steps=huffman.encode(row_scales.steps))
    return dataclasses.replace(codebook, scales=scales)


def codebook_of(entries: np.ndarray, dtype: Dtype) -> tuple[Codebook, np.ndarray]:
    """The shortest codebook of exactly these distinct entries (bit patterns), and the code (uint8) of each in it."""
    numbers = values(entries, dtype)
    if not np.isfinite(numbers).all():
        return Codebook("native", len(entries), entries.tobytes()), np.arange(len(entries), dtype=np.uint8)
    order = np.lexsort((entries, numbers))
    rank = np.argsort(order).astype(np.uint8)
    entries, numbers = entries[order], numbers[order].astype(np.float64)
    if dtype.bits >= 32 and (ramp := _ramp(entries, numbers, dtype)):
        return ramp[0], ramp[1][rank]
    if dtype.bits >= 32 and np.abs(numbers).max() < np.finfo(np.float16).max:
        half = Codebook("half", len(entries), numbers.astype("<f2").tobytes())
        if np.array_equal(codebook_patterns(half, dtype), entries):
            return half, rank
    return Codebook("native", len(entries), entries.tobytes()), rank


def _ramp(entries: np.ndarray, numbers: np.ndarray, dtype: Dtype) -> tuple[Codebook, np.ndarray] | None:
    """A ramp through all of the entries (sorted, with their values), and the code (uint8) of each on it."""
    if len(numbers) < 3:
        return None
    with np.errstate(over="ignore"):
        first, step = np.array([numbers[0], np.diff(numbers).min()]).astype(np.float32).tolist()
    if not math.isfinite(step) or not 0 < step <= numbers[-1] - first <= step * (
        MAX_ENTRIES - 0.5
    ):  # nor where `first` became infinite
        return None
    codes = np.rint((numbers - first) / step).astype(np.uint8)
    if not np.array_equal(round_to(first + codes.astype(np.float64) * step, dtype), entries):
        return None
    return Codebook("ramp", int(codes[-1]) + 1, first=first, step=step), codes
