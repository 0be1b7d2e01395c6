"""Scales for rows of different size."""

import numpy as np
import pytest

from dcz.codec.stages import scale
from dcz.encoded import step_scales

EXACT = step_scales(np.arange(256, dtype=np.uint8))


def rows_of(sizes, columns: int = 100) -> np.ndarray:
    """Normally distributed rows (float32) of these standard deviations."""
    drawn = np.random.default_rng(0).normal(size=(len(sizes), columns))
    return (drawn * np.asarray(sizes)[:, None]).astype(np.float32)


def test_steps_name_every_scale_of_four_significant_bits():
    assert EXACT[0] == 8 and EXACT[-1] == 15 * 2.0**31
    assert np.array_equal(scale.nearest_steps(EXACT), np.arange(256))
    assert (np.diff(EXACT) / EXACT[:-1] <= 1 / 8).all()


@pytest.mark.parametrize("number", [8.4, 15.6, 1e4, 3e7])
def test_the_nearest_scale_is_chosen(number):
    chosen = EXACT[scale.nearest_steps(np.array([number]))[0]]
    assert abs(chosen - number) == np.abs(EXACT - number).min()


@pytest.mark.parametrize("block", [slice(0, 24), slice(5, 17), slice(23, 24), slice(7, 7), slice(3, 23, 5)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_element_has_the_scale_of_its_place(axis, block):
    shape = (2, 3, 4)
    scales = scale.of_steps(np.arange(shape[axis], dtype=np.uint8) * 20, axis, shape)
    expected = scales.scales[np.indices(shape)[axis].ravel()]
    assert np.array_equal(scales.at(block), expected[block])


@pytest.mark.parametrize("exponent", [1.0, 0.75])
def test_scales_follow_the_size_of_the_rows(exponent):
    sizes = np.geomspace(1e-3, 10, 64)
    found = scale.by_rows(rows_of(sizes, 1000).ravel(), (64, 1000), 0, exponent)
    assert found.scales.min() == 8
    assert np.allclose(found.scales / 8, (sizes / sizes[0]) ** exponent, rtol=0.15)
    turned = scale.by_rows(rows_of(sizes, 1000).T.ravel(), (1000, 64), 1, exponent)
    assert np.array_equal(turned.steps, found.steps)


def test_outliers_do_not_hide_the_size_of_their_row():
    sizes = np.geomspace(0.01, 1, 32)
    weights = rows_of(sizes, 1000)
    weights[:, :30] *= 1e5
    found = scale.by_rows(weights.ravel(), weights.shape, 0, 1.0)
    assert np.allclose(found.scales / 8, sizes / sizes[0], rtol=0.2)


@pytest.mark.parametrize(
    "weights",
    [rows_of(np.ones(32)), np.zeros((32, 9), np.float32), rows_of(np.geomspace(1, 1000, 32), 3)],
    ids=["rows of one size", "zeros", "rows shorter than their scales"],
)
def test_there_are_no_scales_where_they_do_not_pay(weights):
    assert scale.by_rows(weights.ravel(), weights.shape, 0, 1.0) is None


def test_rows_of_zeros_and_tiny_rows_have_a_scale():
    weights = rows_of([0, 1e-30, 1, 100])
    found = scale.by_rows(weights.ravel(), weights.shape, 0, 1.0)
    assert (
        found.scales[0] == found.scales[1] == 8
        and found.scales[3]
        == scale.of_steps(np.array([scale.nearest_steps(np.array([8 * 2.0**20]))[0]]), 0, (1,)).scales[0]
    )
