"""Data as people have them: loaders, functions, several inputs, folders, labels of every kind."""

import numpy as np
import pytest
from onnx import helper

import dcz
from dcz.errors import InvalidArgument
from tests.models import model, normal, tensor
from tests.train.samples import clusters, convolutional, layers, perceptron, transformer

torch = pytest.importorskip("torch")

from dcz.train import Network, Recipe, retrain
from dcz.train.batch_stream import BatchStream
from dcz.train.data import open_data

X, Y = clusters(300)
QUICK = {"sparsity": 0.9, "bits": 3, "epochs": 2, "share_epochs": 1, "batch": 50, "threads": 1, "learning_rate": 0.01}


def run(path, data, proto=None, **options):
    """A run of seconds."""
    changes = options.pop("changes", {})
    return retrain(proto or perceptron(), path, data, recipe=Recipe(**QUICK | changes), **options, force=True)


# -- loaders and functions ---------------------------------------------------------------------------------------------


def loader(**options):
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    return torch.utils.data.DataLoader(dataset, 50, **options)


def test_a_loader_that_shuffles_is_resumed_to_the_same_bytes(tmp_path):
    run(tmp_path / "whole.dcz", loader(shuffle=True), validation=(X, Y))

    def stop(state):
        if state.is_end and state.epoch == 1:
            raise KeyboardInterrupt

    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "net.dcz", loader(shuffle=True), validation=(X, Y), checkpoint=checkpoint, progress=stop)
    run(tmp_path / "net.dcz", loader(shuffle=True), validation=(X, Y), checkpoint=checkpoint)
    assert (tmp_path / "net.dcz").read_bytes() == (tmp_path / "whole.dcz").read_bytes()


def test_a_generator_function_and_one_of_the_epoch_give_batches(tmp_path):
    seen = []

    def of_nothing():
        yield from ((X[i : i + 50], Y[i : i + 50]) for i in range(0, 300, 50))

    def of_the_epoch(epoch):
        seen.append(epoch)
        return of_nothing()

    found = [run(tmp_path / "net.dcz", data, validation=(X, Y)).after for data in (of_nothing, of_the_epoch)]
    assert found[0] == found[1] and found[0][1] < 0.2 and {0, 1} == set(seen)


def test_what_the_callers_code_raises_is_told(tmp_path):
    def fails(epoch):
        yield X[:50], Y[:50]
        if epoch:
            raise ZeroDivisionError("division by zero")

    with pytest.raises(InvalidArgument, match="the data fail in epoch 1: ZeroDivisionError: division by zero"):
        run(tmp_path / "net.dcz", fails)


def test_batches_of_several_inputs_come_one_after_another():
    two = [X[:4], X[4:8]]
    for batch, labels in ((two, None), ([*two, Y[:4]], Y[:4]), ((dict(a=X[:4], b=X[4:8]), Y[:4]), Y[:4])):
        ((inputs, found),) = BatchStream([batch], ["a", "b"]).epoch(0)
        assert list(inputs) == ["a", "b"] and np.array_equal(inputs["b"], X[4:8])
        assert found is None if labels is None else found.tolist() == labels.tolist()
    with pytest.raises(InvalidArgument, match="not 4 things"):
        list(BatchStream([(X, X, X, X)], ["a", "b"]).epoch(0))


def test_labels_within_a_dict_are_named(tmp_path):
    batches = [{"x": X[i : i + 50], "y": Y[i : i + 50]} for i in range(0, 300, 50)]
    found = run(tmp_path / "net.dcz", batches, labels="y", validation=batches)
    assert found.after[1] < 0.2
    assert run(tmp_path / "net.dcz", {"x": X, "y": Y}, labels="y", validation={"x": X, "y": Y}).after[1] < 0.2
    with pytest.raises(InvalidArgument, match="with the labels under 'z'"):
        run(tmp_path / "net.dcz", batches, labels="z")


# -- folders of images -------------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path):
    """A folder with a bright and a dark class of 7 x 7 pixels."""
    image = pytest.importorskip("PIL.Image")
    random = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 128)):
        for number in range(40):
            path = tmp_path / "photos" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.fromarray(random.integers(low, low + 128, (7, 7), np.uint8)).save(path)
    return tmp_path / "photos"


def test_a_folder_of_images_is_learned(photos, tmp_path):
    changes = {"pixels": "-1..1", "batch": 8, "epochs": 12, "augment": "flip", "sparsity": 0.5}
    found = run(
        tmp_path / "net.dcz", photos, convolutional(), labels="class", validation=photos, changes=changes,
        plan=dcz.Plan(dcz.Settings(), min_weights=30),
    )  # fmt: skip
    assert found.after[1] == 0


