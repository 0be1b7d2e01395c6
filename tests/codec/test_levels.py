"""The codes of a record and what they stand for: the elements that decoding gives, whatever the encoding."""

import numpy as np
import pytest

from dcz.codec import decode, encode
from dcz.codec.levels import is_ramp, levels
from dcz.encoded import Pruned, Stored
from dcz.format import record
from dcz.plan import LOSSLESS, Settings
from dcz.tensor import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Tensor, round_to

CASES = {
    "default": Settings(quality=33.0), "few bits": Settings(bits=3), "coarse": Settings(quality=15.0),
    "fine": Settings(quality=60.0), "pruned": Settings(sparsity=0.9, bits=4),
    "pruned grid": Settings(sparsity=0.9, step=0.3), "pruned, fine": Settings(sparsity=0.5, quality=55.0),
    "nearly all gone": Settings(sparsity=0.9999, bits=4), "exact": LOSSLESS,
}  # fmt: skip
TYPES = {dtype.name: dtype for dtype in (FLOAT32, FLOAT16, FLOAT64, BFLOAT16)}


def drawn(dtype, rows_differ: bool) -> Tensor:
    numbers = np.random.default_rng(0).normal(0, 0.05, (48, 60))
    numbers *= np.geomspace(1, 1000, 48)[:, None] if rows_differ else 1
    return Tensor("w", dtype, numbers.shape, round_to(numbers.ravel(), dtype).view(np.uint8), rows=1)


@pytest.mark.parametrize("rows_differ", [False, True])
@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
def test_elements_are_those_that_decoding_gives(settings, dtype, rows_differ):
    tensor = drawn(dtype, rows_differ)
    made = encode.encode(tensor, settings, record.parts)
    encoded = record.read(made.data, made.info.encoding, dtype, tensor.shape)
    wanted = decode.decode(encoded, dtype, tensor.shape).view(dtype.pattern)
    found = levels(encoded, dtype, tensor.shape)
    if isinstance(encoded, (Stored, Pruned)):
        assert found is None
        return
    assert found is not None
    assert np.array_equal(found.elements(slice(0, wanted.size)), wanted)
    assert np.array_equal(found.elements(slice(100, 1000)), wanted[100:1000])
    assert bool(found.step) == is_ramp(encoded) or not found.codes.any()
    if found.step and found.scales is None:
        whole = (found.codes.astype(np.int64) - found.zero) * found.step
        assert np.array_equal(round_to(whole, dtype), wanted)
