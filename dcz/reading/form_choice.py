"""How the codes of one tensor become numbers again in a graph: the form that is exact, and smallest.

    Choice("qdq", opset=13).make(levels)    ->   (Linear(codes int8, scale=0.0039), 0.0)     the same to the bit
    Choice("gather", opset=13).make(levels) ->   (Lookup(codes uint8, entries), 0.0)

What the nodes will compute is computed here as they do it, and held against what the format says.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .. import arrays
from ..codec.levels import Levels
from ..tensor import FLOAT32, FLOAT64, round_to, values

if TYPE_CHECKING:
    from .. import model

QDQ = "qdq"
# The first versions of the operator set with: Cast to a type by number; DequantizeLinear; along an axis; of 4 and 16
# bits, and a Cast of 4.
BY_NUMBER, PER_TENSOR, PER_AXIS, OTHER_WIDTHS = 7, 10, 13, 21
MAX_RELATIVE = 2.0**-22  # of an element: what another order of rounding may change


@dataclass(frozen=True)
class Choice:
    """Which forms there may be: `form`, in a model of this operator set."""

    form: str
    opset: int

    def make(self, found: Levels) -> "tuple[model.Form, float] | None":
        """The form of a tensor, and by how much an element differs; None where there is none."""
        if self.form == QDQ and found.step and (linear := _linear(found, self.opset)) is not None:
            return linear
        if self.opset < BY_NUMBER:
            return None
        lookup = _lookup(found, self.opset)
        product = _product(found) if found.step and lookup.bits > 8 else None
        return lookup if product is None else product, 0.0


# -- lookups -----------------------------------------------------------------------------------------------------------


def _lookup(found: Levels, opset: int) -> "model.Lookup":
    """The codes that are used, numbered anew, and their entries; with scales, in the narrowest type that is exact."""
    from .. import model

    used = np.flatnonzero(np.bincount(found.codes, minlength=len(found.entries)))
    numbers = np.zeros(len(found.entries), np.uint8 if len(used) <= 1 << 8 else np.uint16)
    numbers[used] = np.arange(len(used))
    codes = numbers[found.codes].reshape(found.shape)
    bits = 8 * numbers.itemsize if len(used) > 16 or opset < OTHER_WIDTHS else 4
    kind = found.dtype.code
    if found.scales is None:
        assert found.patterns is not None, "entries without scales have patterns"
        return model.Lookup(kind, codes, bits, found.patterns[used], kind)
    entries = found.entries[used]
    for dtype, type_ in ((FLOAT32, np.float32), (FLOAT64, np.float64)):
        narrow = entries.astype(type_), found.scales.astype(type_)
        if dtype == FLOAT64 or _is_exact(found, found.entries.astype(type_), narrow[1]):
            return model.Lookup(kind, codes, bits, narrow[0], dtype.code, narrow[1], found.axis)
    raise AssertionError("float64 is what the format computes in")


def _is_exact(found: Levels, entries: np.ndarray, scales: np.ndarray) -> bool:
    """Whether entries and scales (float32) give the elements to the bit, multiplied in float32."""
    if found.dtype == FLOAT64:
        return False
    for block in arrays.blocks(len(found.codes), arrays.BLOCK):
        product = entries[found.codes[block]] * scales[arrays.places(found.shape, found.axis, block)]
        if not np.array_equal(round_to(product.astype(np.float64), found.dtype), found.elements(block)):
            return False
    return True


# -- DequantizeLinear --------------------------------------------------------------------------------------------------


def _linear(found: Levels, opset: int) -> "tuple[model.Linear, float] | None":
    """A ramp by DequantizeLinear, and by how much an element differs at most; None where it cannot be."""
    from .. import model

    if opset < (PER_TENSOR if found.scales is None else PER_AXIS):
        return None
    used = np.flatnonzero(np.bincount(found.codes, minlength=len(found.entries)))
    width = _width(int(used[0]) - found.zero, int(used[-1]) - found.zero, opset)
    if width is None:
        return None
    bits, type_, low = width
    codes: np.ndarray = (found.codes.astype(np.int32) - (found.zero + low)).astype(type_).reshape(found.shape)
    scale = _scale(found)
    if scale is None:
        return None
    form = model.Linear(found.dtype.code, codes, bits, scale, -low, found.axis)
    difference = _difference(found, codes.ravel(), -low, scale)
    return None if difference is None else (form, difference)


def _product(found: Levels) -> "model.Product | None":
    """A ramp of many levels by a Cast and a Mul; None where that is not exact."""
    from .. import model

    used = np.flatnonzero(np.bincount(found.codes, minlength=len(found.entries)))
    low, high = int(used[0]) - found.zero, int(used[-1]) - found.zero
    scale = _scale(found)
    if scale is None or low < -(1 << 15) or high >= 1 << 15:
        return None
    codes = (found.codes.astype(np.int32) - found.zero).astype(np.int16)
    if _difference(found, codes, 0, scale) != 0:
        return None
    return model.Product(found.dtype.code, codes.reshape(found.shape), scale, found.axis)


def _scale(found: Levels) -> np.ndarray | None:
    """What the whole numbers of a ramp are multiplied with (float32: one, or one a place); None where that does not
    hold it."""
    scale = np.asarray(found.step * (1.0 if found.scales is None else found.scales)).astype(np.float32)
    return scale if (np.isfinite(scale) & (scale > 0)).all() else None


def _width(low: int, high: int, opset: int) -> "tuple[int, type, int] | None":
    """The bits and the numpy type of codes from `low` to `high`, and what code 0 stands for (0, or -zero point)."""
    for bits, signed, unsigned in ((4, np.int8, np.uint8), (8, np.int8, np.uint8), (16, np.int16, np.uint16)):
        if bits != 8 and opset < OTHER_WIDTHS:
            continue
        half = 1 << bits - 1
        if -half <= low and high < half:
            return bits, signed, 0
        low_or_zero, high_or_zero = min(low, 0), max(high, 0)
        if high_or_zero - low_or_zero < 2 * half:
            return bits, unsigned, low_or_zero
    return None


def _difference(found: Levels, codes: np.ndarray, zero: int, scale: np.ndarray) -> float | None:
    """By how much of itself an element differs at most, computed as DequantizeLinear does; None where that is too much,
    or the type is too short for it to go unnoticed."""
    most = 0.0
    for block in arrays.blocks(len(codes), arrays.BLOCK):
        factor = scale if found.scales is None else scale[arrays.places(found.shape, found.axis, block)]
        product = (codes[block].astype(np.int32) - zero).astype(np.float32) * factor
        made, wanted = round_to(product.astype(np.float64), found.dtype), found.elements(block)
        if not np.array_equal(made, wanted):
            one, other = (values(each, found.dtype).astype(np.float64) for each in (made, wanted))
            with np.errstate(all="ignore"):
                relative = np.abs(one - other) / np.abs(other)
            if found.dtype != FLOAT32 or not (relative[one != other] <= MAX_RELATIVE).all():
                return None
            most = max(most, float(relative[one != other].max(initial=0.0)))
    return most
