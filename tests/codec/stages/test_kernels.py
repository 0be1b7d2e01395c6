"""Kernel-sum-preserving rounding."""

import numpy as np
import pytest

from dcz.codec.cancellation import cancel
from dcz.codec.stages import kernels
from dcz.codec.stages.rows import RowIndex

STEP = 0.25


def on_grid(weights: np.ndarray, spare: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Codes and levels of the nearest multiples of STEP, with `spare` levels more at either end."""
    multiples = np.rint(weights.ravel() / STEP).astype(int)
    levels = np.arange(multiples.min() - spare, multiples.max() + spare + 1)
    return (multiples - levels[0]).astype(np.uint8), levels * STEP


def loss(weights: np.ndarray, codes: np.ndarray, levels: np.ndarray, size: int) -> float:
    """What the errors do at the output, places under a kernel having the correlation ALIKE."""
    errors = (levels[codes] - weights.ravel()).reshape(-1, size)
    own, together = (errors**2).sum(), (errors.sum(axis=1) ** 2).sum()
    return float((1 - kernels.ALIKE) * own + kernels.ALIKE * together)


@pytest.mark.parametrize("size", [2, 3, 9, 25, kernels.MAX_KERNEL])
def test_errors_at_the_output_get_less_and_in_each_kernel_no_more(size):
    weights = np.random.default_rng(0).normal(size=(4000, size)).astype(np.float32)
    codes, levels = on_grid(weights)
    rounded = kernels.preserve_kernel_sums(weights.ravel(), codes, levels, size, 0.0)
    assert loss(weights, rounded, levels, size) < 0.85 * loss(weights, codes, levels, size)
    for kernel in range(400):
        part = slice(kernel * size, (kernel + 1) * size)
        assert loss(weights[kernel], rounded[part], levels, size) <= loss(weights[kernel], codes[part], levels, size)
    moved = np.abs(rounded.astype(int) - codes).reshape(-1, size)
    assert moved.max() == 1 and moved.sum(axis=1).max() <= kernels.ROUNDS


def test_the_weight_nearest_to_the_threshold_moves():
    weights = np.array([0.40, 0.48, 0.40, 0.30]) * STEP
    codes, levels = np.zeros(4, np.uint8), np.array([0.0, STEP])
    assert kernels.preserve_kernel_sums(weights, codes, levels, 4, 0.0).tolist() == [0, 1, 0, 0]


def test_where_bits_are_dear_nothing_moves():
    weights = np.random.default_rng(1).normal(size=900).astype(np.float32) / 8
    codes, levels = on_grid(weights)
    assert (kernels.preserve_kernel_sums(weights, codes, levels, 9, 1e3) == codes).mean() > 0.8
    dear = np.bincount(kernels.preserve_kernel_sums(weights, codes, levels, 9, 1.0))
    cheap = np.bincount(kernels.preserve_kernel_sums(weights, codes, levels, 9, 0.0))
    assert dear.max() > cheap.max()


@pytest.mark.parametrize("size", [1, kernels.MAX_KERNEL + 1])
def test_what_is_no_kernel_stays(size):
    weights = np.random.default_rng(2).normal(size=size * 10).astype(np.float32)
    codes, levels = on_grid(weights)
    assert kernels.preserve_kernel_sums(weights, codes, levels, size, 0.0) is codes


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_blocks_and_types_make_no_difference(dtype, monkeypatch):
    weights = np.random.default_rng(3).normal(size=9 * 5000).astype(np.float32)
    codes, levels = on_grid(weights)
    expected = kernels.preserve_kernel_sums(weights, codes, levels, 9, 0.01)
    monkeypatch.setattr("dcz.arrays.BLOCK", 100)
    rounded = kernels.preserve_kernel_sums(weights, codes.astype(dtype), levels, 9, 0.01)
    assert rounded.dtype == dtype and np.array_equal(rounded, expected)


@pytest.mark.parametrize("shape, rows, kernel", [
    ((16, 8, 3, 3), 1, 9), ((16, 8, 5), 1, 5), ((16, 8, 1, 1), 1, 1), ((16, 8), 1, 1), ((16,), 1, 1), ((72, 16), -1, 1),
    ((16, 1, 3, 3), 1, 1), ((2, 16, 8), 2, 1),
])  # fmt: skip
def test_only_convolutions_of_several_channels_have_kernels(shape, rows, kernel):
    assert RowIndex(shape, rows).kernel == kernel
    assert RowIndex(shape, rows, np.arange(3)).kernel == 1  # the others were pruned away


def test_sums_of_kernels_and_of_rows_are_both_small():
    shape = (64, 32, 3, 3)
    weights = np.random.default_rng(4).normal(size=shape).astype(np.float32)
    codes, levels = on_grid(weights)
    rounded = cancel(weights.ravel(), codes, levels, RowIndex(shape, 1), STEP)
    before, after = ((levels[each].reshape(shape) - weights) / STEP for each in (codes, rounded))
    assert np.abs(after.sum(axis=(1, 2, 3))).max() <= 0.51 < np.abs(before.sum(axis=(1, 2, 3))).max()
    assert np.square(after.sum(axis=(2, 3))).mean() < 0.3 * np.square(before.sum(axis=(2, 3))).mean()
    assert cancel(weights.ravel(), codes, levels, None, STEP) is codes
