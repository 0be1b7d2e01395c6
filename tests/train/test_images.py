"""Training images that are changed at random."""

import numpy as np
import pytest
from onnx import helper

from dcz.errors import InvalidArgument
from dcz.train import Augmentation, Recipe, retrain
from tests.models import normal, tensor
from tests.train.samples import convolutional, perceptron

torch = pytest.importorskip("torch")

from dcz.train import Augmenter, Batches, Network, image_axes
from dcz.train.batch_stream import BatchStream
from dcz.train.images import changed

IMAGE = torch.arange(1.0, 13.0).reshape(1, 1, 3, 4)  # 1 to 12, four in a row


class Drawn:
    """Random numbers that a test chooses, in the order in which they are asked for."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def integers(self, low, high, shape):
        assert low <= self.numbers[0] < high
        return np.full(shape, self.numbers.pop(0))

    def uniform(self, low, high, shape):
        return low + (high - low) * np.full(shape, self.numbers.pop(0), np.float64)


@pytest.mark.parametrize("text, expected", [
    ("flip", Augmentation(flip=True)),
    ("flip, shift=3", Augmentation(flip=True, shift=3)),
    ("crop=80%,pad=zero", Augmentation(crop=0.8, pad="zero")),
    ("crop=0.5,shift=0", Augmentation(crop=0.5)),
])  # fmt: skip
def test_an_augmentation_is_a_text(text, expected):
    assert Augmentation.parse(text) == expected


@pytest.mark.parametrize("text, words", [
    ("", "some of flip"), ("flip=1", "not 'flip=1'"), ("turn", "not 'turn'"), ("shift", "not 'shift'"),
    ("flip,flip", "flip twice"), ("shift=a", "whole number of pixels"), ("shift=-1", "from 0 to 1024"),
    ("crop=0", "from 1% to 100%"), ("crop=nan", "from 1% to 100%"), ("crop=x", "no percentage"),
    ("pad=mirror", "edge, zero"), (3, "a text"),
])  # fmt: skip
def test_what_is_no_augmentation_is_refused_with_what_is(text, words):
    with pytest.raises(InvalidArgument, match=words):
        Recipe(augment=text)


@pytest.mark.parametrize("augmentation, drawn, rows", [
    ("flip", [1], [[4, 3, 2, 1], [8, 7, 6, 5], [12, 11, 10, 9]]),
    ("flip", [0], [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]),
    ("shift=2", [1, -2], [[5, 5, 5, 6], [9, 9, 9, 10], [9, 9, 9, 10]]),
    ("shift=2,pad=zero", [1, -2], [[0, 0, 5, 6], [0, 0, 9, 10], [0, 0, 0, 0]]),
    ("flip,shift=1", [0, 1, -1], [[3, 2, 1, 1], [7, 6, 5, 5], [11, 10, 9, 9]]),  # mirrored, then moved
])  # fmt: skip
def test_pixels_go_where_the_numbers_say(augmentation, drawn, rows):
    found = changed(IMAGE, (2, 3), Augmentation.parse(augmentation), Drawn(*drawn))
    assert found[0, 0].tolist() == rows


@pytest.mark.parametrize("start, top", [(0, 0), (1, 1)])
def test_a_crop_is_scaled_back_by_linear_interpolation(start, top):
    """Half of each side, at the top left or the bottom right: centres of pixels lie at halves."""
    found = changed(IMAGE, (2, 3), Augmentation(crop=0.5), Drawn(0, start, start))
    rows = np.clip(start * 1.5 + (np.arange(3) + 0.5) / 2 - 0.5, 0, 2)
    columns = np.clip(start * 2 + (np.arange(4) + 0.5) / 2 - 0.5, 0, 3)
    assert np.allclose(found[0, 0].numpy(), 1 + 4 * rows[:, None] + columns)  # what IMAGE is between its pixels


def test_whole_numbers_stay_whole():
    found = changed(IMAGE.to(torch.uint8), (2, 3), Augmentation(crop=0.5), Drawn(0, 0, 0))
    assert found.dtype == torch.uint8 and found[0, 0, 0].tolist() == [1, 1, 2, 2]


def test_channels_move_together_and_images_each_by_themselves():
    images = torch.rand(64, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    found = changed(images, (2, 3), Augmentation.parse("flip,shift=2"), np.random.default_rng(0))
    alone = changed(images[:, 1:2], (2, 3), Augmentation.parse("flip,shift=2"), np.random.default_rng(0))
    assert torch.equal(found[:, 1:2], alone)
    flipped = changed(images, (2, 3), Augmentation(flip=True), np.random.default_rng(0))
    same = (flipped == images).flatten(1).all(1)
    assert torch.equal(flipped[~same], images[~same].flip(3)) and 20 < int(same.sum()) < 44


def channels_last():
    """x [n, 6, 6, 1] -> minus 1 -> Transpose to [n, 1, 6, 6] -> the convolutional network."""
    made = convolutional()
    made.graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", 1, ["n", 6, 6, 1]))
    made.graph.initializer.append(tensor("one", np.ones(1, np.float32)))
    first = [
        helper.make_node("Sub", ["pixels", "one"], ["centred"]),
        helper.make_node("Transpose", ["centred"], ["x"], perm=[0, 3, 1, 2]),
    ]
    nodes = [*first, *made.graph.node]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def test_the_graph_says_where_height_and_width_are():
    assert image_axes(Network(convolutional())) == {"x": (2, 3)}
    assert image_axes(Network(channels_last())) == {"pixels": (1, 2)}
    assert image_axes(Network(perceptron())) == {}


def images_of(number: int, count: int = 12, seed: int = 0, network=None) -> torch.Tensor:
    x = normal(count, 1, 6, 6)
    augmenter = Augmenter(network or Network(convolutional()), Augmentation.parse("flip,shift=1"), seed)
    batches = Batches({"x": x}, size=4, shuffle=False)
    return torch.cat([inputs["x"] for inputs, _ in augmenter.epoch(batches, number)])


def test_an_epoch_is_a_function_of_the_seed_and_its_number():
    assert torch.equal(images_of(1), images_of(1))
    assert not torch.equal(images_of(1), images_of(2)) and not torch.equal(images_of(1), images_of(1, seed=1))


def test_batches_of_the_callers_are_changed_too():
    x = normal(12, 1, 6, 6)
    augmenter = Augmenter(Network(convolutional()), Augmentation.parse("flip,shift=1"), 0)
    found = torch.cat([inputs["x"] for inputs, _ in augmenter.epoch(BatchStream([x[:4], x[4:8], x[8:]]), 1)])
    assert torch.equal(found, images_of(1))


X = normal(60, 1, 6, 6, seed=1).astype(np.float32)
RECIPE = {"sparsity": 0.5, "bits": 4, "epochs": 2, "share_epochs": 1, "batch": 16, "threads": 1}


def test_validation_samples_and_distillations_targets_see_the_same_images(tmp_path):
    """The first validation is that of a run without changes; what is learned differs."""
    found = [
        retrain(convolutional(), tmp_path / "net.dcz", X, recipe=Recipe(**RECIPE, augment=augment), force=True)
        for augment in (None, "flip,shift=2,crop=80%", "flip,shift=2,crop=80%")
    ]
    assert found[0].before == found[1].before and found[1].epochs == found[2].epochs != found[0].epochs


def test_a_run_that_is_stopped_goes_on_to_the_same_bytes(tmp_path):
    recipe = Recipe(**RECIPE | {"epochs": 3}, augment="flip,shift=2")
    retrain(convolutional(), tmp_path / "whole.dcz", X, recipe=recipe, force=True)

    def stop(state):
        if state.is_end and state.epoch == 2:
            raise KeyboardInterrupt

    options = {"recipe": recipe, "checkpoint": tmp_path / "net.checkpoint"}
    with pytest.raises(KeyboardInterrupt):
        retrain(convolutional(), tmp_path / "net.dcz", X, progress=stop, **options, force=True)
    retrain(convolutional(), tmp_path / "net.dcz", X, **options, force=True)
    assert (tmp_path / "net.dcz").read_bytes() == (tmp_path / "whole.dcz").read_bytes()


def test_what_has_no_images_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match=r"augment changes images, .* takes x \[n, 64\]: leave it out"):
        retrain(perceptron(), tmp_path / "net.dcz", normal(60, 64), recipe=Recipe(**RECIPE, augment="flip"), force=True)


def test_labels_that_would_move_too_are_refused(tmp_path):
    shape = tensor("shape", np.array([-1, 2, 5]))
    made = convolutional()
    made.graph.node[-1].output[0] = "flat"
    made.graph.node.append(helper.make_node("Reshape", ["flat", "shape"], ["y"]))
    made.graph.initializer.append(shape)
    made.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, ["n", 2, 5]))
    with pytest.raises(InvalidArgument, match=r"not labels of the shape \[16, 2, 1\]"):
        retrain(
            made,
            tmp_path / "net.dcz",
            X,
            labels=np.zeros((60, 2, 1), int),
            recipe=Recipe(**RECIPE, augment="flip"),
            force=True,
        )
