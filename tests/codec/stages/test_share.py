"""share: k-means against an exact optimum, the grid against its stated quality and rate, exact codes."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dcz.codec.stages import grid, prune, share
from dcz.codec.stages.histogram import Histogram
from dcz.encoded import MAX_ENTRIES
from dcz.plan import STARTS

pytestmark = pytest.mark.filterwarnings("error")


def gaussian(n, seed=0):
    return np.random.default_rng(seed).normal(0, 0.05, n).astype(np.float32)


def laplacian(n, seed=0):
    return np.random.default_rng(seed).laplace(0, 0.05, n).astype(np.float32)


def squared_error(weights, shared):
    return float(((weights - shared.centroids[shared.codes]) ** 2).sum())


def decibels(weights, shared):
    return 10 * np.log10(float((weights.astype(np.float64) ** 2).sum()) / squared_error(weights, shared))


def entropy(codes):
    share_of_code = np.bincount(codes)[np.bincount(codes) > 0] / len(codes)
    return float(-(share_of_code * np.log2(share_of_code)).sum())


def check(weights, shared, most):
    """What holds for every method of sharing."""
    assert shared.centroids.dtype == np.float64 and shared.codes.dtype == np.uint8
    assert len(shared.codes) == len(weights)
    assert 1 <= len(shared.centroids) <= most
    assert np.isfinite(shared.centroids).all()
    assert np.all(np.diff(shared.centroids) > 0)
    assert np.array_equal(np.unique(shared.codes), np.arange(len(shared.centroids)))  # every one is used


def least_errors(weights, most):
    """The oracle: the least squared error of 1 to `most` centroids, by a dynamic program over the sorted weights.

    Best(j, k) = min over i of Best(i, k - 1) + error of the weights i to j around their mean. The best i grows with j,
    so that halving the range of j halves the range of i (Wu, "Optimal quantization by matrix searching", 1991).
    """
    x = np.sort(weights.astype(np.float64))
    sums, squares = np.append(0, np.cumsum(x)), np.append(0, np.cumsum(x * x))

    def error(i, j):
        return squares[j] - squares[i] - (sums[j] - sums[i]) ** 2 / np.maximum(j - i, 1)

    best = error(0, np.arange(len(x) + 1))
    found = {1: best[-1]}
    for k in range(2, most + 1):
        low, high = np.array([0]), np.array([len(x)])  # ranges of j, all of one depth at a time
        first, last = np.array([0]), np.array([len(x)])  # where their best i lies
        following = np.empty(len(x) + 1)
        while len(low):
            middle = (low + high) // 2
            size = np.minimum(last, middle) - first + 1
            begin = np.cumsum(size) - size
            owner = np.repeat(np.arange(len(middle)), size)
            i = np.arange(len(owner)) - begin[owner] + first[owner]
            total = best[i] + error(i, middle[owner])
            following[middle] = np.minimum.reduceat(total, begin)
            hits = np.flatnonzero(total == following[middle][owner])
            cut = np.empty(len(middle), np.int64)
            cut[owner[hits]] = i[hits]
            low, high = np.append(low, middle + 1), np.append(middle - 1, high)
            first, last = np.append(first, cut), np.append(cut, last)
            open_ = low <= high
            low, high, first, last = low[open_], high[open_], first[open_], last[open_]
        best = following
        found[k] = best[-1]
    return found


# -- k-means ----------------------------------------------------------------------------------------------------------


def test_the_oracle_is_right_where_every_partition_can_be_tried():
    weights = np.sort(np.random.default_rng(0).normal(0, 1, 9))
    for k, least in least_errors(weights, 9).items():
        cuts = itertools.combinations(range(1, 9), k - 1)
        tried = min(sum(len(part) * part.var() for part in np.split(weights, cut)) for cut in cuts)
        assert least == pytest.approx(tried, abs=1e-12)


@pytest.mark.parametrize("sample", [gaussian, laplacian])
def test_from_the_cube_root_start_k_means_is_near_the_optimum(sample):
    # Measured with other seeds too: up to 1.01 for 16 centroids, 1.03 for 32, 1.07 for 64.
    weights = sample(20_000)
    least = least_errors(weights, 64)
    for k, worst in [(2, 1.001), (4, 1.001), (8, 1.01), (16, 1.02), (32, 1.05), (64, 1.1)]:
        ratio = squared_error(weights, share.kmeans(weights, k)) / least[k]
        assert 1 - 1e-9 <= ratio <= worst, f"{ratio:.4f} for {k} centroids"


@pytest.mark.parametrize("sample", [gaussian, laplacian])
def test_the_tails_of_few_weights_get_centroids_too(sample):
    # 1.03 to 1.13, where a window of fixed width about each bin gave 1.5 to 4.
    weights = sample(3000)
    assert squared_error(weights, share.kmeans(weights, 64)) < 1.25 * least_errors(weights, 64)[64]


def test_256_centroids_of_many_weights_reach_panter_and_dites_bound():
    # (integral of density^(1/3))^3 / (12 k^2), which for the standard normal is sqrt(3) pi / (2 k^2)
    weights = np.random.default_rng(0).normal(0, 1, 500_000).astype(np.float32)
    error = squared_error(weights, share.kmeans(weights, 256)) / len(weights)
    assert error == pytest.approx(3**0.5 * np.pi / 2 / 256**2, rel=0.03)


@pytest.mark.parametrize("k", [16, 256])
def test_cells_of_a_sample_are_as_good_as_those_of_all_weights(k, monkeypatch):
    weights = np.append(laplacian(1 << 21), np.float32([2, -2.2, 2.5]))  # alone in their tails
    exact = squared_error(weights, share.kmeans(weights, k))
    monkeypatch.setattr(share, "SAMPLE", 1 << 18)
    found = share.kmeans(weights, k)
    check(weights, found, k)
    assert exact != squared_error(weights, found) < 1.005 * exact


@pytest.mark.parametrize("every", [2, 3, 5, 9, 21, 64])
@pytest.mark.parametrize("period", [2, 3, 4, 5, 7, 9, 25, 64, 4096])
def test_periodic_weights_are_sampled_evenly(period, every, monkeypatch):
    # A kernel's first column, or a matrix's, may be of another scale than all others.
    weights = laplacian(300_000)
    weights[::period] *= 5
    exact = squared_error(weights, share.kmeans(weights, 64))
    monkeypatch.setattr(share, "SAMPLE", len(weights) // every)
    assert squared_error(weights, share.kmeans(weights, 64)) < 1.03 * exact


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("k", [2, 5, 16, 100, 256])
def test_every_start_ends_in_fewer_errors_than_it_began_with(start, k):
    weights = laplacian(5000)
    began = share.initial_centroids(Histogram(weights), k, start)
    assert len(began) == k and np.all(np.diff(began) >= 0)
    first = np.abs(weights[:, None] - began).min(axis=1)
    ended = share.kmeans(weights, k, start)
    check(weights, ended, k)
    assert squared_error(weights, ended) < float((first**2).sum())


def test_forgy_depends_on_its_seed_only():
    weights = laplacian(3000)
    once, again, other = (share.kmeans(weights, 16, "forgy", seed) for seed in (3, 3, 4))
    assert np.array_equal(once.centroids, again.centroids) and np.array_equal(once.codes, again.codes)
    assert not np.array_equal(once.centroids, other.centroids)


@pytest.mark.parametrize("start", STARTS)
def test_centroids_are_the_means_of_their_weights(start):
    weights = laplacian(4000)
    shared = share.kmeans(weights, 11, start)
    for code, centroid in enumerate(shared.centroids):
        assert centroid == pytest.approx(weights[shared.codes == code].astype(np.float64).mean(), rel=1e-12)


def test_k_means_leaves_almost_no_weight_at_another_centroid_than_the_nearest():
    # The last move of the centroids follows the assignment, and is not followed by another.
    weights = gaussian(50_000)
    for k in (4, 32, 256):
        shared = share.kmeans(weights, k)
        nearest = np.abs(weights.astype(np.float64)[:, None] - shared.centroids).argmin(axis=1)
        assert np.mean(nearest != shared.codes) < 0.002
        moved = share.SharedWeights(shared.centroids, nearest.astype(np.uint8))
        assert squared_error(weights, shared) < 1.0001 * squared_error(weights, moved)


@pytest.mark.parametrize("start", STARTS)
def test_no_more_centroids_than_distinct_weights(start):
    weights = np.repeat(np.array([-1.0, 0.25, 3.0], np.float32), [10, 500, 2])
    shared = share.kmeans(weights, 16, start)
    check(weights, shared, 3)
    assert squared_error(weights, shared) == 0 or start == "forgy"


# -- entropy-constrained ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [10, 15, 20, 25, 30, 38])
@pytest.mark.parametrize("sample", [gaussian, laplacian])
def test_the_quality_of_the_step_is_reached(sample, wanted):
    weights = sample(50_000)
    step = grid.round_step(grid.step_for_quality(prune.mean_square(weights), wanted))
    shared = share.entropy_constrained(weights, step)
    check(weights, shared, MAX_ENTRIES)
    assert decibels(weights, shared) == pytest.approx(wanted, abs=0.5)


@pytest.mark.parametrize("sample", [gaussian, laplacian])
@pytest.mark.parametrize("wanted", [10, 20])
def test_codes_take_fewer_bits_than_uniform_rounding_and_k_means_of_the_same_error(sample, wanted):
    # Measured on the Laplacian at 20 dB: 3.46 bits, uniform 3.47, k-means 3.8; at 10 dB 1.71, 1.80, 2.1.
    weights = sample(100_000)
    shared = share.entropy_constrained(weights, grid.step_for_quality(prune.mean_square(weights), wanted))
    reached = decibels(weights, shared)

    def uniform(step):
        codes = np.rint(weights / step).astype(np.int64)
        return share.SharedWeights(np.arange(codes.min(), codes.max() + 1) * step, codes - codes.min())

    low, high = 1e-4, 1.0
    for _ in range(40):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if decibels(weights, uniform(middle)) > reached else (low, middle)
    assert entropy(shared.codes) < entropy(uniform(low).codes)

    clustered = next(c for c in (share.kmeans(weights, k) for k in range(2, 64)) if decibels(weights, c) >= reached)
    bits_for_the_rest = (decibels(weights, clustered) - reached) / 6.02
    assert entropy(shared.codes) < entropy(clustered.codes) - bits_for_the_rest


def test_known_zeros_bias_small_weights_to_zero():
    weights = laplacian(20_000)
    alone = share.entropy_constrained(weights, 0.03)
    among = share.entropy_constrained(weights, 0.03, zeros=400_000)
    at_zero = [np.count_nonzero(s.centroids[s.codes] == 0) for s in (alone, among)]
    assert 0 < at_zero[0] < at_zero[1]


@pytest.mark.parametrize("step", [1.0, 0.1, 0.03, 0.01])
def test_zero_stays_exactly_zero(step):
    weights = np.append(laplacian(10_000), np.float32(0))
    shared = share.entropy_constrained(weights, step)
    assert shared.centroids[shared.codes[-1]] == 0


@pytest.mark.parametrize("outlier", [50.0, -50.0, 3e4])  # 1000 and 600,000 standard deviations
def test_an_outlier_is_not_clipped_and_costs_the_others_nothing(outlier):
    weights = np.append(gaussian(20_000), np.float32(outlier))
    step = 0.02 if abs(outlier) < 1e3 else 1.0
    shared = share.entropy_constrained(weights, step)
    check(weights, shared, MAX_ENTRIES)
    assert shared.centroids[shared.codes[-1]] == pytest.approx(outlier, abs=step)
    alone = share.entropy_constrained(weights[:-1], step)
    assert entropy(shared.codes[:-1]) == pytest.approx(entropy(alone.codes), abs=0.02)
    assert squared_error(weights[:-1], share.SharedWeights(shared.centroids, shared.codes[:-1])) == pytest.approx(
        squared_error(weights[:-1], alone), rel=0.02
    )


@pytest.mark.parametrize("step", [1e-3, 1e-4, 1e-5, 1e-7, 1e-30])
def test_any_small_step_gives_at_most_256_levels(step):
    weights = laplacian(5000)
    shared = share.entropy_constrained(weights, step)
    check(weights, shared, MAX_ENTRIES)
    # Beside a uniform code of 256 levels over the whole span, whose error is span^2 / 12 / 256^2:
    assert squared_error(weights, shared) < len(weights) * np.ptp(weights) ** 2 / 12 / 256**2


@pytest.mark.parametrize("levels", [255, 256, 257, 258, 400])
def test_one_level_too_many_is_joined_and_none_wraps_around(levels):
    weights = np.repeat(np.arange(levels), 20).astype(np.float32)
    shared = share.entropy_constrained(weights, 1.0)
    check(weights, shared, MAX_ENTRIES)
    assert min(levels, MAX_ENTRIES - 2) <= len(shared.centroids) <= MAX_ENTRIES
    worst = np.abs(weights - shared.centroids[shared.codes]).max()
    assert worst == 0 if levels <= MAX_ENTRIES else worst < levels / MAX_ENTRIES


@pytest.mark.parametrize("weights", [[0.1] * 9, [1e30, -1e30], [3.0, 3.0000002]], ids=str)
def test_levels_beyond_the_integers_fall_back_to_k_means(weights):
    weights = np.array(weights, np.float32)
    shared = share.entropy_constrained(weights, 1e-38)
    check(weights, shared, MAX_ENTRIES)
    assert np.array_equal(shared.centroids[shared.codes].astype(np.float32), weights)


def test_levels_are_multiples_of_the_step_unless_means_pay_their_bytes():
    shared = share.entropy_constrained(gaussian(2000), 0.0078125)
    assert np.array_equal(shared.centroids / 0.0078125, np.rint(shared.centroids / 0.0078125))
    many = gaussian(500_000)
    means = share.entropy_constrained(many, 0.0625)
    assert np.abs(means.centroids[1:-1] / 0.0625 % 1 - 0.5).min() < 0.49
    assert 0.0 in means.centroids


# -- edge cases ------------------------------------------------------------------------------------------------------

F32_MAX = float(np.finfo(np.float32).max)
EDGES = {
    "one": [0.7],
    "constant": [0.1] * 50,
    "two values": [-1.0, 1.0] * 20,
    "two neighbours": [1.0, 1 + 2**-23] * 20,
    "subnormal": (np.random.default_rng(1).integers(-500, 500, 2000) * 1e-45),
    "least normal": np.random.default_rng(2).normal(0, 1, 2000) * 1e-38,
    "scale beyond float32": np.random.default_rng(3).normal(0, 1, 2000) * 1e-35,
    "greatest": np.random.default_rng(4).uniform(-F32_MAX, F32_MAX, 2000),
    "both ends": [-F32_MAX, F32_MAX] * 10,
    "far from zero": 1e6 + np.random.default_rng(5).integers(-300, 300, 2000) / 16,
    "a mask's infinity": np.where(np.arange(2000) % 2, -F32_MAX, np.random.default_rng(6).normal(0, 1, 2000)),
    "all magnitudes": 10.0 ** np.random.default_rng(7).uniform(-44, 38, 2000),
    "negative": -np.abs(np.random.default_rng(8).normal(3, 1, 2000)),
}


@pytest.mark.parametrize("k", [2, 16, 256])
@pytest.mark.parametrize("name", EDGES)
def test_k_means_holds_at_the_edges_of_float32(name, k):
    weights = np.array(EDGES[name], np.float32)
    for start in STARTS:
        shared = share.kmeans(weights, k, start)
        check(weights, shared, k)
        assert np.all((weights.min() <= shared.centroids) & (shared.centroids <= weights.max()))
    # Two cells over the span err by a quarter of it at most; anything worse has lost its histogram.
    assert np.abs(weights - shared.centroids[shared.codes]).max() <= 0.75 * np.ptp(weights.astype(np.float64))


@pytest.mark.parametrize("relative_step", [10.0, 0.3, 0.01, 1e-6])
@pytest.mark.parametrize("name", EDGES)
def test_the_grid_holds_at_the_edges_of_float32(name, relative_step):
    weights = np.array(EDGES[name], np.float32)
    size = float(np.abs(weights.astype(np.float64)).max())
    shared = share.entropy_constrained(weights, relative_step * size)
    check(weights, shared, MAX_ENTRIES)
    if relative_step >= 0.01:
        error = np.abs(weights - shared.centroids[shared.codes]).max()
        assert error <= 1.5 * relative_step * size  # a threshold moves by half a step at most


@pytest.mark.parametrize("scale", [2.0**-140, 2.0**-60, 2.0**100, 2.0**120])
def test_powers_of_two_change_nothing_but_the_scale(scale):
    weights = np.rint(gaussian(3000) * 512).astype(np.float32)  # whole numbers, so that no scale rounds them
    scaled = (weights * np.float64(scale)).astype(np.float32)
    for plain, other in [
        (share.kmeans(weights, 16), share.kmeans(scaled, 16)),
        (share.entropy_constrained(weights, 7.0), share.entropy_constrained(scaled, 7.0 * scale)),
    ]:
        assert np.array_equal(plain.codes, other.codes)
        assert np.array_equal(plain.centroids * scale, other.centroids)


def test_the_same_weights_give_the_same_bytes_in_any_thread():
    weights = laplacian(30_000)

    def run(_):
        both = (share.kmeans(weights, 64), share.entropy_constrained(weights, 0.004))
        return b"".join(s.centroids.tobytes() + s.codes.tobytes() for s in both)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(run, range(8))) | {run(0)}) == 1


def test_the_order_of_the_weights_only_reorders_the_codes():
    weights = laplacian(5000)
    order = np.random.default_rng(0).permutation(5000)
    plain, mixed = share.entropy_constrained(weights, 0.0625), share.entropy_constrained(weights[order], 0.0625)
    assert np.array_equal(plain.codes[order], mixed.codes)
    assert plain.centroids == pytest.approx(mixed.centroids, rel=1e-12)  # sums run in another order


@pytest.mark.parametrize("zeros", [0, 50_000])
@pytest.mark.parametrize("rate", [0.5, 1.5, 3.0, 5.0])
@pytest.mark.parametrize("shape", ["normal", "laplace"])
def test_the_rate_of_the_step_is_reached(shape, rate, zeros):
    weights = getattr(np.random.default_rng(5), shape)(0, 0.05, 50_000).astype(np.float32)
    shared = share.entropy_constrained(weights, grid.step_for_rate(weights, rate, zeros), zeros)
    count = np.bincount(shared.codes).astype(float)
    at_zero = np.flatnonzero(shared.centroids == 0)
    count = np.append(count, 0.0)
    count[at_zero[0] if len(at_zero) else -1] += zeros
    share_of = count[count > 0] / count.sum()
    assert -(share_of * np.log2(share_of)).sum() == pytest.approx(rate, abs=0.05) or (zeros and rate > 4)


def test_means_of_many_weights_are_those_of_a_sample():
    weights = np.random.default_rng(0).laplace(0, 1, 2 * grid.SAMPLE + 1000).astype(np.float32)
    step = 0.4
    shared = share.entropy_constrained(weights, step)
    count = np.bincount(shared.codes)
    means = np.bincount(shared.codes, weights) / count
    assert np.array_equal(shared.counts, count) and count.all()
    far = np.abs(shared.centroids - means)
    assert far.max() < step and np.average(far, weights=count) < step / 500
    assert (shared.centroids == 0).any()
