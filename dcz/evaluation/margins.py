"""How many answers a change of the weights is expected to flip: finer than the flips that were seen.

    expected_flips([0.1, 2.3, 4.0, ...], [-0.1, 2.2, 4.2, ...])   ->   Flips(share=0.012, low=0.004, high=0.023)

A sample's margin is how far its first answer is ahead of the best other one, in nats. The compressed network moves it
by some error, and flips the answer where the margin falls below zero. Of a few hundred samples few have small margins,
and whether these flip is chance; but all of them show how large the errors are. So each margin is put together with the
errors of all samples of about such a margin, not with its own alone: paired, and smooth in the error. And how many
margins lie near zero is told by more samples than those: the density of margins, estimated by a kernel.
"""

from dataclasses import dataclass

import numpy as np

from . import bootstrap
from .metrics import UNDERFLOW, are_probabilities, has_top_class, top_class

NEIGHBOURS = 0.25  # of the samples, by margin, whose errors are put together with a sample's margin
MIN_NEIGHBOURS = 12
BANDWIDTH = 0.1  # the quantile of the margins over which a margin is spread to either side
SPREAD = np.linspace(-1, 1, 13)[1:-1]  # places of a triangular kernel, in bandwidths
MAX_GROWTH = 4.0  # of errors, from samples that calibrated to those that did not
DRAWS = 200  # of the bootstrap


@dataclass(frozen=True)
class Flips:
    """The expected share of answers that flip, and the interval that covers 90 % of bootstrap draws of the samples."""

    share: float
    low: float
    high: float


def margins(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the original's first answer is ahead, in the original and in another network, in nats: float64 [n] each.

    `before`, `after`: rows of probabilities or of logits [n, classes], two classes or more. Rows without a top class in
    the original are left out; where the other has none, it is behind by infinity.
    """
    kept = has_top_class(before)
    before, after = (rows[kept].astype(np.float64) for rows in (before, after))
    top = top_class(before) if len(before) else np.empty(0, np.int64)
    ahead = _ahead(before, top), _ahead(after, top)
    return ahead[0], np.where(np.isnan(ahead[1]), -np.inf, ahead[1])


def _ahead(rows: np.ndarray, top: np.ndarray) -> np.ndarray:
    if len(rows) and are_probabilities(rows):
        rows = np.log(np.maximum(rows, UNDERFLOW))
    places = np.arange(len(rows))
    others = rows.copy()
    others[places, top] = -np.inf
    with np.errstate(invalid="ignore"):
        return np.asarray(rows[places, top] - others.max(1, initial=-np.inf))


def as_if_unseen(errors: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Errors of margins of samples that calibrated, as large as those of samples that were `held_out`.

    Calibration has made them smaller; how they are spread is the same, and there are more of them.
    """
    sizes = [float(np.abs(each[np.isfinite(each)]).mean()) if np.isfinite(each).any() else 0.0
             for each in (errors, held_out)]  # fmt: skip
    return errors * min(MAX_GROWTH, max(1.0, sizes[1] / sizes[0])) if sizes[0] else errors


def expected_flips(before: np.ndarray, after: np.ndarray) -> Flips | None:
    """What `margins` lead to expect; None of no samples.

    The share is the integral of the density of the margins times the chance that an error is larger than the margin.
    The density is a kernel estimate, reflected at zero, where margins end (Silverman, "Density Estimation for
    Statistics and Data Analysis", 1986, section 2.10): of 256 samples about ten are near enough to zero to flip, and
    their number alone is uncertain by a third.
    """
    count = len(before)
    if not count:
        return None
    order = np.argsort(before, kind="stable")
    ahead, errors = before[order], (after - before)[order]
    width = min(count, max(MIN_NEIGHBOURS, round(NEIGHBOURS * count)))
    near = np.clip(np.arange(count) - width // 2, 0, count - width)[:, None] + np.arange(width)
    flipped = _flipped(ahead, near, errors)
    share = float(flipped.mean())

    def of_draw(drawn: np.ndarray) -> float:
        """The share with samples drawn again: both those whose margins count, and those whose errors do."""
        times = np.bincount(drawn, minlength=count).astype(np.float64)
        weights = times[near]
        return float((times * (flipped * weights).sum(1) / np.maximum(weights.sum(1), 1)).sum() / count)

    low, high = bootstrap.interval(of_draw, count, DRAWS)
    # At least one in twice as many samples may flip that none of these is like.
    return Flips(share, low, max(high, share, 0.5 / count))


def _flipped(ahead: np.ndarray, near: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """How much of each margin (float64 [n], in ascending order), spread by the kernel, the error of each of its
    neighbours makes negative: [n, width], 0 to 1. `near` [n, width]: their numbers.

    An error is taken along the line that errors follow over margins, from its own margin to the other: coarse rounding
    makes all scores smaller, and so large margins err by much and never flip.
    """
    bandwidth = float(np.quantile(ahead, BANDWIDTH))
    kernel, slope, flipped = 1 - np.abs(SPREAD), _slope(ahead, errors), np.zeros(near.shape)
    along = errors[near] - slope * ahead[near]
    for place, weight in zip(SPREAD, kernel / kernel.sum(), strict=True):
        margin = np.abs(ahead + place * bandwidth)[:, None]
        flipped += weight * (margin + along + slope * margin < 0)
    return np.minimum(flipped, 1.0)  # rounding


def _slope(ahead: np.ndarray, errors: np.ndarray) -> float:
    """By how much errors grow with margins: of the least squares line, -1 to 1."""
    known = np.isfinite(errors)
    centered = ahead[known] - ahead[known].mean() if known.any() else np.empty(0)
    variance = float(np.square(centered).sum())
    return min(1.0, max(-1.0, float(centered @ errors[known]) / variance)) if variance else 0.0
