"""Images among a network's inputs, and random changes of them while it trains.

    axes = image_axes(network)                                   {"x": (2, 3)}, height and width of [n, c, h, w]
    changed(images, (2, 3), augmentation, random)                flipped, shifted and cropped, each in its own way

An image input has four axes: [n, c, h, w], or [n, h, w, c] where the graph itself first moves the last axis forward.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import InvalidArgument
from ..model import Program
from .augmentation import Augmentation
from .batches import Labels
from .network import Network
from .pytorch import Tensor, torch

# Operators that change pixels one by one, as graphs do that normalise their inputs themselves.
PIXELWISE = ("Cast", "Identity", "Sub", "Add", "Mul", "Div", "BatchNormalization")
TO_CHANNELS_FIRST = [0, 3, 1, 2]
_STREAM = 0xA06  # keeps these random numbers apart from those that order the samples

Axes = tuple[int, int]  # of height and width


def image_axes(network: Network) -> dict[str, Axes]:
    """The axes of height and width of each input that has four axes, by name."""
    inputs = [each for each in network.program.inputs if each.shape is not None and len(each.shape) == 4]
    return {each.name: (1, 2) if _is_channels_last(network.program, each.name) else (2, 3) for each in inputs}


def _is_channels_last(program: Program, name: str) -> bool:
    """Whether the graph moves the last axis of an input to the second place before it does anything but arithmetic."""
    names = {name}
    for node in program.nodes:
        if not names & set(node.inputs):
            continue
        if node.op == "Transpose" and list(node.attributes.get("perm", [])) == TO_CHANNELS_FIRST:
            return True
        if node.op in PIXELWISE:
            names.update(node.outputs[:1])
    return False


class Augmenter:
    """Changes the images in the batches of an epoch; the seed, the epoch and a batch's place in it decide how.

    Raises InvalidArgument where the network has no image inputs.
    """

    def __init__(self, network: Network, augmentation: Augmentation, seed: int):
        self.network, self.augmentation, self.seed = network, augmentation, seed
        self.axes = image_axes(network)
        if not self.axes:
            shapes = ", ".join(f"{each.name} {_shape(each.shape)}" for each in network.program.inputs)
            raise InvalidArgument(
                f"augment changes images, [n, channels, height, width], and {network.place} takes {shapes}: "
                "leave it out"
            )

    def epoch(self, batches: Any, number: int) -> Iterator[tuple[dict[str, Tensor], Labels | None]]:
        """The batches of an epoch with their images changed; `batches` are Batches or a BatchStream.

        All images of a sample are changed alike. Raises InvalidArgument for labels with places of their own, such as
        maps and boxes, which would have to be changed with the images.
        """
        for place, (inputs, labels) in enumerate(batches.epoch(number)):
            each = list(labels.values()) if isinstance(labels, dict) else [] if labels is None else [labels]
            if shapes := [list(one.shape) for one in each if one.dim() > 2]:
                raise InvalidArgument(
                    f"augment moves images, but not labels of the shape {shapes[0]}: change both yourself, in "
                    "batches of your own (a function of the epoch, --batches)"
                )
            tensors = self.network.as_inputs(inputs)
            for name, axes in self.axes.items():
                random = np.random.default_rng([self.seed, number, place, _STREAM])
                tensors[name] = changed(tensors[name], axes, self.augmentation, random)
            yield tensors, labels


def changed(images: Tensor, axes: Axes, augmentation: Augmentation, random: np.random.Generator) -> Tensor:
    """Images (any numbers, samples along the first axis of four) after the changes that `random` draws for each.

    Pixels are copied, unless a crop asks for values between them: whole numbers are rounded then.
    """
    part = np.ones((len(images), 1))  # of both sides: the aspect ratio stays
    if augmentation.crop is not None:
        part = random.uniform(augmentation.crop, 1, part.shape)
    rows, columns = (_places(images.shape[axis], part, augmentation, random, axis == axes[1]) for axis in axes)
    result = _sampled(_sampled(images, rows, axes[0], augmentation.pad), columns, axes[1], augmentation.pad)
    return result if images.is_floating_point() else result.round().to(images.dtype)


def _places(
    size: int, part: np.ndarray, augmentation: Augmentation, random: np.random.Generator, is_width: bool
) -> np.ndarray:
    """Where each pixel along an axis comes from, for each image: float64 [n, size]; outside 0 to size - 1 is nowhere.

    `part` (float64 [n, 1]) of the axis is seen, at a random place; the centre of pixel p lies at p + 1/2.
    """
    places = np.tile(np.arange(size, dtype=np.float64), (len(part), 1))
    if is_width and augmentation.flip:
        places = np.where(random.integers(0, 2, part.shape) == 1, size - 1 - places, places)
    if augmentation.crop is not None:
        start = random.uniform(0, 1, part.shape) * (1 - part) * size
        places = np.clip(start + (places + 0.5) * part - 0.5, 0, size - 1)
    if augmentation.shift:
        places = places + random.integers(-augmentation.shift, augmentation.shift + 1, part.shape)
    return places


def _sampled(images: Tensor, places: np.ndarray, axis: int, pad: str) -> Tensor:
    """The values of images at places (float64 [n, size]) along an axis, linearly between pixels."""
    size = images.shape[axis]
    inside = (places >= 0) & (places <= size - 1)
    clipped = np.clip(places, 0, size - 1)
    below = np.floor(clipped).astype(np.int64)
    result = _gathered(images, below, axis)
    fraction = clipped - below
    if fraction.any():
        above = _gathered(images, np.minimum(below + 1, size - 1), axis)
        result = torch.lerp(result.float(), above.float(), _wide(fraction.astype(np.float32), axis, images))
    if pad == "zero" and not inside.all():
        result = torch.where(_wide(inside, axis, images), result, 0)
    return result


def _gathered(images: Tensor, indices: np.ndarray, axis: int) -> Tensor:
    """images[n, ..., indices[n, i], ...] along an axis; `indices` is int64 [n, size]."""
    return images.gather(axis, _wide(indices, axis, images).expand(images.shape))


def _wide(values: np.ndarray, axis: int, like: Tensor) -> Tensor:
    """[n, size] as [n, 1, ..., size, ..., 1], with `size` along `axis`, where `like` is."""
    shape = [1] * like.dim()
    shape[0], shape[axis] = values.shape
    return torch.from_numpy(values).to(like.device).reshape(shape)


def _shape(shape: tuple[int | str | None, ...] | None) -> str:
    return "of any shape" if shape is None else f"[{', '.join('?' if dim is None else str(dim) for dim in shape)}]"
