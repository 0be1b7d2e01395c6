"""Samples as people have them: of different lengths, in folders, along other axes, given once."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import dcz
from dcz.errors import BadPlan, UnsuitableModel
from dcz.evaluation import runtime
from dcz.evaluation.answers import look
from dcz.evaluation.batch_axes import batch_symbol, find_axes
from dcz.evaluation.feed import Feed
from dcz.evaluation.given import as_samples
from dcz.evaluation.samples import Samples
from tests import models
from tests.models import normal, tensor

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
TABLE, WEIGHTS = normal(20, 64, seed=1), normal(64, 5, seed=2)
LENGTHS = (3, 7, 3, 5, 7, 3, 4, 5, 5, 3)
SENTENCES = [np.random.default_rng(i).integers(0, 20, n) for i, n in enumerate(LENGTHS)]


def net(nodes, inputs, outputs, initializers=()):
    """A model of inputs of any type: (type, shape) by name."""
    made = models.model(nodes, {name: shape for name, (_, shape) in inputs.items()}, outputs, list(initializers))
    for info in made.graph.input:
        info.type.tensor_type.elem_type = inputs[info.name][0]
    return made


def language(length="t"):
    """Tokens to a class each: y [n, 5] of a sentence, z [n, t, 5] of its places."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["x"]),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("ReduceMean", ["z", "axis"], ["y"], keepdims=0),
        helper.make_node("Softmax", ["y"], ["p"], axis=1),
    ]
    outputs = {"p": ["n", 5], "z": ["n", length, 5]}
    return net(
        nodes,
        {"ids": (INT64, ["n", length])},
        outputs,
        [tensor("table", TABLE), tensor("w", WEIGHTS), tensor("axis", np.array([1]))],
    )


def classes(sentence):
    return (TABLE[sentence] @ WEIGHTS).mean(0)


LABELS = np.array([classes(sentence).argmax() for sentence in SENTENCES])


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(language(), "net.onnx")


def feed_of(proto, data, batch_axis=None):
    onnx.save(proto, "other.onnx")
    session = runtime.session("other.onnx")
    scalars = [info.name for info in proto.graph.input if not info.type.tensor_type.shape.dim]
    return Feed("other.onnx", session.get_inputs(), as_samples(data, batch_axis), scalars)


# -- of different lengths ----------------------------------------------------------------------------------------------


def in_folder(save):
    os.makedirs("folder", exist_ok=True)
    for number, sentence in enumerate(SENTENCES):
        save(number, sentence)
    return "folder"


FORMS = {
    "a folder of .npz, a sample each": lambda: in_folder(
        lambda n, ids: np.savez(f"folder/{n:02}.npz", ids=ids, labels=LABELS[n])
    ),
    "a folder of .npz, a batch each": lambda: in_folder(
        lambda n, ids: np.savez_compressed(f"folder/{n:02}.npz", ids=ids[None], labels=LABELS[n : n + 1])
    ),
    "a list of dicts": lambda: [{"ids": ids, "labels": y} for ids, y in zip(SENTENCES, LABELS)],
    "a generator of pairs": lambda: (({"ids": ids[None]}, [y]) for ids, y in zip(SENTENCES, LABELS)),
    "a dict of lists": lambda: {"ids": [ids.tolist() for ids in SENTENCES], "labels": LABELS},
    "a dict of objects": lambda: {"ids": np.array(SENTENCES, object), "labels": LABELS.tolist()},
}


@pytest.mark.parametrize("form", FORMS)
def test_sequences_of_different_lengths_in_every_form(form):
    found = dcz.evaluate("net.onnx", FORMS[form](), labels="labels")
    assert (found.samples, found.errors) == (10, 0)
    wrong = LABELS.copy()
    wrong[4] = (wrong[4] + 1) % 5
    assert dcz.evaluate("net.onnx", FORMS[form](), labels=wrong).errors == 1  # each label meets its own sample


def test_a_data_set_is_asked_for_each_sample():
    class Dataset:
        def __len__(self):
            return 10

        def __getitem__(self, number):
            return {"ids": SENTENCES[number], "labels": LABELS[number]}

    assert dcz.evaluate("net.onnx", Dataset(), labels="labels").errors == 0


