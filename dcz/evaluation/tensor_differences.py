"""How far each tensor of a decoded model is from the original's: as a whole, its typical weights, its worst row.

compare_tensors(original, decoded, "net.dcz")[0].worst_row    ->   30.3 decibels
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .. import arrays
from ..codec.stages import prune
from ..errors import UnsuitableModel
from ..tensor import values
from .metrics import sqnr

if TYPE_CHECKING:
    from ..model import Model, ModelTensor

MIN_ROW = 4  # weights of a row, from which it has a ratio of its own
OUTLIERS = 0.005  # the share of a tensor's weights that is left out to look at the typical ones
# A row is dead where neither what it held nor its error has more than this share of the energy (sum of squares) of the
# tensor's median row: weights a hundred-thousandth as large. Even a normalization behind it, which divides by the
# root of a variance plus some 1e-5, lifts it to no more than 0.003 of other rows.
DEAD = 1e-10
CORRECTED = ("calibrated", "distilled")  # settings of files in which what is no weight was fitted to the weights


@dataclass(frozen=True)
class TensorDifference:
    """Signal to error of one tensor against the original, in decibels; inf where they are bit for bit the same.

    `typical`: the same without the half percent of the weights of largest magnitude, which may hide that the rest is
    lost. `worst_row`: of the row that comes off worst, where the layer's rows are known (tensor.Tensor.rows), of those
    that are not dead; `dead_rows`: how many are, with weights and errors below 1/100,000 of the median row's. `typical`
    and `worst_row` are None for tensors that hold no real numbers. `corrected`: whether it is no weight but a bias,
    say, or a mean, to which calibration gave another value, so that it makes good what rounding the weights does.
    """

    name: str
    decibels: float
    typical: float | None = None
    worst_row: float | None = None
    dead_rows: int = 0
    corrected: bool = False


def is_corrected(metadata: Mapping[str, str]) -> bool:
    """Whether the file of this metadata was calibrated or distilled, so that biases have new values as well."""
    return metadata.get("settings") in CORRECTED


def compare_tensors(
    original: "Model", decoded: "Model", path: str | os.PathLike[str], corrected: bool = False
) -> tuple[TensorDifference, ...]:
    """The difference of each tensor; raises UnsuitableModel where the models have not the same tensors.

    `corrected`: see is_corrected.
    """
    decoded_tensors = {tensor.name: tensor for tensor in decoded.tensors}
    differences = []
    for tensor in original.tensors:
        other = decoded_tensors.get(tensor.name)
        if other is None or (other.dtype, other.shape) != (tensor.dtype, tensor.shape):
            raise UnsuitableModel(
                f"{path}: was not made from this model: tensor {tensor.name!r} is missing or has another shape"
            )
        difference = _difference(tensor, other)
        is_new = corrected and not tensor.is_weight and difference.decibels != float("inf")
        differences.append(replace(difference, corrected=is_new))
    if extra := decoded_tensors.keys() - {tensor.name for tensor in original.tensors}:
        raise UnsuitableModel(f"{path}: was not made from this model, which has no tensor {min(extra)!r}")
    return tuple(differences)


def _difference(tensor: "ModelTensor", other: "ModelTensor") -> TensorDifference:
    """The signal-to-quantization-noise ratios of two tensors of one dtype; -inf where unequal ones hold no numbers."""
    x, y = tensor.read(), other.read()
    if np.array_equal(x, y):
        return TensorDifference(tensor.name, float("inf"), float("inf"), float("inf"))
    if not tensor.dtype.real:
        return TensorDifference(tensor.name, float("-inf"))
    patterns, others = (data.view(tensor.dtype.pattern) for data in (x, y))
    count = len(patterns)
    outliers = prune.by_sparsity(values(patterns, tensor.dtype), (count - int(OUTLIERS * count)) / count)
    rows = _row_numbers(tensor)
    sums = np.zeros((2, 2))  # signal and noise of all weights, and of the typical ones
    row_sums = np.zeros((2, rows[0]))
    for block in arrays.blocks(count):
        a, b = (values(data[block], tensor.dtype).astype(np.float64) for data in (patterns, others))
        squares, typical = np.stack([a * a, (a - b) ** 2]), ~outliers[block]
        sums += np.stack([squares.sum(1), squares[:, typical].sum(1)])
        if rows[0] > 1:
            places = np.arange(block.start, block.stop)
            numbers = places // rows[1] if tensor.rows > 0 else places % rows[0]
            row_sums += np.stack([np.bincount(numbers, each, rows[0]) for each in squares])
    worst, dead = _worst_row(*row_sums) if rows[0] > 1 else (None, 0)
    return TensorDifference(tensor.name, sqnr(*sums[0]), sqnr(*sums[1]), worst, dead)


def _worst_row(signal: np.ndarray, noise: np.ndarray) -> tuple[float | None, int]:
    """The least ratio of the rows that are not dead, None where there is none, and how many are dead: see DEAD.

    `signal` and `noise` are each row's sums of squares: float64 [rows]. Where a row that held nothing holds something
    now, the ratio is -inf.
    """
    finite = signal[np.isfinite(signal)]
    dead = np.maximum(signal, noise) <= DEAD * (np.median(finite) if len(finite) else 0.0)
    ratios = [sqnr(*each) for each in zip(signal[~dead], noise[~dead], strict=True)]
    return min((ratio for ratio in ratios if not np.isnan(ratio)), default=None), int(dead.sum())


def _row_numbers(tensor: "ModelTensor") -> tuple[int, int]:
    """How many rows a tensor has, and of how many weights; 1 where that is not known, or a row is but a few weights."""
    count = int(np.prod(tensor.shape))
    if tensor.rows == 0 or not tensor.shape:
        return 1, count
    rows = int(np.prod(tensor.shape[: tensor.rows])) if tensor.rows > 0 else tensor.shape[-1]
    return (rows, count // rows) if count >= MIN_ROW * rows else (1, count)
