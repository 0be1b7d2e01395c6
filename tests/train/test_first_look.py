"""What the original's first answers tell of the data, in words."""

import numpy as np
import pytest
from onnx import helper

from tests.models import model, normal, tensor
from tests.train.samples import clusters, layers

torch = pytest.importorskip("torch")

from dcz.train import Batches, Network, Recipe, doubts, retrain
from dcz.train.batch_stream import BatchStream

CLASSES = 5
TEMPLATES = np.random.default_rng(0).uniform(0, 1, (CLASSES, 3 * 4 * 4))


def classifier(low: float = 0.0, high: float = 1.0):
    """x [n, 3, 4, 4] of numbers from low to high -> y [n, 5]: how near each template is, sum(exp(-(5 (x - t))^2)).

    Like a trained network it takes one range: far from all templates, all are as far.
    """
    unit = high - low
    weights = [
        tensor("t", (TEMPLATES * unit + low).reshape(1, CLASSES, 48).astype(np.float32)),
        tensor("shape", np.array([-1, 1, 48])),
        tensor("five", np.full(1, 5 / unit, np.float32)),
        tensor("w", np.ones((48, 1), np.float32)),
        tensor("flat", np.array([-1, CLASSES])),
    ]
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["row"]),
        helper.make_node("Sub", ["row", "t"], ["d"]),
        helper.make_node("Mul", ["d", "five"], ["s"]),
        helper.make_node("Mul", ["s", "s"], ["q"]),
        helper.make_node("Neg", ["q"], ["m"]),
        helper.make_node("Exp", ["m"], ["e"]),
        helper.make_node("MatMul", ["e", "w"], ["near"]),
        helper.make_node("Reshape", ["near", "flat"], ["y"]),
    ]
    return Network(model(nodes, {"x": ["n", 3, 4, 4]}, {"y": ["n", CLASSES]}, weights))


def images(count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """x [n, 3, 4, 4] from 0 to 1, near the templates, and their classes."""
    random = np.random.default_rng(1)
    y = random.integers(0, CLASSES, count)
    x = TEMPLATES[y] + 0.15 * random.normal(size=(count, 48))
    return np.clip(x, 0, 1).reshape(-1, 3, 4, 4).astype(np.float32), y


X, Y = images()
BYTES = np.rint(255 * X).astype(np.uint8)


def of(network, x=X, y=Y) -> list[str]:
    return doubts(network, Batches({"x": x}, y, size=64))


def test_what_is_as_it_should_be_raises_no_doubt():
    assert of(classifier()) == of(classifier(), y=None) == []
    assert of(classifier(), X[:20], Y[:20]) == of(classifier(), X[:1], Y[:1]) == []


def test_shuffled_labels_are_no_better_than_chance():
    (doubt,) = of(classifier(), y=np.random.default_rng(2).permutation(Y))
    assert "of the first 200 labels, no more than chance (20" in doubt and "other samples (shuffled)" in doubt


@pytest.mark.parametrize("noise", [0, 0.2])
def test_classes_in_another_order_are_told_from_shuffled_ones(noise):
    y = (Y + 1) % CLASSES
    wrong = np.random.default_rng(3).random(len(y)) < noise
    y[wrong] = np.random.default_rng(4).integers(0, CLASSES, wrong.sum())
    (doubt,) = of(classifier(), y=y)
    assert "count the classes in another order" in doubt and "renumbered so it is right on" in doubt
    assert any(f"calls {k} is mostly labelled {(k + 1) % CLASSES}" in doubt for k in range(CLASSES))


@pytest.mark.parametrize("low, high, pixels", [(0, 1, "0..1"), (-1, 1, "-1..1")])
def test_images_of_0_to_255_are_told_with_the_range_in_which_the_model_is_right(low, high, pixels):
    (doubt,) = of(classifier(low, high), BYTES)
    assert f"from 0 to 255: with pixels {pixels} the model is right on 100% of the first 128 labels" in doubt
    assert doubt.endswith("say so (the recipe's pixels, --pixels)")


def test_images_of_0_to_1_for_a_network_of_0_to_255_are_told():
    (doubt,) = of(classifier(0, 255))
    assert "from 0 to 1: with pixels 0..255 the model is right on 100%" in doubt and "give pixels of 0 to 255" in doubt
    assert of(classifier(0, 255), BYTES) == []


def always(number: int) -> Network:
    """x [n, 3, 4, 4] -> y [n, 5], of which one is always the greatest."""
    weights = [tensor("w", normal(48, CLASSES) * 0.01), tensor("b", np.eye(CLASSES, dtype=np.float32)[number] * 100)]
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w", "b"], ["y"])]
    return Network(model(nodes, {"x": ["n", 3, 4, 4]}, {"y": ["n", CLASSES]}, weights))


def test_a_model_that_always_gives_one_class_is_told():
    (doubt,) = of(always(3), y=None)
    assert doubt.startswith("for all of the first 200 samples the model gives the class 3") and "0 to 1 (see" in doubt
    (doubt,) = of(always(3), 3 * X - 1)  # of no range of pixels
    assert "no more than chance" in doubt and doubt.endswith("may not be prepared as it expects")
    assert of(always(3), X[:20], None) == []  # too few to tell


def test_an_embedding_has_no_class_that_could_always_be_the_same():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["a"])]
    weights = [tensor("w", normal(8, 5)), tensor("b", np.array([0, 0, 99, 0, 0], np.float32))]
    data = Batches({"x": normal(200, 8)})
    for last, count in (("Identity", 1), ("LpNormalization", 0)):
        proto = model([*nodes, helper.make_node(last, ["a"], ["y"])], {"x": ["n", 8]}, {"y": ["n", 5]}, weights)
        assert len(doubts(Network(proto), data)) == count


