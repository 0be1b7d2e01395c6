"""Ideal code lengths and entropies: known answers."""

import numpy as np
import pytest

from dcz.codec.stages import entropy


def test_lengths_are_minus_log2_of_the_share_and_zero_counts_as_a_half():
    counts = np.array([4, 2, 1, 0])
    assert entropy.ideal_lengths(counts, 8).tolist() == [1, 2, 3, 4]
    assert entropy.stable_lengths(np.array([3, 1]), 4).tolist() == [round(np.log2(4 / 3) * 1024) / 1024, 2]


def test_bits_of_all_symbols():
    assert entropy.stable_bits(np.array([2, 1, 1]), 4) == 2 * 1 + 1 * 2 + 1 * 2
    assert entropy.entropy_bits(np.array([3, 0, 1])) == pytest.approx(3 * np.log2(4 / 3) + 2)
    assert entropy.entropy_bits(np.zeros(3, int)) == 0
