"""Symbols <-> bits of a fixed width, least significant first, where a Huffman code is not shorter (spec, section 6).

symbols 1 2 3, 2 bits   ->   the byte 0b00_11_10_01, 39 in hexadecimal
"""

import numpy as np

from ... import arrays
from ...encoded import SEGMENT, Stream


def min_width(counts: np.ndarray) -> int:
    """Bits of a fixed-width code for symbols of these `counts` (int64, not all 0)."""
    return max(1, int(np.flatnonzero(counts)[-1]).bit_length())


def stream_bits(counts: np.ndarray) -> int:
    """Bits of a packed stream of symbols of these `counts` (int64, not all 0), its form and width included."""
    return 16 + min_width(counts) * int(counts.sum())


def encode(symbols: arrays.Bytes, width: int) -> Stream:
    """Pack `symbols` (uint8, flat) into `width` bits each."""
    packed = bytearray()
    for block in arrays.blocks(len(symbols), SEGMENT):  # a multiple of eight symbols: each block fills its last byte
        bits = np.unpackbits(symbols[block][:, None], axis=1, bitorder="little", count=width)
        packed += np.packbits(bits, bitorder="little").data
    return Stream("packed", len(symbols), width=width, segments=(bytes(packed),))


def decode(stream: Stream) -> np.ndarray:
    """The symbols (uint8[count]) of a packed stream."""
    packed, width = np.frombuffer(stream.segments[0], np.uint8), stream.width
    table = None
    if 8 % width == 0:  # a byte holds whole symbols: look up those of each byte
        table = _unpack(np.arange(256, dtype=np.uint8), width, 256 * 8 // width).reshape(256, -1)
    symbols = np.empty(stream.count, np.uint8)
    for block in arrays.blocks(stream.count, SEGMENT):  # whole bytes each; _unpack takes a byte for each bit
        data = packed[block.start * width // 8 : -(-block.stop * width // 8)]
        count = block.stop - block.start
        symbols[block] = _unpack(data, width, count) if table is None else table[data].ravel()[:count]
    return symbols


def _unpack(packed: np.ndarray, width: int, count: int) -> np.ndarray:
    """The first `count` symbols (uint8) of `width` bits each in `packed` (uint8)."""
    bits = np.unpackbits(packed, bitorder="little", count=count * width)
    padded = np.zeros((count, 8), np.uint8)
    padded[:, :width] = bits.reshape(count, width)
    return np.packbits(padded, axis=1, bitorder="little").ravel()
