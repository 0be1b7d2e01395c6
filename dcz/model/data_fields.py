"""The protobuf fields that hold a tensor's data, read and written as bytes.

read_field(proto, "int32_data", FLOAT16)            the bytes (uint8, flat) that raw_data would have
append_to_field(proto, "int32_data", FLOAT16, data)  changes `proto`: the reverse
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from onnx import AttributeProto, TensorProto

from ..tensor import Dtype
from .raw_data import TOKEN

# By element type: the TensorProto field for data outside raw_data, and the numpy type of an element of raw_data.
# float16 and bfloat16 lie in int32_data as bit patterns. Other types have typed fields too, but hardly any exporter
# uses them: such tensors stay in the graph.
TYPED_FIELDS = {
    "float32": ("float_data", "<f4"), "float64": ("double_data", "<f8"), "int64": ("int64_data", "<i8"),
    "int32": ("int32_data", "<i4"), "float16": ("int32_data", "<u2"), "bfloat16": ("int32_data", "<u2"),
}  # fmt: skip
DATA_FIELDS = ("raw_data", "float_data", "double_data", "int32_data", "int64_data", "uint64_data", "string_data")
NOTHING_APART: Mapping[bytes, np.ndarray] = MappingProxyType({})
ALIGNED = 16  # bytes: the largest element of a tensor
_BLOCK = 1 << 16  # elements
FLOATS = "floats"  # the AttributeProto field of a Constant's `value_floats`


def read_field(
    proto: TensorProto | AttributeProto, field: str, dtype: Dtype, apart: Mapping[bytes, np.ndarray] = NOTHING_APART
) -> np.ndarray:
    """The data in a field, as the bytes (uint8, flat) that raw_data would have; for `apart` see raw_bytes."""
    if field == "raw_data":
        data = raw_bytes(proto, apart)
        # Numbers that lie between others' bytes are slow to compute with: as a copy they begin at a whole address.
        return data if data.ctypes.data % ALIGNED == 0 else data.copy()
    return np.array(getattr(proto, field)).astype(_element(field, dtype)).view(np.uint8)


def raw_bytes(proto: TensorProto, apart: Mapping[bytes, np.ndarray]) -> np.ndarray:
    """The raw_data of a tensor (uint8, flat), or what is kept `apart` of it, where it is the token of that."""
    data = proto.raw_data
    found = apart.get(data) if len(data) == TOKEN else None
    return np.frombuffer(data, np.uint8) if found is None else found


def append_to_field(proto: TensorProto | AttributeProto, field: str, dtype: Dtype, data: np.ndarray) -> None:
    """Change `proto`: set its raw_data to `data` (uint8, flat), or append the elements to one of the other fields."""
    if field == "raw_data":
        proto.raw_data = data.tobytes()
    else:
        elements, numbers = data.view(_element(field, dtype)), getattr(proto, field)
        for start in range(0, len(elements), _BLOCK):  # as Python's numbers, which take eight times the room
            numbers.extend(elements[start : start + _BLOCK].tolist())


def _element(field: str, dtype: Dtype) -> str:
    return "<f4" if field == FLOATS else TYPED_FIELDS[dtype.name][1]