def test_a_folder_of_npy_belongs_to_the_only_input():
    path = in_folder(lambda n, ids: np.save(f"folder/{n:02}.npy", ids))
    assert dcz.evaluate("net.onnx", path, labels=LABELS).errors == 0


def test_an_array_of_objects_belongs_to_the_only_input():
    assert dcz.evaluate("net.onnx", np.array(SENTENCES, object), labels=LABELS).errors == 0
    same = np.empty(2, object)
    same[:] = [SENTENCES[0], SENTENCES[2]]  # of one length, they are an array
    assert dcz.evaluate("net.onnx", {"ids": same}, labels=LABELS[[0, 2]]).errors == 0


def test_samples_of_one_length_run_together_in_their_order():
    feed = feed_of(language(), [{"ids": ids} for ids in SENTENCES])
    runs = [run.tolist() for run in feed.runs(np.arange(10), 3)]
    assert runs == [[0, 2, 5], [9], [1, 4], [3, 7, 8], [6]]
    assert np.array_equal(feed.inputs(np.array([3, 8, 7]))["ids"], [SENTENCES[3], SENTENCES[8], SENTENCES[7]])
    assert [run.tolist() for run in feed.runs(np.array([8, 1, 3]), 32)] == [[8, 3], [1]]


def test_batches_that_come_in_parts_run_together():
    parts = [np.stack([SENTENCES[n] for n in some]) for some in ((0, 2), (5, 9))]
    feed = feed_of(language(), iter(parts))
    assert [run.tolist() for run in feed.runs(np.arange(4), 32)] == [[0, 1, 2, 3]]
    assert np.array_equal(feed.inputs(np.array([1, 2]))["ids"], [SENTENCES[2], SENTENCES[5]])


def test_answers_are_told_sample_by_sample_in_their_order():
    found = look("net.onnx", [{"ids": ids} for ids in SENTENCES])
    p, z = found.outputs
    assert p.shape == (10, 5) and z.shape == (10, 0, 5)
    assert np.array_equal(found.arrays["p"].argmax(1), LABELS)
    for number, sentence in enumerate(SENTENCES):
        assert np.allclose(found.arrays[f"z/{number}"], TABLE[sentence] @ WEIGHTS, atol=1e-4)
    everything = np.concatenate([TABLE[sentence] @ WEIGHTS for sentence in SENTENCES])
    assert z.high == pytest.approx(everything.max(), rel=1e-5) and z.mean == pytest.approx(everything.mean(), rel=1e-4)


def test_calibration_does_not_depend_on_how_samples_come():
    made = []
    for form in ("a list of dicts", "a dict of lists", "a folder of .npz, a batch each"):
        dcz.tune("net.onnx", "a.dcz", FORMS[form](), ratio=2, force=True)
        made.append(Path("a.dcz").read_bytes())
    assert made[0] == made[1] == made[2]


def test_changed_samples_are_numbered_as_they_came():
    other = language()
    other.graph.initializer[1].CopyFrom(tensor("w", WEIGHTS[:, [1, 0, 2, 3, 4]]))
    onnx.save(other, "other.onnx")
    from dcz.evaluation.changed import changed_samples

    found = changed_samples("other.onnx", "net.onnx", [{"ids": ids} for ids in SENTENCES])
    assert [change.sample for change in found.changed] == np.flatnonzero(LABELS < 2).tolist()


# -- along other axes --------------------------------------------------------------------------------------------------


def recurrent(x=("n", 3), state=(2, "n", 3), rate=()):
    """y = x + both states + rate; the states come out anew."""
    nodes = [
        helper.make_node("ReduceSum", ["state", "axis"], ["s"], keepdims=0),
        helper.make_node("Add", ["x", "s"], ["a"]),
        helper.make_node("Cast", ["rate"], ["r"], to=FLOAT),
        helper.make_node("Add", ["a", "r"], ["y"]),
        helper.make_node("Neg", ["state"], ["out"]),
    ]
    inputs = {"x": (FLOAT, list(x)), "state": (FLOAT, list(state)), "rate": (INT64, list(rate))}
    return net(nodes, inputs, {"y": list(x), "out": list(state)}, [tensor("axis", np.array([0]))])


