"""Row-sum-preserving rounding."""

import numpy as np
import pytest

from dcz.codec.stages import balance, grid, share
from dcz.codec.stages.rows import RowIndex

STEP = 0.25


def on_grid(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes and levels of the nearest multiples of STEP."""
    multiples = np.rint(weights.ravel() / STEP).astype(int)
    levels = np.arange(multiples.min(), multiples.max() + 1)
    return (multiples - levels[0]).astype(np.uint8), levels * STEP


def sums(weights: np.ndarray, codes: np.ndarray, levels: np.ndarray, axis) -> np.ndarray:
    """The sum of each row's errors, in steps."""
    return (levels[codes].reshape(weights.shape) - weights).sum(axis) / STEP


@pytest.mark.parametrize(
    "shape, rows, axis", [((40, 300), 1, 1), ((300, 40), -1, 0), ((2, 20, 300), 2, 2), ((40, 9), 1, 1)]
)
def test_row_sums_are_within_half_a_step_and_few_weights_move(shape, rows, axis):
    weights = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    codes, levels = on_grid(weights)
    rounded = balance.preserve_row_sums(weights.ravel(), codes, levels, RowIndex(shape, rows), 0.0)
    before, after = (np.abs(sums(weights, each, levels, axis)) for each in (codes, rounded))
    assert before.max() > 1 and after.max() <= 0.51
    steps = rounded.astype(int) - codes
    assert set(np.unique(steps)) == {-1, 0, 1} and np.count_nonzero(steps) <= np.rint(before).sum()
    errors = [float(((levels[each].reshape(shape) - weights) ** 2).mean()) for each in (codes, rounded)]
    assert errors[1] < errors[0] * (1.1 if weights.shape[axis] > 9 else 1.3)


def test_the_weights_nearest_to_a_threshold_move():
    weights = np.array([0.40, 0.40, 0.40, 0.48, 0.30, 0.02]) * STEP
    codes, levels = np.zeros(6, np.uint8), np.array([0.0, STEP])
    rounded = balance.preserve_row_sums(weights, codes, levels, RowIndex((1, 6), 1), 0.0)
    assert rounded.tolist() == [1, 0, 0, 1, 0, 0]  # the sum is two steps, and of equals the first moves


def test_only_kept_weights_count_where_some_are_pruned():
    weights = np.random.default_rng(1).normal(size=(30, 200)).astype(np.float32)
    mask = np.random.default_rng(2).random(weights.size) < 0.3
    kept = weights.ravel()[mask]
    codes, levels = on_grid(kept)
    rounded = balance.preserve_row_sums(kept, codes, levels, RowIndex(weights.shape, 1, np.flatnonzero(mask)), 0.0)
    dense = np.zeros(weights.size)
    dense[mask] = levels[rounded] - kept
    assert np.abs(dense.reshape(weights.shape).sum(1)).max() <= 0.51 * STEP


def test_moves_to_longer_codes_are_fewer():
    weights = np.random.default_rng(3).laplace(size=(64, 64)) * 0.3
    shared = share.entropy_constrained(weights.ravel(), STEP)
    rows = RowIndex(weights.shape, 1)
    free, priced = (
        balance.preserve_row_sums(weights.ravel(), shared.codes, shared.centroids, rows, slope)
        for slope in (0.0, grid.rate_slope(STEP))
    )

    def entropy(codes):
        count = np.unique(codes, return_counts=True)[1]
        return float((count * np.log2(count.sum() / count)).sum())

    assert entropy(priced) < entropy(free)


@pytest.mark.parametrize("levels", [[], [1.0]])
def test_with_one_level_nothing_moves(levels):
    weights = np.ones(4 * len(levels))
    codes = np.zeros(len(weights), np.uint8)
    assert balance.preserve_row_sums(weights, codes, np.array(levels), RowIndex((2, 2), 1), 0.0) is codes


def test_sums_that_no_integer_holds_leave_the_row_as_it_is():
    weights = np.ones((2, 300)) * np.float64([[1e30], [1.0]])
    weights[1, ::2] += 0.4 * STEP
    codes, levels = np.zeros(600, np.uint8), np.array([1.0, 1.0 + STEP])
    balanced = balance.preserve_row_sums(weights.ravel(), codes, levels, RowIndex((2, 300), 1), 0.0)
    assert not balanced[:300].any()
    assert sums(weights, balanced, levels, 1)[1] == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("shape, rows, groups", [((40, 60, 5), 1, 1), ((40, 60, 5), 1, 4), ((300, 40), -1, 1)])
def test_errors_count_by_the_means_of_their_inputs(shape, rows, groups):
    rng = np.random.default_rng(5)
    weights = rng.normal(size=shape).astype(np.float32)
    channels = 60 if rows == 1 else 300
    inputs = rng.normal(1, 2, (groups, channels))  # some are negative
    inputs[:, 0] = 0
    codes, levels = on_grid(weights)
    index = RowIndex(shape, rows, inputs=inputs)
    rounded = balance.preserve_row_sums(weights.ravel(), codes, levels, index, 0.0)
    met = np.repeat(inputs, 40 // groups, axis=0)[:, :, None] if rows == 1 else inputs[0][:, None]
    axis = (1, 2) if rows == 1 else 0
    shifts = [
        np.abs(((levels[each].reshape(shape) - weights) * met).sum(axis)) / np.abs(inputs).mean() / STEP
        for each in (codes, rounded)
    ]
    largest = np.abs(inputs).max() / np.abs(inputs).mean()  # half of what the last weight may change
    assert shifts[0].max() > 10 and shifts[1].max() <= largest / 2 + 0.01
    assert set(np.unique(rounded.astype(int) - codes)) == {-1, 0, 1}
    errors = [float(((levels[each].reshape(shape) - weights) ** 2).mean()) for each in (codes, rounded)]
    assert errors[1] < errors[0] * 1.1


def test_equal_means_are_none():
    weights = np.random.default_rng(6).normal(size=(20, 80)).astype(np.float32)
    codes, levels = on_grid(weights)
    found = [
        balance.preserve_row_sums(weights.ravel(), codes, levels, RowIndex(weights.shape, 1, inputs=inputs), 0.0)
        for inputs in (None, np.full((1, 80), 3.0), np.full((1, 80), -0.5))
    ]
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
    nothing = RowIndex(weights.shape, 1, inputs=np.zeros((1, 80)))
    assert np.array_equal(balance.preserve_row_sums(weights.ravel(), codes, levels, nothing, 0.0), codes)


def test_levels_change_where_they_are_to_in_every_part():
    codes = np.random.default_rng(0).integers(1, 255, 2_500_000).astype(np.uint8)
    flips = np.zeros(9_000, [("position", "<u4"), ("way", "i1")])
    flips["position"] = np.random.default_rng(1).permutation(len(codes))[: len(flips)]
    flips["way"] = np.random.default_rng(2).integers(0, 2, len(flips))
    expected = codes.astype(int)
    expected[flips["position"]] += 2 * flips["way"].astype(int) - 1
    assert np.array_equal(balance._moved(codes, flips), expected)
    assert np.array_equal(balance._moved(codes, flips[:0]), codes)
