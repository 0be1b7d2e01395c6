"""How often a compressed SqueezeNet 1.1 gives the top class that the original gives: bytes against agreement.

    python tests/benchmarks/agreement.py --images calibration256 --quality 24 26 28 30 32 34
    python tests/benchmarks/agreement.py --images val650 --preset safe balanced small

Settings are chosen on calibration256; val650 is looked at once, for the figures that are reported. Needs Pillow.
"""

import argparse
import io
import os
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

import dcz

DATA = Path(os.environ.get("DCZ_DATA", Path(__file__).parents[3] / "shared" / "data"))
MEAN = np.array([104, 117, 123], np.float32)  # BGR
SIDE = 227


def images(name: str):
    """Batches of one image, float32 [1, 3, 227, 227]: the centre of each JPEG of a tar file."""
    with tarfile.open(DATA / "imagenet" / f"{name}.tar") as tar:
        for member in sorted(tar.getmembers(), key=lambda member: member.name):
            if member.isfile() and member.name.lower().endswith((".jpg", ".jpeg")):
                image = Image.open(io.BytesIO(tar.extractfile(member).read())).convert("RGB")
                left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
                pixels = np.asarray(image.crop((left, top, left + SIDE, top + SIDE)), np.float32)
                yield np.ascontiguousarray((pixels[:, :, ::-1] - MEAN).transpose(2, 0, 1))[None]


def top_classes(path: Path, batches: list[np.ndarray]) -> np.ndarray:
    """The top class of each image under the model at `path`."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.array([int(np.argmax(session.run(None, {name: batch})[0])) for batch in batches])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", default="val650", choices=["val650", "calibration256"])
    parser.add_argument(
        "--quality", type=float, nargs="*", default=[], help="decibels; the default settings where none"
    )
    parser.add_argument("--preset", nargs="*", default=[], choices=list(dcz.PRESETS))
    parser.add_argument("--bits", type=int, nargs="*", default=[])
    options = parser.parse_args()
    original = DATA / "nets" / "squeezenet_v1.1.onnx"
    batches = list(images(options.images))
    expected = top_classes(original, batches)
    plans = [(f"quality {q:g} dB", dcz.Settings(quality=q)) for q in options.quality]
    plans += [(f"preset {name}", dcz.PRESETS[name]) for name in options.preset]
    plans += [(f"bits {b}", dcz.Settings(bits=b)) for b in options.bits]
    print(
        f"| SqueezeNet 1.1, {len(batches)} images of {options.images} | bytes | ratio | agreement |\n|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        packed, restored = Path(folder, "net.dcz"), Path(folder, "net.onnx")
        for label, settings in plans or [("default", None)]:
            dcz.compress(original, packed, settings, force=True)
            dcz.decompress(packed, restored, force=True)
            agreement = float((top_classes(restored, batches) == expected).mean())
            size = packed.stat().st_size
            reported = label in ("default", "preset safe") and options.images == "val650"
            assert agreement >= 0.98 or not reported, f"agreement {agreement}"
            print(f"| {label} | {size:,} | {original.stat().st_size / size:.2f} | {agreement:.4f} |", flush=True)


if __name__ == "__main__":
    main()
