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
from dataclasses import dataclass

import numpy as np

from ... import arrays
from ...parallel import each
from . import moves
from .rows import RowIndex

# Candidates for the other rounding in a row of n weights, in units of sqrt(n): the cheapest ones. Rounding errors are
# about uniform, so that costs are too, from 0 to 2 gap^2; a sum is rarely off by more than half as many gaps.
CANDIDATES = 2.0
# Candidates that are looked at first: so many for each gap that the sum is off by, and so many more. They are most
# often enough, and whether they were shows: then all others would have changed nothing.
FIRST_CANDIDATES, MORE_CANDIDATES = 2.0, 16.0


MIN_ROWS = 256  # whose candidates are sorted together


def preserve_row_sums(
    weights: arrays.Weights,
    codes: np.ndarray,
    levels: np.ndarray,
    rows: RowIndex,
    slope: float,
    counted: np.ndarray | None = None,
) -> np.ndarray:
    """Codes, some of them one level up or down, with a sum of errors near zero over the weights of each row.

    Where `rows` knows the means of the inputs, each error counts as many times.
    `weights` (float, flat, finite), `codes` (uint8 or uint16) into `levels` (float64, ascending), `rows` their rows.
    `slope` is the squared error that a bit is worth: see grid.rate_slope. `counted`: how often each code occurs, where
    that is known.
    """
    if len(levels) < 2 or not len(weights):
        return codes
    gap = float(np.median(np.diff(levels)))
    length, sums = _row_errors(weights, codes, levels, rows, gap / moves.UNIT)
    changes = moves.level_changes(levels)
    costs = moves.costs(codes, levels, changes, slope, counted)
    candidates = _Candidates(weights, codes, levels, changes, rows, costs)
    direction = np.where(sums > 0, 0, 1)  # down where the values are too large in all, else up
    share = np.minimum(1.0, CANDIDATES / np.sqrt(length))
    share[np.abs(sums) <= moves.UNIT / 2] = -math.inf
    first = (FIRST_CANDIDATES * np.abs(sums) / moves.UNIT + MORE_CANDIDATES) / length
    first = share if rows.has_inputs else np.minimum(share, first)  # a row may have many small means
    flips, settled = _flips(candidates, direction, 2 * gap * gap * first, gap, sums)
    if (again := (first < share) & ~settled).any():
        share[~again] = -math.inf
        more, _ = _flips(candidates, direction, 2 * gap * gap * share, gap, sums)
        flips = np.concatenate([flips[~again[flips["row"]]], more])
    return _moved(codes, flips)


def _moved(codes: np.ndarray, flips: np.ndarray) -> np.ndarray:
    """Codes, some of them a level up or down: part by part, whose flips are together in cache."""
    moves_to = np.sort(flips["position"].astype(np.int64) * 2 + (flips["way"] == 1))
    moved, one_down = np.empty_like(codes), np.iinfo(codes.dtype).max  # modulo 256 or 65536

    def move(part: slice) -> None:
        moved[part] = codes[part]
        some = moves_to[slice(*np.searchsorted(moves_to, [2 * part.start, 2 * part.stop]))]
        moved[some >> 1] += np.where(some & 1, 1, one_down).astype(codes.dtype)

    arrays.over_blocks(move, len(codes), arrays.WIDE_BLOCK)
    return moved


