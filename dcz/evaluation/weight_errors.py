"""How near the weights of a `.dcz` file are to those of its model, without running either.

    weight_error("net.dcz", "net.onnx").decibels    ->   33.4

Tensors are decoded one after another: for all tensors of a file one by one, with what hides behind the figure of each,
see verify.
"""

import math
import os
from dataclasses import dataclass

import numpy as np

from .. import arrays
from ..format.container import Archive
from ..reading.decompress import decode_all, skeleton
from ..tensor import values
from .metrics import sqnr
from .tensor_differences import is_corrected


@dataclass(frozen=True)
class WeightError:
    """`decibels`: signal to quantization noise of all weights that are not stored exactly (mean square of the model's
    over that of the differences); inf where nothing differs, -inf where infinities
    or NaN differ; those that are the same count for nothing. A few tensors of large weights may make that figure:
    `worst` is that of the tensor that has the least. `tensors`: how many they are; `equal`: how many of these
    are the model's bit for bit all the same, as their values were shared before. `rounded`: the tensors of any
    kind that are stored as numbers, but are not the model's."""

    decibels: float
    worst: float
    tensors: int
    equal: int
    rounded: frozenset[str] = frozenset()


def weight_error(path: str | os.PathLike[str], model: str | os.PathLike[str]) -> WeightError:
    """Compare the weights of the `.dcz` file `path` with those of the ONNX file `model` that it was made from.

    BatchNormalizations are folded, and weights put on the grids that the model rounds them to, as in the file. Tensors
    of other names or shapes than the model's are left out, and of calibrated files biases and other tensors that are no
    weights: they have new values that make good what rounding the weights does. Raises DczError.
    """
    from .. import model as onnx_model

    signal = noise = 0.0
    worst, count, equal, rounded = math.inf, 0, 0, set[str]()
    with Archive(path) as archive:
        metadata, entries = archive.directory.metadata, archive.directory.entries
        if not any(entry.dtype.real and entry.info.encoding for entry in entries):
            return WeightError(math.inf, math.inf, 0, 0)  # nothing to read the model for
        original = onnx_model.open_dense(model, apart=True, lists=True)
        corrected = is_corrected(metadata)
        if "folded" in metadata:
            onnx_model.fold_batchnorms(original, folded_like=skeleton(archive, onnx_model.Held())[0])
        if "snapped" in metadata:
            onnx_model.snap_to_grids(original)
        found = {(tensor.name, tensor.dtype.code, tensor.shape): tensor for tensor in original.tensors}
        for entry, data in decode_all(archive):
            tensor = found.get((entry.name, entry.dtype.code, entry.shape))
            is_stored = entry.info.encoding == 0
            if tensor is None or not entry.dtype.real or (corrected and not tensor.is_weight and not is_stored):
                continue
            before, after = tensor.read().view(entry.dtype.pattern), data.view(entry.dtype.pattern)
            if is_stored:
                if np.array_equal(before, after):
                    continue
                rounded.add(entry.name)
                if not tensor.is_weight:
                    continue
            of_signal, of_noise = 0.0, 0.0
            with np.errstate(over="ignore", invalid="ignore"):
                for block in arrays.blocks(len(before)):
                    numbers = values(before[block], entry.dtype).astype(np.float64)
                    errors = numbers - values(after[block], entry.dtype)
                    errors[before[block] == after[block]] = 0.0  # inf - inf is NaN
                    of_signal += float(np.square(numbers[np.isfinite(numbers)]).sum())
                    of_noise += float(np.square(errors).sum())
            of_noise = math.inf if math.isnan(of_noise) else of_noise
            signal, noise, worst = signal + of_signal, noise + of_noise, min(worst, sqnr(of_signal, of_noise))
            count, equal = count + 1, equal + np.array_equal(before, after)
    return WeightError(sqnr(signal, noise), worst, count, equal, frozenset(rounded))
