"""Samples for a model out of images.

made = image_samples("images", "net.onnx", PRESETS["imagenet"])     made.samples.arrays["x"]: float32 [n, 3, 224, 224]
made.doubts                                                          sentences, where the answers speak against it
"""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InvalidArgument
from ..files import temporary
from . import judging, runtime
from .batches import evenly_spaced
from .image_folder import CLASS, MODES, list_images, read_image
from .predictor import Predictor, open_session
from .preprocessing import LAYOUTS, PRESETS, Preprocessing
from .samples import Samples


@dataclass(frozen=True)
class ImageInput:
    """The input of a model that takes images; `size` is (height, width), None where that is open."""

    name: str
    channels: int
    size: tuple[int | None, int | None]
    layout: str
    dtype: np.dtype


@dataclass(frozen=True)
class ImageSamples:
    """Samples from images, and what they are like.

    `files`: where each comes from. `channels`: of each channel of the network (minimum, mean, maximum). `answers`: of
    the classifier to them, by the name of a preprocessing, "" being the one chosen; empty where it is none. `doubts`:
    sentences.
    """

    samples: Samples
    input: ImageInput
    preprocessing: Preprocessing
    files: tuple[Path, ...]
    channels: tuple[tuple[float, float, float], ...]
    answers: dict[str, judging.Answers]
    doubts: tuple[str, ...]


def image_samples(
    folder: str | os.PathLike[str],
    model: str | os.PathLike[str],
    preprocessing: Preprocessing | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    layout: str | None = None,
    limit: int | None = None,
    threads: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> ImageSamples:
    """The images below `folder` (or one file) as samples of a `.dcz` or `.onnx` model.

    `preprocessing`: by default that of ImageNet's networks, or pixels of 0 to 255 where the input takes whole numbers;
    `changes` are fields of it that are others.
    `layout` ("nchw", "nhwc") is needed where the model leaves its channels open.
    `limit`: so many images at most, evenly out of all. Where all lie in subfolders, the samples have their number as
    the array "class", too. `progress` gets a file's name, the images done, and those in all. Raises DczError.
    """
    files, classes = list_images(folder)
    chosen = evenly_spaced(np.arange(len(files)), limit or len(files))
    files = [files[number] for number in chosen]
    with open_session(model, threads) as (session, kinds):
        taken = _image_input(session, os.fspath(model), layout)
        if preprocessing is None:
            preprocessing = PRESETS["imagenet" if taken.dtype.kind == "f" else "0..255"]
        preprocessing = replace(preprocessing, **(changes or {}))
        maker = Maker(taken, preprocessing)
        array = _stored(maker, files, progress)
        arrays = {taken.name: array}
        if classes is not None and taken.name != CLASS:
            arrays[CLASS] = classes[chosen]
        judged = [files[number] for number in evenly_spaced(np.arange(len(files)), judging.JUDGED)]
        predictor = Predictor(os.fspath(model), session, Samples("the images", {taken.name: array}), None, kinds)
        pixels = [maker.pixels(file) for file in judged]
        answers = judging.answers(predictor, preprocessing, taken.channels, lambda way: maker.batch(pixels, way))
    doubts = tuple(judging.doubts(answers, len(judged), os.fspath(model)))
    samples = Samples(os.fspath(folder), arrays)
    return ImageSamples(samples, taken, preprocessing, tuple(files), _channels(array, taken), answers, doubts)


@dataclass(frozen=True)
class Maker:
    """Makes arrays of images for an input."""

    input: ImageInput
    preprocessing: Preprocessing

    def pixels(self, file: Path) -> np.ndarray:
        """An image of the size that the network takes: uint8 [height, width, channels]."""
        resize, crop = self.preprocessing.target(self.input.size)
        how = self.preprocessing.fit, self.preprocessing.filter
        return read_image(file, self.input.channels, resize, crop, *how)

    def numbers(self, pixels: np.ndarray) -> np.ndarray:
        """The same as the network takes it."""
        return self.preprocessing.numbers(pixels, self.input.dtype, self.input.layout)

    def batch(self, images: Sequence[np.ndarray], preprocessing: Preprocessing) -> Samples:
        """Images as samples, prepared in some way."""
        arrays = [preprocessing.numbers(pixels, self.input.dtype, self.input.layout) for pixels in images]
        return Samples("the images", {self.input.name: np.stack(arrays)})


def _image_input(session: runtime.Session, path: str, layout: str | None) -> ImageInput:
    """The input that takes images; raises InvalidArgument where it is not known which, or how."""
    inputs = session.get_inputs()
    found = [each for each in inputs if len(each.shape) == 4]
    if len(found) != 1 or len(inputs) > 1:
        shapes = ", ".join(f"{each.name!r} {each.shape}" for each in inputs)
        is_text = all(len(each.shape) == 2 and "int" in each.type for each in inputs)
        way = "; if that is text, give a text and --tokenizer" if is_text else ""
        raise InvalidArgument(f"{path}: takes {shapes}, and not just images{way}; or save an .npz of what it takes")
    (taken,) = found
    dims = [dim if isinstance(dim, int) and dim > 0 else None for dim in taken.shape]
    if layout is None:
        fits = [each for each in LAYOUTS if dims[1 if each == "nchw" else 3] in MODES]
        if len(fits) != 1:
            shape = ", ".join(map(str, taken.shape))
            raise InvalidArgument(f"{path}: where the channels of {taken.name!r} [{shape}] are is not known: "
                                  "give --layout nchw or nhwc")  # fmt: skip
        layout = fits[0]
    elif layout not in LAYOUTS:
        raise InvalidArgument(f"a layout is one of {', '.join(LAYOUTS)}, not {layout!r}")
    channels = dims[1 if layout == "nchw" else 3] or 3
    if channels not in MODES:
        shape = ", ".join(map(str, taken.shape))
        what = f"{path}: {taken.name!r} [{shape}] has {channels} channels as {layout}"
        raise InvalidArgument(f"{what}, and images have 1 or 3; give another --layout, or save an .npz")
    size = (dims[2], dims[3]) if layout == "nchw" else (dims[1], dims[2])
    dtype = np.dtype(runtime.TYPES.get(taken.type, np.void))
    if dtype.kind not in "fiu":
        raise InvalidArgument(f"{path}: {taken.name!r} takes {taken.type}, which no images are")
    return ImageInput(taken.name, channels, size, layout, dtype)


def _stored(maker: Maker, files: Sequence[Path], progress: Callable[[str, int, int], None] | None) -> np.ndarray:
    """The images as one array, in a temporary file that is mapped."""
    first = maker.numbers(maker.pixels(files[0]))
    with temporary(nbytes=len(files) * first.nbytes), tempfile.TemporaryFile(prefix="dcz-images-") as store:
        for number, file in enumerate(files):
            store.write((maker.numbers(maker.pixels(file)) if number else first).tobytes())
            if progress is not None:
                progress(file.name, number + 1, len(files))
        store.flush()
        return np.memmap(store, first.dtype, "r", 0, (len(files), *first.shape))  # it outlives the file's name


def _channels(array: np.ndarray, taken: ImageInput) -> tuple[tuple[float, float, float], ...]:
    axis = 1 if taken.layout == "nchw" else 3
    parts = (np.take(array, channel, axis) for channel in range(taken.channels))
    return tuple((float(part.min()), float(part.mean(dtype=np.float64)), float(part.max())) for part in parts)