def _row_errors(
    weights: arrays.Weights, codes: np.ndarray, levels: np.ndarray, rows: RowIndex, unit: float
) -> tuple[np.ndarray, np.ndarray]:
    """The number of weights of each row (float64, 1 or more), and the sum of its rounding errors, times the means of
    their inputs, in units (int64)."""

    def sums_of(part: slice) -> tuple[np.ndarray, np.ndarray]:
        lengths, sums = np.zeros(rows.count if rows.length is None else 0), np.zeros(rows.count)
        for block in arrays.blocks_of(part, rows.block_size):
            errors = levels.take(codes[block])
            errors -= weights[block]
            errors /= unit
            factors = rows.factors(block)
            if factors is not None:
                errors *= factors
            panel = rows.panel(block)
            panel.add(np.rint(errors, out=errors), sums)  # integers below 2^53: exact
            if rows.length is None:
                panel.add(np.ones(len(errors)), lengths)
        return lengths, sums

    lengths, sums = np.full(rows.count, float(rows.length or 0)), np.zeros(rows.count)
    for part_lengths, part_sums in arrays.over_parts(sums_of, len(weights), rows.block_size):
        sums += part_sums
        if rows.length is None:
            lengths += part_lengths
    # Beyond 2^53 sums are not exact, and infinities may cancel: such rows are left as they are.
    return np.maximum(lengths, 1), np.where(np.abs(sums) < 2.0**53, sums, 0).astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Weights, and what it costs to move each a level up or down."""

    weights: arrays.Weights
    codes: np.ndarray
    levels: np.ndarray
    changes: np.ndarray
    rows: RowIndex
    fixed: np.ndarray

    def cheapest(self, direction: np.ndarray, max_cost: np.ndarray) -> np.ndarray:
        """Weights that are cheaper than their row's `max_cost` to move a level so that its sum goes in its `direction`.

        Records of position, row, way (0 is down, 1 up), factor (the mean of the weight's input) and cost. The cost is
        the squared error added, (e + d)^2 - e^2 = d^2 + 2 d e for an error e and a change d, and the bits added at the
        slope, in units of the magnitude of the factor.
        """
        position, row = map(np.min_scalar_type, (len(self.weights), self.rows.count))  # narrow: there may be millions
        fields = np.dtype([("position", position), ("row", row), ("way", "i1"), ("factor", "f4"), ("cost", "f8")])
        # In terms of the weight itself, 2 d (level - weight) + fixed, so that less is looked up.
        slopes = 2 * self.changes
        fixed = self.fixed.copy()
        fixed[:, : len(self.levels)] += slopes[:, : len(self.levels)] * self.levels
        ways, fixed, slopes = direction.astype(np.intp) * fixed.shape[1], fixed.ravel(), slopes.ravel()

        def cheap_in(block: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
            """Position, row and cost of the cheap weights of a block, and their factors."""
            panel, factors = self.rows.panel(block), self.rows.factors(block)
            entry = self.codes[block].astype(np.intp)  # as take has them, which would widen them each time
            shaped = panel.shaped(entry)
            shaped += panel.spread(ways)
            if factors is not None:
                entry += np.where(factors < 0, self.changes.shape[1], 0) * np.where(
                    entry < self.changes.shape[1], 1, -1
                )
            cost = slopes.take(entry, mode="clip")  # all are within: "raise" would check them again
            cost *= self.weights[block]
            np.subtract(fixed.take(entry, mode="clip"), cost, out=cost)
            if factors is not None:
                with np.errstate(divide="ignore", invalid="ignore"):
                    cost /= np.abs(factors)
                cost[factors == 0] = math.inf
            cheap = np.flatnonzero(panel.shaped(cost) < panel.spread(max_cost))
            return cheap + block.start, panel.rows_of(cheap), cost[cheap], None if factors is None else factors[cheap]

        def found_in(part: slice) -> np.ndarray:
            """Records are made for many blocks at a time: short arrays would have threads wait for each other."""
            parts = list(zip(*map(cheap_in, arrays.blocks_of(part, self.rows.block_size)), strict=True))
            position, row, cost = map(np.concatenate, parts[:3])
            factor = None if parts[3][0] is None else np.concatenate(parts[3])
            found = np.empty(len(position), fields)
            found["position"], found["row"], found["cost"] = position, row, cost
            found["factor"] = 1 if factor is None else factor
            way = direction[row]
            found["way"] = way if factor is None else way ^ (factor < 0)
            return found

        found: np.ndarray = np.concatenate(each(found_in, arrays.wide_blocks(len(self.weights), self.rows.block_size)))
        return found


def _flips(
    candidates: _Candidates, direction: np.ndarray, max_cost: np.ndarray, gap: float, sums: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Those of the cheapest moves that bring the sum of their row nearest to zero, and of which rows (bool) no dearer
    ones would be taken."""
    found, settled = candidates.cheapest(direction, max_cost), np.abs(sums) <= moves.UNIT / 2
    row = found["row"]

    def of_rows(rows: slice) -> np.ndarray:
        return _flips_to_zero(found[(row >= rows.start) & (row < rows.stop)], candidates, gap, sums, settled)

    size = max(MIN_ROWS, -(-len(sums) // arrays.PARTS))
    return np.concatenate(each(of_rows, arrays.blocks(len(sums), size))), settled


def _flips_to_zero(
    found: np.ndarray, candidates: _Candidates, gap: float, sums: np.ndarray, settled: np.ndarray
) -> np.ndarray:
    """Those of the candidates, of some rows, that bring the sum of their row nearest to zero; `settled` rows are
    marked."""
    if not len(found):
        return found
    found = found[np.lexsort((found["cost"], found["row"]))]  # stable: of equal costs, the lower position first
    row, way, codes = found["row"], found["way"], candidates.codes[found["position"]]
    change = np.rint(candidates.changes[way, codes] / gap * found["factor"] * moves.UNIT).astype(np.int64)
    first = np.flatnonzero(np.diff(row.astype(np.int64), prepend=-1))
    size = np.diff(np.append(first, len(row)))
    running = np.cumsum(change)
    before = np.repeat(running[first] - change[first], size)
    left = np.abs(sums[row] + running - before)  # if this candidate and all before it in its row are flipped
    # Sums shrink until they pass zero: a flip helps if it leaves a smaller sum than the one before it.
    previous = np.append(0, left[:-1])
    previous[first] = np.abs(sums[row[first]])
    worse = left >= previous
    stopped = np.cumsum(worse)
    stops = stopped - np.repeat(stopped[first] - worse[first], size)
    settled[row[first]] = np.add.reduceat(worse, first, dtype=np.int64) > 0
    flips: np.ndarray = found[stops == 0]
    return flips
