"""The data of a run of retraining, as people have them, as batches.

training, validation = open_data(network, recipe, "train.npz", "y", None)       a tenth held out
open_data(network, recipe, "photos", "class", None)                             a folder of images in subfolders
open_data(network, recipe, loader, None, None)                                  a DataLoader, a function of the epoch
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InvalidArgument
from ..evaluation import image_folder
from ..evaluation.samples import Samples, find_labels, open_samples, read_labels
from ..text import counted
from .batch_stream import BatchStream
from .batches import Batches
from .images import image_axes
from .network import Network
from .pixels import Pixels
from .pytorch import Tensor, torch
from .recipe import Recipe

Data = Batches | BatchStream
_PATHS = (str, os.PathLike)


def open_data(network: Network, recipe: Recipe, data: Any, labels: Any, validation: Any) -> tuple[Data, Data | None]:
    """(training, validation) batches of the arguments of `retrain`. Raises DczError where they do not fit."""
    opener = _Opener(network, recipe)
    training = opener.open(data, labels)
    if validation is None:
        return training.split(recipe.holdout) if isinstance(training, Batches) else (training, None)
    if not isinstance(validation, tuple):
        validation = (validation, opener.own_labels(validation, labels))
    elif len(validation) != 2:
        raise InvalidArgument("validation is data, or (data, labels)")
    held, held_labels = validation
    return training, opener.open(held, held_labels, shuffle=False)


class _Opener:
    def __init__(self, network: Network, recipe: Recipe):
        self.network, self.recipe = network, recipe
        self.names = [declared.name for declared in network.program.inputs]
        self.prepare = None if recipe.pixels is None else _PreparedPixels(network, Pixels.parse(recipe.pixels))

    def open(self, data: Any, labels: Any, shuffle: bool = True) -> Data:
        """Batches of what a caller gives as data and their labels."""
        if isinstance(data, _PATHS):
            samples = self._samples(data)
            selected = samples.of(self.names)

            def read(one: Any) -> Any:
                return _read_targets(one, samples, selected.count) if isinstance(one, _PATHS) else one

            data, labels = selected.arrays, _each(labels, read)
        elif isinstance(data, np.ndarray) or torch.is_tensor(data):
            data = {self.names[0]: data}
        if isinstance(data, Mapping):
            return self._of_arrays(data, labels, shuffle)
        if self.prepare is not None:
            raise InvalidArgument(
                "pixels are prepared in files and arrays; batches of your own bring what the model takes"
            )
        if labels is not None and not isinstance(labels, str):
            raise InvalidArgument("an iterable of batches brings its labels itself: let it give (inputs, labels)")
        return BatchStream(data, self.names, labels)

    def own_labels(self, validation: Any, labels: Any) -> Any:
        """The labels of validation data that were not given: those of the same name in them."""
        if labels is None or not isinstance(validation, (*_PATHS, np.ndarray, Mapping, torch.Tensor)):
            return labels if isinstance(labels, str) else None
        names = list(labels.values()) if isinstance(labels, Mapping) else [labels]
        if all(isinstance(name, _PATHS) for name in names):
            arrays: Any = validation if isinstance(validation, Mapping) else ()
            if isinstance(validation, _PATHS):
                is_folder = os.path.isdir(validation)
                arrays = {image_folder.CLASS} if is_folder else open_samples(validation).arrays
            if all(os.fspath(name) in arrays for name in names):
                return labels
        raise InvalidArgument(
            "the validation samples want labels of their own: give both, as validation and its labels"
        )

    def _samples(self, path: str | os.PathLike[str]) -> Samples:
        """The arrays of a file, or of a folder of images, whose pixels are those of the only input."""
        if not os.path.isdir(path):
            return open_samples(path)
        axes = image_axes(self.network)
        if len(self.names) != 1 or self.names[0] not in axes:
            raise InvalidArgument(
                f"{path}: a folder of images is for a model with one input, [n, channels, height, width]; "
                f"this one takes {', '.join(self.names)}: save an .npz"
            )
        if self.prepare is None:
            raise InvalidArgument(
                f"{path}: say what numbers the model takes for pixels: 0..1, -1..1, 0..255 or imagenet (the recipe's "
                "pixels, --pixels)"
            )
        ((height, width),) = axes.values()
        shape = [dim if isinstance(dim, int) else None for dim in self.network.program.inputs[0].shape or ()]
        channels = shape[_channel_axis((height, width))] or 3
        found = image_folder.open_image_folder(path, channels, (shape[height], shape[width]))
        names = {image_folder.PIXELS: self.names[0]}
        return Samples(found.path, {names.get(name, name): array for name, array in found.arrays.items()})

    def _of_arrays(self, data: Mapping[str, Any], labels: Any, shuffle: bool) -> Batches:
        if missing := set(self.names) - set(data):
            wanted = ", ".join(self.names)
            raise InvalidArgument(f"the data lacks the input {sorted(missing)[0]!r}; the model wants {wanted}")

        def array_of(one: Any) -> np.ndarray:
            if isinstance(one, _PATHS) and one not in data:
                raise InvalidArgument("labels are an array where the data are arrays, or the name of one of them")
            return np.asarray(data[os.fspath(one)] if isinstance(one, _PATHS) else one)

        labels = _each(labels, array_of)
        if isinstance(labels, Mapping) and (unknown := sorted(labels.keys() - set(self.network.outputs))):
            have = ", ".join(self.network.outputs)
            raise InvalidArgument(f"labels for {unknown[0]!r}, which is no output; the model has {have}")
        arrays = {name: np.asanyarray(data[name]) for name in self.names}
        size, seed = self.recipe.batch, self.recipe.seed
        return Batches(arrays, labels, size=size, seed=seed, shuffle=shuffle, prepare=self.prepare)


def _each(labels: Any, make: Any) -> Any:
    """Labels of one output, or of several by name, made into others."""
    if isinstance(labels, Mapping):
        return {name: make(one) for name, one in labels.items()}
    return None if labels is None else make(labels)


def _read_targets(labels: str | os.PathLike[str], samples: Samples, count: int) -> np.ndarray:
    """Labels by the name of an array or file: classes (int64), or any numbers, the samples along the first axis."""
    where, array = find_labels(labels, samples)
    if array.dtype.kind in "iu" and array.ndim and array.size == len(array):
        return read_labels(labels, samples, count)
    if array.dtype.kind not in "iuf":
        raise InvalidArgument(f"{where}: labels are numbers, not {array.dtype}")
    if array.ndim == 0 or len(array) != count:
        raise InvalidArgument(f"{where}: {len(array) if array.ndim else 'no'} labels for {counted(count, 'sample')}")
    return array


class _PreparedPixels:
    """Makes what the network takes of the pixels in a batch; raises InvalidArgument for a network without images."""

    def __init__(self, network: Network, pixels: Pixels):
        self.pixels, self.axes = pixels, image_axes(network)
        if not self.axes:
            raise InvalidArgument(f"pixels are those of images, and {network.place} takes none: leave pixels out")
        shapes = {declared.name: declared.shape or () for declared in network.program.inputs}
        self.channels = {name: shapes[name][_channel_axis(axes)] for name, axes in self.axes.items()}

    def __call__(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The inputs with their images, [n, h, w, c] or [n, c, h, w], in the network's order and range."""
        return {name: self._image(name, x) if name in self.axes else x for name, x in inputs.items()}

    def _image(self, name: str, images: Tensor) -> Tensor:
        axis, other = (1, 3) if _channel_axis(self.axes[name]) == 1 else (3, 1)
        channels = self.channels[name] if isinstance(self.channels[name], int) else 3
        if images.dim() != 4:
            raise InvalidArgument(f"pixels: input {name!r} has four axes, not {list(images.shape)}")
        if images.shape[axis] != channels and images.shape[other] == channels:
            images = images.movedim(other, axis)
        return self.pixels.apply(images, axis)


def _channel_axis(axes: tuple[int, int]) -> int:
    """The axis of channels beside those of height and width."""
    return 3 if axes == (1, 2) else 1
