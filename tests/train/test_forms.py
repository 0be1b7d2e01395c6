"""Samples in the forms that calibration takes: of different lengths, along other axes, given once, in other types."""

import os
from functools import partial

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import dcz
from dcz.errors import InvalidArgument
from tests import models
from tests.models import normal, tensor

torch = pytest.importorskip("torch")

from dcz.train import Network, Recipe, retrain, share_weights
from dcz.train.batch_stream import BatchStream
from dcz.train.data import open_data
from dcz.train.steps import backward, backward_all, in_steps

RANDOM = np.random.default_rng(0)
SENTENCES = [RANDOM.integers(0, 20, n) for n in RANDOM.integers(3, 9, 60)]
FIRST = np.array([ids[0] % 5 for ids in SENTENCES])  # a class for each
TAGS = [ids % 5 for ids in SENTENCES]  # and for each token
RECIPE = Recipe(sparsity=0.5, bits=4, epochs=2, share_epochs=1, batch=16, threads=1, learning_rate=0.03)
PLAN = dcz.Plan(dcz.Settings(), min_weights=30)
FLOAT, HALF, BOOL = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BOOL
INT32, INT64 = TensorProto.INT32, TensorProto.INT64


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def net(nodes, inputs, outputs, weights, types):
    """A model whose inputs have the types (by name; default float)."""
    made = models.model(nodes, inputs, outputs, weights)
    for info in made.graph.input:
        info.type.tensor_type.elem_type = types.get(info.name, FLOAT)
    return made


