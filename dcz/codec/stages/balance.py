"""Row-sum-preserving rounding: codes -> codes whose rounding errors cancel in every row.

    row 0.4 0.4 0.4 0.9, levels 0 and 1:   to nearest 0 0 0 1, sum 1   here 0 0 1 1, sum 2 (exactly 2.1)

    the same, if the first input is 0 on average and the second 5:   to nearest 0 0 0 1   here 0 1 0 1

Inputs of most layers have a mean that is not zero: after a ReLU none is negative. Rounding errors that add up in a row,
each times the mean of its input where that is known, then shift all outputs of that row alike (Nagel et al., "Data-free
quantization through weight equalization and bias correction", 2019, section 4.2, corrects that shift in the bias).
Rounding to nearest is not the best rounding (Nagel et al., "Up or down? Adaptive rounding for post-training
quantization", 2020): here a few weights of the row, those nearest to the threshold between two levels, are rounded the
other way, which hardly adds any error, until the sum is right. Where means are known, those come first that add least
for what they take away from the sum. SQuant (Guo et al., 2022) flips roundings by the same criterion, without the price
in bits.
"""

import math
from collections.abc import Iterator

import numpy as np

from ... import arrays
from . import entropy

UNIT = 1 << 20  # errors are rounded to gap / UNIT: sums of integers are the same in any order
BLOCK = 1 << 16
# Candidates for the other rounding in a row of n weights, in units of sqrt(n): the cheapest ones. Rounding errors are
# about uniform, so that costs are too, from 0 to 2 gap^2; a sum is rarely off by more than half as many gaps.
CANDIDATES = 2.0


