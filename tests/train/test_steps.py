"""Rates that are found, steps, decay, and epochs that are undone."""

import math

import numpy as np
import pytest

import dcz
from tests.train.samples import clusters, perceptron

torch = pytest.importorskip("torch")

from dcz.train import CrossEntropy, Network, Recipe, retrain, share_weights
from dcz.train.range_test import BATCHES, FACTOR, best_rate, first_batches, fitting_rate
from dcz.train.steps import LEVEL_RATE, backward, decay, make_optimizer, set_rate
from dcz.train.task import TrainingTask


def task(scale: float = 1.0, count: int = 400, **changes) -> TrainingTask:
    """The perceptron, the weights of whose first layer are this much larger, and those of its second smaller."""
    x, y = clusters(count)
    network = Network(perceptron())
    with torch.no_grad():
        network["fc1.weight"].values.mul_(scale)
        network["fc2.weight"].values.div_(scale)
    return TrainingTask(network.to_proto(), {"x": x}, y, recipe=Recipe(sparsity=0.5, batch=40, threads=1, **changes))


@pytest.mark.parametrize("best", [-4, -3, -1, 0, 1, 4])
def test_the_best_rate_is_found_from_either_side(best):
    tried = []

    def loss(rate):
        tried.append(round(math.log(rate / 0.01, FACTOR)))
        return abs(tried[-1] - best)

    assert best_rate(0.01, loss) == pytest.approx(0.01 * FACTOR**best)
    assert len(tried) == len(set(tried)) <= 7


def test_of_rates_that_are_nearly_as_good_the_highest_is_taken():
    losses = {-1: 1.0, 0: 1.1, 1: 1.2, 2: 1.4}
    for tolerance, best in ((1.0, -1), (1.15, 0), (1.3, 1)):
        found = best_rate(1.0, lambda rate: losses.get(round(math.log(rate, FACTOR)), 9.0), tolerance)
        assert found == pytest.approx(FACTOR**best)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_levels_of_a_grid_move_less_than_the_weights_behind_them(name):
    network = Network(perceptron())
    for weight, settings in (("fc1.weight", dcz.Settings(rate=2.0)), ("fc2.weight", dcz.Settings(bits=3))):
        share_weights(network[weight], settings, movable=True)
    optimizer = make_optimizer(network, name, 0.5, 0.9, {"fc1.weight"})
    set_rate(optimizer, 0.1)
    rates = {id(each): group["lr"] for group in optimizer.param_groups for each in group["params"]}
    assert rates[id(network["fc1.weight"].values)] == pytest.approx(0.1 * LEVEL_RATE)
    others = [each for each in network.parameters() if each is not network["fc1.weight"].values]
    assert {rates[id(each)] for each in others} == {0.1} and len(rates) == len(others) + 1


def test_a_rate_that_spoils_the_network_is_not_taken():
    assert best_rate(1.0, lambda rate: math.inf if rate > 0.2 else 1 / rate) == pytest.approx(FACTOR**-2)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_rate_fits_the_network_which_stays_as_it_was(optimizer):
    work = task()
    before, rate = work.network.to_proto(), fitting_rate(work, optimizer, 0.9)
    assert work.network.to_proto() == before and not work.network.training
    assert rate == fitting_rate(work, optimizer, 0.9)

    def loss_after(rate):
        network = Network(before)
        steps = make_optimizer(network, optimizer, rate, 0.9)
        for number, (inputs, labels) in enumerate(first_batches(work, BATCHES), 1):
            for group in steps.param_groups:
                group["lr"] = rate * min(1.0, number / 3)
            value = backward(network, CrossEntropy(network), inputs, labels)
            steps.step()
        return value

    assert loss_after(rate) < min(0.1, loss_after(rate / 100))


def test_a_rate_depends_on_what_the_steps_do():
    assert fitting_rate(task(scale=0.1), "sgd", 0.9) < fitting_rate(task(), "sgd", 0.9)


def test_batches_go_on_with_the_next_epoch():
    work = task(count=100)  # 90 to train on, in three batches
    seen = [len(labels) for _, labels in first_batches(work, 7)]
    assert seen == [40, 40, 10, 40, 40, 10, 40]


def test_decay_shrinks_weights_alone():
    network = Network(perceptron())
    weight, bias = network["fc1.weight"].numpy(), network["fc1.bias"].numpy()
    decay(network, 0.25)
    np.testing.assert_allclose(network["fc1.weight"].numpy(), 0.75 * weight)
    assert np.array_equal(network["fc1.bias"].numpy(), bias)


def test_momentum_and_decay_have_a_say(tmp_path):
    x, y = clusters(200)
    files = set()
    for changes in ({}, {"momentum": 0.5}, {"weight_decay": 0.1}, {"warmup": 0.5}, {"optimizer": "adam"}):
        recipe = Recipe(
            sparsity=0.5, epochs=2, batch=50, threads=1, learning_rate=0.01, **{"optimizer": "sgd"} | changes
        )
        retrain(perceptron(), tmp_path / "net.dcz", x, labels=y, recipe=recipe, force=True)
        files.add((tmp_path / "net.dcz").read_bytes())
    assert len(files) == 5


def test_the_rate_rises_over_the_warm_up():
    recipe = Recipe(warmup=0.2)
    rates = [recipe.rate(1.0, progress) for progress in (0, 0.1, 0.2, 0.5, 1)]
    assert rates[0] == pytest.approx(0.02) and rates[1] == pytest.approx(0.5)
    assert rates[2:] == [Recipe(warmup=0.0).rate(1.0, progress) for progress in (0.2, 0.5, 1)]


def test_an_epoch_that_spoils_the_network_is_undone_and_the_rate_halved(tmp_path, monkeypatch):
    x, y = clusters(400)
    monkeypatch.setattr("dcz.train.training.fitting_rate", lambda *arguments, **options: 30.0)
    recipe = Recipe(sparsity=0.5, epochs=6, batch=40, threads=1, optimizer="adam", drop_idle=False)
    trained = retrain(
        perceptron(),
        tmp_path / "good.dcz",
        x,
        labels=y,
        recipe=Recipe(epochs=3, batch=40, threads=1, learning_rate=0.01),
        force=True,
    )
    assert trained.after[1] < 0.1
    told = []
    found = retrain(
        dcz.load(tmp_path / "good.dcz"), tmp_path / "n.dcz", x, labels=y, recipe=recipe, warn=told.append, force=True
    )
    assert "epoch 1 raised the validation loss" in told[0] and "halved, to 15" in told[0]
    assert found.after[1] < 0.1 and found.sparsity == pytest.approx(0.5, abs=0.01)
    given = Recipe(sparsity=0.5, epochs=6, batch=40, threads=1, optimizer="adam", learning_rate=30.0)
    found = retrain(dcz.load(tmp_path / "good.dcz"), tmp_path / "n.dcz", x, labels=y, recipe=given, force=True)
    assert not any("undone" in note for note in found.notes)  # a rate that is given is the caller's


def test_runs_that_find_a_rate_are_reported(tmp_path):
    x, y = clusters(200)
    told = []
    recipe = Recipe(sparsity=0.5, epochs=1, batch=50, threads=1)
    retrain(perceptron(), tmp_path / "net.dcz", x, labels=y, recipe=recipe, progress=told.append, force=True)
    runs = [state for state in told if state.phase == "rate"]
    assert runs[0].epoch == 0 and runs[-1].epoch < runs[-1].epochs and not any(state.is_end for state in runs)
    assert max(state.batch for state in runs) == runs[0].batches == BATCHES
    assert all(np.isfinite(state.loss) for state in runs)
