"""Pixels of 0 to 255 as the numbers that a network takes."""

import numpy as np
import pytest

from dcz.errors import InvalidArgument
from dcz.train import Pixels, Recipe, retrain
from tests.train.samples import convolutional, perceptron
from tests.train.test_images import channels_last

torch = pytest.importorskip("torch")

from dcz.train import Network
from dcz.train.data import open_data

IMAGE = torch.tensor([[[[0, 51]], [[102, 153]], [[204, 255]]]], dtype=torch.uint8)  # [1, 3, 1, 2]: red, green, blue


@pytest.mark.parametrize("text, expected", [
    ("0..1", [[0.0, 0.2], [0.4, 0.6], [0.8, 1.0]]),
    ("-1..1", [[-1.0, -0.6], [-0.2, 0.2], [0.6, 1.0]]),
    ("0..255, bgr", [[204, 255], [102, 153], [0, 51]]),
    ("0..255,mean=104/117/123,bgr", [[100, 151], [-15, 36], [-123, -72]]),
    ("0..1,mean=0.2,std=0.5", [[-0.4, 0.0], [0.4, 0.8], [1.2, 1.6]]),
    ("imagenet", [[-0.485 / 0.229, -0.285 / 0.229], [-0.056 / 0.224, 0.144 / 0.224], [0.394 / 0.225, 0.594 / 0.225]]),
])  # fmt: skip
def test_the_numbers_of_a_range(text, expected):
    found = Pixels.parse(text).apply(IMAGE, 1)
    assert found.dtype == torch.float32 and torch.allclose(found[0, :, 0], torch.tensor(expected).float(), atol=1e-4)


@pytest.mark.parametrize("text, words", [
    ("1", "begins with 0..1, -1..1, 0..255 or imagenet"), ("0..1,mean=a", "written as 0.5"), ("0..1,std=0", "std=0"),
    ("imagenet,mean=1", "imagenet has its own"), ("0..1,rgb", "not 'rgb'"), ("0..1,mean=inf", "finite"), (2, "a text"),
])  # fmt: skip
def test_what_is_no_range_is_refused(text, words):
    with pytest.raises(InvalidArgument, match=words):
        Recipe(pixels=text)


def test_channels_and_numbers_that_do_not_fit_are_refused():
    with pytest.raises(InvalidArgument, match="3 means or deviations for 2 channels"):
        Pixels.parse("imagenet").apply(IMAGE[:, :2], 1)
    with pytest.raises(InvalidArgument, match="0 to 255; the data have -1 to"):
        Pixels.parse("0..1").apply(IMAGE.float() - 1, 1)


@pytest.mark.parametrize("make, name, shape", [
    (convolutional, "x", (1, 6, 6)), (channels_last, "pixels", (6, 6, 1)),
])  # fmt: skip
@pytest.mark.parametrize("given", [(1, 6, 6), (6, 6, 1)])
def test_arrays_come_in_either_order_of_axes(make, name, shape, given):
    x = np.random.default_rng(0).integers(0, 256, (20, *given), np.uint8)
    training, held = open_data(Network(make()), Recipe(pixels="0..1", holdout=0.5), x, None, None)
    wanted = x[held.chosen].reshape(-1, *shape) / 255  # of one channel, both orders hold the same numbers
    ((inputs, _),) = held.epoch(0)
    assert np.allclose(inputs[name].numpy(), wanted) and len(training.chosen) == 10


def test_what_has_no_pixels_to_prepare_is_refused(tmp_path):
    x = np.zeros((20, 1, 6, 6), np.uint8)
    recipe = Recipe(sparsity=0.5, epochs=1, pixels="0..1")
    with pytest.raises(InvalidArgument, match="takes none: leave pixels out"):
        retrain(perceptron(), tmp_path / "net.dcz", np.zeros((20, 64)), recipe=recipe, force=True)
    with pytest.raises(InvalidArgument, match="batches of your own"):
        retrain(convolutional(), tmp_path / "net.dcz", [x], recipe=recipe, force=True)
    with pytest.raises(InvalidArgument, match=r"wants the shape \[n, \?, \?, \?\], the samples have \[20, 36\]"):
        retrain(convolutional(), tmp_path / "net.dcz", x.reshape(20, 36), recipe=recipe, force=True)