X, STATE = normal(50, 3), normal(2, 50, 3, seed=4)
SHAPES = {
    "one symbol": (("n", 3), (2, "n", 3)),
    "no symbols": ((None, 3), (2, None, 3)),
    "other symbols": (("x_0", 3), (2, "s_1", 3)),
    "a fixed batch": ((1, 3), (2, 1, 3)),
}


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("rate", [7, [7], np.full(50, 7), np.float32(7)])
def test_the_axis_of_states_is_found(shapes, rate):
    onnx.save(recurrent(*SHAPES[shapes]), "other.onnx")
    found = look("other.onnx", {"x": X, "state": STATE, "rate": rate})
    assert np.allclose(found.arrays["y"], X + STATE.sum(0) + 7, atol=1e-5)
    assert found.arrays["out"].shape == (2, 50, 3) and np.array_equal(found.arrays["out"], -STATE)


def test_outputs_along_another_axis_are_compared_sample_by_sample():
    onnx.save(recurrent(), "other.onnx")
    data = {"x": X, "state": STATE, "rate": 1}
    packed = dcz.compress("other.onnx", "other.dcz")
    outputs = dcz.verify(packed, against="other.onnx", inputs=data).outputs
    assert [(each.output, each.samples) for each in outputs] == [("y", 50), ("out", 50)]
    assert dcz.evaluate("other.onnx", data, against=packed, output="out").answers == 50


@pytest.mark.parametrize("shapes", SHAPES)
def test_what_is_given_once_goes_with_every_sample(shapes):
    onnx.save(recurrent(*SHAPES[shapes]), "other.onnx")
    for state in (STATE[:, :1], STATE[:, 0]):
        found = look("other.onnx", {"x": X, "state": state, "rate": 0})
        assert np.allclose(found.arrays["y"], X + STATE[:, 0].sum(0), atol=1e-5)


def test_a_part_is_a_batch_or_one_sample():
    onnx.save(recurrent(), "other.onnx")
    one = [{"x": X[n], "state": STATE[:, n], "rate": 1} for n in range(50)]
    batches = [{"x": X[n : n + 7], "state": STATE[:, n : n + 7], "rate": 1} for n in range(0, 50, 7)]
    for data in (one, batches):
        assert np.allclose(look("other.onnx", data).arrays["y"], X + STATE.sum(0) + 1, atol=1e-5)


def test_parts_with_other_constants_do_not_run_together():
    parts = [{"x": X[:3], "state": STATE[:, :3], "rate": rate} for rate in (8, 16, 8)]
    feed = feed_of(recurrent(), parts)
    assert [run.tolist() for run in feed.runs(np.arange(9), 32)] == [[0, 1, 2, 6, 7, 8], [3, 4, 5]]
    assert [feed.inputs(run)["rate"].item() for run in feed.runs(np.arange(9), 32)] == [8, 16]


def test_the_axis_can_be_told():
    proto = recurrent((None, None), (None, None, None))
    data = {"x": X, "state": STATE, "rate": 0}
    with pytest.raises(BadPlan, match="50 samples of 'x' and 2 of 'state'.*--batch-axis"):
        feed_of(proto, data)
    for axis in (1, -2):
        assert feed_of(proto, data, {"state": axis}).axes == {"x": 0, "state": 1, "rate": None}
    assert feed_of(proto, data | {"state": STATE[:, :1]}, {"state": None}).axes["state"] is None


@pytest.mark.parametrize("told, words", [
    ({"z": 0}, "has no input 'z' for a batch axis: it has 'x', 'state', 'rate'"),
    ({"state": 3}, r"input 'state' \[2, n, 3\] has no axis 3"),
    ({"state": 1.5}, "the batch axis of 'state' is a whole number or none"),
    ({"state": True}, "the batch axis of 'state' is a whole number or none"),
    ([1], "batch_axis is a dict of axes"),
])  # fmt: skip
def test_axes_that_are_none_are_refused(told, words):
    with pytest.raises(BadPlan, match=words):
        feed_of(recurrent(), {"x": X, "state": STATE, "rate": 0}, told)


