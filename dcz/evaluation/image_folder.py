"""Samples from a folder of images, with the folders in it as their classes.

    photos/cat/1.jpg  photos/cat/2.jpg  photos/dog/1.png     ->   pixels uint8 [3, height, width, 3], class 0 0 1

A class is the number that a subfolder is named by, or, where not all are numbers, its place among the sorted names.
Images are decoded once, into a temporary file that is mapped into memory. Needs Pillow.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileAccess, InvalidArgument, MissingBackend
from ..files import temporary
from .samples import Samples

PIXELS, CLASS = "pixels", "class"  # the arrays' names
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
MODES = {1: "L", 3: "RGB"}  # Pillow's, by the number of channels


def open_image_folder(
    path: str | os.PathLike[str], channels: int = 3, size: tuple[int | None, int | None] = (None, None)
) -> Samples:
    """The images below a folder, in the order of their paths: PIXELS, uint8 [n, height, width, channels], and, where
    all lie in subfolders, CLASS, int64 [n].

    `size` is (height, width): images of another one are scaled, keeping their aspect ratio, until they cover it, and
    cropped about the centre; where a dim is None, all images must have the same. Raises FileAccess, MissingBackend
    without Pillow, or InvalidArgument for a folder without images, one that is damaged, or sizes that differ.
    """
    folder = Path(path)
    files = _files(folder)
    if channels not in MODES:
        raise InvalidArgument(f"{folder}: images have 1 or 3 channels, and the network wants {channels}; save an .npz")
    first = _pixels(files[0], channels, size)
    with temporary(nbytes=len(files) * first.nbytes), tempfile.TemporaryFile(prefix="dcz-images-") as store:
        for number, file in enumerate(files):
            pixels = _pixels(file, channels, size) if number else first
            if pixels.shape != first.shape:
                raise InvalidArgument(
                    f"{file}: {pixels.shape[1]} x {pixels.shape[0]} pixels, {files[0]} has {first.shape[1]} x "
                    f"{first.shape[0]}: the network takes any size, so give images of one"
                )
            store.write(pixels.tobytes())
        store.flush()
        mapped = np.memmap(store, np.uint8, "r", 0, (len(files), *first.shape))  # it outlives the file's name
    arrays: dict[str, np.ndarray] = {PIXELS: mapped}
    if (classes := _classes(folder, files)) is not None:
        arrays[CLASS] = classes
    return Samples(os.fspath(path), arrays)


def _files(folder: Path) -> list[Path]:
    """The images below a folder, by their paths."""
    try:
        files = sorted(each for each in folder.rglob("*") if each.suffix.lower() in SUFFIXES and each.is_file())
    except OSError as error:
        raise FileAccess(f"{folder}: cannot be read: {error.strerror or error}") from error
    if not files:
        raise InvalidArgument(f"{folder}: no images there; those with the suffixes {', '.join(sorted(SUFFIXES))} are")
    return files


def _classes(folder: Path, files: Sequence[Path]) -> np.ndarray | None:
    """The class of each image by its subfolder; None where an image lies in the folder itself."""
    parts = [file.relative_to(folder).parts for file in files]
    if any(len(each) < 2 for each in parts):
        return None
    names = sorted({each[0] for each in parts})
    are_numbers = all(name.isdecimal() for name in names)
    numbers = {name: int(name) if are_numbers else place for place, name in enumerate(names)}
    return np.array([numbers[each[0]] for each in parts], np.int64)


def _pixels(file: Path, channels: int, size: tuple[int | None, int | None]) -> np.ndarray:
    """An image, uint8 [height, width, channels]."""
    image_module, ops = _pillow()
    try:
        with image_module.open(file) as image:
            mode = image.mode
            upright = ops.exif_transpose(image).convert(MODES[channels])
            height, width = (wanted or have for wanted, have in zip(size, upright.size[::-1], strict=True))
            if upright.size != (width, height):
                upright = ops.fit(upright, (width, height), image_module.Resampling.BILINEAR)
    except Exception as error:  # Pillow raises its own, and those of many decoders
        raise InvalidArgument(f"{file}: not a whole image: {error}; remove it from the folder") from error
    if mode[0] in "IF":  # which Pillow would cut off at 255
        raise InvalidArgument(
            f"{file}: its pixels have more than 8 bits ({mode}); save an .npz of what the network takes"
        )
    return np.asarray(upright, np.uint8).reshape(height, width, channels)


def _pillow() -> tuple[Any, Any]:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise MissingBackend(
            "a folder of images needs Pillow, which is not installed: pip install 'dcz[images]'"
        ) from error
    return Image, ImageOps
