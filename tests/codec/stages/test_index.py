"""index: kept positions come back from gaps, whatever the layout and the width."""

import itertools

import numpy as np
import pytest

from dcz import arrays
from dcz.codec.stages import index
from dcz.errors import CorruptFile

pytestmark = pytest.mark.filterwarnings("error")

WIDTHS = tuple(range(2, 9))


def random_mask(shape, density, seed=0):
    return np.random.default_rng(seed).random(shape) < density


def one_position(shape, position):
    mask = np.zeros(shape, bool)
    mask.flat[position] = True
    return mask


def with_empty_lines(shape, density, seed=0):
    rng = np.random.default_rng(seed)
    return random_mask(shape, density, seed) & (rng.random(shape[0]) < 0.5)[:, None] & (rng.random(shape[1]) < 0.5)


MASKS = {
    "empty": np.zeros((5, 7), bool),
    "full": np.ones((5, 7), bool),
    "one position": one_position((1, 1), 0),
    "one row": random_mask((1, 500), 0.1),
    "one column": random_mask((500, 1), 0.1),
    "no rows": np.zeros((0, 7), bool),
    "no columns": np.zeros((7, 0), bool),
    "only the last": one_position((30, 40), -1),
    "a gap beyond 2^16": one_position((300, 400), -1) | one_position((300, 400), 3),
    "dense": random_mask((60, 50), 0.7),
    "sparse": random_mask((300, 200), 0.02),
    "empty rows and columns": with_empty_lines((90, 110), 0.1),
    "tall": random_mask((5000, 130), 0.2),  # several panels of columns
    "many": random_mask((500, 500), 0.7),  # more than one block of kept positions, and of symbols
    "long": random_mask((3, 40_000), 0.4),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_every_layout_gives_back_the_kept_positions_in_reading_order(mask, width):
    for layout in index.layouts(mask):
        gaps = np.concatenate([np.empty(0, np.int64), *layout.gaps()])
        symbols = index.encode(gaps, width)
        assert np.array_equal(index.encode_all(layout.gaps(), width, len(symbols)), symbols)
        assert symbols.dtype == np.uint8 and (not len(symbols) or symbols.max() < 1 << width)
        height = mask.shape[0] if layout.rows is None else layout.rows.sum()
        columns = mask.shape[1] if layout.columns is None else layout.columns.sum()
        blocks = list(index.decode(symbols, width, len(gaps), int(height * columns)))
        unfold = index.Unfold(mask.shape, layout.column_major, layout.rows, layout.columns)
        positions = np.concatenate([np.empty(0, np.int64), *map(unfold, blocks)])
        numbers = np.arange(mask.size).reshape(mask.shape)
        assert np.array_equal(positions, index.in_reading_order(numbers, mask, layout.column_major))
        assert np.array_equal(np.sort(positions), np.flatnonzero(mask))


@pytest.mark.parametrize("few", [0, 1 << 21], ids=["looked for", "known"])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_gaps_do_not_depend_on_panels_or_known_positions(mask, few, monkeypatch):
    expected = [np.concatenate([np.empty(0, np.int64), *layout.gaps()]) for layout in index.layouts(mask)]
    monkeypatch.setattr(index, "PANEL", 1 << 10)
    monkeypatch.setattr(arrays.kept, "GATHER_LIMIT", few)
    monkeypatch.setattr(arrays.kept, "GATHERED_SHARE", 1 << 30 if few == 0 else 1)
    known = arrays.KeptPositions(mask.reshape(-1))
    assert known.are_found == (few > 0 or not mask.any())
    for layout, gaps in zip(index.layouts(mask, known), expected, strict=True):
        assert np.array_equal(np.concatenate([np.empty(0, np.int64), *layout.gaps()]), gaps)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_symbols_are_counted_as_they_would_be_encoded(mask):
    for layout in index.layouts(mask):
        counts = index.count_symbols(layout.gaps(), WIDTHS)
        gaps = np.concatenate([np.empty(0, np.int64), *layout.gaps()])
        remembered = list(layout.gaps())
        again = index.count_symbols(remembered, WIDTHS)
        assert tuple(counts) == WIDTHS
        for width in WIDTHS:
            symbols = index.encode(gaps, width)
            real = np.bincount(symbols, minlength=256)
            assert np.array_equal(counts[width], real) and np.array_equal(again[width], real), width
            assert np.array_equal(index.encode_all(remembered, width, len(symbols)), symbols)


def test_the_layouts_are_both_orders_with_and_without_each_bitmap():
    def tried(mask):
        return {(lay.column_major, lay.rows is not None, lay.columns is not None) for lay in index.layouts(mask)}

    assert tried(with_empty_lines((90, 110), 0.1)) == set(itertools.product((False, True), repeat=3))
    assert tried(random_mask((20, 20), 0.9)) == {(False, False, False), (True, False, False)}
    assert tried(random_mask((1, 500), 0.9)) == {(False, False, True), (False, False, False)}  # one row: one order


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_lines_that_are_used_are_those_with_something_kept(mask, monkeypatch):
    monkeypatch.setattr(index, "FIRST", 3)
    for lines in (mask, mask.T):
        used, expected = index.used_lines(lines), lines.any(axis=1)
        assert used is None if expected.all() else np.array_equal(used, expected)


def test_bitmaps_mark_the_rows_and_columns_that_are_not_empty():
    mask = with_empty_lines((17, 30), 0.2)
    layout = next(lay for lay in index.layouts(mask) if lay.rows is not None and lay.columns is not None)
    assert np.array_equal(layout.rows, mask.any(axis=1)) and np.array_equal(layout.columns, mask.any(axis=0))
    assert layout.bitmap_bytes == 3 + 4


def test_the_example_of_the_docstring():
    mask = np.array([[0, 0, 1, 0, 0, 0, 0, 0, 1]], bool)
    (gaps,) = next(index.layouts(mask)).gaps()
    assert gaps.tolist() == [2, 5]
    assert index.encode(gaps, 2).tolist() == [2, 3, 2]
    assert [block.tolist() for block in index.decode(np.array([2, 3, 2], np.uint8), 2, 2, 9)] == [[2, 8]]


def test_gaps_of_every_length_take_length_divided_by_skip_skips():
    gaps = np.arange(0, 70_000, 37)
    for width in WIDTHS:
        skip = (1 << width) - 1
        symbols = index.encode(gaps, width)
        assert np.count_nonzero(symbols == skip) == (gaps // skip).sum()
        assert np.array_equal(symbols[symbols != skip], gaps % skip)


def decoded(symbols, kept, size, width=2):
    return list(index.decode(np.array(symbols, np.uint8), width, kept, size))


@pytest.mark.parametrize(
    ("symbols", "kept", "size"),
    [
        ([2], 1, 2),  # keeps the third of two
        ([0, 0, 0], 3, 2),
        ([3, 0], 1, 3),  # the skip ends at the end, and the keep is beyond it
        ([3, 3], 0, 5),  # a skip alone goes too far
        ([0], 1, 0),  # nothing to keep in
        ([0] * 40_000, 40_000, 39_999),  # in the second block
    ],
)
def test_a_gap_beyond_the_last_position_is_refused(symbols, kept, size):
    with pytest.raises(CorruptFile) as refusal:
        decoded(symbols, kept, size)
    assert refusal.value.reason == "gap-overrun"


@pytest.mark.parametrize(
    ("symbols", "kept"),
    [
        ([0, 0], 1),  # one too many
        ([0, 0], 3),  # one too few
        ([0, 3, 3], 1),  # the right number, and skips behind it
        ([3], 1),
        ([], 1),
        ([0] * 40_000, 32_768),  # right after the first block
    ],
)
def test_another_number_of_kept_positions_is_refused(symbols, kept):
    with pytest.raises(CorruptFile) as refusal:
        decoded(symbols, kept, 50_000)
    assert refusal.value.reason == "kept-count"


def test_too_many_kept_positions_are_never_yielded():
    # The receiver has allocated as many as the index says, and no more.
    yielded = []
    with pytest.raises(CorruptFile):
        for block in index.decode(np.zeros(100_000, np.uint8), 2, 40_000, 1 << 40):
            yielded.append(len(block))
    assert sum(yielded) <= 40_000


def test_hostile_skips_cannot_overflow_the_position():
    # 2^20 skips of 255 in a tensor of 2^62 elements: still just a wrong count.
    with pytest.raises(CorruptFile) as refusal:
        list(index.decode(np.full(1 << 20, 255, np.uint8), 8, 1, 1 << 62))
    assert refusal.value.reason == "kept-count"
