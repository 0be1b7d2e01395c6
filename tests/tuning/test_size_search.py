"""The bits that are tried for a size, with trials whose figures are known."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from dcz.calibrate import allocate
from dcz.compression.measured_file import MeasuredFile
from dcz.tuning import size_search, steering
from dcz.tuning.trials import CalibratedTrial


def test_the_next_bits_lie_between_what_fits_and_what_does_not():
    trials = SimpleNamespace(session=SimpleNamespace(weight_count=8000), max_bits=7.5)
    small, large = CalibratedTrial(2.0, 2000), CalibratedTrial(4.0, 4000)
    assert size_search._next_bits(large, small, small, large, 3000, trials) == 3.0
    assert size_search._next_bits(large, small, small, large, 2010, trials) == 2.1  # no nearer than a twentieth
    assert size_search._next_bits(small, None, small, None, 3000, trials) == 3.0
    assert size_search._next_bits(large, None, None, large, 0, trials) == 2.0  # no less than half
    assert size_search._next_bits(large, None, large, None, math.inf, trials) == trials.max_bits


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.15])
def test_steps_follow_the_bytes_so_far(factor, monkeypatch):
    """The layers before the last take other bytes than expected; the last one meets the size all the same."""
    random = np.random.default_rng(0)
    weights = {name: random.normal(size=4000) for name in "abcd"}
    curves = {name: allocate.estimate_curve(flat, 0.25, 0.1) for name, flat in weights.items()}
    steps = allocate.steps_for_bits(curves, 4 * 16_000)
    bytes_of = {name: round(curves[name].bits_at(step) / 8) for name, step in steps.items()}
    limit = 100 + 0.97 * sum(bytes_of.values())
    steered = steering.SizeSteering(None, curves, steps, MeasuredFile(100 + sum(bytes_of.values()), bytes_of), limit)
    total = 100.0
    for name in "abcd":
        for _ in range(4):
            nbytes = factor * curves[name].bits_at(steered.steps([name])[name]) / 8
            monkeypatch.setattr(steering, "record_bytes", lambda *_, nbytes=nbytes: nbytes)
            if not steered.measure({name: None}, name == "d"):
                break
        total += nbytes
    assert 0.99 * limit <= total <= limit