def test_an_axis_that_cannot_be_known_is_asked_for():
    proto = recurrent((None, 3), (2, None, None))
    with pytest.raises(BadPlan, match=r"input 'state' .*\[2, \?, \?\], the samples \[2, 3, 3\].*--batch-axis state=1"):
        feed_of(proto, {"x": X[:3], "state": STATE[:, :3], "rate": 0})
    assert feed_of(proto, {"x": X, "state": STATE, "rate": 0}).axes["state"] == 1


@pytest.mark.parametrize("shapes, words", [
    (((None, 3), (2, None, 3)), r"input 'state' of .* has the shape \[2, \?, 3\], the samples \[50, 2, 3\]"),
    ((("n", 3), ("k", 1, 3)), r"\[k, 1, 3\], the samples have \[50, 2, 3\]; .* or say .*: --batch-axis state=1$"),
    ((("n", 3), (2, "n", 3)), r"\[2, n, 3\] with the samples along axis 1, the samples have \[50, 2, 3\]"),
])  # fmt: skip
def test_states_with_the_samples_first_are_not_taken_for_others(shapes, words):
    with pytest.raises(BadPlan, match=words):
        feed_of(recurrent(*shapes), {"x": X, "state": STATE.swapaxes(0, 1), "rate": 0})


def test_numbers_that_differ_are_no_constant():
    with pytest.raises(
        BadPlan, match=r"input 'rate' of other.onnx is one number, the samples have \[50\], not all the"
    ):
        feed_of(recurrent(), {"x": X, "state": STATE, "rate": np.arange(50)})


def test_a_switch_of_a_fixed_shape_is_given_once():
    nodes = [helper.make_node("Cast", ["on"], ["f"], to=FLOAT), helper.make_node("Mul", ["x", "f"], ["y"])]
    proto = net(nodes, {"x": (FLOAT, ["n", 3]), "on": (BOOL, [1])}, {"y": ["n", 3]})
    feed = feed_of(proto, {"x": X, "on": np.array([1])})
    assert feed.fixed_batch is None and len(feed.runs(np.arange(50), 32)) == 2
    assert feed.inputs(np.arange(4))["on"].tolist() == [True]


def test_a_model_without_a_batch_takes_a_file_each():
    nodes = [helper.make_node("Neg", ["x"], ["y"])]
    proto = net(nodes, {"x": (FLOAT, ["t", 3])}, {"y": ["t", 3]})
    feed = feed_of(proto, [{"x": X[:n]} for n in (4, 4, 9)], {"x": None})
    assert feed.count == 3 and [len(run) for run in feed.runs(np.arange(3), 32)] == [1, 1, 1]
    assert feed.inputs(np.array([2]))["x"].shape == (9, 3)


@pytest.mark.parametrize("shapes, symbol", [
    ([["n", "t"], ["n", "t"]], "n"),
    ([["n", "t"], [2, "n", 8]], "n"),
    ([["t", "n", 8], [2, "n", 8]], "n"),  # time before batch
    ([["n", "t"], ["t"]], "n"),  # positions, which all share
    ([["n", 3], ["m", 3]], None),
    ([["n", "past", 8], ["n", "past + new"], [1]], "n"),
    ([[None, 3], [3]], None),
    ([[20, "n", 8]], "n"),
    ([[1, "batch", 8]], "batch"),
    ([["t", "c", 8], [1, "c", 4]], "c"),
    ([[1, "seq_len"], [1, 256], [1]], None),  # one sentence, of any length
    ([[1, 2, "dim_1"]], None),
    ([[2, "time"]], None),  # a sound of two channels
])  # fmt: skip
def test_the_symbol_of_the_batch(shapes, symbol):
    assert batch_symbol(shapes) == symbol


