"""Moving a weight to the next level down or up: what that adds to its value, to its error, and to the bits.

changes = level_changes(levels)            changes[0, code]: down, changes[1, code]: up
costs(codes, levels, changes, slope)       the same for squared error and bits, where the error was 0
"""

import math
from collections.abc import Iterator

import numpy as np

from . import entropy, recode

UNIT = 1 << 20  # errors are rounded to a gap of levels / UNIT: sums of integers are the same in any order


def level_changes(levels: np.ndarray) -> np.ndarray:
    """What a step down (0) or up (1) from each of the `levels` (float64, ascending) adds to the value: float64[2, 256],
    or more for more levels; 0 where there is no level."""
    changes = np.zeros((2, max(256, len(levels))))
    for direction, here, there in _level_steps(levels):
        changes[direction, here] = levels[there] - levels[here]
    return changes


def costs(
    codes: np.ndarray, levels: np.ndarray, changes: np.ndarray, slope: float, counted: np.ndarray | None = None
) -> np.ndarray:
    """What a step down or up from each level costs where the error was 0, in squared error (float64, as `changes`): its
    own, and the bits that are added, at `slope`. Infinite where there is no level.

    `counted`: how often each code occurs, where that is known."""
    bits, found = _code_bits(codes, len(levels), counted), np.full(changes.shape, math.inf)
    for to, here, there in _level_steps(levels):
        found[to, here] = changes[to, here] ** 2 + slope * (bits[there] - bits[here])
    return found


def _level_steps(levels: np.ndarray) -> Iterator[tuple[int, slice, slice]]:
    """For down (0) and up (1): the levels that have a neighbour there, and these neighbours."""
    last = len(levels) - 1
    yield 0, slice(1, last + 1), slice(0, last)
    yield 1, slice(0, last), slice(1, last + 1)


def _code_bits(codes: np.ndarray, entries: int, counted: np.ndarray | None) -> np.ndarray:
    """Bits of each code (float64), by how often it occurs."""
    count = np.zeros(entries)
    if counted is None:
        counted = recode.count_codes(codes)
    count[: len(counted)] = counted
    return entropy.stable_lengths(count, len(codes))
