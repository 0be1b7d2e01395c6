"""What `verify` says of a file beside its original."""

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper

import dcz
from dcz.cli import cli
from dcz.errors import UnsuitableModel
from dcz.evaluation.metrics import sqnr
from dcz.evaluation.weight_errors import weight_error
from tests import models
from tests.models import normal, tensor
from tests.networks import correlated, perceptron

node = helper.make_node


def compressed(tmp_path, proto, **settings):
    """The model in a file, and what was made of it."""
    onnx.save(proto, tmp_path / "net.onnx")
    dcz.compress(tmp_path / "net.onnx", tmp_path / "net.dcz", **settings)
    return tmp_path / "net.onnx", tmp_path / "net.dcz"


def changed(tmp_path, before, after):
    """A model of the weights `before`, and a file that holds those of `after`."""
    for name, arrays in (("net", before), ("other", after)):
        nodes = [node("MatMul", ["x", "a"], ["h"]), node("MatMul", ["h", "b"], ["y"])]
        weights = [tensor(each, array) for each, array in zip("ab", arrays, strict=True)]
        onnx.save(
            models.model(nodes, {"x": ["n", len(arrays[0])]}, {"y": ["n", None]}, weights), tmp_path / f"{name}.onnx"
        )
    dcz.compress(tmp_path / "other.onnx", tmp_path / "net.dcz", dcz.Plan(dcz.Settings(lossless=True)))
    return tmp_path / "net.onnx", tmp_path / "net.dcz"


def test_typical_weights_and_rows_show_what_the_whole_tensor_hides(tmp_path):
    outliers = normal(40, 40)
    outliers.flat[:8] = 1000  # half a percent: they stay, and the rest becomes zero
    lost = np.where(np.abs(outliers) > 1, outliers, 0).astype(np.float32)
    channels = normal(40, 40, seed=1)
    channels[:, 7] *= 1e-3
    one_lost = channels.copy()
    one_lost[:, 7] = 0
    original, packed = changed(tmp_path, [outliers, channels], [lost, one_lost])
    found = dcz.verify(packed, against=original)
    a, b = found.tensors
    assert a.decibels > 60 and a.typical == pytest.approx(0, abs=1e-9)
    assert b.decibels > 60 and b.typical > 60 and b.worst_row == pytest.approx(0, abs=1e-9)
    assert [row.name for row in found.worst_first] == ["a", "b"]
    plain = found.to_dict()
    assert plain["worst_first"] == ["a", "b"] and plain["tensors"][1]["worst_row"] == pytest.approx(0, abs=1e-9)


def one_row(tmp_path, before, after, rows=40):
    """What is found of a matrix of ordinary rows (columns, as MatMul has them) of which the last is these two."""
    weights = normal(rows, rows)
    weights[:, -1] = before
    new = weights.copy()
    new[:, :-1] *= 1 + 2**-8  # about 48 dB
    new[:, -1] = after
    original, packed = changed(tmp_path, [weights, normal(rows, rows, seed=1)], [new, normal(rows, rows, seed=1)])
    found = dcz.verify(packed, against=original)
    assert [tensor.dead_rows for tensor in found.tensors[1:]] == [0]
    return found


def test_a_dead_row_is_counted_and_is_no_worst_row(tmp_path):
    """One of its weights was moved, to a hundred times the largest: it would show -40 dB, of nothing."""
    before = normal(40) * 2e-8
    after = before + 1e-7 * (np.arange(40) == 3)
    found = one_row(tmp_path, before, after)
    assert found.tensors[0].dead_rows == 1
    assert found.tensors[0].worst_row == pytest.approx(20 * np.log10(2**8), abs=0.1)
    assert found.to_dict()["tensors"][0]["dead_rows"] == 1
    said = CliRunner().invoke(cli, ["verify", str(tmp_path / "net.dcz"), "--against", str(tmp_path / "net.onnx")])
    assert "worst rows are without 1 dead row, of weights and errors" in " ".join(said.stdout.split())


@pytest.mark.parametrize(
    "before, error, decibels",
    [(1e-4, 1e-4, 0), (1e-9, 1e-3, -120), (0, 1e-3, -np.inf), (1e-3, 1e-9, None), (1e-9, 1e-6, -60)],
    ids=["a small row that is lost", "a dead row come to life", "nothing come to life", "a small row", "hardly alive"],
)
def test_a_row_that_matters_is_not_hidden(before, error, decibels, tmp_path):
    signs = np.where(np.arange(40) % 2, 1, -1)
    found = one_row(tmp_path, before * signs, before * signs + error * np.roll(signs, 1))
    assert found.tensors[0].dead_rows == 0
    if decibels is not None:
        assert found.tensors[0].worst_row == pytest.approx(decibels, abs=0.5)
    said = CliRunner().invoke(cli, ["verify", str(tmp_path / "net.dcz"), "--against", str(tmp_path / "net.onnx")])
    assert said.exit_code == 0 and "dead" not in said.stdout


