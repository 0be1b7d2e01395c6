"""A tensor after pruning and sharing: a mask, a code for each kept weight, and what codes stand for.

0 .5 0 0 -.5   ->   Coded(mask 0 1 0 0 1, codes 1 0, entries -.5 .5)
"""

import functools
from dataclasses import dataclass

import numpy as np

from .. import arrays
from ..encoded import MAX_ENTRIES, Codebook
from ..tensor import FLOAT32, Dtype, round_to, values
from . import pairs
from .codebooks import codebook_of
from .stages import huffman, scale


@dataclass(frozen=True, eq=False)
class Coded:
    """The mask of kept positions (bool, flat), a code (uint8) for each of them, and the entries that the codes index.

    Entries are bit patterns of the tensor's type; with `row_scales`, float32 patterns, and elements their products with
    the scales. Codes are uint16 where they index the entries of a `fine` codebook.

    `numbers` are these codes; or, with `zero`, codes of all positions, among which `zero` is that of the zeros, and
    larger ones are one more than the code: where few weights are zero, an index of the others is rarely wanted.
    `counted`: how often each of the numbers occurs (int64[256]), where that is known. `found`: the kept positions,
    where they have been looked for.
    """

    mask: np.ndarray
    numbers: np.ndarray
    entries: np.ndarray
    row_scales: scale.RowScales | None = None
    fine: Codebook | None = None
    zero: int | None = None
    counted: np.ndarray | None = None
    found: arrays.KeptPositions | None = None

    @functools.cached_property
    def codes(self) -> np.ndarray:
        """The codes of the kept positions."""
        if self.zero is None:
            return self.numbers
        table = np.insert(np.arange(MAX_ENTRIES - 1, dtype=np.uint8), self.zero, 0)
        return arrays.gather(
            lambda block: table.take(self.numbers[block][self.mask[block]]), len(self.mask), self.kept, np.uint8
        )

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """How often each code (uint8) occurs (int64[256])."""
        counts = huffman.count_symbols(self.numbers) if self.counted is None else self.counted
        return counts if self.zero is None else np.append(np.delete(counts, self.zero), 0)

    @property
    def kept(self) -> int:
        """The number of kept positions."""
        return len(self.numbers) if self.zero is None else int(self.counts.sum())

    @functools.cached_property
    def positions(self) -> arrays.KeptPositions:
        """The kept positions."""
        return arrays.KeptPositions(self.mask) if self.found is None else self.found

    def look_up(self, table: np.ndarray, block: slice, other: int = 0) -> np.ndarray:
        """table[code] for the kept ones of a block of all positions, `other` for the rest."""
        if len(self.numbers) == len(self.mask):  # a number for each position: no place is looked for
            whole, numbers = table if self.zero is None else np.insert(table, self.zero, other), self.numbers[block]
            is_same = table.dtype == numbers.dtype and np.array_equal(whole, np.arange(len(whole)))
            return numbers if is_same else whole.take(numbers, mode="clip")
        kept_places = self.positions.within(block)
        first = self.positions.rank(block.start)
        codes = self.numbers[first : first + len(kept_places)]
        kept = table.take(codes, mode="clip")  # codes were checked by of_distinct: "raise" would check them again
        length = len(self.mask[block])
        if len(kept) == length:
            return kept
        dense = np.full(length, other, table.dtype)
        dense[kept_places] = kept
        return dense

    @functools.cached_property
    def _pairs(self) -> pairs.Pairs | None:
        """A table of the entries of all positions, where these have codes and their zeros too; None elsewhere."""
        if self.entries.dtype.itemsize > pairs.MAX_ITEM or len(self.numbers) < len(self.mask) or self.fine is not None:
            return None
        entries = self.entries if self.zero is None else np.insert(self.entries, self.zero, 0)
        return pairs.Pairs(entries) if len(entries) <= MAX_ENTRIES else None

    def _entries(self, block: slice) -> np.ndarray:
        """The entries of a block of all positions, 0 for those that are not kept."""
        numbers = self.numbers[block]
        if len(numbers) < pairs.MIN_CODES or self._pairs is None:
            return self.look_up(self.entries, block)
        found = np.empty(len(numbers), self.entries.dtype)
        self._pairs.fill(numbers, found)
        return found

    def elements(self, block: slice, dtype: Dtype) -> np.ndarray:
        """The elements (bit patterns of `dtype`) of a block of all positions."""
        entries = self._entries(block)
        if self.row_scales is None:
            return entries
        return round_to(values(entries, FLOAT32).astype(np.float64) * self.row_scales.at(block), dtype)

    @property
    def is_ramp(self) -> bool:
        """Whether the entries of a tensor in units of scales (float32) make a ramp, fine or not."""
        return self.fine is not None or codebook_of(self.entries, FLOAT32)[0].form == "ramp"
