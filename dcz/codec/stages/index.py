"""Kept positions <-> gaps with skips (spec, section 7; Deep Compression, section 2, but fillers take no weight).

    kept  0 0 1 0 0 0 0 0 1   2-bit gaps   ->   2 | skip 2 = 3 2

A gap symbol below 2^b - 1 skips that many positions and keeps the next; 2^b - 1 itself skips as many and keeps none.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ... import arrays
from ...errors import CorruptFile
from ...parallel import each_ahead

BLOCK = 1 << 17  # gap symbols expanded at a time: their positions stay in cache
AHEAD = 8  # such blocks that wait: they take eight megabytes
PANEL = 1 << 20  # elements of a matrix read at a time
CACHE_LINE = 64  # bytes: of a transposed matrix (bool), as many rows are read together
MAX_TRANSPOSED_PANEL = 1 << 22  # elements of these rows
FIRST = 512  # elements of a row that are looked at first
LONG_GAP = 1 << 16  # from here on, gaps are counted one by one and not by their length


@dataclass(frozen=True, eq=False)
class Layout:
    """One way to number the positions of a `mask` (bool[R, C]): in row- or column-major order.

    `rows` and `columns` (bool) are the bitmaps of the rows and columns that are numbered; None: all. `kept`: the kept
    positions of the flat mask, where they are known.
    """

    mask: np.ndarray
    column_major: bool
    rows: np.ndarray | None
    columns: np.ndarray | None
    kept: arrays.KeptPositions | None = None

    @property
    def bitmap_bytes(self) -> int:
        """Bytes of the bitmaps that this layout needs."""
        return sum(-(-len(bitmap) // 8) for bitmap in (self.rows, self.columns) if bitmap is not None)

    def gaps(self) -> Iterator[np.ndarray]:
        """The gaps before the kept positions, in blocks: uint16, or int64 where one is LONG_GAP or more."""
        is_whole = not self.column_major and self.rows is None and self.columns is None
        if self.kept is not None and self.kept.are_found and is_whole:
            yield from each_ahead(self._gaps_of, arrays.blocks(len(self.kept), arrays.BLOCK))
            return
        open_gap = 0  # the numbers since the last kept position
        all_panels = panels(self.mask.T.shape if self.column_major else self.mask.shape, self.column_major)
        for gaps, behind in each_ahead(self._gaps_in, all_panels):
            if len(gaps):
                first = int(gaps[0]) + open_gap
                gaps = gaps if first < LONG_GAP else gaps.astype(np.int64)
                gaps[0], open_gap = first, 0
            open_gap += behind
            yield gaps

    def _gaps_of(self, ranks: slice) -> np.ndarray:
        """The gaps before the kept positions of some ranks, in row-major order of the whole matrix."""
        assert self.kept is not None, "positions are known"
        before = int(self.kept[ranks.start - 1 : ranks.start][0]) if ranks.start else -1
        return _gaps_between(before, self.kept[ranks])

    def _gaps_in(self, panel: tuple[slice, slice]) -> tuple[np.ndarray, int]:
        """The gaps before the kept positions of a panel, the first of them from its start on, and how many numbers
        follow the last."""
        mask, rows, columns = self.mask, self.rows, self.columns
        if self.column_major:
            mask, rows, columns = mask.T, columns, rows
        block = _read_panel(mask, panel)
        block = block if rows is None else block[rows[panel[0]]]
        block = block if columns is None else block[:, columns[panel[1]]]
        positions = arrays.true_places(block.reshape(-1))
        return _gaps_between(-1, positions), block.size - 1 - (int(positions[-1]) if len(positions) else -1)


def _gaps_between(before: int, positions: np.ndarray) -> np.ndarray:
    """The gaps before each of some positions (int64), of which the first comes after `before`: uint16, or int64 where
    one is LONG_GAP or more."""
    gaps = np.empty_like(positions)
    gaps[:1] = positions[:1] - before
    np.subtract(positions[1:], positions[:-1], out=gaps[1:])
    gaps -= 1
    return gaps if len(gaps) and gaps.max() >= LONG_GAP else gaps.astype(np.uint16)


def panels(shape: tuple[int, ...], transposed: bool = False) -> Iterator[tuple[slice, slice]]:
    """Rectangles that cover a matrix in row-major order: several whole rows each, or parts of one long row.

    Of a matrix that is `transposed` in memory they hold more rows, so that each cache line is read once.
    """
    height, width = shape
    rows = max(1, PANEL // max(1, width))
    if transposed:
        rows = max(rows, min(CACHE_LINE, MAX_TRANSPOSED_PANEL // max(1, width)))
    columns = PANEL if rows == 1 else max(1, width)
    for row in range(0, height, rows):
        for column in range(0, width, columns):
            yield slice(row, row + rows), slice(column, column + columns)


def _read_panel(matrix: np.ndarray, panel: tuple[slice, slice]) -> np.ndarray:
    """A rectangle of a matrix; a copy where the matrix is transposed in memory.

    Accesses at a large constant stride would map to the same few sets of the cache.
    """
    block: np.ndarray = matrix[panel]
    return block if matrix.flags.c_contiguous else np.ascontiguousarray(block.T).T


def layouts(mask: np.ndarray, kept: arrays.KeptPositions | None = None) -> Iterator[Layout]:
    """The layouts of `mask` (bool[R, C]) to measure: both orders, with and without empty rows and columns. `kept`: its
    kept positions, flat, where they are known."""
    rows, columns = used_lines(mask), used_lines(mask.T)
    for row_map in (None,) if rows is None else (None, rows):
        for column_map in (None,) if columns is None else (None, columns):
            height = mask.shape[0] if row_map is None else int(row_map.sum())
            width = mask.shape[1] if column_map is None else int(column_map.sum())
            yield Layout(mask, False, row_map, column_map, kept)
            if min(height, width) > 1:  # else both orders are the same
                yield Layout(mask, True, row_map, column_map, kept)


def used_lines(mask: np.ndarray) -> np.ndarray | None:
    """Which rows of a mask (bool[R, C]) are not empty; None where all are, as their beginnings most often show."""
    if mask[:, :FIRST].any(axis=1).all():
        return None
    used = np.asarray(mask.any(axis=1))
    return None if used.all() else used


def in_reading_order(elements: np.ndarray, mask: np.ndarray, column_major: bool) -> np.ndarray:
    """The kept elements of `elements` ([R, C]; `mask` bool[R, C]), flat, in row- or column-major order."""
    if not column_major:
        kept: np.ndarray = elements[mask]
        return kept
    ordered, done = np.empty(np.count_nonzero(mask), elements.dtype), 0
    for panel in panels(mask.T.shape, transposed=True):
        kept = _read_panel(elements.T, panel)[_read_panel(mask.T, panel)]
        ordered[done : done + len(kept)] = kept
        done += len(kept)
    return ordered


def count_symbols(gaps: Iterable[np.ndarray], widths: tuple[int, ...]) -> dict[int, np.ndarray]:
    """For each gap width in bits, the counts (int64[256]) of the symbols that blocks of `gaps` encode to."""
    by_length, long = np.zeros(0, np.int64), [np.empty(0, np.int64)]
    for count, block_long in each_ahead(_count_lengths, gaps):
        if len(count) < len(by_length):
            by_length[: len(count)] += count
        else:
            count[: len(by_length)] += by_length
            by_length = count
        long.append(block_long)
    return _count_symbols(by_length, np.concatenate(long), widths)


def _count_lengths(gaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many gaps there are of each length below LONG_GAP (int64, up to the longest), and the longer ones."""
    if gaps.dtype == np.uint16:
        return np.bincount(gaps), np.empty(0, np.int64)
    is_short = gaps < LONG_GAP
    return np.bincount(gaps[is_short]), gaps[~is_short]


