"""Samples that are filled up to one length: where their padding lies in the network, found on a few of them.

find_padding(session)     ->   calibrate.Padding, or None where nothing is padded, or it cannot be told
"""

from typing import TYPE_CHECKING

import numpy as np

from .. import calibrate
from ..errors import UnsuitableModel
from ..evaluation.batches import SampleBatches, evenly_spaced

if TYPE_CHECKING:
    from .session import TuningSession

TRIED = 4  # samples of different lengths, which tell one way to lay places out from all others


def find_padding(session: "TuningSession") -> calibrate.Padding | None:
    """What calibration leaves out of the samples' padding; see calibrate.find_padding."""
    batches = session.batches(session.sample_count)
    name = calibrate.find_mask(batches[0])
    if name is None:
        return None
    chosen = np.empty(0, np.int64)
    for number, batch in enumerate(batches):
        indices = batches.indices_of(number)
        lengths = (batch[name] != 0).sum(1)[: len(indices)]
        _, first = np.unique(lengths, return_index=True)  # shortest first
        if lengths.min() < batch[name].shape[1] and len(first) > len(chosen):
            chosen = indices[evenly_spaced(first, TRIED)]
        if len(chosen) == TRIED:
            break
    if not len(chosen):
        return None
    try:
        return calibrate.find_padding(
            session.calibration_model, SampleBatches(session.predictor, chosen)[0], session.threads
        )
    except UnsuitableModel:  # of an experiment on samples that nobody gave: nothing is known then
        return None
