"""Samples from a folder of images, with the folders in it as their classes.

    photos/cat/1.jpg  photos/cat/2.jpg  photos/dog/1.png     ->   pixels uint8 [3, height, width, 3], class 0 0 1

A class is the number that a subfolder is named by, or, where not all are numbers, its place among the sorted names.
Images are decoded once, into a temporary file that is mapped into memory. Needs Pillow.
"""

import contextlib
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileAccess, InvalidArgument, MissingBackend
from ..files import temporary
from .samples import Samples

PIXELS, CLASS = "pixels", "class"  # the arrays' names
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
MOST_PIXELS = 1 << 24, 64  # of any image, and for each byte of its file: a photograph has ten or twenty for one
MOST_ASPECT = 64  # times as long as wide: what covers a square would take memory for as many
GREY = 114  # of what pads an image, as YOLO has it
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


def holds_images(folder: str | os.PathLike[str]) -> bool:
    """Whether there are images below a folder."""
    return any(each.suffix.lower() in SUFFIXES for each in Path(folder).rglob("*"))


def list_images(path: str | os.PathLike[str]) -> tuple[list[Path], np.ndarray | None]:
    """The images below a folder (or the one that `path` is), by their paths, and their classes as open_image_folder has
    them. Raises FileAccess, InvalidArgument where there are none."""
    if (single := Path(path)).is_file():
        return [single], None
    files = _files(Path(path))
    return files, _classes(Path(path), files)


def read_image(
    file: Path, channels: int, resize: int | tuple[int, int], crop: tuple[int, int], fit: str, filter_name: str
) -> np.ndarray:
    """An image, uint8 [height, width, channels] of the size `crop`; for the others see preprocessing.Preprocessing.

    Raises MissingBackend without Pillow, InvalidArgument where it is no whole image, or has more than 8 bits.
    """
    image_module, ops = _pillow()
    resampling = getattr(image_module.Resampling, filter_name.upper())
    with _decoded(file, channels) as image:
        if isinstance(resize, int):
            scale = resize / min(image.size)
            size = tuple(max(resize, round(side * scale)) for side in image.size)
            image = image.resize(size, resampling)
        elif fit == "stretch":
            image = image.resize(resize[::-1], resampling)
        elif fit == "letterbox":
            image = ops.pad(image, resize[::-1], resampling, color=(GREY,) * channels if channels > 1 else GREY)
        else:
            image = ops.fit(image, resize[::-1], resampling)
        height, width = crop
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        image = image.crop((left, top, left + width, top + height))
        return np.asarray(image, np.uint8).reshape(height, width, channels)


@contextlib.contextmanager
def _decoded(file: Path, channels: int) -> Iterator[Any]:
    """An image as Pillow has it, upright, in the mode for so many channels."""
    image_module, ops = _pillow()
    try:
        with warnings.catch_warnings():  # Pillow's own, from ninety million pixels on
            warnings.simplefilter("ignore", image_module.DecompressionBombWarning)
            image = image_module.open(file)
        with image:
            _check_size(file, *image.size)
            mode = image.mode
            upright = ops.exif_transpose(image).convert(MODES[channels])
    except InvalidArgument:
        raise
    except Exception as error:  # Pillow raises its own, and those of many decoders
        raise InvalidArgument(f"{file}: not a whole image: {error}; remove it from the folder") from error
    if mode[0] in "IF":  # which Pillow would cut off at 255
        raise InvalidArgument(
            f"{file}: its pixels have more than 8 bits ({mode}); save an .npz of what the network takes"
        )
    yield upright


def _check_size(file: Path, width: int, height: int) -> None:
    """Raise InvalidArgument for an image that takes far more memory than its file, or whose shape is none."""
    floor, factor = MOST_PIXELS
    if width * height > max(floor, factor * os.path.getsize(file)):
        told = f"{width:,} x {height:,} pixels in {os.path.getsize(file):,} bytes, which is no photograph"
    elif max(width, height) > MOST_ASPECT * min(width, height):
        told = f"{width:,} x {height:,} pixels, which no network takes for a square"
    else:
        return
    raise InvalidArgument(f"{file}: has {told}; remove it from the folder, or save an .npz")


def _files(folder: Path) -> list[Path]:
    """The images below a folder, by their paths."""
    try:
        os.scandir(folder).close()  # rglob takes one that is not there, or cannot be read, for an empty one
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
    with _decoded(file, channels) as upright:
        height, width = (wanted or have for wanted, have in zip(size, upright.size[::-1], strict=True))
        if upright.size != (width, height):
            upright = ops.fit(upright, (width, height), image_module.Resampling.BILINEAR)
    return np.asarray(upright, np.uint8).reshape(height, width, channels)


def _pillow() -> tuple[Any, Any]:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise MissingBackend(
            "a folder of images needs Pillow, which is not installed: pip install 'dcz[images]'"
        ) from error
    return Image, ImageOps
