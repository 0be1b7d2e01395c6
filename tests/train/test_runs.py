"""Whole runs: what comes out, what is kept, what is refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import dcz
from dcz.errors import BadPlan, FileAccess, UnsuitableModel
from dcz.plan import Plan, Rule, Settings
from tests.models import arrays, entries, model, normal, tensor
from tests.train.samples import clusters, convolutional, layers, perceptron, transformer

torch = pytest.importorskip("torch")

from dcz.train import (
    Distillation,
    Recipe,
    retrain,
)

QUICK = {"sparsity": 0.9, "bits": 3, "epochs": 2, "share_epochs": 1, "batch": 50, "threads": 1, "learning_rate": 0.01}


def run(output, proto=None, count: int = 300, labels=True, plan=None, loss=None, **changes):
    """A run of seconds on clusters; returns what retrain does."""
    x, y = clusters(count)
    recipe = Recipe(**QUICK | changes)
    return retrain(
        perceptron() if proto is None else proto, output, {"x": x}, labels=y if labels else None, recipe=recipe,
        plan=plan, loss=loss, force=True,
    )  # fmt: skip


# -- the whole way -----------------------------------------------------------------------------------------------------


def test_a_network_is_learned_pruned_and_shared_and_the_file_is_as_good_as_reported(tmp_path):
    x, y = clusters(1000)
    held = clusters(400, seed=1)
    np.savez(tmp_path / "held.npz", x=held[0], y=held[1])
    recipe = Recipe(sparsity=0.95, bits=3, epochs=8, share_epochs=2, batch=64, threads=1)
    output = tmp_path / "net.dcz"
    found = retrain(
        perceptron(), output, x, labels=y, validation=(tmp_path / "held.npz", "y"), recipe=recipe, force=True
    )
    assert found.before[1] > 0.7 and found.after[1] < 0.05 and not found.notes
    assert found.file_bytes == output.stat().st_size < found.source_bytes / 20
    assert 0.95 <= found.sparsity < 0.99 and [epoch.phase for epoch in found.epochs] == ["prune"] * 8 + ["share"] * 2
    evaluated = dcz.evaluate(output, tmp_path / "held.npz", "y")
    assert evaluated.errors == round(found.after[1] * 400)
    assert evaluated.loss == pytest.approx(found.after[0], rel=1e-3)
    rows = {row.name: row for row in dcz.inspect(output).rows}
    assert rows["fc1.weight"].entries <= 8 and rows["fc2.weight"].entries <= 8
    kept = rows["fc1.weight"].kept + rows["fc2.weight"].kept
    assert 1 - kept / (64 * 128 + 1280) == pytest.approx(found.sparsity)
    assert found.to_dict()["epochs"][0]["phase"] == "prune"


@pytest.mark.parametrize("make, data", [
    (convolutional, np.random.default_rng(0).normal(size=(200, 1, 6, 6)).astype(np.float32)),
    (transformer, np.random.default_rng(0).integers(0, 30, (200, 6))),
    (layers, np.random.default_rng(0).integers(0, 255, (200, 64), np.uint8)),
])  # fmt: skip
def test_the_answers_of_the_original_are_learned_without_labels(make, data, tmp_path):
    recipe = Recipe(**QUICK | {"sparsity": 0.5, "bits": 5})
    found = retrain(
        make(), tmp_path / "net.dcz", data, recipe=recipe, plan=Plan(Settings(), min_weights=30), force=True
    )
    assert found.before[0] < 1e-5 and np.isfinite(found.after[0]) and found.after[1] is None
    assert found.file_bytes < found.source_bytes and found.sparsity >= 0.5


def test_a_float16_model_in_external_data(tmp_path):
    proto = perceptron()
    for held in proto.graph.initializer:
        held.CopyFrom(tensor(held.name, numpy_helper.to_array(held).astype(np.float16)))
    for info in (*proto.graph.input, *proto.graph.output):
        info.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    onnx.save(proto, tmp_path / "net.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    found = run(tmp_path / "net.dcz", tmp_path / "net.onnx", bias_bits=4)
    loaded = dcz.load(tmp_path / "net.dcz")
    assert all(array.dtype == np.float16 for array in arrays(loaded).values()) and found.after[1] < 0.5
    with pytest.raises(FileAccess, match="input itself"):
        run(tmp_path / "w.bin", tmp_path / "net.onnx")


@pytest.mark.parametrize("classes", [1, 3])
def test_regression_by_a_loss_of_the_users(classes, tmp_path):
    x = np.random.default_rng(0).normal(size=(300, 64)).astype(np.float32)
    y = x[:, :classes] * 2

    def squares(outputs, inputs, labels):
        return ((outputs["y"] - labels) ** 2).mean()

    recipe = Recipe(**QUICK | {"epochs": 5})
    found = retrain(layers((64, 32, classes)), tmp_path / "n.dcz", x, labels=y, recipe=recipe, loss=squares, force=True)
    assert found.after[0] < found.before[0] and found.after[1] is None


def test_a_class_of_loss_gets_the_network_and_its_original(tmp_path):
    assert run(tmp_path / "net.dcz", loss=Distillation).after[1] is not None


def test_the_same_run_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        run(tmp_path / f"{name}.dcz", reassign=0.01, bias_bits=4)
    run(tmp_path / "c.dcz", reassign=0.01, bias_bits=4, seed=1)
    a, b, c = ((tmp_path / f"{name}.dcz").read_bytes() for name in "abc")
    assert a == b != c


def test_torch_is_left_as_it_was(tmp_path):
    torch.manual_seed(5)
    wanted, threads = torch.rand(1), torch.get_num_threads()
    torch.manual_seed(5)
    run(tmp_path / "net.dcz", count=100, threads=threads + 1, epochs=1, share_epochs=0)
    assert torch.equal(torch.rand(1), wanted) and torch.get_num_threads() == threads


# -- parts of it -------------------------------------------------------------------------------------------------------


def test_only_bits_trains_the_centroids_alone(tmp_path):
    found = run(tmp_path / "net.dcz", sparsity=None, epochs=None, share_epochs=2)
    assert [epoch.phase for epoch in found.epochs] == ["share"] * 2 and found.sparsity == 0
    assert dcz.inspect(tmp_path / "net.dcz").rows[0].entries == 8
    assert run(tmp_path / "zero.dcz", sparsity=0, epochs=None).sparsity == 0


def test_only_sparsity_keeps_values_as_they_are_trained_and_zeros_without_a_sign(tmp_path):
    found = run(tmp_path / "net.dcz", bits=None)
    assert [epoch.phase for epoch in found.epochs] == ["prune"] * 2
    rows = {row.name: row for row in dcz.inspect(tmp_path / "net.dcz").rows}
    assert rows["fc1.weight"].encoding == "pruned" and rows["fc1.weight"].kept < 0.15 * 64 * 128
    weight = arrays(dcz.load(tmp_path / "net.dcz"))["fc1.weight"]
    assert not np.signbit(weight[weight == 0]).any()


def test_only_epochs_trains_the_whole_network_and_must_beat_what_was_there(tmp_path):
    found = run(tmp_path / "net.dcz", sparsity=None, bits=None, epochs=3)
    assert found.after[0] < found.before[0] and found.sparsity == 0
    plain = {"sparsity": None, "bits": None, "bias_bits": None}
    assert run(tmp_path / "same.dcz", labels=False, learning_rate=1.0, **plain).epochs[0].validation > 0.01
    found, before = arrays(dcz.load(tmp_path / "same.dcz")), arrays(perceptron())
    assert all(np.array_equal(found[name], before[name]) for name in before)  # nothing is as near to it as itself


def test_what_is_asked_and_applies_to_no_tensor_is_told(tmp_path):
    small = layers((64, 3, 10))
    with pytest.raises(BadPlan, match="nothing to do: no tensor is pruned or shared: weights of fewer than 256"):
        run(tmp_path / "net.dcz", small, epochs=None)
    assert "no tensor is pruned or shared" in run(tmp_path / "net.dcz", small).notes[0]
    assert "no tensor is shared" in run(tmp_path / "net.dcz", small, sparsity=None).notes[0]
    notes = run(tmp_path / "net.dcz", small, plan=Plan(Settings(), include=("w1",))).notes
    assert not any("no tensor" in note for note in notes)


def test_idle_weights_that_are_most_of_them_are_told(tmp_path):
    found = run(tmp_path / "net.dcz", count=1)  # no input varies: a constant would do
    assert found.sparsity > 0.99 and any("changed no output on the training samples" in note for note in found.notes)
    found = run(tmp_path / "net.dcz", count=1, drop_idle=False)
    assert found.sparsity == pytest.approx(0.9, abs=1e-3) and not found.notes


def test_nothing_to_do_is_refused(tmp_path):
    with pytest.raises(BadPlan, match="nothing to do"):
        run(tmp_path / "net.dcz", sparsity=None, bits=None, epochs=None)
    with pytest.raises(BadPlan, match="at least one epoch"):
        run(tmp_path / "net.dcz", epochs=0)


@pytest.mark.parametrize("changes", [{"holdout": 0}, {"batch": 10_000}, {"count": 4}])
def test_few_samples_and_large_batches(changes, tmp_path):
    found = run(tmp_path / "net.dcz", **changes)
    assert (found.after is None) == ("batch" not in changes) and found.file_bytes < found.source_bytes


@pytest.mark.parametrize("changes", [{"batch": 10_000}, {"batch": 200}, {"batch": 10_000, "share_epochs": 3}])
@pytest.mark.parametrize("holdout", [0, 0.1])
def test_all_weights_are_shared_in_the_end_however_few_the_batches(changes, holdout, tmp_path):
    found = run(tmp_path / "net.dcz", holdout=holdout, **changes)
    rows = {row.name: row for row in dcz.inspect(tmp_path / "net.dcz").rows}
    assert all(1 < rows[name].entries <= 8 for name in ("fc1.weight", "fc2.weight"))
    assert found.after is None or found.after[0] <= found.epochs[-1].validation + 1e-3


def test_fine_tuning_that_halts_leaves_shared_weights(tmp_path):
    x, y = clusters(300)
    recipe = Recipe(**QUICK | {"share_epochs": 4, "holdout": 0, "drop_idle": False})
    found = retrain(perceptron(), tmp_path / "net.dcz", x, labels=y, recipe=recipe, loss=Faulty(20), force=True)
    assert "phase 'share'" in found.notes[-1] and [epoch.phase for epoch in found.epochs] == ["prune"] * 2 + ["share"]
    assert all(row.entries <= 8 for row in dcz.inspect(tmp_path / "net.dcz").rows if row.name.endswith("weight"))


@pytest.mark.parametrize("bits, entries_of", [(16, None), (4, 16), (None, None)])
def test_biases(bits, entries_of, tmp_path):
    run(tmp_path / "net.dcz", bias_bits=bits, drop_idle=False)
    bias = arrays(dcz.load(tmp_path / "net.dcz"))["fc1.bias"]
    is_half = np.array_equal(bias, bias.astype(np.float16))
    assert is_half == (bits is not None) and (len(np.unique(bias)) <= 17) == (entries_of is not None)


@pytest.mark.parametrize("options", [
    {"schedule": "steps", "rounds": 3}, {"scope": "layer"}, {"score": "magnitude"}, {"regrow": True},
    {"prune_biases": True}, {"reassign": 0.02}, {"score": lambda values, squares: values.abs()}, {"start": 0.05},
])  # fmt: skip
def test_every_way_of_pruning_reaches_its_sparsity(options, tmp_path):
    found = run(tmp_path / "net.dcz", **options)
    assert 0.9 - 1e-3 <= found.sparsity < 0.97 and found.epochs[-1].sparsity == found.sparsity
    rows = {row.name: row for row in dcz.inspect(tmp_path / "net.dcz").rows}
    if options.get("scope") == "layer":
        assert rows["fc2.weight"].kept <= 128


# -- plans -------------------------------------------------------------------------------------------------------------


def test_a_plan_says_what_becomes_of_single_tensors(tmp_path):
    rules = (Rule(("w2",), Settings(sparsity=0.5, bits=5, index_bits=4)), Rule(("w3",), Settings(lossless=True)))
    plan = Plan(Settings(codebook="float16"), rules, exclude=("b1",))
    run(tmp_path / "net.dcz", layers(), plan=plan)
    found, before = arrays(dcz.load(tmp_path / "net.dcz")), arrays(layers())
    assert np.array_equal(found["w3"], before["w3"]) and np.array_equal(found["b1"], before["b1"])
    assert not np.array_equal(found["b2"], before["b2"])
    rows = {row.name: row for row in dcz.inspect(tmp_path / "net.dcz").rows}
    assert rows["w1"].kept <= 0.1 * 64 * 48 + 1 and rows["w1"].entries <= 8
    assert 0.4 * 48 * 40 < rows["w2"].kept <= 0.5 * 48 * 40 and 8 < rows["w2"].entries <= 32
    assert rows["w2"].layout.startswith("4-bit gaps")


@pytest.mark.parametrize("settings", [Settings(quality=15.0), Settings(step=0.2), Settings(bits=3, codebook="auto")])
def test_other_ways_of_sharing(settings, tmp_path):
    found = run(tmp_path / "net.dcz", plan=settings, bits=None)
    assert found.after[1] < 0.6
    weight = arrays(dcz.load(tmp_path / "net.dcz"))["fc1.weight"]
    assert len(np.unique(weight)) <= (9 if settings.bits == 3 else 100)


def test_a_plan_from_a_file(tmp_path):
    (tmp_path / "plan.toml").write_text('[default]\nbits = 2\n[[rule]]\nmatch = "fc2.*"\nsparsity = 0.5\n')
    run(tmp_path / "net.dcz", plan=tmp_path / "plan.toml", bits=None)
    rows = {row.name: row for row in dcz.inspect(tmp_path / "net.dcz").rows}
    assert rows["fc1.weight"].entries <= 4 and rows["fc2.weight"].kept > 500


@pytest.mark.parametrize("plan, words", [
    (Plan(Settings(), (Rule(("fc9",), Settings(bits=2)),)), "'fc9' matches no tensor"),
    (Plan(Settings(threshold=1.0)), "give sparsity"), (5, "a plan is"),
])  # fmt: skip
def test_plans_that_do_not_fit_are_refused(plan, words, tmp_path):
    changes = {"sparsity": None} if words == "give sparsity" else {}
    with pytest.raises(BadPlan, match=words):
        run(tmp_path / "net.dcz", plan=plan, **changes)


@pytest.mark.parametrize("options", [
    {"sparsity": 1.0}, {"sparsity": float("nan")}, {"bits": 9}, {"bits": True}, {"bits": 2.0}, {"epochs": -1},
    {"schedule": "linear"}, {"scope": "all"}, {"score": "fisher"}, {"bias_bits": 12}, {"learning_rate": 0},
    {"holdout": 1}, {"batch": 0}, {"seed": -1}, {"reassign": -1}, {"stages": 0.5}, {"stages": ("a", 1)},
])  # fmt: skip
def test_recipes_out_of_range_are_refused(options):
    with pytest.raises(BadPlan, match=next(iter(options))):
        Recipe(**options)


def test_a_recipe_is_a_recipe(tmp_path):
    with pytest.raises(BadPlan, match="a recipe is a dcz.Recipe, not dict"):
        retrain(perceptron(), tmp_path / "net.dcz", X, labels=Y, recipe={"bits": 3}, force=True)


# -- data that does not fit --------------------------------------------------------------------------------------------

X, Y = clusters(60)
BAD = np.full((60, 64), np.nan, np.float32)


@pytest.mark.parametrize("data, labels, options, words", [
    (X, np.where(np.arange(60) == 41, 10, Y), {}, "label 10 of sample 41 is no class: the output 'y' has the"),
    (X, np.where(np.arange(60) == 41, -1, Y), {}, "label -1 of sample 41"),
    (X, Y[:-1], {}, "59 labels for 60 samples"),
    (X, Y * 1.0, {}, "whole numbers"),
    (X, "y", {}, "no array 'y' for the labels"),
    (X[:, :63], Y, {}, r"input 'x' of the model wants the shape \[n, 64\], .* \[60, 63\]; .* in their order$"),
    ({"z": X}, Y, {}, "no array for the input 'x': it has 'z'"),
    ({"x": X[0, 0]}, Y, {}, r"wants the shape \[n, 64\], the samples have \[\]"),
    (BAD, Y, {}, "no number before any training"),
    (X, None, {"loss": "cross-entropy"}, "wants labels"),
    (X, Y, {"loss": "squares"}, "not 'squares'"),
    (X, Y, {"loss": lambda outputs, inputs, labels: outputs["y"].detach().sum()}, "the loss has no gradient"),
    (X, Y, {"loss": lambda outputs, inputs, labels: outputs["y"]}, "tensor of one number"),
    (X, Y, {"validation": X}, "labels of their own"),
    (X, Y, {"validation": (X, Y + 5)}, "is no class"),
    (X, Y, {"validation": (X,)}, "validation is data, or"),
    ([(X, Y)], Y, {}, "brings its labels itself"),
    ([], None, {}, "an empty list"),
    ((x for x in [X]), None, {}, "only once"),
    (lambda epoch: [(X, Y)] * (epoch == 0), None, {}, "no batches in epoch 1"),
])  # fmt: skip
def test_data_that_do_not_fit_are_refused_and_the_old_file_stays(data, labels, options, words, tmp_path):
    (tmp_path / "net.dcz").write_bytes(b"old")
    with pytest.raises(BadPlan, match=words):
        retrain(perceptron(), tmp_path / "net.dcz", data, labels=labels, recipe=Recipe(**QUICK), **options, force=True)
    assert (tmp_path / "net.dcz").read_bytes() == b"old"


def test_outputs_that_cannot_be_learned_are_refused(tmp_path):
    top = perceptron()
    top.graph.node.append(helper.make_node("ArgMax", ["y"], ["top"], axis=1))
    top.graph.output[0].CopyFrom(helper.make_tensor_value_info("top", 7, ["n", 1]))
    with pytest.raises(BadPlan, match="the loss has no gradient: .* ArgMax"):
        run(tmp_path / "net.dcz", top, labels=False)
    with pytest.raises(BadPlan, match=r"'y' is \[\d+, 1\], which has no classes"):
        run(tmp_path / "net.dcz", layers((64, 20, 1)))


def test_a_model_for_batches_of_one_size_is_told_what_to_do(tmp_path):
    shape = tensor("shape", np.array([1, -1]))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Reshape", ["m", "shape"], ["y"])]
    made = model(nodes, {"x": [1, 64]}, {"y": [1, 10]}, [tensor("w", normal(64, 10)), shape])
    with pytest.raises(BadPlan, match="give that as the recipe's batch"):
        run(tmp_path / "net.dcz", made)
    assert run(tmp_path / "net.dcz", made, batch=1, count=40, epochs=1).after is not None


def test_streams_of_batches_train_as_arrays_do(tmp_path):
    x, y = clusters(200)
    batches = [(x[i : i + 50], y[i : i + 50]) for i in range(0, 200, 50)]
    recipe = Recipe(**QUICK)
    for data in (batches, lambda epoch: (batch for batch in batches)):
        found = retrain(perceptron(), tmp_path / "net.dcz", data, recipe=recipe, force=True)
        assert found.after is None and found.sparsity >= 0.9
    found = retrain(perceptron(), tmp_path / "net.dcz", batches, validation=batches, recipe=recipe, force=True)
    assert found.after[1] < 0.5


@pytest.mark.parametrize("learning_rate", [None, 0.003])
def test_batches_of_an_unknown_number_train_at_the_same_rates(learning_rate, tmp_path):
    x, y = clusters(200)
    batches = [(x[i : i + 50], y[i : i + 50]) for i in range(0, 200, 50)]
    recipe, made = Recipe(**QUICK | {"epochs": 1, "learning_rate": learning_rate}), []
    for data in (batches, lambda epoch: (batch for batch in batches)):
        found = retrain(perceptron(), tmp_path / f"{len(made)}.dcz", data, recipe=recipe)
        made.append(Path(found.path).read_bytes())
    assert made[0] == made[1]


def test_files_that_would_be_lost_are_refused(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    onnx.save(perceptron(), tmp_path / "net.onnx")
    for output, checkpoint in [("d.npz", None), ("net.onnx", None), ("n.dcz", "d.npz"), ("n.dcz", "net.onnx")]:
        checkpoint = checkpoint and tmp_path / checkpoint
        with pytest.raises(FileAccess, match="input itself"):
            retrain(
                tmp_path / "net.onnx",
                tmp_path / output,
                tmp_path / "d.npz",
                labels="y",
                checkpoint=checkpoint,
                force=True,
            )
    with pytest.raises(BadPlan, match="another file than the output"):
        retrain(
            tmp_path / "net.onnx", tmp_path / "n.dcz", tmp_path / "d.npz", checkpoint=tmp_path / "n.dcz", force=True
        )


def test_models_that_cannot_be_trained_are_unsuitable(tmp_path):
    relu = model([helper.make_node("Relu", ["x"], ["y"])], {"x": ["n", 64]}, {"y": ["n", 64]})
    with pytest.raises(UnsuitableModel, match="no weights that could be trained"):
        run(tmp_path / "net.dcz", relu)


# -- losses that are no numbers, and runs that end early ---------------------------------------------------------------


class Faulty:
    """Cross-entropy that is no number from the n-th batch of training on."""

    def __init__(self, good: int, gradient: bool = False):
        self.good, self.gradient, self.seen = good, gradient, 0

    def __call__(self, outputs, inputs, labels):
        rows = outputs["y"]
        self.seen += rows.requires_grad
        if self.seen > self.good and rows.requires_grad:
            rows = rows + torch.sqrt(rows * 0) if self.gradient else rows * torch.nan
        return torch.nn.functional.cross_entropy(rows, labels.long())


@pytest.mark.parametrize("good, phase, sparsity", [(1, "prune", 0), (20, "prune", 0.9), (25, "share", 0.9)])
@pytest.mark.parametrize("gradient", [False, True])
def test_when_the_loss_stops_being_a_number_the_best_is_kept_and_told(good, phase, sparsity, gradient, tmp_path):
    x, y = clusters(300)
    told = []
    recipe = Recipe(**QUICK | {"epochs": 4, "share_epochs": 2, "drop_idle": False})
    found = retrain(
        perceptron(), tmp_path / "net.dcz", x, labels=y, recipe=recipe, loss=Faulty(good, gradient), warn=told.append,
        validation=clusters(100, seed=1), force=True,
    )  # fmt: skip
    told = [note for note in told if "no more than chance" not in note]  # it is not trained yet
    assert list(found.notes)[-len(told) :] == told and f"phase {phase!r}" in told[0]
    assert found.sparsity == pytest.approx(sparsity, abs=0.01) and np.isfinite(found.after[0])
    assert any("less than was asked for" in note for note in found.notes) == (sparsity == 0)
    assert all(np.isfinite(array).all() for array in arrays(dcz.load(tmp_path / "net.dcz")).values())
    best = [epoch.validation for epoch in found.epochs if epoch.phase == "prune" and epoch.sparsity >= 0.9 - 1e-4]
    assert not best or found.after[0] < min(best) * 1.5


def test_training_stops_after_epochs_that_bring_nothing(tmp_path):
    found = run(tmp_path / "net.dcz", sparsity=None, epochs=10, learning_rate=10.0, patience=2)
    scores = [epoch.validation for epoch in found.epochs if epoch.phase == "prune"]
    assert len(scores) < 10 and min(scores[-2:]) >= min(found.before[0], *scores[:-2])
    assert found.epochs[-1].phase == "share"


def test_progress_is_told_batch_by_batch(tmp_path):
    told = []
    x, y = clusters(300)
    retrain(perceptron(), tmp_path / "net.dcz", x, labels=y, recipe=Recipe(**QUICK), progress=told.append, force=True)
    ends = [state for state in told if state.is_end]
    assert [(state.phase, state.epoch) for state in ends] == [("prune", 1), ("prune", 2), ("share", 1)]
    assert all(state.batches == 6 for state in told) and len(told) == 7 * 3
    assert ends[-1].bytes == pytest.approx(sum(each.info.length for each in entries(tmp_path / "net.dcz")), rel=0.5)


def test_what_is_distilled_is_not_pruned_by_gradients_that_are_rounding(tmp_path):
    """The original's own answers have no gradient, and scores that were all alike took the last tensors first."""
    recipe = Recipe(sparsity=0.5, epochs=1, share_epochs=0, batch=60, threads=1, learning_rate=1e-6, holdout=0)
    found = []
    for score in ("gradient", "magnitude"):
        options = {"validation": X, "score": score, "force": True}
        found.append(retrain(perceptron(), tmp_path / "net.dcz", X, recipe=recipe, **options).pruned[0])
    assert found[0] == found[1] < 0.2
