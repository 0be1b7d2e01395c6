"""Text rendered into images, for models that read: seeded words in the fonts at hand, on grounds of many shades.

images, texts = lines(40, seed=1)       float32 [40, 3, 48, 320], as PP-OCR wants them, and what is written there
pages(4, seed=1)                        float32 [4, 3, 320, 320]: pages of such lines
"""

import pydoc_data.topics
import re
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

HEIGHT, WIDTH = 48, 320  # of a line, as PP-OCR's recognizer was trained
PAGE = 320
FONTS = Path("/usr/share/fonts/truetype")
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # of the detector's inputs


@cache
def vocabulary() -> list[str]:
    """The words of Python's own manual, in order."""
    return sorted(set(re.findall(r"[A-Za-z]{2,12}", " ".join(pydoc_data.topics.topics.values()))))


@cache
def fonts() -> list[str | None]:
    """The fonts of the machine; the first, None, is the one that Pillow brings."""
    return [None, *sorted(map(str, FONTS.rglob("*.ttf")))]


def phrase(random: np.random.Generator) -> str:
    """A few words, or numbers among them."""
    words = []
    for _ in range(random.integers(1, 4)):
        word = str(random.choice(vocabulary())) if random.random() < 0.8 else str(random.integers(0, 100_000))
        words.append(word.upper() if random.random() < 0.15 else word)
    return " ".join(words)


def font(random: np.random.Generator, size: int):
    """One of the fonts, in this size (pixels)."""
    path = fonts()[random.integers(len(fonts()))]
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)


def _shades(random: np.random.Generator) -> tuple[tuple, tuple]:
    """Two colours, ground and text, that differ enough to be read."""
    ground = random.integers(0, 256, 3)
    text = random.integers(0, 256, 3)
    while abs(int(text.mean()) - int(ground.mean())) < 70:
        ground, text = random.integers(0, 256, 3), random.integers(0, 256, 3)
    return tuple(map(int, ground)), tuple(map(int, text))


def _worn(image: Image.Image, random: np.random.Generator) -> np.ndarray:
    """Pixels 0 to 1, float64 [h, w, 3], after some blur and noise."""
    image = image.filter(ImageFilter.GaussianBlur(random.uniform(0, 1.2)))
    pixels = np.asarray(image, np.float64) / 255
    return np.clip(pixels + random.normal(0, random.uniform(0, 0.08), pixels.shape), 0, 1)


def _line(random: np.random.Generator) -> tuple[np.ndarray, str]:
    """A line that fills the height: pixels -1 to 1, float32 [3, HEIGHT, WIDTH] (BGR), zero after its end; its text."""
    face, text = font(random, int(random.integers(22, 40))), phrase(random)
    while face.getlength(text) > WIDTH - 12:
        text = text[:-1].strip() or "word"
        face = font(random, 22) if text == "word" else face
    ground, ink = _shades(random)
    image = Image.new("RGB", (min(WIDTH, int(face.getlength(text)) + 12), HEIGHT), ground)
    ImageDraw.Draw(image).text((6, HEIGHT // 2), text, ink, font=face, anchor="lm")
    pixels = (_worn(image, random) * 2 - 1)[:, :, ::-1].transpose(2, 0, 1)
    padded = np.zeros((3, HEIGHT, WIDTH), np.float32)
    padded[:, :, : pixels.shape[2]] = pixels
    return padded, text


def lines(count: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Lines of text, float32 [count, 3, HEIGHT, WIDTH], and what they say."""
    random = np.random.default_rng(seed)
    drawn = [_line(random) for _ in range(count)]
    return np.stack([pixels for pixels, _ in drawn]), [text for _, text in drawn]


def pages(count: int, seed: int) -> np.ndarray:
    """Pages with some lines here and there, normalised for PP-OCR's detector: float32 [count, 3, PAGE, PAGE]."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        ground, ink = _shades(random)
        image = Image.new("RGB", (PAGE, PAGE), ground)
        y = int(random.integers(4, 30))
        while y < PAGE - 34:
            size = int(random.integers(10, 30))
            place = (int(random.integers(2, PAGE // 2)), y)
            ImageDraw.Draw(image).text(place, phrase(random), ink, font=font(random, size))
            y += int(size * random.uniform(1.4, 3))
        found.append(((_worn(image, random) - MEAN) / DEVIATION).transpose(2, 0, 1)[::-1])
    return np.ascontiguousarray(np.stack(found), np.float32)