@pytest.mark.parametrize("y, words", [
    (np.full(200, 4), "all of the first 200 labels are the class 4: there is nothing to tell apart"),
    (np.eye(CLASSES)[np.full(200, 2)], "all of the first 200 labels are the class 2"),
    (np.full((200, CLASSES), 0.5), "all labels of the first 200 samples are 0.5"),
])  # fmt: skip
def test_labels_that_are_all_the_same_are_told(y, words):
    (doubt,) = of(classifier(), y=y)
    assert words in doubt


def test_the_first_of_the_callers_batches_are_looked_at_and_no_more():
    seen = []

    def batches(epoch):
        for number in range(100):
            seen.append(number)
            yield X, np.zeros(200, int) if number < 3 else Y

    (doubt,) = doubts(classifier(), BatchStream(batches))
    assert "first 600 labels are the class 0" in doubt and len(seen) == 3


def test_a_loader_that_gives_other_samples_each_time_is_judged_by_the_same_ones():
    given = []

    def batches(epoch):
        given.append(len(given))
        chosen = np.random.default_rng(len(given)).integers(0, 200, 150)
        yield BYTES[chosen], np.where(np.random.default_rng(len(given)).random(150) < 0.3, -100, Y[chosen])

    (doubt,) = doubts(classifier(-1, 1), BatchStream(batches))
    assert "with pixels -1..1 the model is right on 100%" in doubt


def test_labels_of_a_loss_of_ones_own_are_left_to_it():
    assert of(classifier(), y=np.where(np.arange(200) % 2, Y, -100)) == []  # -100: left out, as by PyTorch
    assert of(classifier(), y=np.random.default_rng(0).random((200, 3, 4))) == []


def test_a_run_notes_its_doubts_and_warns(tmp_path):
    x, y = clusters(300)
    told = []
    recipe = Recipe(sparsity=0.5, epochs=1, threads=1)
    shuffled = np.random.default_rng(0).permutation(y)
    found = retrain(layers(), tmp_path / "net.dcz", x, labels=shuffled, recipe=recipe, warn=told.append, force=True)
    assert "no more than chance" in found.notes[0] and told == list(found.notes)
