"""Scales of rows found again in the values alone, where a tensor was decoded from a record with scales (spec, 8.1).

    rows  12 30 -18  and  80 -32 48   ->   scales 12 and 16, and a step of 0.5: 2 5 -3 and 10 -4 6 of them

An entry times a scale is exact in the tensor's type, but far out on a fine grid. So the numbers of a row have a common
divisor: what is odd in its scale, which has four bits, times what is odd in the step, if entries are multiples of one.
Then the numbers tell the power of two as well; else the sizes of the rows do, as scales were made from these.
"""

import math
from dataclasses import dataclass, fields

import numpy as np

from ..arrays import LazyValues
from ..encoded import MAX_ENTRIES, MAX_LOW_BITS
from ..tensor import PRECISION, Tensor, round_to, values
from . import scaled
from .stages import grid, scale

ODDS = np.array([1, 3, 5, 7, 9, 11, 13, 15])  # what is odd in scales
MAX_LEVELS = MAX_ENTRIES << MAX_LOW_BITS
SCALE_BITS = 4
MAX_BITS = grid.ENTRY_BITS + SCALE_BITS  # significant ones of an entry of a codebook times a scale
ROWS, WEIGHTS = 4, 64  # of a tensor, by which most tensors without scales are recognised
MIN_WEIGHTS = 4  # of these, that tell anything
GLANCE = 4096  # weights whose divisors are looked at before those of all
STEP_ROWS = 16  # rows that propose a step
MAX_UNCLEAR = 64  # rows whose scale is looked for number by number
MAX_SHIFT = 12  # powers of two by which a row's size may mislead
CLEAR = 0.7  # of how common the entries of the median row are, from which a row's scale is not in doubt
NO_POWER = 900  # of a row of zeros
CHUNK = 1 << 20  # weights at a time


@dataclass(frozen=True, eq=False)
class Found:
    """Scales, and the step whose multiples all numbers are in units of these; 0: entries of any kind."""

    row_scales: scale.RowScales
    step: float


@dataclass(frozen=True, eq=False)
class _Divisors:
    """What the numbers of each row have in common (int64 each): all are multiples of 2^power, and of odd `entry` ones;
    those that no rounding can have changed, if the row is on a grid, also of an odd `multiple`.

    `largest` magnitude (float64), most significant `bits` of a number, and `count` of the numbers that are not zero.
    """

    entry: np.ndarray
    multiple: np.ndarray
    power: np.ndarray
    largest: np.ndarray
    bits: np.ndarray
    count: np.ndarray

    @property
    def on_grid(self) -> np.ndarray:
        """Of which rows the numbers are multiples that a fine codebook may have."""
        few: np.ndarray = self.largest < np.ldexp(self.multiple.astype(np.float64), self.power) * MAX_LEVELS
        return few


