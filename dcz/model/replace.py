"""New values for a model's tensors.

with_values(load("net.onnx"), {"fc1.weight": trained})  ->  the same model, but for that tensor
"""

from collections.abc import Mapping

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto

from ..errors import BadPlan, UnsuitableModel
from ..tensor import round_to
from ..tensor import values as numbers_of
from .tensors import TYPED, Model, ModelTensor
from .uses import TensorUses, named


def with_values(model: Model, values: Mapping[str, np.ndarray]) -> ModelProto:
    """A copy of the model whose tensors of the given names (of `ModelTensor`s) hold new values, in the field that they had.

    `values` are real numbers in the tensors' shapes; they are rounded to the tensors' own types. External data is
    brought inside, that of other tensors too, so that the copy stands alone. Raises BadPlan for a name that the model
    has not, a tensor that is not of a real type, or another shape; UnsuitableModel for a number too large for the type.
    """
    sites = {site.name: site for site in model.sites}
    data = {name: _bytes(sites.get(name), name, array) for name, array in values.items()}
    copy = ModelProto()
    copy.CopyFrom(model.proto)
    for name, held in named(TensorUses(copy)):
        site = sites.get(name)
        if name in data:
            put(held.proto, site, data[name])
        elif site is not None and site.external is not None:
            put(held.proto, site, site.read())
    return copy


def _bytes(site: ModelTensor | None, name: str, array: np.ndarray) -> np.ndarray:
    if site is None:
        raise BadPlan(f"the model has no tensor {name!r} to take new values")
    if not site.dtype.real:
        raise BadPlan(f"tensor {name!r} is {site.dtype.name}; only real types take new values")
    if np.shape(array) != site.shape:
        raise BadPlan(f"tensor {name!r} has the shape {site.shape}; the new values have {np.shape(array)}")
    numbers = np.asarray(array, np.float64).ravel()
    patterns = round_to(numbers, site.dtype)
    grown = np.isfinite(numbers) & ~np.isfinite(numbers_of(patterns, site.dtype))
    if grown.any():
        raise UnsuitableModel(f"tensor {name!r}: {numbers[grown][0]:.6g} is too large for its type, {site.dtype.name}")
    return np.ascontiguousarray(patterns).view(np.uint8)


def put(proto: TensorProto | AttributeProto, site: ModelTensor, data: np.ndarray) -> None:
    """Put a tensor's bytes (uint8, flat) into the field that they came from; external data is brought inside."""
    if site.field == "raw_data":
        if site.external is not None:
            proto.ClearField("external_data")
            proto.ClearField("data_location")
        proto.raw_data = data.tobytes()
        return
    kind = "<f4" if site.field == "floats" else TYPED[site.dtype.name][1]
    proto.ClearField(site.field)
    getattr(proto, site.field).extend(data.view(kind).tolist())