class RowIndex:
    """The row of each weight, and the mean of its input (see Tensor.rows, Tensor.inputs).

    `positions` (integers, flat, or arrays.KeptPositions) are those of the weights in the tensor, None for all of it.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        rows: int,
        positions: np.ndarray | arrays.KeptPositions | None = None,
        inputs: np.ndarray | None = None,
    ):
        self._positions = positions
        self._inputs = None if inputs is None else _relative(inputs)
        self._last_axis = rows < 0  # the last axis numbers the rows
        self.count = shape[-1] if rows < 0 else math.prod(shape[:rows])
        self._inner = self.count if rows < 0 else math.prod(shape[rows:])

    def __getitem__(self, block: slice) -> np.ndarray:
        if self._positions is not None:
            positions: np.ndarray = self._positions[block]
            return positions % self._inner if self._last_axis else positions // self._inner
        shape, axis = ((1, self._inner), 1) if self._last_axis else ((self.count, self._inner), 0)
        return arrays.places(shape, axis, block)

    def factors(self, block: slice) -> np.ndarray | None:
        """The mean of each weight's input (float64), in units of the mean magnitude of its row's; None where it is not
        known."""
        if self._inputs is None:
            return None
        positions = np.arange(block.start, block.stop) if self._positions is None else self._positions[block]
        groups, channels = self._inputs.shape
        if self._last_axis:
            column = positions // self._inner
            factors: np.ndarray = self._inputs[0].take(column)
            return factors
        row, column = np.divmod(positions, self._inner)
        column //= self._inner // channels
        column += row // (self.count // groups) * channels
        return self._inputs.ravel().take(column)


def _relative(inputs: np.ndarray) -> np.ndarray:
    """The means of each group in units of their mean magnitude; all 0 where that is 0."""
    sizes = np.array([[math.fsum(row) / len(row)] for row in np.abs(inputs).tolist()])  # fsum: exact in any order
    relative: np.ndarray = np.divide(inputs, sizes, out=np.zeros_like(inputs), where=sizes > 0)
    return relative


def preserve_row_sums(
    weights: arrays.Weights, codes: np.ndarray, levels: np.ndarray, rows: RowIndex, slope: float
) -> np.ndarray:
    """Codes, some of them one level up or down, with a sum of errors near zero over the weights of each row.

    Where `rows` knows the means of the inputs, each error counts as many times.
    `weights` (float, flat, finite), `codes` (uint8 or uint16) into `levels` (float64, ascending), `rows` their rows.
    `slope` is the squared error that a bit is worth: see grid.rate_slope.
    """
    if len(levels) < 2 or not len(weights):
        return codes
    gap = float(np.median(np.diff(levels)))
    length, sums = _row_errors(weights, codes, levels, rows, gap / UNIT)
    direction = np.where(sums > 0, 0, 1)  # down where the values are too large in all, else up
    max_cost = 2 * gap * gap * np.minimum(1.0, CANDIDATES / np.sqrt(np.maximum(length, 1)))
    max_cost[np.abs(sums) <= UNIT / 2] = -math.inf
    changes = _level_changes(levels)
    flips = _flips(weights, codes, levels, changes, rows, slope, direction, max_cost)
    flips = flips[np.lexsort((flips["cost"], flips["row"]))]  # stable: of equal costs, the lower position first
    position, way = flips["position"], flips["way"]
    change = np.rint(changes[way, codes[position]] / gap * flips["factor"] * UNIT).astype(np.int64)
    flipped = _flips_to_zero(flips["row"], change, sums)
    position, way = position[flipped], way[flipped]
    rounded = codes.copy()
    one_down = np.iinfo(codes.dtype).max  # modulo 256 or 65536
    rounded[position] += np.where(way == 1, 1, one_down).astype(codes.dtype)
    return rounded


def _row_errors(
    weights: arrays.Weights, codes: np.ndarray, levels: np.ndarray, rows: RowIndex, unit: float
) -> tuple[np.ndarray, np.ndarray]:
    """The number of weights of each row (float64), and the sum of its rounding errors, times the means of their inputs,
    in units (int64)."""
    count, sums = np.zeros(rows.count), np.zeros(rows.count)
    for block in arrays.blocks(len(weights), BLOCK):
        row, errors = rows[block], levels.take(codes[block])
        errors -= weights[block]
        errors /= unit
        factors = rows.factors(block)
        if factors is not None:
            errors *= factors
        np.rint(errors, out=errors)
        sums += np.bincount(row, errors, rows.count)  # integers below 2^53: exact
        count += np.bincount(row, minlength=rows.count)
    # Beyond 2^53 sums are not exact, and infinities may cancel: such rows are left as they are.
    return count, np.where(np.abs(sums) < 2.0**53, sums, 0).astype(np.int64)


def _level_steps(levels: np.ndarray) -> Iterator[tuple[int, slice, slice]]:
    """For down (0) and up (1): the levels that have a neighbour there, and these neighbours."""
    last = len(levels) - 1
    yield 0, slice(1, last + 1), slice(0, last)
    yield 1, slice(0, last), slice(1, last + 1)


def _level_changes(levels: np.ndarray) -> np.ndarray:
    """What a step down or up from each level adds to the value: float64[2, 256], or more for more levels."""
    changes = np.zeros((2, max(256, len(levels))))
    for direction, here, there in _level_steps(levels):
        changes[direction, here] = levels[there] - levels[here]
    return changes


def _flips(
    weights: arrays.Weights,
    codes: np.ndarray,
    levels: np.ndarray,
    changes: np.ndarray,
    rows: RowIndex,
    slope: float,
    direction: np.ndarray,
    max_cost: np.ndarray,
) -> np.ndarray:
    """Weights that are cheaper than their row's `max_cost` to move a level so that its sum goes in its `direction`.

    Records of position, row, way (0 is down, 1 up), factor (the mean of the weight's input) and cost. The cost is the
    squared error added, (e + d)^2 - e^2 = d^2 + 2 d e for an error e and a change d, and the bits added at `slope`, in
    units of the magnitude of the factor.
    """
    bits, fixed = _code_bits(codes, len(levels)), np.full(changes.shape, math.inf)
    for to, here, there in _level_steps(levels):
        fixed[to, here] = changes[to, here] ** 2 + slope * (bits[there] - bits[here])
    integer = np.min_scalar_type(max(len(weights), rows.count))  # narrow: there may be millions of candidates
    fields = [("position", integer), ("row", integer), ("way", "i1"), ("factor", "f4"), ("cost", "f8")]
    double, width = 2 * changes.ravel(), changes.shape[1]
    candidates = []
    for block in arrays.blocks(len(weights), BLOCK):
        code, row, factors = codes[block], rows[block], rows.factors(block)
        way = direction.take(row)
        if factors is not None:
            way ^= factors < 0
        entry = way * width
        entry += code
        cost = levels.take(code)
        cost -= weights[block]
        cost *= double.take(entry)
        cost += fixed.take(entry)
        if factors is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                cost /= np.abs(factors)
            cost[factors == 0] = math.inf
        cheap = np.flatnonzero(cost < max_cost.take(row))
        found = np.empty(len(cheap), fields)
        found["position"], found["row"], found["way"] = cheap + block.start, row[cheap], way[cheap]
        found["factor"], found["cost"] = 1 if factors is None else factors[cheap], cost[cheap]
        candidates.append(found)
    return np.concatenate(candidates)


def _code_bits(codes: np.ndarray, entries: int) -> np.ndarray:
    """Bits of each code (float64), by how often it occurs."""
    count = np.zeros(entries)
    used = arrays.count_codes(codes) if codes.dtype == np.uint8 else np.bincount(codes)
    count[: len(used)] = used
    return entropy.stable_lengths(count, len(codes))


def _flips_to_zero(row: np.ndarray, change: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Which candidates (bool; sorted by row, cheapest first) to flip: as many as bring the sum nearest to zero."""
    if not len(row):
        return np.zeros(0, bool)
    first = np.flatnonzero(np.diff(row, prepend=-1))
    running = np.cumsum(change)
    before = np.repeat(running[first] - change[first], np.diff(np.append(first, len(row))))
    left = np.abs(sums[row] + running - before)  # if this candidate and all before it in its row are flipped
    # Sums shrink until they pass zero: a flip helps if it leaves a smaller sum than the one before it.
    previous = np.append(0, left[:-1])
    previous[first] = np.abs(sums[row[first]])
    worse = left >= previous
    stopped = np.cumsum(worse)
    flips: np.ndarray = stopped - np.repeat(stopped[first] - worse[first], np.diff(np.append(first, len(row)))) == 0
    return flips
