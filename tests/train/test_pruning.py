"""Schedules, thresholds and scores: which weights go, and when."""

import numpy as np
import pytest

from dcz.errors import BadPlan
from tests.train.samples import clusters, perceptron

torch = pytest.importorskip("torch")

from dcz.train import (
    CrossEntropy,
    Group,
    Network,
    Pruner,
    Recipe,
    Weight,
    keep_largest,
)


def weights(*rows) -> list[Weight]:
    return [Weight(f"w{i}", np.array(row, np.float32), True) for i, row in enumerate(rows)]


# -- schedules ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("progress, kept", [
    (0, 0.5), (0.25, 0.1 + 0.4 * 0.5**3), (0.375, 0.1 + 0.4 * 0.25**3), (0.5, 0.1), (1, 0.1),
])  # fmt: skip
def test_the_cubic_schedule(progress, kept):
    recipe = Recipe(start=0.5, ramp=0.5)
    assert recipe.kept(progress, 0.1) == pytest.approx(kept, abs=1e-12)
    assert recipe.has_reached_target(progress) == (progress >= 0.5)


def test_a_target_above_the_start_is_kept_from_the_start():
    assert {Recipe(start=0.5).kept(done, 0.8) for done in (0, 0.3, 1)} == {0.8}


@pytest.mark.parametrize("progress, rounds", [
    (0, 1), (0.19, 1), (0.2, 2), (0.39, 2), (0.4, 3), (0.6, 4), (0.79, 4), (0.8, 4), (1, 4),
])  # fmt: skip
def test_the_steps_keep_the_same_share_each_time_and_retrain_longest_at_the_end(progress, rounds):
    recipe = Recipe(schedule="steps", rounds=4)
    assert recipe.kept(progress, 0.0625) == pytest.approx(0.5**rounds)
    assert recipe.has_reached_target(progress) == (rounds == 4)


@pytest.mark.parametrize("rounds", range(1, 40))
def test_a_schedule_has_reached_its_target_where_it_says_so(rounds):
    recipe = Recipe(schedule="steps", rounds=rounds)
    for done in np.linspace(0, 1, 301):
        assert recipe.has_reached_target(done) == (recipe.kept(done, 0.1) == pytest.approx(0.1, rel=1e-12))


def test_the_learning_rate_falls_as_a_cosine():
    recipe = Recipe(learning_rate=2.0)
    assert recipe.rate(2.0, 0) == 2 and recipe.rate(2.0, 0.5) == pytest.approx(1.02) and recipe.rate(2.0, 1) == 0.04


# -- thresholds --------------------------------------------------------------------------------------------------------


def test_one_threshold_over_several_tensors_and_of_equal_scores_the_first():
    first, second = keep_largest([np.float32([9, 1, 4]), np.float32([4, 7])], 0.6)
    assert (first.tolist(), second.tolist()) == ([True, False, True], [False, True])


@pytest.mark.parametrize("share, kept", [(0.0, 0), (0.5, 3), (1.0, 6)])
def test_ties_alone(share, kept):
    (mask,) = keep_largest([np.ones(6, np.float32)], share)
    assert mask.tolist() == [True] * kept + [False] * (6 - kept)


def test_a_group_has_one_threshold_and_single_tensors_their_own():
    a, b = weights([[1, 2, 3, 4]], [[10, 20, 30, 40]])
    recipe = Recipe(score="magnitude")
    Pruner([Group((a, b), 0.5)], recipe).prune(1.0)
    assert (a.kept, b.kept) == (0, 4)
    a, b = weights([[1, 2, 3, 4]], [[10, 20, 30, 40]])
    Pruner([Group((a,), 0.5), Group((b,), 0.25)], recipe).prune(1.0)
    assert a.mask.tolist() == [False, False, True, True] and b.mask.tolist() == [False, False, False, True]


# -- scores ------------------------------------------------------------------------------------------------------------


def scored(recipe: Recipe, gradient=(4.0, 1.0, 1.0, 0.0), target=0.5):
    (weight,) = weights([[1, 2, 3, 4]])
    pruner = Pruner([Group((weight,), target)], recipe)
    weight.values.grad = torch.tensor(gradient)
    pruner.observe()
    pruner.prune(1.0)
    return weight.mask.tolist()


def test_scores_by_magnitude_gradient_and_a_function():
    assert scored(Recipe(score="magnitude")) == [False, False, True, True]
    assert scored(Recipe(score="gradient")) == [True, False, True, False]  # w^2 g^2: 16 4 9 0
    assert scored(Recipe(score=lambda values, squares: squares.sqrt())) == [True, True, False, False]
    assert scored(Recipe(score=lambda values, squares: values.double())) == [False, False, True, True]


@pytest.mark.parametrize("score", [lambda v, s: -v, lambda v, s: v[:2], lambda v, s: v * torch.nan, lambda v, s: None])
def test_scores_that_order_nothing_are_refused(score):
    with pytest.raises(BadPlan, match="w0: the score function"):
        scored(Recipe(score=score))


def test_a_kept_weight_of_score_zero_goes_after_those_that_are_gone():
    """Else masks would overlap with ones before them, and more weights go than the schedule has."""
    assert scored(Recipe(score=lambda v, s: torch.zeros(4))) == [True, True, False, False]
    (weight,) = weights([[1, 2, 3, 4]])
    weight.prune([False, False, True, True])
    pruner = Pruner([Group((weight,), 0.25)], Recipe(score=lambda v, s: torch.zeros(4)))
    pruner.prune(1.0)
    assert weight.mask.tolist() == [False, False, True, False]


# -- in training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("regrow", [False, True])
def test_masks_never_regrow_unless_asked(regrow):
    x, y = clusters(200)
    network = Network(perceptron())
    weight = network["fc1.weight"]
    pruner = Pruner([Group((weight,), 0.2)], Recipe(regrow=regrow, start=0.2, learning_rate=0.01))
    loss, optimizer = CrossEntropy(network), torch.optim.Adam(network.parameters(), 0.01)
    returned = 0
    for step in range(15):
        optimizer.zero_grad()
        loss(network(x), None, torch.from_numpy(y)).backward()
        pruner.observe()
        optimizer.step()
        before = weight.mask
        pruner.prune(step / 15)
        assert weight.kept == round(0.2 * weight.count)
        assert int((weight().detach().ravel() != 0).sum()) <= weight.kept
        returned += 0 if before is None else int((weight.mask & ~before).sum())
    assert (returned > 0) == regrow


def test_bound_fractions_ascend_to_all():
    assert Recipe(learning_rate=0.003).bound_fractions == (0.5, 0.75, 0.9, 1.0)
    assert Recipe().bound_fractions == (1.0,) and Recipe().price == 0.01  # codes change with a rate that is found,
    assert Recipe(learning_rate=0.003).price is None and Recipe(reassign=0.0).price == 0
    assert Recipe(stages=(0.5, 1.0)).price is None and Recipe(stages=(0.5, 1.0)).bound_fractions == (0.5, 1.0)
    assert Recipe(reassign=0.1).bound_fractions == (1.0,)
    assert Recipe(stages=(1.0,)).bound_fractions == (1.0,)
    for wrong in ((), (0.5,), (0.9, 0.5, 1.0), (0.5, 0.5, 1.0), (0.0, 1.0)):
        with pytest.raises(BadPlan, match="stages"):
            Recipe(stages=wrong)
    with pytest.raises(BadPlan, match="stages or reassign"):
        Recipe(stages=(0.5, 1.0), reassign=0.1)
