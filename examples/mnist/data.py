"""The 70,000 digits of MNIST, checked by their md5: 55,000 to train on, 5,000 to choose by, 10,000 to be judged by.

    training, validation = data.training_and_validation()
    training.inputs((1, 28, 28))        float32 [55000, 1, 28, 28], 0 to 1

Looked for in $DCZ_DATA or its folder mnist, then in ../shared/data/mnist beside the repository, then in a cache of the
user's, into which they are downloaded.
"""

import contextlib
import gzip
import hashlib
import os
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FILES = {  # md5 of the unpacked files: how a mirror packs them does not matter
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
MIRRORS = ("https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/")
SECONDS = 30  # without a byte, until a mirror is given up
ROOT = Path(__file__).resolve().parents[2]
TRAINING, VALIDATION, TEST = 60_000, 5_000, 10_000
SPLIT_SEED = 0


class NoDigits(Exception):
    """The digits are nowhere, or are not MNIST; the message says what to do."""


@dataclass(frozen=True)
class Digits:
    """Images (uint8 [n, 28, 28], 0 is the paper) and which digit each shows (int64 [n])."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen) -> "Digits":
        return Digits(self.images[chosen], self.labels[chosen])

    def inputs(self, shape: tuple[int, ...]) -> np.ndarray:
        """The images as a network takes them: float32 [n, *shape], 0 to 1."""
        return as_inputs(self.images, shape)


def as_inputs(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """uint8 images as float32 [n, *shape], 0 to 1."""
    return np.multiply(images, np.float32(1 / 255), dtype=np.float32).reshape(len(images), *shape)


def training_and_validation() -> tuple[Digits, Digits]:
    """The 55,000 digits to train on and the 5,000 that every choice is made by. Raises NoDigits."""
    digits = _digits("train", TRAINING)
    order = np.random.default_rng(SPLIT_SEED).permutation(TRAINING)
    return digits[order[:-VALIDATION]], digits[order[-VALIDATION:]]


def test() -> Digits:
    """The 10,000 digits that nothing may be chosen by. Raises NoDigits."""
    return _digits("t10k", TEST)


def local_folder() -> Path | None:
    """The first folder on this machine with all four files, packed or not; None where there is none."""
    return next((folder for folder in _folders() if all(_found(folder, name) for name in FILES)), None)


def _folders() -> list[Path]:
    given = os.environ.get("DCZ_DATA")
    folders = [Path(given), Path(given, "mnist")] if given else []
    return [*folders, ROOT.parent / "shared/data/mnist", _cache()]


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "dcz" / "mnist"


def _found(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)


def _digits(kind: str, count: int) -> Digits:
    images, labels = _read(f"{kind}-images-idx3-ubyte"), _read(f"{kind}-labels-idx1-ubyte")
    # IDX: a magic number and the dims, four bytes each, then the pixels. The md5 has vouched for them.
    images = np.frombuffer(images, np.uint8, offset=16).reshape(count, 28, 28)
    return Digits(images, np.frombuffer(labels, np.uint8, offset=8).astype(np.int64))


def _read(name: str) -> bytes:
    """The unpacked bytes of one file, which are those of MNIST."""
    folder = local_folder()
    if folder is None:
        return _download(name)
    path = _found(folder, name)
    try:
        unpacked = _unpack(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise NoDigits(f"{path}: cannot be read: {error}") from error
    if not _is_right(name, unpacked):
        raise NoDigits(f"{path}: not MNIST's (its md5 is another): remove it, or set DCZ_DATA to a folder with MNIST")
    return unpacked


def _download(name: str) -> bytes:
    """One file from the first mirror that has it, kept in the cache."""
    cached, reasons = _cache() / f"{name}.gz", []
    with contextlib.suppress(OSError, EOFError, zlib.error):  # none there, or one that was cut short: it is replaced
        if _is_right(name, unpacked := _unpack(cached.read_bytes())):
            return unpacked
    for mirror in MIRRORS:
        try:
            with urllib.request.urlopen(f"{mirror}{name}.gz", timeout=SECONDS) as response:
                packed = response.read()
            unpacked = _unpack(packed)
        except (OSError, EOFError, zlib.error) as error:  # URLError is an OSError
            reasons.append(f"{mirror}: {error}")
            continue
        if not _is_right(name, unpacked):
            reasons.append(f"{mirror}: what it sent is not MNIST's {name}")
            continue
        cached.parent.mkdir(parents=True, exist_ok=True)
        partial = cached.with_suffix(f".{os.getpid()}")
        partial.write_bytes(packed)
        partial.replace(cached)
        return unpacked
    looked = ", ".join(str(folder) for folder in _folders())
    raise NoDigits(
        f"MNIST is not on this machine (looked in {looked}) and could not be downloaded ({'; '.join(reasons)}): "
        f"put {', '.join(f'{name}.gz' for name in FILES)} into a folder and set DCZ_DATA to it"
    )


def _unpack(data: bytes) -> bytes:
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def _is_right(name: str, unpacked: bytes) -> bool:
    return hashlib.md5(unpacked, usedforsecurity=False).hexdigest() == FILES[name]