def test_a_tensor_of_dead_rows_but_one_hides_none(tmp_path):
    """The median row is as dead, and measures nothing: rather figures that say little than a loss that is hidden."""
    weights = normal(40, 40) * 2e-8
    weights[:, 0] = 1
    lost = weights.copy()
    lost[:, 5] = 0
    original, packed = changed(tmp_path, [weights, normal(40, 40)], [lost, normal(40, 40)])
    found = dcz.verify(packed, against=original).tensors[0]
    assert found.dead_rows == 0 and found.worst_row == pytest.approx(0)


def test_what_is_equal_has_no_figures_in_json(tmp_path):
    original, packed = changed(tmp_path, [normal(8, 8), normal(8, 8)], [normal(8, 8), normal(8, 8)])
    rows = dcz.verify(packed, against=original).to_dict()["tensors"]
    assert {(row["decibels"], row["typical"], row["worst_row"], row["equal"]) for row in rows} <= {
        (None, None, None, True)
    }


def test_drawn_inputs_are_said_to_be_drawn(tmp_path):
    original, packed = compressed(tmp_path, models.dense(normal(64, 64), normal(64, 8)))
    drawn = dcz.verify(packed, against=original)
    assert drawn.drawn and drawn.input_shapes == {"x": (32, 64)}
    np.savez(tmp_path / "x.npz", x=normal(5, 64))
    given = dcz.verify(packed, against=original, inputs=tmp_path / "x.npz")
    assert not given.drawn and given.outputs[0].samples == 5


def test_samples_are_counted_and_not_the_places_of_an_output(tmp_path):
    """Of a model that takes one sentence at a time, and answers a number a letter."""
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Reshape", ["m", "flat"], ["y"])]
    weights = [tensor("w", normal(64, 1)), tensor("flat", np.array([-1]))]
    proto = models.model(nodes, {"x": [1, "seq_len", 64]}, {"y": ["seq_len"]}, weights)
    original, packed = compressed(tmp_path, proto)
    assert dcz.verify(packed, against=original).outputs[0].samples == 16
    sentences = [{"x": normal(1, length, 64)} for length in (9, 40, 9)]
    assert dcz.verify(packed, against=original, inputs=sentences).outputs[0].samples == 3


def test_drawn_inputs_that_are_one_number_are_named(tmp_path):
    nodes = [
        onnx.helper.make_node("Gather", ["table", "ids"], ["e"]),
        onnx.helper.make_node("Cast", ["mask"], ["m"], to=1),
        onnx.helper.make_node("Unsqueeze", ["m", "axes"], ["u"]),
        onnx.helper.make_node("Mul", ["e", "u"], ["h"]),
        onnx.helper.make_node("MatMul", ["h", "w"], ["y"]),
    ]
    tensors = [models.tensor("table", normal(99, 16)), models.tensor("w", normal(16, 16))]
    net = models.model(nodes, {}, {"y": ["n", "s", 16]}, [*tensors, models.tensor("axes", np.array([2]))])
    for name in ("ids", "mask"):
        net.graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["n", "s"]))
    original, packed = compressed(tmp_path, net)
    found = dcz.verify(packed, against=original)
    assert found.constant_inputs == {"mask": 1} and "ids" in found.input_shapes
    said = " ".join(CliRunner().invoke(cli, ["verify", str(packed), "--against", str(original)]).stdout.split())
    assert "mask 32x32 (all 1)" in said and "ids 32x32," in said


def test_no_share_where_the_original_answers_drawn_inputs_all_alike(tmp_path):
    """A bias decides: "100 % agree" would say nothing of the weights."""
    nodes = [node("Gemm", ["x", "w", "b"], ["y"])]
    weights = [tensor("w", normal(64, 64)), tensor("b", np.eye(64, dtype=np.float32)[3] * 100)]
    original, packed = compressed(tmp_path, models.model(nodes, {"x": ["n", 64]}, {"y": ["n", 64]}, weights))
    (output,) = dcz.verify(packed, against=original).outputs
    assert (output.measure, output.agreement, output.score) == ("top class", None, None)
    np.savez(tmp_path / "x.npz", x=normal(5, 64))
    assert dcz.verify(packed, against=original, inputs=tmp_path / "x.npz").outputs[0].agreement == 1


# -- onnx.checker ------------------------------------------------------------------------------------------------------


def refused():
    """A model that onnxruntime runs and onnx.checker refuses: it does not import com.microsoft."""
    nodes = [node("Gelu", ["x"], ["h"], domain="com.microsoft"), node("MatMul", ["h", "w"], ["y"])]
    graph = models.graph(nodes, {"x": ["n", 64]}, {"y": ["n", 64]}, [tensor("w", normal(64, 64))])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_fault_that_the_original_has_too_is_none_of_the_file(tmp_path):
    original, packed = compressed(tmp_path, refused())
    with pytest.raises(UnsuitableModel, match="the model that it was made from may be what is refused: .* --against"):
        dcz.verify(packed, deep=True)
    found = dcz.verify(packed, deep=True, against=original)
    assert "No opset import for domain" in found.checker and found.to_dict()["checker"] == found.checker


