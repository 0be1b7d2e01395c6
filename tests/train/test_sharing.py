"""Sharing a network's weights, other codes for them, and the size that comes of it."""

import numpy as np
import pytest

from dcz.errors import BadPlan
from dcz.plan import Settings
from tests.train.samples import perceptron

torch = pytest.importorskip("torch")

from dcz.train import (
    Network,
    Weight,
    bind_to_centroids,
    fit_codebook,
    projected_bytes,
    reassign,
    round_to_half,
    save_network,
    settle,
    share_weights,
)
from dcz.train.sharing import cheapest_codes, price_on_grid


def weight_of(count: int = 3000) -> Weight:
    return Weight("w", np.random.default_rng(0).normal(size=(count // 10, 10)).astype(np.float32), True)


def entropy(weight: Weight) -> float:
    share = torch.bincount(weight.codes, minlength=len(weight.values)).double() / len(weight.codes)
    return float(-(share * share.clamp_min(1e-30).log2()).sum())


@pytest.mark.parametrize("settings", [Settings(bits=3), Settings(step=0.3), Settings(quality=20.0), Settings(rate=2.5)])
@pytest.mark.parametrize("sparsity", [0.0, 0.7])
def test_kept_weights_become_a_few_values_near_them(settings, sparsity):
    weight = weight_of()
    mask = np.random.default_rng(1).random(3000) >= sparsity
    weight.prune(mask)
    before = weight.numpy()
    share_weights(weight, settings)
    after = weight.numpy()
    assert weight.shared and len(np.unique(after[after != 0])) <= (8 if settings.bits else 100)
    assert (after.ravel()[~mask] == 0).all() and np.square(after - before).sum() < 0.1 * np.square(before).sum()


def test_no_more_centroids_than_one_for_two_weights():
    weight = Weight("w", np.arange(1.0, 11, dtype=np.float32).reshape(2, 5), True)
    share_weights(weight, Settings(bits=8))
    assert len(weight.values) == 5
    lone = Weight("w", np.ones((1, 5), np.float32), True)
    lone.prune(np.arange(5) == 3)
    share_weights(lone, Settings(bits=2))
    assert not lone.shared and lone.numpy().tolist() == [[0, 0, 0, 1, 0]]


def test_without_a_price_each_weight_takes_the_nearest_centroid():
    weight = weight_of()
    share_weights(weight, Settings(bits=3), movable=True)
    with torch.no_grad():
        weight.values += 0.1 * torch.arange(8)
    assert reassign(weight, 0.0) > 0
    nearest = (weight.latent[:, None] - weight.values).abs().argmin(1)
    assert torch.equal(weight.codes, nearest) and reassign(weight, 0.0) == 0


def test_the_higher_the_price_the_shorter_the_codes():
    found = []
    for price in (0.0, 0.02, 0.1, 0.5):
        weight = weight_of()
        share_weights(weight, Settings(bits=4), movable=True)
        for _ in range(5):
            reassign(weight, price)
        found.append(entropy(weight))
    assert found == sorted(found, reverse=True) and found[-1] < found[0] - 1


def test_a_codebook_that_fits_costs_least():
    def cost(weight, price):
        counts = torch.bincount(weight.codes).double()
        bits = -(counts / counts.sum()).log2()[weight.codes]
        latent, values = weight.latent.detach().double(), weight.values.detach()
        squares = (latent - values[weight.codes]) ** 2 / latent.square().mean()
        return float((squares + price * bits).mean())

    found = {}
    for bits, price in ((3, None), (4, None), (4, 0.02)):
        weight = weight_of()
        share_weights(weight, Settings(bits=bits), movable=True)
        if price is not None:
            fit_codebook(weight, price)
        found[bits, price] = (cost(weight, 0.02), entropy(weight), cost(weight, 0.0))
    assert found[4, 0.02][0] < min(found[3, None][0], found[4, None][0])
    assert found[4, 0.02][1] < found[4, None][1] - 0.1  # bits a weight


def test_weights_follow_their_gradients_to_other_centroids():
    weight = weight_of(100)
    share_weights(weight, Settings(bits=2), movable=True)
    before = weight.codes.clone()
    optimizer = torch.optim.SGD([weight.latent], 0.5)
    for _ in range(10):
        optimizer.zero_grad()
        ((weight() - 1.4) ** 2).sum().backward()
        optimizer.step()
        reassign(weight, 0.0)
    assert not torch.equal(weight.codes, before) and (weight.codes == weight.values.argmax()).double().mean() > 0.8


def test_what_cannot_be_shared_or_moved_is_refused():
    weight = weight_of(100)
    with pytest.raises(BadPlan, match="w: these settings share nothing"):
        share_weights(weight, Settings(sparsity=0.5))
    for movable in (True, False):  # at first it is not shared, then not movable
        with pytest.raises(BadPlan, match="w: its codes cannot change"):
            reassign(weight, 0.1) if movable else bind_to_centroids(weight, 1.0, np.random.default_rng(0))
        if movable:
            share_weights(weight, Settings(bits=2))


def test_rounding_to_half_leaves_what_half_cannot_hold():
    weight = weight_of(100)
    round_to_half(weight)
    assert torch.equal(weight.values, weight.values.half().float())
    big = Weight("w", np.full((2, 2), 1e6 + 0.3, np.float32), True)
    round_to_half(big)
    assert torch.equal(big.values, torch.full((4,), 1e6 + 0.3))


def test_the_projected_size_is_about_that_of_the_file(tmp_path):
    network = Network(perceptron())
    settings = {weight.name: Settings(bits=3) for weight in network if weight.is_weight}
    for weight in network:
        if weight.is_weight:
            weight.prune(np.random.default_rng(0).random(weight.count) < 0.2)
    before = projected_bytes(network, settings)
    for weight in network:
        if weight.is_weight:
            share_weights(weight, settings[weight.name])
    assert projected_bytes(network, settings) == before  # it foresaw the sharing
    assert before == pytest.approx(save_network(network, tmp_path / "net.dcz", force=True).stat().st_size, rel=0.25)


def test_on_a_grid_codes_stay_at_the_price_that_they_were_chosen_for():
    weight = weight_of()
    share_weights(weight, Settings(rate=2.0), movable=True)
    price = price_on_grid(weight)
    before = weight.codes
    assert (
        reassign(weight, price) < 0.02 * weight.count
    )  # the frequencies of codes are estimated by a histogram at first
    weight.codes = before
    assert reassign(weight, 0.0) > 0.05 * weight.count
    weight.codes = before
    assert reassign(weight, 4 * price) > 0.05 * weight.count


def test_fitting_a_codebook_leaves_zero_where_it_is():
    weight = weight_of()
    share_weights(weight, Settings(rate=2.0), movable=True)
    fit_codebook(weight, 0.01)
    assert (weight.values == 0).sum() == 1 and (weight.numpy() == 0).mean() > 0.1


@pytest.mark.parametrize("seed", range(20))
def test_the_cheapest_codes_are_those_of_all_pairs(seed):
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 30))
    values, centroids = torch.from_numpy(random.normal(size=500)), torch.from_numpy(random.normal(size=count))
    centroids[count // 2] = centroids[0]
    costs = torch.from_numpy(random.exponential(random.choice([0, 0.01, 0.1, 3]), count))
    codes = cheapest_codes(values, centroids, costs)
    found = (values - centroids[codes]) ** 2 + costs[codes]
    least = ((values[:, None] - centroids) ** 2 + costs).amin(1)
    assert torch.allclose(found, least, rtol=0, atol=1e-12)
    nearest = (values[:, None] - centroids).abs().amin(1)
    assert torch.equal((values - centroids[cheapest_codes(values, centroids)]).abs(), nearest)


def test_binding_takes_ever_more_weights_each_to_its_nearest_centroid():
    weight = Weight("w", np.random.default_rng(0).normal(size=1000).astype(np.float32), True)
    share_weights(weight, Settings(bits=3), movable=True)
    random, bound = np.random.default_rng(1), torch.zeros(1000, dtype=torch.bool)
    for fraction in (0.5, 0.75, 0.9, 1.0):
        with torch.no_grad():
            weight.latent.add_(0.3)  # as if they had been trained: other centroids are nearer now
        before = weight.codes.clone()
        bind_to_centroids(weight, fraction, random)
        assert int((~weight.free).sum()) == round(fraction * 1000)
        assert not bool((weight.free & bound).any())  # what is bound stays so, and keeps its code
        assert torch.equal(weight.codes[bound], before[bound])
        newly = ~weight.free & ~bound
        nearest = (weight.latent[newly, None] - weight.values[None, :]).abs().argmin(1)
        assert torch.equal(weight.codes[newly], nearest)
        bound = ~weight.free
        dense = weight().detach()
        assert torch.equal(dense[weight.free], weight.latent[weight.free].detach())
        assert torch.equal(dense[bound], weight.values[weight.codes[bound]].detach())


def test_the_earlier_name_of_binding_is_the_same_function():
    assert settle is bind_to_centroids


def test_bound_weights_train_their_centroid_and_free_ones_themselves():
    weight = Weight("w", np.array([-1.0, -0.9, 0.8, 1.0, 1.1, 0.9], np.float32), True)
    share_weights(weight, Settings(bits=1), movable=True)
    bind_to_centroids(weight, 0.5, np.random.default_rng(0))
    slopes = torch.arange(1.0, 7.0)
    (weight() * slopes).sum().backward()
    free, codes = weight.free, weight.codes
    assert torch.equal(weight.latent.grad, torch.where(free, slopes, 0.0))
    wanted = torch.stack([slopes[~free & (codes == code)].sum() for code in range(2)])
    assert torch.allclose(weight.values.grad, wanted)