def _count_symbols(by_length: np.ndarray, long: np.ndarray, widths: tuple[int, ...]) -> dict[int, np.ndarray]:
    """`count_symbols` of the numbers of short gaps `by_length`, and of `long` gaps."""
    result = {}
    for width in widths:
        skip = (1 << width) - 1
        padded = np.zeros(-(-len(by_length) // skip) * skip, np.int64)
        padded[: len(by_length)] = by_length
        table = padded.reshape(-1, skip)  # row: the number of skips; column: the symbol that follows
        counts = np.zeros(256, np.int64)
        counts[:skip] = table.sum(axis=0) + np.bincount(long % skip, minlength=skip)
        counts[skip] = (table.sum(axis=1) * np.arange(len(table))).sum() + (long // skip).sum()
        result[width] = counts
    return result


def encode(gaps: np.ndarray, width: int) -> np.ndarray:
    """Gaps as gap symbols (uint8) of `width` bits, each preceded by the skips that it needs."""
    skip = (1 << width) - 1
    if not len(gaps) or gaps.max() < skip:
        return gaps.astype(np.uint8)
    gaps = gaps.astype(np.int64, copy=False)
    skips = gaps // skip
    ends = np.cumsum(skips + 1) - 1
    symbols = np.full(int(ends[-1]) + 1, skip, np.uint8)
    symbols[ends] = gaps - skips * skip
    return symbols


def encode_all(gaps: Iterable[np.ndarray], width: int, count: int) -> np.ndarray:
    """`encode` for blocks of gaps that take `count` symbols in all."""
    symbols, done = np.empty(count, np.uint8), 0
    for coded in each_ahead(lambda block: encode(block, width), gaps):
        symbols[done : done + len(coded)] = coded
        done += len(coded)
    return symbols


def decode(symbols: np.ndarray, width: int, kept: int, size: int) -> Iterator[np.ndarray]:
    """Kept positions (int64, ascending, below `size`) of gap symbols (uint8), in blocks.

    Raises CorruptFile `gap-overrun` where they pass `size`, `kept-count` where they do not keep exactly `kept`.
    """
    skip = (1 << width) - 1
    advance = np.arange(1, 257, dtype=np.int64)
    advance[skip] = skip

    def expand(part: slice) -> tuple[np.ndarray, int]:
        """The kept positions of a block, counted from the end of the block before, and its own end."""
        block = symbols[part]
        ends, keeps = np.cumsum(advance.take(block, mode="clip")), block != skip
        return (ends if keeps.all() else ends[keeps]), int(ends[-1])

    last, done = -1, 0
    for positions, advanced in each_ahead(expand, arrays.blocks(len(symbols), BLOCK), AHEAD):
        positions += last
        last += advanced
        if last >= size:
            raise CorruptFile("gap-overrun", f"a gap leads to place {last} of {size}")
        done += len(positions)
        if done <= kept:  # else there are no values for them, but a later gap may still break the first rule
            yield positions
    if len(symbols) and symbols[-1] == skip:
        raise CorruptFile("kept-count", "the last gap symbol is a skip")
    if done != kept:
        raise CorruptFile("kept-count", f"the gaps keep {done} places, the index says {kept}")


class Unfold:
    """Positions of a compact matrix -> row-major positions of the whole matrix of `shape`: see Layout."""

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
    def size(self) -> int:
        """The number of positions of the compact matrix."""
        return self.compact[0] * self.compact[1]

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Positions (int64) of the compact matrix as those of the whole one."""
        if not self.column_major and self.rows is None and self.columns is None:
            return positions
        if self.column_major:
            column, row = np.divmod(positions, self.compact[0])
        else:
            row, column = np.divmod(positions, self.compact[1])
        row = row if self.rows is None else self.rows[row]
        column = column if self.columns is None else self.columns[column]
        return row * self.width + column
