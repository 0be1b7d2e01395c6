import numpy as np
import pytest

from dcz.codec.stages import distinct


def distinct_patterns(dtype, count, seed):
    rng = np.random.default_rng(seed)
    found = np.empty(0, dtype)
    while len(found) < count:
        found = np.unique(np.append(found, rng.integers(0, np.iinfo(dtype).max, 2 * count, dtype)))
    return rng.permutation(found)[:count]


@pytest.mark.parametrize("count", [1, 2, 255, 256])
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
def test_few_distinct_patterns_are_found_with_their_codes(dtype, count):
    patterns = np.random.default_rng(count).choice(distinct_patterns(dtype, count, count), 5000)
    found, codes = distinct.unique_codes(patterns)
    expected, number = np.unique(patterns, return_inverse=True)
    assert codes.dtype == np.uint8
    assert np.array_equal(found, expected) and np.array_equal(codes, number)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
@pytest.mark.parametrize("seed", range(5))
def test_a_perfect_hash_is_found_for_any_256_patterns(dtype, seed):
    regular = (np.arange(256).astype(dtype) << dtype(seed)) * dtype(3)
    high = np.arange(256).astype(dtype) << dtype(np.dtype(dtype).itemsize * 8 - 8)
    for patterns in (distinct_patterns(dtype, 256, seed), regular, high):
        multiplier, shift, table = distinct._hash_table(patterns)
        assert np.array_equal(table[distinct._hash(patterns, multiplier, shift)], np.arange(256))


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
def test_one_pattern_too_many_is_none_wherever_it_stands(dtype):
    known = distinct_patterns(dtype, 257, 9)
    patterns = np.resize(known[:256], 3 * distinct.BLOCK)
    assert distinct.unique_codes(patterns) is not None
    for position in (0, 4096, distinct.BLOCK - 1, distinct.BLOCK, 3 * distinct.BLOCK - 1):
        with_another = patterns.copy()
        with_another[position] = known[256]
        assert distinct.unique_codes(with_another) is None
    assert distinct.unique_codes(patterns, 255) is None
    assert distinct.unique_codes(patterns[:0]) is None


def test_patterns_that_come_late_get_their_codes_too():
    # In ascending order each block brings new patterns, and the last one is new too.
    patterns = np.append(np.sort(np.resize(distinct_patterns(np.uint32, 250, 3), 5 * distinct.BLOCK)), np.uint32(0))
    found, codes = distinct.unique_codes(patterns)
    assert np.array_equal(found[codes], patterns)
    assert np.all(np.diff(found.astype(np.int64)) > 0) and len(found) == 251
