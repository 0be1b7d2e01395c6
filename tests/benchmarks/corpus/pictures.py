"""Pictures to look at: photographs of ImageNet, and documents, lines and puzzles that are drawn.

photographs(8, seed=1), documents(8, seed=1)  ->  Pillow images, RGB; none in one seed that another one has
"""

import io
import tarfile
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from .. import rendered
from .data import DATA
from .packages import Missing
from .subject import SCORING

PAGE = 1216, 1600  # pixels, width and height


def photographs(count: int, seed: int) -> list[Image.Image]:
    """Photographs: of the validation set where `seed` is that of scoring, else of the training set."""
    path = DATA / "imagenet" / ("val650.tar" if seed == SCORING else "calibration256.tar")
    if not path.is_file():
        raise Missing(f"{path} (set DCZ_DATA)")
    with tarfile.open(path) as tar:
        members = sorted((m for m in tar if m.name.lower().endswith((".jpg", ".jpeg"))), key=lambda m: m.name)
        chosen = members[:: max(1, len(members) // count)][:count]
        return [Image.open(io.BytesIO(tar.extractfile(m).read())).convert("RGB") for m in chosen]


@cache
def _photographs(seed: int) -> list[Image.Image]:
    try:
        return photographs(24, seed)
    except Missing:
        return []


def bgr(image: Image.Image) -> np.ndarray:
    """Its pixels as OpenCV reads them: uint8 [h, w, 3], blue first."""
    return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])


def normalized(pixels: np.ndarray) -> np.ndarray:
    """uint8 [h, w, 3] -> float32 [1, 3, h, w], as Paddle's networks want it: ImageNet's means, whatever the order."""
    pixels = (pixels.astype(np.float32) / 255 - rendered.MEAN) / rendered.DEVIATION
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)


def documents(count: int, seed: int) -> list[Image.Image]:
    """Pages of a report: header, title, one or two columns of text, a figure, a table, their captions, a footer."""
    return [_document(np.random.default_rng([seed, number]), seed) for number in range(count)]


def _document(random: np.random.Generator, seed: int) -> Image.Image:
    page = Image.new("RGB", PAGE, (255, 255, 255) if random.random() < 0.7 else (246, 243, 235))
    draw = ImageDraw.Draw(page)
    margin, size = int(random.integers(70, 130)), int(random.integers(17, 24))
    face = rendered.font(random, size)
    draw.text((margin, 40), rendered.phrase(random), 90, font=rendered.font(random, 16))
    draw.text((PAGE[0] // 2, PAGE[1] - 50), str(random.integers(1, 400)), 60, font=face, anchor="mm")
    y = 110
    if random.random() < 0.7:
        draw.text((PAGE[0] // 2, y + 30), _sentence(random, 5), 0, font=rendered.font(random, 42), anchor="mm")
        y += 90
    columns = int(random.integers(1, 3))
    width = (PAGE[0] - 2 * margin - 40 * (columns - 1)) // columns
    for column in range(columns):
        _column(page, draw, random, seed, face, size, (margin + column * (width + 40), y), width)
    return page


def _column(page, draw, random, seed, face, size, corner, width) -> None:
    """Draw blocks one below the other, until the column is full."""
    x, y = corner
    while y < PAGE[1] - 160:
        kind, room = random.random(), PAGE[1] - 110 - y
        if kind < 0.2 and room > 330:
            height = int(random.integers(200, 300))
            _figure(page, draw, random, seed, (x, y, x + width, y + height))
            draw.text((x + width // 2, y + height + 24), f"Figure {random.integers(1, 9)}: {_sentence(random, 4)}", 0,
                      font=face, anchor="mm")  # fmt: skip
            y += height + 70
        elif kind < 0.35 and room > 330:
            draw.text((x + width // 2, y + 10), f"Table {random.integers(1, 9)}: {_sentence(random, 4)}", 0,
                      font=face, anchor="mm")  # fmt: skip
            y = _table(draw, random, face, size, (x, y + 40), width) + 40
        else:
            if random.random() < 0.4:
                draw.text((x, y), f"{random.integers(1, 9)} {_sentence(random, 3)}", 0, font=rendered.font(random, 28))
                y += 50
            for _ in range(min(int(random.integers(4, 12)), max(1, int(room / (size * 1.45)) - 1))):
                draw.text((x, y), _filled(random, face, width), 20, font=face)
                y += int(size * 1.45)
            y += size


def _figure(page, draw, random, seed, box) -> None:
    """A photograph where there are some, else bars."""
    photos = _photographs(seed)
    if photos and random.random() < 0.7:
        size = box[2] - box[0], box[3] - box[1]
        page.paste(photos[random.integers(len(photos))].resize(size), box[:2])
        return
    draw.rectangle(box, outline=0)
    step = (box[2] - box[0]) // 8
    for bar in range(7):
        top = int(box[3] - random.uniform(0.1, 0.9) * (box[3] - box[1]))
        color = tuple(map(int, random.integers(60, 220, 3)))
        draw.rectangle((box[0] + step * bar + 12, top, box[0] + step * (bar + 1), box[3]), color)


def _table(draw, random, face, size, corner, width) -> int:
    """Draw a grid of words and numbers; where it ends."""
    (x, y), rows, columns = corner, int(random.integers(4, 8)), int(random.integers(3, 6))
    height, cell = int(size * 1.8), width // columns
    for row in range(rows + 1):
        draw.line((x, y + row * height, x + cell * columns, y + row * height), 0, 2)
    for column in range(columns + 1):
        draw.line((x + column * cell, y, x + column * cell, y + rows * height), 0, 2)
    for row in range(rows):
        for column in range(columns):
            word = _sentence(random, 1)[:8] if row == 0 or column == 0 else f"{random.uniform(0, 100):.2f}"
            draw.text((x + column * cell + 8, y + row * height + height // 2), word, 0, font=face, anchor="lm")
    return y + rows * height


def _sentence(random: np.random.Generator, words: int) -> str:
    return " ".join(random.choice(rendered.vocabulary(), words)).capitalize()


def _filled(random: np.random.Generator, face, width: int) -> str:
    """Words that fill a line of so many pixels."""
    line = ""
    while True:
        longer = f"{line} {random.choice(rendered.vocabulary())}".strip()
        if face.getlength(longer) > width:
            return line
        line = longer


def puzzle(random: np.random.Generator) -> tuple[Image.Image, str]:
    """Four to six letters and digits, each turned a little, with lines across; and what it says."""
    text = "".join(random.choice(list("abcdefghjkmnpqrstuvwxyz23456789"), random.integers(4, 7)))
    image = Image.new("RGB", (44 * len(text), 64), tuple(map(int, random.integers(180, 256, 3))))
    for place, letter in enumerate(text):
        tile = Image.new("L", (60, 64), 0)
        ImageDraw.Draw(tile).text((30, 32), letter, 255, font=rendered.font(random, 42), anchor="mm")
        ink = tuple(map(int, random.integers(0, 110, 3)))
        image.paste(ink, (44 * place - 8, int(random.integers(-4, 5))), tile.rotate(random.uniform(-20, 20)))
    for _ in range(3):
        ends = [(int(random.integers(image.width)), int(random.integers(64))) for _ in range(2)]
        ImageDraw.Draw(image).line(ends, tuple(map(int, random.integers(60, 200, 3))), 2)
    return image, text