def test_the_first_validation_of_a_folder_is_that_of_its_pixels(photos):
    network = Network(convolutional())
    training, _ = open_data(network, Recipe(pixels="0..1", batch=100, holdout=0), photos, "class", None)
    ((inputs, labels),) = training.epoch(0)
    assert inputs["x"].shape == (80, 1, 6, 6) and labels.tolist() == [0] * 40 + [1] * 40
    assert 0.2 < float(inputs["x"][labels == 0].mean()) < 0.3 < 0.7 < float(inputs["x"][labels == 1].mean()) < 0.8


def test_images_as_arrays_in_a_folder_are_prepared_and_photos_may_lie_beside_arrays(photos, tmp_path):
    recipe, network = Recipe(pixels="0..1", batch=100, holdout=0), Network(convolutional())
    images = np.random.default_rng(0).integers(0, 256, (10, 6, 6, 1), np.uint8)
    (tmp_path / "arrays").mkdir()
    for number, image in enumerate(images):
        np.savez(tmp_path / "arrays" / str(number), x=image, y=number)
    training, _ = open_data(network, recipe, tmp_path / "arrays", "y", None)
    ((inputs, labels),) = training.epoch(0)
    assert np.allclose(inputs["x"][:, 0], images[..., 0] / 255) and labels.tolist() == list(range(10))
    np.save(photos / "classes.npy", np.arange(80))
    training, _ = open_data(network, recipe, photos, photos / "classes.npy", None)
    ((inputs, labels),) = training.epoch(0)
    assert inputs["x"].shape == (80, 1, 6, 6) and labels.tolist() == list(range(80))


def test_a_folder_wants_its_range_and_a_network_of_images(photos, tmp_path):
    with pytest.raises(InvalidArgument, match="say what numbers the model takes for pixels"):
        run(tmp_path / "net.dcz", photos, convolutional())
    with pytest.raises(InvalidArgument, match="a folder of images is for a model with one input"):
        run(tmp_path / "net.dcz", photos)
    with pytest.raises(InvalidArgument, match="no array 'y' for the labels: it has 'x', 'class'"):
        run(tmp_path / "net.dcz", photos, convolutional(), labels="y", changes={"pixels": "0..1"})


# -- labels ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [None, "distill"])
def test_soft_labels_are_learned_as_the_classes_that_they_are_shares_of(loss, tmp_path):
    soft = np.full((300, 10), 0.02, np.float32)
    soft[np.arange(300), Y] = 0.82
    np.savez(tmp_path / "train.npz", x=X, y=soft)
    options = {"labels": "y", "validation": tmp_path / "train.npz", "loss": loss, "changes": {"label_share": 1.0}}
    found = run(tmp_path / "net.dcz", tmp_path / "train.npz", **options)
    assert found.after[1] < 0.1 and found.after[0] >= -(0.82 * np.log(0.82) + 9 * 0.02 * np.log(0.02)) - 1e-6


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("loss, limit", [(None, 1.0), ("mse", 1.0), ("cosine", 0.3)])
def test_numbers_of_the_outputs_shape_are_regressed(outputs, loss, limit, tmp_path):
    if loss == "cosine" and outputs == 1:
        pytest.skip("the cosine of one number is its sign")
    targets = 2 * X[:, :outputs].astype(np.float64)
    changes = {"epochs": 8, "sparsity": 0.5, "bits": 5}
    proto = layers((64, 32, outputs))
    targets = targets[:, 0] if outputs == 1 else targets
    found = run(tmp_path / "net.dcz", X, proto, labels=targets, validation=(X, targets), loss=loss, changes=changes)
    assert found.after[0] < limit * np.var(targets) / 4 and found.after[0] < found.before[0] and found.after[1] is None


def test_embeddings_are_distilled_by_their_angle(tmp_path):
    found = run(tmp_path / "net.dcz", X, layers((64, 48, 20)), loss="cosine", changes={"sparsity": 0.5, "bits": 5})
    assert found.before[0] == pytest.approx(0, abs=1e-6) and found.after[0] < 0.1


