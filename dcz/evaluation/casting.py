"""Arrays of samples in the types that a model's inputs take, where nothing is lost by it.

cast(np.array([1, 0]), "tensor(bool)", where)      ->   [True, False]

To floats from any number (rounded as the type rounds); to whole numbers and truth values from numbers that stay what
they are; text as it is.
"""

import numpy as np

from ..errors import InvalidArgument

TYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(int16)": np.int16, "tensor(int8)": np.int8,
    "tensor(uint64)": np.uint64, "tensor(uint32)": np.uint32, "tensor(uint16)": np.uint16, "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}  # fmt: skip
NUMBERS = "fiub"


def cast(array: np.ndarray, wanted: str, where: str) -> np.ndarray:
    """A copy of the array in the type `wanted`, as onnxruntime names it.

    `where` is what messages call the array. Raises InvalidArgument where the type does not hold all values.
    """
    if wanted == "tensor(string)" and array.dtype.kind == "U":
        return np.array(array)
    if wanted not in TYPES or array.dtype.kind not in NUMBERS:
        raise InvalidArgument(f"{where} wants {wanted}, the samples have {array.dtype} {list(array.shape)}")
    dtype = np.dtype(TYPES[wanted])
    with np.errstate(over="ignore", invalid="ignore"):
        made = np.array(array, dtype)
    if array.dtype == dtype:
        return made
    if dtype.kind == "f":
        if (np.isinf(made) & np.isfinite(array)).any():
            largest = float(np.abs(array[np.isfinite(array)].astype(np.float64)).max())
            raise InvalidArgument(
                f"{where} wants {dtype}, which some values of {array.dtype} {list(array.shape)} overflow, up to "
                f"{largest:.3g}: scale them, or leave these samples out"
            )
        return made
    differs = made != array
    if not differs.any():
        return made
    first = array[differs].flat[0]
    raise InvalidArgument(
        f"{where} wants {dtype}, which does not hold all values of {array.dtype} {list(array.shape)}, such as {first}: "
        f"{_remedy(array, dtype)}"
    )


def _remedy(array: np.ndarray, dtype: np.dtype) -> str:
    if dtype.kind == "b":
        return "give zeros and ones"
    if array.dtype.kind == "f":
        return "give whole numbers: round, or scale as the model was trained"
    limits = np.iinfo(dtype)
    return f"give numbers from {limits.min} to {limits.max}"