@pytest.mark.parametrize("declared, sizes", [([1, "seq", 3], [1] * 50), (["batch", "seq", 3], [32, 18])])
def test_a_model_whose_answers_are_of_one_sample_takes_one_at_a_time(declared, sizes):
    """As one that was traced with one sentence, and declares a batch all the same."""
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    shape = tensor("shape", np.array([1 if declared[0] == 1 else 0, -1, 3]))
    proto = net(nodes, {"x": (FLOAT, ["batch", "seq", 3])}, {"y": declared}, [shape])
    x = np.repeat(X[:, None], 4, 1)[:, :, :3]
    onnx.save(proto, "other.onnx")
    session = runtime.session("other.onnx")
    feed = Feed("other.onnx", session.get_inputs(), as_samples({"x": x}, None), outputs=[declared])
    assert [len(run) for run in feed.runs(np.arange(50), 32)] == sizes
    found = dcz.evaluate("other.onnx", {"x": x}, against="other.onnx")
    assert found.samples == 50 and found.decibels == np.inf


def test_sentences_of_a_model_that_takes_one_at_a_time_stay_whole():
    nodes = [helper.make_node("Neg", ["ids"], ["y"])]
    proto = net(nodes, {"ids": (FLOAT, [1, "seq_len"]), "speed": (FLOAT, [1])}, {"y": [1, "seq_len"]})
    feed = feed_of(proto, [{"ids": X[None, :n, 0], "speed": np.ones(1, np.float32)} for n in (40, 7, 40)])
    assert feed.count == 3 and [len(run) for run in feed.runs(np.arange(3), 32)] == [1, 1, 1]
    assert np.array_equal(feed.inputs(np.array([2]))["ids"], X[None, :40, 0])


def test_positions_of_all_sentences_are_given_once():
    class Input:
        def __init__(self, name, shape):
            self.name, self.shape, self.type = name, shape, "tensor(int64)"

    part = Samples("x.npz", {"ids": np.zeros((8, 5)), "places": np.arange(5)})
    assert find_axes("a.onnx", [Input("ids", ["n", "t"]), Input("places", ["t"])], [part], {}) == {
        "ids": 0, "places": None
    }  # fmt: skip


# -- what does not fit -------------------------------------------------------------------------------------------------


def test_the_file_that_does_not_fit_is_named():
    path = in_folder(lambda n, ids: np.savez(f"folder/{n:02}.npz", ids=ids if n != 4 else ids[None, None]))
    with pytest.raises(BadPlan, match=r"folder/04.npz: input 'ids' of net.onnx wants the shape \[n, t\], the samples"):
        dcz.evaluate("net.onnx", path, labels=LABELS)
    np.savez("folder/04.npz", x=SENTENCES[0])
    with pytest.raises(BadPlan, match="folder/04.npz has 'x', the first 'ids'"):
        dcz.evaluate("net.onnx", path, labels=LABELS)
    np.savez("folder/04.npz", ids=np.array([[1], [2, 3]], object))
    with pytest.raises(BadPlan, match="folder/04.npz: .*Python objects.* different lengths as one .npz each"):
        dcz.evaluate("net.onnx", path, labels=LABELS)


def test_a_folder_without_samples_is_none():
    os.makedirs("empty")
    os.mkfifo("empty/a.npz")  # which would be waited for
    with pytest.raises(BadPlan, match="empty: no .npz or .npy files there; of images"):
        dcz.evaluate("net.onnx", "empty", labels=LABELS)


def test_as_many_of_each_are_wanted():
    with pytest.raises(BadPlan, match="10 of 'ids' and 9 of 'labels'"):
        dcz.evaluate("net.onnx", {"ids": SENTENCES, "labels": LABELS[:9]}, labels="labels")
    with pytest.raises(BadPlan, match="rows of different lengths are no array"):
        dcz.evaluate("net.onnx", {"ids": [[[1], [2, 3]], [[1], [2]]]}, labels=LABELS)


def test_fixed_batches_that_differ_are_told_with_a_remedy():
    nodes = [helper.make_node("Add", ["x", "z"], ["y"])]
    proto = net(nodes, {"x": (FLOAT, [2, 3]), "z": (FLOAT, [1, 3])}, {"y": [2, 3]})
    with pytest.raises(UnsuitableModel, match=r"fixed batches of \[1, 2\].*--batch-axis NAME=none"):
        feed_of(proto, {"x": X[:6], "z": X[:6]})
    feed = feed_of(proto, {"x": X[:6], "z": X[:1]}, {"z": None})
    assert feed.fixed_batch == 2 and len(feed.runs(np.arange(6), 32)) == 3
