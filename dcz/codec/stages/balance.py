"""Codes -> codes whose errors cancel in every row.

    row 0.4 0.4 0.4 0.9 on whole levels: nearest 0 0 0 1, balanced 0 0 1 1

Inputs of most layers have a mean: after a ReLU none is negative. What a layer makes of the mean is its rows' sums, so
errors that add up in a row shift all of its outputs alike, and the network drifts. A few weights of the row that lie
nearest to the middle of two levels go to the other one instead: hardly any error more, and the sum is right.
"""

import math
from collections.abc import Iterator

import numpy as np

from ... import arrays
from . import code_length

UNIT = 1 << 20  # errors are whole numbers of this part of the widest gap: their sums are the same in any order
BLOCK = 1 << 16
FEW = 1 << 12  # rows that a block has again and again
SHARE = 2.0  # times the root of a row's length: weights that may move. A sum is rarely off by more than half of them.


class RowIndex:
    """Which row each weight is in: see Tensor.rows. `places` (integers, flat, or arrays.KeptPositions) are those of the
    weights in the tensor, None for all of it."""

    def __init__(self, shape: tuple[int, ...], rows: int, places=None):
        self._places = places
        self._last = rows < 0  # the last axis numbers the rows
        self.count = shape[-1] if rows < 0 else math.prod(shape[:rows])
        self._inner = self.count if rows < 0 else math.prod(shape[rows:])

    def __getitem__(self, part: slice) -> np.ndarray:
        if self._places is not None:
            return self._places[part] % self._inner if self._last else self._places[part] // self._inner
        if self._last and self._inner > FEW:
            return np.arange(part.start, part.stop) % self._inner
        # Without a division for each place, which would take longer than all else.
        first, last = part.start // self._inner, -(-part.stop // self._inner)
        if self._last:
            skipped = part.start - first * self._inner
            return np.tile(np.arange(self._inner), last - first)[skipped : skipped + part.stop - part.start]
        edges = np.clip(np.arange(first, last + 1) * self._inner, part.start, part.stop)
        return np.repeat(np.arange(first, last), np.diff(edges))


def balanced(weights: np.ndarray, codes: np.ndarray, levels: np.ndarray, rows: RowIndex, slope: float) -> np.ndarray:
    """Codes (uint8) near the given ones, with sums of errors near zero over the weights of each row.

    `weights` (float, flat, finite), `codes` (uint8) into `levels` (float64, ascending), `rows` their rows. `slope` is
    the squared error that a bit is worth: see share.rate_slope.
    """
    if len(levels) < 2 or not len(weights):
        return codes
    gap = float(np.median(np.diff(levels)))
    length, sums = _sums(weights, codes, levels, rows, gap / UNIT)
    wanted = np.where(sums > 0, 0, 1)  # down where the values are too large in all, else up
    reach = 2 * gap * gap * np.minimum(1.0, SHARE / np.sqrt(np.maximum(length, 1)))
    reach[np.abs(sums) <= UNIT / 2] = -math.inf
    changes = _changes(levels)
    place, row, cost = _candidates(weights, codes, levels, changes, rows, slope, wanted, reach)
    order = np.lexsort((cost, row))  # of those that cost the same, the first places stay first
    place, row = place[order], row[order]
    del cost, order
    moved = _moved(row, np.rint(changes[wanted[row], codes[place]] / gap * UNIT).astype(np.int64), sums)
    place, row = place[moved], row[moved]
    found = codes.copy()
    found[place] += np.where(wanted[row] == 1, 1, 255).astype(np.uint8)  # modulo 256: one up or down
    return found


def _sums(weights, codes, levels, rows: RowIndex, unit: float) -> tuple[np.ndarray, np.ndarray]:
    """How many weights each row has, and its error in units (int64)."""
    count, sums = np.zeros(rows.count), np.zeros(rows.count)
    for start in range(0, len(weights), BLOCK):
        part = slice(start, min(start + BLOCK, len(weights)))
        row, errors = rows[part], levels.take(codes[part])
        errors -= weights[part]
        errors /= unit
        np.rint(errors, out=errors)
        sums += np.bincount(row, errors, rows.count)  # whole numbers below 2^53: exact
        count += np.bincount(row, minlength=rows.count)
    return count, sums.astype(np.int64)


def _steps(levels: np.ndarray) -> Iterator[tuple[int, slice, slice]]:
    """Down (0) and up (1): the levels from which there is a step, and those to which it leads."""
    last = len(levels) - 1
    yield 0, slice(1, last + 1), slice(0, last)
    yield 1, slice(0, last), slice(1, last + 1)


def _changes(levels: np.ndarray) -> np.ndarray:
    """What a step down, or up, adds to a value at each level: float64[2, 256]."""
    change = np.zeros((2, 256))
    for way, here, there in _steps(levels):
        change[way, here] = levels[there] - levels[here]
    return change


def _candidates(weights, codes, levels, change, rows: RowIndex, slope: float, wanted: np.ndarray, reach: np.ndarray):
    """Weights whose move to the next level, the way their row wants, costs less than the row's `reach`: their places,
    rows and costs."""
    price, fixed = _prices(codes, len(levels)), np.full((2, 256), math.inf)
    for way, here, there in _steps(levels):
        fixed[way, here] = change[way, here] ** 2 + slope * (price[there] - price[here])
    narrow = np.min_scalar_type(max(len(weights), rows.count))  # there may be millions of them
    found, double, table = [], 2 * change.ravel(), 256 * wanted  # of a row, where its way's costs begin
    for start in range(0, len(weights), BLOCK):
        part = slice(start, min(start + BLOCK, len(weights)))
        code, row = codes[part], rows[part]
        place = table.take(row)
        place += code
        cost = levels.take(code)
        cost -= weights[part]
        cost *= double.take(place)
        cost += fixed.take(place)
        near = np.flatnonzero(cost < reach.take(row))
        found.append(((near + start).astype(narrow), row[near].astype(narrow), cost[near]))
    return [np.concatenate(each) for each in zip(*found)]


def _prices(codes: np.ndarray, entries: int) -> np.ndarray:
    """Bits of each code (float64), by how often it occurs."""
    count = np.zeros(entries)
    used = arrays.count_codes(codes)
    count[: len(used)] = used
    return code_length.stable_lengths(count, len(codes))


def _moved(row: np.ndarray, change: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Which of the candidates (bool; sorted by row, cheapest first) move: as many as bring the sum nearest to zero."""
    if not len(row):
        return np.zeros(0, bool)
    first = np.flatnonzero(np.diff(row, prepend=-1))
    running = np.cumsum(change)
    before = np.repeat(running[first] - change[first], np.diff(np.append(first, len(row))))
    left = np.abs(sums[row] + running - before)  # where this one and all before it move
    # Sums only shrink until they pass zero: a move is good if it leaves less than there was before it.
    previous = np.append(0, left[:-1])
    previous[first] = np.abs(sums[row[first]])
    worse = left >= previous
    stopped = np.cumsum(worse)
    return stopped - np.repeat(stopped[first] - worse[first], np.diff(np.append(first, len(row)))) == 0