def language(kind=INT64):
    """ids [n, t] -> classes p [n, 5] of the sentences, and z [n, t, 5] of their tokens."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["x"]),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("ReduceMean", ["z", "axis"], ["p"], keepdims=0),
    ]
    weights = [tensor("table", 10 * normal(20, 16, seed=1)), tensor("w", 10 * normal(16, 5, seed=2))]
    weights.append(tensor("axis", np.array([1])))
    return net(nodes, {"ids": ["n", "t"]}, {"p": ["n", 5], "z": ["n", "t", 5]}, weights, {"ids": kind})


def recurrent(batch="n", steps="t"):
    """x [t, n, 4], h0 and c0 [1, n, 8], a rate and a switch -> classes y [t, n, 3], and the last state."""
    nodes = [
        helper.make_node("LSTM", ["x", "W", "R", "", "", "h0", "c0"], ["Y", "last"], hidden_size=8),
        helper.make_node("Squeeze", ["Y", "one"], ["s"]),
        helper.make_node("MatMul", ["s", "v"], ["m"]),
        helper.make_node("Mul", ["m", "rate"], ["r"]),
        helper.make_node("Where", ["on", "r", "m"], ["y"]),
    ]
    arrays = {"W": 10 * normal(1, 32, 4, seed=1), "R": normal(1, 32, 8, seed=2), "v": 20 * normal(8, 3, seed=4)}
    weights = [*(tensor(name, array) for name, array in arrays.items()), tensor("one", np.array([1]))]
    state = [1, batch, 8]
    inputs = {"x": [steps, batch, 4], "h0": state, "c0": state, "rate": [], "on": [1]}
    return net(nodes, inputs, {"y": [steps, batch, 3], "last": state}, weights, {"on": BOOL})


X, H0 = 20 * normal(6, 40, 4, seed=9), 20 * normal(1, 40, 8, seed=8)
STEPS = {"x": X, "h0": H0, "c0": np.zeros((1, 1, 8), np.float32), "rate": 2, "on": [1]}
PLACES = (X[:, :, 0] > 0).astype(int) + (X[:, :, 1] > 0)  # [t, n]


def run(data, labels=None, proto=None, **options):
    """The bytes of what a run of a second makes, and what it is worth."""
    recipe = options.pop("recipe", RECIPE)
    found = retrain(
        proto or language(), "net.dcz", data, labels=labels, recipe=recipe, plan=PLAN, force=True, **options
    )
    with open("net.dcz", "rb") as file:
        return file.read(), found


def batches(data, labels=None, proto=None, **options):
    """(training, validation) of a recipe without shuffling anything away."""
    return open_data(Network(proto or language()), Recipe(batch=16, holdout=0), data, labels, None, **options)[0]


# -- of different lengths ----------------------------------------------------------------------------------------------


def in_folder(save, name="folder"):
    os.makedirs(name)
    for number in range(len(SENTENCES)):
        save(number, f"{name}/{number:02}")
    return name


class Dataset:
    def __len__(self):
        return len(SENTENCES)

    def __getitem__(self, number):
        return {"ids": torch.from_numpy(SENTENCES[number])}, FIRST[number]


ONE_EACH = partial(in_folder, lambda n, path: np.savez(path, ids=SENTENCES[n], y=FIRST[n]))
FORMS = {
    "a folder of samples": lambda: (ONE_EACH(), "y"),
    "a folder of batches": lambda: (
        in_folder(lambda n, path: np.savez_compressed(path, ids=SENTENCES[n][None], y=FIRST[n : n + 1])), "y"
    ),
    "a folder of .npy": lambda: (in_folder(lambda n, path: np.save(path, SENTENCES[n])), FIRST),
    "a list of dicts": lambda: ([{"ids": ids, "y": y} for ids, y in zip(SENTENCES, FIRST)], "y"),
    "a list of pairs": lambda: ([({"ids": ids[None]}, [y]) for ids, y in zip(SENTENCES, FIRST)], None),
    "a list of arrays": lambda: (SENTENCES, FIRST),
    "a data set": lambda: (Dataset(), None),
    "a dict of lists": lambda: ({"ids": [ids.tolist() for ids in SENTENCES], "y": FIRST}, "y"),
    "an array of objects": lambda: (np.array(SENTENCES, object), FIRST.tolist()),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_each_form_makes_the_same_batches_of_one_length(form):
    found = batches(*FORMS[form]())
    lengths = []
    for (inputs, labels), (ids, y) in zip(found.epoch(3), expected_batches(3), strict=True):
        assert np.array_equal(inputs["ids"], ids) and inputs["ids"].dtype == torch.int64 and np.array_equal(labels, y)
        lengths.append(ids.shape[1])
    assert len(set(lengths)) == 6 and lengths != sorted(lengths) and len(found) == 4


def expected_batches(number):
    """The batches of an epoch, from the sentences themselves."""
    random = np.random.default_rng([0, number])
    order = random.permutation(60)
    groups = dict.fromkeys(len(SENTENCES[n]) for n in order)
    runs = [[n for n in order if len(SENTENCES[n]) == length] for length in groups]
    runs = [each[start : start + 16] for each in runs for start in range(0, len(each), 16)]
    for place in random.permutation(len(runs)):
        rows = sorted(runs[place])
        yield np.stack([SENTENCES[n] for n in rows]), FIRST[rows]


def test_a_folder_is_learned_and_resumed_to_the_same_bytes():
    data = ONE_EACH()
    whole, found = run(data, "y", validation=data)
    assert found.after[0] < found.before[0] and found.answers == 60
    assert run({"ids": SENTENCES}, FIRST, validation=(data, "y"))[0] == whole

    def stop(state):
        if state.is_end and state.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(data, "y", validation=data, checkpoint="checkpoint", progress=stop)
    assert os.path.exists("checkpoint") and run(data, "y", validation=data, checkpoint="checkpoint")[0] == whole


def test_what_is_held_out_is_not_trained_on():
    network = Network(language())
    training, held = open_data(network, Recipe(batch=16, holdout=0.25), {"ids": SENTENCES}, FIRST, None)
    assert len(held.chosen) == 15 and sorted([*training.chosen, *held.chosen]) == list(range(60))
    other = open_data(network, Recipe(batch=16, holdout=0.25), SENTENCES[:59] + [SENTENCES[59] * 0], FIRST, None)[0]
    assert other.fingerprint() != training.fingerprint()  # a checkpoint of these is none of those


@pytest.mark.parametrize("form", ["in the files", "as a list", "as objects", "in the entries"])
def test_tokens_of_sentences_of_any_length_have_labels_each(form):
    if form == "in the files":
        data = in_folder(lambda n, path: np.savez(path, ids=SENTENCES[n], t=TAGS[n]))
        labels = {"z": "t"}
    elif form == "in the entries":
        data, labels = [({"ids": ids}, {"z": tags}) for ids, tags in zip(SENTENCES, TAGS)], None
    else:
        data, labels = {"ids": SENTENCES}, {"z": TAGS if form == "as a list" else np.array(TAGS, object)}
    for inputs, found in batches(data, labels).epoch(0):
        assert torch.equal(inputs["ids"] % 5, found["z"])


def test_labels_of_tokens_are_learned_and_the_original_without_labels():
    _, tagged = run({"ids": SENTENCES}, {"z": TAGS})
    assert tagged.after[1] < 0.4 < tagged.before[1] and tagged.answers == sum(
        len(SENTENCES[n]) for n in np.sort(np.random.default_rng(0).permutation(60)[:6])
    )
    _, distilled = run({"ids": SENTENCES}, validation=SENTENCES)
    assert distilled.before[0] < 1e-6 < distilled.after[0] < 0.5 and distilled.after[1] is None


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_step_takes_as_many_samples_as_a_batch_and_each_counts_the_same(is_shared):
    network, data = Network(language()), batches({"ids": SENTENCES}, FIRST)
    if is_shared:  # the gradient of a centroid is that of many weights
        share_weights(network["w"], dcz.Settings(bits=2))
    steps = list(in_steps(data.epoch(0), network.layout, 16))
    counts = [sum(len(labels) for _, labels in step) for step in steps]
    assert len(steps) in (3, 4) and sum(counts) == 60 and max(map(len, steps)) > 1

    def loss(outputs, inputs, labels):
        return torch.nn.functional.cross_entropy(outputs["p"], labels)

    for together in steps:
        value, gradient = backward_all(network, loss, together), network["w"].values.grad.clone()
        values, gradients = [], []
        for inputs, labels in together:
            for ids, label in zip(inputs["ids"], labels):
                values.append(backward(network, loss, {"ids": ids[None]}, label[None]))
                gradients.append(network["w"].values.grad.clone())
        assert value == pytest.approx(np.mean(values), rel=1e-5)
        assert torch.allclose(gradient, torch.stack(gradients).mean(0), atol=1e-6)


def test_batches_of_ones_own_stay_as_they_are():
    own = [{"ids": np.stack([SENTENCES[0]] * 3)}, {"ids": np.stack([SENTENCES[1]] * 2)}]
    found = batches(own)
    assert isinstance(found, BatchStream) and [len(inputs["ids"]) for inputs, _ in found.epoch(0)] == [3, 2]


# -- along other axes, and once ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch, steps, told", [
    ("n", "t", None), (1, 6, None), (None, None, {"x": 1, "h0": 1, "c0": 1}), (1, "t", {"x": -2}),
])  # fmt: skip
def test_states_and_steps_before_samples_are_cut_along_their_own_axis(batch, steps, told):
    found = batches(STEPS, PLACES.T, recurrent(batch, steps), batch_axis=told)
    assert found.layout.outputs == {"y": 1, "last": 1}
    for inputs, labels in found.epoch(0):
        assert inputs["x"].shape[:2] == labels.shape == (6, inputs["h0"].shape[1])
        assert torch.equal((inputs["x"][..., 0] > 0).int() + (inputs["x"][..., 1] > 0).int(), labels)
        assert (
            inputs["rate"].shape == ()
            and inputs["on"].tolist() == [True]
            and len(inputs["c0"][0]) in (1, len(labels[0]))
        )


def test_a_recurrent_network_is_learned_from_states_of_its_own():
    np.savez("train.npz", **{**STEPS, "y": PLACES.T})
    recipe = Recipe(sparsity=0.2, bits=5, epochs=8, share_epochs=1, batch=8, threads=1, learning_rate=0.03)
    _, found = run("train.npz", "y", recurrent(), validation="train.npz", recipe=recipe)
    assert found.answers == 240 and found.decoded[1] < 0.2 < 0.5 < found.before[1]
    fixed = [run(STEPS, PLACES.T, recurrent(1, steps), batch_axis=axes, validation=(STEPS, PLACES.T), recipe=recipe)[1]
             for steps, axes in ((6, None), ("t", {"x": 1}))]  # fmt: skip
    assert [each.after for each in fixed] == [found.after] * 2  # however the model names its axes


def test_what_is_given_once_may_be_given_for_each_sample_in_validation():
    each = STEPS | {"c0": np.zeros((1, 40, 8), np.float32)}
    _, found = run(
        STEPS, proto=recurrent(1, 6), validation=each, recipe=Recipe(epochs=1, batch=40, threads=1, learning_rate=0.01)
    )
    assert found.before == (0.0, None)


# -- types -------------------------------------------------------------------------------------------------------------


def doubled(kind):
    """y [n, 40] = x of any type, as floats, by a matrix."""
    nodes = [helper.make_node("Cast", ["x"], ["f"], to=FLOAT), helper.make_node("MatMul", ["f", "w"], ["y"])]
    return net(nodes, {"x": ["n", 8]}, {"y": ["n", 40]}, [tensor("w", normal(8, 40))], {"x": kind})


@pytest.mark.parametrize("kind, values, becomes", [
    (INT32, np.arange(32), torch.int32), (INT32, np.arange(32.0), torch.int32),
    (INT64, np.arange(32, dtype=np.uint8), torch.int64), (BOOL, np.arange(32) % 2, torch.bool),
    (BOOL, np.arange(32) % 2.0, torch.bool), (FLOAT, np.arange(32) > 3, torch.float32),
    (FLOAT, np.arange(32, dtype=np.float16), torch.float32), (HALF, np.arange(32.0), torch.float32),
])  # fmt: skip
def test_types_become_those_of_the_inputs_where_nothing_is_lost(kind, values, becomes):
    network, x = Network(doubled(kind)), values.reshape(4, 8)
    for source in ({"x": x}, lambda: iter([{"x": x}])):
        ((inputs, _),) = open_data(network, Recipe(holdout=0), source, None, None)[0].epoch(0)
        tensor_of = network.as_inputs(inputs)["x"]
        assert tensor_of.dtype == becomes and np.array_equal(tensor_of, x)


@pytest.mark.parametrize("kind, value, words", [
    (INT32, 2**40, "wants int32, which does not hold all values of int64"), (BOOL, 2, "give zeros and ones"),
    (INT64, 0.5, "give whole numbers"), (HALF, 1e6, "some values of float64 .* overflow"),
])  # fmt: skip
def test_what_a_type_does_not_hold_is_told_as_by_evaluate(kind, value, words):
    onnx.save(doubled(kind), "net.onnx")
    data = {"x": np.full((4, 8), value)}
    told = []
    for command in (partial(dcz.evaluate, against="net.onnx"), partial(retrain, output="a.dcz", sparsity=0.5)):
        with pytest.raises(InvalidArgument, match=words) as error:
            command("net.onnx", data=data)
        told.append(str(error.value))
    assert told[0] == told[1]


# -- what does not fit -------------------------------------------------------------------------------------------------


def misfits():
    ONE_EACH()
    np.savez("folder/04.npz", ids=SENTENCES[4][None, None], y=FIRST[4])
    return "folder"


@pytest.mark.parametrize("data, proto, words", [
    (misfits, language, r"folder/04.npz: input 'ids' of net.onnx wants the shape \[n, t\], the samples have \[1, 1, "),
    (lambda: {"tokens": SENTENCES}, language, "no array for the input 'ids': it has 'tokens'"),
    (lambda: STEPS | {"rate": np.arange(40)}, recurrent, r"'rate' of net.onnx is one number, the samples have \[40\]"),
    (lambda: STEPS | {"h0": H0[:, :30]}, recurrent, "40 samples of 'x' and 30 of 'h0' .axes 1 and 1"),
    (lambda: STEPS, lambda: recurrent(1, "t"), r"wants the shape \[t, 1, 4\], .* \[6, 40, 4\].* --batch-axis x=1"),
])  # fmt: skip
def test_what_does_not_fit_is_told_as_by_evaluate(data, proto, words):
    onnx.save(proto(), "net.onnx")
    data, told = data(), []
    for command in (partial(dcz.evaluate, against="net.onnx"), partial(retrain, output="a.dcz", sparsity=0.5)):
        with pytest.raises(InvalidArgument, match=words) as error:
            command("net.onnx", data=data)
        told.append(str(error.value))
    assert told[0] == told[1]


@pytest.mark.parametrize("labels, words", [
    ("tags", "no array 'tags' for the labels: it has 'ids', 'y'"),
    (TAGS[1:], "59 labels for 60 samples"),
    (["a"] * 60, "labels are numbers, not <U1"),
    ([[9]] * 60, "label 9 of sample 0 is no class: the output 'p' has the classes 0 to 4"),
    ({"z": [*TAGS[:7], TAGS[7] + 9, *TAGS[8:]]}, "label .* of sample 7 is no class: the output 'z'"),
    ({"z": FIRST}, "labels for .* rows of classes"),
])  # fmt: skip
def test_labels_that_do_not_fit_are_told(labels, words):
    with pytest.raises(InvalidArgument, match=words):
        run(ONE_EACH(), labels)


def test_an_empty_folder_and_validation_without_labels_are_told():
    os.makedirs("empty")
    with pytest.raises(InvalidArgument, match="empty: no .npz or .npy files there"):
        run("empty")
    with pytest.raises(InvalidArgument, match="the validation samples want labels of their own"):
        run(ONE_EACH(), "y", validation=SENTENCES)


@pytest.mark.parametrize("told, words", [({"z": 0}, "no input 'z' for a batch axis"), ({"ids": 2}, "has no axis 2")])
def test_axes_that_are_none_are_told_of_batches_too(told, words):
    for data in (SENTENCES, lambda: iter([np.zeros((2, 3), int)])):
        with pytest.raises(InvalidArgument, match=words):
            run(data, batch_axis=told)
