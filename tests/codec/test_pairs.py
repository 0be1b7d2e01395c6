"""Two codes at a time give what one at a time does."""

import numpy as np
import pytest

from dcz.codec import pairs
from dcz.codec.coded import Coded


@pytest.mark.parametrize("length", [0, 1, 2, 65537])
@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
def test_pairs_are_looked_up_as_single_codes(dtype, length):
    random = np.random.default_rng(length)
    entries = random.integers(0, 1 << 16, 200).astype(dtype)
    codes = random.integers(0, 200, length).astype(np.uint8)
    target = np.empty(length, dtype)
    pairs.Pairs(entries).fill(codes, target)
    assert np.array_equal(target, entries[codes])


@pytest.mark.parametrize("zero", [None, 0, 3])
def test_elements_of_a_block_are_the_entries_of_its_codes(zero):
    """However many places a block has: many are looked up in pairs."""
    random = np.random.default_rng(0)
    entries = random.integers(1, 1 << 32, 7).astype("<u4")
    numbers = random.integers(0, 8 if zero is not None else 7, 3 * pairs.MIN_CODES + 1).astype(np.uint8)
    mask = np.ones(len(numbers), bool) if zero is None else numbers != zero
    coded = Coded(mask, numbers, entries, zero=zero)
    table = entries if zero is None else np.insert(entries, zero, 0)
    for block in (slice(0, len(numbers)), slice(5, 12), slice(1, pairs.MIN_CODES + 2)):
        assert np.array_equal(coded._entries(block), table[numbers[block]])
