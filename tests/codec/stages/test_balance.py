"""Errors that cancel in every row."""

import numpy as np
import pytest

from dcz.codec.stages import balance, share

STEP = 0.25


def grid(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes and levels of the nearest multiples of STEP."""
    places = np.rint(weights.ravel() / STEP).astype(int)
    levels = np.arange(places.min(), places.max() + 1)
    return (places - levels[0]).astype(np.uint8), levels * STEP


def sums(weights: np.ndarray, codes: np.ndarray, levels: np.ndarray, axis) -> np.ndarray:
    """The sum of each row's errors, in steps."""
    return (levels[codes].reshape(weights.shape) - weights).sum(axis) / STEP


@pytest.mark.parametrize(
    "shape, rows, axis", [((40, 300), 1, 1), ((300, 40), -1, 0), ((2, 20, 300), 2, 2), ((40, 9), 1, 1)]
)
def test_no_row_is_off_by_more_than_half_a_step_and_few_weights_move(shape, rows, axis):
    weights = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    codes, levels = grid(weights)
    found = balance.balanced(weights.ravel(), codes, levels, balance.RowIndex(shape, rows), 0.0)
    before, after = (np.abs(sums(weights, each, levels, axis)) for each in (codes, found))
    assert before.max() > 1 and after.max() <= 0.51
    steps = found.astype(int) - codes
    assert set(np.unique(steps)) == {-1, 0, 1} and np.count_nonzero(steps) <= np.rint(before).sum()
    errors = [float(((levels[each].reshape(shape) - weights) ** 2).mean()) for each in (codes, found)]
    assert errors[1] < errors[0] * (1.1 if weights.shape[axis] > 9 else 1.3)


def test_the_weights_that_move_are_those_nearest_to_the_middle():
    weights = np.array([0.40, 0.40, 0.40, 0.48, 0.30, 0.02]) * STEP
    codes, levels = np.zeros(6, np.uint8), np.array([0.0, STEP])
    found = balance.balanced(weights, codes, levels, balance.RowIndex((1, 6), 1), 0.0)
    assert found.tolist() == [1, 0, 0, 1, 0, 0]  # the sum is two steps, and of equals the first moves


def test_pruned_places_stay_out_of_it():
    weights = np.random.default_rng(1).normal(size=(30, 200)).astype(np.float32)
    mask = np.random.default_rng(2).random(weights.size) < 0.3
    kept = weights.ravel()[mask]
    codes, levels = grid(kept)
    found = balance.balanced(kept, codes, levels, balance.RowIndex(weights.shape, 1, np.flatnonzero(mask)), 0.0)
    dense = np.zeros(weights.size)
    dense[mask] = levels[found] - kept
    assert np.abs(dense.reshape(weights.shape).sum(1)).max() <= 0.51 * STEP


def test_a_dear_code_moves_less():
    weights = np.random.default_rng(3).laplace(size=(64, 64)) * 0.3
    shared = share.entropy_constrained(weights.ravel(), STEP)
    rows = balance.RowIndex(weights.shape, 1)
    free, priced = (
        balance.balanced(weights.ravel(), shared.codes, shared.centroids, rows, slope)
        for slope in (0.0, share.rate_slope(STEP))
    )

    def entropy(codes):
        count = np.unique(codes, return_counts=True)[1]
        return float((count * np.log2(count.sum() / count)).sum())

    assert entropy(priced) < entropy(free)


@pytest.mark.parametrize("levels", [[], [1.0]])
def test_with_one_level_there_is_nowhere_to_go(levels):
    weights = np.ones(4 * len(levels))
    codes = np.zeros(len(weights), np.uint8)
    assert balance.balanced(weights, codes, np.array(levels), balance.RowIndex((2, 2), 1), 0.0) is codes
