"""Bytes that differ from others in one to four places: for tests, and for fuzzing where no atheris is to be had.

mutated(random.Random(0), [b"seed", b"other"])      a seed with bits flipped, bytes set, ranges cut, doubled, exchanged
"""

import random
from collections.abc import Sequence

EDGES = (0, 1, 2, 15, 16, 63, 64, 127, 128, 254, 255)  # of bytes
# Varints of 2^k, one more and one less, and such as are too long.
VARINTS = (
    b"\x80\x01",
    b"\xff\x01",
    b"\x80\x80\x04",
    b"\xff\xff\xff\xff\x07",
    b"\xff" * 8 + b"\x7f",
    b"\x80\x00",
    b"\xff" * 9,
)


def mutated(source: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds, changed."""
    data = bytearray(source.choice(seeds))
    for _ in range(source.choice((1, 1, 1, 2, 4))):
        _change(source, data, seeds)
    return bytes(data)


def _change(source: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    """Change `data` in one place."""
    at, kind = source.randrange(len(data) + 1), source.randrange(7)
    length = min(source.choice((1, 1, 2, 4, 8, 64)), len(data) - at)
    if kind == 0 and at < len(data):
        data[at] ^= 1 << source.randrange(8)
    elif kind == 1 and at < len(data):
        data[at] = source.choice(EDGES)
    elif kind == 2:
        del data[at : at + length]
    elif kind == 3:
        data[at:at] = data[at : at + length] * source.choice((1, 2, 50))
    elif kind == 4:
        data[at : at + length] = source.choice(VARINTS)
    elif kind == 5:
        other = source.choice(seeds)
        start = source.randrange(len(other) + 1)
        data[at : at + length] = other[start : start + source.choice((1, 4, 16, 64))]
    elif kind == 6:
        data[at : at + length] = source.randbytes(length)
