"""Samples in batches, in an order that a seed and the epoch decide."""

import numpy as np
import pytest

from dcz.errors import BadPlan
from dcz.evaluation import samples as data

torch = pytest.importorskip("torch")

from dcz.train import Batches
from dcz.train.batch_stream import BatchStream

X = np.arange(50, dtype=np.float32).reshape(25, 2)


def rows(batches, number: int = 0) -> list[list[int]]:
    return [(inputs["x"][:, 0] / 2).int().tolist() for inputs, _ in batches.epoch(number)]


def test_an_epoch_is_a_function_of_the_seed_and_its_number():
    batches = Batches({"x": X}, np.arange(25), size=8, seed=3)
    assert rows(batches, 1) == rows(batches, 1) == rows(Batches({"x": X}, size=8, seed=3), 1)
    assert rows(batches, 1) != rows(batches, 2) and rows(batches, 1) != rows(Batches({"x": X}, size=8, seed=4), 1)
    assert [len(batch) for batch in rows(batches)] == [8, 8, 8, 1] and len(batches) == 4
    assert sorted(sum(rows(batches), [])) == list(range(25))
    for inputs, labels in batches.epoch(5):
        assert torch.equal(inputs["x"][:, 0] / 2, labels.float())


def test_a_split_is_seeded_and_disjoint():
    batches = Batches({"x": X}, np.arange(25), size=8, seed=3)
    training, held = batches.split(0.2)
    assert len(held.chosen) == 5 and sorted([*training.chosen, *held.chosen]) == list(range(25))
    assert np.array_equal(held.chosen, batches.split(0.2)[1].chosen)
    assert not np.array_equal(held.chosen, Batches({"x": X}, size=8, seed=4).split(0.2)[1].chosen)
    assert rows(held, 1) == rows(held, 2) and rows(training, 1) != rows(training, 2)


@pytest.mark.parametrize("share", [0, 0.01, 0.99])
def test_a_split_that_leaves_nothing_on_one_side_is_none(share):
    assert Batches({"x": X}).split(share)[1] is None


def test_files_and_odd_types_are_read(tmp_path):
    np.savez(tmp_path / "d.npz", x=X.astype(">f4"), y=np.arange(25, dtype=np.uint16))
    samples = data.open_samples(tmp_path / "d.npz").arrays
    assert not samples["x"].flags.writeable
    batches = Batches({"x": samples["x"]}, samples["y"], size=100, shuffle=False)
    ((inputs, labels),) = batches.epoch(0)
    assert torch.equal(inputs["x"], torch.from_numpy(X)) and labels.tolist() == list(range(25))


def test_an_array_without_axes_goes_with_every_batch():
    batches = Batches({"x": X, "t": np.array(0.5, np.float32)}, size=20)
    assert [float(inputs["t"]) for inputs, _ in batches.epoch(0)] == [0.5, 0.5]


@pytest.mark.parametrize("arrays, labels, options, words", [
    ({"x": X, "z": X[:3]}, None, {}, r"\[3, 25\]"),
    ({"x": X[:0]}, None, {}, "one at least"),
    ({"x": np.array(1.0)}, None, {}, "one at least"),
    ({"x": X}, np.arange(24), {}, "24 labels for 25"),
    ({"x": X}, np.array(3), {}, "no labels"),
    ({"x": X}, None, {"size": 0}, "one sample at least"),
])  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(arrays, labels, options, words):
    with pytest.raises(BadPlan, match=words):
        Batches(arrays, labels, **options)


def test_a_fingerprint_tells_other_data():
    def of(x=X, labels=np.arange(25), **options):
        return Batches({"x": x}, labels, **options).split(0.2)[0].fingerprint()

    other = X.copy()
    other[-1] += 1
    found = [of(), of(other), of(X.astype(np.float64)), of(labels=None), of(labels=np.ones(25, int)), of(seed=1)]
    assert len(set(found)) == len(found) and of() == found[0]


# -- batches of the user's ---------------------------------------------------------------------------------------------


def test_lists_loaders_and_functions_give_batches():
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.arange(25))
    loader = torch.utils.data.DataLoader(dataset, 10)
    for given in (loader, [(X[:10], [1] * 10)] * 3, [X[:10], (X[:10],), [X[:10]]], [{"x": X[:10]}] * 3):
        stream = BatchStream(given)
        assert len(stream) == 3 == len(list(stream.epoch(0))) == len(list(stream.epoch(1)))
    stream = BatchStream(lambda epoch: ((X[:5] + epoch, None) for _ in range(epoch)))
    assert len(stream) == 0 and [len(list(stream.epoch(n))) for n in range(3)] == [0, 1, 2]
    assert [labels for _, labels in stream.epoch(2)] == [None, None]


@pytest.mark.parametrize("given, words", [
    ((x for x in [X]), "only once"), (iter([X]), "only once"), (5, "not int"), (None, "not NoneType"),
])  # fmt: skip
def test_what_cannot_be_iterated_again_is_refused(given, words):
    with pytest.raises(BadPlan, match=words):
        BatchStream(given)


@pytest.mark.parametrize("given, words", [
    ([(X, X, X)], "not 3 things"), (lambda epoch: 5, "no iterable"), ([(X, ["a"])], "labels: an array of numbers"),
])  # fmt: skip
def test_batches_that_are_none_are_refused(given, words):
    with pytest.raises(BadPlan, match=words):
        list(BatchStream(given).epoch(0))
