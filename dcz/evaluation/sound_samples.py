"""Samples for a model of sound out of .wav files: windows of one channel, numbers from -1 to 1.

sound_samples("sounds", "net.onnx", rate=16000).samples.arrays["x"]          float32 [n, 16000]
"""

import os
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import FileAccess, InvalidArgument
from . import runtime
from .batches import evenly_spaced
from .predictor import open_session
from .samples import Samples

SUFFIX = ".wav"
SILENT = 1e-4  # of the full range: windows that are nowhere louder say nothing
MOST_RESAMPLED = 1000  # times more or fewer numbers a second than a file has
FULL = {1: 1 << 7, 2: 1 << 15, 3: 1 << 23, 4: 1 << 31}  # by bytes a number


@dataclass(frozen=True)
class SoundSamples:
    """Samples from sounds: windows of `window` numbers at `rate` a second, `peak` their largest magnitude, `silent` the
    share of the windows that are silence. `files`: where each comes from. `doubts`: sentences."""

    samples: Samples
    rate: int
    window: int
    peak: float
    silent: float
    files: tuple[Path, ...]
    doubts: tuple[str, ...]


def holds_sounds(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a .wav file, or a folder with some below it."""
    path = Path(path)
    if path.is_dir():
        return any(each.suffix.lower() == SUFFIX for each in path.rglob("*"))
    return path.suffix.lower() == SUFFIX


def sound_samples(
    path: str | os.PathLike[str],
    model: str | os.PathLike[str],
    *,
    rate: int | None = None,
    seconds: float | None = None,
    limit: int | None = None,
    threads: int | None = None,
) -> SoundSamples:
    """Windows of the .wav files below `path` (or of the one that it is) as samples of a `.dcz` or `.onnx` model.

    The model takes waves: [n, window], [n, 1, window] or [n, window, 1]. `rate`: numbers a second that it takes; by
    default all files must have one, and with it they are resampled (linearly, after a mean over what one number stands
    for). `seconds`: the length of a window, by default what the model fixes. What is left at a file's end is filled up
    with silence where it is the file's only window, else left out. `limit`: so many windows at most, evenly out of all.
    Raises FileAccess, or InvalidArgument for files that are no PCM, and models that take something else.
    """
    files = _files(Path(path))
    with open_session(model, threads) as (session, _):
        name, dims, axis, dtype = _input(session, os.fspath(model))
    loaded = [_read(file) for file in files]
    rates = {each for _, each in loaded}
    if rate is None and len(rates) > 1:
        raise InvalidArgument(f"{path}: files of {', '.join(map(str, sorted(rates)))} numbers a second: give --rate")
    rate = rate or rates.pop()
    length = dims[axis]
    fixed = length if isinstance(length, int) and length > 0 else None
    window = fixed if seconds is None else round(seconds * rate)
    if window is None or window < 1:
        raise InvalidArgument(f"{model}: takes sounds of any length: give --seconds")
    if fixed is not None and window != fixed:
        raise InvalidArgument(f"{model}: takes windows of {fixed} numbers, and {seconds:g} s of {rate} are {window}")
    windows, origins = [], []
    for file, (wave_, own) in zip(files, loaded, strict=True):
        if max(own, rate) > MOST_RESAMPLED * min(own, rate):
            raise InvalidArgument(f"{file}: says that it has {own} numbers a second, and {rate} are wanted; remove it")
        parts = _windows(_resampled(wave_, own, rate), window)
        windows += parts
        origins += [file] * len(parts)
    chosen = evenly_spaced(np.arange(len(windows)), limit or len(windows))
    array = np.stack([windows[number] for number in chosen]).astype(dtype)
    peaks = np.abs(array).max(1)
    silent = float((peaks < SILENT).mean())
    doubts = [f"{silent:.0%} of the windows are silence, which tells a model nothing"] if silent > 0.5 else []
    array = array.reshape(len(array), *(window if number == axis else 1 for number in range(1, len(dims))))
    return SoundSamples(
        Samples(os.fspath(path), {name: array}), rate, window, float(peaks.max()), silent,
        tuple(origins[number] for number in chosen), tuple(doubts),
    )  # fmt: skip


def _files(path: Path) -> list[Path]:
    try:
        found = sorted(each for each in path.rglob("*") if each.suffix.lower() == SUFFIX) if path.is_dir() else [path]
    except OSError as error:
        raise FileAccess(f"{path}: cannot be read: {error.strerror or error}") from error
    if not found:
        raise InvalidArgument(f"{path}: no .wav files there")
    return found


def _input(session: runtime.Session, model: str) -> tuple[str, list[int | str | None], int, np.dtype]:
    """The name and shape of the only input, the axis of its window, and its dtype; raises InvalidArgument where it
    takes no waves."""
    inputs = session.get_inputs()
    dims = inputs[0].shape if len(inputs) == 1 else []
    axis = len(dims) - 1 if dims[1:-1] in ([], [1]) else 1  # after the channel, or before it
    fits = len(dims) in (2, 3) and all(dim == 1 for number, dim in enumerate(dims) if number not in (0, axis))
    dtype = np.dtype(runtime.TYPES.get(inputs[0].type, np.void)) if inputs else np.dtype(np.void)
    if not fits or dtype.kind != "f":
        shapes = ", ".join(f"{each.name!r} {each.shape} of {each.type}" for each in inputs)
        raise InvalidArgument(f"{model}: takes {shapes}, and not just waves [n, window]; save an .npz of what it takes")
    return inputs[0].name, dims, axis, dtype


def _read(file: Path) -> tuple[np.ndarray, int]:
    """The mean of a file's channels, from -1 to 1 (float64 [n]), and how many numbers a second are."""
    try:
        with wave.open(str(file), "rb") as sound:
            width, channels, rate = sound.getsampwidth(), sound.getnchannels(), sound.getframerate()
            data = sound.readframes(sound.getnframes())
    except OSError as error:
        raise FileAccess(f"{file}: cannot be read: {error.strerror or error}") from error
    except (wave.Error, EOFError) as error:
        raise InvalidArgument(f"{file}: no .wav file of plain PCM: {error}; convert it to that") from error
    if rate < 1 or channels < 1:
        raise InvalidArgument(f"{file}: says that it has {rate} numbers a second and {channels} channels; remove it")
    if width == 3:  # the three bytes are the upper ones of four
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data[: len(data) // 3 * 3], np.uint8).reshape(-1, 3)
        numbers = padded.view("<i4").ravel() / float(1 << 31)
    else:
        whole = data[: len(data) // width * width]
        raw = np.frombuffer(whole, {1: "u1", 2: "<i2", 4: "<i4"}[width])
        numbers = (raw.astype(np.float64) - (128 if width == 1 else 0)) / FULL[width]
    frames = numbers[: len(numbers) // channels * channels].reshape(-1, channels)
    if not len(frames):
        raise InvalidArgument(f"{file}: holds no sound; remove it")
    return frames.mean(1), rate


def _resampled(sound: np.ndarray, own: int, rate: int) -> np.ndarray:
    """The same at another rate."""
    if own == rate:
        return sound
    if own > rate:  # what is too fast for the new rate would come back as something else
        width = round(own / rate)
        sound = np.convolve(sound, np.ones(width) / width, "same")
    count = max(1, round(len(sound) * rate / own))
    resampled: np.ndarray = np.interp(np.arange(count) * own / rate, np.arange(len(sound)), sound)
    return resampled


def _windows(sound: np.ndarray, window: int) -> list[np.ndarray]:
    whole = len(sound) // window
    if not whole:
        return [np.pad(sound, (0, window - len(sound)))]
    return list(sound[: whole * window].reshape(whole, window))
