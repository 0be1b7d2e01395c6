"""Figures of a model's answers, each worked out by hand in numpy."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import dcz
from dcz.errors import BadPlan, CorruptFile, FileAccess, UnsuitableModel
from dcz.evaluation import metrics
from dcz.evaluation.evaluate import evaluate
from dcz.files import ranges
from tests.networks import perceptron

FLOAT = TensorProto.FLOAT


def model(path, nodes, inputs, outputs, tensors=()):
    """Save a model; inputs and outputs are (name, type, shape)."""
    inputs, outputs = ([helper.make_tensor_value_info(*value) for value in values] for values in (inputs, outputs))
    made = helper.make_graph(nodes, "net", inputs, outputs, [numpy_helper.from_array(a, n) for n, a in tensors])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def echo(path, classes, batch="n", bias=None):
    """A model that answers what it is asked, y = x or x + bias; an ArgMax says that y holds classes."""
    bias = np.zeros(classes, np.float32) if bias is None else np.asarray(bias, np.float32)
    node = helper.make_node("Add", ["x", "bias"], ["y"])
    choice = helper.make_node("ArgMax", ["y"], ["choice"], axis=1)
    return model(
        path, [node, choice], [("x", FLOAT, [batch, classes])], [("y", FLOAT, [batch, classes])], [("bias", bias)]
    )


def softmax(rows):
    exponentials = np.exp(rows.astype(np.float64))
    return exponentials / exponentials.sum(1, keepdims=True)


def samples(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.fixture
def logits():
    """Answers of 1,003 samples in 8 classes, and labels."""
    random = np.random.default_rng(0)
    return random.normal(0, 3, (1003, 8)).astype(np.float32), random.integers(0, 8, 1003)


# -- figures -----------------------------------------------------------------------------------------------------------


def test_errors_and_loss_are_those_of_numpy(tmp_path, logits):
    x, y = logits
    found = evaluate(echo(tmp_path / "a.onnx", 8), samples(tmp_path / "a.npz", x=x, y=y), "y")
    order = np.argsort(-x, axis=1)
    assert (found.samples, found.classes, found.output, found.unanswered) == (1003, 8, "y", 0)
    assert found.errors == (order[:, 0] != y).sum()
    assert found.top5_errors == 1003 - (order[:, :5] == y[:, None]).sum()
    assert found.loss == pytest.approx(-np.log(softmax(x)[np.arange(1003), y]).mean(), rel=1e-12)
    assert (found.against, found.disagreements, found.agreement, found.divergence, found.decibels) == (None,) * 5


def test_shares_are_exact(tmp_path):
    x, y = np.zeros((10000, 3), np.float32), np.zeros(10000, int)
    y[:150] = 2
    found = evaluate(echo(tmp_path / "a.onnx", 3), samples(tmp_path / "a.npz", x=x, y=y), "y", batch_size=10000)
    assert found.errors == 150 and found.top1 == 0.985  # the first of equal entries is the top class
    assert found.top5_errors is None and found.top5 is None  # of three classes
    assert found.loss == pytest.approx(np.log(3))


@pytest.mark.parametrize("classes, top5_errors", [(5, None), (6, 1), (7, 2)])
def test_of_equal_entries_the_first_come_first(tmp_path, classes, top5_errors):
    x, y = np.zeros((classes, classes), np.float32), np.arange(classes)
    found = evaluate(echo(tmp_path / "a.onnx", classes), samples(tmp_path / "a.npz", x=x, y=y), "y")
    assert found.errors == classes - 1 and found.top5_errors == top5_errors


@pytest.mark.parametrize("batch_size", [1, 7, 1003, 5000, None])
def test_the_batch_changes_nothing(tmp_path, logits, batch_size):
    x, y = logits
    net, data = echo(tmp_path / "a.onnx", 8, bias=np.arange(8)), samples(tmp_path / "a.npz", x=x, y=y)
    wanted = evaluate(net, data, "y", echo(tmp_path / "b.onnx", 8))
    found = evaluate(net, data, "y", tmp_path / "b.onnx", batch_size=batch_size, threads=1)
    for field in dataclasses.fields(found):
        value = getattr(wanted, field.name)
        assert getattr(found, field.name) == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value)


def test_probabilities_are_taken_as_they_are(tmp_path, logits):
    x, y = logits
    soft = softmax(x).astype(np.float32)
    net = echo(tmp_path / "a.onnx", 8)
    found = evaluate(net, samples(tmp_path / "p.npz", x=soft, y=y), "y")
    assert found.loss == pytest.approx(evaluate(net, samples(tmp_path / "l.npz", x=x, y=y), "y").loss, rel=1e-5)
    certain = np.eye(8, dtype=np.float32)[y]
    assert evaluate(net, samples(tmp_path / "c.npz", x=certain, y=y), "y").loss == 0
    wrong = evaluate(net, samples(tmp_path / "w.npz", x=certain, y=(y + 1) % 8), "y")
    assert wrong.loss == pytest.approx(-np.log(metrics.UNDERFLOW)) and wrong.errors == 1003
    mixed = np.concatenate([certain, x[:1]])  # one row that is none makes logits of all
    found = evaluate(net, samples(tmp_path / "m.npz", x=mixed, y=np.append(y, 0)), "y", net, batch_size=2)
    assert found.loss == pytest.approx(-np.log(softmax(mixed)[np.arange(1004), np.append(y, 0)]).mean(), rel=1e-6)
    assert found.divergence == 0
    twice = evaluate(net, samples(tmp_path / "t.npz", x=2 * certain, y=y), "y")  # sums of 2 are logits
    assert twice.loss == pytest.approx(np.log(1 + 7 * np.exp(-2)))


def test_agreement_divergence_and_decibels_are_those_of_numpy(tmp_path, logits):
    x, _ = logits
    bias = np.array([0, 1, 0, 0, -2, 0, 0, 0.5], np.float32)
    net, other = echo(tmp_path / "a.onnx", 8, bias=bias), echo(tmp_path / "b.onnx", 8)
    found = evaluate(net, samples(tmp_path / "a.npz", x=x), against=other)
    p, q = softmax(x), softmax(x + bias)
    assert found.disagreements == ((x + bias).argmax(1) != x.argmax(1)).sum() > 0
    assert found.agreement == (1003 - found.disagreements) / 1003
    assert found.divergence == pytest.approx((p * np.log(p / q)).sum(1).mean(), rel=1e-5)
    error = (x + bias).astype(np.float64) - x
    assert found.decibels == pytest.approx(10 * np.log10((x.astype(np.float64) ** 2).sum() / (error**2).sum()))
    assert (found.errors, found.top1, found.loss, found.against) == (None, None, None, str(other))


def test_a_model_agrees_with_itself(tmp_path, logits):
    net = echo(tmp_path / "a.onnx", 8)
    found = evaluate(net, samples(tmp_path / "a.npz", x=logits[0]), against=net)
    assert (found.agreement, found.divergence, found.decibels) == (1, 0, np.inf)
    plain = found.to_dict()
    assert plain["equal"] is True and plain["decibels"] is None and plain["agreement"] == 1 and plain["top1"] is None
    json.dumps(plain, allow_nan=False)


def test_logits_may_be_held_against_probabilities(tmp_path, logits):
    x, _ = logits
    net = echo(tmp_path / "a.onnx", 8)
    other = renamed(echo(tmp_path / "b.onnx", 8), "p")
    found = evaluate(net, samples(tmp_path / "a.npz", x=x, p=softmax(x).astype(np.float32)), against=other)
    assert found.divergence == pytest.approx(0, abs=1e-6) and found.disagreements == 0


def test_large_logits_do_not_overflow(tmp_path):
    x, y = np.array([[3e38, -3e38], [0, 1000]], np.float32), np.array([0, 0])
    found = evaluate(echo(tmp_path / "a.onnx", 2), samples(tmp_path / "a.npz", x=x, y=y), "y")
    assert found.loss == 500 and found.errors == 1


def test_samples_without_an_answer_are_errors_and_are_told(tmp_path):
    x = np.array([[1, 0, 0], [np.nan, 0, 0], [np.inf, 0, 0], [-np.inf] * 3, [0, -np.inf, 0]], np.float32)
    y = np.zeros(5, int)
    net = echo(tmp_path / "a.onnx", 3)
    found = evaluate(net, samples(tmp_path / "a.npz", x=x, y=y), "y", net)
    assert (found.samples, found.unanswered, found.errors, found.disagreements) == (5, 3, 3, 3)
    assert np.isnan(found.loss) and np.isnan(found.divergence)
    assert found.to_dict()["loss"] is None and found.to_dict()["divergence"] is None
    some = evaluate(net, samples(tmp_path / "b.npz", x=x[[0, 4]], y=y[:2]), "y", net)  # one -inf is a logit
    assert some.loss == pytest.approx((np.log(np.exp([1, 0, 0]).sum()) - 1 + np.log(2)) / 2)
    assert (some.unanswered, some.divergence, some.disagreements) == (0, 0, 0)


# -- models and files --------------------------------------------------------------------------------------------------


def test_a_dcz_is_decoded_and_known_by_its_first_bytes(tmp_path):
    onnx.save(perceptron(), tmp_path / "net.onnx")
    dcz.compress(tmp_path / "net.onnx", tmp_path / "net.dcz", dcz.Settings(bits=2))
    dcz.compress(tmp_path / "net.onnx", tmp_path / "fine.dcz")
    x = np.random.default_rng(1).normal(size=(100, 64))
    data = samples(tmp_path / "a.npz", x=x, y=np.arange(100) % 10)
    (tmp_path / "packed").write_bytes((tmp_path / "net.dcz").read_bytes())
    dcz.decompress(tmp_path / "net.dcz", tmp_path / "restored.onnx")
    one, two, three = (dcz.evaluate(tmp_path / name, data, "y") for name in ("net.dcz", "packed", "restored.onnx"))
    assert one.to_dict() | {"path": ""} == two.to_dict() | {"path": ""} == three.to_dict() | {"path": ""}
    found = evaluate(tmp_path / "net.dcz", data, against=tmp_path / "fine.dcz")
    assert found.agreement == (100 - found.disagreements) / 100 < 1 and 0 < found.decibels < 30


def test_figures_of_a_network_are_those_of_its_weights(tmp_path):
    proto = perceptron()
    onnx.save(proto, tmp_path / "net.onnx")
    fc1, bias1, fc2, bias2 = (numpy_helper.to_array(tensor).astype(float) for tensor in proto.graph.initializer)
    x, y = np.random.default_rng(1).normal(size=(77, 64)).astype(np.float32), np.arange(77) % 10
    rows = np.maximum(x @ fc1 + bias1, 0) @ fc2 + bias2
    found = evaluate(tmp_path / "net.onnx", samples(tmp_path / "a.npz", x=x, y=y), "y")
    assert found.errors == (rows.argmax(1) != y).sum()
    assert found.loss == pytest.approx(-np.log(softmax(rows)[np.arange(77), y]).mean(), rel=1e-5)


def test_one_sample_and_an_npy_for_the_only_input(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[0, 2, 1]], np.float32))
    np.save(tmp_path / "y.npy", np.array([1]))
    found = evaluate(echo(tmp_path / "a.onnx", 3), tmp_path / "x.npy", tmp_path / "y.npy")
    assert (found.samples, found.errors, found.top1) == (1, 0, 1.0)


@pytest.mark.parametrize("count, batch_size", [(12, None), (13, None), (1, None), (11, 3)])
def test_a_fixed_batch_is_filled_up(tmp_path, count, batch_size):
    x, y = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32), np.arange(count) % 3
    data = samples(tmp_path / "a.npz", x=x, y=y)
    fixed, free = echo(tmp_path / "a.onnx", 3, batch=4), echo(tmp_path / "b.onnx", 3)
    found = evaluate(fixed, data, "y", free, batch_size=batch_size)
    assert (found.samples, found.errors, found.disagreements) == (count, (x.argmax(1) != y).sum(), 0)
    assert found.decibels == np.inf and found.loss == pytest.approx(evaluate(free, data, "y").loss)


def test_trailing_axes_of_one_are_set_aside(tmp_path):
    net = model(
        tmp_path / "a.onnx", [helper.make_node("GlobalAveragePool", ["x"], ["y"])],
        [("x", FLOAT, ["n", 6, 2, 2])], [("y", FLOAT, ["n", 6, 1, 1])],
    )  # fmt: skip
    x, y = np.random.default_rng(0).normal(size=(9, 6, 2, 2)).astype(np.float32), np.arange(9) % 6
    found = evaluate(net, samples(tmp_path / "a.npz", x=x, y=y), "y")
    assert found.classes == 6 and found.errors == (x.mean((2, 3)).argmax(1) != y).sum()


@pytest.fixture
def several(tmp_path):
    """Outputs top (int64 [n]), mean (float [n, 1]), y (float [n, 3]) and wide (float [n, 6])."""
    nodes = [
        helper.make_node("ArgMax", ["x"], ["top"], axis=1, keepdims=0),
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1]),
        helper.make_node("Neg", ["x"], ["y"]),
        helper.make_node("Concat", ["x", "x"], ["wide"], axis=1),
    ]
    outputs = [("top", TensorProto.INT64, ["n"]), ("mean", FLOAT, ["n", 1]), ("y", FLOAT, None), ("wide", FLOAT, None)]
    return model(tmp_path / "several.onnx", nodes, [("x", FLOAT, None)], outputs)


def test_the_first_output_with_rows_of_classes_is_looked_at(several, tmp_path):
    x = np.eye(3, dtype=np.float32)
    data = samples(tmp_path / "a.npz", x=x, y=np.arange(3))
    found = evaluate(several, data, "y")
    assert (found.output, found.classes, found.errors) == ("y", 3, 3)
    found = evaluate(several, data, "y", output="wide")
    assert (found.output, found.classes, found.errors, found.top5_errors) == ("wide", 6, 0, 0)


def test_outputs_that_cannot_be_looked_at_are_refused(several, tmp_path):
    data = samples(tmp_path / "a.npz", x=np.eye(3, dtype=np.float32), y=np.arange(3))
    with pytest.raises(BadPlan, match="has no output 'z'; it has 'top', 'mean', 'y', 'wide'"):
        evaluate(several, data, "y", output="z")
    for name in ("top", "mean"):
        with pytest.raises(BadPlan, match=rf"output '{name}' is not one row of two or more floats .* 'top' int64\[3\]"):
            evaluate(several, data, "y", output=name)
    with pytest.raises(BadPlan, match="no output is one row"):
        evaluate(echo(tmp_path / "a.onnx", 1), samples(tmp_path / "b.npz", x=np.ones((2, 1)), y=[0, 0]), "y")
    with pytest.raises(BadPlan, match="several.onnx has 3 classes in output 'y', .*a.onnx 4"):
        evaluate(several, samples(tmp_path / "c.npz", x=np.ones((3, 3)), z=np.ones((3, 4))),
                 against=renamed(echo(tmp_path / "a.onnx", 4), "z"))  # fmt: skip


def renamed(path, name):
    """The same model with another name of its input."""
    proto = onnx.load(path)
    proto.graph.input[0].name = proto.graph.node[0].input[0] = name
    onnx.save(proto, path)
    return path


def test_two_models_may_have_inputs_of_their_own(tmp_path):
    one, two = echo(tmp_path / "a.onnx", 3), renamed(echo(tmp_path / "b.onnx", 3), "z")
    x = np.eye(3, dtype=np.float32)
    assert evaluate(one, samples(tmp_path / "a.npz", x=x, z=x[::-1]), against=two).disagreements == 2
    with pytest.raises(BadPlan, match="has 3 samples for .*a.onnx, and 2 for .*b.onnx"):
        evaluate(one, samples(tmp_path / "b.npz", x=x, z=x[:2]), against=two)
    np.save(tmp_path / "c.npy", x)
    assert evaluate(one, tmp_path / "c.npy", against=two).disagreements == 0


# -- what an input takes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ">f4", np.uint8, np.int64, bool])
def test_numbers_are_cast_for_an_input_of_floats(tmp_path, dtype):
    x = np.eye(3).astype(dtype)
    assert evaluate(echo(tmp_path / "a.onnx", 3), samples(tmp_path / "a.npz", x=x, y=np.arange(3)), "y").errors == 0


def gather(path, dtype):
    """A model of integers: row x of a table that is the unit matrix."""
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"])]
    return model(path, nodes, [("x", dtype, ["n"])], [("y", FLOAT, ["n", 3])], [("table", np.eye(3, dtype=np.float32))])


def test_integers_are_cast_where_they_fit(tmp_path):
    net = gather(tmp_path / "a.onnx", TensorProto.INT32)
    for dtype in (np.int64, np.uint8):
        data = samples(tmp_path / "a.npz", x=np.arange(3, dtype=dtype), y=np.arange(3))
        assert evaluate(net, data, "y").errors == 0
    words = r"which does not hold all values of int64 \[1\], such as 4294967296: give numbers from -2147483648 to"
    with pytest.raises(BadPlan, match=f"a.npz: input 'x' of .*a.onnx wants int32, {words}"):
        evaluate(net, samples(tmp_path / "a.npz", x=np.array([2**32]), y=np.arange(1)), "y")
    data = samples(tmp_path / "a.npz", x=np.arange(3, dtype=np.float32), y=np.arange(3))
    assert evaluate(net, data, "y").errors == 0
    with pytest.raises(BadPlan, match=r"all values of float32 \[3\], such as 0.5: give whole numbers"):
        evaluate(net, samples(tmp_path / "a.npz", x=np.array([1, 0.5, 2], np.float32), y=np.arange(3)), "y")


@pytest.mark.parametrize("x, words", [
    (np.full((2, 3), 1e300), "input 'x' of .*a.onnx wants float32, which some values .* overflow, up to 1e.300"),
    (np.full((2, 3), "text"), r"wants tensor\(float\), the samples have <U4 \[2, 3\]"),
    (np.full((2, 3), 1j), r"wants tensor\(float\), the samples have complex128"),
    (np.ones((2, 4)), r"a.npz: input 'x' of .*a.onnx wants the shape \[n, 3\], the samples have \[2, 4\]"),
    (np.ones((2, 3, 1)), r"the samples have \[2, 3, 1\]"),
    (np.ones(4), r"wants the shape \[n, 3\], the samples have \[4\]"),
    (np.ones((0, 3)), "holds no samples"),
])  # fmt: skip
def test_arrays_that_do_not_fit_are_refused_by_name(tmp_path, x, words):
    with pytest.raises(BadPlan, match=words):
        evaluate(echo(tmp_path / "a.onnx", 3), samples(tmp_path / "a.npz", x=x, y=np.zeros(2, int)), "y")


def test_strings_and_scalars_reach_the_model(tmp_path):
    nodes = [
        helper.make_node("Equal", ["word", "words"], ["same"]),
        helper.make_node("Cast", ["same"], ["one"], to=FLOAT),
        helper.make_node("Mul", ["one", "scale"], ["y"]),
    ]
    inputs = [("word", TensorProto.STRING, ["n", 1]), ("scale", FLOAT, [])]
    words = ("words", np.array([["a", "b"]], object))
    net = model(tmp_path / "a.onnx", nodes, inputs, [("y", FLOAT, ["n", 2])], [words])
    proto = onnx.load(net)
    proto.opset_import[0].version = 19
    onnx.save(proto, net)
    data = samples(tmp_path / "a.npz", word=np.array([["b"], ["a"], ["b"]]), scale=2.0, y=np.array([1, 0, 0]))
    found = evaluate(net, data, "y")
    assert found.errors == 1 and found.samples == 3


def test_a_missing_input_is_named(tmp_path):
    with pytest.raises(BadPlan, match="a.npz: has no array for the input 'x': it has 'y'"):
        evaluate(echo(tmp_path / "a.onnx", 3), samples(tmp_path / "a.npz", y=np.zeros(2, int)), "y")


def test_inputs_with_different_fixed_batches_are_refused(tmp_path):
    net = model(
        tmp_path / "a.onnx", [helper.make_node("Add", ["x", "z"], ["y"])],
        [("x", FLOAT, [2, 3]), ("z", FLOAT, [1, 3])], [("y", FLOAT, [2, 3])],
    )  # fmt: skip
    with pytest.raises(UnsuitableModel, match=r"fixed batches of \[1, 2\]"):
        evaluate(net, samples(tmp_path / "a.npz", x=np.ones((2, 3)), z=np.ones((2, 3))), against=net)


# -- other failures ----------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path):
    """A model of three classes, and a data file for it."""
    return echo(tmp_path / "a.onnx", 3), samples(tmp_path / "a.npz", x=np.eye(3), y=np.arange(3))


def test_something_to_compare_with_is_asked_for(pair):
    with pytest.raises(BadPlan, match="give --labels, --against, or both"):
        evaluate(*pair)


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": 1.5}, {"threads": 0}])
def test_sizes_that_are_none_are_refused(pair, options):
    with pytest.raises(BadPlan, match="whole number, 1 or more"):
        evaluate(*pair, "y", **options)


def test_labels_beyond_the_models_classes_are_refused(pair, tmp_path):
    data = samples(tmp_path / "b.npz", x=np.eye(3), y=np.array([1, 2, 3]))
    with pytest.raises(
        BadPlan, match="b.npz, array 'y': label 3 of sample 2 is out of range: classes count from 0 to 2"
    ):
        evaluate(pair[0], data, "y")


def test_files_that_are_no_models_are_named(pair, tmp_path):
    net, data = pair
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "empty.dcz").write_bytes(b"")
    for wrong, error in (("text.onnx", UnsuitableModel), ("missing.onnx", FileAccess), ("empty.dcz", CorruptFile)):
        for arguments in ((tmp_path / wrong, data, "y"), (net, data, "y", tmp_path / wrong)):
            with pytest.raises(error, match=wrong):
                evaluate(*arguments)
    with pytest.raises(FileAccess, match="missing.npz"):
        evaluate(net, tmp_path / "missing.npz", "y")


def test_a_dcz_that_onnxruntime_refuses_is_named_and_not_its_temporary_file(pair, tmp_path):
    nodes = [helper.make_node("NoSuchOperator", ["x"], ["y"])]
    dcz.compress(
        model(tmp_path / "b.onnx", nodes, [("x", FLOAT, ["n", 3])], [("y", FLOAT, ["n", 3])]), tmp_path / "b.dcz"
    )
    with pytest.raises(UnsuitableModel, match=r"^\S*b.dcz: onnxruntime cannot load it"):
        evaluate(tmp_path / "b.dcz", pair[1], "y")


def test_samples_that_the_model_cannot_run_are_named(tmp_path):
    net = gather(tmp_path / "a.onnx", TensorProto.INT64)
    data = samples(tmp_path / "a.npz", x=np.array([0, 1, 2, 7]), y=np.zeros(4, int))
    with pytest.raises(UnsuitableModel, match="a.onnx: samples 2 to 3: onnxruntime cannot run"):
        evaluate(net, data, "y", batch_size=2)


def test_progress_counts_samples(pair):
    told = []
    evaluate(*pair, "y", batch_size=2, progress=lambda *call: told.append(call))
    assert told == [(str(pair[0]), 2, 3), (str(pair[0]), 3, 3)]


def test_a_batch_is_the_most_that_is_copied(tmp_path, monkeypatch):
    """20 MB of samples, of a size that is not kept in memory, pass through a few MB of it."""
    import tracemalloc

    monkeypatch.setattr(ranges, "COPIED_FROM", 1 << 20)
    x = np.zeros((5000, 1000), np.float32)
    data = samples(tmp_path / "a.npz", x=x, y=np.zeros(5000, np.int64))
    del x
    net = echo(tmp_path / "a.onnx", 1000)
    tracemalloc.start()
    try:
        assert evaluate(net, data, "y", against=net).errors == 0
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
