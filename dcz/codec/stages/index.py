"""Kept places <-> gaps with skips (spec, section 7; Deep Compression, section 2, with a filler that costs no weight).

    kept  0 0 1 0 0 0 0 0 1   2-bit gaps   ->   2 | skip 2 = 3 2

A gap symbol below 2^b - 1 skips that many places and keeps the next; 2^b - 1 itself skips as many and keeps none.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ...errors import CorruptFile

BLOCK = 1 << 15  # gap symbols expanded at a time: their places stay in cache
PANEL = 1 << 18  # places of a mask looked at at a time
LINE = 64  # bytes that memory gives at a time, and so how many columns of a mask are looked at together
CROSSING = 1 << 22  # places at most that these may have
LONG = 1 << 16  # a gap from which it is looked at by itself


@dataclass(frozen=True, eq=False)
class Layout:
    """One way to number the kept places of a `mask` (bool[R, C]): in row- or column-major order.

    `rows` and `columns` (bool) tell which rows and columns are numbered; None means all.
    """

    mask: np.ndarray
    column_major: bool
    rows: np.ndarray | None
    columns: np.ndarray | None

    @property
    def bitmap_bytes(self) -> int:
        """Bytes of the bitmaps that this layout needs."""
        return sum(-(-len(bitmap) // 8) for bitmap in (self.rows, self.columns) if bitmap is not None)

    def gaps(self) -> Iterator[np.ndarray]:
        """The raw gaps (int64) before the kept places, in blocks."""
        previous = -1
        for kept, start in self._blocks():
            places = np.flatnonzero(kept)
            places += start
            yield np.diff(places, prepend=previous) - 1
            previous = places[-1] if len(places) else previous

    def _blocks(self) -> Iterator[tuple[np.ndarray, int]]:
        """The numbered part of the mask in its order, in blocks (bool), with the first number of each."""
        mask, lines, across = self.mask, self.rows, self.columns
        if self.column_major:
            mask, lines, across = mask.T, across, lines
        start = 0
        for part in panels(mask.shape, self.column_major):
            block = _gathered(mask, part)
            block = block if lines is None else block[lines[part[0]]]
            block = block if across is None else block[:, across[part[1]]]
            yield block, start
            start += block.size


def panels(shape: tuple[int, int], transposed: bool = False) -> Iterator[tuple[slice, slice]]:
    """Rectangles that cover a matrix in row-major order: whole rows, as many as make a panel, or pieces of one.

    Where it lies `transposed` in memory, they are rows enough not to read the same lines of memory again and again.
    """
    height, width = shape
    lines = max(1, PANEL // max(1, width))
    if transposed:
        lines = max(lines, min(LINE, CROSSING // max(1, width)))
    across = PANEL if lines == 1 else max(1, width)
    for row in range(0, height, lines):
        for column in range(0, width, across):
            yield slice(row, row + lines), slice(column, column + across)


def _gathered(matrix: np.ndarray, part: tuple[slice, slice]) -> np.ndarray:
    """A rectangle of a matrix that may lie transposed: then as a copy of its own, since lines of a fixed distance
    contend for the same places in the cache."""
    block = matrix[part]
    return block if matrix.flags.c_contiguous else np.ascontiguousarray(block.T).T


def layouts(mask: np.ndarray) -> Iterator[Layout]:
    """Every layout of `mask` (bool[R, C]) worth measuring: each order, with and without empty rows and columns."""
    rows, columns = mask.any(axis=1), mask.any(axis=0)
    for row_map in (None, rows) if not rows.all() else (None,):
        for column_map in (None, columns) if not columns.all() else (None,):
            height = mask.shape[0] if row_map is None else row_map.sum()
            width = mask.shape[1] if column_map is None else column_map.sum()
            yield Layout(mask, False, row_map, column_map)
            if min(height, width) > 1:  # else both orders are the same
                yield Layout(mask, True, row_map, column_map)


def in_reading_order(elements: np.ndarray, mask: np.ndarray, column_major: bool) -> np.ndarray:
    """The kept ones of `elements` ([R, C]; `mask` bool[R, C]), in the order of the index."""
    if not column_major:
        return elements[mask]
    found, done = np.empty(np.count_nonzero(mask), elements.dtype), 0
    for part in panels(mask.T.shape, transposed=True):
        kept = _gathered(elements.T, part)[_gathered(mask.T, part)]
        found[done : done + len(kept)] = kept
        done += len(kept)
    return found


def count_symbols(gaps: Iterable[np.ndarray], widths: tuple[int, ...]) -> dict[int, np.ndarray]:
    """For each gap width in bits, how often each gap symbol would occur in blocks of `gaps` (int64): int64[256]."""
    short, long = np.zeros(0, np.int64), [np.empty(0, np.int64)]
    for block in gaps:
        count = np.bincount(block[block < LONG], minlength=len(short))
        count[: len(short)] += short
        short = count
        long.append(block[block >= LONG])
    return _count_symbols(short, np.concatenate(long), widths)


def _count_symbols(short: np.ndarray, long: np.ndarray, widths: tuple[int, ...]) -> dict[int, np.ndarray]:
    """The same of short gaps counted by their length, and long ones as they are."""
    result = {}
    for width in widths:
        skip = (1 << width) - 1
        padded = np.zeros(-(-len(short) // skip) * skip, np.int64)
        padded[: len(short)] = short
        table = padded.reshape(-1, skip)  # row: how many skips; column: the symbol that follows
        counts = np.zeros(256, np.int64)
        counts[:skip] = table.sum(axis=0) + np.bincount(long % skip, minlength=skip)
        counts[skip] = (table.sum(axis=1) * np.arange(len(table))).sum() + (long // skip).sum()
        result[width] = counts
    return result


def encode(gaps: np.ndarray, width: int) -> np.ndarray:
    """Raw gaps (int64) as gap symbols (uint8) of `width` bits, each preceded by the skips that it needs."""
    skip = (1 << width) - 1
    if not len(gaps) or gaps.max() < skip:
        return gaps.astype(np.uint8)
    skips = gaps // skip
    ends = np.cumsum(skips + 1) - 1
    symbols = np.full(int(ends[-1]) + 1, skip, np.uint8)
    symbols[ends] = gaps - skips * skip
    return symbols


def encode_all(gaps: Iterable[np.ndarray], width: int, count: int) -> np.ndarray:
    """The same for blocks of gaps, of which it is known how many symbols they make."""
    symbols, done = np.empty(count, np.uint8), 0
    for block in gaps:
        coded = encode(block, width)
        symbols[done : done + len(coded)] = coded
        done += len(coded)
    return symbols


def decode(symbols: np.ndarray, width: int, kept: int, places: int) -> Iterator[np.ndarray]:
    """Kept places (int64, ascending, below `places`) of gap symbols (uint8), in blocks.

    Raises CorruptFile `gap-overrun` where they pass `places`, `kept-count` where they do not keep exactly `kept`.
    """
    skip = (1 << width) - 1
    advance = np.arange(1, 257, dtype=np.int64)
    advance[skip] = skip
    place, done = -1, 0
    for start in range(0, len(symbols), BLOCK):
        block = symbols[start : start + BLOCK]
        where = np.cumsum(advance[block])
        where += place
        place = int(where[-1])
        if place >= places:
            raise CorruptFile("gap-overrun", f"a gap leads to place {place} of {places}")
        keeps = block != skip
        where = where if keeps.all() else where[keeps]
        done += len(where)
        if done <= kept:  # else there is nothing to put there, but a later gap may still be the graver fault
            yield where
    if len(symbols) and symbols[-1] == skip:
        raise CorruptFile("kept-count", "the last gap symbol is a skip")
    if done != kept:
        raise CorruptFile("kept-count", f"the gaps keep {done} places, the index says {kept}")


class Unfold:
    """Places of a compact matrix as row-major places of the whole matrix of `shape`; Layout tells of the rest."""

    def __init__(self, shape: tuple[int, int], column_major: bool, rows: np.ndarray | None, columns: np.ndarray | None):
        self.width = shape[1]
        self.column_major = column_major
        self.rows = None if rows is None else np.flatnonzero(rows)
        self.columns = None if columns is None else np.flatnonzero(columns)
        self.compact = (
            shape[0] if self.rows is None else len(self.rows),
            shape[1] if self.columns is None else len(self.columns),
        )

    @property
    def places(self) -> int:
        """How many places the compact matrix has."""
        return self.compact[0] * self.compact[1]

    def __call__(self, place: np.ndarray) -> np.ndarray:
        """Places (int64) of the compact matrix -> of the whole one."""
        if not self.column_major and self.rows is None and self.columns is None:
            return place
        if self.column_major:
            column, row = np.divmod(place, self.compact[0])
        else:
            row, column = np.divmod(place, self.compact[1])
        row = row if self.rows is None else self.rows[row]
        column = column if self.columns is None else self.columns[column]
        return row * self.width + column
