"""Samples and labels that fit neither model nor loss are told by file and remedy, before any training."""

import os

import numpy as np
import onnx
import pytest

import dcz
from dcz.errors import FileAccess, InvalidArgument
from tests.train import test_forms as forms

pytest.importorskip("torch")

from dcz.train import Network, Recipe, retrain
from dcz.train.data import open_data

SENTENCES, FIRST, TAGS = forms.SENTENCES, forms.FIRST, forms.TAGS
ONE = Recipe(sparsity=0.5, epochs=1, batch=16, threads=1, learning_rate=0.01)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refused(words, data, labels=None, proto=None, **options):
    """`retrain` refuses, before it reports any batch, and leaves the old output."""
    with open("net.dcz", "wb") as file:
        file.write(b"old")
    seen = []
    with pytest.raises(InvalidArgument, match=words):
        retrain(
            proto or forms.language(), "net.dcz", data, labels=labels, recipe=ONE, plan=forms.PLAN, force=True,
            progress=seen.append, **options,
        )  # fmt: skip
    with open("net.dcz", "rb") as file:
        assert file.read() == b"old" and not seen


def in_folder(**changed):
    """A folder of sentences, one of whose files is another."""
    forms.ONE_EACH()
    np.savez("folder/04.npz", **{"ids": SENTENCES[4], "y": FIRST[4]} | changed)
    return "folder"


@pytest.mark.parametrize("token", [20, -21, 2**40])
def test_tokens_beyond_the_table_are_told_by_their_file(token):
    ids = np.where(np.arange(len(SENTENCES[4])) == 1, token, SENTENCES[4])
    refused(
        f"folder/04.npz: input 'ids' holds {token}, .* has 20 rows: give numbers from 0 to 19", in_folder(ids=ids), "y"
    )


def test_a_token_is_told_by_its_place_in_an_array_and_in_validation():
    ids = np.zeros((40, 4), int)
    wrong = ids.copy()
    wrong[33, 2] = 25
    refused("the samples: sample 33: input 'ids' holds 25", {"ids": wrong}, FIRST[:40])
    refused(
        "the samples: sample 33: input 'ids' holds 25",
        {"ids": ids},
        FIRST[:40],
        validation=({"ids": wrong}, FIRST[:40]),
    )


def test_tokens_that_the_graph_makes_small_are_taken():
    proto = forms.language()
    proto.graph.node.insert(0, onnx.helper.make_node("Clip", ["ids", "", "last"], ["clipped"]))
    proto.graph.node[1].input[1] = "clipped"
    proto.graph.initializer.append(forms.tensor("last", np.array(19)))
    retrain(proto, "net.dcz", {"ids": np.full((32, 4), 25)}, labels=FIRST[:32], recipe=ONE, plan=forms.PLAN)


@pytest.mark.parametrize("labels, words", [
    (lambda: {"z": [*TAGS[:5], TAGS[5][:-1], *TAGS[6:]]}, "sample 5 of the samples: . labels for . rows of classes"),
    (lambda: {"z": [np.stack([each, each]) for each in TAGS]}, "sample 0 of the samples: .* rows of classes"),
])  # fmt: skip
def test_labels_of_another_length_than_their_sentence_are_told(labels, words):
    refused(words, {"ids": SENTENCES}, labels())


def test_labels_of_another_length_in_a_file_are_told_by_it():
    refused("folder/04.npz: 2 labels for 1 rows of classes", in_folder(y=[1, 2]), "y")


def test_labels_that_are_no_numbers_are_told_by_their_sample():
    soft = np.eye(5, dtype=np.float32)[FIRST]
    soft[50, 1] = np.nan
    refused("a label of sample 50 for the output 'p' is nan", {"ids": SENTENCES}, soft)
    ragged = [np.eye(5)[each] for each in TAGS]
    ragged[7] = ragged[7] + np.inf
    refused("a label of sample 7 for the output 'z' is inf", {"ids": SENTENCES}, {"z": ragged})


def test_a_loss_of_ones_own_may_take_other_labels():
    """It is not run on a sample by itself, and numbers that say nothing may be its own affair."""
    numbers = np.where(np.arange(60) == 50, np.nan, FIRST)

    def loss(outputs, inputs, labels):
        assert len(labels) > 1
        return outputs["p"].square().mean()

    data = {"ids": np.stack([SENTENCES[0]] * 64)}
    retrain(
        forms.language(),
        "net.dcz",
        data,
        labels=np.append(numbers, numbers[:4]),
        loss=loss,
        recipe=ONE,
        plan=forms.PLAN,
    )


