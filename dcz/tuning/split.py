"""Which samples calibrate, and which are held out of the calibration to judge it.

split = split_samples(session, HELD_OUT_SHARE)          three quarters calibrate, one is held out
other_turns(session, HELD_OUT_SHARE)                    the splits that hold out the other quarters
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import InvalidArgument
from ..evaluation.batches import SampleBatches
from ..text import counted
from .session import MAX_BATCH, TuningSession

HELD_OUT_SHARE = 0.25  # of the samples, where a drop is judged or training is
JUDGING_SHARE = 0.125  # of the samples, where they only tell what a file of some size is worth
MIN_SAMPLES = 8  # to calibrate with


@dataclass(frozen=True, eq=False)
class SampleSplit:
    """The samples that calibrate, and those that are held out."""

    calibration: SampleBatches
    held_out: SampleBatches


def split_samples(session: TuningSession, share: float, turn: int = 0) -> SampleSplit:
    """Hold that share of the samples out, from all over them; in each of 1 / share turns others."""
    every = round(1 / share)
    is_held_out = np.arange(session.sample_count) % every == every - 1 - turn
    calibration, held_out = session.indices[~is_held_out], session.indices[is_held_out]
    return SampleSplit(
        SampleBatches(session.predictor, calibration, MAX_BATCH), SampleBatches(session.predictor, held_out, MAX_BATCH)
    )


def other_turns(session: TuningSession, share: float) -> Iterator[SampleSplit]:
    """The splits of all turns but the first, which hold out what that one does not; without empty ones."""
    for turn in range(1, round(1 / share)):
        split = split_samples(session, share, turn)
        if len(split.held_out.indices):
            yield split


def check_sample_count(session: TuningSession) -> None:
    """Raise InvalidArgument where there are too few samples to calibrate with."""
    if session.sample_count < MIN_SAMPLES:
        raise InvalidArgument(
            f"{session.predictor.samples.path}: {counted(session.sample_count, 'sample')}; calibration wants "
            f"{MIN_SAMPLES} at least, better hundreds"
        )
