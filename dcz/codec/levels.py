"""A record as the codes of its elements and the numbers that these stand for, for what looks them up itself.

    levels(archive.encoded(entry), FLOAT32, (2, 3))   ->   Levels(codes=[0 2 1 1 0 2], entries=[-.5 0 .5], step=.5 ...)

Places that a `sparse` record leaves out have the code of a zero, which is put beside the codebook where it has none.
"""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from .. import arrays
from ..encoded import (
    MAX_ENTRIES,
    Codebook,
    Encoded,
    Scales,
    Shared,
    Sparse,
    codebook_patterns,
    entry_values,
    exact_scales,
    step_scales,
)
from ..tensor import Dtype, matrix_shape, round_to
from .decode import Run, codes_of, symbols_of
from .stages import huffman, index

MAX_LEVELS = 1 << 16  # codes of two bytes


@dataclass(frozen=True, eq=False)
class Levels:
    """The codes (uint8 or uint16, flat) of a tensor's elements, and the entries that they number.

    `entries` (float64) are numbers before scales; `patterns` the same as bit patterns of the tensor's type, where there
    are no scales. Where `step` is not 0, entry i is (i - `zero`) * `step`. `scales` (float64) lie along `axis`.
    """

    dtype: Dtype
    shape: tuple[int, ...]
    codes: np.ndarray
    entries: np.ndarray
    patterns: np.ndarray | None
    step: float = 0.0
    zero: int = 0
    scales: np.ndarray | None = None
    axis: int = 0

    def elements(self, block: slice) -> np.ndarray:
        """The bit patterns of the elements at a slice of the flat positions (spec, section 8)."""
        if self.scales is None:
            assert self.patterns is not None, "entries without scales have patterns"
            found: np.ndarray = self.patterns[self.codes[block]]
            return found
        return round_to(self.entries[self.codes[block]] * self.scales_at(block), self.dtype)

    def scales_at(self, block: slice) -> np.ndarray:
        """The scale (float64) of each element of a slice."""
        assert self.scales is not None, "asked for where there are some"
        found: np.ndarray = self.scales[arrays.places(self.shape, self.axis, block)]
        return found


def is_ramp(encoded: Encoded) -> bool:
    """Whether a record has codes of a ramp whose entries are whole numbers times its step."""
    codebook = encoded.codebook if isinstance(encoded, (Shared, Sparse)) else None
    return codebook is not None and _zero(codebook) is not None


def levels(encoded: Encoded, dtype: Dtype, shape: tuple[int, ...]) -> Levels | None:
    """The codes and entries of a record; None for encodings without codes, and where a zero has no code left.

    Raises CorruptFile as decode.decode does.
    """
    if not isinstance(encoded, (Shared, Sparse)):
        return None
    run = partial(symbols_of, engine=huffman.decode)
    codebook = encoded.codebook
    if codebook is None or encoded.codes is None:  # all zeros
        return Levels(dtype, shape, np.zeros(math.prod(shape), np.uint8), np.zeros(1), np.zeros(1, dtype.pattern))
    scales = None if codebook.scales is None else _scales(codebook.scales, run)
    entries = entry_values(codebook, dtype)
    patterns = codebook_patterns(codebook, dtype) if scales is None else None
    codes = codes_of(codebook, encoded.codes, encoded.low, run)
    zero = _zero(codebook)
    found = Levels(
        dtype, shape, codes, entries, patterns, codebook.step if zero is not None else 0.0, zero or 0, scales,
        0 if codebook.scales is None else codebook.scales.axis,
    )  # fmt: skip
    return found if isinstance(encoded, Shared) else _spread(found, encoded, run)


def _scales(scales: Scales, run: Run) -> np.ndarray:
    if scales.steps is None:
        return exact_scales(scales.exact).astype(np.float64)
    return step_scales(run(scales.steps, MAX_ENTRIES))


def _zero(codebook: Codebook) -> int | None:
    """The number of the entry that is 0, if the ramp went so far; None where the codebook is no such ramp."""
    if codebook.form not in ("ramp", "fine") or not codebook.step > 0:
        return None
    zero = -codebook.first / codebook.step
    if not abs(zero) < MAX_LEVELS or zero != round(zero) or -round(zero) * codebook.step != codebook.first:
        return None
    return round(zero)


def _spread(kept: Levels, encoded: Sparse, run: Run) -> Levels | None:
    """The codes of all elements, from those of the kept places alone."""
    entries, patterns, zero, shift = kept.entries, kept.patterns, kept.zero, 0
    count = len(entries)
    if kept.step:
        shift = max(0, -zero)  # entries below the first one
        count = max(count, zero + 1) + shift
        code = zero + shift
        if count > MAX_LEVELS:
            return None
        entries = (np.arange(count) - code) * kept.step
        patterns = None if patterns is None else round_to(entries, kept.dtype)
    else:
        plain = entries.view(np.uint64) if patterns is None else patterns
        found = np.flatnonzero(plain == 0)
        code = int(found[0]) if len(found) else count
        if code == count:
            entries = np.append(entries, 0.0)
            patterns = None if patterns is None else np.append(patterns, np.zeros(1, patterns.dtype))
    if len(entries) > MAX_LEVELS:
        return None
    codes = np.full(math.prod(kept.shape), code, np.uint8 if len(entries) <= MAX_ENTRIES else np.uint16)
    _scatter(kept.codes, shift, encoded, kept.shape, run, codes)
    return Levels(
        kept.dtype, kept.shape, codes, entries, patterns, kept.step, code if kept.step else 0, kept.scales, kept.axis
    )


def _scatter(
    kept: np.ndarray, shift: int, encoded: Sparse, shape: tuple[int, ...], run: Run, target: np.ndarray
) -> None:
    """Change `target`: put the codes of the kept places, plus `shift`, where these are."""
    place, done = encoded.index, 0
    unfold = index.Unfold(matrix_shape(shape), place.column_major, place.rows, place.columns)
    for compact in index.decode(run(place.gaps, 1 << place.gap_bits), place.gap_bits, place.kept, unfold.size):
        part = kept[done : done + len(compact)].astype(target.dtype, copy=False)
        target[unfold(compact)] = part + target.dtype.type(shift) if shift else part
        done += len(compact)
