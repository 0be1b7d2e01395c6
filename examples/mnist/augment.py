"""Copies of digits, each shifted, turned, scaled, sheared and bent a little, as batches for training.

    copies = Copies(training, (784,), strengths=(1.0,) * 10, batch=256)
    train.retrain(..., data=copies)            in each epoch, one of the 11 versions of every digit

A coordinate grid is warped for every digit, and the digit is read there between pixels (Simard, Steinkraus and Platt,
"Best practices for convolutional neural networks applied to visual document analysis", 2003): 5 s for 55,000 digits.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .data import Digits, as_inputs

SIZE = 28  # pixels
SHIFT, TURN, SCALE, SHEAR, BEND = 1.5, np.radians(10), 0.1, 0.1, 0.6  # pixels, radians, shares, pixels: at strength 1
KNOTS = 7  # a side, of the grid of random displacements
CHUNK = 2000  # digits at a time: what is in work stays small


def warp(images: np.ndarray, strength: float, seed: int | Sequence[int]) -> np.ndarray:
    """One augmented copy of images (uint8 [n, 28, 28]), every range being `strength` times what stands above.

    Shift, turn, scales and shear are uniform in both directions; the bending is normal at 7 x 7 knots, linear between.
    """
    random = np.random.default_rng(seed)
    copy = np.empty_like(images)
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK]
        copy[start : start + CHUNK] = _read_between(part, *_places(len(part), strength, random))
    return copy


def _places(count: int, strength: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of each copy, the column and row (float32 [count, 28, 28]) that it is read from."""

    def uniform(reach: float) -> np.ndarray:
        return random.uniform(-reach * strength, reach * strength, (count, 1, 1)).astype(np.float32)

    middle = (SIZE - 1) / 2
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) - np.float32(middle)
    turn, wide, high, shear = uniform(TURN), 1 + uniform(SCALE), 1 + uniform(SCALE), uniform(SHEAR)
    columns = np.cos(turn) * wide * x + (shear - np.sin(turn) * wide) * y + uniform(SHIFT) + np.float32(middle)
    rows = np.sin(turn) * high * x + np.cos(turn) * high * y + uniform(SHIFT) + np.float32(middle)
    at = np.linspace(0, KNOTS - 1, SIZE)
    between = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(KNOTS))).astype(np.float32)
    bend = random.standard_normal((2, count, KNOTS, KNOTS), dtype=np.float32) * np.float32(BEND * strength)
    bend = between @ bend @ between.T
    return columns + bend[0], rows + bend[1]


def _read_between(images: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Images (uint8) at places between pixels, bilinearly; outside of them is 0."""
    side = SIZE + 2
    padded = np.zeros((len(images), side, side), np.float32)
    padded[:, 1:-1, 1:-1] = images
    columns, rows = np.clip(columns + 1, 0, SIZE + 0.999), np.clip(rows + 1, 0, SIZE + 0.999)
    left, top = columns.astype(np.int32), rows.astype(np.int32)
    right, down = columns - left, rows - top
    first = (np.arange(len(images), dtype=np.int32) * side**2)[:, None, None] + top * side + left
    pixels = padded.ravel()
    above, beside = pixels.take(first), pixels.take(first + 1)
    below, across = pixels.take(first + side), pixels.take(first + side + 1)
    above += (beside - above) * right
    below += (across - below) * right
    above += (below - above) * down
    return np.rint(above, out=above).astype(np.uint8)


class Copies:
    """Digits and augmented copies of them, one of each `strengths`, as a function from an epoch's number to batches.

    In an epoch every digit occurs once: as it is with probability `clean`, else as one of its copies. The same seed and
    number give the same batches: inputs (x: float32 [batch, *shape]) and labels (int64 [batch]).

    `mask` (units, dropout) adds an input m (float32 [batch, units]): 0 for a share `dropout` of the units, and for the
    others what makes up for these.
    """

    def __init__(self, digits: Digits, shape, *, strengths=(), clean=None, batch=256, seed=0, mask=None):
        self.digits, self.shape, self.batch, self.seed, self.mask = digits, shape, batch, seed, mask
        self.clean = 1 / (1 + len(strengths)) if clean is None or not strengths else clean
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            warped = pool.map(lambda i: warp(digits.images, strengths[i], [seed, i]), range(len(strengths)))
            self.versions = [digits.images, *warped]

    def __len__(self) -> int:
        return -(-len(self.digits) // self.batch)

    def __call__(self, epoch: int) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        """The batches of an epoch."""
        random = np.random.default_rng([self.seed, epoch])
        count = len(self.digits)
        order = random.permutation(count)
        version = np.zeros(count, np.int64)
        if len(self.versions) > 1:
            copies = random.integers(1, len(self.versions), count)
            version = np.where(random.random(count) < self.clean, 0, copies)
        for start in range(0, count, self.batch):
            chosen = order[start : start + self.batch]
            images = np.empty((len(chosen), SIZE, SIZE), np.uint8)
            for number, images_of in enumerate(self.versions):
                here = version[chosen] == number
                images[here] = images_of[chosen[here]]
            inputs = {"x": as_inputs(images, self.shape)}
            if self.mask is not None:
                units, dropout = self.mask
                stays = random.random((len(chosen), units), dtype=np.float32) >= dropout
                inputs["m"] = stays * np.float32(1 / (1 - dropout))
            yield inputs, self.digits.labels[chosen]
