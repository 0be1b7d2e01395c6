"""Element types, their bit patterns, and one tensor of a model (spec, section 3).

values(np.array([0x3f80], "<u2"), BFLOAT16)   ->   1.0        round_to(np.array([1.0]), BFLOAT16)   ->   0x3f80
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .errors import FileAccess
from .files import FileRange
from .parallel import each

MAX_BITS = 1 << 63  # of a tensor: fewer
_PART = 1 << 20  # elements for one thread at a time
_BLOCK = 1 << 18  # elements at a time: intermediate arrays of a block stay in cache


@dataclass(frozen=True)
class Dtype:
    """An element type: ONNX's number and name, and the bits of one element (spec, section 3)."""

    code: int
    name: str
    bits: int

    @property
    def real(self) -> bool:
        """Whether dcz may prune and share tensors of this type."""
        return self.name in ("float32", "float16", "bfloat16", "float64")

    @property
    def pattern(self) -> np.dtype:
        """The unsigned integer that holds one element bit for bit (whole bytes up to 8 only)."""
        return np.dtype(f"<u{self.bits // 8}")

    def nbytes(self, shape: Sequence[int]) -> int:
        """Bytes of a tensor of this type, elements of less than a byte packed together."""
        return -(-math.prod(shape) * self.bits // 8)


def is_valid_shape(shape: Sequence[int], bits: int) -> bool:
    """Whether a tensor may have a shape: no dim is negative, and the others' product times the bits of an element is
    below 2^63 even where one is 0, which must not hide an overflow (spec, section 3)."""
    return min(shape, default=0) >= 0 and math.prod(filter(None, shape)) * bits < MAX_BITS


DTYPES = {
    code: Dtype(code, name, bits)
    for code, name, bits in [
        (1, "float32", 32), (2, "uint8", 8), (3, "int8", 8), (4, "uint16", 16), (5, "int16", 16),
        (6, "int32", 32), (7, "int64", 64), (9, "bool", 8), (10, "float16", 16), (11, "float64", 64),
        (12, "uint32", 32), (13, "uint64", 64), (14, "complex64", 64), (15, "complex128", 128),
        (16, "bfloat16", 16), (17, "float8e4m3fn", 8), (18, "float8e4m3fnuz", 8), (19, "float8e5m2", 8),
        (20, "float8e5m2fnuz", 8), (21, "uint4", 4), (22, "int4", 4), (23, "float4e2m1", 4),
        (24, "float8e8m0", 8), (25, "uint2", 2), (26, "int2", 2),
    ]
}  # fmt: skip
FLOAT32, FLOAT16, FLOAT64, BFLOAT16 = DTYPES[1], DTYPES[10], DTYPES[11], DTYPES[16]
PRECISION = {"float32": 24, "float64": 53, "float16": 11, "bfloat16": 8}  # significant bits of the real types


def values(patterns: np.ndarray, dtype: Dtype) -> np.ndarray:
    """The values of bit patterns of a real type: float64 for float64, float32 for the others, same shape.

    A view of `patterns` for float64 and float32.
    """
    if dtype.name == "float64":
        return patterns.view("<f8")
    if dtype.name == "float32":
        return patterns.view("<f4")
    if dtype.name == "float16":
        return patterns.view("<f2").astype(np.float32)
    return (patterns.astype(np.uint32) << 16).view(np.float32)


def round_to(numbers: np.ndarray, dtype: Dtype) -> np.ndarray:
    """float64 `numbers` as bit patterns of `dtype`: to nearest, ties to even; bfloat16 by way of float32."""
    with np.errstate(over="ignore", invalid="ignore"):  # callers check for infinities and NaN
        if dtype.name != "bfloat16":
            return numbers.astype({32: "<f4", 16: "<f2", 64: "<f8"}[dtype.bits]).view(dtype.pattern)
        wide = numbers.astype("<f4").view("<u4").astype(np.uint64)
    return ((wide + 0x7FFF + (wide >> 16 & 1)) >> 16).astype("<u2")  # ties to even on the lower 16 bits


def largest(dtype: Dtype) -> float:
    """The largest finite number of a real type: its bit pattern is the one before infinity's."""
    return float(values(round_to(np.array([np.inf]), dtype) - 1, dtype)[0])


@dataclass(frozen=True, eq=False)
class ValueGrid:
    """Where a tensor's values lie: each is a whole number times the scale of its place along `axis`, rounded to the
    tensor's type.

    `scales` is flat. Without an axis there is one for the whole tensor, or none where blocks have their own. With
    `steps` (uint8, see encoded.step_scales), one for each place along the axis, values lie instead at whole numbers
    times these scales times a step that is the same for all, and that they show themselves, or at entries of a codebook
    times these scales. `binds`: whether values have to stay on it.
    """

    axis: int | None
    scales: np.ndarray
    steps: np.ndarray | None = None
    binds: bool = True


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of a model.

    `source` is its bytes as ONNX's raw_data has them (uint8, flat), or the range of a file that holds them: then the
    tensor takes a few hundred bytes itself and can be sent to other processes and machines.
    `rows` says which elements its layer sums for one output, a row: its first `rows` axes number the rows, or, for -1,
    its last axis does. 0: not known. `grid` is the one that all its values lie on, if that is known. `inputs` are the
    means of what the weights of a row meet, if they are known to differ (float64[groups, channels]): the rows fall into
    equal groups one after another, and the weights of a row into equal runs, one for each channel.
    """

    name: str
    dtype: Dtype
    shape: tuple[int, ...]
    source: np.ndarray | FileRange
    rows: int = 0
    grid: ValueGrid | None = None
    inputs: np.ndarray | None = None

    @functools.cached_property
    def data(self) -> np.ndarray:
        """Its bytes (uint8, flat), read once where they lie in a file. Raises FileAccess."""
        if isinstance(self.source, np.ndarray):
            return self.source
        try:
            return np.frombuffer(self.source.read(), np.uint8)
        except (OSError, ValueError) as error:
            path = self.source.path
            raise FileAccess(f"{path}: the data of tensor {self.name!r} cannot be read: {error}") from error

    @property
    def patterns(self) -> np.ndarray:
        """The elements' bit patterns, flat, row-major."""
        return self.data.view(self.dtype.pattern)

    @functools.cached_property
    def is_finite(self) -> bool:
        """Whether its elements, of a real type, are neither infinities nor NaN."""
        patterns = self.patterns

        def is_finite(first: int) -> bool:
            part = patterns[first : first + _PART]
            blocks = (part[start : start + _BLOCK] for start in range(0, len(part), _BLOCK))
            return all(np.isfinite(values(block, self.dtype)).all() for block in blocks)

        return all(each(is_finite, range(0, len(patterns), _PART)))


def transpose(data: np.ndarray, dtype: Dtype, shape: tuple[int, ...]) -> np.ndarray:
    """The bytes (uint8, flat) of the transpose of a matrix of `shape`, from its bytes; elements of 8 bits or more."""
    turned: np.ndarray = np.ascontiguousarray(data.reshape(*shape, dtype.bits // 8).swapaxes(0, 1)).reshape(-1)
    return turned


def matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of a tensor as a matrix (spec, section 7): leading dims of 1 dropped, first dim by the rest."""
    dims = list(shape)
    while dims and dims[0] == 1:
        dims.pop(0)
    return (dims[0], math.prod(dims[1:])) if dims else (1, 1)
