"""Which tensors samples can help to round, and why others stay as they are.

misfit(tensor)     ->   None, or "t: holds infinities or NaN and stays exact; ...", or "" where there is nothing to say
"""

import numpy as np

from ..model import Model, ModelTensor

LARGEST = {"float16": 65504.0}  # of a type; of others, what calibration computes with: float32
NEAR = 0.95  # of the largest number: beyond, steps lead to infinities
SQUARED = 1e18  # the magnitude from which sums of squares are beyond float32


def misfit(tensor: ModelTensor) -> str | None:
    """Why a tensor of a real type is not calibrated: a sentence, or "" where all its weights are the same or there are
    none; None where it can be. Raises UnsuitableModel, FileAccess for what cannot be read."""
    weights = tensor.values()
    if not weights.size or not (weights != weights.flat[0]).any():
        return ""
    if not np.isfinite(weights).all():
        return f"{tensor.name}: holds infinities or NaN and stays exact; find out why before you ship the model"
    largest = _largest(weights)
    if largest > LARGEST.get(tensor.dtype.name, float(np.finfo(np.float32).max)) * NEAR:
        return (
            f"{tensor.name}: holds numbers of {largest:.3g}, which steps would lead beyond its type, and stays exact; "
            "without samples it is rounded"
        )
    return None


def excess(model: Model) -> str:
    """Why numbers of a model are too large to compute with, if they are: its tensor of the largest; else ""."""
    found = [(_largest(values), tensor.name) for tensor in model.tensors if tensor.dtype.real
             if (values := tensor.values()).size]  # fmt: skip
    largest, name = max(found, default=(0.0, ""))
    if not SQUARED <= largest < np.inf:
        return ""
    return (
        f"{name} holds numbers of {largest:.3g}, and float32, in which calibration computes, does not hold the squares "
        "of what comes of them: compress the model without samples"
    )


def _largest(weights: np.ndarray) -> float:
    return float(max(-weights.min(), weights.max()))