def find(tensor: Tensor, mask: np.ndarray) -> list[Found]:
    """The scales and steps that the weights that `mask` keeps may have been multiplied from; most often none.

    Coding by them shows whether they were (see regrid).
    """
    axis = scaled.axis_of(tensor)
    if axis is None or not _is_promising(tensor, mask, axis):
        return []
    rows = tensor.shape[axis]
    size = max(1, CHUNK // (len(mask) // rows))
    parts = [_divisors(_numbers(tensor, mask, axis, start, start + size), tensor) for start in range(0, rows, size)]
    names = [field.name for field in fields(_Divisors)]
    divisors = _Divisors(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    if not divisors.count.any():  # nothing is kept but zeros
        return []
    found = [_of_multiples(tensor, mask, axis, divisors)]
    if tensor.dtype.bits >= 32:  # shorter types have grids alone
        found.append(_of_entries(tensor, mask, axis, divisors))
    return [each for each in found if each is not None]


def _is_promising(tensor: Tensor, mask: np.ndarray, axis: int) -> bool:
    """Whether a few rows, and then a few thousand weights, look as if they had scales."""
    count = tensor.shape[axis]
    for row in sorted({count * (2 * n + 1) // (2 * ROWS) for n in range(ROWS)}):
        numbers = _numbers(tensor, mask, axis, row, row + 1)
        numbers = numbers[numbers != 0][None, :WEIGHTS]
        if numbers.size >= MIN_WEIGHTS:
            divisors = _divisors(numbers, tensor)
            if not divisors.on_grid[0] and divisors.bits[0] > MAX_BITS:
                return False
    numbers = _numbers(tensor, mask, axis, 0, max(1, GLANCE // (len(mask) // count)))
    divisors = _divisors(numbers, tensor)
    if (divisors.on_grid | (divisors.count < MIN_WEIGHTS)).mean() > 0.5:
        return True
    if tensor.dtype.bits < 32:
        return False
    odd = np.abs(numbers) / _scale_odd(divisors.entry, _common_odd(divisors.entry, divisors.count))[:, None]
    return len(np.unique(np.frexp(odd[odd > 0])[0])) <= 2 * MAX_ENTRIES


def _numbers(tensor: Tensor, mask: np.ndarray, axis: int, start: int, stop: int) -> np.ndarray:
    """The numbers (float64) of rows `start` to `stop`, zeros where `mask` keeps none: [rows, weights]."""
    shape = (-1, tensor.shape[axis], math.prod(tensor.shape[axis + 1 :]))
    patterns = tensor.patterns.reshape(shape)[:, start:stop].transpose(1, 0, 2)
    kept = mask.reshape(shape)[:, start:stop].transpose(1, 0, 2)
    numbers = values(np.ascontiguousarray(patterns), tensor.dtype).astype(np.float64)
    return np.where(kept, numbers, 0.0).reshape(len(numbers), -1)


def _divisors(numbers: np.ndarray, tensor: Tensor) -> _Divisors:
    """What the numbers (float64[rows, weights], finite) of each row have in common."""
    magnitudes = np.abs(numbers)
    mantissas, exponents = np.frexp(magnitudes)
    whole = np.ldexp(mantissas, 53).astype(np.int64)
    zeros = np.frexp((whole & -whole).astype(np.float64))[1] - 1  # bits at the end; -1 of zero itself
    odd = np.where(whole > 0, whole >> np.maximum(zeros, 0), 0)
    power = np.where(whole > 0, exponents - 53 + zeros, NO_POWER).min(axis=1)
    # A multiple m * 2^power below this takes no more bits than a number has.
    is_exact = magnitudes < np.ldexp(1.0, power + PRECISION[tensor.dtype.name])[:, None]
    return _Divisors(
        np.gcd.reduce(odd, axis=1),
        np.gcd.reduce(np.where(is_exact, odd, 0), axis=1),
        power,
        magnitudes.max(axis=1),
        np.where(whole > 0, 53 - zeros, 0).max(axis=1),
        np.count_nonzero(whole, axis=1),
    )


def _scale_odd(odd: np.ndarray, step: int) -> np.ndarray:
    """What is odd in each row's scale: the largest that divides its divisor beside the step's."""
    found = np.ones(len(odd), np.int64)
    for factor in ODDS:
        found[odd % (factor * step) == 0] = factor
    return found


def _of_powers(
    tensor: Tensor, axis: int, odd: np.ndarray, powers: np.ndarray, told: np.ndarray, step: int
) -> Found | None:
    """Scales odd * 2^power of the rows that are `told`, the smallest of them from 8 to 15; None where they are too far
    apart."""
    length = np.frexp(odd.astype(np.float64))[1]  # bits: a scale has four before its power of two
    shift = powers - (SCALE_BITS - length)
    unit = int(shift[told].min())
    symbols = np.where(told, (odd << (SCALE_BITS - length)) - 8 + 8 * (shift - unit), 0)
    if symbols.max() > scale.MAX_STEP:
        return None
    return Found(scale.of_steps(symbols.astype(np.uint8), axis, tensor.shape), math.ldexp(step, unit))


# -- multiples of a step ----------------------------------------------------------------------------------------------


def _of_multiples(tensor: Tensor, mask: np.ndarray, axis: int, divisors: _Divisors) -> Found | None:
    """Scales under which the numbers are multiples of one step, a few of them rounded; None where they are not."""
    told = divisors.count > 0
    if np.count_nonzero(divisors.on_grid & told) <= np.count_nonzero(told) / 2:
        return None
    step = _common_odd(divisors.multiple[told], divisors.count[told])
    odd, powers = _scale_odd(divisors.multiple, step), divisors.power.copy()
    unclear = np.flatnonzero(told & (divisors.multiple % step != 0))
    if len(unclear) > MAX_UNCLEAR:
        return None
    for row in unclear.tolist():  # all of its numbers are rounded
        numbers = _numbers(tensor, mask, axis, row, row + 1)[0]
        exact = _rounded_from(np.unique(np.abs(numbers[numbers != 0])), step, tensor)
        if exact is None:
            return None
        odd[row], powers[row] = exact
    return _of_powers(tensor, axis, odd, powers, told, step)


def _common_odd(odd: np.ndarray, count: np.ndarray) -> int:
    """The odd number which, times what is odd in a scale, is the divisor of most rows; the largest of equal ones."""
    longest = odd[np.argsort(-count, kind="stable")[:STEP_ROWS]]
    proposed = np.unique(np.concatenate([longest[longest % factor == 0] // factor for factor in ODDS]))[::-1]
    votes = [np.isin(odd, number * ODDS).sum() for number in proposed]
    return int(proposed[int(np.argmax(votes))])


def _rounded_from(magnitudes: np.ndarray, step: int, tensor: Tensor) -> tuple[int, int] | None:
    """The largest odd * 2^power, as in a scale, whose multiples by `step` round to all of `magnitudes` (float64)."""
    top = int(np.frexp(magnitudes.max() / step)[1])
    for power in range(top, top - MAX_LEVELS.bit_length() - SCALE_BITS, -1):
        for odd in ODDS[::-1].tolist():
            unit = math.ldexp(step * odd, power)
            multiples = np.rint(magnitudes / unit)
            rounded = values(round_to(multiples * unit, tensor.dtype), tensor.dtype)
            if multiples.max() < MAX_LEVELS and np.array_equal(rounded.astype(np.float64), magnitudes):
                return odd, power
    return None


# -- entries of any kind ----------------------------------------------------------------------------------------------


def _of_entries(tensor: Tensor, mask: np.ndarray, axis: int, divisors: _Divisors) -> Found | None:
    """Scales under which the numbers have few distinct values; None where they have too many bits."""
    told = divisors.count > 0
    sizes = scaled.sizes_of(tensor, LazyValues(tensor.patterns, tensor.dtype))
    if sizes is None or (divisors.bits > MAX_BITS).any():
        return None
    odd = _scale_odd(divisors.entry, _common_odd(divisors.entry[told], divisors.count[told]))
    powers = _nearest_powers(odd, sizes.scales, told)
    distinct = []
    for row in range(len(odd)):
        numbers = np.unique(_numbers(tensor, mask, axis, row, row + 1))
        distinct.append(numbers[numbers != 0])
        if len(numbers) > MAX_ENTRIES + 1:
            return None
    return _of_powers(tensor, axis, odd, powers, told, 0) if _settle(distinct, odd, powers) else None


def _nearest_powers(odd: np.ndarray, sizes: np.ndarray, told: np.ndarray) -> np.ndarray:
    """The powers of two that bring odd * 2^power nearest to the rows' sizes, but for a factor that all have."""
    exponents = np.log2(sizes / odd)
    turns = np.exp(2j * np.pi * exponents[told])
    shift = float(np.angle(turns.sum())) / (2 * np.pi)
    powers: np.ndarray = np.rint(exponents - shift).astype(np.int64)
    return powers


def _settle(distinct: list[np.ndarray], odd: np.ndarray, powers: np.ndarray) -> bool:
    """Change `odd` and `powers` of rows where others fit entries that more rows have; whether that is so of most rows.

    Sizes mislead where nearly all weights of a row became zero; and few numbers may have a divisor by chance.
    """
    entries = [np.ldexp(numbers / factor, -power) for numbers, factor, power in zip(distinct, odd, powers, strict=True)]
    telling = [own for own in entries if len(own) >= MIN_WEIGHTS]
    known, rows = np.unique(np.concatenate(telling or entries), return_counts=True)

    def commonness(numbers: np.ndarray) -> np.ndarray:
        """In how many rows numbers are entries, on average over the last axis."""
        places = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
        common: np.ndarray = np.where(known[places] == numbers, rows[places], 0).mean(axis=-1)
        return common

    scores = np.array([commonness(own) if len(own) else np.inf for own in entries])
    unclear = np.flatnonzero(scores < CLEAR * np.median(scores))
    if np.count_nonzero(rows > 1) > 2 * MAX_ENTRIES or len(unclear) > max(MAX_UNCLEAR, len(entries) // 4):
        return False
    shifts = np.arange(-MAX_SHIFT, MAX_SHIFT + 1)
    for row in unclear.tolist():
        factors = ODDS[odd[row] % ODDS == 0]
        scales = np.ldexp(factors[:, None].astype(np.float64), int(powers[row]) + shifts)
        found = commonness(distinct[row] / scales[:, :, None])
        if found.max() > scores[row]:
            factor, shift = np.unravel_index(int(found.argmax()), found.shape)
            odd[row], powers[row] = factors[factor], powers[row] + shifts[shift]
    return True
