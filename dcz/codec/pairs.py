"""Look-ups of many codes, two at a time by a table of all pairs.

look_up = Pairs(entries)      look_up.fill(codes, target)     target[i] = entries[codes[i]]
"""

import numpy as np

MIN_CODES = 1 << 15  # from which a table of 65,536 pairs pays
CHUNK = 1 << 17  # elements at a time: they stay in cache
MAX_ITEM = 4  # bytes of an entry: two are one number


class Pairs:
    """The table of all pairs of these entries (at most 256, of up to MAX_ITEM bytes each)."""

    def __init__(self, entries: np.ndarray):
        self._table = np.zeros(256, entries.dtype)
        self._table[: len(entries)] = entries
        pairs = np.empty((256, 256, 2), entries.dtype)
        pairs[:, :, 0], pairs[:, :, 1] = self._table[None, :], self._table[:, None]
        self._wide = np.dtype(f"<u{2 * entries.dtype.itemsize}")
        self._pairs = pairs.view(self._wide).ravel()

    def fill(self, codes: np.ndarray, target: np.ndarray) -> None:
        """Change `target`: the entry of each of the `codes` (uint8, flat, in memory one behind the other)."""
        paired = len(codes) // 2 * 2
        take_in_chunks(self._pairs, codes[:paired].view("<u2"), target[:paired].view(self._wide))
        target[paired:] = self._table[codes[paired:]]


def take_in_chunks(table: np.ndarray, codes: np.ndarray, target: np.ndarray) -> None:
    """Change `target`: table[code] for each of the `codes`, by chunks that stay in cache."""
    for start in range(0, len(codes), CHUNK):
        stop = min(start + CHUNK, len(codes))
        np.take(table, codes[start:stop], out=target[start:stop], mode="clip")  # "raise" would buffer