def test_a_fault_that_the_original_has_not_is_one_of_the_file(tmp_path):
    original, packed = compressed(tmp_path, refused())
    sound = onnx.load(original)
    sound.opset_import.add(domain="com.microsoft", version=1)
    onnx.save(sound, tmp_path / "sound.onnx")
    with pytest.raises(UnsuitableModel, match="No opset import .*sound.onnx passes"):
        dcz.verify(packed, deep=True, against=tmp_path / "sound.onnx")


def test_another_fault_of_the_original_excuses_nothing(tmp_path):
    original, packed = compressed(tmp_path, refused())
    other = onnx.load(original)
    other.opset_import.add(domain="com.microsoft", version=1)
    other.graph.node[1].op_type = "NoSuchOperator"
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(UnsuitableModel, match="other.onnx is refused for another reason: .*NoSuchOperator"):
        dcz.verify(packed, deep=True, against=tmp_path / "other.onnx")


def test_answers_that_the_original_does_not_give_are_told_apart(tmp_path):
    """NaN in the original is none of the compressed file's doing."""
    nodes = [node("Sqrt", ["x"], ["h"]), node("MatMul", ["h", "w"], ["y"])]
    proto = models.model(nodes, {"x": ["n", 40]}, {"y": ["n", 8]}, [tensor("w", normal(40, 8))])
    original, packed = compressed(tmp_path, proto, lossless=True)
    x = np.abs(normal(10, 40))
    x[2] = -1
    (some,) = dcz.verify(packed, against=original, inputs={"x": x}).outputs
    assert (some.samples, some.unanswered, some.agreement) == (10, 1, 0.9)
    assert some.describe().endswith("agrees in 90.00 % of 10; the original has no finite answer to 1 of them")
    (none,) = dcz.verify(packed, against=original, inputs={"x": -x[:2]}).outputs
    assert (none.unanswered, none.score, none.agreement) == (2, None, None)
    assert none.describe() == "top class: no figure, for the original's own answers are not finite"
    np.savez(tmp_path / "x.npz", x=-x[:2])
    arguments = ["--against", str(original), "--data", str(tmp_path / "x.npz"), "--min-agreement", "1"]
    refused = CliRunner().invoke(cli, ["verify", str(packed), *arguments])
    assert isinstance(refused.exception, dcz.InvalidArgument)
    assert str(refused.exception) == (
        "--min-agreement: output 'y': the original's own answers are not finite on these samples: give others"
    )


def test_biases_that_calibration_corrected_are_no_errors_of_weights(tmp_path):
    """They are small here, and move by many times their size."""
    proto, original, packed = perceptron(), tmp_path / "net.onnx", tmp_path / "net.dcz"
    biases = {each.name for each in proto.graph.initializer if len(each.dims) == 1}
    for each in proto.graph.initializer:
        if each.name in biases:
            each.CopyFrom(tensor(each.name, normal(*each.dims) * 1e-4))
    onnx.save(proto, original)
    dcz.tune(original, packed, {"x": correlated()}, ratio=8, threads=1)
    found = dcz.verify(packed, against=original, inputs={"x": correlated()})
    moved = {row.name: row.decibels for row in found.tensors if row.corrected}
    assert moved and moved.keys() <= biases and min(moved.values()) < 0
    assert {row.name for row in found.worst_first} == {each.name for each in proto.graph.initializer} - biases
    assert len(found.changed) == len(found.worst_first) + len(moved) and f"{len(found.changed)} of" in repr(found)
    signal = noise = 0.0
    with dcz.open(packed) as tensors:
        for each in proto.graph.initializer:
            if each.name not in biases:
                before = onnx.numpy_helper.to_array(each).astype(np.float64)
                signal, noise = signal + np.sum(before**2), noise + np.sum((before - tensors[each.name]) ** 2)
    assert weight_error(packed, original).decibels == pytest.approx(sqnr(signal, noise), abs=1e-6)
    shown = CliRunner().invoke(cli, ["verify", str(packed), "--against", str(original)]).output
    assert f"{len(moved)} others are biases and the like, which calibration corrects for that" in shown


def test_biases_of_a_file_that_is_not_calibrated_are_compared_as_all_else(tmp_path):
    proto = perceptron()
    bias = next(each.name for each in proto.graph.initializer if len(each.dims) == 1)
    original, packed = compressed(tmp_path, proto, bits=2, include=(bias,), min_weights=1)
    found = dcz.verify(packed, against=original)
    assert bias in {row.name for row in found.worst_first} and not any(row.corrected for row in found.tensors)
