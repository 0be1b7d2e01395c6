"""Weights that are shared already: bit patterns -> the distinct ones, and the number of each.

    patterns  3f80 bf80 3f80   ->   distinct 3f80 bf80   numbers 0 1 0

Looked up in a table under a perfect hash of the patterns seen so far, which is faster than any sort.
"""

import numpy as np

from ... import arrays
from ...encoded import MOST_ENTRIES

SLOTS = 1 << 16  # of the hash table
BLOCK = 1 << 16


def number(patterns: np.ndarray, most: int = MOST_ENTRIES) -> tuple[np.ndarray, np.ndarray] | None:
    """The distinct ones of bit patterns (array or arrays.LazyValues), ascending as integers, and the code (uint8) of
    each; None of none, or over `most`."""
    known = np.unique(patterns[:4096])
    if not 1 <= len(known) <= most:
        return None
    multiplier, shift, table = _hash_table(known)
    codes = np.empty(len(patterns), np.uint8)
    for start in range(0, len(patterns), BLOCK):
        part = patterns[start : start + BLOCK]
        found = table[_hash(part, multiplier, shift)]
        if not np.array_equal(known[found], part):  # newcomers are numbered last: codes given so far stay right
            known = np.append(known, np.setdiff1d(part, known))
            if len(known) > most:
                return None
            multiplier, shift, table = _hash_table(known)
            found = table[_hash(part, multiplier, shift)]
        codes[start : start + BLOCK] = found
    order = np.argsort(known)
    return known[order], arrays.remap(np.argsort(order).astype(np.uint8), codes, out=codes)


def _hash_table(known: np.ndarray) -> tuple[int, int, np.ndarray]:
    """A perfect hash of at most 256 patterns, and the number (uint8) of each under its hash."""
    multiplier, shift = _perfect_hash(known)
    table = np.zeros(SLOTS, np.uint8)
    table[_hash(known, multiplier, shift)] = np.arange(len(known))
    return multiplier, shift, table


def _hash(patterns: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    return (patterns * patterns.dtype.type(multiplier)) >> patterns.dtype.type(shift)


def _perfect_hash(distinct: np.ndarray) -> tuple[int, int]:
    """An odd multiplier under which the top 16 bits of the products of `distinct` all differ."""
    bits = distinct.dtype.itemsize * 8
    seeds = np.random.default_rng(len(distinct))
    while True:  # two tries on average for 256 patterns of 32 bits; any odd number will do for 16
        multiplier = seeds.bit_generator.random_raw() % (1 << bits) | 1
        if len(np.unique(_hash(distinct, multiplier, bits - 16))) == len(distinct):
            return multiplier, bits - 16
