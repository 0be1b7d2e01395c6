"""How many answers are expected to flip, against how many do."""

import numpy as np
import pytest

from dcz.evaluation.margins import as_if_unseen, expected_flips, margins


def samples(random, count, error=0.2, shape=1.0):
    """Margins in two networks; errors are larger where margins are. Of a `shape` above 1, few margins are near zero."""
    before = random.gamma(shape, 2, count)
    return before, before + random.normal(0, error * (0.5 + 0.2 * before))


def test_margins_of_scores_and_of_their_probabilities_are_the_same():
    random = np.random.default_rng(0)
    scores, others = random.normal(size=(2, 50, 7))
    others[3] = np.nan
    rows = [np.exp(each) / np.exp(each).sum(1, keepdims=True) for each in (scores, others)]
    for (before, after), count in ((margins(scores, others), 50), (margins(*rows), 50)):
        top = np.sort(scores, 1)
        np.testing.assert_allclose(before, top[:, -1] - top[:, -2], rtol=1e-6)
        assert ((after < 0) == (scores.argmax(1) != np.where(np.arange(50) == 3, -1, others.argmax(1)))).all()
        assert len(after) == count and after[3] == -np.inf


def test_rows_without_an_answer_are_left_out():
    rows = np.array([[0.0, 1.0], [np.nan, 0.0]])
    assert [len(each) for each in margins(rows, rows)] == [1, 1]
    assert expected_flips(*margins(rows[1:], rows[1:])) is None


@pytest.mark.parametrize("count, more", [(64, 0), (64, 192), (256, 0)])
def test_the_expected_share_is_nearer_to_the_truth_than_the_counted_one(count, more):
    """`more` samples calibrated: their errors are two thirds of the others'."""
    random = np.random.default_rng(count + more)
    before, after = samples(random, 300_000)
    truth = (after < 0).mean()
    expected, counted, covered = [], [], 0
    for _ in range(60):
        before, after = samples(random, count)
        counted.append((after < 0).mean())
        if more:
            margin, moved = samples(random, more, 0.2 * 2 / 3)
            moved = margin + as_if_unseen(moved - margin, after - before)
            before, after = np.concatenate([before, margin]), np.concatenate([after, moved])
        found = expected_flips(before, after)
        expected.append(found.share)
        covered += found.low <= truth <= found.high
    errors = [np.sqrt(np.square(np.array(each) - truth).mean()) for each in (expected, counted)]
    assert errors[0] < (0.5 if more else 0.7) * errors[1]
    assert covered >= 45  # of 60, where 90 % are hoped for


def test_where_few_margins_are_near_zero_more_flips_are_expected_than_there_are():
    """Spread over their neighbourhood, margins are nearer to zero than in truth: that errs on the safe side."""
    random = np.random.default_rng(0)
    before, after = samples(random, 300_000, shape=2.0)
    truth = (after < 0).mean()
    found = [expected_flips(*samples(random, 256, shape=2.0)) for _ in range(40)]
    assert sum(each.high >= truth for each in found) == 40 and np.mean([each.share for each in found]) < 8 * truth


def test_no_flip_seen_is_no_proof():
    margin = np.full(50, 5.0)
    found = expected_flips(margin, margin)
    assert (found.share, found.low, found.high) == (0, 0, 0.01)


def test_answers_that_are_only_less_sure_are_not_expected_to_flip():
    """All scores become smaller by a third, which flips nothing: large margins err most."""
    random = np.random.default_rng(1)
    before = random.gamma(2.0, 4.0, 256)
    found = expected_flips(before, before * 2 / 3 + random.normal(0, 0.05, 256))
    assert found.share < 0.01
    assert expected_flips(before, np.full(256, -np.inf)).share == pytest.approx(1)  # nothing to fit a line to
