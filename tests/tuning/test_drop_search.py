"""The bits that are tried for a drop, with trials whose figures are known."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from dcz.errors import BadPlan
from dcz.tuning import drop_search
from dcz.tuning.trials import CalibratedTrial, CalibratedValues


class KnownTrials:
    """Trials in which a bit a weight is 1,000 bytes. `drop_at(bits)`: by the held-out quarter; `cross_fitted(bits)`: by
    all samples, the same where it is None. What was tried, cross-fitted and calibrated anew is kept."""

    max_bits = 7.5

    def __init__(self, drop_at, cross_fitted=None, samples: int = 400, cross_fits: bool = True, **figures):
        self._drop_at, self._cross_fitted, self._figures = drop_at, cross_fitted or drop_at, figures
        self.tried, self.fitted, self.refitted, self.quick, self.cross_fits = [], [], [], [], cross_fits
        self.criterion = SimpleNamespace(describe=lambda drop: f"{drop:.0%}", counts_answers=True)
        self.session = SimpleNamespace(sample_count=samples)
        self.split = SimpleNamespace(held_out=SimpleNamespace(indices=np.arange(samples // 4)))

    def quick_drop(self, bits: float) -> float:
        self.quick.append(bits)
        return drop_search.QUICK_DROP * self._drop_at(bits)

    def run(self, bits: float) -> CalibratedValues:
        self.tried.append(bits)
        return CalibratedValues(
            CalibratedTrial(bits, round(1000 * bits), drop=self._drop_at(bits), **self._figures), {}
        )

    def cross_fit(self, candidate: CalibratedValues) -> CalibratedTrial:
        bits = candidate.trial.bits
        self.fitted.append(bits)
        return CalibratedTrial(bits, candidate.trial.nbytes, drop=self._cross_fitted(bits), **self._figures)

    def refit(self, trial: CalibratedTrial) -> CalibratedValues:
        self.refitted.append(trial.bits)
        return CalibratedValues(trial, {})


@pytest.mark.parametrize("threshold", [0.4, 1.3, 3.9, 4.1, 7.4])
def test_the_fewest_bits_that_hold_a_drop_are_found_within_the_ratio(threshold):
    trials = KnownTrials(lambda bits: 0.0 if bits >= threshold else 0.5)
    best = drop_search.search_by_drop(trials, 0.1)
    assert threshold <= best.trial.bits <= 1.12 * threshold
    assert len(trials.tried) <= drop_search.MAX_WALKS and best.trial.bits == min(
        n for n in trials.tried if n >= threshold
    )


@pytest.mark.parametrize("allowed", [0.005, 0.01, 0.02, 0.05])
def test_quick_trials_bring_the_walks_near(allowed):
    """Where errors halve with a bit, two walks and one cross-fitting do."""
    trials = KnownTrials(lambda bits: 0.3 * 2.0**-bits)
    best = drop_search.search_by_drop(trials, allowed)
    assert drop_search.NEAR_DROP * allowed <= best.trial.drop <= allowed
    assert len(trials.tried) <= 2 and len(trials.fitted) == 1 and trials.refitted == [best.trial.bits]


@pytest.mark.parametrize("optimism", [0.5, 2.0, 10.0])
def test_what_cross_fitting_shows_is_gone_by(optimism):
    """The quarter that judges trials has a drop that is smaller, or larger, than that of all samples."""
    trials = KnownTrials(lambda bits: 0.3 * 2.0**-bits / optimism, lambda bits: 0.3 * 2.0**-bits)
    best = drop_search.search_by_drop(trials, 0.02)
    assert drop_search.NEAR_DROP * 0.02 <= best.trial.drop <= 0.02 and best.trial.drop == 0.3 * 2.0**-best.trial.bits
    assert len(trials.fitted) == 2 and trials.refitted == [best.trial.bits]


def test_a_drop_that_holds_by_no_cross_fitting_is_looked_for_above():
    trials = KnownTrials(lambda bits: 0.001, lambda bits: 0.03 if bits < 0.2 else 0.01)
    best = drop_search.search_by_drop(trials, 0.02)
    assert trials.fitted[0] == drop_search.MIN_BITS and best.trial.drop == 0.01 and 0.2 <= best.trial.bits < 0.5


def test_walks_that_end_below_what_was_cross_fitted_are_cross_fitted_too():
    """Drops that grow slowly take many walks; the smallest that is likely to hold is judged, and taken."""
    by_quarter = lambda bits: 0.0105 * bits**-0.18 if bits > 0.02 else 0.05  # noqa: E731
    trials = KnownTrials(by_quarter, lambda bits: 0.58 * by_quarter(bits))
    best = drop_search.search_by_drop(trials, 0.02)
    assert len(trials.tried) == drop_search.MAX_WALKS and len(trials.fitted) == 2
    assert best.trial.bits == trials.fitted[-1] == min(bits for bits in trials.tried if bits > 0.02) < trials.fitted[0]


def test_a_drop_that_always_holds_ends_at_the_fewest_bits():
    trials = KnownTrials(lambda bits: 0.0)
    assert drop_search.search_by_drop(trials, 0.1).trial.bits == drop_search.MIN_BITS


def test_samples_that_training_is_judged_by_calibrate_nothing():
    trials = KnownTrials(lambda bits: 0.3 * 2.0**-bits, cross_fits=False)
    assert drop_search.search_by_drop(trials, 0.02).trial.bits in trials.tried
    assert not trials.fitted and not trials.refitted


def test_a_drop_that_never_holds_names_the_least_and_its_bits():
    trials = KnownTrials(lambda bits: 0.3 if bits == KnownTrials.max_bits else 0.4)
    with pytest.raises(
        BadPlan, match=r"even calibrated at 7.5 bits a weight more than 10%; the least was 30.00%, at 7.5 bits"
    ):
        drop_search.search_by_drop(trials, 0.1)
    assert len(trials.tried) == 1


def test_a_drop_that_is_expected_and_missed_is_not_called_one_that_was_seen():
    trials = KnownTrials(lambda bits: 0.0, samples=8, expected_drop=0.1, drop_low=0.0, drop_high=0.25)
    words = r"the drop on other samples may be above 1.00%, as far as 8 samples can tell; the least was 16.00%"
    with pytest.raises(BadPlan, match=words):
        drop_search.search_by_drop(trials, 0.01)
    with pytest.raises(BadPlan, match=r"may be above 0.001%, as far as"):
        drop_search.search_by_drop(trials, 1e-5)


def test_samples_that_are_too_few_for_a_drop_are_told_of():
    def told(max_drop: float, trials: KnownTrials) -> str | None:
        return drop_search.doubt(trials, trials.run(4.0).trial, max_drop, trials.session.sample_count)

    words = "40 held-out samples tell no drop below 2.5%, so there may be none"
    assert told(0.01, KnownTrials(lambda bits: 0.0, samples=40)) == words
    assert told(0.03, KnownTrials(lambda bits: 0.0, samples=40)) is None
    assert told(0.01, KnownTrials(lambda bits: 0.0, samples=40, measure="top token")) is None  # more than 40 tokens
    expected = KnownTrials(lambda bits: 0.0, expected_drop=0.006, drop_low=0.003, drop_high=0.014)
    assert told(0.01, expected).startswith("a drop of 0.60% is expected, and on other samples it may be up to 1.40%: ")
    assert told(0.02, expected) is None  # it is shown
    assert told(0.005, expected) is None  # it is not held: another message says so


def test_no_bits_follow_where_nothing_is_left_to_try():
    assert drop_search._following([(drop_search.MIN_BITS, 0.0)], drop_search.MIN_BITS, 0.1, 7.5) is None
    assert drop_search._following([(7.5, 0.5)], 7.5, 0.1, 7.5) is None
    assert drop_search._following([(2.0, 0.5), (2.05, 0.0)], 2.05, 0.1, 7.5) is None
    assert 2.0 < drop_search._following([(2.0, 0.5), (4.0, 0.0)], 4.0, 0.1, 7.5) < 4.0
    assert not math.isnan(drop_search._following([(4.0, 0.0)], 4.0, 0.0, 7.5))
