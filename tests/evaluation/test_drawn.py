"""Inputs that are drawn where none are given."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from dcz.errors import UnsuitableModel
from dcz.evaluation import drawn as drawn_inputs
from dcz.evaluation import runtime
from dcz.evaluation.drawn import draw
from dcz.evaluation.kinds import GraphKinds
from tests import models
from tests.models import normal, tensor

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
node = helper.make_node


def session(nodes, inputs, weights=()):
    """A session of a model of one output, y."""
    return runtime.session(models.model(nodes, inputs, {"y": (FLOAT, None)}, weights).SerializeToString())


def test_token_ids_lie_in_the_table_and_masks_are_ones_of_the_same_length():
    nodes = [
        node("Gather", ["table", "ids"], ["e"]),
        node("Cast", ["mask"], ["m"], to=FLOAT),
        node("Unsqueeze", ["m", "last"], ["u"]),
        node("Mul", ["e", "u"], ["y"]),
    ]
    inputs = {"ids": (INT64, ["n", "s"]), "mask": (INT64, ["n", "s"])}
    weights = [tensor("table", normal(500, 8)), tensor("last", np.array([-1]))]
    drawn = draw(session(nodes, inputs, weights), {"ids": 500})
    (batch,) = drawn.batches
    assert 16 <= drawn.shapes["ids"][1] <= 64 and drawn.shapes["ids"] == drawn.shapes["mask"]
    assert len(batch["ids"]) >= 8 and (batch["mask"] == 1).all()
    assert 0 <= batch["ids"].min() < 50 and 450 < batch["ids"].max() < 500


def test_lengths_are_those_of_the_sequences():
    nodes = [node("CastLike", ["lengths", "x"], ["f"]), node("Add", ["x", "f"], ["y"])]
    (batch,) = draw(session(nodes, {"x": ["n", "t"], "lengths": (INT64, [1])})).batches
    assert batch["lengths"].tolist() == [batch["x"].shape[1]]


@pytest.mark.parametrize("shape, sides", [(["n", 3, "h", "w"], (2, 3)), (["n", None, None, 3], (1, 2))])
def test_images_have_a_natural_size(shape, sides):
    drawn = draw(session([node("Relu", ["x"], ["y"])], {"x": shape}))
    assert [drawn.shapes["x"][axis] for axis in sides] == [224, 224] and drawn.shapes["x"][0] == 16


def test_a_fixed_batch_of_one_is_run_several_times_on_other_numbers():
    drawn = draw(session([node("Relu", ["x"], ["y"])], {"x": [1, 5]}))
    assert len(drawn.batches) == 16 and len({float(batch["x"][0, 0]) for batch in drawn.batches}) == 16


def test_a_dim_may_be_a_sum_of_others():
    nodes = [node("Concat", ["past", "now"], ["all"], axis=1), node("Add", ["all", "mask"], ["y"])]
    inputs = {"past": ["n", "past", 4], "now": ["n", "s", 4], "mask": ["n", "past + s", 1]}
    shapes = draw(session(nodes, inputs)).shapes
    assert shapes["mask"][1] == shapes["past"][1] + shapes["now"][1]


def test_sizes_are_tried_until_the_model_accepts_one():
    nodes = [node("Reshape", ["x", "shape"], ["r"]), node("MatMul", ["r", "w"], ["y"])]
    weights = [tensor("shape", np.array([0, 1, 512])), tensor("w", normal(512, 2))]
    assert draw(session(nodes, {"x": ["n", "s"]}, weights)).shapes == {"x": (32, 512)}
    with pytest.raises(UnsuitableModel, match="give --data"):
        draw(session(nodes, {"x": ["n", "s"]}, [tensor("shape", np.array([0, 1, 513])), tensor("w", normal(513, 2))]))


def test_states_have_the_batch_of_the_samples_and_settings_what_they_are_compared_with():
    nodes = [
        node("Squeeze", ["state", "first"], ["s"]),
        node("Add", ["x", "s"], ["a"]),
        node("CastLike", ["rate", "x"], ["r"]),
        node("Add", ["a", "r"], ["y"]),
    ]
    inputs = {"x": [None, 7], "state": [1, None, 7], "rate": (INT64, [])}
    net = session(nodes, inputs, [tensor("first", np.array([0]))])
    (batch,) = draw(net, compared={"rate": 16000}).batches
    assert batch["state"].shape == (1, 32, 7) and batch["rate"] == 16000


@pytest.mark.parametrize("name", ["past + ²", "9" * 5000, "99999999999999999999+x", "+"])
def test_names_of_dims_that_are_no_sizes_end_nothing(name):
    assert drawn_inputs._named_size(name, {}, 16) >= 0


def test_inputs_too_large_to_draw_are_refused_by_name():
    with pytest.raises(UnsuitableModel, match=r"'x' has 2147483648 elements.*give --data"):
        draw(session([node("Relu", ["x"], ["y"])], {"x": [1, 2**31]}))


@pytest.mark.parametrize("number, fits", [(1000, False), (200, True), (-1, False)])
def test_a_setting_is_taken_where_its_type_holds_it(number, fits):
    assert drawn_inputs._fits(number, np.dtype(np.uint8)) == fits


@pytest.mark.parametrize("before", ["Unsqueeze", "Sub"])
@pytest.mark.parametrize("layer", ["LSTM", "MatMul", "Gemm"])
def test_the_first_layer_tells_how_wide_an_input_is(before, layer):
    """235 is none of the sizes that are tried; dims of one name have it too."""
    if layer == "Gemm" and before == "Unsqueeze":
        return
    weights = [tensor("axis", np.array([1])), tensor("mean", normal(235)), tensor("b", normal(235, 8))]
    weights += [tensor("w", normal(1, 32, 235)), tensor("r", normal(1, 32, 8))]
    first = [node("Unsqueeze", ["x", "axis"], ["h"])] if before == "Unsqueeze" else [node("Sub", ["x", "mean"], ["h"])]
    if layer == "LSTM":
        first += [node("Unsqueeze", ["h", "axis"], ["u"])] if before == "Sub" else [node("Identity", ["h"], ["u"])]
        last = node("LSTM", ["u", "w", "r"], ["y"], hidden_size=8)
    else:
        last = node(layer, ["h", "b"], ["y"])
    proto = models.model([*first, last], {"x": ["t", "f"]}, {"y": (FLOAT, None)}, weights)
    kinds = GraphKinds(proto)
    assert kinds.widths == {"x": 235}
    net = runtime.session(proto.SerializeToString())
    assert draw(net, widths=kinds.widths).shapes == {"x": (32, 235)}


def test_an_axis_that_is_moved_or_made_has_another_size():
    weights = [tensor("last", np.array([-1])), tensor("w", normal(1, 8))]
    for make in (node("Unsqueeze", ["x", "last"], ["h"]), node("Transpose", ["x"], ["h"])):
        proto = models.model(
            [make, node("MatMul", ["h", "w"], ["y"])], {"x": ["n", "f"]}, {"y": (FLOAT, None)}, weights
        )
        assert GraphKinds(proto).widths == {}


def test_a_number_beside_other_inputs_is_a_setting_and_never_below_zero():
    """Such as the speed of a voice: of a speed near zero, a sentence takes minutes."""
    inputs = {"x": (FLOAT, [1, "seq_len"]), "speed": (FLOAT, [1])}
    drawn = draw(session([node("Div", ["x", "speed"], ["y"])], inputs))
    assert {batch["speed"].item() for batch in drawn.batches} == {drawn_inputs.SCALAR} and len(drawn.batches) == 16
    alone = draw(session([node("Neg", ["x"], ["y"])], {"x": (FLOAT, [1])}))
    assert len({batch["x"].item() for batch in alone.batches}) == 16


@pytest.mark.parametrize("x, state, samples", [
    (["n", "t", 4], [2, "n", 8], 32),
    ([1, "seq_len", 4], [1, 1, 8], 1),
])  # fmt: skip
def test_samples_are_counted_along_the_axis_that_the_symbol_of_the_batch_names(x, state, samples):
    nodes = [node("Neg", ["state"], ["s"]), node("ReduceSum", ["x"], ["t"], keepdims=0), node("Add", ["s", "t"], ["y"])]
    model = session(nodes, {"x": (FLOAT, x), "state": (FLOAT, state)})
    assert {count for _, count in draw(model).counted(model.get_inputs())} == {samples}


@pytest.mark.parametrize("width, runs", [(16, 16), (1 << 17, 2)])
def test_a_model_that_speaks_for_long_is_heard_twice(width, runs):
    nodes = [
        node("Mul", ["x", "zero"], ["z"]),
        node("Add", ["z", "width"], ["f"]),
        node("Cast", ["f"], ["n"], to=INT64),
        node("Tile", ["x", "n"], ["y"]),
    ]
    weights = [tensor("zero", np.zeros(1, np.float32)), tensor("width", np.array([width], np.float32))]
    proto = models.model(nodes, {"x": (FLOAT, [1])}, {"y": (FLOAT, ["audio_length"])}, weights)
    assert len(draw(runtime.session(proto.SerializeToString())).batches) == runs
