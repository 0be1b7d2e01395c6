"""Values of many tensors: large ones lie in a file, and come back as float32."""

import numpy as np

from dcz.calibrate.spool import LARGE, StoredValues
from tests.models import normal


def test_values_come_back_as_float32_where_they_are_many():
    large, small = normal(300, 300, dtype=np.float64), normal(7, dtype=np.float64)
    values = StoredValues()
    values.add({"large": large, "small": small, "wide": large.T}, wide=["wide"])
    assert list(values) == ["large", "small", "wide"] and len(values) == 3 and large.size >= LARGE
    for name, array in (("large", large.astype(np.float32)), ("small", small), ("wide", large.T)):
        np.testing.assert_array_equal(values[name], array, strict=True)


def test_values_that_are_made_again_take_no_more_room():
    values = StoredValues()
    for seed in range(3):
        values.add({"w": normal(300, 300, seed=seed)})
    assert np.array_equal(values["w"], normal(300, 300, seed=2))
    values.add({"v": normal(300, 300)})
    assert values._file.append(memoryview(b"")) == 2 * -(-300 * 300 * 4 // 4096) * 4096
