"""Sounds, made on the spot: music of struck notes, and syllables of a voice, with pauses between its phrases.

music(10, 22050, seed=1)  ->  float32 samples from -1 to 1, and the notes that they are: (seconds, MIDI pitch)
voice(10, 16000, seed=1)  ->  samples
"""

import numpy as np

SCALE = (0, 2, 4, 5, 7, 9, 11)
VOWELS = (  # formants in Hz, of Peterson and Barney (1952), men
    (730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240), (640, 1190, 2390),
)  # fmt: skip
PARTIALS = 12


def music(seconds: float, rate: int, seed: int) -> tuple[np.ndarray, list[tuple[float, int]]]:
    """Three voices, the lowest slowest, often with a third: partials that fall off, each note struck and dying away.

    Notes are up to 24 dB apart, and noise is 40 dB below the loudest.
    """
    random = np.random.default_rng(seed)
    sound, notes, key = np.zeros(int(seconds * rate)), [], int(random.integers(43, 55))
    for part, lengths in enumerate([(1.0, 1.5), (0.5, 0.75, 1.0), (0.2, 0.25, 0.5)]):
        at = 0.1 + 0.05 * part
        while at < seconds - 0.4:
            length, degree = float(random.choice(lengths)), int(random.integers(0, 8)) + 7 * part
            for step in [degree, degree + 2][: 1 + (random.random() < 0.3)]:
                octave, place = divmod(step, len(SCALE))
                notes.append((at, key + 12 * octave + SCALE[place]))
                _strike(sound, rate, at, length, notes[-1][1], random)
            at += length + (0.1 if random.random() < 0.2 else 0)
    sound = 0.5 * sound / np.abs(sound).max() + 0.005 * random.standard_normal(len(sound))
    return sound.astype(np.float32), notes


def _strike(sound: np.ndarray, rate: int, at: float, length: float, pitch: int, random: np.random.Generator) -> None:
    """Add a note (its MIDI pitch) to `sound`."""
    start = int(at * rate)
    time = np.arange(min(int(1.2 * length * rate), len(sound) - start)) / rate
    frequency, decay = 440 * 2 ** ((pitch - 69) / 12), random.uniform(1, 4)
    envelope = np.minimum(time / 0.008, 1) * np.exp(-decay * time) * np.minimum((time[-1] - time) / 0.03, 1)
    loud, tilt = 10 ** (-random.uniform(0, 24) / 20), random.uniform(0.8, 1.6)
    for partial in range(1, PARTIALS + 1):
        if partial * frequency < 0.45 * rate:
            sound[start : start + len(time)] += (
                loud * partial**-tilt * envelope * np.sin(2 * np.pi * partial * frequency * time + random.uniform(0, 6))
            )


def voice(seconds: float, rate: int, seed: int) -> np.ndarray:
    """Syllables: hissed or voiced beginnings, vowels by their formants over a gliding pitch; noise in the pauses."""
    random = np.random.default_rng(seed)
    sound = 0.003 * random.standard_normal(int(seconds * rate))
    pitch, at = random.uniform(95, 200), 0.4
    while at < seconds - 0.4:
        for _ in range(int(random.integers(3, 9))):
            at += _syllable(sound, rate, at, pitch * random.uniform(0.85, 1.2), random)
        at += random.uniform(0.3, 1.2)
    return (0.4 * sound / np.abs(sound).max()).astype(np.float32)


def _syllable(sound: np.ndarray, rate: int, at: float, pitch: float, random: np.random.Generator) -> float:
    """Add a syllable to `sound`; how long it takes, in seconds."""
    hiss, length = random.uniform(0.03, 0.1), random.uniform(0.1, 0.26)
    start, middle = int(at * rate), int((at + hiss) * rate)
    noise = np.diff(random.standard_normal(max(0, min(middle, len(sound)) - start) + 1))
    sound[start : start + len(noise)] += 0.25 * noise * np.hanning(len(noise))
    time = np.arange(max(0, min(int(length * rate), len(sound) - middle))) / rate
    glide = np.cumsum(pitch * (1 + 0.15 * np.sin(np.pi * time / length - 0.5))) / rate
    one, other = (np.array(VOWELS[random.integers(len(VOWELS))]) for _ in range(2))
    formants = one + (other - one) * (time / length)[:, None]
    vowel = np.zeros(len(time))
    for partial in range(1, int(4000 / pitch)):
        near = 1 / (1 + ((partial * pitch - formants) / (60, 90, 140)) ** 2)
        vowel += (near @ (1, 0.6, 0.3) + 0.02) / partial**0.3 * np.sin(2 * np.pi * partial * glide)
    sound[middle : middle + len(time)] += 1.5 * vowel * np.hanning(len(time))
    return hiss + length
