"""Samples in the types that inputs take: what is rounded, what is converted, what is refused."""

import numpy as np
import pytest

from dcz.errors import BadPlan
from dcz.evaluation.casting import TYPES, cast

KEPT = [
    (np.array([1.1], np.float64), "tensor(float)", np.array([1.1], np.float32)),
    (np.array([1.1], np.float32), "tensor(float16)", np.array([1.1], np.float16)),
    (np.array([1.5], np.float16), "tensor(double)", np.array([1.5])),
    (np.array([0, 255], np.uint8), "tensor(float)", np.array([0, 255], np.float32)),
    (np.array([2**31 - 1, -(2**31)]), "tensor(int32)", np.array([2**31 - 1, -(2**31)], np.int32)),
    (np.array([0, 1]), "tensor(bool)", np.array([False, True])),
    (np.array([0.0, 1.0]), "tensor(bool)", np.array([False, True])),
    (np.array([True]), "tensor(int64)", np.array([1])),
    (np.array([3.0], np.float32), "tensor(int64)", np.array([3])),
    (np.array([np.inf, np.nan]), "tensor(float16)", np.array([np.inf, np.nan], np.float16)),
    (np.array(["a", "bc"]), "tensor(string)", np.array(["a", "bc"])),
    (np.array([1], ">i2"), "tensor(int8)", np.array([1], np.int8)),
]


@pytest.mark.parametrize("array, wanted, expected", KEPT)
def test_what_loses_nothing_is_converted(array, wanted, expected):
    found = cast(array, wanted, "x")
    assert found.dtype == expected.dtype and np.array_equal(found, expected, equal_nan=found.dtype.kind == "f")
    assert not np.shares_memory(found, array)


LOST = [
    (np.array([1e39]), "tensor(float)", r"x wants float32, which some values of float64 \[1\] overflow, up to 1e\+39"),
    (np.array([7e4], np.float32), "tensor(float16)", r"x wants float16, .* up to 7e\+04: scale them"),
    (
        np.array([[1, 2**31]]),
        "tensor(int32)",
        r"of int64 \[1, 2\], such as 2147483648: give numbers from -2147483648 to",
    ),
    (np.array([-1]), "tensor(uint8)", "such as -1: give numbers from 0 to 255"),
    (np.array([-1]), "tensor(uint64)", "such as -1"),
    (np.array([2**63], np.uint64), "tensor(int64)", "such as 9223372036854775808"),
    (np.array([0, 2]), "tensor(bool)", "such as 2: give zeros and ones"),
    (np.array([0.5]), "tensor(int64)", "such as 0.5: give whole numbers"),
    (np.array([np.nan]), "tensor(int64)", "such as nan"),
    (np.array([np.inf]), "tensor(int32)", "such as inf"),
    (np.array(["a"]), "tensor(float)", r"x wants tensor\(float\), the samples have <U1 \[1\]"),
    (np.array([1j]), "tensor(double)", "the samples have complex128"),
    (np.array([1]), "tensor(string)", r"wants tensor\(string\), the samples have int64"),
    (np.array([1]), "seq(tensor(float))", r"wants seq\(tensor\(float\)\)"),
]


@pytest.mark.parametrize("array, wanted, words", LOST)
def test_what_would_be_lost_is_refused(array, wanted, words):
    with pytest.raises(BadPlan, match=words):
        cast(array, wanted, "x")


@pytest.mark.parametrize("wanted", TYPES)
def test_empty_arrays_fit_every_type(wanted):
    assert cast(np.empty((0, 3)), wanted, "x").shape == (0, 3)
