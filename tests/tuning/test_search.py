"""The bits that are tried for a drop and for a size, with trials whose figures are known."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from dcz.calibrate import allocate
from dcz.compression.measured_file import MeasuredFile
from dcz.errors import BadPlan
from dcz.tuning import search, steering
from dcz.tuning.trials import CalibratedTrial, CalibratedValues


def trials_with_drops(drop_at, held_out: int = 100):
    """Trials in which a bit a weight is 1,000 bytes, and the bits that were tried."""
    tried = []

    def run(bits: float) -> CalibratedValues:
        tried.append(bits)
        return CalibratedValues(CalibratedTrial(bits, round(1000 * bits), drop=drop_at(bits)), {})

    criterion = SimpleNamespace(describe=lambda drop: f"{drop:.0%}")
    split = SimpleNamespace(held_out=SimpleNamespace(indices=np.arange(held_out)))
    return SimpleNamespace(run=run, criterion=criterion, split=split, max_bits=7.5), tried


@pytest.mark.parametrize("threshold", [0.4, 1.3, 3.9, 4.1, 7.4])
def test_the_fewest_bits_that_hold_a_drop_are_found_within_the_ratio(threshold):
    trials, tried = trials_with_drops(lambda bits: 0.0 if bits >= threshold else 0.5)
    best = search.search_by_drop(trials, 0.1, pytest.fail)
    assert threshold <= best.trial.bits <= max(search.MIN_BITS_RATIO, 1.12) * threshold
    assert len(tried) <= search.MAX_DROP_TRIALS and best.trial.bits == min(n for n in tried if n >= threshold)


def test_a_drop_that_always_holds_ends_at_the_fewest_bits():
    trials, tried = trials_with_drops(lambda bits: 0.0)
    assert search.search_by_drop(trials, 0.1, pytest.fail).trial.bits == min(tried) < 0.2


def test_a_drop_that_never_holds_names_the_least_and_its_bits():
    trials, _ = trials_with_drops(lambda bits: 0.3 if bits == search.FIRST_BITS else 0.4)
    with pytest.raises(
        BadPlan, match=r"even calibrated at 7.5 bits a weight more than 10%; the least was 30.00%, at 4.0 bits"
    ):
        search.search_by_drop(trials, 0.1, pytest.fail)


def test_a_drop_that_is_expected_and_missed_is_not_called_one_that_was_seen():
    trials, _ = trials_with_drops(lambda bits: 0.0, held_out=2)
    trial = CalibratedTrial(4.0, 4000, drop=0.0, expected_drop=0.0, drop_low=0.0, drop_high=0.25)
    trials.run = lambda bits: CalibratedValues(trial, {})
    words = r"the drop on other samples may be above 1.00%, as far as 2 held-out samples can tell; the least was 10.00%"
    with pytest.raises(BadPlan, match=words):
        search.search_by_drop(trials, 0.01, pytest.fail)


def test_the_next_bits_lie_between_what_fits_and_what_does_not():
    trials = SimpleNamespace(session=SimpleNamespace(weight_count=8000), max_bits=7.5)
    small, large = CalibratedTrial(2.0, 2000), CalibratedTrial(4.0, 4000)
    assert search._next_bits(large, small, small, large, 3000, trials) == 3.0
    assert search._next_bits(large, small, small, large, 2010, trials) == 2.1  # no nearer than a twentieth
    assert search._next_bits(small, None, small, None, 3000, trials) == 3.0
    assert search._next_bits(large, None, None, large, 0, trials) == 2.0  # no less than half
    assert search._next_bits(large, None, large, None, math.inf, trials) == trials.max_bits


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
