"""Samples that tell something of a network: those that it answers with numbers.

find_unusable(predictor, batches)      ->   int64 [7, 212]: calibration is to leave these out
"""

import math

import numpy as np

from ..evaluation.batches import SampleBatches
from ..evaluation.predictor import Predictor, named_samples

MAX_SHARE = 0.5  # of the samples: where more are without numbers, that is how the network answers


def find_unusable(predictor: Predictor, batches: SampleBatches) -> np.ndarray:
    """The samples (numbers, int64) with +inf among the inputs, or with NaN or +inf among the answers: one alone would
    outweigh all others in what layers see. (-inf is the logarithm of 0, or what a mask leaves out, which may be an
    input.) None where more than MAX_SHARE are so."""
    found: list[np.ndarray] = []
    for number in range(len(batches)):
        indices = batches.indices_of(number)
        inputs = batches[number]
        is_bad = np.zeros(len(indices), bool)
        for name, array in inputs.items():
            if array.dtype.kind == "f" and (is_infinite := array == math.inf).any():
                is_bad |= predictor.feed.samples_where(name, is_infinite)[: len(indices)]
        is_bad |= _is_unanswered(predictor, indices)
        found.append(indices[is_bad])
    unusable = np.sort(np.concatenate(found))
    return unusable if len(unusable) <= MAX_SHARE * len(batches.indices) else unusable[:0]


def _is_unanswered(predictor: Predictor, indices: np.ndarray) -> np.ndarray:
    """For which samples of one run the outputs hold NaN or +inf: bool [n]; of outputs that have no axis of samples, by
    runs of one."""
    outputs = predictor.outputs_by_sample(indices).values()
    is_bad = np.zeros(len(indices), bool)
    for output in outputs:
        if not isinstance(output, np.ndarray) or output.dtype.kind != "f":
            continue
        is_none = np.isnan(output) | (output == math.inf)
        if not is_none.any():
            continue
        if output.ndim and len(output) == len(indices):
            is_bad |= is_none.reshape(len(indices), -1).any(1)
        elif len(indices) > 1:
            return np.concatenate([_is_unanswered(predictor, indices[n : n + 1]) for n in range(len(indices))])
        else:
            is_bad[:] = True
    return is_bad


def told_of(left_out: np.ndarray, samples: str, model: str) -> list[str]:
    """What the user should know of samples that are left out; `samples` and `model` are what messages call these."""
    if not len(left_out):
        return []
    verb = "is" if len(left_out) == 1 else "are"
    why = f"infinities go into {model}, or infinities or NaN come out"
    return [f"{samples}: {named_samples(left_out)} {verb} left out: {why}"]