@pytest.mark.parametrize("data, words", [
    ([], "the data are an empty list"), ({"ids": []}, "'ids' is an empty list"),
    (lambda: [(np.zeros((0, 4), int), np.zeros(0, int))], r"holds no samples: input 'ids' is \[0, 4\]"),
    (lambda: [(np.ones((3, 4), int), np.ones(3, int)), (np.zeros((0, 4), int), np.zeros(0, int))], "holds no samples"),
    (lambda: [{"ids": np.ones((3, 4), int)}] * 2 + [(1, 2, 3)], "entry 2 of the data: .* not 3 things"),
])  # fmt: skip
def test_empty_data_and_empty_batches_are_told(data, words):
    refused(words, data)


class Endless:
    """A data set of batches that gives as many as it is asked for."""

    def __len__(self):
        return 3

    def __getitem__(self, number):
        return np.full((4, 5), number), np.zeros(4, int)


def test_a_data_set_of_batches_ends_where_it_says():
    found = open_data(Network(forms.language()), Recipe(holdout=0), Endless(), None, None)[0]
    assert [int(inputs[0, 0]) for inputs, _ in found.epoch(0)] == [0, 1, 2] and len(found) == 3


def test_the_first_batch_tells_where_the_samples_of_a_stream_lie_in_outputs():
    own = [({**forms.STEPS, "c0": np.zeros((1, 40, 8)), "rate": 2.0, "on": [True]}, forms.PLACES)] * 2
    axes = {"x": 1, "h0": 1, "c0": 1}
    network = Network(forms.recurrent(1, "t"))
    assert open_data(network, Recipe(), own, None, None, axes)[0].layout.outputs == {"y": 1, "last": 1}
    found = retrain(
        forms.recurrent(1, "t"), "net.dcz", own, validation=own, batch_axis=axes, recipe=ONE, plan=forms.PLAN
    )
    assert found.answers == 480


def test_what_is_given_once_stays_so_where_another_input_is_given_once():
    found = open_data(Network(forms.recurrent(4, 6)), Recipe(holdout=0), forms.STEPS, forms.PLACES.T, None)[0]
    assert found.layout.inputs == {"x": 1, "h0": 1, "c0": 1, "rate": None, "on": None}


def test_labels_may_be_of_any_width():
    data, labels = {"ids": SENTENCES}, np.eye(5, dtype=np.longdouble)[FIRST]
    retrain(forms.language(), "net.dcz", data, labels=labels, recipe=ONE, plan=forms.PLAN)


def test_labels_for_no_output_are_told():
    refused("labels are a dict by the names of outputs, and this one is empty", {"ids": SENTENCES}, {})


def test_an_empty_sentence_is_a_sample_as_others_are():
    data = {"ids": [*SENTENCES, np.zeros(0, int)]}
    retrain(forms.language(), "net.dcz", data, labels={"z": [*TAGS, np.zeros(0, int)]}, recipe=ONE, plan=forms.PLAN)
    assert os.path.getsize("net.dcz") > 0


@pytest.mark.parametrize("axes, words", [
    ({"rate": 0}, "'rate' is one number, which has no axis: say --batch-axis rate=none"),
    ({"rate": -1}, "'rate' is one number"),
])  # fmt: skip
def test_an_axis_of_one_number_is_told_as_by_evaluate(axes, words):
    refused(words, forms.STEPS, forms.PLACES.T, forms.recurrent(), batch_axis=axes)
    onnx.save(forms.recurrent(), "net.onnx")
    with pytest.raises(InvalidArgument, match=words):
        dcz.evaluate("net.onnx", against="net.onnx", data=forms.STEPS, batch_axis=axes)


def test_axes_of_inputs_of_any_shape_are_those_of_their_arrays():
    proto = forms.recurrent()
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    for axis in (1, -2):
        network = Network(proto)
        found = open_data(network, Recipe(batch=8, holdout=0), forms.STEPS, forms.PLACES.T, None, {"x": axis})[0]
        assert found.layout.inputs["x"] == 1 and next(found.epoch(0))[0]["x"].shape == (6, 8, 4)
    for axis in (3, -4):
        refused(rf"'x' \[6, 40, 4\] has no axis {axis}", forms.STEPS, forms.PLACES.T, proto, batch_axis={"x": axis})


@pytest.mark.parametrize("output, checkpoint", [("folder/00.npz", None), ("net.dcz", "folder/00.npz")])
def test_no_file_of_the_folder_is_replaced(output, checkpoint):
    data = in_folder()
    before = os.path.getsize("folder/00.npz")
    with pytest.raises(FileAccess, match="folder/00.npz: is the input itself"):
        retrain(
            forms.language(), output, data, labels="y", recipe=ONE, plan=forms.PLAN, force=True, checkpoint=checkpoint
        )
    assert os.path.getsize("folder/00.npz") == before
