"""Decibels of values against those computed in one line, and the places where there are none."""

import math

import numpy as np
import pytest

from dcz.comparison.values import compare, count_zeros
from dcz.tensor import BFLOAT16, DTYPES, FLOAT16, FLOAT32, FLOAT64, round_to

INT8, INT64, INT4, BOOL = DTYPES[3], DTYPES[7], DTYPES[22], DTYPES[9]


def raw(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)


def decibels(a, b) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return 10 * math.log10((a * a).sum() / ((a - b) ** 2).sum())


@pytest.mark.parametrize("dtype, numpy_dtype", [(FLOAT32, "<f4"), (FLOAT16, "<f2"), (FLOAT64, "<f8")])
def test_decibels_over_more_than_a_block(dtype, numpy_dtype):
    random = np.random.default_rng(0)
    a = random.normal(size=(1 << 20) + 7).astype(numpy_dtype)
    b = (a + random.normal(0, 0.01, a.shape)).astype(numpy_dtype)
    b[:9] = 0
    found = compare(raw(a), dtype, raw(b), dtype)
    assert found.decibels == pytest.approx(decibels(a, b), abs=1e-6) and found.zeros == ((a == 0).sum(), (b == 0).sum())


def test_a_model_in_float16_is_compared_by_value():
    a = np.random.default_rng(1).normal(size=1000).astype(np.float32)
    half = a.astype(np.float16)
    assert compare(raw(a), FLOAT32, raw(half), FLOAT16).decibels == pytest.approx(decibels(a, half))
    brain = round_to(a.astype(np.float64), BFLOAT16)
    assert 45 < compare(raw(a), FLOAT32, raw(brain), BFLOAT16).decibels < 60
    assert compare(raw(half), FLOAT16, raw(half.astype(np.float32)), FLOAT32).decibels == math.inf


def test_equal_bits_are_equal_whatever_they_mean():
    strange = np.array([np.nan, np.inf, -np.inf, 0, -0.0], np.float32)
    assert compare(raw(strange), FLOAT32, raw(strange), FLOAT32).decibels == math.inf
    assert compare(raw(strange), INT4, raw(strange), INT4).decibels == math.inf


@pytest.mark.parametrize("a, b, expected", [
    ([1, np.nan], [1, np.nan], math.inf), ([np.inf], [np.inf], math.inf), ([0.0], [-0.0], math.inf),
    ([1, 2], [1, np.nan], -math.inf), ([1, np.inf], [1, -np.inf], -math.inf), ([0, 0], [0, 1], -math.inf),
    ([], [], math.inf),
])  # fmt: skip
def test_places_that_hold_no_finite_number(a, b, expected):
    a, b = np.array(a, np.float32), np.array(b, np.float64)
    assert compare(raw(a), FLOAT32, raw(b), FLOAT64).decibels == expected


def test_whole_numbers_have_decibels_and_no_zeros():
    a, b = np.array([100, -50, 0], np.int8), np.array([99, -50, 0], np.int8)
    assert compare(raw(a), INT8, raw(b), INT8).decibels == pytest.approx(decibels(a, b))
    assert compare(raw(a), INT8, raw(b), INT8).zeros == (None, None) and count_zeros(raw(a), INT8) is None
    assert compare(raw(a.astype(np.int64)), INT64, raw(b), INT8).decibels == pytest.approx(decibels(a, b))
    assert compare(raw(np.array([True])), BOOL, raw(np.array([False])), BOOL).decibels == 0  # as large as the value


def test_types_that_hold_no_numbers_here_have_no_decibels():
    assert compare(raw(np.array([1], np.uint8)), INT4, raw(np.array([2], np.uint8)), INT4).decibels is None
