"""Weights that are shared already: bit patterns -> the distinct ones, and a code for each.

    patterns  3f80 bf80 3f80   ->   distinct 3f80 bf80   codes 0 1 0

Looked up in a table under a perfect hash (multiplicative, Knuth, TAOCP volume 3, section 6.4) of the patterns seen so
far, which is faster than any sort.
"""

import numpy as np

from ... import arrays
from ...encoded import MAX_ENTRIES

SLOTS = 1 << 16  # of the hash table
BLOCK = 1 << 16
SAMPLE = 4096  # first patterns, which most often hold all distinct ones, or too many


def unique_codes(patterns: arrays.Weights, max_entries: int = MAX_ENTRIES) -> tuple[np.ndarray, np.ndarray] | None:
    """The distinct bit patterns, ascending as integers, and the code (uint8) of each pattern.

    None where there are no patterns, or more than `max_entries` distinct ones.
    """
    known = np.unique(patterns[:SAMPLE])
    if not 1 <= len(known) <= max_entries:
        return None
    multiplier, shift, table = _hash_table(known)
    codes = np.empty(len(patterns), np.uint8)
    for block in arrays.blocks(len(patterns), BLOCK):
        chunk = patterns[block]
        code = table[_hash(chunk, multiplier, shift)]
        if not np.array_equal(known[code], chunk):  # new ones are appended: the codes so far stay valid
            known = np.append(known, np.setdiff1d(chunk, known))
            if len(known) > max_entries:
                return None
            multiplier, shift, table = _hash_table(known)
            code = table[_hash(chunk, multiplier, shift)]
        codes[block] = code
    order = np.argsort(known)
    rank = np.argsort(order).astype(np.uint8)
    if not np.array_equal(order, np.arange(len(order))):

        def renumber(block: slice) -> None:
            codes[block] = rank.take(codes[block])  # in this buffer, not into a second one

        arrays.over_blocks(renumber, len(codes))
    return known[order], codes


def _hash_table(known: np.ndarray) -> tuple[int, int, np.ndarray]:
    """A perfect hash (multiplier, shift) of at most 256 patterns, and the table of their codes (uint8) by hash."""
    multiplier, shift = _perfect_hash(known)
    table = np.zeros(SLOTS, np.uint8)
    table[_hash(known, multiplier, shift)] = np.arange(len(known))
    return multiplier, shift, table


def _hash(patterns: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    hashes: np.ndarray = (patterns * patterns.dtype.type(multiplier)) >> patterns.dtype.type(shift)
    return hashes


def _perfect_hash(distinct: np.ndarray) -> tuple[int, int]:
    """An odd multiplier under which the top 16 bits of the products of `distinct` all differ, and the shift to them."""
    bits = distinct.dtype.itemsize * 8
    generator = np.random.default_rng(len(distinct)).bit_generator
    while True:  # two tries on average for 256 patterns of 32 bits; any odd number will do for 16
        multiplier = int(generator.random_raw()) % (1 << bits) | 1
        if len(np.unique(_hash(distinct, multiplier, bits - 16))) == len(distinct):
            return multiplier, bits - 16
