"""packed: symbols of a fixed width, one after another from the lowest bit."""

import numpy as np
import pytest

from dcz.codec.stages import huffman, packed


@pytest.mark.parametrize("width", range(1, 9))
def test_packed_symbols_start_at_the_lowest_bit(width):
    symbols = np.random.default_rng(0).integers(0, 1 << width, 1001).astype(np.uint8)
    stream = packed.encode(symbols, width)
    number = sum(int(symbol) << (i * width) for i, symbol in enumerate(symbols))
    assert stream.segments[0] == number.to_bytes(-(-1001 * width // 8), "little")
    assert np.array_equal(packed.decode(stream), symbols) and np.array_equal(huffman.decode(stream), symbols)


def test_the_example_of_the_docstring():
    assert packed.encode(np.array([1, 2, 3], np.uint8), 2).segments == (bytes([0x39]),)


@pytest.mark.parametrize(("highest", "width"), [(0, 1), (1, 1), (2, 2), (3, 2), (4, 3), (255, 8)])
def test_the_width_is_that_of_the_highest_symbol(highest, width):
    counts = np.bincount([highest], minlength=256)
    assert packed.min_width(counts) == width and packed.stream_bits(counts) == 16 + width
