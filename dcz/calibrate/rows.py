"""Tensors that may lie on a fine grid (spec, section 8.2), and the scales of their rows (section 8.1).

    fine_rows(model, ["dw.weight", "fc.weight"])    ->   {"dw.weight": RowScales(...), "fc.weight": None}

With scales, a step is in units of these: an error relative to a row's size, as where no samples tell (see
codec.scaled). A layer whose rows differ in size by ten times or more, or read inputs of their own, has no step that
suits all of them.
"""

from collections.abc import Iterable

import numpy as np

from ..arrays import LazyValues
from ..codec import scaled
from ..codec.stages import scale
from ..model import Model, read_program
from ..plan import BEST_QUALITY, Settings
from ..tensor import FLOAT32
from .layers import Layer, find_layers


def fine_rows(model: Model, names: Iterable[str]) -> dict[str, scale.RowScales | None]:
    """The float32 tensors among `names` that are a layer's weights: the scales of their rows, None where one step suits
    all of them."""
    wanted, tensors = set(names), {tensor.name: tensor for tensor in model.tensors}
    rows: dict[str, scale.RowScales | None] = {}
    for layer in find_layers(read_program(model, model.path or "the model", opaque=True)):
        if layer.tensor not in wanted or tensors[layer.tensor].dtype != FLOAT32:
            continue
        tensor = tensors[layer.tensor].tensor()
        weights = LazyValues(tensor.patterns, tensor.dtype)
        found = scaled.row_scales_of(tensor, weights, Settings(quality=BEST_QUALITY))
        rows[layer.tensor] = found if found is not None and _scales_rows(layer, found) else None
    return rows


def in_shape(row_scales: scale.RowScales) -> np.ndarray:
    """The scale of each element (float64), in the shape of the tensor."""
    return np.broadcast_to(along_axis(row_scales), row_scales.shape)


def along_axis(row_scales: scale.RowScales) -> np.ndarray:
    """The scales (float64) in as many dimensions as the tensor has, of which all but one are 1."""
    column = [len(row_scales.scales) if axis == row_scales.axis else 1 for axis in range(len(row_scales.shape))]
    return row_scales.scales.reshape(column)


def row_sizes(layer: Layer, row_scales: scale.RowScales | None) -> np.ndarray:
    """The scale of each row of a layer, as its matrices have them: [groups, rows, 1]; ones without scales."""
    if row_scales is None:
        return np.ones((1, 1, 1))
    return layer.to_matrices(in_shape(row_scales))[:, :, :1]


def _scales_rows(layer: Layer, row_scales: scale.RowScales) -> bool:
    """Whether all weights of a row of the layer's matrices have the same scale."""
    matrices = layer.to_matrices(in_shape(row_scales))
    return bool((matrices == matrices[:, :, :1]).all())
