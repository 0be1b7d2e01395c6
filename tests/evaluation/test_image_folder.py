"""Folders of images as samples."""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from dcz.errors import FileAccess, InvalidArgument, MissingBackend
from dcz.evaluation import image_folder
from dcz.evaluation.image_folder import open_image_folder

Image = pytest.importorskip("PIL.Image")


def save(path: Path, pixels) -> Path:
    """An image of the pixels, [height, width] or [height, width, 3], without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(pixels, np.uint8)).save(path)
    return path


def drawn(*shape) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_images_come_in_the_order_of_their_paths_with_their_folders_as_classes(tmp_path):
    x = drawn(4, 5, 6, 3)
    for name, pixels in zip(["b/1.png", "a/2.PNG", "c/deep/3.bmp", "a/10.png"], x, strict=True):
        save(tmp_path / name, pixels)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    found = open_image_folder(tmp_path)
    assert np.array_equal(found.arrays["pixels"], x[[3, 1, 0, 2]]) and found.arrays["pixels"].dtype == np.uint8
    assert found.arrays["class"].tolist() == [0, 0, 1, 2] and found.count == 4


@pytest.mark.parametrize("names, classes", [
    (["7", "10", "2"], [10, 2, 7]), (["7", "x"], [0, 1]),
])  # fmt: skip
def test_folders_that_are_numbers_are_those_classes(names, classes, tmp_path):
    for name in names:
        save(tmp_path / name / "1.png", drawn(2, 2))
    assert open_image_folder(tmp_path, 1).arrays["class"].tolist() == classes


def test_images_outside_of_subfolders_have_no_class(tmp_path):
    save(tmp_path / "a" / "1.png", drawn(2, 2))
    save(tmp_path / "2.png", drawn(2, 2))
    assert list(open_image_folder(tmp_path).arrays) == ["pixels"]


def test_channels_are_the_networks(tmp_path):
    save(tmp_path / "1.png", np.full((2, 3), 77))
    assert open_image_folder(tmp_path, 3).arrays["pixels"].shape == (1, 2, 3, 3)
    assert (open_image_folder(tmp_path, 1).arrays["pixels"] == 77).all()
    with pytest.raises(InvalidArgument, match="1 or 3 channels, and the network wants 4"):
        open_image_folder(tmp_path, 4)


def test_other_sizes_are_scaled_until_they_cover_it_and_cropped_about_the_centre(tmp_path):
    """A wide image: its middle half stays, black beside white."""
    pixels = np.zeros((4, 16), np.uint8)
    pixels[:, 8:] = 255
    pixels[:, :4] = 100  # cropped away, as is the last quarter
    pixels[:, 12:] = 50
    save(tmp_path / "1.png", pixels)
    found = open_image_folder(tmp_path, 1, (4, 8)).arrays["pixels"][0, :, :, 0]
    assert (found[:, :4] == 0).all() and (found[:, 4:] == 255).all()
    assert open_image_folder(tmp_path, 1, (2, 2)).arrays["pixels"].shape == (1, 2, 2, 1)
    save(tmp_path / "2.png", drawn(4, 8))
    with pytest.raises(InvalidArgument, match=r"2.png: 8 x 4 pixels, .*1.png has 16 x 4: .* give images of one"):
        open_image_folder(tmp_path, 1)


def test_images_of_more_than_8_bits_are_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "1.png")
    with pytest.raises(InvalidArgument, match=r"1.png: its pixels have more than 8 bits \(I"):
        open_image_folder(tmp_path)


def test_what_is_no_folder_of_images_is_refused(tmp_path, monkeypatch):
    with pytest.raises(InvalidArgument, match=r"no images there; those with the suffixes .*\.png"):
        open_image_folder(tmp_path)
    (tmp_path / "1.png").write_bytes(b"no image")
    with pytest.raises(InvalidArgument, match="1.png: not a whole image"):
        open_image_folder(tmp_path)
    whole = save(tmp_path / "1.png", drawn(20, 20, 3)).read_bytes()
    (tmp_path / "1.png").write_bytes(whole[:200])
    with pytest.raises(InvalidArgument, match="1.png: not a whole image"):
        open_image_folder(tmp_path)
    save(tmp_path / "1.png", drawn(2, 2))
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(FileAccess, match="temporary files cannot be written"):
        open_image_folder(tmp_path)


def test_without_pillow_it_says_how_to_install_it(tmp_path, monkeypatch):
    save(tmp_path / "1.png", drawn(2, 2))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingBackend, match=r"needs Pillow, .* pip install 'dcz\[images\]'"):
        image_folder.open_image_folder(tmp_path)
