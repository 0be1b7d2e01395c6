"""The data of a run of retraining, as people have them, as batches.

training, validation = open_data(network, recipe, "train.npz", "y", None)       a tenth held out
open_data(network, recipe, "sentences", "y", None)                              a folder of .npz files, a sample each
open_data(network, recipe, "photos", "class", None)                             a folder of images in subfolders
open_data(network, recipe, loader, None, None)                                  a DataLoader, a function of the epoch

Samples come as for calibration (evaluation.given); batches of the caller's own stay as they are (BatchStream).
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import DczError, InvalidArgument, told
from ..evaluation import given, image_folder
from ..evaluation.feed import Feed
from ..evaluation.gathered import gather
from ..evaluation.given import GIVEN, OWN_LABELS, BatchAxis, as_array, as_samples
from ..evaluation.samples import Samples
from .batch_stream import BatchStream
from .batches import Batches
from .images import image_axes
from .layout import DeclaredInput, Layout, declared_inputs, find_layout, symbol_axes
from .network import Network
from .pixels import Pixels
from .prepared_pixels import PreparedPixels, channel_axis
from .pytorch import torch
from .recipe import Recipe
from .sample_labels import PATHS, read_targets

Data = Batches | BatchStream


def open_data(
    network: Network, recipe: Recipe, data: Any, labels: Any, validation: Any, batch_axis: BatchAxis | None = None
) -> tuple[Data, Data | None]:
    """(training, validation) batches of the arguments of `retrain`. Raises DczError where they do not fit."""
    opener = _Opener(network, recipe, batch_axis)
    training = opener.open(data, labels)
    if validation is None:
        return training.split(recipe.holdout) if isinstance(training, Batches) else (training, None)
    if isinstance(validation, tuple) and len(validation) != 2:
        raise InvalidArgument("validation is data, or (data, labels)")
    if isinstance(validation, tuple):
        return training, opener.open(validation[0], validation[1], shuffle=False)
    return training, opener.open(validation, labels, shuffle=False, own_labels=True)


class _Opener:
    """Opens what callers give as data of `network`, training and validation alike."""

    def __init__(self, network: Network, recipe: Recipe, batch_axis: BatchAxis | None):
        self.network, self.recipe, self.batch_axis = network, recipe, batch_axis
        self.inputs = declared_inputs(network.program)
        self.names = [each.name for each in self.inputs]
        self.scalars = {each.name for each in network.program.inputs if each.shape == ()}
        self.prepare = None if recipe.pixels is None else PreparedPixels(network, Pixels.parse(recipe.pixels))

    def open(self, data: Any, labels: Any, shuffle: bool = True, own_labels: bool = False) -> Data:
        """Batches of what a caller gives as data and their labels; with `own_labels` these are those of other data,
        and stand for arrays of the same name."""
        if isinstance(data, PATHS):
            samples = self._samples_at(data)
        elif isinstance(data, (np.ndarray, Mapping)) or torch.is_tensor(data):
            samples = as_samples(data)
        elif (found := self._gathered(data, labels)) is not None:
            samples, labels = found
        else:
            return self._stream(data, labels if isinstance(labels, str) or not own_labels else None)
        if own_labels and labels is not None and not _are_names(labels, samples):
            raise InvalidArgument(
                "the validation samples want labels of their own: give both, as validation and its labels"
            )
        return self._of_samples(samples, labels, shuffle)

    def _of_samples(self, samples: Samples, labels: Any, shuffle: bool) -> Batches:
        feed = self._feed(samples)
        if isinstance(labels, Mapping):
            if not labels:
                raise InvalidArgument("labels are a dict by the names of outputs, and this one is empty")
            if unknown := sorted(labels.keys() - set(self.network.outputs)):
                have = ", ".join(self.network.outputs)
                raise InvalidArgument(f"labels for {unknown[0]!r}, which is no output; the model has {have}")
            targets: Any = {name: read_targets(one, samples, feed) for name, one in labels.items()}
        else:
            targets = None if labels is None else read_targets(labels, samples, feed)
        layout = find_layout(self.network.program, feed.axes, lambda count: self._output_shapes(feed, count))
        size, seed = self.recipe.batch, self.recipe.seed
        return Batches(feed, targets, size=size, seed=seed, shuffle=shuffle, prepare=self.prepare, layout=layout)

    def _output_shapes(self, feed: Feed, count: int) -> dict[str, torch.Size] | None:
        """The shapes of the outputs for the first sample, so many times; None where the network does not take that."""
        try:
            inputs = feed.inputs(np.zeros(1, np.int64))
        except DczError:
            return None
        return self._shapes_for(Layout(feed.axes), inputs, count)

    def _shapes_for(self, layout: Layout, inputs: Any, count: int) -> dict[str, torch.Size] | None:
        """The same for the first sample of a batch."""
        self.network.layout = layout
        try:
            tensors = self.network.as_inputs(inputs)
            axes = {name: layout.inputs.get(name, 0) for name in tensors}
            rows = torch.zeros(count, dtype=torch.int64, device=self.network.device)
            repeated = {
                name: tensors[name]
                if axis is None or axis >= tensors[name].dim()
                else tensors[name].index_select(axis, rows)
                for name, axis in axes.items()
            }
            with torch.no_grad():
                outputs = self.network(repeated)
        except DczError:
            return None
        return {name: output.shape for name, output in outputs.items()}

    def _feed(self, samples: Samples) -> Feed:
        """The samples as the network takes them, their images as they are where these are to be prepared."""
        images = {} if self.prepare is None else self.prepare.axes
        inputs = [_any_image(each) if each.name in images else each for each in self.inputs]
        if self.batch_axis is not None:
            samples = as_samples(samples, self.batch_axis)
        return Feed(self.network.place, inputs, samples, self.scalars, any_batch=True)

    def _stream(self, data: Any, labels: Any) -> BatchStream:
        """Batches of the caller's own."""
        if self.prepare is not None:
            raise InvalidArgument(
                "pixels are prepared in files and arrays; batches of your own bring what the model takes"
            )
        if labels is not None and not isinstance(labels, str):
            raise InvalidArgument(
                "an iterable of batches brings its labels itself: let it give (inputs, labels); where each entry is a "
                "sample, give a list of arrays or dicts"
            )
        axes = symbol_axes(self.network.place, self.inputs, self.batch_axis or {})
        stream = BatchStream(data, self.names, labels)

        def probe(count: int) -> dict[str, torch.Size] | None:
            inputs, _ = next(stream.epoch(0), (None, None))
            return None if inputs is None else self._shapes_for(Layout(axes), inputs, count)

        stream.layout = find_layout(self.network.program, axes, probe)
        return stream

    def _gathered(self, data: Any, labels: Any) -> tuple[Samples, Any] | None:
        """Of a list or data set whose entries are a sample each, the samples and their labels; None for batches."""
        if callable(data) or not isinstance(data, given.Indexed):
            return None
        if isinstance(data, (list, tuple)) and not data:
            raise InvalidArgument("the data are an empty list: give one sample at least")
        try:
            with told("the data fail"):
                if not len(data):
                    return None
                is_named = isinstance(labels, str) and isinstance(data[0], Mapping) and labels in data[0]
                own = labels if is_named else None
                entries = BatchStream(lambda: (data[number] for number in range(len(data))), self.names, own)
                first = self._named(*next(entries.epoch(0)))
                is_one = self._feed(Samples(GIVEN, first)).count == 1
        except DczError:  # which is told where they are taken for batches
            return None
        if not is_one:
            return None
        parts = ((f"sample {number} of {GIVEN}", self._named(*entry)) for number, entry in enumerate(entries.epoch(0)))
        samples = gather(GIVEN, parts)
        labelled = {name.removeprefix(_OF): name for name in samples.arrays if name.startswith(_OF)}
        return samples, labelled or (OWN_LABELS if OWN_LABELS in samples.arrays else labels)

    def _named(self, inputs: Any, labels: Any) -> dict[str, np.ndarray]:
        """The arrays of an entry, its labels among them."""
        arrays = dict(inputs) if isinstance(inputs, Mapping) else {self.names[0]: inputs}
        if isinstance(labels, Mapping):
            arrays |= {f"{_OF}{name}": label for name, label in labels.items()}
        elif labels is not None:
            arrays[OWN_LABELS] = labels
        return {str(name): as_array(array) for name, array in arrays.items()}

    def _samples_at(self, path: str | os.PathLike[str]) -> Samples:
        """The arrays of a file, or of a folder of files; or of one of images, whose pixels are those of the only
        input."""
        if not os.path.isdir(path):
            return as_samples(path)
        axes = image_axes(self.network)
        takes_images = len(self.names) == 1 and self.names[0] in axes
        has_images = image_folder.holds_images(path)
        if not (has_images and takes_images) and (given.holds_arrays(path) or not (has_images or takes_images)):
            return as_samples(path)
        if not takes_images:
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
        channels = shape[channel_axis((height, width))] or 3
        found = image_folder.open_image_folder(path, channels, (shape[height], shape[width]))
        names = {image_folder.PIXELS: self.names[0]}
        return Samples(found.path, {names.get(name, name): array for name, array in found.arrays.items()})


_OF = "the labels of "  # before an output's name, where entries have labels of several


def _any_image(declared: DeclaredInput) -> DeclaredInput:
    """An input of images of any size and order of axes."""
    return replace(declared, shape=[declared.shape[0], None, None, None], type="tensor(float)")


def _are_names(labels: Any, samples: Samples) -> bool:
    """Whether labels are names of arrays that the samples have."""
    names = list(labels.values()) if isinstance(labels, Mapping) else [labels]
    return all(isinstance(name, PATHS) and os.fspath(name) in samples.arrays for name in names)