def test_tokens_have_a_label_each_and_padding_has_none(tmp_path):
    tokens = np.random.default_rng(0).integers(0, 30, (200, 6))
    y = np.where(np.arange(6) < 4, tokens % 10, -100)
    np.savez(tmp_path / "train.npz", tokens=tokens, y=y)
    changes = {"sparsity": 0.3, "bits": 6, "epochs": 12, "batch": 20}
    options = {"labels": "y", "validation": tmp_path / "train.npz", "changes": changes}
    plan = dcz.Plan(dcz.Settings(), min_weights=30)
    found = run(tmp_path / "net.dcz", tmp_path / "train.npz", transformer(), plan=plan, **options)
    assert found.after[1] < 0.1 < 0.7 < found.before[1]


def two_heads():
    """x [n, 64] -> Gemm -> Relu -> digit [n, 10] and size [n, 1]."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["digit"]),
        helper.make_node("MatMul", ["r", "u"], ["size"]),
    ]
    shapes = {"w": (64, 40), "v": (40, 10), "u": (40, 1)}
    weights = [tensor(name, normal(*shape, seed=i)) for i, (name, shape) in enumerate(shapes.items())]
    return model(nodes, {"x": ["n", 64]}, {"digit": ["n", 10], "size": ["n", 1]}, weights)


def test_several_outputs_have_labels_of_their_own(tmp_path):
    np.savez(tmp_path / "train.npz", x=X, y=Y, z=X[:, 0])
    options = {"validation": tmp_path / "train.npz", "changes": {"epochs": 6, "sparsity": 0.5, "bits": 4}}
    labels = {"digit": "y", "size": "z"}
    found = run(tmp_path / "net.dcz", tmp_path / "train.npz", two_heads(), labels=labels, **options)
    assert found.after[1] < 0.1
    options["changes"]["output_weights"] = "digit=0,size=1"
    one = run(tmp_path / "net.dcz", tmp_path / "train.npz", two_heads(), labels=labels, **options)
    assert one.after[0] < 0.5 * np.var(X[:, 0]) and one.after[1] > 0.5


def test_weights_of_outputs_weight_distillation(tmp_path):
    changes = {"output_weights": "digit=3,size=1", "sparsity": 0.5, "epochs": 1}
    assert run(tmp_path / "net.dcz", X, two_heads(), changes=changes).after[0] > 0


@pytest.mark.parametrize("labels, changes, options, words", [
    ({"digit": Y, "mass": Y}, {}, {}, "labels for 'mass', which is no output; the model has digit, size"),
    ({"digit": Y, "size": X[:, :2]}, {}, {}, r"numbers of the shape of the output 'size', which is \[50, 1\]"),
    ({"size": Y}, {}, {}, "'size' is .*, which has no classes to label; .* give another loss: mse"),
    ({"digit": Y + 1}, {}, {}, "label 10 of sample .* is no class: the output 'digit' has the classes 0 to 9"),
    ({"digit": Y[1:]}, {}, {}, "299 labels for 300"),
    (Y, {"output_weights": "digit=1"}, {}, "labels of several outputs: leave them out"),
    (None, {"output_weights": "mass=1"}, {}, "no output 'mass' to weight"),
    (X, {}, {"loss": "mse"}, r"labels of the shape \[50, 64\] for an output of \[50, 10\]"),
    (X[:, :10], {}, {"loss": "cross-entropy"}, "whole numbers, the classes, or soft ones"),
])  # fmt: skip
def test_labels_that_do_not_fit_are_refused(labels, changes, options, words, tmp_path):
    with pytest.raises(InvalidArgument, match=words):
        run(tmp_path / "net.dcz", X, two_heads(), labels=labels, changes=changes, **options)


def test_labels_of_any_name_go_to_a_loss_of_ones_own(tmp_path):
    batches = [(X[i : i + 50], {"classes": Y[i : i + 50], "where": X[i : i + 50, :4]}) for i in range(0, 300, 50)]

    def loss(outputs, inputs, labels):
        return torch.nn.functional.cross_entropy(outputs["digit"], labels["classes"]) + 0 * labels["where"].sum()

    found = run(tmp_path / "net.dcz", batches, two_heads(), loss=loss, validation=batches)
    assert found.after[0] < found.before[0] and found.after[1] is None
    with pytest.raises(InvalidArgument, match="labels for 'classes', which is no output .* a loss of your own"):
        run(tmp_path / "net.dcz", batches, two_heads())


@pytest.mark.parametrize("text", ["digit", "digit=a", "digit=-1", "=1", "digit=0", 3, ""])
def test_weights_that_are_none_are_refused(text):
    with pytest.raises(InvalidArgument, match="output_weights"):
        Recipe(output_weights=text)
